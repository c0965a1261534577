"""Every widget of the course in a real JupyterLab in headless Chromium, by mouse and by keyboard, and after a reload.

The pictures in results/local/browser are for people to look at.
"""

from pathlib import Path

import pytest
from lab_in_chromium import CHROMIUM, IDLE, chromium, in_kernel, opened, photograph, run_all, running_lab
from test_browser import write_notebook

ROOT = Path(__file__).resolve().parents[1]
SHOTS = ROOT / "results/local/browser"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: no browser to show widgets in")

CELLS = [
    "import torch\nfrom course_utils.classroom import BlockExplorer, RooflineExplorer, TraceExplorer, predict\n"
    "from course_utils.diffusion import baseline\nfrom course_utils.measure import calibrate, profile",
    "guess = predict('How long does it take?', ..., unit='s')\nguess",
    "tracing = TraceExplorer()\ntracing",
    "unet, x, t = baseline('smoke').model, torch.randn(2, 3, 32, 32), torch.full((2,), 500)\n"
    "blocks = BlockExplorer(unet, x, t, measured=profile(unet, x, t, rounds=1))\nblocks",
    "roofline = RooflineExplorer(width=16, batch=1)\nroofline",
    "guess.reveal(3.0)",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A notebook with all widgets, run; whatever goes wrong until the end fails the test that comes last."""
    root = tmp_path_factory.mktemp("widgets")
    (root / "notebooks").mkdir()
    write_notebook(root / "notebooks/widgets.ipynb", CELLS)
    with running_lab(root) as lab, chromium() as browser, opened(browser, lab, "widgets.ipynb") as (opened_page, found):
        opened_page.problems = found
        run_all(opened_page, found)
        opened_page.evaluate("() => jupyterapp.shell.collapseLeft()")
        yield opened_page


@pytest.fixture
def widget(page):
    """A function from the kind of a widget to its place on the page."""
    return lambda kind: page.locator(f".course-{kind}")


def until(page, expression, wanted):
    """Wait until Python says so: what the page sends arrives a moment later."""
    for _ in range(100):
        found = in_kernel(page, expression)
        if wanted(found) if callable(wanted) else found == wanted:
            return found
        page.wait_for_timeout(50)
    raise AssertionError(f"{expression} stays {found!r}")


def keys(page, *names):
    for name in names:
        page.keyboard.press(name)


def test_a_guess_is_typed_and_stored(page, widget):
    box = widget("guess")
    box.get_by_label("your guess in s").click()
    page.keyboard.type("2.5")
    keys(page, "Tab", "ArrowRight", "ArrowRight", "Tab", "Enter")
    box.get_by_text("Stored: 2.5 s, 80% sure.").wait_for()
    assert until(page, "[guess.guess, guess.confidence]", [2.5, 0.8])
    box.get_by_label("your guess in s").fill("many")
    box.get_by_role("button", name="Keep this guess").click()
    box.get_by_text("is no number").wait_for()
    box.get_by_label("your guess in s").fill("2,9")
    keys(page, "Enter")
    box.get_by_text("First guess: 2.5 s.").wait_for()
    assert until(page, "guess.guesses", [2.5, 2.9])
    page.locator(".jp-Cell").last.locator(".cm-content").click()
    keys(page, "Shift+Enter")
    page.get_by_text("you 2.9 s (made after the measurement was shown), measured 3 s: within 10 %").wait_for()
    page.get_by_label("2.9 s guessed, 3 s measured").wait_for()


def test_the_trace_is_moved_by_mouse(page, widget):
    trace = widget("trace")
    canvas = trace.locator("canvas")
    span = in_kernel(page, "tracing.span_s")
    trace.get_by_role("button", name="zoom in").click()
    until(page, "tracing.window", lambda window: window[1] - window[0] == pytest.approx(span / 2))
    before = in_kernel(page, "tracing.window")
    area = canvas.bounding_box()
    middle, top = area["x"] + area["width"] / 2, area["y"] + 10
    page.mouse.move(middle, top)
    page.mouse.down()
    page.mouse.move(middle - area["width"] / 10, top, steps=4)
    page.mouse.up()
    after = until(page, "tracing.window", lambda window: window != before)
    assert after[0] - before[0] == pytest.approx((before[1] - before[0]) / 10, rel=0.1)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    until(page, "tracing.window", lambda now: now[1] - now[0] == pytest.approx(0.8 * (after[1] - after[0])))
    trace.get_by_label("go to a step").select_option(label="step 1")
    until(page, "tracing.window == tracing.places[1][1:]", True)
    page.mouse.click(area["x"] + 60, area["y"] + 24 + 17 + 8)  # below the axis and the thread's name: the first lane
    until(page, "tracing.detail.get('name')", "step 1")
    trace.locator(".detail").get_by_text("annotation").wait_for()
    trace.locator("td button").first.click()
    until(page, "tracing.search", "conv3x3_fprop_tf32")
    trace.get_by_text("60 events of 1 names").wait_for()


def test_the_trace_is_moved_by_keys_and_jupyterlab_stays_out_of_it(page, widget):
    trace = widget("trace")
    cells = page.locator(".jp-Cell").count()
    trace.locator("canvas").focus()
    keys(page, "Home")
    until(page, "tracing.window == [0, tracing.span_s]", True)
    keys(page, "ArrowUp", "ArrowUp", "ArrowRight")
    quarter = pytest.approx(in_kernel(page, "tracing.span_s") / 4)
    until(page, "tracing.window", lambda window: window[0] > 0 and window[1] - window[0] == quarter)
    chosen = in_kernel(page, "tracing.chosen")
    keys(page, "n")
    until(page, "tracing.chosen", lambda now: now != chosen)
    keys(page, "d", "d", "x", "a", "b", "m")  # would delete, cut, add and change cells
    assert page.locator(".jp-Cell").count() == cells
    search = trace.get_by_label("search events")
    search.fill("silu")
    search.press("Enter")
    until(page, "'silu' in tracing.detail['name']", True)
    keys(page, "Tab")
    assert page.evaluate("document.activeElement.textContent") == "next match"


def test_blocks_are_chosen(page, widget):
    blocks = widget("blocks")
    shown = in_kernel(page, "[one['name'] for one in blocks.shown]")
    blocks.get_by_role("option", name="final_res_block").click()
    until(page, "blocks.detail['name']", "final_res_block")
    keys(page, "ArrowRight")
    until(page, "blocks.detail['name']", shown[shown.index("final_res_block") + 1])
    keys(page, "Home", "ArrowDown")
    until(page, "blocks.detail['name']", "downs.0.0")
    assert page.evaluate("document.activeElement.title").startswith("downs.0.0: ")
    keys(page, "End")
    until(page, "blocks.chosen", len(shown) - 1)
    blocks.get_by_label("both").focus()
    keys(page, "ArrowLeft")
    until(page, "blocks.phase", "backward")
    blocks.get_by_text("backward, time of blocks bound by").wait_for()
    blocks.get_by_label("forward").check()
    until(page, "blocks.phase", "forward")
    blocks.get_by_role("option", name="downs.0.0").click()


def test_sliders_move_the_roofline(page, widget):
    roofline = widget("roofline")
    dots = "[...document.querySelectorAll('.course-roofline circle')].map(dot => dot.getAttribute('cx')).join()"
    before = page.evaluate(dots)
    roofline.get_by_label("batch (images)").focus()
    keys(page, "ArrowRight", "ArrowRight")
    until(page, "roofline.batch", 4)
    page.wait_for_function(f"{dots} !== '{before}'")
    roofline.get_by_label("width of the net").focus()
    keys(page, "End", "Home", "ArrowRight")
    until(page, "roofline.width", 24)
    area = roofline.get_by_label("bottleneck").bounding_box()
    page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    until(page, "roofline.reduction", 2)
    roofline.get_by_label("im2col").focus()
    keys(page, "Space")
    until(page, "roofline.unfold", True)
    roofline.get_by_label("device").select_option("H100 SXM")
    roofline.get_by_label("number format").select_option("bf16")
    until(page, "[roofline.device, roofline.dtype]", ["H100 SXM", "bf16"])
    timing = roofline.get_by_role("button", name="measure this here")
    assert timing.is_disabled()
    assert timing.get_attribute("title").startswith("H100 SXM is not here: choose ")
    photograph(page, SHOTS, "widgets_elsewhere")
    roofline.get_by_role("button", name="back to the start").click()
    until(page, "roofline.device == roofline.here", True)
    until(page, "[roofline.batch, roofline.unfold, roofline.dtype]", [1, False, "fp32"])
    roofline.get_by_role("button", name="measure this here").focus()
    keys(page, "Enter")
    page.locator(".course-roofline path.measured").wait_for(timeout=30_000)
    until(page, "len(roofline.measured)", 1)
    keys(page, "Tab", "Tab")
    roofline.get_by_label("batch (images)").focus()
    keys(page, "ArrowRight")
    until(page, "roofline.batch", 2)


INK = """wanted => {  // whether the timeline has pixels of a grey that is at least, or at most, so light
  const canvas = document.querySelector('.course-trace canvas')
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  for (let i = 0; i < data.length; i += 4) {
    const [red, green, blue, alpha] = data.slice(i, i + 4)
    if (alpha > 180 && red === green && green === blue && (wanted > 128 ? red >= wanted : red <= wanted)) return true
  }
  return false
}"""


def test_after_a_reload_everything_is_still_there_and_works(page, widget):
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    page.wait_for_function(IDLE, timeout=60_000)
    widget("guess").get_by_text("First guess: 2.5 s.").wait_for()
    widget("blocks").get_by_text("downs.0.0 (").wait_for()
    assert widget("trace").get_by_label("search events").input_value() == "silu"
    assert widget("roofline").get_by_label("batch (images)").get_attribute("aria-valuetext") == "2"
    widget("roofline").get_by_label("batch (images)").focus()
    keys(page, "ArrowLeft")
    until(page, "roofline.batch", 1)
    widget("trace").get_by_role("button", name="show all").click()
    until(page, "tracing.window == [0, tracing.span_s]", True)
    page.wait_for_function(INK, arg=60)  # black letters
    page.get_by_label("2.9 s guessed, 3 s measured").wait_for()
    photograph(page, SHOTS, "widgets")
    page.evaluate("() => jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.locator("body[data-jp-theme-light='false']").wait_for(state="attached")
    page.wait_for_function(INK, arg=230)  # white letters, once the new theme is there
    photograph(page, SHOTS, "widgets_dark")


LEGENDS = {
    "trace": ["annotation", "operator", "runtime", "kernel"],
    "blocks": ["bound by memory", "bound by compute", "bound by launch"],
    "roofline": ["block bound by memory", "block bound by compute", "block bound by launch", "at the start"],
}


def test_a_saved_notebook_shows_its_widgets_to_a_kernel_that_does_not_know_them(page, widget):
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("() => jupyterapp.commands.execute('kernelmenu:shutdown')")
    page.reload()
    page.wait_for_function(IDLE, timeout=60_000)
    for kind, names in LEGENDS.items():
        widget(kind).wait_for()
        assert widget(kind).locator(".legend span").all_inner_texts() == names, "in the order Python gave them"
    assert in_kernel(page, "'guess' in globals()") is False
    assert page.get_by_text("Error displaying widget").count() == 0
    page.wait_for_function(INK, arg=230)
    assert widget("roofline").locator(".figures .quiet").first.inner_text() == "calculated"
    assert widget("trace").locator(".detail td").first.inner_text() == "name"
    widget("blocks").get_by_text("downs.0.0 (").wait_for()
    box = widget("guess")
    box.get_by_text("Stored: 2.9 s, 80% sure.").wait_for()
    box.get_by_label("your guess in s").fill("4")
    keys(page, "Enter")
    box.get_by_text("Run this cell first").wait_for()
    photograph(page, SHOTS, "widgets_kept")


def test_nothing_went_wrong_meanwhile(page):
    """Errors of the console, of cells and of scripts, dialogs, and requests that leave this machine."""
    assert page.problems == []
    logged = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']")
    assert logged.count() == 0, logged.first.inner_text()
