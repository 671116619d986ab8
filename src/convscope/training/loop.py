"""Training: stochastic gradient descent as in the paper's §3, on pictures held in memory.

What happens at a step depends on the recipe's seed, the epoch and the step alone: the order of the
images, their crops and flips and the dropout are drawn anew from (seed, epoch), so that a training
can be taken up after any epoch. The caller's random generators are left as they were.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope import __version__
from convscope.errors import BadData, NonFinite
from convscope.images.datasets import ImageSet
from convscope.images.preprocess import CROP_SHARE, Fit, Preprocess
from convscope.images.scaling import Scaling
from convscope.network.architectures import Architecture, Convnet, architecture_named, build
from convscope.training.checkpoint import Epoch, Run, RunFolder, Status, check_unused, claim
from convscope.training.pictures import (
    Advance,
    Pictures,
    load_pictures,
    mean_picture,
    training_view,
)
from convscope.training.recipe import Recipe

__all__ = ["Lesson", "TrainingResult", "load_lesson", "renormalise", "train", "train_on"]

EVALUATED = 256  # validation pictures per forward pass


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned, and what it is tested on; one lesson may serve many trainings.

    pictures : uint8 (N, S, S, 3), S above the input's size if the recipe crops
    validation : uint8 (n, H, W, 3), as the network will see them
    mean : float32 (S, S, 3), over `pictures`
    preprocess : the network's, with the mean's centre
    """

    pictures: Pictures
    validation: Pictures
    mean: Tensor
    preprocess: Preprocess


@dataclass(frozen=True)
class TrainingResult:
    """What a training left.

    folder : the run's, `run:FOLDER` as a MODEL; weights : the final ones; history : every epoch
    """

    folder: Path
    weights: Path
    history: tuple[Epoch, ...]


def train(
    architecture: Architecture | str,
    images: ImageSet,
    validation: ImageSet,
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    workers: int = 0,
    progress: Advance | None = None,
) -> TrainingResult:
    """Trains a network on labelled images and writes the run to `out` (checkpoint.py).

    architecture : its number of classes is taken from the images
    workers : as `load_pictures`; progress : called with (what, done, total), in images

    Raises  FolderInUse: `out` holds something.       BadModel: no architecture of that name.
            BadData: images without labels, or whose classes differ between the two sets.
            NonFinite: the loss became NaN or infinite; the run keeps the checkpoints before it.
    """
    if isinstance(architecture, str):
        architecture = architecture_named(architecture)
    folder = check_unused(out)
    lesson = load_lesson(
        architecture, images, validation, recipe, workers=workers, progress=progress
    )
    return train_on(architecture, lesson, recipe, folder, device=device, progress=progress)


def load_lesson(
    architecture: Architecture,
    images: ImageSet,
    validation: ImageSet,
    recipe: Recipe,
    *,
    workers: int = 0,
    progress: Advance | None = None,
) -> Lesson:
    """Decodes or draws both sets once, for any number of trainings with that input and cropping.

    Raises  BadData: images without labels, or whose classes differ between the two sets.
    """
    if images.classes != validation.classes:
        raise BadData(
            f"{images.spec} has {_named(images.classes)}, but {validation.spec} has "
            f"{_named(validation.classes)}: both need the same class folders"
        )
    size = architecture.input_size
    side = round(size / CROP_SHARE) if recipe.crops else size
    fit = Fit.CROP if recipe.crops else Fit.STRETCH
    seen = Preprocess(architecture.input_shape, Scaling.PAPER, fit)
    view = training_view(seen, side)
    pictures = load_pictures(images, view, side, workers=workers, progress=progress)
    tests = load_pictures(validation, seen.picture, size, workers=workers, progress=progress)
    mean = mean_picture(pictures.pixels)
    centre = round((side - size) / 2)
    middle = mean[centre : centre + size, centre : centre + size].permute(2, 0, 1).contiguous()
    return Lesson(pictures, tests, mean, replace(seen, mean=middle.numpy()))


def train_on(
    architecture: Architecture,
    lesson: Lesson,
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    progress: Advance | None = None,
) -> TrainingResult:
    """`train` on a lesson that is in memory already. Raises as `train` does."""
    architecture = architecture.with_classes(len(lesson.pictures.classes))
    device = torch.device(device)
    run = Run(
        architecture,
        recipe,
        lesson.pictures.classes,
        data=_about(lesson.pictures),
        validation=_about(lesson.validation),
        versions={
            "convscope": __version__,
            "torch": torch.__version__,
            "device": device.type,
        },
    )
    network = build(architecture, recipe.initialisation, seed=recipe.seed)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    folder = RunFolder(claim(out), run, lesson.preprocess)
    teacher = _Teacher(network, lesson, recipe, device, progress)
    if recipe.keeps(0):
        folder.keep(network, 0)
    for epoch in range(1, recipe.epochs + 1):
        try:
            folder.log(teacher.epoch(epoch, folder.run.history))
        except NonFinite:
            folder.stop(Status.DIVERGED)
            raise
        if recipe.keeps(epoch):
            folder.keep(network, epoch)
    return TrainingResult(folder.folder, folder.finish(network), folder.run.history)


