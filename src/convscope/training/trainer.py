"""The trainer: one network with its optimiser, and a step of stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadOption, NonFinite
from convscope.models.architectures import Convnet
from convscope.text import error_words
from convscope.training.evaluation import CropScores, evaluate
from convscope.training.loader import Loader, TrainingBatch, draw_number
from convscope.training.recipe import Precision, Recipe
from convscope.training.training_data import TrainingData

__all__ = ["Trainer", "first_nonfinite", "renormalise"]


@torch.no_grad()
def renormalise(filters: Sequence[Tensor], radius: float) -> Tensor:
    """Scale each filter whose RMS exceeds the radius back to it, in place (paper §3).

    Args:
        filters: The weights of convolutional layers.
        radius: The largest root mean square that a filter may have.

    Returns:
        How many filters were scaled, an int64 scalar on their device.

    Shape:
        filters: (maps, channels, height, width) each.
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


class Trainer:
    """A network in training: its optimiser, its data, and the steps that update it.

    Args:
        network: On the device; all processes begin with process 0's weights.
        lesson: The training data.
        recipe: How to train.
        device: Where to compute.
        ranks: Which of several processes this is.

    Attributes:
        feed: Makes the batches.
        touched: How often a filter was renormalised since it was last set to 0, an int64 scalar.
    """

    def __init__(
        self,
        network: Convnet,
        lesson: TrainingData,
        recipe: Recipe,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self.network, self.lesson, self.recipe = network, lesson, recipe
        self.device, self.ranks = device, ranks
        self.feed = Loader(lesson, recipe, device, ranks)
        self.filters = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
        self.touched = torch.zeros((), dtype=torch.int64, device=device)
        self.optimiser = torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        # of the weights' layout from the start, as they are in a training that is taken up again:
        # the order of elements in memory decides how the last bit is rounded
        for weight in network.parameters() if recipe.momentum else ():
            self.optimiser.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        self._passes: nn.Module | None = None

    def step(self, batch: TrainingBatch, epoch: int, rate: float) -> tuple[float, int]:
        """Update the weights once.

        Args:
            batch: This process's share of the step's pictures.
            epoch: Counted from 1.
            rate: The learning rate.

        Returns:
            The mean loss of the whole batch before the update, and how many of its pictures were
            classified correctly.

        Raises:
            NonFinite: The loss is NaN or infinite; nothing is changed then.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        images, labels = self.feed.images(batch), batch.labels.to(self.device)
        self._draw_dropout(epoch, batch.place)
        logits = self._forward(images)
        loss = F.cross_entropy(logits, labels, reduction="sum") / batch.count
        loss = loss * 0 if batch.idle else loss
        right = (logits.detach().argmax(1) == labels).sum() * (not batch.idle)
        totals = self.ranks.total(torch.stack([loss.detach().double(), right.double()]))
        value, correct = totals.tolist()
        if not math.isfinite(value):
            raise NonFinite(self._why(value, images, epoch, batch.place, rate))
        self.optimiser.zero_grad(set_to_none=True)
        (loss * self.ranks.count).backward()  # which DistributedDataParallel divides by the count
        self.optimiser.step()
        if self.recipe.radius is not None:
            self.touched += renormalise(self.filters, self.recipe.radius)
        return value, round(correct)

    def validate(self, crops: int = 1) -> CropScores:
        """Score the network on the validation pictures, by 1 or 10 crops of each."""
        lesson = self.lesson
        return evaluate(
            self.network, lesson.validation, lesson.mean, self.feed.size,
            crops=crops, ranks=self.ranks,
        )  # fmt: skip

    def _forward(self, images: Tensor) -> Tensor:
        """Compute float32 logits, in the recipe's precision and memory layout."""
        if not self.recipe.channels_last:
            images = images.contiguous()
        passes = self._passes = self._passes or self._prepared()
        in_bf16 = self.recipe.precision is Precision.BF16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16):
            try:
                logits = passes(images)
            except RuntimeError as error:
                if self.recipe.compile and "ompile" in f"{type(error).__name__}{error}":
                    words = error_words(error)
                    raise BadOption(f"torch.compile fails here ({words}): compile=false") from None
                raise
        return logits.float()

    def _prepared(self) -> nn.Module:
        """Return the network for the passes: compiled, and joined over all processes."""
        passes: nn.Module = self.network
        if self.ranks.count > 1:
            passes = nn.parallel.DistributedDataParallel(
                passes, device_ids=[self.device] if self.device.type == "cuda" else None
            )
        if self.recipe.compile:
            passes = torch.compile(passes)  # type: ignore[assignment]
        return passes

    def _draw_dropout(self, epoch: int, place: int) -> None:
        """Seed the generators that dropout draws from, for this step and process."""
        torch.manual_seed(draw_number(self.recipe.seed, "dropout", epoch, place, self.ranks.rank))

    def _why(self, value: float, images: Tensor, epoch: int, place: int, rate: float) -> str:
        """Describe a loss that is not finite: its step, the first layer with NaN or infinity."""
        self._draw_dropout(epoch, place)  # the same as when it failed
        in_bf16 = self.recipe.precision is Precision.BF16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16):
            own_position = first_nonfinite(self.network, images)
        names = [name for name, _ in self.network.named_children()]
        position = self.ranks.least(own_position, self.device)
        what = "the loss itself"
        if position < 2 * len(names):
            kind = "activations" if position % 2 else "weights"
            what = f"{names[position // 2]}, its {kind}"
        step = (epoch - 1) * self.feed.steps + place
        return (
            f"training {self.network.architecture.name}: the loss is {value} at step {step} "
            f"(epoch {epoch}, learning rate {rate:.3g}); the first with NaN or infinity: {what}"
        )


@torch.no_grad()
def first_nonfinite(network: nn.Sequential, images: Tensor) -> int:
    """Find where NaN or infinity first occurs on the way up.

    Returns:
        2·i for the weights of the i-th layer, 2·i + 1 for its activations; 2·layers if in none.

    Shape:
        images: (N, 3, H, W).
    """
    for index, layer in enumerate(network):
        if not all(weight.isfinite().all() for weight in layer.parameters()):
            return 2 * index
        images = layer(images)
        if not images.isfinite().all():
            return 2 * index + 1
    return 2 * len(network)
