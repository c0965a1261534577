"""The reader's own staircase: the latest step counts, unlike machines stay apart, the figure shows its numbers."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from course_utils.classroom import keep_step, plot_staircase, steps
from course_utils.classroom.staircase import Step, quality_of, steps_file
from course_utils.classroom.staircase_plot import LOOKS
from course_utils.measure import Evidence, Ratio, verdict

FASTER, SLOWER = Ratio(1.72, 1.65, 1.80, 21), Ratio(0.61, 0.58, 0.64, 21)
UNSURE = Ratio(1.01, 0.97, 1.05, 21)


def denoiser(value, low, high):
    return Evidence("same denoiser", "held-out loss", value, low, high, 1.02, 2000, 1.03, 0.95)


def function(difference=1e-6, allowed=1e-5):
    return Evidence("same function", "largest difference", difference, difference, difference, allowed, 4)


GOOD, BAD = denoiser(1.001, 0.999, 1.003), denoiser(1.05, 1.04, 1.06)


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "steps.jsonl"
    monkeypatch.setenv("COURSE_STEPS", str(path))
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    return path


def keep(name="half_precision", speed=FASTER, quality=GOOD, **more):
    return keep_step(name, verdict(speed, quality), **{"img_per_s": 35.2} | more)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def change(path, line, **changes):
    """Overwrite values of a stored line; a dictionary is merged into the one that is there."""
    told = lines(path)
    for key, value in changes.items():
        told[line][key] = told[line][key] | value if isinstance(value, dict) else value
    path.write_text("".join(json.dumps(one) + "\n" for one in told))


def test_a_step_is_one_line_for_the_eye_and_one_for_the_file(file):
    assert str(keep("layout+half_precision")) == "layout + half_precision: 1.72x (1.65–1.80), preserved and faster"
    (stored,) = lines(file)
    assert (stored["kind"], stored["name"], stored["unit"]) == ("step", "layout + half_precision", "x")
    assert [stored[key] for key in ("value", "low", "high", "n")] == [1.72, 1.65, 1.80, 21]
    assert (stored["config"]["scale"], stored["config"]["what"]) == ("smoke", "training step")
    assert stored["config"]["evidence"][0]["kind"] == "same denoiser"
    assert stored["manifest"]["device"]["name"]


def test_what_is_kept_is_read_back_unchanged():
    kept = keep("bottleneck(where=inside)", quality=[function(2.0, 1e-5), BAD], what="forward")
    (read,) = steps()
    assert (read.name, read.speed, read.outcome) == (kept.name, kept.speed, "faster but worse")
    assert (read.what, read.img_per_s, read.reasons) == ("forward", 35.2, kept.reasons)
    assert [(one.kind, one.value, one.high, one.tolerance, one.outcome) for one in read.quality] == [
        ("same function", 2.0, 2.0, 1e-5, "different"),
        ("same denoiser", 1.05, 1.06, 1.02, "worse"),
    ]
    assert str(read).startswith("bottleneck(where=inside) (forward): ")


def test_typed_again_it_adds_and_the_latest_counts(file):
    keep()
    keep("layout", quality=function())
    keep(speed=UNSURE)
    keep(what="forward")
    assert len(lines(file)) == 4
    assert [(one.name, one.what, one.speed.value) for one in steps()] == [
        ("layout", "training step", 1.72),
        ("half_precision", "training step", 1.01),
        ("half_precision", "forward", 1.72),
    ]


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"config": {"scale": "gpu"}},
        {"manifest": {"device": {"name": "Another Machine"}}},
        {"manifest": {"cores_granted": 9999}},
    ],
)
def test_other_machines_and_scales_are_left_out_and_counted(file, elsewhere):
    keep("layout")
    change(file, 0, **elsewhere)
    keep()
    found = steps()
    assert [one.name for one in found] == ["half_precision"]
    assert found.left_out == 1
    assert "1 step was measured on another machine or at another scale and left out" in str(found)


def test_a_speed_up_that_was_not_reported_leaves_the_earlier_step(file):
    keep()
    nothing = Ratio(math.nan, math.nan, math.nan, 9, "noisy machine")
    assert "no step kept, noisy machine" in str(keep(speed=nothing))
    assert [one.speed.value for one in steps()] == [1.72]


def test_quality_that_is_not_finite_survives_the_file():
    keep(quality=function(math.inf))
    (read,) = steps()
    assert read.quality[0].value == math.inf
    assert (read.quality[0].outcome, read.outcome) == ("worse", "faster but worse")


def test_no_step_yet_is_one_sentence_in_place_of_a_figure(file):
    said = repr(plot_staircase())
    assert said.startswith("No step is kept yet on ")
    assert "smoke scale" in said
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", verdict(FASTER), 1.0), "treatment is '', wanted its name"),
        ((None, verdict(FASTER), 1.0), "treatment is None"),
        (("layout", FASTER, 1.0), "decided is a Ratio, wanted what verdict"),
        (("layout", verdict(FASTER), 0.0), "img_per_s is 0.0, wanted a positive"),
        (("layout", verdict(FASTER), math.nan), "img_per_s is nan"),
    ],
)
def test_mistakes_are_one_sentence(file, arguments, message):
    treatment, decided, rate = arguments
    with pytest.raises(ValueError, match=message):
        keep_step(treatment, decided, img_per_s=rate)
    assert not file.exists()


def test_broken_lines_are_named(file):
    keep()
    keep("layout")
    change(file, 1, config={"outcome": "splendid"})
    with pytest.raises(ValueError, match=r"steps\.jsonl, record 2: this is no step .*'splendid'"):
        steps()
    file.write_text(file.read_text() + "no JSON\n")
    with pytest.raises(ValueError, match=r"steps\.jsonl:3: this line is not a record"):
        steps()


def test_steps_lie_beside_the_predictions_unless_named(monkeypatch):
    monkeypatch.delenv("COURSE_STEPS")
    monkeypatch.setenv("COURSE_PREDICTIONS", "/somewhere/guesses.jsonl")
    assert steps_file() == Path("/somewhere/steps.jsonl")


# the figure

SOME = [
    Step("half_precision", FASTER, "preserved and faster", (GOOD,), img_per_s=1234.0),
    Step("im2col", SLOWER, "not faster", (function(),), what="forward"),
    Step("bottleneck(where=between, reduction=4, low_rank=yes)", UNSURE, "inconclusive"),
    Step("fewer_blocks", Ratio(1.3, 1.2, 1.4, 9), "faster but worse", (denoiser(3.1, 2.8, 3.4),)),
]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_bars_are_as_long_as_the_speed_ups_and_climb():
    ax = plot_staircase(SOME).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [0.61, 1.01, 1.3, 1.72]
    assert [label.get_text().split("\n")[0] for label in ax.get_yticklabels()] == [
        "im2col (forward)",
        "bottleneck(where=between,",
        "fewer_blocks",
        "half_precision",
    ]
    assert texts(ax)[3] == "1.72x (1.65–1.80)\n1,234 img/s"
    intervals = [list(line.get_xdata()) for line in ax.lines[:4]]
    assert intervals == [[0.58, 0.64], [0.97, 1.05], [1.2, 1.4], [1.65, 1.80]]
    assert list(ax.lines[4].get_xdata()) == [1, 1]


def test_outcomes_differ_by_colour_and_by_hatch():
    made = plot_staircase(SOME)
    wanted = [LOOKS[name] for name in ("not faster", "inconclusive", "faster but worse", "preserved and faster")]
    drawn = [(to_hex(bar.get_facecolor()).upper(), bar.get_hatch() or "") for bar in made.axes[0].patches]
    assert drawn == wanted
    assert len({shade for shade, _ in drawn}) == len({hatch for _, hatch in drawn}) == 4
    labels = {text.get_text() for text in made.legends[0].get_texts()}
    assert labels == {*LOOKS, "same function", "same denoiser", "tolerance"}


def test_quality_is_drawn_with_bounds_and_tolerance_and_exactness_in_words():
    ax = plot_staircase(SOME).axes[1]
    assert texts(ax) == ["exact: same function", "not checked", "3.10"]
    drawn = [list(line.get_xdata()) for line in ax.lines]
    assert [1.02, 1.02] in drawn
    assert [0.999, 1.003] in drawn
    assert [1.001] in drawn
    assert 1.02 < ax.get_xlim()[1] < 1.2  # one bad step must not hide the tolerance of the others


def test_without_any_evidence_there_is_no_second_panel():
    assert len(plot_staircase(SOME[2:3]).axes) == 1


@pytest.mark.parametrize("count", [1, 10])
def test_any_number_of_steps_keeps_its_labels_inside(count):
    made = plot_staircase((SOME * 3)[:count])
    made.draw_without_rendering()
    edges = made.bbox
    for label in made.axes[0].get_yticklabels() + made.axes[0].texts:
        box = label.get_window_extent()
        assert edges.x0 <= box.x0 <= box.x1 <= edges.x1
        assert edges.y0 <= box.y0 <= box.y1 <= edges.y1
    heights = sorted(text.get_window_extent().y0 for text in made.axes[0].texts)
    assert all(below + 20 < above for below, above in pairwise(heights))


def test_own_steps_are_drawn_with_their_place_and_an_empty_list_is_refused():
    keep()
    made = plot_staircase()
    assert isinstance(made, Figure)
    assert "smoke scale" in made.legends[0].get_title().get_text()
    with pytest.raises(ValueError, match="found is empty"):
        plot_staircase([])


def test_a_bench_record_s_evidence_can_be_drawn():
    entry = {"kind": "same distribution", "value": 1.1, "low": 1.06, "high": 1.2, "tolerance": 1.05, "n": 1000}
    (evidence,) = quality_of([entry | {"outcome": "worse"}])
    assert (evidence.kind, evidence.outcome) == ("same distribution", "worse")
    assert len(plot_staircase([Step("x", FASTER, "faster but worse", (evidence,))]).axes) == 2
