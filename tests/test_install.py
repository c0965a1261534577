"""The installer: hand-over between Pythons, one sentence for each obstacle, resume, and nothing done twice."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from course_utils.classroom import install as installer
from course_utils.classroom.install import InstallError, explain

SOURCE = Path(installer.__file__)
NO_SETTINGS = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_RETRIES": "1", "PIP_NO_INPUT": "1"}


@pytest.fixture
def clone(tmp_path):
    """The files an install reads, in a folder whose name has a space."""
    root = tmp_path / "a clone"
    target = root / "course_utils" / "classroom" / "install.py"
    target.parent.mkdir(parents=True)
    shutil.copy(SOURCE, target)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(installer.ROOT / name, root)
    return root


def run_install(clone, *, before=(), python=sys.executable, **environment):
    """Run the clone's installer as make does; the sentence it ends with is the last line of stderr."""
    command = [*before, python, "-I", str(clone / "course_utils/classroom/install.py")]
    base = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "COV_"))}
    environment = {**base, **NO_SETTINGS, **environment}
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=240)


# ---- which Python ----------------------------------------------------------------------------------------------------


def test_the_source_parses_on_python_3_6():
    ast.parse(SOURCE.read_text(), feature_version=(3, 6))


def fake_python(folder, name, version):
    """A program that answers like a Python of some version, and says which arguments it was started with otherwise."""
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f'#!/bin/sh\nif [ "$2" = -c ]; then echo {version}; else echo "{name} started $3"; fi\n')
    script.chmod(0o755)


@pytest.mark.parametrize("version", [(3, 10, 4), (3, 14, 0)])
def test_another_python_is_used_when_this_one_is_out_of_range(tmp_path, monkeypatch, version):
    fake_python(tmp_path / "bin", "python3.13", "3 9")  # lies about its version: a shim
    fake_python(tmp_path / "bin", "python3.12", "3 12")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    started = []
    monkeypatch.setattr(installer.sys, "version_info", version)
    monkeypatch.setattr(installer.os, "execv", lambda path, argv: started.append(argv) or sys.exit(0))
    with pytest.raises(SystemExit):
        installer.main(["--test"])
    assert started == [[str(tmp_path / "bin/python3.12"), "-I", str(SOURCE), "--test"]]


def test_no_fitting_python_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installer.sys, "version_info", (3, 14, 0))
    assert installer.main([]) == 1
    said = capsys.readouterr().err
    assert "needs Python 3.11, 3.12 or 3.13" in said
    assert said.count("\n") == 1


def old_python():
    """A real Python below 3.11 on this machine, if any."""
    names = [
        *Path.home().glob(".pyenv/versions/3.*/bin/python3"),
        *map(Path, filter(None, [shutil.which("python3.9")])),
    ]
    fits = [str(path) for path in names if (3,) < installer._version_of(str(path)) < (3, 11)]
    return fits[0] if fits else None


@pytest.mark.skipif(old_python() is None, reason="no Python below 3.11 on this machine to try the installer with")
def test_a_real_old_python_says_one_sentence(clone, tmp_path):
    done = run_install(clone, python=old_python(), PATH=str(tmp_path))
    assert done.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert done.stderr.count("\n") == 1


# ---- obstacles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_one_sentence(clone, monkeypatch, module):
    monkeypatch.setattr(installer, "find_spec", lambda name: None if name == module else object())
    with pytest.raises(InstallError, match=r"comes without `venv`.*python3-venv"):
        installer.install(clone, set())


def test_a_small_disk_is_said_before_anything_is_made(clone, monkeypatch):
    monkeypatch.setattr(installer.shutil, "disk_usage", lambda path: SimpleNamespace(free=2_500_000_000))
    monkeypatch.setattr(installer.platform, "system", lambda: "Linux")
    with pytest.raises(InstallError, match=r"has 2\.5 GB free and the install needs about 8 GB"):
        installer.install(clone, set())
    assert not (clone / ".venv").exists()


