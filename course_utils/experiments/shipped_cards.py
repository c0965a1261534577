"""Putting a file among those that are shipped: whole, listed with its checksum, its card beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from course_utils.atomic import replacing
from course_utils.shipped import SUMS, card, checksums, sha256_of, shipped_names

__all__ = ["CIFAR10_TERMS", "OWN_TERMS", "page", "put", "retell", "write_page"]

OWN_TERMS = "same terms as this repository"
CIFAR10_TERMS = (
    "CIFAR-10: its authors state no licence and ask to be cited (A. Krizhevsky, Learning Multiple Layers of Features "
    "from Tiny Images, 2009)"
)
MARKS = ("<!-- shipped:begin -->", "<!-- shipped:end -->")


def put(folder: Path, name: str, write: Callable[[Path], object], told: Mapping[str, Any]) -> Path:
    """Write `folder`/`name` with `write(path)`, its card `STEM.json` with `told`, its checksum and the page's table.

    The same tensors and words give the same bytes. `told` says at least `what`, `terms` and `command`.
    """
    path = folder / name
    with replacing(path) as temporary:
        write(temporary)
        _settle(temporary)
    retell(folder, name, told)
    listed = checksums(folder) | {name: sha256_of(path)}
    with replacing(folder / SUMS) as temporary:
        temporary.write_text("".join(f"{sha256}  {each}\n" for each, sha256 in sorted(listed.items())))
    write_page(folder)
    return path


def retell(folder: Path, name: str, told: Mapping[str, Any]) -> None:
    """Write the card of a file that is there already, its checksum and size included."""
    path = folder / name
    own = {"file": name, "sha256": sha256_of(path), "bytes": path.stat().st_size}
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**own, **told}, indent=1) + "\n")


def page(folder: Path) -> str:
    """The shipped files as a Markdown table: size, SHA-256, terms, how each was made."""
    lines = ["| file | what it is | MB | SHA-256 begins | terms | made by |", "|---|---|---|---|---|---|"]
    for name in shipped_names(folder):
        told = card(name, folder=folder)
        size, sha256 = told["bytes"] / 1e6, told["sha256"][:12]
        lines.append(f"| `{name}` | {told['what']} | {size:.1f} | `{sha256}` | {told['terms']} | `{told['command']}` |")
    return "\n".join(lines)


def write_page(folder: Path) -> None:
    """Put the table into `folder`/README.md between its marks. Raises `ValueError` where the marks are not there."""
    path = folder / "README.md"
    text = path.read_text()
    if not all(mark in text for mark in MARKS):
        raise ValueError(f"{path} lacks the lines {' and '.join(MARKS)}, between which its table goes: add them.")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    with replacing(path) as temporary:
        temporary.write_text(f"{before}{MARKS[0]}\n{page(folder)}\n{MARKS[1]}{after}")


def _settle(path: Path) -> None:
    """Put the metadata in a safetensors header in order: the library writes it in another one every time."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = dict(sorted(header.pop("__metadata__", {}).items()))
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
