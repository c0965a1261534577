"""Treatments by name: how their text is read, in which order they are applied, what enters the recipe."""

import json

import pytest
import torch
from torch import nn

from course_utils.diffusion import baseline
from course_utils.speedups import STRUCTURAL, TREATMENTS, exactness_of, execution_only, treat
from course_utils.speedups.half_precision import Autocast
from course_utils.speedups.registry import Known, parse


@pytest.fixture
def logged(monkeypatch):
    """Two more treatments, one of each kind, that only write down what they were asked."""
    calls = []

    def noting(name):
        def apply(model, **params):
            calls.append((name, params))
            return nn.Sequential(model)

        return apply

    for name, kind, exactness in (("shrink", "structural", "retrained"), ("hurry", "execution", "exact")):
        monkeypatch.setitem(TREATMENTS, name, Known(name, kind, exactness, noting(name)))
    return calls


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("shrink", {}),
        (" shrink ", {}),
        ("shrink()", {}),
        ("shrink(where=inside, reduction=2)", {"where": "inside", "reduction": 2}),
        ("shrink(where='in (side)')", {"where": "in (side)"}),
        ("shrink(a=None, b=True, c=-1, d=1.5, e=1e-3)", {"a": None, "b": True, "c": -1, "d": 1.5, "e": 1e-3}),
        ("shrink(keep=[time_mlp, 'downs.0'], sizes=(1, 2))", {"keep": ["time_mlp", "downs.0"], "sizes": [1, 2]}),
        ("shrink(\n  a=1,\n)", {"a": 1}),
        ("shrink(a={'b': 1})", {"a": {"b": 1}}),
    ],
)
def test_every_form_of_text(logged, text, params):
    assert parse(text) == ("shrink", params)
    assert json.loads(json.dumps(params)) == params, "they enter a recipe"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is no treatment: write its name"),
        ("shrink(a=1", r"'shrink\(a=1' is no treatment"),
        ("shrink layout", "is no treatment"),
        ("squeeze(a=1)", "there is no treatment 'squeeze': use one of half_precision, "),
        ("shrink(2)", r"'shrink\(2\)' cannot be read \(parameters need their names\): write name\(key=value, ...\)"),
        ("shrink(**{})", "parameters need their names"),
        ("shrink(a=1)(b=2)", "there is more than one pair of brackets"),
        ("shrink(a=1) + shrink(b=2)", "there is more than one pair of brackets"),
        ("shrink(a=1, a=2)", "a parameter is given twice"),
        ("shrink(a=)", "cannot be read"),
        ("shrink(a=torch.float16)", "cannot be read"),
        ("shrink(a=open('f'))", "cannot be read"),
        ("shrink(a={1, 2})", "cannot be read .*set is not JSON"),
    ],
)
def test_other_text_is_refused_and_never_run(logged, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse(text)
    assert logged == []


def test_they_are_applied_in_order_and_the_structural_ones_are_written_down(logged):
    given = baseline("smoke")
    made = treat(given, "hurry", "shrink(by=2)", "half_precision", "shrink(by=3)")
    assert logged == [("hurry", {}), ("shrink", {"by": 2}), ("shrink", {"by": 3})]
    assert made.recipe.treatments == (("shrink", {"by": 2}), ("shrink", {"by": 3}))
    assert type(made.recipe).from_json(made.recipe.to_json()) == made.recipe
    assert isinstance(made.model[0], Autocast)
    assert given.recipe.treatments == ()
    assert treat(given).model is given.model


def test_kinds_and_exactness(logged):
    assert execution_only(["shrink(by=2)", "layout", "hurry"]) == ["layout", "hurry"]
    assert exactness_of([]) == exactness_of(["layout", "hurry"]) == "exact"
    assert exactness_of(["layout", "half_precision"]) == "approximate"
    assert exactness_of(["half_precision", "shrink(by=2)"]) == "retrained"


def test_what_is_known_says_so_in_its_module():
    for known in TREATMENTS.values():
        words = __import__(known.apply.__module__, fromlist=["_"]).__doc__
        assert f"\nExactness: {known.exactness}\n" in words, known.name
        assert known.kind in ("structural", "execution")
    assert STRUCTURAL.keys() == {known.name for known in TREATMENTS.values() if known.kind == "structural"}


def test_parameters_that_a_treatment_has_not_are_named():
    with pytest.raises(ValueError, match=r"layout\(order=last\): .*unexpected keyword argument 'order'"):
        treat(baseline("smoke"), "layout(order=last)")


@pytest.mark.parametrize("late", ["shrink(by=2)", "hurry", "half_precision", "layout", "im2col"])
def test_nothing_comes_after_compiled(logged, late):
    given = baseline("smoke")
    compiled = given.with_model(torch.compile(given.model, backend="eager"))
    name = late.partition("(")[0]
    with pytest.raises(ValueError, match=f"compiled already: compiled comes last, apply {name} before it"):
        treat(compiled, late)
    assert logged == []


@pytest.mark.parametrize("order", [("layout", "im2col", "half_precision"), ("half_precision", "im2col", "layout")])
def test_treatments_of_execution_keep_the_function(order):
    given = baseline("smoke")
    given.model.eval()
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([3, 900])
    with torch.no_grad():
        exact, found = given.model(x, t), treat(given, *order).model(x, t)
    assert (found - exact).norm() < 0.03 * exact.norm()
