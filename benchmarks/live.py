"""Live questions: how long one waits for an answer, in process, beside doing the same by Captum.

What is asked of one image whose activations are there: a move of an occluder, a projection from a
middle and from the last layer, the first picture of Fig. 6. And a new image: every layer's maps.
The peers answer each question from the start, as there is nothing that they keep: Captum's
`FeatureAblation` of the one box and the bare module on the covered image; `NeuronDeconvolution`;
`Occlusion` over the places of the first picture with its best batch. All of them on the module in
the channels-last layout, their fastest. `sweep` is our own, with base and plan anew.

The processor's time is told beside the clock's, which other programs disturb.
"""

from __future__ import annotations

import random
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import measure
import torch
from captum.attr import FeatureAblation, NeuronDeconvolution, Occlusion
from PIL import Image
from torch import Tensor, nn

from convscope.geometry.box import Box
from convscope.live.coarse_to_fine import coarse_to_fine
from convscope.live.looking import Look
from convscope.live.network import LiveNetwork
from convscope.methods.occluder import Occluder, covered
from convscope.methods.sweep import sweep
from convscope.models.zoo import open_model

NETWORKS = ("torchvision:resnet18", "torchvision:squeezenet1_1")
SIDE = 32
BUDGETS = {"look": 300, "move": 80, "project": 150, "first picture": 1000}  # ms
BATCHES = (1, 8, 16, 32)  # Captum's perturbations_per_eval


