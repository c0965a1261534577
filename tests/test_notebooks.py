"""Every solved notebook runs through nbval at smoke scale, and every proof of the builder holds."""

import pytest

from course_utils.classroom.authoring.build import check
from course_utils.classroom.authoring.copies import master
from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.authoring.proofs import PROOFS
from course_utils.classroom.authoring.source import read_source
from course_utils.classroom.authoring.validation import validate

FOLDERS = find_folders()
SOURCES = sorted(FOLDERS.sources.glob("[0-9][0-9]_*.py"))


@pytest.mark.skipif(not SOURCES, reason=f"{FOLDERS.sources.name}/ holds no source: nothing to execute")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_solved_notebook_prints_what_it_should(path, capsys, record_property):
    said = validate(master(read_source(path)))
    record_property("wall_s", round(said.wall_s, 1))
    with capsys.disabled():
        print(f"\n{path.stem}: {said.wall_s:.1f} s at smoke scale, {said.compared} outputs compared")
    if said.complaints:
        pytest.fail(f"{path.stem}\n{said}", pytrace=False)


@pytest.mark.skipif(not SOURCES, reason=f"{FOLDERS.sources.name}/ holds no source: nothing to prove")
@pytest.mark.parametrize("proof", [proof.name for proof in PROOFS])
def test_builder_proof_holds(proof, found):
    if found[proof]:
        pytest.fail("\n".join([proof, *found[proof]]), pytrace=False)


@pytest.fixture(scope="module")
def found():
    return check(FOLDERS)
