"""The reasons of the linter on a real Slurm: each fault bites as it says, and each mend works."""

import time
from pathlib import Path

import pytest

from course_utils.classroom.job_scripts import findings

HEAD = "#!/usr/bin/env bash\n#SBATCH --output=%j.out\n"


@pytest.fixture
def sent(cluster, tmp_path):
    """Sends a script made of text; -> its number. What it writes lies in the test's folder."""

    def send(text, *flags):
        (tmp_path / "job.sh").write_text(text)
        return cluster.sbatch(*flags, "job.sh", cwd=tmp_path)

    return send


def rules(text):
    return {finding.rule for finding in findings(text)}


def state(cluster, number):
    return cluster.ended(number)["JobState"]


def test_a_log_folder_that_is_not_there_fails_the_job_without_a_log(cluster, sent, tmp_path):
    faulty = HEAD.replace("%j.out", "logs/%j.out") + "echo hello\n"
    assert rules(faulty) == {"missing-folder"}
    assert state(cluster, sent(faulty)) == "FAILED"
    assert not list(tmp_path.rglob("*.out"))
    assert rules(mended := faulty.replace("logs/", "")) == set()
    assert state(cluster, number := sent(mended)) == "COMPLETED"
    assert (tmp_path / f"{number}.out").read_text() == "hello\n"


def test_only_a_line_that_begins_with_sbatch_above_the_first_command_counts(cluster, sent):
    faulty = HEAD + "# SBATCH --job-name=first\nset -e\n#SBATCH --comment=second\n"
    assert rules(faulty) == {"not-a-directive", "late-directive"}
    job = cluster.ended(sent(faulty))
    assert (job["JobName"], job.get("Comment")) == ("job.sh", None)
    mended = HEAD + "#SBATCH --job-name=first\n#SBATCH --comment=second\nset -e\n"
    assert rules(mended) == set()
    job = cluster.ended(sent(mended))
    assert (job["JobName"], job["Comment"]) == ("first", "second")


def test_a_variable_in_a_directive_stays_literal(cluster, sent, tmp_path):
    faulty = "#!/bin/bash\n#SBATCH --output=$HOME-%j.out\ntrue\n"
    assert "literal-variable" in rules(faulty)
    cluster.ended(number := sent(faulty))
    assert (tmp_path / f"$HOME-{number}.out").is_file()


def test_a_trailing_echo_turns_failure_into_completed(cluster, sent):
    faulty = HEAD + "srun false\necho done\n"
    assert rules(faulty) == {"swallowed-exit"}
    assert state(cluster, sent(faulty)) == "COMPLETED"
    mended = HEAD + "status=0\nsrun false || status=$?\necho done\nexit $status\n"
    assert rules(mended) == set()
    assert state(cluster, sent(mended)) == "FAILED"


def test_a_bare_wait_and_a_pipe_swallow_the_status_too(cluster, sent):
    for faulty in ("srun false &\nwait\n", "set -e\nsrun false | tee copy\n"):
        assert rules(HEAD + faulty) == {"swallowed-exit"}, faulty
        assert state(cluster, sent(HEAD + faulty)) == "COMPLETED", faulty
    for mended in ("srun false &\nwait $!\n", "set -eo pipefail\nsrun false | tee copy\n"):
        assert rules(HEAD + mended) == set(), mended
        assert state(cluster, sent(HEAD + mended)) == "FAILED", mended


def test_the_scripts_own_path_leads_to_the_spool(cluster, sent, tmp_path):
    faulty = HEAD + 'cd "$(dirname "$0")"\npwd >"$SLURM_SUBMIT_DIR/where"\n'
    assert rules(faulty) == {"spool-path"}
    cluster.ended(sent(faulty))
    assert Path((tmp_path / "where").read_text().strip()).is_relative_to(cluster.folder / "spool")
    mended = faulty.replace('"$(dirname "$0")"', '"$SLURM_SUBMIT_DIR"')
    assert rules(mended) == set()
    cluster.ended(sent(mended))
    assert (tmp_path / "where").read_text().strip() == str(tmp_path)


TRAP = (
    "#SBATCH --requeue\n#SBATCH --signal=B:USR1@60\ntrap 'touch trapped; scontrol requeue $SLURM_JOB_ID; exit' USR1\n"
)


def signalled(cluster, number, folder):
    """Wait for the work, signal the batch shell; -> seconds until the trap ran."""
    cluster.reached(number, lambda _: (folder / "working").exists(), within=20)
    began = time.monotonic()
    cluster.run("scancel", "--batch", "--signal=USR1", str(number))
    while not (folder / "trapped").exists() and time.monotonic() - began < 20:
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_trap_waits_for_a_program_in_the_foreground_and_not_for_one_behind(cluster, sent, tmp_path):
    work = "srun bash -c 'touch working; [ -e trapped ] || sleep 6'"
    faulty, mended = HEAD + TRAP + work + "\n", HEAD + TRAP + work + " &\nwait $!\n"
    assert rules(faulty) == {"foreground-srun"}
    number = sent(faulty)
    assert signalled(cluster, number, tmp_path) > 3
    cluster.run("scancel", str(number))
    cluster.ended(number)
    for name in ("trapped", "working"):
        (tmp_path / name).unlink()
    assert rules(mended) == set()
    number = sent(mended)
    assert signalled(cluster, number, tmp_path) < 3
    job = cluster.ended(number)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")


def test_a_signal_to_the_batch_shell_without_a_trap_ends_the_job_failed(cluster, sent, tmp_path):
    faulty = HEAD + "#SBATCH --requeue\n#SBATCH --signal=B:USR1@60\ntouch working\nsleep 20 &\nwait $!\n"
    assert {"signal-without-trap", "no-requeue"} == rules(faulty)
    number = sent(faulty)
    signalled_at = cluster.reached(number, lambda _: (tmp_path / "working").exists(), within=20)
    assert signalled_at["Restarts"] == "0"
    cluster.run("scancel", "--batch", "--signal=USR1", str(number))
    job = cluster.ended(number)
    assert (job["JobState"], job["Restarts"]) == ("FAILED", "0")


def test_without_b_a_signal_does_not_reach_what_the_batch_shell_runs_itself(cluster, sent, tmp_path):
    """`scancel --signal` without --batch is what --signal without B: does."""
    text = HEAD + "trap 'touch trapped' USR1\ntouch working\nsleep 3 &\nwait $!\n"
    assert "signal-without-B" in rules(text.replace("trap", "#SBATCH --signal=USR1@60\ntrap", 1))
    number = sent(text)
    cluster.reached(number, lambda _: (tmp_path / "working").exists(), within=20)
    cluster.run("scancel", "--signal=USR1", str(number), check=False)
    assert state(cluster, number) == "COMPLETED"
    assert not (tmp_path / "trapped").exists()


def test_srun_is_told_the_cpus_of_the_job():
    text = HEAD + "#SBATCH --cpus-per-task=4\n{}srun hostname\n"
    assert rules(text.format("")) == {"srun-drops-cpus"}
    assert rules(text.format("export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK\n")) == set()


@pytest.mark.parametrize("fault", ["no-shebang", "line-ends"])
def test_sbatch_refuses_what_is_no_script(sent, fault):
    text = "echo hello\n" if fault == "no-shebang" else HEAD.replace("\n", "\r\n")
    assert fault in rules(text)
    with pytest.raises(RuntimeError, match=r"does not look like a batch script|DOS line breaks"):
        sent(text)
