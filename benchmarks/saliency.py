"""Saliency, shares and guided pictures beside Captum, zennit and pytorch-grad-cam: values and time.

One network, one image, one class; all take turns. Each peer works on a copy of the module whose
rectifiers are not in place, as hooks need, once as it is and once with the channels last in memory;
the faster one counts. Times are of the processor. Occlusion has a benchmark of its own. It needs
`pip install grad-cam` beside the extra "bench".

    python benchmarks/saliency.py torchvision:squeezenet1_1@WEIGHTS IMAGE --threads 1
"""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import captum.attr as attr
import measure
import torch
from torch import Tensor, nn

from convscope.experiments.options import Reading, Running
from convscope.experiments.session import Session, open_session
from convscope.images.torchvision_import import import_torchvision
from convscope.methods.project import project_target
from convscope.methods.rules import (
    DECONVNET,
    DEEPLIFT,
    GRADIENT_X_INPUT,
    GUIDED,
    LRP_EPSILON,
    LRP_GAMMA,
    Rules,
)
from convscope.methods.saliency import SaliencySettings, saliency
from convscope.methods.scores import score_target

import_torchvision()  # which both peers import; ours does without some of its parts

import pytorch_grad_cam as cam  # noqa: E402
import zennit.attribution as zennit  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402
from zennit.composites import DeconvNet, GuidedBackprop, LayerMapComposite  # noqa: E402
from zennit.layer import Sum  # noqa: E402
from zennit.rules import Epsilon, Gamma, Norm, Pass  # noqa: E402
from zennit.torchvision import ResNetCanonizer  # noqa: E402
from zennit.types import Activation, AvgPool, Convolution, Linear  # noqa: E402

STEPS = 8  # of integrated gradients; images of SmoothGrad
NOISE = 0.15  # of SmoothGrad, of the range of the image
PEERS = ("Captum", "zennit", "pytorch-grad-cam")
NHWC, NCHW = torch.channels_last, torch.contiguous_format

Run = Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class Peer:
    """A module as the peers take it, and what is asked of it."""

    module: nn.Module
    image: Tensor
    target: int
    layer: str

    def captum(self, made: Any, **more: Any) -> Run:
        """One image's attribution by Captum, (C, H, W)."""

        def run() -> Tensor:
            found = made.attribute(self._input(), target=self.target, **more)
            if more.get("return_convergence_delta"):
                found = found[0]
            image: Tensor = found[0]
            return image.detach()

        return run

    def zennit(self, composite: Any, relevance: bool = False, **more: Any) -> Run:
        """The same by zennit: of a score's gradient, or of the score as relevance."""

        def start(output: Tensor) -> Tensor:
            chosen = torch.zeros_like(output)
            chosen[:, self.target] = output.detach()[:, self.target] if relevance else 1.0
            return chosen

        made = more.pop("made", zennit.Gradient)

        def run() -> Tensor:
            with made(self.module, composite, attr_output=start, **more) as attributor:
                found: Tensor = attributor(self._input(), start)[1]
            return found[0].detach()

        return run

    def grad_cam(self) -> Run:
        """The map of pytorch-grad-cam, scaled to 0..1 as it always is."""
        made = cam.GradCAM(self.module, [dict(self.module.named_modules())[self.layer]])
        wanted = [ClassifierOutputTarget(self.target)]
        return lambda: torch.from_numpy(made(self._input(), wanted)[0])

    def guided(self) -> Run:
        """Guided backpropagation of pytorch-grad-cam."""
        made = cam.GuidedBackpropReLUModel(self.module, torch.device("cpu"))
        return lambda: torch.from_numpy(made(self._input(), self.target)).permute(2, 0, 1)

    def hooked(self) -> nn.Module:
        """The layer of grad-CAM."""
        return dict(self.module.named_modules())[self.layer]

    def _input(self) -> Tensor:
        return self.image.clone().requires_grad_()


