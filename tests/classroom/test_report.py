"""The report: one self-contained page of predictions, measurements and steps, and a list of what is missing."""

import json
from html.parser import HTMLParser

import pytest

from course_utils.__main__ import main
from course_utils.classroom import keep_step, predict, report, report_page
from course_utils.classroom.authoring.folders import Folders
from course_utils.classroom.predictions import histories, predictions_file
from course_utils.classroom.progress import questions, untreated
from course_utils.classroom.staircase import Step
from course_utils.measure import Evidence, Ratio, verdict
from course_utils.speedups import TREATMENTS

SPEED = Ratio(1.72, 1.65, 1.80, 21)
SAME = Evidence("same denoiser", "held-out loss", 1.001, 0.999, 1.003, 1.02, 2000, 1.03, 0.95)


class Page(HTMLParser):
    """The texts of a page: cells by row, items of lists, all words, and every attribute's value."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.items, self.words, self.attributes, self.open = [], [], "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")
        elif tag == "li":
            self.items.append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.words += data
        if "td" in self.open:
            self.rows[-1][-1] += data
        if "li" in self.open:
            self.items[-1] += data

    def row(self, first):
        """The cells of the row that begins so."""
        (found,) = [row for row in self.rows if row and row[0] == first]
        return found


def notebook(*cells):
    told = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": 'predict("not code")'}, *told]})


@pytest.fixture(autouse=True)
def clone(tmp_path, monkeypatch):
    """A clone with two notebooks, and files of the reader's own."""
    monkeypatch.setenv("COURSE_PREDICTIONS", str(tmp_path / "mine" / "predictions.jsonl"))
    monkeypatch.delenv("COURSE_STEPS", raising=False)
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    monkeypatch.setattr(report_page, "find_folders", lambda: Folders(tmp_path))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "00_start.ipynb").write_text(
        notebook("%matplotlib inline\nguess = predict(\n  'How ' 'long?', ...,\n unit='s')")
    )
    (folder / "01_more.ipynb").write_text(notebook(["x = 1\n", "predict('How much?', 2, unit='x', key='much')"]))
    return tmp_path


def page(path):
    return Page(path.read_text(encoding="utf-8"))


def keep(name, quality=SAME):
    return keep_step(name, verdict(SPEED, quality), img_per_s=35.2)


def test_with_nothing_recorded_everything_is_incomplete(clone):
    path = report()
    assert path == clone / "results" / "local" / "report.html"
    found = page(path)
    assert found.items == [
        "00_start: no guess yet on “How long?”",
        "01_more: no guess yet on “How much?”",
        *[f"Treatment {name}: no step kept yet." for name in TREATMENTS],
    ]
    assert "No step is kept yet on " in found.words
    assert found.row("00_start") == ["00_start", "How long?", "–", "–", "–", "–"]
    assert not predictions_file().parent.exists()


def test_guesses_stand_beside_the_latest_measurement(tmp_path):
    for guess in (9, 30):
        answer = predict("How long?", guess, unit="s")
    answer.reveal(1.0)
    answer.reveal(12.0)
    predict("How much?", 1.7, unit="x", key="much").reveal(SPEED)
    predict("My own?", 3, unit="GB")
    found = page(report(tmp_path / "r.html"))
    assert found.row("00_start") == ["00_start", "How long?", "9 s", "30 s", "12 s", "2.5 times too high"]
    assert found.row("01_more")[2:] == ["1.7x", "1.7x", "1.72x (1.65–1.8)", "within the interval"]
    assert found.row("")[1:] == ["My own?", "3 GB", "3 GB", "–", "–"]
    assert not any("00_start" in item or "01_more" in item for item in found.items)


def test_a_guess_without_a_measurement_is_incomplete_and_one_made_afterwards_is_told(tmp_path):
    predict("How long?", 5, unit="s")
    predict("How much?", 5, unit="x", key="much").reveal(2.0)
    predict("How much?", 2, unit="x", key="much")
    found = page(report(tmp_path / "r.html"))
    assert "00_start: guessed, but not yet measured: “How long?”" in found.items
    assert found.row("01_more")[3] == "2x (changed after measuring)"


def test_hit_rates_stand_with_their_figure(tmp_path):
    assert "No guess has a measurement beside it yet." in page(report(tmp_path / "r.html")).words
    predict("How long?", 10, unit="s", confidence=0.9).reveal(12.0)
    predict("How much?", 9, unit="x", key="much", confidence=0.9).reveal(5.0)
    path = report(tmp_path / "r.html")
    found = page(path)
    assert found.row("within a factor of 1.5")[1:] == ["1 of 2", "50%"]
    assert found.row("within a factor of 2")[1:] == ["2 of 2", "100%"]
    assert found.row("said 90% sure: within 1.5")[1:] == ["1 of 2", "50%"]
    assert path.read_text().count("<svg") == 1


def test_a_measurement_from_elsewhere_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", "gpu")
    predict("How long?", 5, unit="s").reveal(5.0)
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    assert page(report(tmp_path / "r.html")).row("00_start")[4].endswith(", gpu scale")


def test_steps_stand_with_their_reasons_and_as_a_figure(tmp_path):
    step = keep("layout + half_precision")
    unsure = keep("im2col", None)
    path = report(tmp_path / "r.html")
    found = page(path)
    told = ["layout + half_precision", "training step", "1.72x (1.65–1.80)", "35.2 img/s", "preserved and faster"]
    assert found.row("layout + half_precision") == told
    assert [" ".join(step.reasons)] in found.rows
    assert [" ".join(unsure.reasons)] in found.rows
    assert [item for item in found.items if item.startswith(("Treatment", "Step"))] == [
        *[f"Treatment {name}: no step kept yet." for name in ("bottleneck", "fewer_blocks", "compiled")],
        "Step im2col: the verdict is inconclusive.",
    ]
    assert path.read_text().count("<svg") == 1


