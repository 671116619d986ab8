"""Pre-training without labels: layer by layer, each a denoising autoencoder of what arrives at it.

Greedy, bottom up: the layers below are learned already, and stay. All layers but the last learn,
whose outputs are the classes'. As in the training that follows, whatever is random is drawn from
the seed, the layer, the epoch and the step alone, and the state on disk says all that is needed to
go on at the same step, bit for bit.

Source: Bengio et al. 2007; Vincent et al. 2008.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from convscope.errors import BadCheckpoint, NonFinite
from convscope.models.architectures import initial_std
from convscope.models.weights import weights_bytes
from convscope.progress import Progress
from convscope.store.atomic import replace_file
from convscope.store.sealed import metadata_of, sealed
from convscope.training.autoencoder import Autoencoder
from convscope.training.checkpoint import PretrainedLayer
from convscope.training.loader import TrainingBatch, draw_number
from convscope.training.trainer import Trainer

__all__ = ["pretrain"]

_MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam


@dataclass(frozen=True)
class _Position:
    """How far a pre-training is.

    Attributes:
        layer: The layer that learns, from 0.
        epoch: The epoch it is in, from 0.
        place: The next step of that epoch, from 0.
        losses: By layer, what each finished epoch left of the mean's squared error.
    """

    layer: int = 0
    epoch: int = 0
    place: int = 0
    losses: tuple[tuple[float, ...], ...] = ((),)

    def next_epoch(self, loss: float) -> _Position:
        """Return the position after an epoch of this loss."""
        losses = (*self.losses[:-1], (*self.losses[-1], loss))
        return replace(self, epoch=self.epoch + 1, place=0, losses=losses)

    def next_layer(self) -> _Position:
        """Return the position where the next layer begins."""
        return _Position(self.layer + 1, losses=(*self.losses, ()))


@dataclass
class _Learner:
    """A layer that learns: its autoencoder, the optimiser, and what the epoch has summed up.

    Attributes:
        encoder: The layer and the way back.
        optimiser: Adam.
        scale: The RMS of what arrives at the layer; it learns from inputs divided by it.
        sums: Squared error, then of the inputs: count per map, squares, and each map's sum.
    """

    encoder: Autoencoder
    optimiser: torch.optim.Adam
    scale: Tensor
    sums: Tensor

    @property
    def loss(self) -> float:
        """What is left of the squared error of the best constant for each map: its mean."""
        error, count, squares, *_ = self.sums.tolist()
        spread = squares - float(self.sums[3:].square().sum()) / count
        return error / spread if spread > 0 else 0.0

    def tensors(self) -> dict[str, Tensor]:
        """What must be kept to go on, beside the network."""
        kept = {"back": self.encoder.back, "scale": self.scale, "sums": self.sums}
        for name, parameter in self.encoder.named_parameters():
            for moment in _MOMENTS if parameter in self.optimiser.state else ():
                kept[f"{moment}/{name}"] = self.optimiser.state[parameter][moment]
        return kept

    def take(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Go on from what was kept, after so many steps of this layer."""
        with torch.no_grad():
            self.encoder.back.copy_(tensors["back"])
        self.scale, self.sums = tensors["scale"].to(self.scale), tensors["sums"].to(self.sums)
        for name, parameter in self.encoder.named_parameters() if steps else ():
            state: dict[str, Any] = {"step": torch.tensor(float(steps))}
            for moment in _MOMENTS:
                state[moment] = torch.zeros_like(parameter).copy_(tensors[f"{moment}/{name}"])
            self.optimiser.state[parameter] = state


def pretrain(
    teacher: Trainer, path: Path | None, every: float, progress: Progress | None = None
) -> tuple[PretrainedLayer, ...]:
    """Teach all layers but the last to rebuild what arrives at them, by the trainer's recipe.

    Args:
        teacher: The network, which is changed in place, its images, recipe and processes.
        path: Where the state is kept, and gone on from if it is there; None keeps none.
        every: Seconds between two states on disk.
        progress: Called with (what, done, total), in images.

    Raises:
        NonFinite: A loss became NaN or infinite.
        BadCheckpoint: The state cannot be read.
    """
    training = teacher.network.training
    teacher.network.eval()  # no dropout: the noise is the corruption's
    try:
        return _Pretraining(teacher, path, every, progress).run()
    finally:
        teacher.network.train(training)


