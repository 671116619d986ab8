"""The figure of a result that has none of its own: a bar for each of its numbers."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.study import Chart
from convscope.report.chart import chart as numbered
from convscope.report.chart import name_rows, row_height
from convscope.report.sheet import Panel, Sheet
from convscope.report.style import INK, LABELS

__all__ = ["chart_figure"]

WIDTH, NAMES = 6.6, 2.2  # inches: the page, and the numbers' names


def chart_figure(chart: Chart, subtitle: str = "") -> Figure:
    """Draw a chart's numbers as horizontal bars, the first on top.

    Args:
        chart: the numbers, with their names.
        subtitle: which network, which images.

    Returns:
        A figure of its own, as wide as a page's column.
    """
    sheet = Sheet(chart.title, subtitle, width=WIDTH)
    height = row_height(list(chart.values), NAMES) * len(chart.values)
    sheet.row([Panel(partial(_draw, chart=chart), height=height)])
    return sheet.figure()


def _draw(axes: Axes, chart: Chart) -> None:
    numbered(axes, chart.axis, lines="x")
    axes.barh(range(len(chart.values)), list(chart.values.values()), height=0.66, color=LABELS[0])
    for row, name in enumerate(chart.values):
        if name in chart.intervals:
            axes.plot(chart.intervals[name], (row, row), color=INK, linewidth=1)
    name_rows(axes, list(chart.values), NAMES)
