"""The source format: what is read, and how each mistake is named."""

import pytest
from authoring_lesson import LESSON

from course_utils.classroom.authoring.solutions import is_placeholder, regions, solved, stubbed
from course_utils.classroom.authoring.source import read_source

ANSWER = """def f(x):
    ### BEGIN SOLUTION about 2 lines
    y = x + 1
    return y
    ### END SOLUTION"""


def read(tmp_path, text, name="02_timing"):
    path = tmp_path / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return read_source(path)


def test_header_fields_and_expected_lines_are_read(tmp_path):
    source = read(tmp_path, LESSON)
    cells = {cell.id: cell for cell in source.cells}
    assert source.number == 2
    assert list(cells)[:3] == ["card", "setup", "predict"]
    assert (cells["timer"].section, cells["timer"].answer, cells["timer"].points) == ("Build", "02.timer", 2)
    assert cells["timer-hidden"].expect == "13.0\n17.0\n"
    assert "expect" not in cells["timer-hidden"].text
    assert [cell.id for cell in source.cells if cell.is_hidden] == ["timer-hidden", "timer-note"]


def test_an_empty_expected_line_is_kept(tmp_path):
    source = read(tmp_path, '# %% id="a"\nprint("x\\n\\ny")\n# expect: x\n# expect:\n# expect: y\n')
    assert source.cells[0].expect == "x\n\ny\n"


def test_magics_reach_the_notebook(tmp_path):
    text = (
        '# %% id="a"\n# %%writefile job.py\nimport os\nprint(os.getpid())\n# %% id="b"\n# %matplotlib inline\nx = 1\n'
    )
    first, second = read(tmp_path, text).cells
    assert first.text == "%%writefile job.py\nimport os\nprint(os.getpid())"
    assert second.text == "%matplotlib inline\nx = 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# %%\nx = 1\n", "the header needs an id"),
        ('# %% id="a b"\nx = 1\n', "the header needs an id"),
        ('# %% id="a"\nx = 1\n# %% id="a"\ny = 1\n', "cell id 'a' is used twice"),
        ('# %% id="a" pionts=2\nx = 1\n', r"unknown header keys \['pionts'\]"),
        ('# %% id="a" tags=["hidden"]\nx = 1\n', "tags"),
        ('# %% [markdown] id="a" tags=["answer"]\n# x\n', "those of a markdown cell"),
        ('# %% [raw] id="a"\n# x\n', "a raw cell has no place"),
        ('# %% [markdown] id="a"\n# # expect: 1\n', "only a code cell"),
        ('# %% id="a" tags=["hidden-check"]\nprint(1)\n# expect: 1\n', "carry the answer's key"),
        ('# %% id="a" tags=["answer"] answer="02.a"\nx = 1\n', "an answer cell has a solution region"),
        (f'# %% id="a"\n{ANSWER}\n', "no other cell has one"),
        ("x = 1\n", "the header needs an id"),
    ],
)
def test_mistakes_are_named_with_file_and_cell(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text)
    assert "02_timing.py" in str(caught.value)


def test_a_source_needs_its_number(tmp_path):
    with pytest.raises(ValueError, match=r"NN_topic\.py"):
        read(tmp_path, LESSON, name="timing")


def test_a_region_becomes_one_placeholder_at_its_indentation():
    assert stubbed(ANSWER) == "def f(x):\n    ...  # your code here, about 2 lines"
    assert solved(ANSWER) == "def f(x):\n    y = x + 1\n    return y"


def test_two_regions_and_a_stub_of_two_names():
    text = (
        "### BEGIN SOLUTION about 1 line, stub: flop, bytes_moved = ..., ...\n"
        "flop, bytes_moved = 1, 2\n### END SOLUTION\n"
        "print(flop)\n### BEGIN SOLUTION about 1 line\nprint(3)\n### END SOLUTION"
    )
    stub = stubbed(text).splitlines()
    assert stub[0] == "flop, bytes_moved = ..., ...  # your code here, about 1 line"
    assert stub[1:] == ["print(flop)", "...  # your code here, about 1 line"]
    assert [is_placeholder(line) for line in stub] == [True, False, True]
    assert [region.lines for region in regions(text)] == [("flop, bytes_moved = 1, 2",), ("print(3)",)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("### BEGIN SOLUTION about 1 line\nx = 1", "never closed"),
        ("x = 1\n### END SOLUTION", "out of place"),
        ("### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "out of place"),
        ("### begin solution about 1 line\nx = 1\n### END SOLUTION", "out of place"),
        ("### BEGIN SOLUTION about 1 line\n### BEGIN SOLUTION about 1 line\nx = 1\n### END SOLUTION", "out of place"),
        ("### BEGIN SOLUTION about 1 line\n\n### END SOLUTION", "is empty"),
        ("### BEGIN SOLUTION about 1 line, stub: x = 7\nx = 7\n### END SOLUTION", "must assign"),
        ("### BEGIN SOLUTION about 1 line, stub: x = \nx = 7\n### END SOLUTION", "must assign"),
    ],
)
def test_broken_regions_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        regions(text)
