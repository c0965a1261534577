"""Visible checks of 20_cluster: job scripts are judged by the kit's linter, and by what they do in bash."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from course_utils.classroom.checks.framework import Report, exercise
from course_utils.classroom.checks.stand_ins import SAVES_WHEN_ASKED, Ended, run_script
from course_utils.classroom.job_scripts import findings
from course_utils.classroom.job_scripts.reading import read_script

__all__ = ["efficiency", "job_body", "job_head", "request"]

HEAD_RULES = ("no-shebang", "not-a-directive", "late-directive", "literal-variable", "missing-folder")
ASKED = {
    "job-name": "night", "mem": "32G", "time": "12:00:00", "cpus-per-task": "8", "gres": "gpu:a100:1",
    "signal": "B:USR1@180",
}  # fmt: skip
Looks = Sequence[float]


def kit_job_head() -> str:
    """The head of the lesson's script without its faults."""
    options = [f"#SBATCH --{option}={value}" for option, value in ASKED.items()]
    return "\n".join(["#!/usr/bin/env bash", "#SBATCH --output=%x-%j.out", *options, "#SBATCH --requeue", ""])


def kit_job_body() -> str:
    """The commands of the lesson's script without their faults; what `told` is for: a signal also ends the `wait`."""
    return """\
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
told=1
trap 'told=1; touch runs/night/STOP' USR1
srun python -m course_utils train --out runs/night &
pid=$!
while [ $told = 1 ]; do told=0; wait $pid; status=$?; done
if [ -e runs/night/REQUEUE ]; then scontrol requeue $SLURM_JOB_ID; fi
exit $status
"""


@exercise(own=kit_job_head)
def job_head(answer: Callable[[], str], report: Report) -> None:
    """Check `job_head()`: nothing is left to find in the head, and it asks for what the faulty one meant to ask."""
    text = report.call(answer)
    if not report.expect(isinstance(text, str), "a text", f"expected a text, got {type(text).__name__}"):
        return
    for one in (one for one in findings(f"{text}\ntrue\n") if one.rule in HEAD_RULES):
        report.fail(f"line {one.line}, {one.rule}: {one.seen}; {one.why}")
    script = read_script(text)
    for option, wanted in ASKED.items():
        given = script.given(option)
        seen = "no such line is read" if given is None else f"got {given.value!r}"
        right = given is not None and given.value == wanted
        report.expect(right, f"--{option}={wanted}", f"--{option}: expected {wanted!r}, {seen}")
    good, bad = "a log, and a place for it", "where is the log? --output with %x and %j, in a folder that is there"
    log = script.given("output")
    report.expect(log is not None and "%j" in log.value, good, bad)
    asks = script.given("requeue") is not None and script.given("no-requeue") is None
    report.expect(asks, "may go back to the queue", "nothing allows Slurm to send it back to the queue: --requeue")


@exercise(own=kit_job_body)
def job_body(answer: Callable[[], str], report: Report) -> None:
    """Check `job_body()` by running it with stand-ins for srun and scontrol: success, failure, and a signal."""
    text = report.call(answer)
    if not report.expect(isinstance(text, str), "a text", f"expected a text, got {type(text).__name__}"):
        return
    script = f"{kit_job_head()}\n{text}"
    trains = "course_utils train --out runs/night" in text
    if not report.expect(trains, "trains into runs/night", "the training command with --out runs/night is gone"):
        return
    if _passes_status_on(report, script):
        _answers_the_signal(report, run_script(script, SAVES_WHEN_ASKED, signal=True))
    for one in findings(script):
        report.fail(f"the linter's {one.rule}: {one.seen}; {one.why}")


def _passes_status_on(report: Report, script: str) -> bool:
    """Whether success, failure and the number of cores come through."""
    for work, wanted in (("exit 0", 0), ("exit 3", 3)):
        ended = run_script(script, work)
        if not report.expect(ended.started, "srun is started", f"srun was never started; bash says: {ended.said}"):
            return False
        what = f"the work ends with {wanted}, and so does the script"
        bad = f"the work ended with {wanted}, the script with {ended.status}: keep its status and exit with it"
        if not report.expect(ended.status == wanted, what, bad):
            return False
        bad = f"work that ended with {wanted} was sent back to the queue, though no REQUEUE file asks for it"
        if not report.expect(not ended.requeued, "and stays out of the queue", bad):
            return False
    bad = f"srun was given {ended.cores or 'no'} cores: SRUN_CPUS_PER_TASK must be exported before it starts"
    return report.expect(ended.cores == "8", "srun gets all 8 cores", bad)