def ours(session: Session, image: Tensor, target: int) -> dict[str, Run]:
    """By method: from the image to one map, or one set of shares."""
    network, score = session.network, score_target(session.network, image, target)

    def mapped(method: str, **more: Any) -> Run:
        return lambda: saliency(network, image, target, SaliencySettings(method, **more)).map

    def walked(rules: Rules) -> Run:
        return lambda: project_target(network.trace(image), score, rules).projection[0]

    return {
        "gradient": mapped("gradient"),
        f"SmoothGrad, {STEPS} images": mapped("smooth", copies=STEPS, noise=NOISE),
        f"integrated gradients, {STEPS} steps": mapped("integrated", steps=STEPS),
        "grad-CAM": mapped("grad-cam"),
        "guided backpropagation": walked(GUIDED),
        "deconvnet": walked(DECONVNET),
        "gradient × input": walked(GRADIENT_X_INPUT),
        "DeepLIFT": walked(DEEPLIFT),
        "LRP-ε": walked(LRP_EPSILON),
        "LRP-γ": walked(LRP_GAMMA),
    }


def theirs(peer: Peer) -> dict[str, dict[str, Run]]:
    """By method and peer, the same; only what has the same name and meaning."""
    module, image, size = peer.module, peer.image, peer.image.shape[-2:]
    alone, another, third = (replace(peer, module=copy.deepcopy(module)) for _ in range(3))
    span = float(image.max() - image.min())

    def largest(run: Run) -> Run:
        return lambda: run().abs().amax(0)

    def summed(run: Run) -> Run:
        return lambda: run().sum(0)

    def enlarged(run: Run) -> Run:
        return lambda: nn.functional.interpolate(run()[None], size=size, mode="bilinear")[0, 0]

    def times_image(run: Run) -> Run:
        return lambda: run() * image[0]

    noisy = attr.NoiseTunnel(attr.Saliency(module))

    def lrp(convolution: Any) -> LayerMapComposite:
        layers = [(Activation, Pass()), (AvgPool, Norm()), (Sum, Norm()),
                  (Convolution, convolution),  # of two that fit, the first
                  (Linear, Epsilon(1e-6))]  # fmt: skip
        return LayerMapComposite(layers, canonizers=[ResNetCanonizer()])

    return {
        "gradient": {
            "Captum": largest(peer.captum(attr.Saliency(module))),
            "zennit": largest(peer.zennit(None)),
        },
        f"SmoothGrad, {STEPS} images": {
            "Captum": largest(peer.captum(
                noisy, nt_samples=STEPS, nt_samples_batch_size=8, nt_type="smoothgrad",
                stdevs=NOISE * span, abs=False,
            )),
            "zennit": largest(peer.zennit(
                None, made=zennit.SmoothGrad, noise_level=NOISE, n_iter=STEPS
            )),
        },
        f"integrated gradients, {STEPS} steps": {
            "Captum": summed(peer.captum(
                attr.IntegratedGradients(module), n_steps=STEPS, method="riemann_middle",
                internal_batch_size=8, return_convergence_delta=True,  # as ours says what is missed
            )),
        },
        "grad-CAM": {
            "Captum": enlarged(peer.captum(
                attr.LayerGradCam(module, peer.hooked()), relu_attributions=True
            )),
            "pytorch-grad-cam": peer.grad_cam(),
        },
        "guided backpropagation": {
            "Captum": peer.captum(attr.GuidedBackprop(module)),
            "zennit": peer.zennit(GuidedBackprop()),
            "pytorch-grad-cam": third.guided(),  # which puts other rectifiers in place
        },
        "deconvnet": {
            "Captum": peer.captum(attr.Deconvolution(module)),
            "zennit": peer.zennit(DeconvNet()),
        },
        "gradient × input": {
            "Captum": peer.captum(attr.InputXGradient(module)),
            "zennit": times_image(peer.zennit(None)),
        },
        "DeepLIFT": {"Captum": alone.captum(attr.DeepLift(alone.module))},
        "LRP-ε": {
            "Captum": another.captum(attr.LRP(another.module)),
            "zennit": peer.zennit(lrp(Epsilon(1e-6)), relevance=True),
        },
        "LRP-γ": {"zennit": peer.zennit(lrp(Gamma(stabilizer=1e-9)), relevance=True)},
    }  # fmt: skip


