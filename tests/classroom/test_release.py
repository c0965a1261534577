"""The archive for students: what is in it, what is kept out, and that it is refused when it would tell too much."""

import json
import subprocess
import tarfile
from datetime import date

import pytest
from authoring_lesson import write_lesson

from course_utils.classroom.authoring.build import main
from course_utils.classroom.authoring.folders import find_folders
from course_utils.classroom.authoring.release import complaints, contents, release
from course_utils.classroom.authoring.source import read_sources

DAY = date(2026, 9, 1)
HERE = find_folders()
FILES = {
    ".gitignore": "build/\n",
    "README.md": "# The course\n\n| `make release` | for instructors: packs |\n"
    "notebooks/     what you get\ninstructor/    sources\ntests/         mirrors\n",
    "instructor/GUIDE.md": "# For those who teach\n",
    "course_utils/im2col.py": "squared = a**2 + b**2\nc = math.sqrt(squared)\n",
    "tests/classroom/test_checks_other.py": "def right(): ...\n",
    "tests/test_kept.py": "def test_kept(): ...\n",
    "slurm/go.sh": "#!/bin/sh\n",
}


def git(root, *words):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path):
    """A small course in git: one lesson, and files of each kind."""
    write_lesson(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "slurm/go.sh").chmod(0o755)
    (tmp_path / "untracked.txt").write_text("mine")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", *FILES, "instructor", "notebooks")
    git(tmp_path, "commit", "-q", "-m", "a course")
    return tmp_path


def names_in(path):
    with tarfile.open(path) as archive:
        return {entry.name: entry for entry in archive}


def test_students_get_the_course_and_nothing_for_instructors(clone):
    path = release(clone, today=DAY)
    assert path == clone / "build" / "diffusion-course-2026-09-01.tar.gz"
    found = names_in(path)
    kept = {".gitignore", "README.md", "RELEASE.json", "course_utils/im2col.py", "notebooks/02_timing.ipynb"}
    kept |= {"slurm/go.sh", "tests/test_kept.py"}
    assert set(found) == {f"diffusion-course-2026-09-01/{name}" for name in kept}
    assert found["diffusion-course-2026-09-01/slurm/go.sh"].mode == 0o755
    assert found["diffusion-course-2026-09-01/README.md"].mode == 0o644
    with tarfile.open(path) as archive:
        text = archive.extractfile("diffusion-course-2026-09-01/README.md").read().decode()
        stamp = json.load(archive.extractfile("diffusion-course-2026-09-01/RELEASE.json"))
    assert text == "# The course\n\nnotebooks/     what you get\ntests/         mirrors\n"
    assert stamp["released"] == "2026-09-01"
    assert len(stamp["commit"]) >= 7


def test_the_same_commit_gives_the_same_bytes(clone):
    first = release(clone, today=DAY).read_bytes()
    assert release(clone, today=DAY).read_bytes() == first


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("tests/test_timer.py", "    squared = a**2 + b**2\n    c = math.sqrt(squared)\n", "a solution of 02_timing"),
        ("course_utils/x.py", "    print(round(hypotenuse(*sides), 3) if sides else None)\n", "a hidden check of 02_"),
    ],
)
def test_what_tells_too_much_is_named_and_nothing_is_written(clone, name, text, said):
    source = clone / "instructor/02_timing.py"
    long = "print(round(hypotenuse(*sides), 3) if sides else None)"
    source.write_text(source.read_text().replace("print(round(hypotenuse(*sides), 3))", long))
    (clone / name).write_text(text)
    git(clone, "add", ".")
    git(clone, "commit", "-q", "-m", "a leak")
    with pytest.raises(ValueError, match=f"(?s)would tell too much.*{name} holds {said}"):
        release(clone, today=DAY)
    assert not list((clone / "build").glob("*.tar.gz"))


def test_a_file_for_instructors_is_a_complaint_wherever_it_comes_from():
    assert list(complaints({"instructor/02_timing.py": b""}, ())) == ["instructor/02_timing.py is for instructors"]
    assert not list(complaints({"notes/instructor.md": b""}, ()))


def test_what_is_not_committed_and_what_is_no_clone_is_refused(clone, tmp_path_factory):
    (clone / "README.md").write_text("changed")
    with pytest.raises(ValueError, match=r"tracked files differ from what is committed .*README.md.*: commit or undo"):
        release(clone, today=DAY)
    with pytest.raises(ValueError, match="a release is made in a git clone, and git says: fatal: not a git repo"):
        release(tmp_path_factory.mktemp("bare"), today=DAY)


def test_an_unpacked_release_runs_its_notebooks_and_hears_what_is_open(clone, tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("student")
    with tarfile.open(release(clone, today=DAY)) as archive:
        archive.extractall(folder, filter="data")
    root = folder / "diffusion-course-2026-09-01"
    assert main(["--check", "--run", "--root", str(root)]) == 0
    assert "ok  every unsolved copy runs to its end and says what is open" in capsys.readouterr().out
    notebook = root / "notebooks/02_timing.ipynb"
    notebook.write_text(notebook.read_text().replace("not answered yet", "hm"))
    assert main(["--check", "--run", "--root", str(root)]) == 1
    assert "02_timing, cell timer-check: the check of an open exercise does not say" in capsys.readouterr().out


def test_the_command_packs_and_says_what(clone, capsys):
    assert main(["--release", "--root", str(clone)]) == 0
    assert "MB, no solved notebook and no hidden check in it" in capsys.readouterr().out


@pytest.mark.skipif(not (HERE.sources.is_dir() and (HERE.root / ".git").exists()), reason="no clone with sources here")
def test_what_is_released_of_this_course_tells_nothing():
    files = contents(HERE.root)
    assert {"README.md", "Makefile", "notebooks/00_start.ipynb", "data/base.safetensors"} <= set(files)
    assert list(complaints(files, read_sources(HERE.sources))) == []