def _answers_the_signal(report: Report, ended: Ended) -> None:
    """Whether the signal reaches the work, is waited for, and ends in the queue."""
    bad = "USR1 came, and no runs/night/STOP while the work ran: is srun in the background, and the trap set before?"
    if not report.expect(ended.stopped, "USR1 becomes a STOP file at once", bad):
        return
    bad = "the script went on before the checkpoint was written: a signal ends `wait`, so wait again"
    if not report.expect(ended.saved, "and the checkpoint is waited for", bad):
        return
    wanted = "requeue 42"
    bad = f"after the checkpoint scontrol was told {ended.requeued or 'nothing'}, wanted `{wanted}` for job 42"
    report.expect(ended.requeued == wanted, "and then the job goes back to the queue", bad)


def kit_efficiency(
    elapsed_s: float, cores: int, cpu_s: float, asked_bytes: float, peak_bytes: float, looks: Looks
) -> tuple[float, float, float | None]:
    """Shares of cores, memory and GPU that a job used of what it had reserved; None without a look at the GPU."""
    gpu = sum(looks) / len(looks) if looks else None
    return cpu_s / (elapsed_s * cores), peak_bytes / asked_bytes, gpu


@exercise(own=kit_efficiency)
def efficiency(answer: Callable[..., tuple[float, float, float | None]], report: Report) -> None:
    """Check `efficiency(elapsed_s, cores, cpu_s, asked_bytes, peak_bytes, looks)` -> shares of cores, memory, GPU."""
    for job in ((100.0, 8, 100.0, 64e9, 16e9, [0.5, 0.7]), (3600.0, 4, 10800.0, 32e9, 24e9, [0.9, 0.8, 0.1])):
        got = report.call(answer, *job)
        if not report.expect(isinstance(got, tuple | list) and len(got) == 3, "three shares", "return three shares"):
            return
        case, wanted = f"{job[1]} cores for {job[0]:g} s", kit_efficiency(*job)
        good = report.close(f"cores, {case}", got[0], wanted[0], hint="of all cores that were reserved, all the time")
        good &= report.close(f"memory, {case}", got[1], wanted[1], hint="the peak, of what was asked")
        good &= report.close(f"GPU, {case}", got[2], wanted[2] or 0.0, hint="the mean of the looks")
        if not good:
            return
    got = report.call(answer, 10.0, 1, 5.0, 1e9, 1e8, [])
    report.expect(got[2] is None, "no look, no number", f"without any look expected None for the GPU, got {got[2]!r}")


def kit_request(steps: int, step_s: float, start_s: float, peak_gib: float) -> tuple[float, int]:
    """Hours to ask for, in halves, with half as much again in reserve; GiB, with a quarter in reserve."""
    return math.ceil(1.5 * (start_s + steps * step_s) / 1800) / 2, math.ceil(1.25 * peak_gib)


@exercise(own=kit_request)
def request(answer: Callable[[int, float, float, float], tuple[float, int]], report: Report) -> None:
    """Check `request(steps, step_s, start_s, peak_gib)` -> (hours, GiB)."""
    for job in ((10_000, 0.12, 60.0, 6.0), (1_000, 0.1, 20.0, 3.3), (20_000, 0.35, 100.0, 16.0)):
        hours, gib = report.call_for(("hours", "GiB"), answer, *job)
        case = f"{job[0]} steps of {job[1]} s after {job[2]:g} s, {job[3]} GiB"
        good = report.close(f"hours, {case}", hours, kit_request(*job)[0], hint="x 1.5, then up to the next half hour")
        good &= report.close(f"GiB, {case}", gib, kit_request(*job)[1], hint="x 1.25, then up to the next whole GiB")
        if not good:
            return
