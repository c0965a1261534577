"""Figures show the numbers they were given: bar lengths, positions of points, roofs, labels with units."""

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.classroom import (
    color,
    live_training,
    plot_losses,
    plot_predicted,
    plot_profile,
    plot_roofline,
    plot_samples_s,
)
from course_utils.classroom.plots import smooth
from course_utils.classroom.style import PALETTE, style
from course_utils.diffusion import StepInfo
from course_utils.measure import Ceilings, count, detect, measure, rigged
from course_utils.measure.profiling import Profile, ProfileRow


def row(name, kind, forward_s, backward_s, flop, moved, share):
    return ProfileRow(name, kind, 1, forward_s, backward_s, flop, moved, 3 * flop, 3 * moved, share)


ROWS = (
    row("wide", "Conv2d", 0.010, 0.020, 10**9, 10**7, 0.6),
    row("norm", "LayerNorm", 0.002, 0.003, 0, 10**7, 0.1),
    row("thin", "Conv2d", 0.005, 0.010, 10**8, 10**8, 0.3),
)
PROFILE = Profile(ROWS, 0.018, 0.034, 0.050, 3)
CEILINGS = Ceilings(detect("cpu"), {"fp32": 2e11, "bf16": 8e11, "fp16": 1e9}, 5e10, 2e11, 2e-6)


def test_a_name_keeps_its_colour_and_new_names_get_free_ones():
    first = color("some variant")
    assert color("some variant") == first
    assert color("fp32") == color("baseline") == PALETTE[0]
    assert color("another variant") != first


def test_the_style_does_not_leak():
    import matplotlib as mpl

    before = mpl.rcParams["axes.spines.top"]
    with style():
        assert mpl.rcParams["axes.spines.top"] is False
    assert mpl.rcParams["axes.spines.top"] == before


def test_profile_bars_are_as_long_as_the_times():
    ax = plot_profile(PROFILE).axes[0]
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == pytest.approx([10, 2, 5, 20, 3, 10])
    assert [bar.get_x() for bar in ax.patches[3:]] == pytest.approx([10, 2, 5])
    assert ax.get_xlabel() == "time (ms) and share of the sum"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["wide  Conv2d", "norm  LayerNorm", "thin  Conv2d"]
    slowest = plot_profile(PROFILE, n=2).axes[0]
    assert [label.get_text() for label in slowest.get_yticklabels()] == ["wide  Conv2d", "thin  Conv2d"]


def test_roofline_points_lie_at_intensity_and_rate_and_roofs_at_what_was_measured():
    ax = plot_roofline(PROFILE, CEILINGS).axes[0]
    points = np.concatenate([c.get_offsets() for c in ax.collections if len(c.get_offsets())])
    np.testing.assert_allclose(np.sort(np.asarray(points), axis=0), [(1.0, 2e10), (100.0, 1e11)])
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert "FLOP/byte" in ax.get_xlabel()
    flat = {line.get_ydata()[0] for line in ax.lines if len(line.get_ydata()) == 2}
    assert flat == {2e11, 8e11}, "fp16, far below fp32 on this device, is left out"
    memory = ax.lines[0]
    where = np.argmin(np.abs(memory.get_xdata() - 1.0))
    assert memory.get_ydata()[where] == pytest.approx(5e10 * memory.get_xdata()[where])


def test_a_roofline_of_named_pairs_and_of_nothing():
    operation = rigged.steady(0.001)
    timing = measure(operation, clock=operation.clock, synchronize=operation.synchronize)
    work = count(nn.Linear(64, 64, bias=False), torch.zeros(8, 64))
    ax = plot_roofline({"linear": (work, timing)}, CEILINGS).axes[0]
    (point,) = [c.get_offsets()[0] for c in ax.collections if len(c.get_offsets())]
    assert tuple(point) == pytest.approx((2 * 8 * 64 * 64 / (4 * (8 * 64 + 64 * 64 + 8 * 64)), 2 * 8 * 64 * 64 / 0.001))
    nothing = count(torch.relu, torch.zeros(4))
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_roofline({"relu": (nothing, timing)}, CEILINGS)


