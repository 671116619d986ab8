"""The figure of a result that has none of its own: a bar for each of its numbers."""

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.experiments.study import Chart
from convscope.report.style import DPI, FAINT, INK, LABELS, RULE, SIZES

__all__ = ["chart_figure"]

BAR = 0.24  # inches of a bar and the space below it


def chart_figure(chart: Chart, subtitle: str = "") -> Figure:
    """Draw a chart's numbers as horizontal bars, the first on top.

    Args:
        chart: the numbers, with their names.
        subtitle: which network, which images.

    Returns:
        A figure of its own, as wide as a page's column.
    """
    names, values = list(chart.values), list(chart.values.values())
    figure = Figure(figsize=(6.5, 1.4 + BAR * len(names)), dpi=DPI, layout="constrained")
    figure.set_facecolor("white")
    figure.suptitle(chart.title, x=0.01, ha="left", fontsize=SIZES["title"], color=INK)
    axes = figure.add_subplot()
    axes.set_title(subtitle, loc="left", fontsize=SIZES["small"], color=FAINT, parse_math=False)
    axes.barh(range(len(names)), values, height=0.7, color=LABELS[0])
    for row, name in enumerate(names):
        if name in chart.intervals:
            axes.plot(chart.intervals[name], (row, row), color=INK, linewidth=1)
    axes.set_yticks(range(len(names)), names, fontsize=SIZES["text"], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel(chart.axis, fontsize=SIZES["text"], color=FAINT)
    axes.tick_params(labelsize=SIZES["text"], length=0, colors=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    return figure
