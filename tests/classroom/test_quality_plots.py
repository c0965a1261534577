"""Figures of quality show the numbers of their records, with their bounds, units and floors."""

import json
from dataclasses import replace

import numpy as np
import pytest

from course_utils.classroom import (
    color,
    plot_calibration,
    plot_quality_curve,
    plot_sampler_sweep,
    plot_small_samples,
    readme_figures,
)
from course_utils.classroom.style import PALETTE
from course_utils.measure import record

FD, KD, LOSS = "FD (cifar-cnn)", "KD (cifar-cnn)", "held-out loss"


def made(kind, name, value, config, path=None):
    bounds = {"low": value - 0.1 * abs(value), "high": value + 0.2 * abs(value)}
    return record(kind, name, config, value, "", **bounds, n=config["n"], manifest={"device": "made up"}, path=path)


def dose(family, strength, label, fd, kd, n=5000, images="CIFAR-10 test", path=None):
    config = {"family": family, "strength": strength, "label": label, "n": n, "images": images}
    return [made(kind, f"{family}: {label}", value, config, path) for kind, value in ((FD, fd), (KD, kd))]


def calibration(path=None):
    """Records in no particular order, one dose measured twice."""
    return [
        *dose("blur", 2, "sigma 2 px", 40.0, 1.0, path=path),
        *dose("undamaged", 0, "test images", 0.25, -0.0002, path=path),
        *dose("blur", 1, "sigma 1 px", 99.0, 99.0, path=path),
        *dose("blur", 1, "sigma 1 px", 10.0, 0.1, path=path),
        *dose("undamaged", 0, "1,000 test images", 0.7, 0.0001, n=1000, path=path),
        *dose("undamaged", 0, "training images held apart", 0.2, 0.0, images="CIFAR-10 train", path=path),
        *dose("training", 0, "100 % of its training", 20.0, 0.5, n=1000, path=path),
        made(LOSS, "training: 100 % of its training", 0.03, {"family": "training", "strength": 0, "n": 1000,
             "label": "100 % of its training", "images": ""}, path),
    ]  # fmt: skip


def dots(ax):
    """Heights and values of the dots, top to bottom."""
    return sorted(tuple(container.lines[0].get_xydata()[0][::-1]) for container in ax.containers)


def labelled(ax):
    """Row labels and values of the dots, top to bottom."""
    labels = dict(zip(ax.get_yticks(), [each.get_text() for each in ax.get_yticklabels()], strict=True))
    return [(labels[y], x) for y, x in dots(ax)]


def test_calibration_shows_the_latest_value_of_each_dose_under_its_family():
    left, right = plot_calibration(calibration()).axes
    assert labelled(left) == [
        ("training images held apart", 0.2),
        ("sigma 1 px", 10.0),
        ("sigma 2 px", 40.0),
        ("100 % of its training", 20.0),
    ]
    assert [x for _, x in dots(right)] == [0.0, 0.1, 1.0, 0.5]
    heads = [each.get_text() for each in left.get_yticklabels() if "images)" in each.get_text()]
    assert [head.split("$")[2].strip() for head in heads] == ["(5,000 images)", "(5,000 images)", "(1,000 images)"]
    assert left.get_xlabel() == "FD (cifar-cnn), no unit; lower is better"
    assert right.get_xlabel().startswith("KD (cifar-cnn), no unit")
    assert (left.get_xscale(), right.get_xscale()) == ("log", "symlog")


def test_each_family_is_held_against_as_many_undamaged_images():
    left, right = plot_calibration(calibration()).axes
    for ax, floors in ((left, [0.25, 0.25, 0.7]), (right, [-0.0002, -0.0002, 0.0001])):
        lines = [c for c in ax.collections if len(c.get_segments()) == 1 and c.get_linewidth() == [1.4]]
        assert [line.get_segments()[0][0, 0] for line in lines] == pytest.approx(floors)
    shown = plot_calibration(calibration()).legends[0]
    assert [text.get_text() for text in shown.get_texts()] == [
        "undamaged test images, as many",
        "a dose, with one-sided 95 % bounds",
    ]


def test_bars_end_at_the_bounds():
    (ax, _) = plot_calibration(dose("blur", 1, "sigma 1 px", 10.0, 0.1)).axes
    (bars,) = ax.containers[0].lines[2]
    np.testing.assert_allclose(bars.get_segments()[0][:, 0], [9.0, 12.0])


def test_a_bound_below_zero_is_in_sight():
    records = dose("blur", 1, "sigma 1 px", 10.0, 0.1)
    config = {**records[1].config, "strength": 0.5, "label": "sigma 0.5 px"}
    records.append(record(KD, "blur: sigma 0.5 px", config, 0.002, "", low=-0.003, high=0.007, n=5000, manifest={}))
    ax = plot_calibration(records).axes[1]
    assert ax.get_xscale() == "symlog"
    assert ax.get_xlim()[0] < -0.003
    assert ax.get_xlim()[1] > 0.12


