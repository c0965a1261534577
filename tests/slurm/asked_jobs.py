"""What tests ask of a job that was sent: its log, its run, how it ended."""

from pathlib import Path

from course_utils.experiments.training_log import read_log

STEPS = 60  # seconds at smoke scale: long enough to be interrupted
RUN = ("--batch-size", "4", "--log-every", "1", "--heldout", "0")
LONG = ("--num-steps", str(STEPS), "--checkpoint-every", "1000", *RUN)
SHORT = ("--num-steps", "4", *RUN)


def log_of(cluster, number):
    return Path(cluster.job(number)["StdOut"]).read_text()


def assert_complete(cluster, number, *, restarts=0, within=240):
    job = cluster.ended(number, within=within)
    said = log_of(cluster, number)
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("COMPLETED", "0:0", str(restarts)), said
    return said


def assert_refused(cluster, number, sentence, status=2):
    """The job failed at its first start, with one sentence and the status of the mistake."""
    job = cluster.ended(number)
    said = log_of(cluster, number)
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", f"{status}:0", "0"), said
    assert sentence in said
    assert "Traceback" not in said


def at_work(run):
    """Whether a run has logged steps, and is far from its end."""
    return lambda _: any(entry["event"] == "step" for entry in read_log(run / "log.jsonl"))


def starts(run):
    return [entry for entry in read_log(run / "log.jsonl") if entry["event"] == "start"]
