"""One table of a sweep's runs: what each reached, how fast, on what. `python slurm/sweep_table.py FOLDER [NAMES]`.

Standard library alone; reads `log.jsonl` of the runs NAMES below FOLDER (of all that are there, without names) and
writes FOLDER/table.md.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

__all__ = ["main", "row", "table"]

COLUMNS = ("run", "step", "images seen", "held-out loss", "img/s", "device")


def main(argv: list[str]) -> int:
    """Write and print the table; 1 where a run that was asked for is missing or not finished."""
    if not argv or not Path(argv[0]).is_dir():
        print("usage: python slurm/sweep_table.py FOLDER [NAMES-OF-THE-RUNS-THAT-WERE-ASKED-FOR]", file=sys.stderr)
        return 2
    folder = Path(argv[0])
    names = argv[1:] or [path.parent.name for path in folder.glob("*/log.jsonl")]
    rows = [row(folder / name / "log.jsonl") for name in sorted(names)]
    text = table(rows)
    (folder / ".table.md.tmp").write_text(text)
    (folder / ".table.md.tmp").replace(folder / "table.md")
    print(f"{folder / 'table.md'}\n\n{text}", end="")
    return 0 if all(one["complete"] for one in rows) else 1


def row(log: Path) -> dict[str, Any]:
    """What one run's log says last; the speed is the median of its readings (img/s), None where there is nothing."""
    lines = log.read_text().splitlines() if log.exists() else []
    entries = [json.loads(line) for line in lines if line.endswith("}")]
    steps = [entry for entry in entries if entry["event"] == "step"]
    starts = [entry for entry in entries if entry["event"] == "start"]
    losses = [entry["loss"] for entry in entries if entry["event"] == "heldout"]
    speeds = [entry["img_per_s"] for entry in steps if entry.get("img_per_s")]
    return {
        "run": log.parent.name,
        "step": steps[-1]["step"] if steps else 0,
        "images seen": steps[-1]["images_seen"] if steps else 0,
        "held-out loss": losses[-1] if losses else None,
        "img/s": statistics.median(speeds) if speeds else None,
        "device": device(starts[-1]["manifest"]) if starts else None,
        "complete": bool(steps and starts) and steps[-1]["step"] >= starts[-1].get("num_steps", math.inf),
    }


def device(manifest: dict[str, Any]) -> str:
    """On what a run worked, as its manifest names it."""
    told = manifest.get("device")
    return str(told.get("name", told) if isinstance(told, dict) else told)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one line a run, and below it what makes the lines unlike."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cell(one[name]) for name in COLUMNS) + " |" for one in rows]
    notes = []
    if len({one["device"] for one in rows if one["device"]}) > 1:
        notes.append("The runs were made on different devices: compare their losses, not their speeds.")
    if len({one["images seen"] for one in rows}) > 1:
        notes.append("The runs saw different numbers of images: their losses are not those of an equal budget.")
    if missing := [one["run"] for one in rows if not one["device"]]:
        notes.append(f"No log of {', '.join(missing)}: its task was not sent, or failed before the first step.")
    done = sum(one["complete"] for one in rows)
    if done < len(rows):
        again = f"send the same sbatch again, with --array=0-{len(rows) - 1}: it goes on where they stopped."
        notes.append(f"{done} of {len(rows)} runs are complete: {again}")
    return "\n".join([*lines, *(f"\n{note}" for note in notes)]) + "\n"


def cell(value: Any) -> str:
    """A value of the table; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.5g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
