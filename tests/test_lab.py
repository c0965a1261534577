"""`make lab` behind the install: copies that are never overwritten, and a JupyterLab that starts and ends anywhere."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from course_utils.classroom import lab


@pytest.fixture
def course(tmp_path):
    """A course folder with one notebook and one figure."""
    (tmp_path / "notebooks/figures").mkdir(parents=True)
    (tmp_path / "notebooks/00_start.ipynb").write_text("shipped, version 1")
    (tmp_path / "notebooks/figures/map.svg").write_text("<svg/>")
    (tmp_path / "notebooks/.ipynb_checkpoints").mkdir()
    (tmp_path / "notebooks/.ipynb_checkpoints/00_start-checkpoint.ipynb").write_text("no part of the course")
    return tmp_path


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_first_start_copies_notebooks_and_figures(course):
    assert lab.copy_notebooks(course) == []
    mine = files(course / "my")
    assert set(mine) == {"00_start.ipynb", "figures/map.svg", ".copied.json"}
    assert mine["00_start.ipynb"] == "shipped, version 1"


def test_a_students_work_is_never_overwritten_and_a_newer_notebook_is_said(course):
    lab.copy_notebooks(course)
    work = course / "my/00_start.ipynb"
    work.write_text("my answers")
    assert lab.copy_notebooks(course) == [], "work of one's own is no reason to speak of a newer version"

    (course / "notebooks/00_start.ipynb").write_text("shipped, version 2")
    (course / "notebooks/01_baseline.ipynb").write_text("new in this version")
    for _ in range(2):  # it is said each time, until something is done about it
        assert lab.copy_notebooks(course) == [work]
        assert work.read_text() == "my answers"
    assert (course / "my/01_baseline.ipynb").read_text() == "new in this version"

    work.rename(course / "my/00_start_mine.ipynb")
    assert lab.copy_notebooks(course) == []
    assert work.read_text() == "shipped, version 2"


def test_a_file_that_the_student_put_there_first_is_left_alone(course):
    (course / "my").mkdir()
    (course / "my/00_start.ipynb").write_text("brought along")
    assert lab.copy_notebooks(course) == []
    assert (course / "my/00_start.ipynb").read_text() == "brought along"


def test_the_news_are_off_widgets_are_saved_and_other_settings_kept(tmp_path):
    path = tmp_path / lab.OVERRIDES
    path.parent.mkdir(parents=True)
    path.write_text('{"theme": {"dark": true}}')
    lab.override_settings(tmp_path)
    lab.override_settings(tmp_path)
    settings = json.loads(path.read_text())
    assert settings["theme"] == {"dark": True}
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert settings["@jupyter-widgets/jupyterlab-manager:plugin"] == {"saveState": True}


@pytest.mark.parametrize(("uid", "expected"), [(0, True), (1000, False)])
def test_root_is_allowed_only_to_root(course, monkeypatch, uid, expected):
    monkeypatch.setattr(lab.os, "geteuid", lambda: uid)
    assert ("--allow-root" in lab.lab_options(course, "token")) is expected


@pytest.mark.parametrize(
    ("platform", "variables", "headless"),
    [
        ("linux", {}, True),
        ("linux", {"DISPLAY": ":0"}, False),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, False),
        ("darwin", {}, False),
        ("darwin", {"SSH_CONNECTION": "from afar"}, True),
    ],
)
def test_no_browser_is_opened_where_there_is_no_display(course, monkeypatch, platform, variables, headless):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lab.sys, "platform", platform)
    assert ("--no-browser" in lab.lab_options(course, "token")) is headless


def test_an_option_given_replaces_ours_of_the_same_name(course):
    options = lab.lab_options(course, "secret", ["--port", "9000", "--IdentityProvider.token=mine"])
    assert options[-3:] == ["--port", "9000", "--IdentityProvider.token=mine"]
    assert not any("secret" in option for option in options)


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_real_lab_takes_the_next_port_serves_its_address_and_ends_on_ctrl_c(course, tmp_path, taken_port):
    """The module runs from a course folder of its own, headless, on a port that is taken."""
    package = course / "course_utils/classroom"
    package.mkdir(parents=True)
    shutil.copy(lab.__file__, package / "lab.py")
    places = {f"JUPYTER_{name}_DIR": str(tmp_path / "jupyter" / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, str(package / "lab.py"), f"--ServerApp.port={taken_port}"]
    server = subprocess.Popen(command, env=environment | places, stdout=subprocess.PIPE, text=True)
    try:
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        assert address.startswith(f"http://localhost:{taken_port + 1}/lab/tree/my/00_start.ipynb?token=")
        with urllib.request.urlopen(address, timeout=30) as page:
            assert page.status == 200
    finally:
        server.send_signal(signal.SIGINT)
        rest, _ = server.communicate(timeout=60)
    assert server.returncode == 0
    assert "Traceback" not in rest
    assert Path(course / "my/00_start.ipynb").exists()
