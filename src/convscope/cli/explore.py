"""`convscope explore`: a network in the browser, asked while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli.screen import Screen
from convscope.experiments.options import ModelArgument, Reading, Running

__all__ = ["Exploring", "explore"]


@dataclass(frozen=True)
class Exploring:
    """What is served, and where.

    Attributes:
        data: images to choose from.
        atlas: the folder of the network's atlas.
        port: of 127.0.0.1; 0 is a free one.
        no_browser: print the address alone.
    """

    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="Images to choose from, as every verb takes them (docs/how-to/images.md). Without "
            "it, drop pictures on the page.",
            show_default=False,
        ),
    ] = None
    atlas: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The network's atlas, made by `convscope atlas`: its pages are served too, and "
            "each unit links to its own.",
            show_default=False,
        ),
    ] = None
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Of 127.0.0.1; 0: a free one.")
    ] = 0
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, and open no browser.")
    ] = False


def explore(model: ModelArgument, exploring: Exploring, reading: Reading, running: Running) -> None:
    """Look into a network live, in the browser: drop an image and ask.

    Every layer's feature maps light up. Click one to see its projection, its spotlight and what is
    its own; drag an occluder and watch the classes; remove units; let the maps of Fig. 6 fill. The
    first line printed is the address; only who has it is let in, and only from this machine. Ctrl-C
    ends it.

    Examples:

        convscope explore run:runs/demo/zfnet scenes:val --atlas runs/demo/atlas
        convscope explore torchvision:resnet18@resnet18.pth photos --no-browser
    """
    from convscope.explorer.opening import check_explorer_installed, opening

    check_explorer_installed()
    from convscope.explorer.serving import Serving, explore_until_interrupted

    screen = Screen(running.as_json)
    serving = Serving(
        opening(model, exploring.data, reading, running, exploring.atlas),
        exploring.atlas,
        exploring.port,
    )

    def started(address: str, about: dict[str, Any]) -> None:
        screen.say(address)
        screen.facts(about)
        screen.result({"address": address, **about})

    explore_until_interrupted(serving, started, open_browser=not exploring.no_browser)
