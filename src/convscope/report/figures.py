"""The figures, and the bytes of one. A figure is a matplotlib Figure; nothing is displayed."""

from __future__ import annotations

from convscope.report.diagnosis_figure import diagnosis_figure
from convscope.report.occlusion_figure import occlusion_figure
from convscope.report.projection_figure import projection_figure
from convscope.report.style import render, save
from convscope.report.trial_figure import trial_figure

__all__ = [
    "diagnosis_figure",
    "occlusion_figure",
    "projection_figure",
    "render",
    "save",
    "trial_figure",
]