def test_predicted_times_are_the_slower_of_arithmetic_and_memory():
    ax = plot_predicted(PROFILE, CEILINGS).axes[0]
    points = np.concatenate([c.get_offsets() for c in ax.collections])
    # wide: 1e9 FLOP at 2e11 FLOP/s = 5 ms; thin: 1e8 bytes at 5e10 bytes/s = 2 ms
    np.testing.assert_allclose(np.sort(np.asarray(points), axis=0), [(2.0, 5.0), (5.0, 10.0)])


def test_single_durations_are_drawn_in_order_with_their_median():
    ax = plot_samples_s({"a": [0.003, 0.001, 0.002]}).axes[0]
    assert ax.lines[0].get_ydata() == pytest.approx([3, 1, 2])
    assert ax.lines[1].get_ydata()[0] == pytest.approx(2)
    assert "(ms)" in ax.get_ylabel()


def test_long_curves_get_a_running_mean_and_short_ones_points():
    assert smooth([1.0, 3.0, 5.0, 7.0], 2) == pytest.approx([1, 2, 4, 6])
    ax = plot_losses({"train": (range(40), [1.0] * 40), "held-out": ([0, 40], [1.0, 0.5])}).axes[0]
    assert [len(line.get_xdata()) for line in ax.lines] == [40, 40, 2]


def test_live_training_keeps_every_loss_and_redraws_when_it_is_time(monkeypatch):
    import course_utils.classroom.live as module

    shown = []

    class Screen:
        def update(self, figure):
            shown.append(figure)

    monkeypatch.setattr(module, "display", lambda figure, display_id: shown.append(figure) or Screen())
    now = iter([0.0, 1.0, 6.0, 6.0, 7.0, 8.0, 9.0])
    live = live_training("run", 4, every_s=5.0, clock=lambda: next(now))
    for step, loss in ((1, 0.9), (2, 0.7), (3, None), (4, 0.5)):
        live(StepInfo(step, loss, 10.0 if loss else None, 16 * step, float(step)))
    assert live.losses == [0.9, 0.7, 0.5]
    assert live.images_seen == [16, 32, 64]
    assert len(shown) == 2
    assert shown[0].axes[0].get_title(loc="left") == "run: step 2 of 4, 10 img/s, 0.1 min left"
    assert shown[1].axes[0].get_title(loc="left").endswith("done")


def test_the_readme_ladder_is_what_the_records_say(tmp_path, monkeypatch):
    from course_utils.classroom import readme_figures
    from course_utils.measure import record

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bench.jsonl"
    (tmp_path / "results" / "reference").mkdir(parents=True)
    shared = {"row": "training step", "scale": "smoke", "images": "procedural images, not CIFAR-10"}
    for variant, rate in (("library", 100.0), ("kit", 250.0)):
        config = {**shared, "variant": variant, "flop": 4.04e9, "kernels": 1234, "peak_bytes": 3 * 2**20}
        record("bench", f"training step: {variant}", config, rate, "img/s", path=path)
    one = {"kind": "same denoiser", "value": 1.01, "low": 1.0, "high": 1.015, "tolerance": 1.02, "n": 1000}
    decided = {**shared, "variant": "kit", "verdict": "preserved and faster", "evidence": [one]}
    record("speed-up", "training step: kit", decided, 2.5, "x", low=2.4, high=2.6, n=5, path=path)
    (tmp_path / "README.md").write_text("before\n<!-- ladder:begin -->\nold\n<!-- ladder:end -->\nafter\n")
    assert readme_figures.main([str(path)]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "| training step | library | 100 | – | 4.04 | 1,234 | 3.0 MiB | – |" in text
    assert "| training step | kit | 250 | 2.50x (2.40–2.60) | 4.04 | 1,234 | 3.0 MiB | preserved and faster |" in text
    assert (tmp_path / "results" / "reference" / "staircase.png").stat().st_size > 5_000
    assert "procedural images, not CIFAR-10, scale smoke." in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
