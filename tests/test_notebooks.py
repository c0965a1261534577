"""Every solved notebook runs through nbval at smoke scale, and every proof of the builder holds."""

import pytest
from nbformat.v4 import new_output

from course_utils.classroom.authoring.build import check
from course_utils.classroom.authoring.copies import CHECK_OUTPUT, master
from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.authoring.proofs import PROOFS
from course_utils.classroom.authoring.source import read_source
from course_utils.classroom.authoring.validation import validate
from course_utils.classroom.grading.exams import Exam
from course_utils.classroom.grading.limits import Limits
from course_utils.classroom.grading.marking import Bench, reference_prints
from course_utils.classroom.grading.sandbox import Sandbox

FOLDERS = find_folders()
SOURCES = sorted(FOLDERS.sources.glob("[0-9][0-9]_*.py"))


@pytest.mark.skipif(not SOURCES, reason=f"{FOLDERS.sources.name}/ holds no source: nothing to execute")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_solved_notebook_prints_what_it_should(path, capsys, record_property):
    source = read_source(path)
    notebook = master(source)
    expect_what_the_slice_prints(notebook, source)
    said = validate(notebook)
    record_property("wall_s", round(said.wall_s, 1))
    with capsys.disabled():
        print(f"\n{path.stem}: {said.wall_s:.1f} s at smoke scale, {said.compared} outputs compared")
    if said.complaints:
        pytest.fail(f"{path.stem}\n{said}", pytrace=False)


def expect_what_the_slice_prints(notebook, source):
    """Hidden checks without `# expect:` lines must print in the whole lesson what they print in the grader's slice."""
    exam = Exam(source)
    if not exam.exercises:
        return
    prints = reference_prints(exam, Bench(Sandbox(None), Limits(cell_s=120), secret=0))
    told = {key: iter(printed) for key, printed in prints.items()}
    for cell in notebook.cells:
        if "hidden-check" in cell.metadata.get("tags", []):
            lines = next(told[cell.metadata.answer])
            if not cell.outputs:
                cell.outputs = [new_output("stream", text="".join(f"{line}\n" for line in lines))]
                cell.execution_count = 1
                cell.metadata.tags = [*cell.metadata.tags, CHECK_OUTPUT]


@pytest.mark.skipif(not SOURCES, reason=f"{FOLDERS.sources.name}/ holds no source: nothing to prove")
@pytest.mark.parametrize("proof", [proof.name for proof in PROOFS])
def test_builder_proof_holds(proof, found):
    if found[proof]:
        pytest.fail("\n".join([proof, *found[proof]]), pytrace=False)


@pytest.fixture(scope="module")
def found():
    return check(FOLDERS)
