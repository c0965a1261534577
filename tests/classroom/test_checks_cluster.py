"""Checks of 20: right scripts of another make pass, planted faults are told apart, and no process stays behind."""

import math
import subprocess

import pytest
from asked_checks import assert_right, assert_wrong, run

from course_utils.classroom.checks.stand_ins import SAVES_WHEN_ASKED, run_script
from course_utils.classroom.job_scripts import findings
from course_utils.classroom.transcripts import job_script

NAMES = ("job_head", "job_body", "efficiency", "request")
HEAD = """\
#!/bin/bash
#SBATCH -J night
#SBATCH -o logs-%j.txt --requeue
#SBATCH --mem 32G -t 12:00:00 -c 8
#SBATCH --gres=gpu:a100:1 --signal=B:USR1@180
#SBATCH --open-mode=append
"""
BODY = """\
set -u
run=runs/night
asked() { touch $run/STOP; signalled=yes; }
trap asked USR1
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
srun --kill-on-bad-exit python -m course_utils train --out runs/night &
child=$!
while :; do
  signalled=no
  status=0
  wait "$child" || status=$?
  [ "$signalled" = yes ] || break
done
[ ! -f $run/REQUEUE ] || scontrol requeue "$SLURM_JOB_ID"
exit "$status"
"""


def changed(text, before, after):
    """An answer that returns the text with one change."""
    return lambda: text.replace(before, after)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_answered_yet_and_the_kits_own_passes(capsys, name):
    for stub in (..., lambda *_: None, lambda *_: ...):
        own, said = run(capsys, name, stub)
        assert "not answered yet" in said
    assert_right(capsys, name, own)


def test_the_script_of_the_lesson_has_the_faults_that_the_lesson_names():
    found = {one.rule for one in findings(job_script("night"))}
    named = {"missing-folder", "foreground-srun", "swallowed-exit", "literal-variable", "no-requeue"}
    assert named < found


def test_job_head(capsys):
    assert_right(capsys, "job_head", lambda: HEAD)
    for before, after, words in (
        ("logs-%j", "logs/%j", "missing-folder"),
        ("logs-%j", "$HOME/%j", "literal-variable"),
        ("#SBATCH --mem", "# SBATCH --mem", "--mem: expected '32G', no such line is read"),
        ("-t 12:00:00", "-t 24:00:00", "--time: expected '12:00:00', got '24:00:00'"),
        ("--requeue", "", "nothing allows Slurm to send it back"),
        ("#SBATCH -J", "set -e\n#SBATCH -J", "late-directive"),
        ("-o logs-%j.txt", "", "where is the log?"),
    ):
        assert before in HEAD
        assert_wrong(capsys, "job_head", changed(HEAD, before, after), words)
    assert_wrong(capsys, "job_head", lambda: ["#SBATCH"], "expected a text, got list")


def test_job_body(capsys):
    assert_right(capsys, "job_body", lambda: BODY)
    for before, after, words in (
        (" &\nchild=$!\n", "\nchild=$!\n", "the work ended with 0, the script with 1"),
        ('exit "$status"', "echo done", "the work ended with 3, the script with 0"),
        ("export SRUN", "# export SRUN", "srun was given no cores"),
        ("trap asked USR1", "", "no runs/night/STOP while the work ran"),
        ('[ "$signalled" = yes ] || break', "break", "a signal ends `wait`, so wait again"),
        ("[ ! -f $run/REQUEUE ] || ", "", "was sent back to the queue, though no REQUEUE file"),
        ('scontrol requeue "$SLURM_JOB_ID"', "true scontrol requeue", "scontrol was told nothing"),
        ("--out runs/night", "--out runs/other", "the training command with --out runs/night is gone"),
    ):
        assert before in BODY
        assert_wrong(capsys, "job_body", changed(BODY, before, after), words)


def test_a_foreground_srun_is_told_by_what_happens_and_not_by_its_look(capsys):
    foreground = """\
export SRUN_CPUS_PER_TASK=8
trap 'touch runs/night/STOP' USR1
bash -c 'srun python -m course_utils train --out runs/night'
status=$?
[ -e runs/night/REQUEUE ] && scontrol requeue $SLURM_JOB_ID
exit $status
"""
    assert_wrong(capsys, "job_body", lambda: foreground, "is srun in the background")


def test_a_script_that_never_ends_is_ended_with_all_that_it_started():
    ended = run_script("srun work &\nsleep 1234567 &\nwait\n", "exec sleep 1234567", within_s=1.0)
    assert ended.status is None
    assert ended.started
    assert "1234567" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_stand_in_reports_cores_and_bash_its_errors():
    ended = run_script("SRUN_CPUS_PER_TASK=3 srun x\nno-such-program\n", "exit 0")
    assert (ended.cores, ended.status) == ("3", 127)
    assert "no-such-program" in ended.said
    asked = run_script("trap : USR1\nsrun x\nscontrol requeue 7\n", SAVES_WHEN_ASKED, signal=True)
    assert (asked.stopped, asked.saved, asked.requeued) == (False, False, "requeue 7")


def test_efficiency(capsys):
    def shares(used, reserved):
        def answer(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks):
            mean = math.fsum(looks) / max(1, len(looks)) if len(looks) else None
            return cpu_s / reserved(elapsed_s, cores), used(peak_bytes, asked_bytes), mean

        return answer

    assert_right(capsys, "efficiency", shares(lambda p, a: p / a, lambda e, c: c * e))
    assert_wrong(capsys, "efficiency", shares(lambda p, a: p / a, lambda e, c: e), "of all cores that were reserved")
    assert_wrong(capsys, "efficiency", shares(lambda p, a: a / p, lambda e, c: c * e), "the peak, of what was asked")
    no_gpu = lambda e, c, cpu, a, p, looks: (cpu / e / c, p / a, sum(looks) / (len(looks) or 1))  # noqa: E731
    assert_wrong(capsys, "efficiency", no_gpu, "without any look expected None")


def test_request(capsys):
    def half_hours(seconds):
        return -(-seconds * 3 // 3600) * 0.5

    assert_right(capsys, "request", lambda n, s, s0, gib: (half_hours(s0 + n * s), -int(-gib * 5 // 4)))
    assert_wrong(capsys, "request", lambda n, s, s0, gib: (half_hours(n * s / 1.5), math.ceil(gib * 1.25)), "hours, ")
    assert_wrong(capsys, "request", lambda n, s, s0, gib: (half_hours(s0 + n * s), round(gib)), "next whole GiB")
