"""How commands end, and help that states each default once."""

import argparse
import subprocess
import sys

import pytest

from course_utils.entry import StatedDefaults, run_main


def raising(error):
    def function(argv):
        raise error

    return function


@pytest.mark.parametrize(
    ("function", "status", "said"),
    [
        (lambda argv: 7, 7, ""),
        (raising(ValueError("n is 0, wanted at least 1.")), 2, "n is 0, wanted at least 1.\n"),
        (raising(ValueError()), 2, "ValueError\n"),
        (raising(FileNotFoundError("there is no base")), 2, "there is no base\n"),
        (raising(KeyboardInterrupt()), 130, "\nInterrupted.\n"),
    ],
)
def test_a_command_ends_with_a_status_and_a_sentence(monkeypatch, capsys, function, status, said):
    monkeypatch.delenv("COURSE_DEBUG", raising=False)
    assert run_main(function) == status
    assert capsys.readouterr().err == said


def test_a_fault_of_ours_keeps_its_traceback_and_debug_shows_all(monkeypatch):
    with pytest.raises(TypeError):
        run_main(raising(TypeError("a bug")))
    monkeypatch.setenv("COURSE_DEBUG", "1")
    with pytest.raises(ValueError, match="a mistake"):
        run_main(raising(ValueError("a mistake")))


def test_the_words_reach_the_command():
    assert run_main(len, ["a", "b", "c"]) == 3
    assert run_main(lambda argv: 0 if argv is None else 1) == 0


def test_a_module_of_experiments_run_as_a_program_has_no_traceback():
    command = [sys.executable, "-m", "course_utils.experiments.classifier_run", "--epochs", "0"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "--epochs is 0, but must be at least 1.\n")


def test_help_states_each_default_once_and_nothing_that_says_nothing():
    parser = argparse.ArgumentParser(formatter_class=StatedDefaults)
    parser.add_argument("name", nargs="?", help="whom")
    parser.add_argument("--seed", type=int, default=0, help="of noise")
    parser.add_argument("--one", type=int, default=1, help="a one")
    parser.add_argument("-n", type=int, help="how many (default: all)")
    parser.add_argument("--raw", action="store_true", help="as they are")
    parser.add_argument("--quiet", default="no")
    lines = [" ".join(line.split()) for line in parser.format_help().splitlines()]
    assert "--seed SEED of noise (default: 0)" in lines
    assert "--one ONE a one (default: 1)" in lines
    assert "-n N how many (default: all)" in lines
    assert "--raw as they are" in lines
    assert "name whom" in lines
    assert not [line for line in lines if "None" in line or "False" in line]
