"""Fig. 4 as a figure: what is drawn where."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from convscope.errors import BadInput
from convscope.report.evolution_figure import CHANGED, CONVERGED, evolution_figure
from convscope.report.style import figure_bytes
from evolved import evolution, layer
from report.figures_seen import words


def tiles(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def at(axes: Axes, column: int) -> float:
    """The left edge of a tile of a row of three."""
    return sorted({image.get_extent()[0] for image in axes.images})[column]


def test_every_map_is_a_row_of_its_projections_in_the_order_of_the_epochs() -> None:
    found = evolution()
    shown = tiles(evolution_figure(found))
    expected = [
        row.projections[at]
        for each in found.layers
        for row in each.rows
        for at, lead in enumerate(row.leads)
        if not lead.dead
    ]
    assert len(shown) == len(expected) == 10
    assert all(np.array_equal(a, b) for a, b in zip(shown, expected, strict=True))


def test_the_changes_and_the_dead_are_marked_and_no_others() -> None:
    figure = evolution_figure(evolution())
    layers = [axes for axes in figure.axes if axes.images]
    assert len(layers) == 2
    for axes in layers:
        corners = [patch for patch in axes.patches if isinstance(patch, Polygon)]
        assert [corner.get_xy()[0][0] for corner in corners] == [at(axes, 1)]  # map 4, epoch 1
        dead = [text for text in axes.texts if text.get_text() == "dead"]
        hatched = [patch for patch in axes.patches if patch.get_hatch()]
        assert len(dead) == len(hatched) == 1
        assert isinstance(hatched[0], Rectangle)
        assert hatched[0].get_xy()[0] == at(axes, 1)  # map 9, epoch 1
    assert CHANGED != CONVERGED


def test_it_says_what_the_numbers_say() -> None:
    said = words(evolution_figure(evolution(), title="T", subtitle="S"))
    assert "settles at epoch 1 (quartiles 0 to 1); 2 of 16 maps dead" in said
    assert "settles at epoch 5" in said and "untrained" in said
    assert "lower layers converge first" in said
    assert "T | S | " in said


def test_the_line_of_convergence_stands_before_its_epoch() -> None:
    figure = evolution_figure(evolution())
    axes = next(axes for axes in figure.axes if axes.images)  # of conv1, which settles at epoch 1
    (line,) = (line for line in axes.lines if line.get_color() == CONVERGED)
    assert at(axes, 0) + 1 < line.get_xdata()[0] < at(axes, 1)


def test_a_layer_whose_maps_are_all_dead_says_so() -> None:
    dead = layer("conv2", (60, 60), (5,), rows=(), convergence={}, measured=())
    found = evolution(layers=(evolution().layers[0], dead))
    assert "No map was above zero in any image." in words(evolution_figure(found))


def test_it_becomes_a_picture_whatever_the_names_are() -> None:
    found = evolution(layers=(layer("$x_1$ 犬 <b>", (7, 7), (1, 1)),))
    assert figure_bytes(evolution_figure(found, title="$\\frac$"))[:4] == b"\x89PNG"


def test_more_than_a_page_can_hold_is_refused() -> None:
    one = evolution().layers[0]
    with pytest.raises(BadInput, match="fewer layers, maps or epochs"):
        evolution_figure(evolution(layers=(one,) * 300))