def curve(path=None):
    records = [made(kind, "real test images", value, {"run": "real test images", "n": 1000}, path)
               for kind, value in ((FD, 0.7), (KD, 0.0001))]  # fmt: skip
    for run, factor in (("base-0", 1.0), ("base-1", 1.5)):
        for seen in (8_000, 2_000, 4_000):
            config = {"run": run, "images_seen": seen, "n": 1000, "sampler": "ddim", "num_steps": 10}
            for kind, value in ((FD, 80.0), (KD, 2.0), (LOSS, 0.05)):
                records.append(made(kind, f"{run}, {seen}", factor * value * 2_000 / seen, config, path))
    return records


def test_the_curve_joins_a_run_in_the_order_of_images_seen():
    figure = plot_quality_curve(curve())
    fd, _, loss = figure.axes
    first, second = (container.lines[0] for container in fd.containers)
    np.testing.assert_allclose(first.get_xydata(), [(2_000, 80), (4_000, 40), (8_000, 20)])
    np.testing.assert_allclose(second.get_xydata(), [(2_000, 120), (4_000, 60), (8_000, 30)])
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker(), "colour is not all that tells runs apart"
    (floor,) = [line for line in fd.lines if line.get_label() == "real test images"]
    assert set(floor.get_ydata()) == {0.7}
    assert fd.get_ylim()[0] == 0
    assert loss.get_ylabel() == "held-out loss (mean squared error)"
    assert not [line for line in loss.lines if line.get_label() == "real test images"]
    assert fd.get_xlabel() == "training images seen"
    assert figure.get_suptitle() == "Quality over a training run (1,000 pictures, ddim, 10 steps)"


def sweep(path=None):
    records = []
    for sampler, factor in (("ddpm", 5.0), ("ddim", 1.0)):
        for steps in (1_000, 10, 100):
            config = {"model": "base", "sampler": sampler, "num_steps": steps, "n": 1000}
            for kind in (FD, KD):
                records.append(made(kind, f"{sampler} {steps}", factor * (10 + 100 / steps), config, path))
    return records


def test_the_sweep_has_a_line_a_sampler_in_the_courses_colours():
    figure = plot_sampler_sweep(sweep())
    ax = figure.axes[0]
    lines = {container.get_label(): container.lines[0] for container in ax.containers}
    np.testing.assert_allclose(lines["ddim"].get_xydata(), [(10, 20), (100, 11), (1_000, 10.1)])
    np.testing.assert_allclose(lines["ddpm"].get_xydata(), [(10, 100), (100, 55), (1_000, 50.5)])
    assert (lines["ddpm"].get_color(), lines["ddim"].get_color()) == (color("ddpm"), color("ddim")) == PALETTE[:2]
    assert ax.get_xlabel() == "steps = model calls an image"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["10", "100", "1,000"]


# ---- what belongs together -------------------------------------------------------------------------------------------


def by(records, **told):
    """The same records with more in their configuration."""
    return [replace(one, config={**one.config, **told}) for one in records]


def points(ax):
    return {container.get_label(): container.lines[0].get_xydata().tolist() for container in ax.containers}


def test_records_of_two_classifiers_never_stand_in_one_figure():
    old = by(dose("blur", 1, "sigma 1 px", 7.0, 7.0) + dose("blur", 3, "sigma 3 px", 8.0, 8.0), sha256="old")
    new = by(calibration(), sha256="new")
    assert labelled(plot_calibration(old + new).axes[0]) == labelled(plot_calibration(new).axes[0])

    old = [one for one in by(curve(), sha256="old") if one.config.get("images_seen") != 2_000]
    new = [one for one in by(curve(), sha256="new") if one.config.get("images_seen") != 8_000]
    assert points(plot_quality_curve(old + new).axes[0]) == points(plot_quality_curve(new).axes[0])

    old, new = by(sweep(), sha256="old"), by(sweep()[:6], sha256="new")
    assert points(plot_sampler_sweep(old + new).axes[0]) == points(plot_sampler_sweep(new).axes[0])


@pytest.mark.parametrize("other", [{"n": 500}, {"weights": "old"}, {"model": "base-50"}, {"seed": 1}])
def test_a_sweep_is_of_one_model_and_one_count(other):
    cheaper = by(sweep()[:6], **other)
    assert points(plot_sampler_sweep(sweep() + cheaper).axes[0]) == points(plot_sampler_sweep(cheaper).axes[0])
    figure = plot_sampler_sweep(by(sweep(), n=300))
    assert figure.get_suptitle() == "What more steps buy (base, 300 pictures a point)"


