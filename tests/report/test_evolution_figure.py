"""Fig. 4 as a figure: what is drawn where."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from convscope.errors import BadInput
from convscope.report.evolution_figure import CHANGED, CONVERGED, evolution_figure
from convscope.report.style import render
from evolved import evolution, layer
from report.figures_seen import words


def tiles(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


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
    corners = [
        axes
        for axes in figure.axes
        if axes.images and any(isinstance(patch, Polygon) for patch in axes.patches)
    ]
    assert len(corners) == 2  # map 4 of both layers, at epoch 1
    dead = [axes for axes in figure.axes if any(t.get_text() == "dead" for t in axes.texts)]
    assert len(dead) == 2 and all(isinstance(axes.patches[0], Rectangle) for axes in dead)
    assert CHANGED != CONVERGED


def test_it_says_what_the_numbers_say() -> None:
    said = words(evolution_figure(evolution(), title="T", subtitle="S"))
    assert "settles at epoch 1 (quartiles 0 to 1); 2 of 16 maps dead" in said
    assert "settles at epoch 5" in said and "untrained" in said
    assert "lower layers converge first" in said
    assert "T | S | " in said


def test_the_line_of_convergence_stands_before_its_epoch() -> None:
    figure = evolution_figure(evolution())
    lines = [axes for axes in figure.axes if to_hex(axes.get_facecolor()) == CONVERGED][1:]
    first = [axes for axes in figure.axes if axes.images][:3]  # of map 4 of conv1
    starts = [axes.get_position().x0 for axes in first]
    assert starts[0] < lines[0].get_position().x0 < starts[1]


def test_a_layer_whose_maps_are_all_dead_says_so() -> None:
    dead = layer("conv2", (60, 60), (5,), rows=(), convergence={}, measured=())
    found = evolution(layers=(evolution().layers[0], dead))
    assert "No map was above zero in any image." in words(evolution_figure(found))


def test_it_becomes_a_picture_whatever_the_names_are() -> None:
    found = evolution(layers=(layer("$x_1$ 犬 <b>", (7, 7), (1, 1)),))
    assert render(evolution_figure(found, title="$\\frac$"))[:4] == b"\x89PNG"


def test_more_than_a_page_can_hold_is_refused() -> None:
    one = evolution().layers[0]
    with pytest.raises(BadInput, match="fewer layers, maps or epochs"):
        evolution_figure(evolution(layers=(one,) * 300))