def seconds(run: Run) -> float:
    """Of the processor."""
    before = time.process_time()
    run()
    return time.process_time() - before


def timed(mine: Run, others: Mapping[str, Sequence[Run]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, in turn; "" is ours. Of several runs of a peer the faster counts."""
    runs = {("", 0): mine} | {
        (name, i): run for name, each in others.items() for i, run in enumerate(each)
    }
    found: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            found[key].append(seconds(run))
    return {
        name: min(
            (times for (each, _), times in found.items() if each == name), key=statistics.median
        )
        for name in ("", *others)
    }


def agreement(mine: Tensor, other: Tensor) -> str:
    """The largest difference, of the largest value of each; Pearson's r where it is no rounding."""
    one, two = (each.double() / each.abs().max() for each in (mine, other.reshape(mine.shape)))
    apart = float((one - two).abs().max())
    if apart < 1e-3:
        return f"{apart:.0e}"
    return f"r {float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]):.3f}"


def unshared(module: nn.Module) -> nn.Module:
    """A copy whose rectifiers work beside their input, as hooks need."""
    module = copy.deepcopy(module).eval()
    for layer in module.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return module


def row(name: str, mine: Run, others: Mapping[str, Sequence[Run]], rounds: int) -> list[str]:
    """A method: our time, and of each peer its time as a multiple of ours and how it agrees."""
    result, cells, able = mine(), {}, {}
    for peer, runs in others.items():
        try:
            cells[peer] = agreement(result, [run() for run in runs][-1])  # all are warm
            able[peer] = runs
        except Exception as error:  # what a peer cannot do is said, and no bar to the others
            words = str(error).split("\n")[0]
            cells[peer] = f"fails: {type(error).__name__}: {words[:60]}"
    times = timed(mine, able, rounds)
    for peer in able:
        ratios = [other / own for own, other in zip(times[""], times[peer], strict=True)]
        middle = statistics.median(times[peer])
        spread = f"{min(ratios):.2g} to {max(ratios):.2g}"
        said = f"{middle:.3f} s, {statistics.median(ratios):.2f}× ({spread}); {cells[peer]}"
        cells[peer] = said
    own = f"{statistics.median(times['']):.3f} s"
    return [name, own, *(cells.get(peer, "–") for peer in PEERS)]


def main() -> None:
    options = measure.parser(__doc__, rounds=7)
    options.add_argument("model", help="MODEL of the command line")
    options.add_argument("image", help="IMAGE of the command line")
    given = measure.read(options)
    session = open_session(given.model, Reading(), Running())
    _, image = session.input(given.image)
    [scores] = session.network.trace(image)[session.network.output]
    target, layer = int(scores.argmax()), session.network.conv_layers()[-1]
    peers = []
    for layout in (NCHW, NHWC):
        module = unshared(session.model.module).to(memory_format=layout)  # type: ignore[call-overload]
        batch = image[None].contiguous(memory_format=layout)
        peers.append(theirs(Peer(module, batch, target, session.network.activation(layer))))
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, mine in ours(session, image, target).items():
            others = {each: [peer[name][each] for peer in peers] for each in peers[0][name]}
            rows.append(row(name, mine, others, given.rounds))
            print("  ".join(rows[-1]), flush=True)
    called = given.model.partition("@")[0].partition(":")[2] or given.model
    measure.report(
        f"saliency {called}",
        f"One class of one image, by every method, {called}",
        measure.table(("method", "Convscope", *PEERS), rows)
        + "\n\nSeconds of the processor, medians; × is the peer's time ÷ ours, round by round, its "
        "median and range: above 1 ours is faster. Each peer in the memory layout that suits it "
        "better. Then the largest difference from ours, both divided by their largest value; where "
        "that is no rounding, Pearson's r (SmoothGrad draws its noise anew).",
        write=not given.quick,
    )


if __name__ == "__main__":
    main()
