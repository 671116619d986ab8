"""`convscope verify`: whether a finished atlas is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.screen import Screen

__all__ = ["verify"]

FAILED = 1


def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A finished atlas.", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON to stdout.")
    ] = False,
) -> None:
    """Check that a finished atlas is whole, file by file.

    Every file is compared with its checksum, every table with what it may hold, and every sheet
    with the size that its layer asks for. Exit code 0: it is whole; 1: each damaged file is named
    in a line; 2: there is no finished atlas.

    Examples:

        convscope verify atlas
        convscope verify atlas --json
    """
    from convscope.atlas.verify import verify as verify_atlas

    screen = Screen(as_json)
    verified = verify_atlas(folder)
    screen.say(*verified.words())
    for each in verified.damaged:
        screen.warn(f"{folder / each.name}: {each.reason}")
    screen.result(verified.to_dict())
    if verified.damaged:
        raise typer.Exit(FAILED)
