"""Figures of several devices show the numbers they were given."""

import numpy as np
import pytest

from course_utils.classroom import plot_forecast, plot_layouts, plot_messages
from course_utils.experiments.layouts import Layout, Scaling
from course_utils.measure.collectives import Link, Messages, forecast

LINK = Link("made", 1e-5, 1e9)
MESSAGES = Messages(4, {1000: [1e-4, 3e-4, 2e-4], 1_000_000: [3e-3, 3e-3, 3e-3]})


def test_messages_are_drawn_where_they_were_measured_and_the_ring_where_it_says():
    left, right = plot_messages(MESSAGES, {"fit": LINK}).axes
    fit, measured = left.lines
    assert list(measured.get_xdata()) == [1000, 1_000_000]
    assert list(measured.get_ydata()) == pytest.approx([0.2, 3.0])
    assert fit.get_ydata()[-1] == pytest.approx(1e3 * 6 * (1e-5 + 250_000 / 1e9))
    assert list(right.lines[1].get_ydata()) == pytest.approx([1.5 * 1000 / 2e-4 / 1e9, 1.5 * 1e6 / 3e-3 / 1e9])
    assert "ms" in left.get_ylabel()
    assert "GB/s" in right.get_ylabel()


def test_layouts_are_bars_of_the_median_rate():
    scaling = Scaling({Layout(1, 8): (0.5, 1.0, 2.0), Layout(2, 8): (1.0, 1.0, 1.0)})
    ax = plot_layouts(scaling).axes[0]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([8.0, 16.0])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1 process", "2 processes, 8 each"]


def test_a_forecast_is_drawn_solid_and_dashed_and_says_that_it_is_one():
    made = forecast(LINK, [1, 4, 1024], batch=16, image_s=1e-4, nbytes=1e6)
    ax = plot_forecast({"made": made}, critical=64.0).axes[0]
    weak, strong, needed = ax.lines
    assert (weak.get_linestyle(), strong.get_linestyle(), needed.get_linestyle()) == ("-", "--", ":")
    assert list(weak.get_ydata()) == pytest.approx([100 * made.weak(n) for n in (1, 4, 1024)])
    assert list(strong.get_ydata()) == pytest.approx([100 * made.strong(n) for n in (1, 4, 1024)])
    np.testing.assert_allclose(needed.get_ydata(), [80.0, 50.0, 100 / 257])
    assert "not measured" in ax.get_title(loc="left")
    assert len(plot_forecast({"made": made}).axes[0].lines) == 2
    with pytest.raises(ValueError, match="forecasts is empty"):
        plot_forecast({})