@torch.no_grad()
def renormalise(filters: Sequence[Tensor], radius: float) -> Tensor:
    """Scales each filter whose RMS exceeds `radius` back to it, in place (paper §3).

    filters : the weights of convolutional layers, (maps, channels, height, width) each
    Returns the number of filters that were scaled, an int64 scalar on their device.
    """
    touched = torch.zeros((), dtype=torch.int64, device=filters[0].device)
    for weight in filters:
        size = math.sqrt(weight[0].numel())
        rms = torch.linalg.vector_norm(weight, dim=(1, 2, 3), keepdim=True) / size
        over = rms > radius
        if not weight.is_cuda and not over.any():  # asking a GPU would cost more than scaling by 1
            continue
        weight.mul_(torch.where(over, radius / rms, 1.0))
        touched += over.sum()
    return touched


class _Teacher:
    """One network being trained: its optimiser and what it learns from."""

    def __init__(
        self,
        network: Convnet,
        lesson: Lesson,
        recipe: Recipe,
        device: torch.device,
        progress: Advance | None,
    ) -> None:
        self.network, self.lesson, self.recipe, self.device = network, lesson, recipe, device
        self.progress = progress
        self.mean = lesson.mean.to(device)
        self.filters = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
        self.steps = math.ceil(len(lesson.pictures) / recipe.batch_size)  # per epoch
        self.optimiser = torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )

    def epoch(self, epoch: int, history: Sequence[Epoch]) -> Epoch:
        """Every training picture once, then the validation."""
        began = time.perf_counter()
        accuracies = [each.val_accuracy for each in history]
        before = f", val {accuracies[-1]:.1%} before" if accuracies else ""
        what = f"epoch {epoch} of {self.recipe.epochs}{before}"
        count = len(self.lesson.pictures)
        loss = correct = 0.0
        touched = torch.zeros((), dtype=torch.int64, device=self.device)
        self.network.train()
        with _drawing_from(self.recipe.seed, epoch, self.device) as generator:
            order = torch.randperm(count, generator=generator)
            for place, chosen in enumerate(order.split(self.recipe.batch_size)):
                step = (epoch - 1) * self.steps + place
                rate = self.recipe.rate(step, self.steps * self.recipe.epochs, accuracies)
                images, labels = self._batch(chosen, generator)
                mean_loss, right = self._step(images, labels, rate, step)
                loss += mean_loss * len(chosen)
                correct += right
                if self.recipe.radius is not None:
                    touched += renormalise(self.filters, self.recipe.radius)
                if self.progress:
                    done = min((place + 1) * self.recipe.batch_size, count)
                    self.progress(what, done, count)
        val_loss, val_accuracy, val_top5 = self._validate()
        return Epoch(
            epoch=epoch,
            loss=loss / count,
            accuracy=correct / count,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            val_top5=val_top5,
            learning_rate=rate,
            renormalised=int(touched),
            steps=self.steps,
            seconds=round(time.perf_counter() - began, 3),
        )

    def _step(self, images: Tensor, labels: Tensor, rate: float, step: int) -> tuple[float, int]:
        """One update; the batch's mean loss before it, and how many it got right."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        value = loss.item()
        if not math.isfinite(value):
            raise NonFinite(
                f"training {self.network.architecture.name}: the loss is {value} at step {step} "
                f"(epoch {step // self.steps + 1}, learning rate {rate:.3g}): "
                "use a lower learning rate, or a smaller renormalisation radius"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return value, int((logits.detach().argmax(1) == labels).sum())

    def _batch(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """float32 (n, 3, H, W) and their labels, mean-subtracted, cropped and flipped at random."""
        pixels = self.lesson.pictures.pixels[chosen].to(self.device)
        values = pixels.float() - self.mean  # (n, S, S, 3)
        size = self.lesson.preprocess.shape[1]
        slack = values.shape[1] - size
        if slack:
            corners = torch.randint(slack + 1, (len(chosen), 2), generator=generator).tolist()
            values = torch.stack(
                [
                    value[top : top + size, left : left + size]
                    for value, (top, left) in zip(values, corners, strict=True)
                ]
            )
        if self.recipe.flips:
            flipped = (torch.rand(len(chosen), generator=generator) < 0.5).to(self.device)
            values = torch.where(flipped[:, None, None, None], values.flip(2), values)
        labels = self.lesson.pictures.labels[chosen].to(self.device)
        return values.permute(0, 3, 1, 2), labels  # (n, 3, H, W), channels last in memory

    @torch.inference_mode()
    def _validate(self) -> tuple[float, float, float]:
        """Mean loss, top-1 and top-5 accuracy of the validation pictures."""
        self.network.eval()
        tests = self.lesson.validation
        loss, first, five = 0.0, 0, 0
        for pixels, labels in zip(
            tests.pixels.split(EVALUATED), tests.labels.split(EVALUATED), strict=True
        ):
            images = self.lesson.preprocess.tensors(pixels.numpy()).to(self.device)
            logits = self.network(images.contiguous(memory_format=torch.channels_last)).cpu()
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
            first += int(best[:, 0].sum())
            five += int(best.sum())
        return loss / len(tests), first / len(tests), five / len(tests)


@contextmanager
def _drawing_from(seed: int, epoch: int, device: torch.device) -> Iterator[torch.Generator]:
    """Within, dropout draws from (seed, epoch), and so does the generator that is given."""
    number = (seed * 1_000_003 + epoch) % 2**63
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(number)
        yield torch.Generator().manual_seed(number)


def _about(pictures: Pictures) -> dict[str, str | int]:
    return {
        "spec": pictures.spec,
        "identity": pictures.identity,
        "count": len(pictures),
        "skipped": len(pictures.skipped),
    }


def _named(classes: tuple[str, ...] | None) -> str:
    if classes is None:
        return "no classes"
    more = ", …" if len(classes) > 3 else ""
    return f"{len(classes)} classes ({', '.join(classes[:3])}{more})"
