"""The figures, and the bytes of one. A figure is a matplotlib Figure; nothing is displayed."""

from __future__ import annotations

from .occlusion_figure import occlusion_figure
from .projection_figure import projection_figure
from .style import render, save

__all__ = ["occlusion_figure", "projection_figure", "render", "save"]
