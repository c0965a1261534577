"""Transcripts say on what they were recorded, are read as Slurm meant them, and are played where a Slurm answers."""

import re
import shutil
from pathlib import Path

import pytest

from course_utils.classroom import transcripts
from course_utils.classroom.transcripts import SESSIONS, SlurmError, job_script, observed, play, read_sacct, recorded
from course_utils.classroom.transcripts.accounting import seconds_of

TABLE = """\
$ sacct -j 7 -o ...
JobID             State    Elapsed  Timelimit  AllocCPUS   TotalCPU     ReqMem     MaxRSS
------------ ---------- ---------- ---------- ---------- ---------- ---------- ----------
7             COMPLETED   00:01:40 1-02:00:00          4  03:20.500        64G
7.batch       COMPLETED   00:01:40                     4  00:00.500                 4096K
7.0           COMPLETED   00:01:38                     4  03:20.000                    2M
"""
ANSWERS = {  # a Slurm of one job, in bash
    "scontrol": '[ "$1" = ping ] && echo "Slurmctld(primary) at here is UP" || echo JobState=COMPLETED',
    "sbatch": '[ "$1" = --version ] && echo slurm 99.1 || echo Submitted batch job 41',
    "squeue": "echo COMPLETED",
    "scancel": "true",
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Puts stand-ins of Slurm's programs first on the path; a text takes the place of one."""

    def install(**changed):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, body in (ANSWERS | changed).items():
            (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return install


@pytest.mark.parametrize("name", SESSIONS)
def test_a_recorded_transcript_names_its_slurm_and_no_place_on_a_machine(name):
    first, *rest = recorded(name).splitlines()
    assert re.match(r"# Recorded \d{4}-\d\d-\d\d on slurm\S* \d+\.\d+.*: no GPU", first), first
    typed = [step for step in SESSIONS[name].steps if step.startswith("$ ")]
    assert len([line for line in rest if line.startswith("$ ")]) == len(typed)
    assert not re.search(r"/(home|root|tmp|work|scratch)/", recorded(name))


@pytest.mark.parametrize("name", [name for name in SESSIONS if "$ cat train.sh" in SESSIONS[name].steps])
def test_what_was_recorded_is_the_script_that_is_sent(name):
    assert job_script(name) in recorded(name)


def test_the_recorded_sessions_show_what_the_lesson_says_of_them():
    assert "JobState=FAILED" in recorded("folder")
    assert ".out" not in recorded("folder").split("$ ls")[1]
    assert "JobState=COMPLETED" in recorded("echo")
    assert "ExitCode=0:0" in recorded("echo")
    assert "can't open file" in recorded("echo")
    asked, never = (
        seconds_of(re.search(rf"([\d:]+) {words}", recorded("trap")).group(1)) for words in ("trap:", "never")
    )
    assert asked >= never  # only when srun had ended
    restarts, log = (
        re.search(r"Restarts=(\d+)", recorded("mended")).group(1),
        recorded("mended").split("$ cat train-")[1],
    )
    assert restarts == "1"
    assert log.index("trap:") < log.index("saved") < log.index("start after 1") < log.index("complete")
    last = recorded("queue").rpartition("$ squeue")[2]
    states = {row.split()[0]: row.split()[1] for row in last.splitlines()[2:]}
    assert states == {"others": "RUNNING", "short": "RUNNING", "whole": "PENDING", "long": "PENDING"}


def test_the_recorded_job_used_little_of_what_it_had_reserved():
    job = read_sacct(recorded("efficiency"))
    assert (job.cores, job.limit_s, job.asked_bytes) == (8, 43_200, 64 * 2**30)
    assert 0 < job.cpu_s < job.elapsed_s * job.cores
    assert 2**27 < job.peak_bytes < job.asked_bytes


def test_the_table_of_sacct_is_read_by_its_columns():
    job = read_sacct(TABLE)
    assert job == (100, 26 * 3600, 4, 200.5, 64 * 2**30, 4 * 2**20)
    with pytest.raises(ValueError, match="no table of sacct"):
        read_sacct("JobID\n-----\n7\n")
    with pytest.raises(ValueError, match="no table of sacct"):
        read_sacct("")


def test_times_of_slurm_are_read_in_seconds():
    assert [seconds_of(text) for text in ("59", "01:00", "1:00:00", "2-00:00:01", "00:00.250")] == [
        59, 60, 3600, 172801, 0.25,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="time is 'UNLIMITED'"):
        seconds_of("UNLIMITED")


def test_names_that_are_no_session_are_refused():
    with pytest.raises(ValueError, match="name is 'nothing', wanted one of folder, echo"):
        recorded("nothing")
    with pytest.raises(ValueError, match="name is 'nothing', wanted the script"):
        job_script("nothing")


def test_without_a_slurm_the_recorded_one_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert transcripts.slurm_version() is None
    assert observed("echo") == recorded("echo")


def test_a_controller_that_does_not_answer_is_no_slurm(slurm):
    slurm(scontrol='echo "Slurmctld(primary) at here is DOWN"; exit 1')
    assert transcripts.slurm_version() is None


def test_where_a_slurm_answers_the_session_is_played_on_it(slurm):
    third = "n=$(cat ../n || echo 0); echo $((n + 1)) > ../n; [ $n -gt 1 ] && echo COMPLETED || echo PENDING"
    folder = slurm(squeue=f"{{ {third}; }} 2> /dev/null")
    said = observed("folder")
    assert said.startswith("# Live, on the slurm 99.1 that answers here.\n$ cat train.sh\n" + job_script("folder"))
    assert "$ sbatch train.sh\nSubmitted batch job 41\n" in said
    assert said.endswith("JobState=COMPLETED\n$ ls\ntrain.sh\n")
    assert int((folder / "n").read_text()) == 3  # it waited for the end
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["bin"]


def test_a_refused_job_or_a_long_queue_shows_the_reason_and_the_recorded_one(slurm):
    refuses = '[ "$1" = --version ] && echo slurm 99.1 || { echo "sbatch: error: no account" >&2; exit 1; }'
    slurm(sbatch=refuses)
    first, rest = observed("echo").split("\n", 1)
    assert "Slurm refused the job: sbatch: error: no account" in first
    assert rest == recorded("echo")


def test_a_job_that_does_not_start_in_time_is_cancelled(slurm):
    folder = slurm(squeue="echo PENDING", scancel='echo "$@" >> ../cancelled')
    with pytest.raises(SlurmError, match="job 41 was still PENDING"):
        play("echo", within_s=1.5)
    assert (folder / "cancelled").read_text() == "--quiet 41\n"


def test_every_session_has_its_files():
    for folder, names in (("scripts", {*SESSIONS, "night"}), ("recorded", set(SESSIONS))):
        files = {path.stem for path in (Path(transcripts.__file__).parent / folder).iterdir()}
        assert files == names
    assert shutil.which("bash")
