"""The classroom: whatever draws or talks to a person. Names load on first use, so that `doctor` needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "check": "checks",
    "film_strip": "images",
    "show_images": "images",
    "plot_break_even": "treatment_plots",
    "plot_by_size": "treatment_plots",
    "plot_batches": "device_plots",
    "plot_calculated": "device_plots",
    "plot_use": "device_plots",
    "plot_forecast": "scaling_plots",
    "plot_layouts": "scaling_plots",
    "plot_messages": "scaling_plots",
    "plot_cadence": "treatment_plots",
    "plot_calibration": "quality_plots",
    "plot_losses": "plots",
    "plot_profile": "plots",
    "plot_quality_curve": "quality_plots",
    "plot_sampler_sweep": "quality_plots",
    "plot_samples_s": "plots",
    "plot_stages": "treatment_plots",
    "plot_small_samples": "quality_plots",
    "plot_staircase": "staircase_plot",
    "keep_step": "staircase",
    "steps": "staircase",
    "report": "report_page",
    "live_training": "live",
    "plot_predicted": "roofline",
    "plot_roofline": "roofline",
    "calibration": "guess_calibration",
    "BlockExplorer": "widgets.block_explorer",
    "RooflineExplorer": "widgets.roofline_explorer",
    "TraceExplorer": "widgets.trace_explorer",
    "predict": "predictions",
    "reveal": "predictions",
    "color": "style",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"course_utils.classroom has no {name!r}; it offers {', '.join(__all__)}")
    module = import_module(f"course_utils.classroom.{_HOME[name]}")
    return module if name == "check" else getattr(module, name)


def __dir__() -> list[str]:
    """What completion shows."""
    return __all__