def test_a_curve_is_of_one_count_with_its_own_floor():
    fewer = by([one for one in curve() if one.config["run"] == "base-0"], n=500)
    figure = plot_quality_curve(fewer + curve())
    assert figure.get_suptitle().startswith("Quality over a training run (1,000 pictures")
    assert len(points(figure.axes[0])) == 2
    figure = plot_quality_curve([one for one in curve() if one.config["run"] == "real test images"] + fewer)
    assert figure.get_suptitle().startswith("Quality over a training run (500 pictures")
    assert not [line for line in figure.axes[0].lines if line.get_label() == "real test images"]


def test_a_run_that_was_trained_anew_leaves_its_name_to_the_new_one():
    words = "python -m course_utils train --num-steps {} --batch-size {} --seed 0 --device {}"
    of = {}
    for batch, device, seen in ((16, "cpu", (2_000, 4_000)), (32, "cpu", (4_000,)), (32, "cuda", (8_000,))):
        for one in curve():
            if one.config.get("run") == "base-0" and one.config["images_seen"] in seen:
                told = {"training": words.format(one.config["images_seen"] // batch, batch, device)}
                of.setdefault(batch, []).extend(by([one], **told))
    found = points(plot_quality_curve([*of[16], *of[32]]).axes[0])
    assert found == {"base-0": [[4_000, 40], [8_000, 20]]}, "the same training goes on elsewhere"


def test_records_without_a_point_to_draw_get_one_sentence():
    floor = [one for one in curve() if one.config["run"] == "real test images"]
    for records in (floor, []):
        with pytest.raises(ValueError, match="records hold no checkpoint, only real test images or nothing: score"):
            plot_quality_curve(records)
    for records in (dose("undamaged", 0, "test images", 0.2, 0.0), calibration()[-1:], []):
        with pytest.raises(ValueError, match="records hold no dose of damage: run"):
            plot_calibration(records)
    with pytest.raises(ValueError, match="records are empty: run"):
        plot_sampler_sweep([])


def test_small_samples_say_by_what_factor_the_distance_grew():
    ax = plot_small_samples((300, 500, 1000), {"real": [2.5, 1.6, 1.0], "drawn": [44.0, 42.0, 40.0]}).axes[0]
    assert [line.get_label() for line in ax.lines] == ["real: 2.5x from 1,000 to 300", "drawn: 1.1x from 1,000 to 300"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [(300, 2.5), (500, 1.6), (1000, 1.0)])
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "FD (cifar-cnn), no unit"
    with pytest.raises(ValueError, match="'real' has 2 distances for 3 counts"):
        plot_small_samples((300, 500, 1000), {"real": [2.5, 1.6]})


def test_the_readme_gets_the_figures_whose_records_are_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(readme_figures, "REFERENCE", tmp_path)
    calibration(tmp_path / "calibration.jsonl")
    curve(tmp_path / "quality_curve.jsonl")
    assert readme_figures.main(["quality"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "calibration.json",
        "calibration.jsonl",
        "calibration.png",
        "quality_curve.json",
        "quality_curve.jsonl",
        "quality_curve.png",
    ]
    told = json.loads((tmp_path / "calibration.json").read_text())
    assert told == {"records": "calibration.jsonl", "count": 15, "manifest": {"device": "made up"}}
    assert "samplers.jsonl is not there: no samplers.png" in capsys.readouterr().out


def test_the_readme_shows_what_is_shipped_now(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(readme_figures, "REFERENCE", tmp_path)
    monkeypatch.setattr(readme_figures, "checksums", lambda: {"cifar-cnn.safetensors": "new", "base.safetensors": "w"})
    now = {"extractor": "cifar-cnn", "sha256": "new"}
    kept = by(calibration(), **now) + by(sweep(), **now, weights="w") + by(curve(), **now, weights="of a checkpoint")
    old = by(calibration(), **now | {"sha256": "old"}) + by(sweep(), **now, weights="old")
    fid = by(sweep(), extractor="inception", sha256="old", weights="w")
    assert readme_figures.present([*old, *kept, *fid]) == [*kept, *fid]

    for one in (*by(curve(), **now)[:2], *by(curve(), **now | {"sha256": "old"})):
        record(one.kind, one.name, one.config, one.value, "", manifest={}, path=tmp_path / "quality_curve.jsonl")
    readme_figures.quality_figures()
    said = capsys.readouterr().out
    assert "quality_curve.jsonl: 20 records left out, of another classifier or of older weights" in said
    assert "no quality_curve.png: records hold no checkpoint" in said
    assert not list(tmp_path.glob("*.png"))
