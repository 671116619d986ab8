"""Training, end to end: Convscope's pipeline beside the torchvision reference loop's way.

The reference reads JPEG files in DataLoader workers, a picture at a time: Resize, RandomCrop,
RandomHorizontalFlip, ToTensor, Normalize, as torchvision's own training script does. Convscope
decodes once (that time is stated) and crops bytes, in a thread, ahead of the network. Same network,
same start, same optimiser, same crops in kind; a round is an epoch of each, in turn, so both have
learned from equally many pictures when their accuracy is compared.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import measure
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.images.datasets import open_images
from convscope.images.torchvision_import import import_torchvision
from convscope.models.architectures import Convnet, architecture_named, build
from convscope.scenes.render import CLASSES, SceneSpec, Split, render_many
from convscope.training.evaluation import evaluate
from convscope.training.recipe import PHOTOS, Recipe
from convscope.training.trainer import Trainer
from convscope.training.training_data import TrainingData, load_training_data

NETWORK = "zfnet-small"


def class_folders(folder: Path, split: Split, count: int, side: int) -> Path:
    """Rendered scenes as JPEG files, a folder per class: to decode them is part of the work."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    pixels, labels = render_many(SceneSpec(split, size=side), range(count), workers=_cores())
    for index, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / CLASSES[int(label)] / f"{index:05}.jpg"
        Image.fromarray(picture).save(path, quality=90)
    return folder


class Ours:
    """A Trainer, epoch after epoch."""

    def __init__(self, lesson: TrainingData, recipe: Recipe) -> None:
        network = fresh(lesson).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = Trainer(network, lesson, recipe, torch.device("cpu"))
        self.network, self.recipe, self.epoch = network, recipe, 0

    def learn(self) -> None:
        self.epoch += 1
        self.network.train()
        feed = self.teacher.feed
        for batch in feed.epoch(self.epoch):
            step = (self.epoch - 1) * feed.steps + batch.place
            rate = self.recipe.rate(step, feed.steps * self.recipe.epochs, [])
            self.teacher.step(batch, self.epoch, rate)

    def feed(self) -> None:
        """The pictures alone."""
        self.epoch += 1
        for batch in self.teacher.feed.epoch(self.epoch):
            self.teacher.feed.images(batch)


class Reference:
    """The loop of torchvision's references/classification/train.py, in its essentials."""

    def __init__(self, folder: Path, lesson: TrainingData, recipe: Recipe, workers: int) -> None:
        import_torchvision()
        from torchvision import datasets, transforms

        size, side = lesson.preprocess.shape[1], lesson.mean.shape[0]
        mean = (lesson.mean.mean((0, 1)) / 255).tolist()
        steps = [
            transforms.Resize(side),
            transforms.RandomCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, [1 / 255] * 3),  # the network wants pixels of 0..255
        ]
        images = datasets.ImageFolder(str(folder), transforms.Compose(steps))
        self.loader = torch.utils.data.DataLoader(
            images, recipe.batch_size, shuffle=True, num_workers=workers,
            persistent_workers=True, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        self.network, self.recipe, self.taken = fresh(lesson), recipe, 0
        self.optimiser = torch.optim.SGD(
            self.network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )  # fmt: skip

    def learn(self) -> None:
        self.network.train()
        for images, labels in self.loader:
            rate = self.recipe.rate(self.taken, len(self.loader) * self.recipe.epochs, [])
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.taken += 1
            loss = F.cross_entropy(self.network(images), labels)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            loss.item()  # which the reference logs

    def feed(self) -> None:
        """The pictures alone."""
        for _ in self.loader:
            pass


def fresh(lesson: TrainingData) -> Convnet:
    """The same start for both."""
    architecture = architecture_named(NETWORK).with_classes(len(lesson.pictures.classes))
    return build(architecture, PHOTOS.initialisation, seed=0)


def accuracy(network: nn.Module, lesson: TrainingData, mean: Tensor) -> str:
    scores = evaluate(network, lesson.validation, mean, lesson.preprocess.shape[1])
    return f"{scores.top1:.1%}"


def rows_of(
    ours: Ours, theirs: Reference, count: int, rounds: int
) -> Iterator[tuple[str, measure.Times, measure.Times]]:
    pairs: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "end to end": (ours.learn, theirs.learn),
        "the pictures alone": (ours.feed, theirs.feed),
    }
    for name, (mine, other) in pairs.items():
        # nothing is warmed up: every epoch counts for the accuracy; workers start in the first
        found = measure.in_turn({"ours": mine, "theirs": other}, rounds, warm_up=False)
        print(name, *found.items(), sep="\n", flush=True)
        yield name, found["ours"].per(count), found["theirs"].per(count)


def main() -> None:
    options = measure.parser(__doc__, rounds=6)
    options.add_argument("--count", type=int, default=2400, help="pictures to learn from")
    options.add_argument("--side", type=int, default=400, help="of the JPEG files; default 400, "
                         "about ImageNet's average")  # fmt: skip
    options.add_argument("--workers", type=int, default=2, help="the reference's; default 2")
    given = measure.read(options)
    count = 128 if given.quick else given.count
    recipe = replace(PHOTOS, epochs=given.rounds)
    with tempfile.TemporaryDirectory() as place:
        folder = class_folders(Path(place) / "train", Split.TRAIN, count, given.side)
        tests = class_folders(Path(place) / "val", Split.VAL, max(count // 4, 24), given.side)
        started = time.perf_counter()
        lesson = load_training_data(
            architecture_named(NETWORK), open_images(folder), open_images(tests), recipe,
            workers=_cores(),
        )  # fmt: skip
        decoded = (time.perf_counter() - started) / (len(lesson.pictures) + len(lesson.validation))
        ours, theirs = Ours(lesson, recipe), Reference(folder, lesson, recipe, given.workers)
        lines, scores = [], []
        for name, mine, other in rows_of(ours, theirs, count, given.rounds):
            if not scores:  # after the epochs of learning
                flat = lesson.mean.mean((0, 1)).expand_as(lesson.mean)
                scores = [accuracy(ours.network, lesson, lesson.mean),
                          accuracy(theirs.network, lesson, flat)]  # fmt: skip
            lines.append([name, f"{1 / mine.median:.0f}", f"{1 / other.median:.0f}",
                          mine, other, measure.ratio(other, mine)])  # fmt: skip
        del theirs.loader  # its workers end
    table = measure.table(
        ("", "Convscope, images/s", "reference, images/s", "ours, per image",
         "reference, per image", "reference / ours"),
        lines,
    )  # fmt: skip
    body = (
        f"{NETWORK} at batch {recipe.batch_size}, {count} JPEG files of {given.side}×{given.side} "
        f"pixels in {len(CLASSES)} classes; the reference with {given.workers} workers."
        f"\n\n{table}\n\n"
        f"Validation accuracy after {given.rounds} epochs of each: Convscope {scores[0]}, "
        f"reference {scores[1]}. Convscope decodes every file once, before its first epoch, "
        f"which is not in the table: {1e3 * decoded:.2f} ms a picture; in {PHOTOS.epochs} epochs "
        f"that adds {1e3 * decoded / PHOTOS.epochs:.3f} ms to each."
    )
    measure.report("training", "Training, end to end", body, write=not given.quick)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