@dataclass(eq=False)
class _Pretraining:
    """One pre-training, from its last state to its end."""

    teacher: Trainer
    path: Path | None
    every: float
    progress: Progress | None
    saved: float = field(default_factory=time.monotonic)

    def run(self) -> tuple[PretrainedLayer, ...]:
        """Learn every layer that is left."""
        layers = _learning_layers(self.teacher.network)
        position, kept = self._begin()
        while position.layer < len(layers):
            position = self._layer(layers[position.layer], position, kept)
            kept = {}
        return tuple(
            PretrainedLayer(name, losses)
            for name, losses in zip(layers, position.losses, strict=False)
        )

    def _begin(self) -> tuple[_Position, dict[str, Tensor]]:
        """Load the state on disk, the same in all processes; or none."""
        teacher, position = self.teacher, _Position()
        kept: dict[str, Tensor] = {}
        if self.path is not None and self.path.exists():
            position, kept = _read(self.path, teacher.network)
        weights = teacher.network.state_dict()
        teacher.ranks.tensors_from_first(list(weights.values()))
        return teacher.ranks.from_first(lambda: (position, kept))

    def _layer(self, name: str, position: _Position, kept: dict[str, Tensor]) -> _Position:
        """Teach one layer, from its first step or from where it was stopped."""
        teacher, recipe = self.teacher, self.teacher.recipe
        layer = teacher.network.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        learner = self._learner(layer, name, position, kept)
        count = len(teacher.lesson.pictures)
        while position.epoch < recipe.pretrain:
            what = f"layer {name} without labels, epoch {position.epoch + 1} of {recipe.pretrain}"
            for batch in self._batches(position):
                self._step(learner, name, position, batch)
                position = replace(position, place=batch.place + 1)
                if self._is_due():
                    self._save(position, learner)
                if self.progress:
                    done = min((batch.place + 1) * recipe.batch_size, count)
                    self.progress(what, done, count)
            position = position.next_epoch(learner.loss)
            learner.sums.zero_()
            if position.epoch < recipe.pretrain:
                self._save(position, learner)
        self._settle(layer, name, position, learner.scale)
        position = position.next_layer()
        self._save(position, None)
        return position

    def _learner(
        self, layer: nn.Conv2d | nn.Linear, name: str, position: _Position, kept: dict[str, Tensor]
    ) -> _Learner:
        """Make what teaches a layer, or take up what was kept of it."""
        device, steps = self.teacher.device, self.teacher.feed.steps
        encoder = Autoencoder(layer, self.teacher.recipe.corruption)
        sums = torch.zeros(3 + len(encoder.back), dtype=torch.float64, device=device)
        optimiser = torch.optim.Adam(encoder.parameters(), foreach=False)
        learner = _Learner(encoder, optimiser, torch.ones((), device=device), sums)
        if kept:
            learner.take(kept, position.epoch * steps + position.place)
        else:
            learner.scale = _or_one(self._rms(name, position))
        return learner

    def _step(
        self, learner: _Learner, name: str, position: _Position, batch: TrainingBatch
    ) -> None:
        """Update the layer once."""
        teacher, recipe, encoder = self.teacher, self.teacher.recipe, learner.encoder
        step = position.epoch * teacher.feed.steps + batch.place
        rate = _falling(recipe.pretrain_rate, step, recipe.pretrain * teacher.feed.steps)
        for group in learner.optimiser.param_groups:
            group["lr"] = rate
        values = self._arriving(name, batch) / learner.scale
        drawn = (name, position.epoch, batch.place, teacher.ranks.rank)
        noise = torch.Generator(teacher.device)
        noise.manual_seed(draw_number(recipe.seed, "noise", *drawn))
        counts = 0.0 if batch.idle else 1.0
        error = (encoder(values, noise) - values).square().sum() * counts
        sums = teacher.ranks.total(_sums(error, values) * counts)
        if not bool(sums.isfinite().all()):
            raise NonFinite(
                f"pre-training {name}: the loss is {float(sums[0])} at step {step} (learning rate "
                f"{rate:.3g}); use a lower --set pretrain_rate"
            )
        learner.sums += sums
        learner.optimiser.zero_grad(set_to_none=True)
        (error / sums[2].clamp(min=1e-12).to(error.dtype)).backward()
        for parameter in encoder.parameters():
            if parameter.grad is not None:
                teacher.ranks.total(parameter.grad)
        learner.optimiser.step()

    def _arriving(self, name: str, batch: TrainingBatch) -> Tensor:
        """Compute what arrives at a layer, of this process's share of a batch."""
        values = self.teacher.feed.images(batch)
        with torch.no_grad():
            for below, module in self.teacher.network.named_children():
                if below == name:
                    break
                values = module(values)
        return values

    def _rms(
        self,
        name: str,
        position: _Position,
        then: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> Tensor:
        """Measure the RMS of what arrives at a layer, or of what comes of it, on one batch."""
        with self._batch(replace(position, epoch=0, place=0)) as batch, torch.no_grad():
            values = then(self._arriving(name, batch))
        count = torch.tensor(values.numel(), dtype=torch.float64, device=values.device)
        totals = torch.stack([values.double().square().sum(), count])
        squares, count = self.teacher.ranks.total(totals * (not batch.idle))
        return (squares / count).sqrt().float()

    def _settle(
        self, layer: nn.Conv2d | nn.Linear, name: str, position: _Position, scale: Tensor
    ) -> None:
        """Give what the layer says the scale that it has where training starts without this.

        It learned from inputs of scale 1. A positive factor on filters and biases only scales what
        a rectified layer says, so it is chosen such that its answers are as large as those of
        weights that are drawn at random: the recipe's learning rate is right for these.
        """
        std = initial_std(self.teacher.network, layer, self.teacher.recipe.initialisation)
        wanted = scale * std * math.sqrt(layer.weight[0].numel() / 2)
        with torch.no_grad():
            layer.weight /= scale
            answer = self._rms(name, position, lambda values: layer(values).relu())
            factor = wanted / answer if answer else scale
            layer.weight *= factor
            if layer.bias is not None:
                layer.bias *= factor

    def _batches(self, position: _Position) -> Iterator[TrainingBatch]:
        number = position.layer * self.teacher.recipe.pretrain + position.epoch + 1
        return self.teacher.feed.epoch(number, position.place)

    @contextmanager
    def _batch(self, position: _Position) -> Iterator[TrainingBatch]:
        """The next batch alone."""
        number = position.layer * self.teacher.recipe.pretrain + position.epoch + 1
        batches = self.teacher.feed.epoch(number, position.place)
        try:
            yield next(batches)
        finally:
            batches.close()

    def _is_due(self) -> bool:
        return time.monotonic() - self.saved >= self.every

    def _save(self, position: _Position, learner: _Learner | None) -> None:
        """Write the state, in the first process."""
        if self.path is None:
            return
        tensors = {f"network/{k}": v for k, v in self.teacher.network.state_dict().items()}
        if learner is not None:
            tensors |= {f"learner/{k}": v for k, v in learner.tensors().items()}
        about = {"state": json.dumps(asdict(position))}
        replace_file(self.path, sealed(weights_bytes(tensors, about)))
        self.saved = time.monotonic()


def _read(path: Path, network: nn.Module) -> tuple[_Position, dict[str, Tensor]]:
    """Load a state into the network; return the position and what was kept of its layer."""
    try:
        content = path.read_bytes()
        values = json.loads(metadata_of(content)["state"])
        values["losses"] = tuple(map(tuple, values["losses"]))
        tensors = load(content)
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                tensor.copy_(tensors.pop(f"network/{name}"))
        kept = {name.removeprefix("learner/"): tensor for name, tensor in tensors.items()}
        return _Position(**values), kept
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        words = " ".join(str(error).split())
        raise BadCheckpoint(
            f"{path} cannot be read ({words}): train again into another folder"
        ) from None


def _learning_layers(network: nn.Module) -> list[str]:
    """Name the layers with weights, bottom up, without the last."""
    children = network.named_children()
    return [name for name, module in children if isinstance(module, nn.Conv2d | nn.Linear)][:-1]


def _sums(error: Tensor, values: Tensor) -> Tensor:
    """What `_Learner.sums` adds up, of a batch."""
    exact, others = values.double(), [dim for dim in range(values.dim()) if dim != 1]
    count = exact.new_tensor(values.numel() / values.shape[1])
    return torch.cat([
        torch.stack([error.detach().double(), count, exact.square().sum()]), exact.sum(others)
    ])  # fmt: skip


def _or_one(scale: Tensor) -> Tensor:
    """The scale; 1 where it is 0, of a layer at which nothing arrives."""
    return scale if scale else torch.ones_like(scale)


def _falling(rate: float, step: int, steps: int) -> float:
    """Half a cosine down to 0."""
    return rate * (1 + math.cos(math.pi * step / steps)) / 2
