"""A guess is stored before the measurement, survives a restart, and is honest about being changed."""

import json
import math
import subprocess
import sys
from contextlib import ExitStack
from xml.etree import ElementTree

import pytest
from scipy.stats import binomtest

from course_utils.classroom import predict, reveal
from course_utils.classroom.guess_calibration import calibration, reveal_picture, wilson


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "predictions.jsonl"
    monkeypatch.setenv("COURSE_PREDICTIONS", str(path))
    return path


def test_without_a_guess_the_lesson_goes_on_and_a_later_guess_is_known_as_one(file):
    guess = predict("How many seconds?", ..., unit="s")
    assert guess.guess is None
    assert "no guess yet" in repr(guess)
    assert "no guess was made; measured 3 s" in repr(guess.reveal(3.0))
    late = predict("How many seconds?", 3, unit="s")
    assert (late.late, late.honest) == ("made", None)
    assert repr(late).endswith("your guess: 3 s (made after the measurement was shown)")
    assert repr(late.reveal(3.0)).startswith("you 3 s (made after the measurement was shown), measured 3 s")
    assert calibration(file).guessed == ()


def test_a_guess_survives_a_kernel_restart(file):
    predict("How many seconds?", 12, unit="s")
    assert predict("How many seconds?", unit="s").guess == 12.0
    assert predict("Another question?", unit="s").guess is None
    stored = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["guess"], line["unit"]) for line in stored] == [(12.0, "s")]


def test_a_changed_guess_stays_readable_and_a_repeated_cell_adds_nothing(file):
    for value in (2.0, 2.0, 5.0, 5.0):
        guess = predict("How much faster?", value, unit="x")
    assert guess.guesses == [2.0, 5.0]
    assert "first guess 2 x" in repr(guess)
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("guessed", "measured", "words"),
    [
        (4.0, 2.0, "2.0 times too high"),
        (1.0, 3.0, "3.0 times too low"),
        (2.1, 2.0, "within 10 %"),
        (0.0, 2.0, "off by -2"),
        (-1.0, 2.0, "off by -3"),
    ],
)
def test_reveal_says_how_far_off(guessed, measured, words):
    assert words in repr(reveal(predict("q?", guessed, unit="x"), measured))


def test_reveal_knows_intervals_of_ratios_and_timings():
    from course_utils.measure import measure, rigged

    operation = rigged.steady(2.0)
    timing = measure(operation, clock=operation.clock, synchronize=operation.synchronize)
    assert "measured 2 s (2–2): within the interval" in repr(reveal(predict("time?", 2.0, unit="s"), timing))
    with pytest.raises(ValueError, match="a Timing is in s, this prediction in x"):
        reveal(predict("ratio?", 2.0, unit="x"), timing)


def test_a_ratio_that_was_not_reported_is_told_as_such():
    from course_utils.measure import Ratio

    nothing = Ratio(float("nan"), float("nan"), float("nan"), 9, "noisy machine")
    assert "nothing to reveal yet, noisy machine" in repr(reveal(predict("ratio?", 2.0, unit="x"), nothing))


def test_wrong_input_is_told_in_one_sentence(file):
    with pytest.raises(ValueError, match="guess must be a number in s, seen 'twelve'"):
        predict("How many seconds?", "twelve", unit="s")
    file.parent.mkdir()
    file.write_text('{"key": "how-many-seconds", "guess": 1.0}\nhalf a li')
    with pytest.raises(ValueError, match="line 2 is no stored guess"):
        predict("How many seconds?", unit="s")


def test_a_guess_changed_after_the_reveal_is_told_and_the_blind_one_stays(file):
    guess = predict("How long?", 2, unit="s", confidence=0.8)
    assert guess.reveal(6.0).prediction.changed_after is False
    guess = predict("How long?", 6, unit="s")
    assert guess.changed_after
    assert guess.honest == (2.0, 0.8)
    assert repr(guess) == "How long?  your guess: 6 s (first guess 2 s; changed after the measurement was shown)"
    assert repr(guess.reveal(6.0)).startswith("you 6 s (changed after the measurement was shown), measured 6 s")
    assert predict("How long?", unit="s").changed_after, "a new kernel knows it too"


def test_a_repeated_measurement_does_not_make_a_late_guess_an_honest_one():
    predict("How long?", 2, unit="s").reveal(6.0)
    predict("How long?", 6, unit="s").reveal(6.0)
    assert predict("How long?", unit="s").honest == (2.0, None)


