"""Open the course in JupyterLab: what `make lab` does once the kit is installed.

    python -m course_utils.classroom.lab [any option of `jupyter lab`]

The notebooks are copied to my/, where the student works, and never again overwritten there.
"""

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["copy_notebooks", "main", "override_settings"]

ROOT = Path(__file__).resolve().parents[2]
START = "my/00_start.ipynb"
OVERRIDES = Path("share/jupyter/lab/settings/overrides.json")
SETTINGS: dict[str, dict[str, object]] = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True},
}
"""Of JupyterLab: no news pop-up, no update check, and a saved notebook keeps its widgets as they were last seen."""


def copy_notebooks(root: Path) -> list[Path]:
    """Copy notebooks/ to my/ where not there yet; return those of which notebooks/ has a newer version than the copy.

    What was copied is remembered by content in my/.copied.json. A file in my/ is never overwritten.
    """
    mine = root / "my"
    mine.mkdir(exist_ok=True)
    memory = mine / ".copied.json"
    copied: dict[str, str] = json.loads(memory.read_text()) if memory.exists() else {}
    newer = []
    for shipped in _shipped(root):
        name, content = shipped.relative_to(root / "notebooks"), _sha256(shipped)
        if not (mine / name).exists():
            _copy(shipped, mine / name)
            copied[str(name)] = content
        elif copied.get(str(name), content) != content:
            newer.append(mine / name)
    _write(memory, json.dumps(copied, indent=1, sort_keys=True))
    return newer


def _shipped(root: Path) -> list[Path]:
    """The notebooks and all that lies in folders beside them, such as figures."""
    folder = root / "notebooks"
    beside = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]
    return [*sorted(folder.glob("*.ipynb")), *sorted(path for path in beside if ".ipynb_checkpoints" not in path.parts)]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".tmp")
    shutil.copyfile(source, unfinished)
    unfinished.replace(target)


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text)
    unfinished.replace(path)


def override_settings(prefix: Path) -> None:
    """Give JupyterLab in this environment the settings of the course; other settings there are kept."""
    path = prefix / OVERRIDES
    settings = json.loads(path.read_text()) if path.exists() else {}
    if settings | SETTINGS == settings:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(settings | SETTINGS, indent=2))


def _has_browser() -> bool:
    """True where a browser window can open: not in a container, over ssh without a display, and the like."""
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def lab_options(root: Path, token: str, given: Sequence[str] = ()) -> list[str]:
    """Options of `jupyter lab` for a course in this folder, and those given, which replace ours of the same name."""
    options = [
        f"--ServerApp.root_dir={root}",
        f"--IdentityProvider.token={token}",
        "--ServerApp.answer_yes=True",  # Ctrl-C ends it without asking back
        "--ServerApp.log_level=ERROR",
        "--LabApp.log_level=ERROR",
    ]
    if (root / START).exists():
        options.append(f"--LabApp.default_url=/lab/tree/{START}")
    if os.geteuid() == 0:
        options.append("--allow-root")
    if not _has_browser():
        options.append("--no-browser")
    replaced = {option.split("=")[0] for option in given}
    return [*(option for option in options if option.split("=")[0] not in replaced), *given]


def run_lab(options: list[str]) -> None:
    """Run JupyterLab until Ctrl-C or SIGTERM; once it listens (on a taken port, on the next one), say where."""
    from jupyterlab.labapp import LabApp

    server = LabApp.initialize_server(argv=options)
    token = server.identity_provider.token
    address = f"{server.connection_url.rstrip('/')}{server.default_url}" + (f"?token={token}" if token else "")
    words = f"JupyterLab is running. Open this address in a browser:\n\n    {address}\n"
    server.io_loop.add_callback(print, f"\n{words}\nCtrl-C ends it; my/ keeps your work.\n", flush=True)
    server.start()


def main(argv: list[str] | None = None) -> int:
    """Command line: copy the notebooks, then run JupyterLab."""
    newer = copy_notebooks(ROOT)
    for path in newer:
        print(
            f"notebooks/{path.relative_to(ROOT / 'my')} is newer than {path.relative_to(ROOT)}, which stays as it is."
        )
    if newer:
        print("To get a newer one, rename or delete yours and type `make lab` again.")
    override_settings(Path(sys.prefix))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one of the user's of the same name
    try:
        run_lab(lab_options(ROOT, secrets.token_hex(24), sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # Ctrl-C while JupyterLab was still starting
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
