"""Saliency and shares beside Captum's: the same numbers, and the time that each takes.

One network, one image, one class, one thread count; rounds take turns. Captum is given the module
with its rectifiers not in place, as its hooks need. Times are medians of the processor's.

    python benchmarks/saliency.py torchvision:squeezenet1_1@WEIGHTS IMAGE
"""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import captum.attr as attr
import measure
import torch
from torch import Tensor, nn

from convscope.experiments.options import Reading, Running
from convscope.experiments.session import Session, open_session
from convscope.methods.project import project_target
from convscope.methods.rules import DEEPLIFT, GRADIENT_X_INPUT
from convscope.methods.saliency import SaliencySettings, saliency
from convscope.methods.scores import score_target

STEPS = 32
HEAD = (
    "method",
    "Convscope, s",
    "Captum, s",
    "times as fast",
    "largest difference, of the largest",
)


def pairs(
    session: Session, module: nn.Module, image: Tensor, target: int
) -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    """By method: ours and Captum's, each from the image to one map or one set of shares."""
    network, images = session.network, image[None]
    layer = network.activation(network.conv_layers()[-1])
    hooked = dict(module.named_modules())[layer]
    score = score_target(network, image, target)

    def ours(method: str, **more: Any) -> Callable[[], Tensor]:
        return lambda: saliency(network, image, target, SaliencySettings(method, **more)).map

    def shares(rules: Any) -> Callable[[], Tensor]:
        return lambda: project_target(network.trace(image), score, rules).projection[0]

    def theirs(made: Any, **more: Any) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with torch.enable_grad():
                given = images.clone().requires_grad_()
                return made.attribute(given, target=target, **more)[0].detach()

        return run

    def over_channels(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: run().amax(0)

    def enlarged(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        size = image.shape[1:]
        return lambda: nn.functional.interpolate(run()[None], size=size, mode="bilinear")[0, 0]

    integrated = theirs(
        attr.IntegratedGradients(module), n_steps=STEPS, method="riemann_middle",
        internal_batch_size=8,
    )  # fmt: skip
    return {
        "gradient": (ours("gradient"), over_channels(theirs(attr.Saliency(module)))),
        f"integrated, {STEPS} steps": (
            ours("integrated", steps=STEPS), lambda: integrated().sum(0)
        ),
        "grad-cam": (
            ours("grad-cam"),
            enlarged(theirs(attr.LayerGradCam(module, hooked), relu_attributions=True)),
        ),
        "gradient x input": (shares(GRADIENT_X_INPUT), theirs(attr.InputXGradient(module))),
        "DeepLIFT": (shares(DEEPLIFT), theirs(attr.DeepLift(module))),
    }  # fmt: skip


def timed(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Seconds of the processor, and what came of it."""
    before = time.process_time()
    found = run()
    return time.process_time() - before, found


def unshared(module: nn.Module) -> nn.Module:
    """A copy whose rectifiers work beside their input, as DeepLift's hooks need."""
    module = copy.deepcopy(module).eval()
    for layer in module.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return module


def main() -> None:
    options = measure.parser(__doc__, rounds=7)
    options.add_argument("model", help="MODEL of the command line")
    options.add_argument("image", help="IMAGE of the command line")
    given = measure.read(options)
    session = open_session(given.model, Reading(), Running())
    _, image = session.input(given.image)
    [scores] = session.network.trace(image)[session.network.output]
    target = int(scores.argmax())
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, both in pairs(session, unshared(session.model.module), image, target).items():
            times: list[list[float]] = [[], []]
            found = [run() for run in both]  # both are warm
            for _ in range(given.rounds):
                for seconds, run in zip(times, both, strict=True):
                    seconds.append(timed(run)[0])
            mine, other = map(statistics.median, times)
            apart = float((found[0] - found[1]).abs().max() / found[1].abs().max())
            rows.append(
                [name, f"{mine:.3f}", f"{other:.3f}", f"{other / mine:.2f}", f"{apart:.1e}"]
            )
            print("  ".join(rows[-1]), flush=True)
    print()
    print(measure.table(HEAD, rows))


if __name__ == "__main__":
    main()
