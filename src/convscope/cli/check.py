"""`convscope check`: how far the picture of a unit can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.screen import Screen
from convscope.experiments.options import (
    ModelArgument,
    Reading,
    RulesName,
    RulesOption,
    Running,
    UnitsArgument,
)
from convscope.experiments.session import open_session

if TYPE_CHECKING:
    from convscope.experiments.checking import CheckedUnit

__all__ = ["Checking", "check"]


@dataclass(frozen=True)
class Checking:
    """Which units' pictures are checked, by which method they are made, and how carefully.

    Attributes:
        units: their addresses.
        rules: the method of projection.
        shifts: moved masks that stand for chance.
        draws: how often the unit's own weights are drawn anew.
    """

    units: UnitsArgument
    rules: RulesOption = RulesName.DECONVNET
    shifts: Annotated[
        int, typer.Option(min=2, metavar="N", help="Moved masks that stand for chance.")
    ] = 20
    draws: Annotated[
        int, typer.Option(min=1, metavar="N", help="How often the unit's own weights are redrawn.")
    ] = 3


def check(
    model: ModelArgument,
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|DATA",
            help="An image (a file, or DATA#NAME), or a set of images: each unit is then seen in "
            "the one that excites it most.",
            show_default=False,
        ),
    ],
    checking: Checking,
    reading: Reading,
    running: Running,
) -> None:
    """Say how far the projection of a unit can be trusted.

    Three numbers, each against chance. Place: does the unit fall more when what the picture marks
    is covered than when other places are, and more than by a disc in the centre? Specific: is the
    picture another one than those of other strong units of the position? Own weights: does it
    change when the unit's own block of weights is drawn anew?

    Examples:

        convscope check run:runs/demo/zfnet dog.jpg conv5/12 conv3/7@4,9
        convscope check torchvision:alexnet photos/ features.10/17 --rules gradient --json
    """
    screen = Screen(running.as_json)
    session = open_session(model, reading, running)
    from convscope.experiments.checking import check_units
    from convscope.methods.checks import CheckSettings
    from convscope.methods.rules import rules_named

    screen.facts({**session.facts(), "images": image, "rules": checking.rules})
    settings = CheckSettings(shifts=checking.shifts, draws=checking.draws, seed=running.seed)
    with screen.progress() as progress:
        found = check_units(
            session, image, checking.units, rules_named(checking.rules), settings, progress
        )
    for one in found:
        screen.say("", *_lines(one))
    units = [one.to_dict() for one in found]
    screen.result({**session.record(), "rules": checking.rules, "units": units})


def _lines(one: CheckedUnit) -> list[str]:
    """What was measured of one unit, for a person."""
    trust = one.trust
    lines = [f"{trust.unit}  activation {trust.activation:.5g} in {one.image}"]
    if trust.place is not None:
        above = trust.place.above
        lines.append(
            f"  place        {_number(above)}   centred disc {trust.place.disc:+.2f}   "
            f"masks elsewhere that do as well {trust.place.p:.2f}"
        )
    if trust.specific is not None:
        others = f"{len(trust.neighbours)} other units of the position"
        lines.append(f"  specific     {_number(trust.specific)}   against {others}")
    if trust.own_weights is not None:
        lines.append(f"  own weights  {_number(trust.own_weights)}")
    return [*lines, f"  {trust.sentence}"]


def _number(value: Any) -> str:
    interval = "" if value.low is None else f" [{value.low:+.2f}, {value.high:+.2f}]"
    return f"{value.mean:+.2f}{interval}"
