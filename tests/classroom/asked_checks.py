"""What tests of visible checks share: ask one, and say what a right and a wrong answer must get to hear."""

from course_utils.classroom import check

__all__ = ["assert_right", "assert_wrong", "run"]


def run(capsys, name, answer):
    """What a check hands back and what it printed."""
    returned = getattr(check, name)(answer)
    return returned, capsys.readouterr().out


def assert_right(capsys, name, answer):
    returned, said = run(capsys, name, answer)
    assert returned is answer, said
    assert ": right" in said
    assert "not yet" not in said


def assert_wrong(capsys, name, answer, words):
    returned, said = run(capsys, name, answer)
    assert returned is not answer
    assert "not right yet" in said
    assert words in said, said
    assert "Traceback" not in said
    return returned
