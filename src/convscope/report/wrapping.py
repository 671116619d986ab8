"""Words in lines of a width: a name that is longer than a line goes on in the next, nothing is cut.

A line ends where there is a space; within a name after a character that joins its parts, such as
"/" or "_", if there is one; else where the line is full.
"""

from __future__ import annotations

from functools import lru_cache

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from convscope.report.style import DPI, FONT, quiet

__all__ = ["text_width", "wrapped"]

JOINTS = "/._-,:;|·=@+"


def wrapped(words: str, room: float, size: float, weight: str = "normal") -> str:
    """Words with line breaks, so that no line is longer than `room`.

    Args:
        words: Spaces in a row become one.
        room: Inches. At least one letter stands in a line.
        size: Points.
        weight: "normal" or "bold".

    Returns:
        The same letters, with a line break in place of some spaces and within names that are
        longer than a line.
    """
    lines: list[str] = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, size, weight) <= room:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        while len(word) > 1 and text_width(word, size, weight) > room:
            head = _fitting(word, room, size, weight)
            lines[-1], word = word[:head], word[head:]
            lines.append("")
        lines[-1] = word
    return "\n".join(lines)


def _fitting(word: str, room: float, size: float, weight: str) -> int:
    """How many letters of a word stand in a line, ending at a joint if there is one."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(word[:middle], size, weight) <= room:
            low = middle
        else:
            high = middle - 1
    joint = max((word.rfind(joint, 0, low) for joint in JOINTS), default=-1) + 1
    return joint if joint > low // 2 else low


@lru_cache(maxsize=65536)
def text_width(words: str, size: float, weight: str = "normal") -> float:
    """Inches of a line of words in the figures' font."""
    font = FontProperties(family=FONT, size=size, weight=weight)
    with quiet():
        wide, _, _ = _renderer().get_text_width_height_descent(words, font, ismath=False)
    return float(wide) / DPI


@lru_cache(maxsize=1)
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)
