"""Renormalisation: its share of a training step (paper §3: filters above an RMS are scaled back).

The cost depends on the filters alone, a step's on the batch: the smaller the batch, the larger the
share. Measured inside the training's own step, for a radius that no filter exceeds, and for one
that every filter exceeds at every step, which is the most that it can cost.
"""

from __future__ import annotations

import time
from dataclasses import replace

import measure
import torch

from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.architectures import architecture_named, build
from convscope.training.pictures import LabelledPictures
from convscope.training.recipe import RECIPES, Recipe
from convscope.training.trainer import Trainer, renormalise
from convscope.training.training_data import TrainingData

CASES = (("zfnet-small", "small"), ("zfnet", "paper"))
NEVER, ALWAYS = 1e6, 1e-6


def teacher(architecture: str, recipe: Recipe, count: int) -> Trainer:
    """A training on random pixels: what is learned does not matter to its speed."""
    wanted = architecture_named(architecture).with_classes(12)
    size = wanted.input_size
    side = round(size / 0.875) if recipe.crops else size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, side, side, 3), generator=generator).byte()
    labels = torch.arange(count) % 12
    names = tuple(f"class {i}" for i in range(12))
    pictures = LabelledPictures(pixels, labels, names, "noise", "0" * 64, ())
    seen = Preprocess(wanted.input_shape, Scaling.PAPER, Fit.STRETCH)
    lesson = TrainingData(pictures, pictures, torch.full((side, side, 3), 128.0), seen)
    network = build(wanted, recipe.initialisation, seed=0)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Trainer(network.train(), lesson, recipe, torch.device("cpu"))


def compare(architecture: str, recipe: Recipe, steps: int) -> list[list[object]]:
    """A line for each radius: step and renormalisation, timed one after the other."""
    learner = teacher(architecture, recipe, recipe.batch_size)
    learner.recipe = replace(recipe, radius=None)  # it is timed by itself
    chosen = torch.arange(recipe.batch_size)
    seconds: dict[str, list[float]] = {"step": [], "never": [], "always": []}
    touched = 0
    for number in range(steps + 1):
        start = time.perf_counter()
        batch = learner.feed.batch(chosen, 1, number)
        learner.step(batch, 1, 0.0)  # rate 0: the weights stay as they are
        stepped = time.perf_counter()
        renormalise(learner.filters, NEVER)
        looked = time.perf_counter()
        filters = [weight.detach().clone() for weight in learner.filters]
        copied = time.perf_counter()
        touched = int(renormalise(filters, ALWAYS))
        done = time.perf_counter()
        if number:  # the first step warms up
            seconds["step"].append(stepped - start)
            seconds["never"].append(looked - stepped)
            seconds["always"].append(done - copied)
    times = {name: measure.Times(tuple(values)) for name, values in seconds.items()}
    name = f"{architecture}, batch {recipe.batch_size}"
    return [
        [f"{name}, no filter above", times["step"], times["never"], _share(times, "never")],
        [f"{name}, all {touched}", times["step"], times["always"], _share(times, "always")],
    ]


def _share(times: dict[str, measure.Times], name: str) -> str:
    """Renormalisation's part of a whole step, in percent."""
    pairs = zip(times[name].seconds, times["step"].seconds, strict=True)
    shares = sorted(100 * a / (a + b) for a, b in pairs)
    return f"{shares[len(shares) // 2]:.2f} % ({shares[0]:.2f} to {shares[-1]:.2f})"


def main() -> None:
    given = measure.read(measure.parser(__doc__, rounds=9))
    rows: list[list[object]] = []
    for architecture, recipe in CASES:
        wanted = RECIPES[recipe]
        if given.quick:
            wanted = replace(wanted, batch_size=8)
        rows += compare(architecture, wanted, given.rounds)
        print(*rows[-2:], sep="\n", flush=True)
    head = ("network, filters scaled back", "the step without it", "renormalisation", "its share")
    measure.report("renormalise", "Renormalisation of filters", measure.table(head, rows),
                   write=not given.quick)  # fmt: skip


if __name__ == "__main__":
    main()
