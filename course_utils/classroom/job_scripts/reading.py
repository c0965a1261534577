"""A job script as Slurm and bash read it: directives up to the first command, then commands, each with its line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Command", "Directive", "Script", "read_script"]

_LONG = {
    "A": "account", "c": "cpus-per-task", "e": "error", "J": "job-name", "N": "nodes", "n": "ntasks", "o": "output",
    "p": "partition", "t": "time",
}  # fmt: skip
_HERE_DOCUMENT = re.compile(r"(?<!<)<<-?\s*(['\"]?)(\w+)\1")
_COMMENT = re.compile(r"\s+#.*$")
_SET = re.compile(r"(?:^|[;&]\s*)set\s+([-+])([A-Za-z]*)((?:\s+[-+]?\w+)*)")


@dataclass(frozen=True)
class Directive:
    """One option of a `#SBATCH` line: `--output=x` is ("output", "x")."""

    line: int
    option: str
    value: str


@dataclass(frozen=True)
class Command:
    """One logical line of bash: continued lines joined, comments and here-documents left out."""

    line: int
    text: str


@dataclass(frozen=True)
class Script:
    """A job script in parts; `late` are the directives below the first command, which Slurm does not read."""

    text: str
    lines: tuple[str, ...]
    directives: tuple[Directive, ...]
    late: tuple[Directive, ...]
    commands: tuple[Command, ...]

    @property
    def is_job(self) -> bool:
        """Whether any line means to speak to sbatch."""
        return any(re.match(r"\s*#+\s*SBATCH\b", line, re.IGNORECASE) for line in self.lines)

    @property
    def sources_a_file(self) -> bool:
        """Whether another file is read in, which may do what is not seen here."""
        return any(re.search(r"(?:^|[;&|{]\s*)(?:source|\.)\s+[\"$/\w]", command.text) for command in self.commands)

    def given(self, option: str) -> Directive | None:
        """The last directive of a name, the one that counts; None where there is none."""
        return next((one for one in reversed(self.directives) if one.option == option), None)

    def running(self, pattern: str) -> list[Command]:
        """The commands that start with a program matching `pattern`, after assignments, `if`, `exec` and the like."""
        start = re.compile(rf"^(?:(?:\w+=\S*|if|!|then|do|else|exec|time|env|nohup|{{|\()\s+)*(?:{pattern})(?:\s|$)")
        return [command for command in self.commands if start.match(command.text)]

    def trapped(self) -> dict[str, int]:
        """Signals that a `trap` catches (EXIT and friends left out) -> the line."""
        found: dict[str, int] = {}
        for command in self.running("trap"):
            names = _words(command.text)[2:]
            kept = [name.upper().removeprefix("SIG") for name in names]
            found |= {name: command.line for name in kept if name not in ("EXIT", "ERR", "DEBUG", "RETURN", "0")}
        return found

    def option_is_set(self, letter: str, name: str, before: int | None = None) -> bool:
        """Whether bash runs with `set -LETTER` (`set -o NAME`) at a line, or at the end."""
        on = bool(self.lines) and re.match(rf"#!.*\s-\w*{letter}", self.lines[0]) is not None
        for command in self.commands:
            if before is not None and command.line >= before:
                break
            for sign, letters, rest in _SET.findall(command.text):
                more = [word for word in rest.split() if word.startswith("-")]
                if letter in "".join([letters, *more]) or name in rest.split():
                    on = sign == "-"
        return on


def read_script(text: str) -> Script:
    """Take a script apart."""
    lines = tuple(text.splitlines())
    commands = tuple(_commands(lines))
    first = commands[0].line if commands else len(lines) + 1
    given = [
        one for number, line in enumerate(lines, 1) if line.startswith("#SBATCH") for one in _options(number, line)
    ]
    early = tuple(one for one in given if one.line < first)
    return Script(text, lines, early, tuple(one for one in given if one.line > first), commands)


def _commands(lines: tuple[str, ...]) -> Iterator[Command]:
    """The logical lines that bash runs."""
    start, joined, until = 0, "", ""
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r")
        if until:
            until = "" if line.strip() == until else until
            continue
        if not joined and (not line.strip() or line.lstrip().startswith("#")):
            continue
        start = start if joined else number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        whole = (
            _COMMENT.sub("", joined + line).strip() if "'" not in line and '"' not in line else (joined + line).strip()
        )
        document = _HERE_DOCUMENT.search(whole)
        until, joined = document.group(2) if document else "", ""
        yield Command(start, " ".join(whole.split()))


def _options(number: int, line: str) -> Iterator[Directive]:
    """The options of one `#SBATCH` line."""
    words = _words(line.removeprefix("#SBATCH"))
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            name, sign, value = word[2:].partition("=")
        elif word.startswith("-") and len(word) > 1:
            name, sign, value = _LONG.get(word[1], word[1]), word[2:3], word[2:].removeprefix("=")
        else:
            continue
        if not sign and words and not words[0].startswith("-"):
            value = words.pop(0)
        yield Directive(number, name, value)


def _words(text: str) -> list[str]:
    """The words of a line as a shell splits them; by blanks alone where a quote is left open."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()
