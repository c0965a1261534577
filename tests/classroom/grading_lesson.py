"""A small lesson for the grader's tests, without torch, and a clone to keep it in."""

from pathlib import Path

from course_utils.classroom.authoring.folders import Folders
from course_utils.classroom.authoring.source import read_source
from course_utils.classroom.grading.exams import Exam

LESSON = '''\
# %% [markdown] id="card" section="Card"
# # Triangles
# %% id="setup" section="Setup"
import math
from types import SimpleNamespace

def shown(own):
    def run(answer):
        right = callable(answer) and answer(3, 4) == own(3, 4)
        print(f"{own.__name__}: {'right' if right else 'not right yet'}")
        print("  ok    it works for 3 and 4" if right else "  not yet    3 and 4: expected another number")
        return answer if right else own
    return run

def legs(a, b):
    return math.hypot(a, b)

def around(a, b):
    return a + b + math.hypot(a, b)

def half(a, b):
    return a * b / 2

check = SimpleNamespace(hypotenuse=shown(legs), perimeter=shown(around), area=shown(half))
# %% id="slow"
import time
time.sleep(0.2)
measured = "what no exercise needs"
# %% id="hypotenuse" tags=["answer"] answer="07.hypotenuse" points=1
def hypotenuse(a, b):
    """The long side."""
    ### BEGIN SOLUTION about 2 lines, stub: c = ...
    squared = a**2 + b**2
    c = math.sqrt(squared)
    ### END SOLUTION
    return c
# %% id="hypotenuse-hidden" tags=["hidden-check"] answer="07.hypotenuse"
assert_like = [hypotenuse(5, 12), hypotenuse(8, 15)]
print(f"{assert_like[0]:.3f} {assert_like[1]:.3f}")
# expect: 13.000 17.000
# %% id="hypotenuse-drawn" tags=["hidden-check"] answer="07.hypotenuse"
drawn_leg = 3 + secret % 1009
print(f"{hypotenuse(drawn_leg, 2 * drawn_leg):.3f}")
# %% id="hypotenuse-check" tags=["check"]
hypotenuse = check.hypotenuse(hypotenuse)
# %% id="perimeter" tags=["answer"] answer="07.perimeter" points=2
def perimeter(a, b):
    """All three sides."""
    ### BEGIN SOLUTION about 1 line
    return a + b + hypotenuse(a, b)
    ### END SOLUTION
# %% id="perimeter-hidden" tags=["hidden-check"] answer="07.perimeter"
print(f"{perimeter(5 + secret % 1009, 12):.3f}")
# %% id="perimeter-check" tags=["check"]
perimeter = check.perimeter(perimeter)
# %% id="area" tags=["answer"] answer="07.area" points=1
def area(a, b):
    """What it covers."""
    ### BEGIN SOLUTION about 2 lines
    doubled = a * b
    return doubled / 2
    ### END SOLUTION
# %% id="area-hidden" tags=["hidden-check"] answer="07.area"
covered = [area(5, 12), area(1 + secret % 1009, 3)]
print(*(f"{one:.1f}" for one in covered))
# %% id="area-check" tags=["check"]
area = check.area(area)
'''


def write_clone(root: Path, text: str = LESSON) -> Folders:
    """Write the lesson as the one source of a clone below `root`."""
    folders = Folders(root)
    folders.sources.mkdir(parents=True)
    (folders.sources / "07_triangles.py").write_text(text, encoding="utf-8")
    return folders


def triangles(root: Path, text: str = LESSON) -> Exam:
    """The lesson as the grader sees it."""
    return Exam(read_source(write_clone(root, text).sources / "07_triangles.py"))