def test_a_read_only_folder_is_one_sentence(clone):
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: a read-only folder cannot be made for root")
    done = run_install(clone, before=["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/var/tmp"])
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"The folder {clone} is read-only: copy the course to a folder of your own."]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, "No package index could be reached"),
        ({"PIP_NO_INDEX": "1"}, "The package index does not offer setuptools"),
    ],
)
def test_no_network_and_no_index_end_in_one_sentence_and_resume(clone, setting, sentence):
    done = run_install(clone, **setting)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert (clone / ".venv/bin/python").exists()
    assert not (clone / ".venv/course-stamp.json").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk filled up"),
        ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", "PIP_CERT"),
        ("WARNING: Retrying (Retry(total=4)) ... Temporary failure in name resolution", "check the network"),
        ("ERROR: No matching distribution found for torch==2.14.1", "does not offer torch==2.14.1:"),
        ("building\nerror: something else\n", "pip failed: error: something else"),
        ("", "pip failed: it gave no reason"),
    ],
)
def test_what_pip_printed_becomes_one_sentence(words, sentence):
    said = explain(words, "pip failed")
    assert sentence in said
    assert "\n" not in said


# ---- done once, resumed, made anew -----------------------------------------------------------------------------------


@pytest.fixture
def counted(clone, monkeypatch):
    """A clone with real environments but no downloads; the list grows by what pip and ipykernel are asked for."""
    calls = []
    monkeypatch.setattr(installer, "_pip_install", lambda root, extras: calls.append(sorted(extras)))
    monkeypatch.setattr(installer, "_register_kernel", lambda root: calls.append("kernel"))
    return clone, calls


def test_an_install_is_done_once_and_again_when_something_changed(counted):
    root, calls = counted
    installer.install(root, set())
    installer.install(root, set())
    assert calls == [[], "kernel"]
    assert json.loads((root / ".venv/course-stamp.json").read_text())["extras"] == []

    installer.install(root, {"test"})
    installer.install(root, set())  # what is there is more than asked for
    assert calls[2:] == [["test"], "kernel"]

    (root / "constraints.txt").write_text("torch==9.9.9\n")
    installer.install(root, set())
    assert calls[4:] == [["test"], "kernel"]  # the extras that were there stay


def test_an_interrupted_install_goes_on_where_it_stopped(counted):
    root, calls = counted
    installer.install(root, set())
    (root / ".venv/course-stamp.json").unlink()  # as if the end had not been reached
    marker = root / ".venv/bin/marker"
    marker.touch()
    half = next((root / ".venv/lib").glob("python*/site-packages")) / "half-1.0.dist-info"
    half.mkdir()
    (half / "METADATA").write_text("Metadata-Version: 2.1\nName: half\nVersion: 1.0\n")
    installer.install(root, set())
    assert marker.exists(), "a usable .venv is kept"
    assert not half.exists(), "a package whose install was cut short is installed again"
    assert calls == [[], "kernel", [], "kernel"]


def test_a_venv_that_was_moved_or_broken_is_made_anew(counted):
    root, _ = counted
    installer.install(root, set())
    moved = root.with_name("moved")
    root.rename(moved)
    (moved / ".venv/marker").touch()
    installer.install(moved, set())
    assert not (moved / ".venv/marker").exists()
    assert str(moved) in (moved / ".venv/bin/pip").read_text()


def test_a_pipe_gets_the_steps_that_take_long_and_no_wall_of_text(capsys):
    for line in (
        "Collecting torch==2.14.1",
        "  Downloading six-1.17.0-py2.py3-none-any.whl (11 kB)",
        "Using cached 100.whl",
    ):
        installer._show_progress(line)
    assert capsys.readouterr().out == ""
    installer._show_progress("  Downloading torch-2.14.1-cp311-manylinux_2_28_x86_64.whl (554.2 MB)\n")
    installer._show_progress("Installing collected packages: " + ", ".join(map(str, range(100))))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Downloading torch-2.14.1-cp311-manylinux_2_28_x86_64.whl (554.2 MB)"
    assert said[1].startswith("Installing collected packages: 0, 1")
    assert len(said[1]) == 110


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(root, extras):
        raise KeyboardInterrupt

    monkeypatch.setattr(installer, "install", interrupted)
    assert installer.main([]) == 130
    assert "goes on where this one stopped" in capsys.readouterr().err
