"""The long run is made of commands that there are, and may begin with the cheap part of the sweep."""

import shlex
from importlib import import_module

import pytest

from course_utils.diffusion import baseline
from course_utils.experiments import reference_run, shipping_base, training_run
from course_utils.speedups import treat


def test_every_command_is_understood(capsys):
    words = ["--num-steps", "40", "--device", "cpu", "--sweep-steps", "10", "20", "--dry-run"]
    assert reference_run.main(words) == 0
    lines = [shlex.split(line)[3:] for line in capsys.readouterr().out.splitlines()]
    homes = {"course_utils": "course_utils.experiments.training_run"}
    modules = {words[0]: words for words in lines if words[:2] != ["course_utils", "bench"]}
    parsed = {
        name: import_module(homes.get(name, name)).parser().parse_args(words[1 + (name in homes) :])
        for name, words in modules.items()
        if not name.startswith("course_utils.classroom")
    }
    assert parsed["course_utils.experiments.sampler_sweep"].num_steps == [10, 20]
    assert parsed["course_utils.experiments.quality_curve"].run == parsed["course_utils.experiments.shipping"].run
    assert parsed["course_utils.experiments.shipping"].budget == 40
    trained = [training_run.parser().parse_args(words[2:]) for words in lines if words[:2] == ["course_utils", "train"]]
    assert [(one.num_steps, one.seed) for one in trained] == [(40, 0), (40, 1), (10, 0), (10, 0), (10, 0)]
    assert {one.out.name for one in trained[2:]} == set(shipping_base.VARIANTS)
    assert [one.treatments[1:] for one in trained[2:]] == [["layout", "half_precision"]] * 3
    for one in trained[2:]:
        treat(baseline("smoke"), *one.treatments)  # every treatment is one that there is


def test_steps_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match="--num-steps is 30, wanted a multiple of 20"):
        reference_run.main(["--num-steps", "30", "--dry-run"])
