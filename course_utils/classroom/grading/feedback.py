"""A page for each student: what became of every exercise, in plain words, and nothing of the hidden checks."""

from __future__ import annotations

import html
from pathlib import Path

from course_utils.atomic import replacing
from course_utils.classroom.grading.exams import Exam, Exercise
from course_utils.classroom.grading.gradebook import number, totals
from course_utils.classroom.grading.handing_in import HandedIn
from course_utils.classroom.grading.marking import Mark
from course_utils.classroom.grading.records import file_name
from course_utils.classroom.grading.session import Results

__all__ = ["page", "write_feedback"]

STYLE = """\
body { font: 16px/1.5 sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100% } td, th { padding: .5rem .8rem; text-align: left;
vertical-align: top; border-bottom: 1px solid #ccc } td.points { text-align: right; white-space: nowrap }
.right { color: #00664b } .other { color: #a34700 } ul { margin: .3rem 0 0; padding-left: 1.2rem; color: #555 }
code { background: #f2f2f2; padding: 0 .2rem }"""


def write_feedback(results: Results, folder: Path) -> list[Path]:
    """Write `feedback/STUDENT.html` for every student; pages of students who are gone are removed."""
    place = folder / "feedback"
    place.mkdir(parents=True, exist_ok=True)
    paths = []
    for told in results.students:
        paths.append(place / f"{file_name(told.student)}.html")
        with replacing(paths[-1]) as temporary:
            temporary.write_text(page(results, told), encoding="utf-8")
    for left in set(place.glob("*.html")) - set(paths):
        left.unlink()
    return paths


def page(results: Results, told: HandedIn) -> str:
    """The page of one student as HTML that needs no other file."""
    got, out_of = totals(results, told.student)
    name = html.escape(told.student)
    body = f"<p>{html.escape(told.refused)}</p>" if told.refused else ""
    body += "\n".join(_notebook(results, told, exam) for exam in results.exams)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Feedback for {name}</title>
<style>{STYLE}</style></head>
<body><h1>Feedback for {name}</h1>
<p>{number(got)} of {number(out_of)} points. Points are given for answers that compute what they should for inputs drawn
afresh, never for a timing.</p>
{body}
</body></html>
"""


def _notebook(results: Results, told: HandedIn, exam: Exam) -> str:
    head = f"<h2>{exam.name}</h2>"
    if exam.name in told.unreadable:
        return f"{head}<p>It was handed in, but {html.escape(told.unreadable[exam.name])}.</p>"
    graded = results.graded.get((told.student, exam.name))
    if graded is None:
        known = "It could not be graded yet: ask your instructor." if exam.name in told.answers else "Not handed in."
        return f"{head}<p>{'Nothing is answered in it.' if exam.name in told.untouched else known}</p>"
    rows = "\n".join(_row(exam, one, graded.marks[one.key]) for one in exam.exercises)
    return f"{head}<table><tr><th>Exercise</th><th>Result</th><th>Points</th></tr>\n{rows}</table>"


def _row(exam: Exam, exercise: Exercise, mark: Mark) -> str:
    points = "" if mark.points is None else f"{number(mark.points)} of {number(exercise.points)}"
    kind = "right" if mark.status == "right" else "other"
    said = f"<strong class={kind!r}>{html.escape(mark.status)}</strong>"
    if mark.words:
        said += f"<br>{html.escape(mark.words)}"
    if mark.check_lines:
        said += "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in mark.check_lines) + "</ul>"
    if kind == "other" and mark.points is not None:
        said += f"<br>To look again: <code>python -m course_utils check {exam.name[:2]}</code>"
    return f'<tr><td>{html.escape(exercise.name)}</td><td>{said}</td><td class="points">{points}</td></tr>'
