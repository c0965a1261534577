"""A small lesson that keeps every rule of authoring: the tests break it in one place at a time."""

from pathlib import Path

from course_utils.classroom.authoring.build import build
from course_utils.classroom.authoring.folders import Folders

PROSE = "\n".join(["# The time of one step decides how many pictures you see in an hour."] * 60)

LESSON = f'''\
# %% [markdown] id="card" section="Card"
# # 02 · Timing
#
# Does a step take more than 50 ms? In 45 minutes you will know, and you will be able to tell how sure you are.
# %% id="setup" section="Setup"
import math
# %% [markdown] id="predict" section="Predict"
# Write down a guess before you run anything.
# %% id="measure" section="Measure"
print("two threads:", math.sqrt(4))
# %% [markdown] id="idea" section="Idea"
{PROSE}
# %% id="timer" section="Build" tags=["answer"] answer="02.timer" points=2
def hypotenuse(a, b):
    """Length of the long side; `a` and `b` are numbers."""
    ### BEGIN SOLUTION about 2 lines, stub: c = ...
    squared = a**2 + b**2
    c = math.sqrt(squared)
    ### END SOLUTION
    return c
# %% id="timer-hidden" tags=["hidden-check"] answer="02.timer"
for sides in ((5, 12), (8, 15)):
    print(round(hypotenuse(*sides), 3))
# expect: 13.0
# expect: 17.0
# %% id="timer-check" tags=["check"]
right = hypotenuse(3, 4) == 5
print("right" if right else "not answered yet")
# expect: right
# %% [markdown] id="timer-hints"
# <details><summary>Hint 1: what to add</summary>Squares.</details>
# <details><summary>Hint 2: what then</summary>A root.</details>
# <details><summary>Hint 3: nearly there</summary>The module math has it.</details>
# %% [markdown] id="timer-note" tags=["solution-note"]
# Two points for the whole, one for the squares alone.
# %% [markdown] id="reveal" section="Reveal"
# Compare.
# %% [markdown] id="take" section="Take away"
# Three sentences.
'''

DRAWN = LESSON.replace(
    '# %% id="timer-check"',
    """\
# %% id="timer-drawn" tags=["hidden-check"] answer="02.timer"
print(hypotenuse(3 * secret, 4 * secret))
# %% id="timer-check\"""",
)  # a second hidden check, which varies with the secret


def write_lesson(root: Path, text: str = LESSON, name: str = "02_timing") -> Folders:
    """Write one source below `root` and build it."""
    folders = Folders(root)
    folders.sources.mkdir(exist_ok=True)
    (folders.sources / f"{name}.py").write_text(text, encoding="utf-8")
    build(folders)
    return folders