def test_two_kernels_see_each_others_guesses(file):
    one, other = predict("How long?", unit="s"), predict("How long?", unit="s")
    one.keep(2.0)
    other.keep(3.0, 0.6)
    assert other.guesses == [2.0, 3.0]
    one.keep(3.0)  # what the other stored already
    assert [json.loads(line)["guess"] for line in file.read_text().splitlines()] == [2.0, 3.0]


@pytest.mark.parametrize("confidence", [0.4, 1.0, "sure"])
def test_a_confidence_beside_the_scale_is_refused(confidence, file):
    with pytest.raises(ValueError, match=r"confidence must be a number from 0\.5 to 0\.95"):
        predict("How long?", 2, unit="s", confidence=confidence)
    assert not file.exists()


@pytest.mark.parametrize("guess", [float("nan"), float("inf"), True])
def test_a_guess_that_is_no_number_is_refused(guess):
    with pytest.raises(ValueError, match="guess must be a number in s"):
        predict("How long?", guess, unit="s")


def test_lines_of_two_kernels_do_not_mix(file):
    """Two processes write 200 guesses each at once; every line is whole."""
    code = "from course_utils.classroom import predict\nfor i in range(200): predict('q?', unit='s').keep(i + {})"
    with ExitStack() as stack:
        for start in (0, 0.5):
            process = subprocess.Popen([sys.executable, "-c", code.format(start)])
            stack.callback(lambda process=process: process.wait(120))
    assert sorted(json.loads(line)["guess"] for line in file.read_text().splitlines()) == [i / 2 for i in range(400)]


def test_headless_a_prediction_is_its_text_alone():
    assert predict("How long?", unit="s")._repr_mimebundle_() == {}


# guess beside measurement


@pytest.mark.parametrize(("guess", "measured"), [(2.0, 6.0), (600.0, 6.0), (6.0, 6.0)])
def test_the_picture_puts_the_guess_on_its_side_of_the_measurement(guess, measured):
    picture = ElementTree.fromstring(reveal_picture(reveal(predict("q?", guess, unit="<s>"), measured)))
    (dot,) = picture.findall("circle")
    tick = next(line for line in picture.findall("line") if line.get("stroke-width") == "3")
    side = float(dot.get("cx")) - float(tick.get("x1"))
    assert (side > 0) == (guess > measured)
    assert (side == 0) == (guess == measured)
    wide, narrow = (float(band.get("width")) for band in picture.findall("rect"))
    assert wide / narrow == pytest.approx(math.log(2) / math.log(1.5), rel=1e-2)


def test_a_reveal_in_a_notebook_holds_its_line_and_no_picture_where_a_logarithm_has_none():
    shown = reveal(predict("q & a?", -1, unit="x"), 2.0)
    assert shown._repr_html_() == f"<p>{shown!r}</p>"


# all guesses of the course


def test_hits_are_counted_by_hand(tmp_path):
    for question, guess, measured, confidence in [
        ("a?", 1.5, 1.0, 0.8),
        ("b?", 1.0, 1.6, 0.8),
        ("c?", 10, 100, None),
        ("d?", 0, 3, 0.6),
        ("e?", -2, -2, None),
    ]:
        predict(question, guess, unit="x", confidence=confidence).reveal(measured)
    predict("not measured?", 3, unit="x")
    late = predict("late?", 5, unit="x", confidence=0.5)
    late.reveal(1.0)
    late.keep(1.0, 0.95)
    found = calibration()
    assert len(found.guessed) == 6
    assert (found.within(1.5), found.within(2.0)) == (2, 3)
    assert found.by_confidence() == {0.5: (0, 1), 0.6: (0, 1), 0.8: (1, 2)}
    assert found.table().rows[0] == ("within a factor of 1.5", "2 of 6", "33%")
    assert len(found.figure().axes) == 2


def test_without_confidence_the_figure_has_one_part_and_without_guesses_none():
    assert "no guess has a measurement" in str(calibration())
    with pytest.raises(ValueError, match="no guess has a measurement"):
        calibration().figure()
    predict("a?", 1, unit="x").reveal(2.0)
    assert len(calibration().figure().axes) == 1


@pytest.mark.parametrize(("hits", "n"), [(0, 4), (3, 4), (50, 80)])
def test_the_interval_is_that_of_another_library(hits, n):
    theirs = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((theirs.low, theirs.high), abs=1e-4)
