"""What a prompt and a notebook show of a value: one short line, a table, or a picture.

A class says which by what it derives from. Figures are drawn by `report/`, far above: the package
says who draws when it is loaded (`draw_by`), so that nothing here knows of matplotlib.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Brief", "Pictured", "brief", "draw_by", "html_image", "html_table", "in_notebook"]

LISTED = 4
"""Elements of a sequence or mapping that are written out."""
LONGEST = 90
"""Letters of one value."""


class Brief:
    """Base of classes whose repr is one line, however large the arrays are that they hold.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Found(Brief):
        ...     name: str
        ...     maps: tuple
        >>> Found("conv1", tuple(range(96)))
        Found(name='conv1', maps=(0, 1, 2, 3, ... 96 in all))
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__repr__ = cls.__repr__  # type: ignore[method-assign]  # dataclass writes none then

    def __repr__(self) -> str:
        values = ""
        if dataclasses.is_dataclass(self):
            shown = [each.name for each in dataclasses.fields(self) if each.repr]
            values = ", ".join(f"{name}={brief(getattr(self, name))}" for name in shown)
        return f"{type(self).__name__}({values})"


class Pictured(Brief):
    """Base of classes that a notebook shows as a picture.

    Example:
        >>> maps = convscope.occlude(model, "dog.jpg")
        >>> maps.show()
        >>> maps.save("dog.pdf")
    """

    def figure(self) -> Figure:
        """Draw it, as a matplotlib Figure of its own.

        Raises:
            BadInput: There is nothing to draw, or more than a page holds.
        """
        return _find().figure(self)

    def show(self) -> None:
        """Show the picture: below a notebook's cell, elsewhere in the system's viewer."""
        if in_notebook():
            from IPython.display import display  # type: ignore[import-not-found]

            display(self)
            return
        from PIL import Image

        Image.open(BytesIO(_find().content(self.figure(), "png"))).show()

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file that ends in .png, .pdf or .svg.

        Args:
            path: The file.

        Raises:
            BadOption: It ends in something else.
        """
        _find().save(self.figure(), Path(path))
        return Path(path)

    def _repr_png_(self) -> bytes | None:
        from convscope.errors import BadInput

        try:
            return _find().content(self.figure(), "png")
        except BadInput:  # a notebook shows the line instead
            return None


@dataclasses.dataclass(frozen=True)
class Drawer:
    """Who draws.

    Attributes:
        figure: From a value to its figure.
        content: From a figure to the bytes of a file of a form, such as "png".
        save: Writes a figure to a file.
    """

    figure: Callable[[Any], Figure]
    content: Callable[[Figure, str], bytes]
    save: Callable[[Figure, Path], None]


_find: Callable[[], Drawer]


def draw_by(find: Callable[[], Drawer]) -> None:
    """Say who draws the figures of `Pictured` values: it is called when one is to be drawn."""
    global _find
    _find = find


def brief(value: Any) -> str:
    """A value in a few words: arrays by their shape, long sequences by their first elements.

    Args:
        value: Anything.

    Example:
        >>> brief({"size": (3, 4), "names": ["a"] * 20})
        "{'size': (3, 4), 'names': ['a', 'a', 'a', 'a', ... 20 in all]}"
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value)
    if isinstance(value, Mapping):
        parts = [f"{brief(key)}: {brief(value[key])}" for key in list(value)[:LISTED]]
        return f"{{{_listed(parts, len(value))}}}"
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        parts = [brief(element) for element in value[:LISTED]]
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        open_, close = "()" if isinstance(value, tuple) else "[]"
        return f"{open_}{_listed(parts, len(value))}{comma}{close}"
    if isinstance(value, Enum | PurePath):
        return repr(str(value))
    words = getattr(value, "__name__", None) if callable(value) else None
    words = words or " ".join(repr(value).split())
    return words if len(words) <= LONGEST or isinstance(value, Brief) else f"{words[:LONGEST]}..."


def _array(value: Any) -> str:
    """Of numpy and torch: its type and shape; a single number is written out."""
    kind = str(value.dtype).removeprefix("torch.")
    if not tuple(value.shape):
        return f"{value.item():g}" if kind.startswith(("float", "bfloat")) else str(value.item())
    return f"<{kind} {'x'.join(map(str, value.shape))}>"


def _listed(parts: Sequence[str], count: int) -> str:
    more = [f"... {count} in all"] if count > len(parts) else []
    return ", ".join([*parts, *more])


def html_table(head: Iterable[str], rows: Iterable[Iterable[Any]], caption: str = "") -> str:
    """Rows as an HTML table; every cell is text.

    Args:
        head: The titles of the columns.
        rows: The cells.
        caption: What stands above the table.

    Example:
        >>> html_table(["layer"], [["<conv>"]])
        '<table><tr><th>layer</th></tr><tr><td>&lt;conv&gt;</td></tr></table>'
    """
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    titles = "".join(f"<th>{html.escape(each)}</th>" for each in head)
    lines = (
        f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table>{above}<tr>{titles}</tr>{''.join(lines)}</table>"


def html_image(png: bytes, words: str = "") -> str:
    """A picture within HTML.

    Args:
        png: The bytes of a PNG file.
        words: What it shows, for who cannot see it.
    """
    content = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{content}">'


def in_notebook() -> bool:
    """Whether this is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
