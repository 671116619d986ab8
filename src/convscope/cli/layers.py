"""`convscope layers`: what a network is made of."""

from __future__ import annotations

from dataclasses import replace

from convscope.cli.screen import Screen
from convscope.experiments.options import ModelArgument, Reading, Running
from convscope.experiments.session import open_session

__all__ = ["layers"]


def layers(model: ModelArgument, reading: Reading, running: Running) -> None:
    """List a network's layers: kind, shape, receptive field, stride.

    The receptive field is in image pixels; status says how sure it is: exact, an upper bound,
    or global (the whole image). Names are those that every other verb takes. The lines deconvnet
    and pictures say what its projections do at nonlinear layers, and which do not depend on the
    image (docs/rules.md).

    Examples:

        convscope layers zfnet
        convscope layers torchvision:resnet18 --input 3x128x128 --json
    """
    screen = Screen(running.as_json)
    if reading.input is not None and reading.preprocess is None:
        reading = replace(reading, preprocess="unit")  # no image will be looked at
    session = open_session(model, reading, running)
    size = "×".join(map(str, session.model.input_shape))
    from convscope.methods.dependence import about_bends, about_images
    from convscope.methods.rules import DECONVNET

    network = session.network
    facts = {**session.facts(), "input": size, "deconvnet": about_bends(network)}
    same_for_all = about_images(
        network, [layer.name for layer in network.layers if layer.real], DECONVNET
    )
    screen.facts({**facts, "pictures": same_for_all} if same_for_all else facts)
    screen.say("", *([] if running.as_json else [str(network)]))
    screen.result(network.table())
