"""Folders and archives of students: what is read, what is refused, and that nothing is ever written."""

import io
import os
import tarfile
import zipfile

import pytest

from course_utils.classroom.grading import submissions
from course_utils.classroom.grading.submissions import Submission, find_submissions, read_submission


def folder_with(tmp_path, files):
    folder = tmp_path / "ada"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Submission("ada", folder)


def zip_with(tmp_path, files):
    path = tmp_path / "ada.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return Submission("ada", path)


def tar_with(tmp_path, files, **special):
    path = tmp_path / "ada.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            for key, value in special.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return Submission("ada", path)


FILES = {
    "my/12_a.ipynb": "{}",
    "notes.txt": "x",
    "my/.ipynb_checkpoints/12_a.ipynb": "old",
    "__MACOSX/my/._12_a.ipynb": "x",
}


@pytest.mark.parametrize("make", [folder_with, zip_with, tar_with])
def test_notebooks_are_read_and_nothing_else(tmp_path, make):
    assert read_submission(make(tmp_path, FILES)) == {"my/12_a.ipynb": "{}"}


@pytest.mark.parametrize("make", [zip_with, tar_with])
@pytest.mark.parametrize("name", ["../12_a.ipynb", "/etc/12_a.ipynb", "a/../../b.ipynb", "..\\b.ipynb", "C:/b.ipynb"])
def test_paths_that_lead_out_are_refused(tmp_path, make, name):
    with pytest.raises(ValueError, match="leads out of it"):
        read_submission(make(tmp_path, {name: "{}"}))
    assert sorted(path.name for path in tmp_path.rglob("*.ipynb")) == []


def test_an_archive_in_a_folder_is_read_and_a_broken_one_told(tmp_path):
    inner = zip_with(tmp_path, {"my/12_a.ipynb": "{}", "notes.txt": "x"}).path
    submission = folder_with(tmp_path, {"13_b.ipynb": "[]"})
    inner.rename(submission.path / "hand in.zip")
    assert read_submission(submission) == {"13_b.ipynb": "[]", "hand in.zip/my/12_a.ipynb": "{}"}
    (submission.path / "again.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"the archive again\.tar\.gz cannot be read"):
        read_submission(submission)


@pytest.mark.parametrize("make", [folder_with, zip_with, tar_with])
def test_without_a_notebook_there_is_a_sentence(tmp_path, make):
    with pytest.raises(ValueError, match=r"there is no notebook \(\.ipynb\)"):
        read_submission(make(tmp_path, {"report.pdf": "x"}))


def test_a_tar_of_the_folder_itself_is_fine(tmp_path):
    assert read_submission(tar_with(tmp_path, {"./12_a.ipynb": "{}"})) == {"./12_a.ipynb": "{}"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    with pytest.raises(ValueError, match="a link or a device"):
        read_submission(tar_with(tmp_path, {"12_a.ipynb": ""}, type=kind, linkname="/etc/passwd"))


def test_links_in_a_zip_are_refused(tmp_path):
    entry = zipfile.ZipInfo("12_a.ipynb")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "ada.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ValueError, match="a link or a device"):
        read_submission(Submission("ada", tmp_path / "ada.zip"))


def test_links_and_pipes_in_a_folder_are_passed_by(tmp_path):
    submission = folder_with(tmp_path, {"12_a.ipynb": "{}"})
    (submission.path / "13_b.ipynb").symlink_to("/etc/passwd")
    (submission.path / "away").symlink_to("/etc")
    os.mkfifo(submission.path / "14_c.ipynb")
    assert read_submission(submission) == {"12_a.ipynb": "{}"}


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_BYTES", 1000)
    monkeypatch.setattr(submissions, "MAX_TOTAL_BYTES", 2500)
    monkeypatch.setattr(submissions, "MAX_FILES", 20)
    for make in (folder_with, zip_with, tar_with):
        for count, (files, why) in enumerate(
            [
                ({"12_a.ipynb": "x" * 1001}, "too large"),
                ({f"{k}_a.ipynb": "x" * 900 for k in range(10, 13)}, "too large"),
                ({f"{k}.txt": "x" for k in range(30)}, "more than 20"),
            ]
        ):
            place = tmp_path / f"{make.__name__}{count}"
            place.mkdir()
            with pytest.raises(ValueError, match=why):
                read_submission(make(place, files))
    with pytest.raises(ValueError, match="unpacks to more"):
        read_submission(tar_with(tmp_path, {"zeros.bin": "0" * 5001}))


@pytest.mark.parametrize("name", ["ada.zip", "ada.tar.gz"])
def test_a_broken_archive_gets_a_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(ValueError, match="cannot be read"):
        read_submission(Submission("ada", tmp_path / name))


def test_students_are_folders_and_archives(tmp_path):
    (tmp_path / "Ada Lovelace").mkdir()
    (tmp_path / "bob.tar.gz").write_bytes(b"")
    (tmp_path / "C.zip").write_bytes(b"")
    (tmp_path / "list.xlsx").write_bytes(b"")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "Zoe\u0308").mkdir()  # as macOS spells it
    (tmp_path / "elsewhere").symlink_to("/etc")
    found, ignored = find_submissions(tmp_path)
    assert [one.student for one in found] == ["Ada Lovelace", "C", "Zo\u00eb", "bob"]
    assert [line.split(":")[0] for line in ignored] == ["elsewhere", "list.xlsx"]


def test_one_student_twice_or_none_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="holds no submission"):
        find_submissions(tmp_path)
    (tmp_path.parent / "class.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="is a file: unpack it"):
        find_submissions(tmp_path.parent / "class.zip")
    with pytest.raises(ValueError, match="there is no folder"):
        find_submissions(tmp_path / "nowhere")
    (tmp_path / "ada").mkdir()
    (tmp_path / "Ada.zip").write_bytes(b"")
    with pytest.raises(ValueError, match="both of the student"):
        find_submissions(tmp_path)
