"""Every figure can be read on every machine: no words overlap, none is cut, none is outside.

The figures are drawn as on a machine that has no font but those that matplotlib brings along.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from convscope import report
from convscope.report.style import figure_bytes
from report.figures_made import FIGURES, Case, contacts, occluded
from report.figures_seen import drawn_texts

CASES = [
    pytest.param(case, id=f"{draw.__name__}: {name}")
    for draw, cases in FIGURES.items()
    for name, case in cases.items()
]
TOUCH = 1.5  # pixels of 200 an inch: boxes that overlap by no more only touch


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without fonts of its own."""
    bundled = str(Path(mpl.get_data_path()))
    manager = font_manager.fontManager
    kept = [font for font in manager.ttflist if font.fname.startswith(bundled)]
    assert {font.name for font in kept} >= {"DejaVu Sans"}
    monkeypatch.setattr(manager, "ttflist", kept)


def _overlap(one: Bbox, other: Bbox) -> bool:
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    up = min(one.y1, other.y1) - max(one.y0, other.y0)
    return across > TOUCH and up > TOUCH


def _pictures(figure: Figure) -> Iterator[Axes]:
    return (axes for axes in figure.axes if axes.images)


def faults(figure: Figure, texts: Sequence[Text] | None = None) -> list[str]:
    """What a reader could not read.

    Args:
        figure: The figure.
        texts: What was drawn of it, if it was; it is drawn otherwise.
    """
    drawn = drawn_texts(figure) if texts is None else texts
    seen = [(text, text.get_window_extent()) for text in drawn]
    edge = figure.bbox.padded(TOUCH)
    found = [
        f"outside: {text.get_text()!r}"
        for text, box in seen
        if not (edge.x0 <= box.x0 and box.x1 <= edge.x1 and edge.y0 <= box.y0 and box.y1 <= edge.y1)
    ]
    found += [
        f"overprinted: {one.get_text()!r} and {other.get_text()!r}"
        for (one, box), (other, beside) in combinations(seen, 2)
        if _overlap(box, beside)
    ]
    found += [
        f"on a picture: {text.get_text()!r}"
        for axes in _pictures(figure)
        for text, box in seen
        if text.axes is not axes and _overlap(box, axes.get_window_extent())
    ]
    dots = (text for text, _ in seen if "…" in text.get_text())
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
    axes = next(_pictures(figure))
    text.set(position=axes.get_position().get_points().mean(0), text="word")
    assert faults(figure) == ["on a picture: 'word'"]
    text.set(position=(0.999, 0.5))
    assert "outside: 'word'" in faults(figure)
    texts = drawn_texts(figure)
    texts[1].set(position=texts[0].get_position())
    assert any(fault.startswith("overprinted") for fault in faults(figure))
    texts[0].set_text("cu…")
    assert "cut: 'cu…'" in faults(figure)
