"""The rules of the linter: each looks at a script and yields the lines that break it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from course_utils.classroom.job_scripts.reading import Command, Script, read_script

__all__ = ["RULES", "Finding", "Rule", "findings"]

Seen = Iterator[tuple[int, str]]  # (line, what stands there)
Looker = Callable[[Script], Seen]

_WORKERS = r"srun|mpirun|mpiexec|torchrun|python3?|apptainer|singularity"
_QUICK = re.compile(r"python3?\s+(?:-c|-V|--version)\b")
_QUIET = r"echo|printf|date|true|:|sleep|ls|cat|rm|cp|mv|touch|nvidia-smi|squeue|sacct|seff"
_CONDA = re.compile(r"\bconda\s+activate\b|\b(?:source|\.)\s+\S*(?:activate|conda\.sh|/ext3/env\.sh)\b|conda\s+shell\.")
_OWN_PATH = re.compile(r"BASH_SOURCE|\$\{0[%#/]|\b(?:dirname|readlink|realpath|cd|source)\b[^|;']*\$\{?0\b")
_TYPED = re.compile(r"--gpus-per-task[= ]\S*[a-zA-Z]\S*:\d")


@dataclass(frozen=True)
class Finding:
    """One fault: its line (from 1), the rule it breaks, what was seen, why it bites, and the mend."""

    line: int
    rule: str
    seen: str
    why: str
    mend: str

    def __str__(self) -> str:
        return f"{self.line}: {self.rule}: {self.seen}\n    why:  {self.why}\n    mend: {self.mend}"


@dataclass(frozen=True)
class Rule:
    """What is looked for, and the words that go with it."""

    look: Looker
    why: str
    mend: str


def findings(text: str, *, folder: Path | None = None) -> list[Finding]:
    """All faults of a job script, by line.

    `folder` is where `sbatch` will be typed: a log folder that exists there is no fault. Without it the script is
    judged as it will be on a fresh clone, where no such folder is.
    """
    script = read_script(text)
    found = []
    for name, rule in RULES.items():
        for line, seen in rule.look(script):
            if name == "missing-folder" and folder is not None and (folder / seen.partition("=")[2]).parent.is_dir():
                continue
            found.append(Finding(line, name, seen, rule.why, rule.mend))
    return sorted(found, key=lambda one: one.line)


# ---- what Slurm reads ------------------------------------------------------------------------------------------------


def _first_line(script: Script) -> Seen:
    if not script.lines or not script.lines[0].startswith("#!"):
        yield 1, script.lines[0] if script.lines else "an empty file"


def _line_ends(script: Script) -> Seen:
    if "\r\n" in script.text:
        yield script.text[: script.text.index("\r\n")].count("\n") + 1, "a line that ends in CR LF"


def _near_misses(script: Script) -> Seen:
    for number, line in enumerate(script.lines, 1):
        misspelt = re.match(r"#\s+SBATCH\s+-|\s+#\s*SBATCH\s+-", line)
        if misspelt or (re.match(r"#SBATCH\s+-", line, re.IGNORECASE) and not line.startswith("#SBATCH")):
            yield number, line


def _late(script: Script) -> Seen:
    for one in script.late:
        yield one.line, script.lines[one.line - 1].strip()


def _literal(script: Script) -> Seen:
    for one in script.directives:
        if re.search(r"[$`]", one.value) or one.value.startswith("~"):
            yield one.line, f"--{one.option}={one.value}"


def _folders(script: Script) -> Seen:
    for one in script.directives:
        known = one.value.startswith(("/dev/", "~")) or "$" in one.value  # the latter have a rule of their own
        if one.option in ("output", "error") and "/" in one.value and not known:
            yield one.line, f"--{one.option}={one.value}"


def _typed_gpus(script: Script) -> Seen:
    for one in script.directives:
        if one.option == "gpus-per-task" and re.search(r"[a-zA-Z]", one.value):
            yield one.line, f"--{one.option}={one.value}"
    for command in script.commands:
        if found := _TYPED.search(command.text):
            yield command.line, found.group()


# ---- signals and requeue ---------------------------------------------------------------------------------------------


def _asked_signal(script: Script) -> tuple[int, str, bool] | None:
    """The line, the signal and whether the batch shell is meant, of `--signal=[B:]NAME[@SECONDS]`."""
    asked = script.given("signal")
    if asked is None:
        return None
    flags, colon, name = asked.value.rpartition(":")
    return asked.line, name.partition("@")[0].upper().removeprefix("SIG"), bool(colon) and "B" in flags.upper()


def _not_to_batch(script: Script) -> Seen:
    asked = _asked_signal(script)
    if asked and not asked[2] and (asked[1] in script.trapped() or not script.running("srun")):
        yield asked[0], script.lines[asked[0] - 1]


def _untrapped(script: Script) -> Seen:
    asked = _asked_signal(script)
    if asked and asked[2] and asked[1] not in script.trapped() and not script.sources_a_file:
        yield asked[0], f"{script.lines[asked[0] - 1]}, and no trap for {asked[1]}"


_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_BEHIND = re.compile(r"(?<![&>])&(?![&>])")  # no && and no 2>&1


def _foreground(script: Script) -> Seen:
    traps = script.trapped()
    if not traps:
        return
    for command in script.running(_WORKERS):
        behind = _BEHIND.search(_QUOTED.sub("", command.text))
        if command.line > min(traps.values()) and not behind and not _QUICK.search(command.text):
            yield command.line, command.text


def _nobody_requeues(script: Script) -> Seen:
    asked = _asked_signal(script)
    if asked is None or (script.sources_a_file and script.given("requeue")):
        return
    if script.given("no-requeue") or not re.search(r"scontrol\s+requeue", script.text):
        yield (
            asked[0],
            f"{script.lines[asked[0] - 1]}, and "
            + ("--no-requeue" if script.given("no-requeue") else "no `scontrol requeue`"),
        )


# ---- what bash does --------------------------------------------------------------------------------------------------


def _swallowed(script: Script) -> Seen:
    strict = script.option_is_set("e", "errexit")
    for command in script.running(_WORKERS):
        piped = re.search(r"(?<!\|)\|(?!\|)\s*(?:tee|grep|cat|head|tail)\b", command.text)
        ignored = re.search(r"\|\|\s*(?:true|:|echo\b.*)$", command.text)
        if ignored or (piped and not script.option_is_set("pipefail", "pipefail")):
            yield command.line, command.text
    tail = [command for command in script.commands if command.text not in ("fi", "done", "esac", "}")]
    if not tail or not (strict or script.running(_WORKERS)):
        return
    last = tail[-1]
    loose = last in script.running(_QUIET) or last.text == "exit 0"
    if _last_deed(script, tail).text == "wait" or (loose and not strict):  # `wait` alone returns 0 whatever happened
        yield last.line, last.text


def _last_deed(script: Script, tail: list[Command]) -> Command:
    """The last command that could have failed for a reason."""
    quiet = script.running(_QUIET)
    return next((command for command in reversed(tail) if command not in quiet), tail[-1])


def _spool(script: Script) -> Seen:
    for command in script.commands:
        if _OWN_PATH.search(command.text):
            yield command.line, command.text


def _conda(script: Script) -> Seen:
    for command in script.commands:
        if _CONDA.search(command.text) and script.option_is_set("u", "nounset", before=command.line):
            yield command.line, command.text


def _cpus(script: Script) -> Seen:
    if script.given("cpus-per-task") is None or "SRUN_CPUS_PER_TASK" in script.text or script.sources_a_file:
        return
    for command in script.running("srun"):
        if not any(word.startswith(("-c", "--cpus-per-task")) for word in _srun_options(command.text)):
            yield command.line, command.text


def _srun_options(text: str) -> Iterator[str]:
    """The options of srun itself, up to the program that it starts."""
    value_follows = False
    for word in text.partition("srun ")[2].split():
        if not word.startswith("-") and not value_follows:
            return
        value_follows = not value_follows and len(word) == 2  # `-n 2`
        yield word


RULES: dict[str, Rule] = {
    "no-shebang": Rule(
        _first_line,
        "sbatch refuses a script whose first line does not name a shell.",
        "make `#!/usr/bin/env bash` the first line.",
    ),
    "line-ends": Rule(
        _line_ends,
        "sbatch refuses line ends of Windows (DOS line breaks).",
        "save with Unix line ends: `sed -i 's/\\r$//' FILE`.",
    ),
    "not-a-directive": Rule(
        _near_misses,
        "only a line that begins with exactly #SBATCH is read; this one is a comment, and its option never counts.",
        "write #SBATCH at the start of the line, without a blank after #; two ## switch a line off on purpose.",
    ),
    "late-directive": Rule(
        _late,
        "sbatch stops reading options at the first command, without a word.",
        "move every #SBATCH line above the first command.",
    ),
    "literal-variable": Rule(
        _literal,
        "#SBATCH lines are read before any shell: variables, `~` and commands stay literal text.",
        "use sbatch's own patterns (%x name, %j job, %A_%a array, %u user), or pass the option to sbatch.",
    ),
    "missing-folder": Rule(
        _folders,
        "Slurm makes no folders: where this one is missing the job fails at once and leaves no log that says so.",
        "log beside the submit folder (`--output=%x-%j.out`), or make the folder before sbatch.",
    ),
    "typed-gpus-per-task": Rule(
        _typed_gpus,
        "a GPU type in --gpus-per-task is unreliable (seen with 22.05): the tasks may get none, or another.",
        "ask with `--gres=gpu:TYPE:N` for each node.",
    ),
    "signal-without-B": Rule(
        _not_to_batch,
        "without B: the signal goes to what srun started, never to the batch shell or a program it runs itself.",
        "write `--signal=B:NAME@SECONDS` and trap NAME in the script.",
    ),
    "signal-without-trap": Rule(
        _untrapped,
        "the signal kills a batch shell that does not trap it: the job ends FAILED and is not requeued.",
        "trap the signal: ask the program to save, wait for it, then `scontrol requeue`.",
    ),
    "foreground-srun": Rule(
        _foreground,
        "bash runs a trap only after the program in the foreground has ended, which is when Slurm has killed it.",
        "start it with `&` and `wait` for its number in a loop, since a signal also ends the `wait`.",
    ),
    "no-requeue": Rule(
        _nobody_requeues,
        "the job asks for a signal before its end, but nobody sends it back to the queue: the rest is never computed.",
        "add `#SBATCH --requeue`, and `scontrol requeue $SLURM_JOB_ID` after the checkpoint.",
    ),
    "swallowed-exit": Rule(
        _swallowed,
        "a job's state is the status of its script, which here is no longer that of the work: failed looks COMPLETED.",
        "keep it (`status=$?` after `wait $pid`) and end with `exit $status`; `set -o pipefail` before a pipe.",
    ),
    "spool-path": Rule(
        _spool,
        "Slurm runs a copy of the script from its spool folder: the script's own path leads nowhere.",
        "start from $SLURM_SUBMIT_DIR, the folder in which sbatch was typed.",
    ),
    "conda-nounset": Rule(
        _conda,
        "conda's and many modules' scripts read variables that are not set; under `set -u` that ends the job.",
        "`set +u` before, `set -u` after.",
    ),
    "srun-drops-cpus": Rule(
        _cpus,
        "since Slurm 22.05 srun does not inherit --cpus-per-task: all threads share one core.",
        "`export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK` before srun.",
    ),
}
"""Name -> rule, in the order in which they are looked for."""
