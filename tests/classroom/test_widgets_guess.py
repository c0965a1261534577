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


def box_of(question="How long?", **options):
    return GuessBox(predict(question, unit="s", **options))


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


def test_the_first_guess_stays_visible_and_a_late_change_is_told():
    box = box_of()
    box.asked = {"guess": "2", "confidence": 70}
    box.asked = {"guess": "3", "confidence": 60}
    assert box.said == "Stored: 3 s, 60% sure. First guess: 2 s."
    box.prediction.reveal(9.0)
    box.asked = {"guess": "9", "confidence": 95}
    assert "Changed after the measurement was shown" in box.said
    assert "Changed after" in box_of().said
    assert repr(box) == repr(box.prediction)


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
    assert output["data"]["text/plain"].startswith("How long?  no guess yet")
    assert revealed[0]["data"]["text/plain"] == "you 4 s, measured 2 s: 2.0 times too high"
    assert "<svg" in revealed[0]["data"]["text/html"]
    assert list(given[0]["data"]) == ["text/plain"], "a guess in the code needs no box"
    assert os.environ["COURSE_PREDICTIONS"] == str(file)


def test_ink_stands_out_on_any_colour():
    assert [ink_on(shade) for shade in ("#000000", "#0072B2", "#ffffff", "#E69F00")] == ["#ffffff"] * 2 + [
        "#000000"
    ] * 2
