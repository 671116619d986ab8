"""The state of a training on disk: all that is needed to go on at the same step, bit for bit.

One safetensors file, so that a commit is one rename: weights, momentum (`momentum/NAME`) and, in
its metadata, the position and the running sums of the epoch. No generator's state is among them:
whatever is random is drawn from the seed, the epoch and the step (feed.py). The file opens as
weights too (models/weights.py), which do not read the momentum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from convscope.errors import BadCheckpoint
from convscope.models.weights import MOMENTUM, weights_bytes
from convscope.store.atomic import replace_file
from convscope.store.sealed import metadata_of, sealed
from convscope.text import error_words
from convscope.training.checkpoint import Checkpoint, Epoch, PretrainedLayer

__all__ = ["State", "Sums", "load_state", "momentum_of", "save_state"]


@dataclass(frozen=True)
class Sums:
    """The running sums of an epoch, over the pictures that it has learned from so far.

    Attributes:
        loss: The sum of their cross-entropies, nats.
        correct: How many were classified correctly.
        renormalised: How often a filter was scaled back to the radius.
        seconds: Of work, in all the processes that took part one after the other.
    """

    loss: float = 0.0
    correct: int = 0
    renormalised: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class State:
    """The position of a training, with its running sums and history.

    Attributes:
        epoch: The epoch it is in, from 1.
        place: The next step of that epoch, from 0.
        sums: The epoch's running sums.
        history: The results of the finished epochs.
        checkpoints: The weights kept so far.
        pretraining: The layers that learned without labels before the first epoch.
    """

    epoch: int = 1
    place: int = 0
    sums: Sums = Sums()
    history: tuple[Epoch, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    pretraining: tuple[PretrainedLayer, ...] = ()

    @classmethod
    def from_text(cls, text: str) -> State:
        """Convert from what `to_text` returned.

        Raises:
            TypeError, KeyError, ValueError: It is not what `to_text` returned.
        """
        values = json.loads(text)
        return cls(
            epoch=values["epoch"],
            place=values["place"],
            sums=Sums(**values["sums"]),
            history=tuple(Epoch(**entry) for entry in values["history"]),
            checkpoints=tuple(Checkpoint(**entry) for entry in values["checkpoints"]),
            pretraining=tuple(
                PretrainedLayer(entry["layer"], tuple(entry["losses"]))
                for entry in values.get("pretraining", ())
            ),
        )

    def to_text(self) -> str:
        """Convert to JSON text, in which numbers keep every bit."""
        return json.dumps(asdict(self))

    def next_epoch(self, done: Epoch) -> State:
        """Return the state after the epoch whose results are `done`."""
        return replace(
            self, epoch=self.epoch + 1, place=0, sums=Sums(), history=(*self.history, done)
        )


def save_state(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: State,
    facts: Mapping[str, str],
    extra: Mapping[str, Tensor],
) -> None:
    """Write the state of a training atomically; a kill leaves the one before it.

    Args:
        path: The file.
        network: The network as it is.
        optimiser: The optimiser, with its momentum.
        state: The position.
        facts: Metadata that makes it a file of weights (models/weights.py).
        extra: Tensors that belong to such a file, such as the mean picture.
    """
    tensors = {**network.state_dict(), **extra}
    for name, buffer in momentum_of(network, optimiser).items():
        tensors[f"{MOMENTUM}{name}"] = buffer
    replace_file(path, sealed(weights_bytes(tensors, {**facts, "state": state.to_text()})))


def load_state(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> State:
    """Load a state into the network and the optimiser, and return the position.

    Raises:
        BadCheckpoint: The file holds no state, or one of another network.
    """
    try:
        content = path.read_bytes()
        state = State.from_text(metadata_of(content)["state"])
        tensors = load(content)
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                tensor.copy_(tensors[name])
            for name, parameter in network.named_parameters():
                saved = tensors.get(f"{MOMENTUM}{name}")
                if saved is not None:
                    buffer = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                    optimiser.state[parameter]["momentum_buffer"] = buffer.copy_(saved)
        return state
    except (
        OSError,
        SafetensorError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RuntimeError,
    ) as error:
        words = error_words(error)
        raise BadCheckpoint(
            f"{path} cannot be read ({words}): train again into another folder"
        ) from None


def momentum_of(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's momentum by the parameters' names; empty before the first step."""
    momentum = {}
    for name, parameter in network.named_parameters():
        buffer = optimiser.state[parameter].get("momentum_buffer")
        if buffer is not None:
            momentum[name] = buffer
    return momentum
