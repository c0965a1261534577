"""What agrees with a reference's print, and what does not."""

import pytest

from course_utils.classroom.grading.comparison import agree, lines_agree

ALIKE = {
    "the same": ("(2, 3) torch.float32 0.262", "(2, 3) torch.float32 0.262"),
    "one unit of the last place": ("0.263", "0.262"),
    "a thousandth of a large number": ("1234.9", "1234.0"),
    "another sign of nothing": ("-0.000", "0.000"),
    "a whole number with a point": ("[3.0]", "[3]"),
    "a tiny number": ("2.3290e-10", "2.3283e-10"),
    "an exponent without a point": ("1.0009e5", "1e5"),
    "blanks": ("right   4 ", "right 4"),
    "what is no number": ("inf nan None", "inf nan None"),
}
UNLIKE = {
    "two units of the last place": ("0.264", "0.262"),
    "more than a thousandth": ("1236.0", "1234.0"),
    "a whole number off by one": ("100001", "100000"),
    "a whole number nearly": ("100000.4", "100000"),
    "another word": ("worse 3.0", "preserved 3.0"),
    "an exponent is no excuse": ("2e5", "1e5"),
    "brackets": ("(3, 4)", "[3, 4]"),
    "a name with digits": ("gpu:a100:1", "gpu:a101:1"),
    "a version": ("1.2.3", "1.2.4"),
    "a number more": ("1.0 2.0", "1.0"),
    "not a number": ("nan", "0.5"),
    "a time of day": ("12:00:01", "12:00:00"),
    "an endless exponent": ("1e999999999999999999999", "1.0"),
    "beyond every float": ("1e400", "1.0"),
}


@pytest.mark.parametrize(("got", "wanted"), ALIKE.values(), ids=ALIKE)
def test_alike(got, wanted):
    assert lines_agree(got, wanted)


@pytest.mark.parametrize(("got", "wanted"), UNLIKE.values(), ids=UNLIKE)
def test_unlike(got, wanted):
    assert not lines_agree(got, wanted)


def test_lines_count():
    assert agree(["a", "1.0"], ["a", "1.0"])
    assert agree([], [])
    assert not agree(["a"], ["a", "1.0"])
    assert not agree(["a", "1.0", "1.0"], ["a", "1.0"])
