"""Optimised pictures: seconds per unit, against Lucent's loop with the same steps and canvas.

Lucent runs as its users run it, one unit at a time on the whole network, which enlarges small
canvases to 224 px; and at its best: 8 units in one batch, the canvas left as it is, the network cut
off above the layer. Both optimise the same parametrisation, by the same optimiser, under their own
default transforms. Weights are random: the time does not depend on them.

Lucent is not among the benchmarks' packages, as it needs an old kornia:
`pip install --no-deps torch-lucent==0.1.8 kornia==0.4.1 kornia_rs decorator tqdm`, and IPython.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import measure
import torch
from torch import nn

from convscope.images.torchvision_import import import_torchvision
from convscope.methods.ascent.loop import AscentSettings, maximise
from convscope.methods.ascent.parametrisations import Canvas
from convscope.network.network import Network, open_network

SHAPE = (3, 224, 224)
LAYERS = (4, 6, 9)
"""Fire modules, whose 3 x 3 expansion's maps are optimised."""
UNITS = 8


def ours(network: Network, layer: str, steps: int) -> Callable[[], object]:
    canvas = Canvas(torch.full(SHAPE, -2.0), torch.full(SHAPE, 2.0))
    settings = AscentSettings(steps=steps)
    return lambda: maximise(network, layer, range(UNITS), canvas, settings)


def lucents(
    module: nn.Module, layer: str, side: int, steps: int, *, best: bool
) -> Callable[[], object]:
    """Lucent's loop over the same units: one after the other, or together."""
    from lucent.optvis import objectives, param, render

    batches = [range(UNITS)] if best else [[unit] for unit in range(UNITS)]

    def run() -> None:
        for batch in batches:
            objective = sum(objectives.neuron(layer, unit, batch=i) for i, unit in enumerate(batch))
            render.render_vis(
                module, objective,
                param_f=lambda batch=batch: param.image(side, batch=len(batch)),
                thresholds=(steps,), progress=False, show_image=False,
                fixed_image_size=side if best else None,
            )  # fmt: skip

    return run


def main(argv: list[str] | None = None) -> None:
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--steps", type=int, default=32, help="of the ascent (default: 32)")
    given = measure.read(options, argv)
    warnings.simplefilter("ignore")
    fresh = import_torchvision().models.squeezenet1_1
    network = open_network(fresh(weights=None).eval(), SHAPE)
    rows = []
    for number in LAYERS:
        layer = f"features.{number}.expand3x3"
        side = network.layer(layer).field.size[0]
        module, cut = fresh(weights=None).eval(), nn.Sequential()
        cut.features = fresh(weights=None).features[: number + 1].eval()
        found = measure.in_turn(
            {
                "ours": ours(network, layer, given.steps),
                "best": lucents(cut, layer.replace(".", "_"), side, given.steps, best=True),
                "users": lucents(module, layer.replace(".", "_"), side, given.steps, best=False),
            },
            given.rounds,
        )
        per_unit = {name: times.per(UNITS) for name, times in found.items()}
        rows.append(
            (
                layer, f"{side} px", per_unit["ours"],
                f"{per_unit['users']}, {measure.ratio(found['users'], found['ours'])}",
                f"{per_unit['best']}, {measure.ratio(found['best'], found['ours'])}",
            )
        )  # fmt: skip
    head = ("layer", "canvas", "ours", "Lucent as its users run it", "Lucent at its best")
    words = f"Per unit, {given.steps} steps, {UNITS} units of SqueezeNet 1.1; × is theirs ÷ ours."
    body = f"{measure.table(head, rows)}\n\n{words}"
    measure.report("visualize", "Optimised pictures", body, write=not given.quick)


if __name__ == "__main__":
    main()
