"""`python -m course_utils`: commands are found, mistakes are one sentence, and exit codes tell them apart."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from course_utils import __main__ as cli
from course_utils.classroom import data_command
from course_utils.diffusion import cifar_files


@pytest.fixture
def command(monkeypatch):
    """Put a function in the place of the `train` command."""

    def put(function):
        monkeypatch.setattr(cli.importlib, "import_module", lambda name: SimpleNamespace(main=function))

    return put


def raising(error):
    def function(argv):
        raise error

    return function


def test_arguments_and_status_pass_through(command):
    seen = []
    command(lambda argv: seen.append(argv) or 7)
    assert cli.main(["train", "--steps", "3"]) == 7
    assert seen == [["--steps", "3"]]


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(argv, capsys):
    assert cli.main(argv) == 0
    said = capsys.readouterr().out
    assert all(f"  {name}" in said for name in cli.COMMANDS)


def test_an_unknown_command_is_one_sentence_with_the_list(capsys):
    assert cli.main(["trian"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("There is no command 'trian': use one of doctor, data, train, ")
    assert said.endswith("build.\n")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("num_steps must be at least 1, got 0"), 2, "num_steps must be at least 1, got 0\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.npz"), 2, "[Errno 2] No such file: 'a.npz'\n"),
        (OSError(errno.ENOSPC, "No space left", "grid.png"), 2, "The disk is full (grid.png): make room "),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_traceback(command, capsys, monkeypatch, error, status, said):
    monkeypatch.delenv("COURSE_DEBUG", raising=False)
    command(raising(error))
    assert cli.main(["train"]) == status
    assert capsys.readouterr().err.startswith(said)


def test_a_fault_of_ours_keeps_its_traceback_and_debug_shows_all(command, monkeypatch):
    command(raising(TypeError("a bug")))
    with pytest.raises(TypeError):
        cli.main(["train"])
    monkeypatch.setenv("COURSE_DEBUG", "1")
    command(raising(ValueError("a mistake")))
    with pytest.raises(ValueError, match="a mistake"):
        cli.main(["train"])


def test_a_missing_package_says_how_to_install_but_a_missing_module_of_ours_is_a_fault(monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {absent!r}", name=absent)

    monkeypatch.setattr(cli.importlib, "import_module", missing)
    absent = "torch"
    assert cli.main(["train"]) == 2
    assert "torch is not installed in" in capsys.readouterr().err
    absent = "course_utils.gone"
    with pytest.raises(ModuleNotFoundError):
        cli.main(["train"])


LONG_WINDED = """
import sys, types
from course_utils import __main__ as cli
sys.modules["long_winded"] = types.SimpleNamespace(main=lambda argv: print("x" * 10**6) or 0)
cli.COMMANDS["long"] = ("long_winded", "prints more than a pipe holds")
sys.exit(cli.main(["long"]))
"""


def test_a_reader_that_leaves_early_is_no_error():
    shell = '"$0" -c "$1" | head -c 3; echo " ${PIPESTATUS[0]}"'
    command = ["bash", "-c", shell, sys.executable, LONG_WINDED]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("xxx 141\n", "")


def test_every_command_has_a_module_with_a_main():
    for name, (module, _) in cli.COMMANDS.items():
        found = cli.importlib.util.find_spec(module)
        assert found is not None, f"{name}: {module} does not exist"


# ---- data ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """No CIFAR-10 to be found, and data/ in a temporary folder."""
    monkeypatch.setattr("course_utils.diffusion.data._REPOSITORY", tmp_path)
    monkeypatch.setattr(data_command, "DATA", tmp_path / "data")
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small_cifar(path, monkeypatch):
    """An .npz of CIFAR-10's form with a few images, and sums that make it pass for whole."""
    rng = np.random.default_rng(0)
    arrays, counts, sums = {}, {"train": 20, "test": 10}, {}
    for split, count in counts.items():
        arrays[f"x_{split}"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{split}"] = np.arange(count, dtype=np.uint8) % 10
        sums[split] = tuple(int(total) for total in arrays[f"x_{split}"].sum(axis=(0, 1, 2), dtype=np.int64))
    np.savez(path, **arrays)
    monkeypatch.setattr(cifar_files, "COUNTS", counts)
    monkeypatch.setattr(cifar_files, "CHANNEL_SUMS", sums)
    return arrays


def test_data_shows_the_set_that_would_be_used(elsewhere, capsys):
    assert cli.main(["data"]) == 0
    assert "procedural images, not CIFAR-10: 2,000 train images" in capsys.readouterr().out
    assert not (elsewhere / "data").exists()


def test_data_takes_a_verified_file_in(elsewhere, monkeypatch, capsys):
    arrays = small_cifar(elsewhere / "mine.npz", monkeypatch)
    assert cli.main(["data", "--from", str(elsewhere / "mine.npz")]) == 0
    assert "CIFAR-10: 20 train images" in capsys.readouterr().out
    with np.load(elsewhere / "data/cifar10.npz") as kept:
        for name, array in arrays.items():
            assert np.array_equal(kept[name], array), name


def test_data_refuses_what_is_not_cifar10_and_keeps_nothing(elsewhere, monkeypatch, capsys):
    small_cifar(elsewhere / "mine.npz", monkeypatch)
    monkeypatch.setitem(cifar_files.CHANNEL_SUMS, "test", (1, 2, 3))
    assert cli.main(["data", "--from", str(elsewhere / "mine.npz")]) == 2
    assert "is not a whole CIFAR-10" in capsys.readouterr().err
    assert not (elsewhere / "data/cifar10.npz").exists()

    assert cli.main(["data", "--from", str(elsewhere)]) == 2
    assert "holds no CIFAR-10" in capsys.readouterr().err


@pytest.mark.parametrize("there", [False, True])
def test_data_downloads_only_where_there_is_none(elsewhere, monkeypatch, there):
    if there:
        (elsewhere / "data").mkdir()
        small_cifar(elsewhere / "data/cifar10.npz", monkeypatch)
    asked = []
    monkeypatch.setattr(data_command, "download_cifar10", asked.append)
    assert cli.main(["data", "--download"]) == 0
    assert asked == ([] if there else [elsewhere / "data"])
    assert os.environ.get("COURSE_DATA") is None
