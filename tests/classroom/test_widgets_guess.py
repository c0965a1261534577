"""The box for guesses: what is typed is stored before the measurement, and a notebook without a reader is unharmed."""

import json
import os

import nbformat
import pytest
from nbclient import NotebookClient

from course_utils.classroom import predict
from course_utils.classroom.widgets import GuessBox
from course_utils.classroom.widgets.page import ink_on

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "predictions.jsonl"
    monkeypatch.setenv("COURSE_PREDICTIONS", str(path))
    return path


def box_of(question="How long?", unit="s", **options):
    return GuessBox(predict(question, unit=unit, **options))


@pytest.mark.parametrize("percent", range(50, 100, 5))
def test_what_is_typed_is_stored_with_its_confidence(file, percent):
    box = box_of()
    box.asked = {"guess": " 2,5 ", "confidence": percent}
    (line,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert (line["guess"], line["confidence"], line["unit"]) == (2.5, percent / 100, "s")
    assert (box.problem, box.said) == (False, f"Stored: 2.5 s, {percent}% sure.")
    assert box.prediction.guess == 2.5
    assert box_of().confidence == percent, "a new kernel shows it again"


@pytest.mark.parametrize("typed", ["", "two", "1e999", "nan", None])
def test_what_is_no_number_is_told_and_not_stored(file, typed):
    box = box_of()
    box.asked = {"guess": typed, "confidence": 70}
    assert box.problem
    assert "is no number" in box.said
    assert not file.exists()
    box.asked = {"guess": "3", "confidence": 70}
    assert not box.problem


def test_a_first_guess_after_the_measurement_is_told():
    box = box_of()
    box.prediction.reveal(9.0)
    box.asked = {"guess": "9", "confidence": 95}
    assert box.said.endswith("Made after the measurement was shown, so it does not count for your calibration.")


@pytest.mark.parametrize(
    ("typed", "said"),
    [("1,500", "Write 1500 or 1.5."), ("-12,250", "Write -12250 or -12.25."), ("999,999", "Write 999999 or 999.999.")],
)
def test_a_comma_that_may_mean_thousands_is_asked_about(file, typed, said):
    box = box_of()
    box.asked = {"guess": typed, "confidence": 70}
    assert (box.problem, box.said) == (True, f"Is {typed} a thousand and more? {said}")
    assert not file.exists()


@pytest.mark.parametrize(("typed", "kept"), [("1,5", 1.5), ("1,5000", 1.5), ("0,125", 0.125), ("1500", 1500.0)])
def test_a_comma_that_cannot_is_a_decimal_one(typed, kept):
    box = box_of()
    box.asked = {"guess": typed, "confidence": 70}
    assert (box.problem, box.prediction.guess) == (False, kept)


def test_a_ratio_is_above_0(file):
    box = box_of(unit="x")
    for typed in ("0", "-2"):
        box.asked = {"guess": typed, "confidence": 70}
        assert box.said == f"A ratio is above 0, seen {typed}: 2 means twice, 0.5 means half."
    assert not file.exists()
    box.asked = {"guess": "0.5", "confidence": 70}
    assert not box.problem


def test_python_answers_by_the_number_it_was_asked_with():
    box = box_of()
    for at, typed in ((1, "2"), (2, "2"), (3, "two")):
        box.asked = {"guess": typed, "confidence": 70, "at": at}
        assert box.answered == at


def test_the_first_guess_stays_visible_and_a_late_change_is_told():
    box = box_of()
    box.asked = {"guess": "2", "confidence": 70}
    box.asked = {"guess": "3", "confidence": 60}
    assert box.said == "Stored: 3 s, 60% sure. First guess: 2 s."
    box.prediction.reveal(9.0)
    box.asked = {"guess": "9", "confidence": 95}
    assert "Changed after the measurement was shown" in box.said
    assert "Changed after" in box_of().said
    assert repr(box) == "How long?  a box for a guess, in s (it is never graded)", "true before and after"


def run(*sources):
    """The outputs of each cell of a notebook, run in a real kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    return [cell.outputs for cell in NotebookClient(notebook, timeout=60, kernel_name="python3").execute().cells]


def test_in_a_kernel_the_box_comes_with_the_same_text_and_what_it_stores_is_the_guess(file):
    ask = "from course_utils.classroom import predict\nguess = predict('How long?', ..., unit='s')\nguess"
    typed = (
        "from course_utils.classroom.widgets import GuessBox\nGuessBox(guess).asked = {'guess': '4', 'confidence': 80}"
    )
    shown, _, revealed, given = run(ask, typed, "guess.reveal(2.0)", "predict('Other?', 2, unit='x')")
    (output,) = shown
    assert VIEW in output["data"]
    assert output["data"]["text/plain"].startswith("How long?  ")
    assert revealed[0]["data"]["text/plain"] == "you 4 s, measured 2 s: 2.0 times too high"
    assert "<svg" in revealed[0]["data"]["text/html"]
    assert list(given[0]["data"]) == ["text/plain"], "a guess in the code needs no box"
    assert os.environ["COURSE_PREDICTIONS"] == str(file)


def test_ink_stands_out_on_any_colour():
    assert [ink_on(shade) for shade in ("#000000", "#0072B2", "#ffffff", "#E69F00")] == ["#ffffff"] * 2 + [
        "#000000"
    ] * 2
