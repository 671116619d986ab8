"""How far the pictures of units can be trusted: in one image, or each in its strongest of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.display import Brief
from convscope.errors import BadData, BadOption
from convscope.experiments.session import Picture, Session
from convscope.progress import Progress

if TYPE_CHECKING:
    from convscope.images.given import Given
    from convscope.methods.checks import CheckSettings, Trust
    from convscope.methods.rules import Rules
    from convscope.network.unit import Unit

__all__ = ["CheckedUnit", "check_units", "is_picture", "strongest_images"]


@dataclass(frozen=True)
class CheckedUnit(Brief):
    """What was measured of one unit's picture, and the image that it was seen in."""

    image: str
    trust: Trust

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary."""
        return {**self.trust.to_dict(), "image": self.image}


def check_units(
    session: Session,
    source: Given | Picture,
    units: Sequence[Unit | str],
    rules: Rules,
    settings: CheckSettings,
    progress: Progress | None = None,
) -> list[CheckedUnit]:
    """Measure how far the pictures of units can be trusted.

    Args:
        session: The network that has them.
        source: An IMAGE or DATA of the command line, or an image as `images.given` reads it. Of
            DATA, each unit is seen in the image that excites its feature map most.
        units: Feature maps, or units at a position of one image.
        rules: The method of projection.
        settings: How carefully.
        progress: Is called with (what, done, total).

    Raises:
        NoSuchLayer, NoSuchUnit: There is no such unit.
        BadImage, BadData: There is no such image, or none that can be read.
        BadOption: A position is given, but no single image.
    """
    from convscope.methods.checks import Checker

    network = session.network
    wanted = [network.unit(unit) for unit in units]
    checker = Checker(network, rules, settings)
    if not isinstance(source, str) or is_picture(source):
        name, image = session.input(source)
        trace = network.trace(image, [unit.layer for unit in wanted])
        return [CheckedUnit(name, trust) for trust in checker.check(trace, wanted)]
    found = []
    for unit, number in zip(
        wanted, strongest_images(session, source, wanted, progress), strict=True
    ):
        picture = session.picture(f"{source}#{number}")
        trace = network.trace(session.tensor(picture), [unit.layer])
        [trust] = checker.check(trace, unit)
        found.append(CheckedUnit(picture.name, trust))
        if progress is not None:
            progress("units", len(found), len(wanted))
    return found


def strongest_images(
    session: Session, source: str, units: Sequence[Unit], progress: Progress | None
) -> list[int]:
    """For each unit the number of the image that excites its map most.

    Args:
        session: The network.
        source: DATA of the command line.
        units: Without positions.
        progress: Is called with (what, done, total).

    Raises:
        BadOption: A unit has a position.
        BadData: There is no such set, or none of its images gives a unit a finite value.
    """
    from convscope.scan.engine import Scan
    from convscope.scan.strongest import strongest

    placed = next((unit for unit in units if unit.position is not None), None)
    if placed is not None:
        raise BadOption(
            f"{placed}: a position belongs to one image; give an image in place of {source}, or "
            f"the feature map {placed.layer}/{placed.channel}"
        )
    layers = {unit.layer: unit.layer for unit in units}
    images, preprocess = session.images(source), session.model.preprocess
    tables = strongest(Scan(session.network, images, preprocess, progress=progress), layers, 1)
    numbers = [int(tables[unit.layer].image[unit.channel, 0]) for unit in units]
    for unit, number in zip(units, numbers, strict=True):
        if number < 0:
            raise BadData(f"{unit}: no image of {source} gives it a finite value")
    return numbers


def is_picture(source: str) -> bool:
    """Whether an IMAGE|DATA of the command line names one image, and not a set of them.

    Args:
        source: The word.
    """
    from convscope.images.arrays import ARRAYS
    from convscope.images.files import EXTENSIONS

    path = Path(source)
    if path.exists():
        return path.is_file() and path.suffix.lower() in EXTENSIONS | ARRAYS
    return "#" in source or path.suffix.lower() in EXTENSIONS | ARRAYS
