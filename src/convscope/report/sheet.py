"""The page that every figure is: rows of panels below each other, each as tall as it needs.

A figure says what it shows: panels with a caption, something drawn, and notes below. Where they
stand is found here: a row's width is shared out among its panels, words are wrapped to the width of
their panel, and the row is made as tall as its content. Everything is measured as matplotlib will
draw it. Words are never cut: a name that is longer than a line goes on in the next.

This is what matplotlib's constrained layout does, too; but its time grows with the square of the
number of panels (600 took more than four minutes), and a page does not become as tall as its words.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from convscope.report.style import DPI, FAINT, FONT, INK, SIZES, quiet
from convscope.report.wrapping import wrapped

__all__ = ["LANDSCAPE", "PAGE", "Note", "Panel", "Sheet"]

PAGE, LANDSCAPE = 7.6, 11.0  # inches: an A4 page without its margins, upright and across
MARGIN, GUTTER, BETWEEN = 0.12, 0.16, 0.12  # inches: of the page, between panels, between rows
LETTER, SWATCH, APART = 0.16, 0.14, 0.06  # inches: a panel's letter, a mark, words and their value
LEADING, ABOVE, BELOW = 0.02, 0.05, 0.06  # inches: between notes, below a caption, above notes
FOR_NOW = 10.0  # inches: the height of a page while its content is measured

Draw = Callable[[Axes], None]


@dataclass(frozen=True)
class Note:
    """A line of words below a panel; it goes on in further lines if need be.

    Args:
        words: At the left.
        value: At the right of the same line.
        swatch: The colour of a small square before the words.
        color: Of the words.
        size: A key of SIZES.
        bold: Whether the words are heavy.
    """

    words: str
    value: str = ""
    swatch: str = ""
    color: str = INK
    size: str = "text"
    bold: bool = False


@dataclass(frozen=True)
class Panel:
    """One place of a row.

    Args:
        draw: Draws into the panel's axes. Without it the panel holds its notes alone.
        caption: Words above; they get the figure's next letter.
        notes: Words below.
        height: Inches of the axes. By default a picture has its own shape.
        tallest: How many times its width a picture is tall at most; beyond, it gets narrower.
        width: Share of the row's width, against the other panels of the row.
        lettered: Whether a caption begins with a letter.
    """

    draw: Draw | None = None
    caption: str = ""
    notes: Sequence[Note] = ()
    height: float | None = None
    tallest: float = 1.6
    width: float = 1.0
    lettered: bool = True


class Sheet:
    """A page that is filled from top to bottom.

    Example:
        sheet = Sheet("Activity", "of one layer")
        sheet.row([Panel(lambda axes: axes.imshow(picture), "What it saw")])
        figure = sheet.figure()
    """

    def __init__(self, title: str = "", subtitle: str = "", *, width: float = PAGE) -> None:
        """An empty page, `width` inches wide; its height follows from what it will hold."""
        self.figure_width = width
        self._rows: list[Sequence[Panel]] = []
        head = [Note(title, size="title", bold=True)] if title else []
        head += [Note(subtitle, color=FAINT)] if subtitle else []
        if head:
            self.notes(head)

    def row(self, panels: Sequence[Panel]) -> None:
        """Panels beside each other."""
        self._rows.append(panels)

    def grid(self, panels: Sequence[Panel], columns: int) -> None:
        """Panels in rows of `columns`; the last row's places stay empty where there are fewer."""
        for start in range(0, len(panels), columns):
            some = list(panels[start : start + columns])
            self.row(some + [Panel()] * (columns - len(some)))

    def notes(self, notes: Iterable[Note]) -> None:
        """Words across the whole page."""
        self.row([Panel(notes=list(notes))])

    def text(self, words: str, **how: Any) -> None:
        """A paragraph across the whole page; `how` as of a Note."""
        self.notes([Note(words, **how)])

    def legend(self, handles: Sequence[Artist]) -> None:
        """What marks and lines mean: the labels of some artists, in as few lines as will do."""
        self.row([Panel(_Legend(handles, self.figure_width - 2 * MARGIN))])

    def figure(self) -> Figure:
        """Everything drawn and in its place."""
        figure = Figure(figsize=(self.figure_width, FOR_NOW), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        letters = iter(string.ascii_lowercase * (1 + sum(map(len, self._rows)) // 26))
        room = self.figure_width - 2 * MARGIN
        with quiet():
            rows = [_Row(figure, panels, room, letters) for panels in self._rows]
            tall = sum(row.height + BETWEEN for row in rows) - BETWEEN + 2 * MARGIN
            figure.set_size_inches(self.figure_width, tall)
            top = tall - MARGIN
            for row in rows:
                row.place(top)
                top -= row.height + BETWEEN
        return figure


class _Row:
    """Panels beside each other, drawn and measured; `place` puts them where they belong.

    Attributes:
        height: Of the whole row, in inches.
    """

    def __init__(
        self, figure: Figure, panels: Sequence[Panel], room: float, letters: Iterator[str]
    ) -> None:
        self.figure = figure
        self.cells = [_Cell(figure, panel, letters) for panel in panels]
        shares = sum(panel.width for panel in panels)
        for _ in range(2):  # a smaller chart may have other numbers
            left = room - GUTTER * (len(panels) - 1)
            left -= sum(cell.margins[0] + cell.margins[1] for cell in self.cells)
            for cell in self.cells:
                cell.measure(left * cell.panel.width / shares)
        for cell in self.cells:
            cell.write()
        self.above = max(cell.above for cell in self.cells)
        self.height = self.above + max(cell.below for cell in self.cells)

    def place(self, top: float) -> None:
        """Put the row's upper edge at `top`, in inches above the page's lower edge."""
        left = MARGIN
        for cell in self.cells:
            left += cell.margins[0]
            cell.place(left, top - self.above)
            left += cell.width + cell.margins[1] + GUTTER


class _Cell:
    """A panel, drawn and measured, in inches.

    Attributes:
        margins: What the axes' numbers and names take on the left, right, above and below.
        width: Of the axes.
        above: What the panel needs above the axes' top.
        below: What the panel needs below the axes' top.
    """

    def __init__(self, figure: Figure, panel: Panel, letters: Iterator[str]) -> None:
        self.figure, self.panel = figure, panel
        self.letter = next(letters) if panel.caption and panel.lettered else ""
        self.margins = (0.0, 0.0, 0.0, 0.0)
        self.width = self.height = 0.0
        self.words: list[tuple[Text, float, float]] = []
        self.above = self.below = 0.0
        self.axes = None if panel.draw is None else _axes(figure)
        if panel.draw is not None and self.axes is not None:
            panel.draw(self.axes)

    def measure(self, width: float) -> None:
        """Give the axes a width, and the height that follows from it; see what is around them."""
        self.width = width
        if self.axes is None:
            return
        self.height = self._wanted(self.axes)
        self._size(self.axes, 0.0, FOR_NOW / 2)
        outer = self.axes.get_tightbbox(for_layout_only=True)  # a narrow picture leaves room
        inner = self.axes.get_position(original=True).transformed(self.figure.transFigure)
        if outer is not None:
            left, right = inner.x0 - outer.x0, outer.x1 - inner.x1
            above, below = outer.y1 - inner.y1, inner.y0 - outer.y0
            self.margins = (_inches(left), _inches(right), _inches(above), _inches(below))

    def _wanted(self, axes: Axes) -> float:
        """The axes' height, so that what is drawn fills their width."""
        if isinstance(self.panel.draw, _Legend):
            return self.panel.draw.height
        if self.panel.height is not None or axes.get_aspect() == "auto":
            return self.panel.height or 1.0
        across, down = (abs(high - low) for low, high in (axes.get_xlim(), axes.get_ylim()))
        return self.width * min(self.panel.tallest, down / across)

    def _size(self, axes: Axes, left: float, top: float) -> None:
        across, down = self.figure.get_size_inches()
        axes.set_position(
            (left / across, (top - self.height) / down, self.width / across, self.height / down)
        )

    def write(self) -> None:
        """The words above and below, wrapped to the width; not yet in their place."""
        _, _, rise, fall = self.margins
        self.above = rise
        if self.panel.caption:
            indent = LETTER if self.letter else 0.0
            text = _text(self.figure, Note(self.panel.caption, size="panel"), self.width - indent)
            self.above += ABOVE + _extent(text)[1]
            self.words.append((text, indent, self.above))
            if self.letter:
                letter = Note(self.letter, size="panel", bold=True)
                self.words.append((_text(self.figure, letter, self.width), 0.0, self.above))
        top = -(self.height + fall)
        if self.panel.notes and self.axes is not None:
            top -= BELOW
        for i, note in enumerate(self.panel.notes):
            top -= self._note(note, top) + (LEADING if i + 1 < len(self.panel.notes) else 0.0)
        self.below = -top

    def _note(self, note: Note, top: float) -> float:
        """Write a note at `top` inches above the axes' top; gives its height."""
        taken, tall = -APART, 0.0
        if note.value:
            end = Note(note.value, color=note.color, size=note.size)
            value = _text(self.figure, end, self.width / 2)
            value.set(ha="right")
            taken, tall = _extent(value)
            self.words.append((value, self.width, top))
        indent = SWATCH if note.swatch else 0.0
        words = _text(self.figure, note, self.width - indent - taken - APART)
        self.words.append((words, indent, top))
        if note.swatch:
            square = Note("■", color=note.swatch, size=note.size)
            self.words.append((_text(self.figure, square, self.width), 0.0, top))
        return max(_extent(words)[1], tall)

    def place(self, left: float, top: float) -> None:
        """Put the axes' upper left corner there, and the words around them."""
        across, down = self.figure.get_size_inches()
        if self.axes is not None:
            self._size(self.axes, left, top)
        for text, right, up in self.words:
            text.set_position(((left + right) / across, (top + up) / down))


class _Legend:
    """Draws a legend across a page, and remembers how tall it is. Inches."""

    def __init__(self, handles: Sequence[Artist], room: float) -> None:
        self.handles, self.room, self.height = handles, room, 0.0

    def __call__(self, axes: Axes) -> None:
        """As many columns as fit; a label that is longer than a line goes on in the next."""
        axes.set_axis_off()
        size, words = SIZES["text"], [str(handle.get_label()) for handle in self.handles]
        labels = [wrapped(label, self.room - 0.5, size) for label in words]
        for columns in range(len(words), 0, -1):
            legend = axes.legend(
                self.handles, labels, loc="upper left", ncols=columns, frameon=False,
                bbox_to_anchor=(0, 1), borderaxespad=0, borderpad=0, columnspacing=1.4,
                handletextpad=0.5, prop={"family": FONT, "size": size}, labelcolor=INK,
            )  # fmt: skip
            for text, label in zip(legend.get_texts(), words, strict=True):
                text.set(parse_math=False, label=label)
            box = legend.get_window_extent()
            if box.width / DPI <= self.room:
                break
        legend.set_in_layout(False)
        self.height = box.height / DPI


def _inches(pixels: float) -> float:
    return max(0.0, float(pixels)) / DPI


def _axes(figure: Figure) -> Axes:
    axes = figure.add_axes((0, 0, 0.5, 0.5))
    axes.set_anchor("NW")
    axes.tick_params(labelfontfamily=FONT, labelsize=SIZES["small"], labelcolor=FAINT)
    return axes


def _text(figure: Figure, note: Note, room: float) -> Text:
    """A note's words in lines that are no longer than `room` inches."""
    size, weight = SIZES[note.size], "bold" if note.bold else "normal"
    return figure.text(
        0, 0, wrapped(note.words, room, size, weight), ha="left", va="top", color=note.color,
        family=FONT, fontsize=size, weight=weight, parse_math=False, label=note.words,
    )  # fmt: skip


def _extent(text: Text) -> tuple[float, float]:
    box = text.get_window_extent()
    return float(box.width) / DPI, float(box.height) / DPI
