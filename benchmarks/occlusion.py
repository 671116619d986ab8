"""Occlusion: incremental against the whole network, ours and Captum's.

All alternatives visit the same positions, Captum's: those at which the occluder starts at a
multiple of the stride, up to the one that reaches the far edge (25 x 25 for 224 px, 32/8). Captum
runs on a model as it comes (NCHW), where the batch size is its default of one and the best of
several, and on the model in the channels-last layout, its fastest.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import measure
import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from convscope.geometry.box import Box
from convscope.methods.occluder import Occluder
from convscope.methods.sweep import Sweep, sweep
from convscope.models.zoo import open_model
from convscope.network.local.incremental import IncrementalSweep, Work
from convscope.network.network import Network, open_network

NETWORKS = ("zfnet", "torchvision:vgg16", "torchvision:resnet18", "torchvision:squeezenet1_1")
BATCHES = (1, 8, 16, 32, 64)  # Captum's perturbations_per_eval
OURS, FULL = "convscope, incremental", "convscope, full"


class Inside(Occluder):
    """An occluder that stops at the far edge, as Captum's; ours goes on while it starts inside."""

    def grid(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        rows, columns = (
            torch.arange(-(-(extent - size) // stride) + 1) * stride
            for extent, size, stride in zip((height, width), self.size, self.stride, strict=True)
        )
        return rows, columns


@dataclass(frozen=True, eq=False)
class Case:
    """One network, one image, and the class that Captum asks for."""

    spec: str
    module: nn.Module
    last: nn.Module  # the same in the channels-last layout
    network: Network
    image: Tensor
    target: int

    @classmethod
    def of(cls, spec: str) -> Case:
        model, twin = open_model(spec), open_model(spec)
        scale = 64.0 if spec == "zfnet" else 1.0
        image = measure.noise_images(1, model.input_shape, seed=1, scale=scale)[0].contiguous()
        last = twin.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            target = int(model.module(image[None]).argmax())
        network = open_network(model.module, model.input_shape)
        return cls(spec, model.module, last, network, image, target)

    @property
    def name(self) -> str:
        return self.spec.removeprefix("torchvision:")

    def ours(self, occluder: Occluder, method: str) -> Sweep:
        return sweep(self.network, self.image, occluder, fill=0.0, method=method)

    def captum(self, occluder: Occluder, batch: int, *, channels_last: bool) -> Tensor:
        """The attribution (3, H, W)."""
        image = self.image[None]
        if channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return Occlusion(self.last if channels_last else self.module).attribute(
            image,
            sliding_window_shapes=(3, *occluder.size),
            strides=(3, *occluder.stride),
            baselines=0,
            target=self.target,
            perturbations_per_eval=batch,
        )[0]

    def best_batch(self, occluder: Occluder, batches: tuple[int, ...], channels_last: bool) -> int:
        """The batch at which Captum is fastest, tried with up to twice the stride."""
        rows, columns = (min(2 * n, s) for n, s in zip(occluder.stride, occluder.size, strict=True))
        coarse = Inside(occluder.size, (rows, columns))
        runs = {
            str(batch): lambda batch=batch: self.captum(coarse, batch, channels_last=channels_last)
            for batch in batches
        }
        found = measure.in_turn(runs, 1, warm_up=False)
        layout = "channels last" if channels_last else "NCHW"
        print(f"  Captum {layout}, batch: " + ", ".join(f"{b} {t}" for b, t in found.items()))
        return int(min(found, key=lambda batch: found[batch].median))


def attribution(found: Sweep, occluder: Occluder, target: int) -> Tensor:
    """What Captum makes of a sweep: per pixel, the mean fall of the logit under it, (H, W)."""
    assert found.logits is not None and found.base_logits is not None
    fall = (found.base_logits[target] - found.logits[..., target]).double()
    height, width = (int(starts[-1]) + n for starts, n in zip(
        (found.rows, found.columns), occluder.size, strict=True))  # fmt: skip
    total, count = torch.zeros(2, height, width, dtype=torch.float64)
    for i, j in torch.cartesian_prod(torch.arange(fall.shape[0]), torch.arange(fall.shape[1])):
        box: Box = occluder.box(int(i), int(j))
        total[box.top : box.bottom, box.left : box.right] += fall[i, j]
        count[box.top : box.bottom, box.left : box.right] += 1
    return total / count.clamp(min=1)


def evaluations(case: Case, occluder: Occluder) -> int:
    """How many images Captum runs through the network."""
    seen = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal seen
        seen += len(inputs[0])

    handle = case.module.register_forward_pre_hook(count)
    try:
        case.captum(occluder, 64, channels_last=False)
    finally:
        handle.remove()
    return seen


def agreement(case: Case, occluder: Occluder) -> str:
    """How far the three differ, in words."""
    ours, full = case.ours(occluder, "incremental"), case.ours(occluder, "full")
    assert ours.logits is not None and full.logits is not None
    logits = float((ours.logits - full.logits).abs().max())
    size = float(full.logits.max() - full.logits.min())
    labels = "same" if torch.equal(ours.label(), full.label()) else "DIFFERENT"
    theirs = case.captum(occluder, 32, channels_last=False)[0].double()
    mine = attribution(ours, occluder, case.target)[: theirs.shape[0], : theirs.shape[1]]
    apart = float((mine - theirs).abs().max())
    return (
        f"logits of incremental and full differ by at most {logits:.1e} (they span {size:.2g}), "
        f"{labels} label map; Captum's attribution differs from ours by at most {apart:.1e}"
    )


def work(case: Case, occluder: Occluder) -> Work:
    boxes = occluder.intervals(*case.image.shape[-2:])
    return IncrementalSweep(case.network, boxes, [case.network.output]).work


def compare(case: Case, occluder: Occluder, rounds: int, batches: tuple[int, ...]) -> str:
    """A section's part on one network."""
    count = len(occluder.boxes(*case.image.shape[-2:]))
    print(f"{case.name}, {occluder}, {count} positions", flush=True)
    nchw, last = (case.best_batch(occluder, batches, layout) for layout in (False, True))
    default, users, best = (
        "Captum, NCHW, perturbations_per_eval=1, its default",
        f"Captum, NCHW, perturbations_per_eval={nchw}",
        f"Captum, channels last, perturbations_per_eval={last}",
    )
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: case.ours(occluder, "incremental"),
        FULL: lambda: case.ours(occluder, "full"),
        best: lambda: case.captum(occluder, last, channels_last=True),
        users: lambda: case.captum(occluder, nchw, channels_last=False),
        default: lambda: case.captum(occluder, 1, channels_last=False),
    }
    if nchw == 1:
        del runs[users]
    times = measure.in_turn(runs, rounds, rarely=[default])
    done = work(case, occluder)
    head = (f"{case.name}, {occluder}", "seconds, median (min to max)", "÷ incremental")
    rows = [(name, time, measure.ratio(time, times[OURS])) for name, time in times.items()]
    words = (
        f"{count} positions, {evaluations(case, occluder)} evaluations by Captum; multiply-adds "
        f"executed ÷ exact bound {done.executed / done.exact:.3f}, full ÷ exact "
        f"{done.full / done.exact:.2f}; {agreement(case, occluder)}."
    )
    return f"{measure.table(head, rows)}\n\n{words}"


def main() -> None:
    warnings.filterwarnings("ignore", message="torchvision's compiled operators")
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="MODEL")
    options.add_argument("--occluder", default="32/8", help="SIZE/STRIDE; default 32/8")
    given = measure.read(options)
    size, stride = map(int, given.occluder.split("/"))
    batches = (1, 8) if given.quick else BATCHES
    occluder = Inside(size, 32 if given.quick else stride)
    for spec in given.networks:
        case = Case.of(spec)
        part = compare(case, occluder, given.rounds, batches)
        title = f"Occlusion, {case.name}, {size}/{stride}"
        name = f"occlusion {case.name} {size}/{stride}"
        measure.report(name, title, part, write=not given.quick)


if __name__ == "__main__":
    main()