def test_steps_of_another_scale_are_left_out_and_counted(tmp_path, monkeypatch):
    keep("layout")
    monkeypatch.setenv("COURSE_SCALE", "gpu")
    found = page(report(tmp_path / "r.html"))
    assert not any(row[:1] == ["layout"] for row in found.rows)
    assert "1 step was measured on another machine or at another scale" in found.words
    assert "Treatment layout: no step kept yet." in found.items


def test_the_page_needs_nothing_outside_itself(tmp_path):
    keep("layout")
    path = report(tmp_path / "r.html")
    attributes = page(path).attributes
    assert "//" not in path.read_text()
    assert not [tag for tag, _, _ in attributes if tag in ("link", "script", "img", "iframe")]
    links = [value for _, name, value in attributes if name.split(":")[-1] in ("href", "src")]
    assert links
    assert all(link.startswith("#") for link in links)


def test_whatever_the_reader_wrote_is_escaped(tmp_path):
    evil = "<script>alert('1')</script> & \"<b>\""
    predict(evil, 1, unit="<i>").reveal(2.0)
    keep(f"{evil} layout")
    found = page(report(tmp_path / "r.html"))
    assert not {"script", "b", "i"} & {tag for tag, _, _ in found.attributes}
    assert "<script" not in (tmp_path / "r.html").read_text()
    assert found.row("")[1:3] == [evil, "1 <i>"]
    assert found.row(f"{evil} layout")


def test_nothing_missing_is_said(tmp_path):
    predict("How long?", 5, unit="s").reveal(5.0)
    predict("How much?", 5, unit="x", key="much").reveal(5.0)
    keep(" + ".join(TREATMENTS))
    found = page(report(tmp_path / "r.html"))
    assert found.items == []
    assert "Nothing is missing." in found.words


def test_the_command_writes_where_it_is_told(tmp_path, capsys):
    assert main(["report", "-o", str(tmp_path / "new" / "page.html")]) == 0
    assert "Course report" in page(tmp_path / "new" / "page.html").words
    assert f"incomplete: {2 + len(TREATMENTS)}" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine/predictions.jsonl", "predictions.jsonl, line 2 is no stored guess"),
        ("mine/steps.jsonl", "steps.jsonl:2: this line is not a record"),
        ("notebooks/00_start.ipynb", "00_start.ipynb is no notebook"),
    ],
)
def test_a_corrupt_file_is_one_sentence_and_leaves_the_old_page(clone, capsys, name, said):
    predict("How long?", 5, unit="s")
    keep("layout")
    old = report(clone / "r.html").read_text()
    with (clone / name).open("a") as file:
        file.write("{half a line\n")
    assert main(["report", "-o", str(clone / "r.html")]) == 2
    assert said in capsys.readouterr().err
    assert (clone / "r.html").read_text() == old


# what it is made of


def test_questions_are_found_in_code_alone(tmp_path):
    (tmp_path / "20_all.ipynb").write_text(
        notebook(
            "!ls\nif True:\n    %cd there\nclassroom.predict(question='By keyword?', unit='s')",
            "%%writefile a.py\npredict('in a file')",
            "predict('unfinished",
            "predict(f'made of {parts}', unit='s'); predict(f'{parts}', unit='s', key='named')",
            "predict('By keyword?', unit='s')  # asked twice",
            "# predict('a comment')\nother('predict this')",
        )
    )
    (tmp_path / "notes.ipynb").write_text(notebook("predict('no chapter', unit='s')"))
    assert [(one.notebook, one.text, one.key) for one in questions(tmp_path)] == [
        ("20_all", "By keyword?", "by-keyword"),
        ("20_all", "named", "named"),
    ]


def test_the_key_of_a_question_is_the_one_it_is_stored_under(clone):
    for one in questions(clone / "notebooks"):
        predict(one.text, 1, unit="s", key=None if one.key == "how-long" else one.key)
    assert list(histories()) == [one.key for one in questions(clone / "notebooks")] == ["how-long", "much"]


def test_a_treatment_counts_by_its_name_not_by_its_parameters():
    step = Step("bottleneck(where=layout) + im2col", SPEED, "preserved and faster")
    assert set(TREATMENTS) - set(untreated([step])) == {"bottleneck", "im2col"}


def test_guesses_of_an_older_kit_are_still_read(tmp_path):
    predictions_file().parent.mkdir()
    predictions_file().write_text('{"key": "how-long", "guess": 7.0, "unit": "s", "time": 1.0}\n')
    answer = predict("How long?", unit="s")
    assert answer.guesses == [7.0]
    answer.reveal(7.0)
    assert page(report(tmp_path / "r.html")).row("00_start")[2:] == ["7 s", "7 s", "7 s", "within 10 %"]


def test_a_reveal_without_a_guess_is_a_row_and_the_guess_after_it_says_so(tmp_path):
    answer = predict("How long?", unit="s")
    answer.reveal(7.0)
    assert page(report(tmp_path / "r.html")).row("00_start")[2:] == ["–", "–", "7 s", "no guess was made"]
    answer.keep(7.0)
    assert page(report(tmp_path / "r.html")).row("00_start")[2:5] == ["7 s", "7 s (made after measuring)", "7 s"]


def test_a_reveal_without_a_number_stores_nothing():
    nan = float("nan")
    predict("How long?", 2, unit="s").reveal(nan)
    predict("How long?", 2, unit="s").reveal(Ratio(nan, nan, nan, 9, "noisy machine"))
    assert len(predictions_file().read_text().splitlines()) == 1
    assert histories()["how-long"].revealed is None
