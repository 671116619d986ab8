"""The figures, and the bytes of one. A figure is a matplotlib Figure; nothing is displayed."""

from __future__ import annotations

from .diagnosis_figure import diagnosis_figure
from .occlusion_figure import occlusion_figure
from .projection_figure import projection_figure
from .style import render, save
from .trial_figure import trial_figure

__all__ = [
    "diagnosis_figure",
    "occlusion_figure",
    "projection_figure",
    "render",
    "save",
    "trial_figure",
]