class Placed(Occluder):
    """An occluder at one place."""

    def __init__(self, box: Box) -> None:
        super().__init__((box.height, box.width), 1)
        object.__setattr__(self, "place", (box.top, box.left))

    def grid(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        top, left = self.place  # type: ignore[attr-defined]
        return torch.tensor([top]), torch.tensor([left])


@dataclass(frozen=True, eq=False)
class Case:
    """One network and one image, asked in both ways."""

    spec: str
    module: nn.Module  # channels last
    live: LiveNetwork
    key: str
    image: Tensor  # (1, 3, H, W), channels last
    look: Look

    @classmethod
    def of(cls, spec: str, photograph: Path | None) -> Case:
        model, twin = open_model(spec), open_model(spec)
        live = LiveNetwork.of_model(model)
        live.warm_up()
        if photograph is None:
            noise = measure.noise_images(1, model.input_shape, seed=1)
            picture = Image.fromarray(model.preprocess.to_uint8(noise / 64)[0])
        else:
            picture = Image.open(photograph).convert("RGB")
        key = live.add(picture)
        image = model.preprocess.tensor(picture)[None]
        image = image.contiguous(memory_format=torch.channels_last)
        module = twin.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(spec, module, live, key, image, live.look(key))

    @property
    def name(self) -> str:
        return self.spec.removeprefix("torchvision:").partition("@")[0]

    def unit(self, share: float) -> str:
        """The strongest unit of a layer so far up among those with maps."""
        layers = [layer for layer in self.look.layers if layer.grid != (1, 1)]
        return str(layers[round(share * (len(layers) - 1))].maps[0].unit)

    def bare(self, box: Box) -> None:
        with torch.no_grad():
            self.module(covered(self.image[0], [box], 0.0).contiguous(
                memory_format=torch.channels_last
            ))  # fmt: skip

    def ablation(self, box: Box, target: int) -> None:
        mask = torch.zeros(1, 1, *self.image.shape[-2:], dtype=torch.long)
        mask[..., box.top : box.bottom, box.left : box.right] = 1
        FeatureAblation(self.module).attribute(
            self.image, baselines=0, target=target, feature_mask=mask
        )

    def occlusion(self, batch: int, target: int) -> None:
        """Captum over the places of the first picture."""
        Occlusion(self.module).attribute(
            self.image, sliding_window_shapes=(3, SIDE, SIDE), strides=(3, SIDE, SIDE),
            baselines=0, target=target, perturbations_per_eval=batch,
        )  # fmt: skip

    def deconvolution(self, unit: str) -> Callable[[Box], object]:
        """Captum's projection of a unit, through the module that the layer is named after."""
        found = self.live.network.unit(unit)
        layer = self.module.get_submodule(found.layer.partition(":")[0])
        neuron = (found.channel, *(found.position or ()))
        return lambda _: NeuronDeconvolution(self.module, layer).attribute(
            self.image.clone().requires_grad_(), neuron
        )

    def fresh_look(self) -> None:
        self.live._engine.kept.forget(self.key)
        self.live.look(self.key)

    def first_picture(self) -> None:
        figure = self.live.sweep(self.key, size=SIDE, stride=SIDE // 4, fill=0.0)
        _, (down, across) = next(coarse_to_fine(len(figure.rows), len(figure.columns)))
        for part in figure:
            if part.done >= len(down) * len(across):
                break


Runs = Mapping[str, Callable[[Box], object]]


def in_turn(runs: Runs, boxes: list[Box]) -> dict[str, tuple[measure.Times, measure.Times]]:
    """Every alternative for every box, in turn: the clock's time and the processor's."""
    for run in runs.values():
        run(boxes[0])
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    order = list(runs)
    for number, box in enumerate(boxes):
        first = number % len(order)
        for name in order[first:] + order[:first]:
            clock, processor = time.perf_counter(), time.process_time()
            runs[name](box)
            took = time.perf_counter() - clock, time.process_time() - processor
            found[name].append(took)
    return {
        name: (measure.Times(tuple(c for c, _ in all_)), measure.Times(tuple(p for _, p in all_)))
        for name, all_ in found.items()
    }


def rows(question: str, times: dict[str, tuple[measure.Times, measure.Times]]) -> list[list[str]]:
    """A question's rows: the first alternative is ours, and the others are divided by it."""
    made = []
    ours = next(iter(times.values()))
    for name, (clock, processor) in times.items():
        late = statistics.quantiles(clock.seconds, n=20)[-1] if len(clock.seconds) > 2 else 0.0
        made.append([
            question, name, f"{1e3 * processor.median:.1f}", f"{1e3 * clock.median:.1f}",
            f"{1e3 * late:.1f}", f"{processor.median / ours[1].median:.1f}",
        ])  # fmt: skip
    return made


def possible(runs: dict[str, Callable[[Box], object]], box: Box) -> dict[str, str]:
    """Take out what fails, with what it said."""
    failed = {}
    for name, run in list(runs.items()):
        try:
            run(box)
        except Exception as error:  # a peer's, of any kind
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            del runs[name]
    return failed


def compare(case: Case, rounds: int) -> str:
    """A section's part on one network."""
    live, key = case.live, case.key
    target = case.look.answer.top
    assert target is not None
    chance = random.Random(0)
    height, width = live.network.input_shape[-2:]
    boxes = [
        live.box_at((chance.randrange(height), chance.randrange(width)), SIDE).clip(height, width)
        for _ in range(rounds)
    ]
    last, middle = case.unit(1.0), case.unit(0.5)
    questions: dict[str, dict[str, Callable[[Box], object]]] = {
        "move": {
            "live": lambda box: live.occlude(key, box, fill=0.0, units=[last]),
            "one covered image through the module": case.bare,
            "Captum FeatureAblation": lambda box: case.ablation(box, target),
            "convscope sweep": lambda box: sweep(
                live.network, case.image[0], Placed(box), fill=0.0
            ),
        },
        f"project {middle}": {
            "live": lambda _: live.project(key, middle),
            "Captum NeuronDeconvolution": case.deconvolution(middle),
        },
        f"project {last}": {
            "live": lambda _: live.project(key, last),
            "Captum NeuronDeconvolution": case.deconvolution(last),
        },
        "look": {
            "live": lambda _: case.fresh_look(),
            "one image through the module": lambda _: case.bare(Box(0, 0, 1, 1)),
        },
        "first picture": {
            "live": lambda _: case.first_picture(),
            **{
                f"Captum Occlusion, as many places, batch {batch}": (
                    lambda _, batch=batch: case.occlusion(batch, target)  # type: ignore[misc]
                )
                for batch in BATCHES
            },
        },
    }
    made, notes = [], []
    for question, runs in questions.items():
        failed = possible(runs, boxes[0])
        notes += [f"{question}, {name}: {said}" for name, said in failed.items()]
        few = boxes[: max(3, len(boxes) // 8)] if question == "first picture" else boxes
        times = in_turn(runs, few)
        if question == "first picture":  # Captum at its best batch
            best = min(list(times)[1:], key=lambda name: times[name][1].median)
            times = {name: times[name] for name in ("live", best)}
        made += rows(question, times)
        print(measure.table(HEAD, rows(question, times)), flush=True)
    body = measure.table(HEAD, made)
    shares = [live.occlude(key, box).share for box in boxes]
    words = (
        f"Budgets on two idle cores, ms by the clock: {BUDGETS}. A move runs "
        f"{statistics.mean(shares):.2f} of the network's multiply-adds on average. Captum's "
        f"`Occlusion` visits {-((-height // SIDE) ** 2)} places, the first picture 49."
    )
    return "\n\n".join([body, words, *notes])


HEAD = (
    "question", "by", "processor, ms", "clock, ms", "clock, 95 of 100", "÷ ours, processor"
)  # fmt: skip


def main() -> None:
    warnings.filterwarnings("ignore")
    options = measure.parser(__doc__, rounds=60)
    options.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="MODEL")
    options.add_argument("--photograph", type=Path, default=None, help="default: noise")
    given = measure.read(options)
    for spec in given.networks:
        case = Case.of(spec, given.photograph)
        part = compare(case, 3 if given.quick else given.rounds)
        measure.report(f"live {case.name}", f"Live, {case.name}", part, write=not given.quick)


if __name__ == "__main__":
    main()
