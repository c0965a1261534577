"""A real JupyterLab and a real browser, for the tests that read the notebooks the way a student sees them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from course_utils.classroom.lab import SETTINGS, copy_notebooks, lab_options

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
WIDTH, HEIGHT, OVERLAP = 1400, 1600, 100

DRAWN = {"windowingMode": "none", "scrollPastLastCell": False}  # every cell, and only those
USER_SETTINGS = SETTINGS | {"@jupyterlab/notebook-extension:tracker": DRAWN}

IDLE = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN_ALL = "async () => { await jupyterapp.commands.execute('notebook:run-all-cells') }"
CELLS = """() => jupyterapp.shell.currentWidget.content.widgets.map(({ model }) => ({
  type: model.type, source: model.sharedModel.source, count: model.executionCount ?? null,
  errors: (model.outputs?.toJSON() ?? []).filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`),
}))"""
IN_KERNEL = """async code => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel
  const asked = kernel.requestExecute({ code, store_history: false })
  let printed = ''
  asked.onIOPub = ({ content }) => { printed += content.text ?? content.evalue ?? '' }
  await asked.done
  return printed
}"""
HEIGHTS = """panel => {  // of what is on screen, and of the page down to the end of its last cell
  const last = [...panel.querySelectorAll('.jp-Cell')].at(-1)
  return [panel.clientHeight, last.getBoundingClientRect().bottom - panel.getBoundingClientRect().top]
}"""
PAGE = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer"


@contextmanager
def running_lab(root: Path):
    """JupyterLab on a course folder, with settings and runtime files of its own; yields its address.

    Ends it with SIGTERM, and fails when the server or a kernel is still there afterwards.
    """
    copy_notebooks(root)
    port = _free_port()
    given = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token="]
    options = lab_options(root, "", [*given, "--LabApp.expose_app_in_browser=True"])
    with (root / "server.log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=root, env=_environment(root), stdout=log, stderr=log)
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/api/status", server, root / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            started = psutil.Process(server.pid).children(recursive=True)
            server.terminate()
            server.wait(60)
            _, left = psutil.wait_procs(started, timeout=20)
            for process in left:
                process.kill()
    assert not left, f"JupyterLab left {left} behind"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _environment(root: Path) -> dict[str, str]:
    """Nothing of the user's settings is read or written, nothing is downloaded, everything is small."""
    settings = root / "config/lab/user-settings"
    for plugin, values in USER_SETTINGS.items():
        path = settings / f"{plugin.replace(':', '/')}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "share", "JUPYTER_RUNTIME_DIR": "runtime"}
    folders |= {"IPYTHONDIR": "ipython", "COURSE_CACHE": "cache", "COURSE_PREDICTIONS": "predictions.jsonl"}
    folders |= {"COURSE_STEPS": "steps.jsonl"}
    course = {"COURSE_SCALE": "smoke", "COURSE_OFFLINE": "1", "OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "JUPYTER"))}
    return inherited | course | {name: str(root / folder) for name, folder in folders.items()}


def _wait_until_up(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError):
            alive = server.poll() is None
            assert alive, f"JupyterLab ended while starting:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"JupyterLab does not answer:\n{log.read_text()}"
            time.sleep(0.1)


@contextmanager
def chromium():
    """A headless Chromium with a fresh profile, without a way out of this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def visit(browser, lab: str, notebook: str, shots: Path) -> list[str]:
    """Open my/NOTEBOOK in a new window, run all its cells, photograph it; returns what was wrong, [] when nothing."""
    with opened(browser, lab, notebook) as (page, problems):
        run_all(page, problems)
        photograph(page, shots, notebook.removesuffix(".ipynb"))
    return problems


@contextmanager
def opened(browser, lab: str, notebook: str):
    """my/NOTEBOOK in a new window, its kernel ready: yields the page, and a list that grows by whatever goes wrong."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    problems: list[str] = []
    _listen(page, problems)
    page.goto(f"{lab}/lab/tree/my/{notebook}?reset")
    page.wait_for_function(IDLE, timeout=60_000)
    yield page, problems
    page.evaluate("() => jupyterapp.commands.execute('kernelmenu:shutdown')")
    page.close()


def run_all(page, problems: list[str]) -> None:
    """Run all cells of the open notebook; errors of cells, cells that were not run and dialogs join the problems."""
    page.evaluate(RUN_ALL)
    page.wait_for_function(IDLE, timeout=120_000)
    problems += _cell_problems(page.evaluate(CELLS))
    problems += [f"a dialog is open: {dialog.inner_text()}" for dialog in page.locator(".jp-Dialog").all()]


def in_kernel(page, expression: str):
    """The value of a Python expression in the kernel of the open notebook; it has to fit into JSON."""
    printed = page.evaluate(IN_KERNEL, f"import json; print(json.dumps({expression}))")
    try:
        return json.loads(printed)
    except ValueError as error:
        raise AssertionError(f"{expression} gave no value but {printed!r}") from error


def _listen(page, problems: list[str]) -> None:
    """Collect errors of the console and of scripts, and requests to anything but this machine."""

    def console(message) -> None:
        if message.type == "error":
            problems.append(f"console: {message.text}")

    def request(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            problems.append(f"request leaving this machine: {address}")

    page.on("console", console)
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on("request", lambda sent: request(sent.url))
    page.on("websocket", lambda opened: request(opened.url))


def _cell_problems(cells: list[dict]) -> list[str]:
    problems = [f"cell {i}: {error}" for i, cell in enumerate(cells) for error in cell["errors"]]
    skipped = [i for i, cell in enumerate(cells) if cell["type"] == "code" and cell["source"] and cell["count"] is None]
    return problems + [f"cell {i} was not run" for i in skipped]


def photograph(page, shots: Path, name: str) -> None:
    """The window as it opened, NAME_00.png, then the notebook from top to end, a screen each, NAME_01.png and on."""
    shots.mkdir(parents=True, exist_ok=True)
    for old in shots.glob(f"{name}_[0-9][0-9].png"):
        old.unlink()
    content = page.locator(PAGE)
    content.evaluate("panel => { panel.scrollTop = 0 }")
    page.screenshot(path=shots / f"{name}_00.png")
    page.evaluate("() => jupyterapp.shell.collapseLeft()")
    page.wait_for_timeout(300)
    visible, full = content.evaluate(HEIGHTS)
    for i, top in enumerate(range(0, max(1, int(full) - OVERLAP), visible - OVERLAP), start=1):
        content.evaluate("(panel, top) => { panel.scrollTop = top }", top)
        page.wait_for_timeout(200)
        content.screenshot(path=shots / f"{name}_{i:02d}.png")
