"""Every figure can be read on every machine: no words overlap, none is cut, none is outside.

The figures are drawn as on a machine that has no font but those that matplotlib brings along.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from convscope import report
from convscope.report.style import figure_bytes
from report.figures_made import FIGURES, Case, contacts, occluded
from report.figures_seen import drawn_texts

CASES = [
    pytest.param(
        case,
        id=f"{draw.__name__}: {name}",
        marks=[pytest.mark.long] * (0 < place < len(cases) - 1),  # the extremes come first
    )
    for draw, cases in FIGURES.items()
    for place, (name, case) in enumerate(cases.items())
]
Boxes = NDArray[np.float64]
TOUCH = 1.5  # pixels of 200 an inch: boxes that overlap by no more only touch


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without fonts of its own."""
    bundled = str(Path(mpl.get_data_path()))
    manager = font_manager.fontManager
    kept = [font for font in manager.ttflist if font.fname.startswith(bundled)]
    assert {font.name for font in kept} >= {"DejaVu Sans"}
    monkeypatch.setattr(manager, "ttflist", kept)


def _overlaps(one: Boxes, other: Boxes) -> NDArray[np.bool_]:
    """(n, m): whether each of n boxes overlaps each of m, in x and in y."""
    low = np.maximum(one[:, None, 0], other[None, :, 0])
    high = np.minimum(one[:, None, 1], other[None, :, 1])
    return (high - low > TOUCH).all(-1)


def _boxes(found: Sequence[Text | Axes]) -> Boxes:
    """(n, 2, 2): the lower left and the upper right corner of each, in pixels."""
    return np.array([each.get_window_extent().get_points() for each in found]).reshape(-1, 2, 2)


def faults(figure: Figure, texts: Sequence[Text] | None = None) -> list[str]:
    """What a reader could not read.

    Args:
        figure: The figure.
        texts: What was drawn of it, if it was; it is drawn otherwise.
    """
    drawn = drawn_texts(figure) if texts is None else texts
    pictures = [axes for axes in figure.axes if axes.images]
    boxes, edge = _boxes(drawn), figure.bbox.padded(TOUCH).get_points()
    inside = (edge[0] <= boxes[:, 0]).all(1) & (boxes[:, 1] <= edge[1]).all(1)
    found = [f"outside: {drawn[at].get_text()!r}" for at in np.flatnonzero(~inside)]
    found += [
        f"overprinted: {drawn[one].get_text()!r} and {drawn[other].get_text()!r}"
        for one, other in np.argwhere(np.triu(_overlaps(boxes, boxes), 1))
    ]
    found += [
        f"on a picture: {drawn[at].get_text()!r}"
        for picture, at in np.argwhere(_overlaps(_boxes(pictures), boxes))
        if drawn[at].axes is not pictures[picture]
    ]
    dots = (text for text in drawn if "…" in text.get_text())
    return found + [
        f"cut: {text.get_text()!r}" for text in dots if "…" not in str(text.get_label())
    ]


def squashed(words: str) -> str:
    return "".join(words.split())


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("case", CASES)
def test_every_word_of_every_figure_can_be_read(case: Case, tmp_path: Path) -> None:
    figure = case.draw(tmp_path)
    texts = drawn_texts(figure)
    assert faults(figure, texts) == []
    said = [squashed(text.get_text()) for text in texts]
    for name in case.names:
        assert any(squashed(name) in words for words in said), name
    for text in texts:  # what was meant, where it was wrapped
        meant = str(text.get_label())
        assert squashed(text.get_text()) == squashed(meant) or not meant


def test_every_figure_that_the_report_offers_is_drawn_here() -> None:
    offered: set[Callable[..., Figure]] = set()
    for found in pkgutil.iter_modules(report.__path__):
        module = importlib.import_module(f"convscope.report.{found.name}")
        public = [getattr(module, name) for name in module.__all__]
        offered |= {
            each for each in public
            if callable(each) and getattr(each, "__annotations__", {}).get("return") == "Figure"
        }  # fmt: skip
    assert offered == set(FIGURES)


def test_a_figure_is_the_same_picture_whatever_fonts_the_machine_has(
    request: pytest.FixtureRequest,
) -> None:
    before = figure_bytes(occluded(3))
    request.getfixturevalue("bare")
    assert figure_bytes(occluded(3)) == before


def test_words_that_overlap_are_found() -> None:
    figure = contacts(2)
    text = next(text for text in drawn_texts(figure) if text.get_text())
    assert faults(figure) == []
    axes = next(axes for axes in figure.axes if axes.images)
    text.set(position=axes.get_position().get_points().mean(0), text="word")
    assert faults(figure) == ["on a picture: 'word'"]
    text.set(position=(0.999, 0.5))
    assert "outside: 'word'" in faults(figure)
    texts = drawn_texts(figure)
    texts[1].set(position=texts[0].get_position())
    assert any(fault.startswith("overprinted") for fault in faults(figure))
    texts[0].set_text("cu…")
    assert "cut: 'cu…'" in faults(figure)
