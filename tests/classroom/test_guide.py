"""`instructor/GUIDE.md` against the repository: commands, files, minutes, points and cases that it names."""

import importlib.util
import re

import jupytext
import pytest

from course_utils.__main__ import COMMANDS
from course_utils.__main__ import main as run_command
from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.authoring.source import read_sources
from course_utils.measure import load

FOLDERS = find_folders()
GUIDE = FOLDERS.sources / "GUIDE.md"
if not GUIDE.exists():
    pytest.skip("instructor/ is not part of a student release: there is no guide to check", allow_module_level=True)

TEXT = GUIDE.read_text(encoding="utf-8")
SOURCES = {source.name: source for source in read_sources(FOLDERS.sources)}
CODE = [*re.findall(r"`([^`\n]+)`", TEXT), *"\n".join(re.findall(r"^```\n(.*?)^```$", TEXT, re.M | re.S)).splitlines()]
MADE = ("build/", "my/", "results/local/", "feedback/", "gradebook.csv", "review.txt", "points.png", "SUBMISSIONS/")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:md|py|txt|csv|png|html|sh|toml)")


def tables():
    """Every table as rows of cells, by the heading above it."""
    found, heading = {}, ""
    for line in TEXT.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and not line.startswith("|---"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.setdefault(heading, []).append(cells)
    return found


def minutes_of(source):
    return int(re.search(r"About (\d+) minutes", source.cells[0].text)[1])


def exercises():
    return {cell.answer: cell.points for source in SOURCES.values() for cell in source.cells if cell.points}


def help_of(name, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command([name, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_every_command_of_the_kit_exists_and_knows_the_options_it_is_given(capsys):
    seen = set()
    for line in CODE:
        for name, rest in re.findall(r"python -m course_utils (\w+)([^#\n]*)", line):
            assert name in COMMANDS, line
            options = re.findall(r"(?<!\w)--?[a-z][\w-]*", rest)
            known = help_of(name, capsys)
            for option in options:
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", known), f"{name} has no option {option}"
            seen.add(name)
    assert {"check", "grade", "build", "report", "doctor", "data"} <= seen
    for module in re.findall(r"python -m (course_utils\.[\w.]+)", TEXT):
        assert importlib.util.find_spec(module), module


def test_every_target_of_make_exists_and_reads_the_variables_it_is_given():
    makefile = (FOLDERS.root / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z_]+):", makefile, re.M))
    named = [re.match(r"make (\w+)((?: \w+=\S+)*)", line) for line in CODE]
    used = [match for match in named if match]
    assert {"release", "grade", "test", "lab", "course", "check"} <= {match[1] for match in used}
    for match in used:
        assert match[1] in targets, f"make {match[1]} is no target of the Makefile"
        for variable in re.findall(r"(\w+)=", match[2]):
            assert f"$({variable})" in makefile, f"the Makefile does not read {variable}"


def test_every_file_it_names_is_there_or_is_made_by_a_command():
    named = {path for line in CODE for path in PATH.findall(line) if not line.startswith(("python", "make", "scancel"))}
    named |= {path.removeprefix("../") for path in re.findall(r"\]\(([^)#]+)\)", TEXT)}
    wanted = {path for path in named if (not path.startswith(MADE) and "/" in path) or path.endswith(".md")}
    assert {"CONTRIBUTING.md", "instructor/planted/"} <= wanted
    handed_in = {"grace/12_im2col.ipynb", "Bartik_67890_assignsubmission_file/my.zip"}
    missing = sorted(path for path in wanted - handed_in if not (FOLDERS.root / path).exists())
    assert not missing


def test_links_within_the_page_lead_to_headings():
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    links = re.findall(r"\]\(#([^)]+)\)", TEXT)
    assert links
    assert set(links) <= headings


def test_table_of_minutes_and_points_says_what_cards_and_sources_say():
    rows = tables()["Plan"][1:]
    told = {name.strip("`"): (int(minutes), float(points)) for name, minutes, _, points, _ in rows}
    wanted = {
        name: (minutes_of(source), sum(cell.points or 0 for cell in source.cells)) for name, source in SOURCES.items()
    }
    assert told == wanted


def test_minutes_of_the_machine_are_those_of_the_record():
    recorded = {
        one.name: f"{one.value / 60:.1f}" for one in load(FOLDERS.root / "results/reference/course-cpu2-laptop.jsonl")
    }
    assert {name.strip("`"): machine for name, _, machine, *_ in tables()["Plan"][1:]} == recorded


@pytest.mark.parametrize(("route", "limit"), [("Two hours", 120), ("Half a day", 240), ("Six weeks", None)])
def test_minutes_of_a_route_are_those_of_its_notebooks(route, limit):
    rows = tables()[route][1:]
    cards = {source.name[:2]: minutes_of(source) for source in SOURCES.values()}
    visited = []
    for _, what, minutes in rows:
        notebooks = re.findall(r"\b\d\d\b", what)
        visited += notebooks
        if notebooks:
            assert int(minutes) == sum(cards[number] for number in notebooks), what
    assert limit is None or sum(int(minutes) for *_, minutes in rows) <= limit
    assert limit or visited == sorted(cards), "six weeks are the whole course, in order"


def test_gallery_shows_a_planted_wrong_answer_of_every_exercise():
    rows = [re.findall(r"`([^`]+)`", cells[0]) for cells in tables()["Gallery"] if re.match(r"`\d\d\.", cells[0])]
    shown = {(answer, case) for answer, case in rows}
    assert len(shown) == len(rows), "a case is told twice"
    planted = {}
    for path in sorted((FOLDERS.sources / "planted").glob("[0-9]*.py")):
        for cell in jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells:
            if cell.cell_type == "code":
                planted[cell.metadata["answer"], cell.metadata["case"]] = cell.metadata["points"]
    assert {case: planted.get(case) for case in shown} == dict.fromkeys(shown, 0)
    assert {answer for answer, _ in shown} == set(exercises())


def test_rubric_has_a_question_and_three_calibrated_answers_for_every_notebook():
    parts = re.split(r"^### `(\w+)`: ", TEXT, flags=re.M)
    asked = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(asked) == set(SOURCES)
    for name, part in asked.items():
        own = part.split("\n## ")[0]
        assert own.splitlines()[0].endswith("?"), name
        assert re.findall(r"^- \*(\w+):\*", own, re.M) == ["Full", "Half", "None"], name
