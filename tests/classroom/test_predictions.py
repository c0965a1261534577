"""A guess is stored before the measurement, survives a restart, and is honest about being changed."""

import json

import pytest

from course_utils.classroom import predict, reveal


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "predictions.jsonl"
    monkeypatch.setenv("COURSE_PREDICTIONS", str(path))
    return path


def test_no_guess_stores_nothing_and_the_lesson_goes_on(file):
    guess = predict("How many seconds?", ..., unit="s")
    assert guess.guess is None
    assert "no guess yet" in repr(guess)
    assert "no guess was made; measured 3 s" in repr(guess.reveal(3.0))
    assert not file.exists()


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
