"""Every kind of picture of units, a row each: numbers -> a matplotlib Figure, nothing written."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from convscope.errors import BadInput
from convscope.experiments.number_words import NONE, minus, percent
from convscope.experiments.pictures.result import Pictures, UnitPicture, UnitPictures, Worth
from convscope.methods.checks import SPECIFIC
from convscope.report.chart import picture
from convscope.report.sheet import LANDSCAPE, Note, Panel, Sheet
from convscope.report.style import FAINT, color_of, number

__all__ = ["pictures_figure"]

MOST = 50  # units that matplotlib can still draw on a page
GOOD, BAD = color_of(2), color_of(1)
WORDS = (
    "Below projections, how far each can be trusted. Place: how much more the unit falls where the "
    "picture points than elsewhere; green where that is above chance, and above a disc in the "
    f"centre. Specific: 1 − r with the pictures of the place's other strong units; red below "
    f"{SPECIFIC:g}: it is not this unit's own. Own weights: 1 − r with the picture after the "
    f"unit's own weights were drawn anew; red below {SPECIFIC:g}."
)
OTHERS = (
    "Spotlight: the patch, lit where the deconvnet has energy (derived). Saliency: the gradient's "
    "largest absolute value over channels. Contrastive: lit where covering costs this unit more "
    "than its neighbours; both losses at the brightest place. Optimised: what drives the unit, and "
    "its activation there. Inverted: what its whole layer keeps of the image; the error of the "
    "features, and r of the pixels."
)


def pictures_figure(found: Pictures, *, title: str = "", subtitle: str = "") -> Figure:
    """Draw a row of pictures for each unit, and below each what it is worth.

    All show what the unit sees of its image. A projection is scaled around grey by its own largest
    absolute value.

    Args:
        found: The pictures.
        title: Of the page.
        subtitle: Which network, and which images.

    Raises:
        BadInput: There is no unit, or more than a page can hold.
    """
    if not 1 <= len(found.units) <= MOST:
        raise BadInput(f"{len(found.units)} units in one figure: give 1 to {MOST}")
    sheet = Sheet(title or "Every picture of a unit", subtitle, width=LANDSCAPE)
    for unit in found.units:
        sheet.notes([_heading(unit)])
        sheet.row([_panel(one) for one in unit.pictures])
    refused = [
        Note(f"{unit.unit}, no {one.kind}: {one.refused}", color=FAINT)
        for unit in found.units
        for one in unit.pictures
        if one.refused
    ]
    if refused:
        sheet.notes(refused)
    sheet.notes([Note(WORDS, color=FAINT), Note(OTHERS, color=FAINT)])
    return sheet.figure()


def _heading(unit: UnitPictures) -> Note:
    top, left, bottom, right = unit.box
    seen = f"{bottom - top}×{right - left} px of {unit.image}"
    return Note(
        f"{unit.unit}  ·  activation {number(unit.activation)}  ·  {seen}", size="panel", bold=True
    )


def _panel(one: UnitPicture) -> Panel:
    name = Note(one.kind, bold=True)
    if one.pixels is None:
        return Panel(notes=[name, Note("none, see below", color=FAINT, size="small")])
    notes = [name, *_numbers(one)] if one.worth is None else [name, *_strip(one.worth)]
    return Panel(partial(picture, pixels=one.pixels), notes=notes)


def _numbers(one: UnitPicture) -> list[Note]:
    return [
        Note(name, _written(name, value), color=FAINT, size="small")
        for name, value in one.numbers.items()
    ]


def _written(name: str, value: float) -> str:
    """Shares in percent."""
    if name == "r":
        return minus(f"{value:.2f}")
    return number(value) if name == "activation" else percent(value)


def _strip(worth: Worth) -> list[Note]:
    return [
        _measured("place", worth.place, worth.in_place),
        _measured("specific", worth.specific, worth.is_specific),
        _measured("own weights", worth.own_weights, (worth.own_weights or 0.0) >= SPECIFIC),
    ]


def _measured(name: str, value: float | None, good: bool) -> Note:
    if value is None:
        return Note(name, NONE, color=FAINT, size="small")
    return Note(name, minus(f"{value:.2f}"), color=GOOD if good else BAD, size="small")
