"""`convscope layers`: what a network is made of."""

from __future__ import annotations

from .inputs import open_microscope
from .options import ModelArgument, Reading, Running
from .screen import Screen

__all__ = ["layers"]


def layers(model: ModelArgument, reading: Reading, running: Running) -> None:
    """List a network's layers: kind, shape, receptive field, stride.

    The receptive field is in image pixels; status says how sure it is: exact, an upper bound,
    or global (the whole image). Names are those that every other verb takes.

    Examples:

        convscope layers zfnet
        convscope layers torchvision:resnet18 --input 3x128x128 --json
    """
    screen = Screen(running.as_json)
    scope = open_microscope(model, reading, running)
    screen.facts(scope.facts())
    screen.say("", *([] if running.as_json else [str(scope.network)]))
    screen.result(scope.network.table())
