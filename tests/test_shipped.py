"""Shipped files: whole ones are found, and a damaged, missing or unlisted one is named in one sentence."""

import hashlib
import json
import shutil
import subprocess

import pytest

from course_utils import shipped as subject
from course_utils.shipped import card, checksums, shipped, shipped_names


@pytest.fixture
def folder(tmp_path):
    """A shipped folder of two small files, the first with a card."""
    contents = {"net.safetensors": b"weights" * 50, "other.bin": b"other"}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "SHA256SUMS").write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
    (tmp_path / "net.json").write_text(json.dumps({"file": "net.safetensors", "sha256": sums["net.safetensors"]}))
    return tmp_path


def test_a_whole_file_is_found_and_its_card_read(folder):
    assert shipped("net.safetensors", folder=folder) == folder / "net.safetensors"
    assert shipped_names(folder) == ["net.safetensors", "other.bin"]
    assert card("net", folder=folder) == card("net.safetensors", folder=folder)
    assert card("net", folder=folder)["file"] == "net.safetensors"


def test_the_folder_is_the_repositorys_unless_named(folder, monkeypatch):
    monkeypatch.setattr(subject, "SHIPPED", folder)
    assert shipped("other.bin") == folder / "other.bin"
    assert shipped_names() == ["net.safetensors", "other.bin"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed here")
def test_sha256sum_reads_the_list_too(folder):
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "net.safetensors: OK\nother.bin: OK\n"


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"W" + content[1:], lambda _: b""])
def test_a_truncated_altered_or_empty_file_is_refused(folder, damage):
    path = folder / "net.safetensors"
    shipped(path.name, folder=folder)  # whole before, and known to be so
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"net\.safetensors is damaged.*git checkout -- data/net\.safetensors"):
        shipped(path.name, folder=folder)


def test_a_missing_and_an_unlisted_file_are_told_apart(folder):
    (folder / "net.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"is missing, though SHA256SUMS lists it.*git checkout"):
        shipped("net.safetensors", folder=folder)
    (folder / "mine.safetensors").touch()
    with pytest.raises(FileNotFoundError, match=r"'mine.safetensors' is not among .* lists net.safetensors, other.bin"):
        shipped("mine.safetensors", folder=folder)


def test_nothing_shipped_is_an_empty_list_and_a_sentence(tmp_path):
    assert shipped_names(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="lists none"):
        shipped("net.safetensors", folder=tmp_path)


@pytest.mark.parametrize("line", ["no checksum", "ab12  short", f"{'0' * 64}  ../elsewhere", f"{'0' * 64} one"])
def test_a_line_that_is_no_checksum_is_named(folder, line):
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"line 3 is .* not a checksum and a name"):
        checksums(folder)


def test_cards_that_are_missing_unreadable_or_of_another_file(folder):
    with pytest.raises(FileNotFoundError, match=r"other\.json, the card of other\.bin, is missing"):
        card("other.bin", folder=folder)
    (folder / "other.json").write_text("{")
    with pytest.raises(ValueError, match=r"other\.json is not the card"):
        card("other.bin", folder=folder)
    (folder / "net.json").write_text(json.dumps({"file": "net.safetensors", "sha256": "0" * 64}))
    with pytest.raises(ValueError, match=r"net\.json describes a file whose SHA-256 begins with 00000000"):
        card("net", folder=folder)


def test_a_file_is_read_once_for_each_of_its_versions(folder):
    subject._digest.cache_clear()
    for _ in range(3):
        shipped("other.bin", folder=folder)
    assert subject._digest.cache_info().misses == 1
