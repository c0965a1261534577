"""A rehearsal notices what a gradebook says wrongly, and its plants are what they claim to be."""

import csv

import pytest
from grading_lesson import triangles

from course_utils.classroom.grading.plant_kinds import KINDS
from course_utils.classroom.grading.planting import BROKEN, plants
from course_utils.classroom.grading.rehearsal import complaints


def gradebook(folder, planted, change=lambda rows: None):
    rows = [
        {
            "student": one.student,
            **{key: f"{points:g}" for key, points in one.points.items()},
            "flags": f"x; {one.flag}",
        }
        for one in planted
    ]
    change(rows)
    with (folder / "gradebook.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["student", "07.hypotenuse", "07.perimeter", "07.area", "flags"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


WRONG = {
    "a point too much": (lambda rows: rows[-1].update({"07.area": "1"}), "07.area got '1', must get 0"),
    "a point too little": (lambda rows: rows[0].update({"07.area": ""}), "000-right: 07.area got '', must get 1"),
    "somebody lost": (lambda rows: rows.pop(3), "003-merged: not in the gradebook"),
    "somebody else": (lambda rows: rows.append(rows[0] | {"student": "zoe"}), "zoe: not planted"),
    "a flag lost": (
        lambda rows: next(row for row in rows if row["student"].endswith("-segfault")).update({"flags": ""}),
        "-segfault: 'ctypes' is not among the flags",
    ),
}


@pytest.mark.parametrize(("change", "why"), WRONG.values(), ids=WRONG)
def test_a_wrong_gradebook_is_noticed(tmp_path, change, why):
    planted = plants([triangles(tmp_path)], len(KINDS) + len(BROKEN))
    assert complaints(planted, gradebook(tmp_path, planted)) == []
    (told,) = complaints(planted, gradebook(tmp_path, planted, change))
    assert why in told


def test_no_gradebook_is_noticed(tmp_path):
    assert complaints([], tmp_path) == ["there is no gradebook"]


def test_a_hundred_plants_have_every_kind_and_all_packings(tmp_path):
    planted = plants([triangles(tmp_path)], 100)
    assert len({one.student for one in planted}) == 100
    assert {one.kind for one in planted} == {*KINDS, *BROKEN}
    assert {one.packing for one in planted} == {"folder", "zip", "tar.gz"}
    totals = {one.kind: one.total for one in planted}
    assert [totals[kind] for kind in ("right", "half-right", "empty", "bomb")] == [4.0, 3.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="at least one student"):
        plants([], 3)
