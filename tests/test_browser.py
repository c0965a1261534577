"""Every notebook of a student, run top to bottom in a real JupyterLab in headless Chromium.

The pictures in results/local/browser are for people to look at.
"""

import shutil
from pathlib import Path

import nbformat
import pytest
from lab_in_chromium import CHROMIUM, chromium, running_lab, visit

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
SHOTS = ROOT / "results/local/browser"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: no browser to show notebooks in")

SOUND = [
    "# A sound notebook\n\n$\\bar\\alpha_t$ and text",
    "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2, 4])",
    "import ipywidgets\nipywidgets.IntSlider(value=3)",
    *(f"for i in range(30): print('cell {cell}, line', i)" for cell in range(4)),
]
FAULTY = {
    "error": ["raise RuntimeError('on purpose')", "print('after it')"],
    "leaving": ["![a picture from afar](http://example.invalid/picture.png)"],
    "script": ["from IPython.display import HTML\nHTML('<script>undefined_function()</script>')"],
}
EXPECTED = {
    "error": ["cell 0: RuntimeError: on purpose", "cell 1 was not run"],
    "leaving": ["request leaving this machine: http://example.invalid/picture.png"],
    "script": ["undefined_function is not defined"],
}


def write_notebook(path, sources):
    """The first character tells Markdown (# or !) from code."""
    make = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    notebook = nbformat.v4.new_notebook(cells=[make[source[0] in "#!"](source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Diffusion course", "language": "python"}
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """One JupyterLab for all: the course's notebooks, and those that try the harness itself."""
    root = tmp_path_factory.mktemp("a course")
    shutil.copytree(ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    write_notebook(root / "notebooks/sound.ipynb", SOUND)
    for name, sources in FAULTY.items():
        write_notebook(root / f"notebooks/{name}.ipynb", sources)
    with running_lab(root) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def test_a_sound_notebook_is_run_and_photographed_from_top_to_end(lab, browser, tmp_path):
    assert visit(browser, lab, "sound.ipynb", tmp_path) == []
    shots = sorted(path.name for path in tmp_path.iterdir())
    assert shots == [f"sound_{i:02d}.png" for i in range(len(shots))]
    assert len(shots) >= 3, "the window, and a notebook that is longer than a screen"


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_notebook_is_found_out(lab, browser, tmp_path, name):
    problems = "\n".join(visit(browser, lab, f"{name}.ipynb", tmp_path))
    assert all(expected in problems for expected in EXPECTED[name]), problems


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_of_the_course_runs_in_the_browser(lab, browser, notebook):
    assert visit(browser, lab, notebook, SHOTS) == []
