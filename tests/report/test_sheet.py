"""The page that figures are: words wrapped and never cut, rows as tall as their content."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from convscope.report.chart import Mosaic, chart, name_rows, picture, row_height, value_rows
from convscope.report.sheet import BETWEEN, GUTTER, MARGIN, PAGE, Note, Panel, Sheet
from convscope.report.style import DPI, SIZES
from convscope.report.wrapping import text_width, wrapped
from report.figures_seen import drawn, drawn_texts, texts

SIZE = SIZES["text"]
SQUARE = np.zeros((50, 100, 3), np.uint8)


@pytest.mark.parametrize(
    "words",
    ["short", "a long sentence that goes on", "x" * 90, "one/two/three.four_five" * 6, "", "a  b"],
)
@pytest.mark.parametrize("room", [-1.0, 0.02, 0.5, 1.0])
def test_wrapped_words_keep_every_letter_and_every_line_has_room(words: str, room: float) -> None:
    lines = wrapped(words, room, SIZE).split("\n")
    assert "".join(words.split()) == "".join("".join(lines).split())
    assert all(len(line) <= 1 or text_width(line, SIZE) <= room for line in lines)


def test_a_line_is_as_full_as_can_be_and_ends_at_a_space() -> None:
    first, *rest = wrapped("a long sentence that goes on", 1.0, SIZE).split("\n")
    assert text_width(f"{first} {rest[0].split()[0]}", SIZE) > 1.0
    assert " ".join([first, *rest]) == "a long sentence that goes on"


def test_a_name_that_is_too_long_is_parted_behind_what_joins_its_words() -> None:
    lines = wrapped("photographs/morning/picture.jpg", 1.1, SIZE).split("\n")
    assert [line[-1] for line in lines[:-1]] == ["/"] * (len(lines) - 1)


def test_heavy_words_are_wider() -> None:
    assert text_width("words", SIZE, "bold") > text_width("words", SIZE)


def test_a_picture_fills_its_share_of_the_width_in_its_own_shape() -> None:
    sheet = Sheet()
    sheet.row([Panel(partial(picture, pixels=SQUARE)), Panel(partial(picture, pixels=SQUARE))])
    figure = sheet.figure()
    room = (PAGE - 2 * MARGIN - GUTTER) / 2
    for axes in figure.axes:
        box = axes.get_window_extent()
        assert box.width / DPI == pytest.approx(room)
        assert box.height / DPI == pytest.approx(room / 2)
    assert figure.get_size_inches()[1] == pytest.approx(room / 2 + 2 * MARGIN)


def test_a_picture_that_is_very_tall_gets_narrower() -> None:
    sheet = Sheet(width=3.0)
    sheet.row([Panel(partial(picture, pixels=np.zeros((90, 10, 3), np.uint8)))])
    figure = sheet.figure()
    drawn(figure)
    box = figure.axes[0].get_window_extent()
    assert box.height == pytest.approx(9 * box.width)
    assert box.height / DPI == pytest.approx(1.6 * (3.0 - 2 * MARGIN))


def test_a_row_is_as_tall_as_its_words_and_charts_are_as_tall_as_asked() -> None:
    notes = [Note("line") for _ in range(30)]
    heights = []
    for some in (notes[:1], notes):
        sheet = Sheet()
        sheet.row([Panel(chart, "chart", height=1.0), Panel(notes=some)])
        figure = sheet.figure()
        assert figure.axes[0].get_window_extent().height / DPI == pytest.approx(1.0)
        heights.append(float(figure.get_size_inches()[1]))
    assert heights[1] > heights[0] + 1


def test_rows_stand_below_each_other_with_a_gap() -> None:
    sheet = Sheet()
    for _ in range(3):
        sheet.row([Panel(chart, height=0.5)])
    boxes = [axes.get_tightbbox() for axes in sheet.figure().axes]
    for above, below in pairwise(boxes):
        assert (above.y0 - below.y1) / DPI == pytest.approx(BETWEEN, abs=0.02)


def test_captions_have_letters_in_the_order_of_the_page() -> None:
    sheet = Sheet("title")
    sheet.row([Panel(chart, "first"), Panel(notes=[Note("words")]), Panel(chart, "second")])
    sheet.row([Panel(chart, "no letter", lettered=False), Panel(chart, "third")])
    said = texts(sheet.figure())
    assert [words for words in said if len(words) == 1 and words.isalpha()] == ["a", "b", "c"]


def test_what_was_meant_is_kept_beside_what_is_drawn() -> None:
    sheet = Sheet("name " * 60)
    text = next(text for text in drawn_texts(sheet.figure()))
    assert "\n" in text.get_text() and text.get_label() == "name " * 60


def test_the_pictures_of_a_mosaic_lie_in_their_cells() -> None:
    sheet = Sheet(width=4.0)

    def draw(axes) -> None:
        mosaic = Mosaic(axes, 2, 3, tall=0.5, gap=0.1)
        mosaic.show(1, 2, SQUARE)
        mosaic.show(0, 0, np.zeros((10, 10, 3), np.uint8))
        assert mosaic.corner(1, 2) == pytest.approx((2.2, 0.6))

    sheet.row([Panel(draw)])
    axes = sheet.figure().axes[0]
    wide, square = (image.get_extent() for image in axes.images)
    assert wide == pytest.approx((2.2, 3.2, 1.1, 0.6))
    assert square == pytest.approx((0.25, 0.75, 0.5, 0))  # fitted into the cell's height


def test_each_row_of_a_chart_has_its_name_and_its_value_beside_it() -> None:
    names = ["first", "a name that is longer than its room is wide"]
    height = row_height(names, 0.8)
    assert height > row_height(["first"], 0.8)

    def draw(axes) -> None:
        chart(axes)
        name_rows(axes, names, 0.8, ["#ff0000", "#00ff00"])
        value_rows(axes, ["12 %", "34 %"])

    sheet = Sheet()
    sheet.row([Panel(draw, height=2 * height)])
    seen = {text.get_text().split()[0]: text.get_window_extent() for text in
            drawn_texts(sheet.figure())}  # fmt: skip
    for name, value in (("first", "12"), ("a", "34")):
        assert seen[name].x1 < seen[value].x0
        middles = [(seen[each].y0 + seen[each].y1) / 2 for each in (name, value)]
        assert middles[0] == pytest.approx(middles[1], abs=4)
    assert seen["first"].y0 > seen["a"].y0
