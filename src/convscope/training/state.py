"""A training's state on disk: all that is needed to go on at the same step with the same bits.

One safetensors file, so that a commit is one rename: weights, momentum (`momentum/NAME`) and, in
its metadata, the position and the running sums of the epoch. No generator's state is among them:
whatever is random is drawn from the seed, the epoch and the step (feed.py). The file opens as
weights too (network/weights.py), which do not read the momentum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from convscope.errors import BadCheckpoint
from convscope.network.weights import MOMENTUM, write_weights
from convscope.training.checkpoint import Checkpoint, Epoch

__all__ = ["State", "Sums", "load_state", "momentum_of", "save_state"]


@dataclass(frozen=True)
class Sums:
    """What the epoch brought so far, over the pictures that were learned from.

    loss : sum of their cross-entropies; correct : how many; renormalised : filters scaled back
    seconds : of work, in all the processes that took part one after the other
    """

    loss: float = 0.0
    correct: int = 0
    renormalised: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class State:
    """Where a training is: before step `place` of `epoch`, both as in Feed."""

    epoch: int = 1
    place: int = 0
    sums: Sums = Sums()
    history: tuple[Epoch, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()

    @classmethod
    def from_text(cls, text: str) -> State:
        """Raises  TypeError, KeyError, ValueError: not what `to_text` wrote."""
        values = json.loads(text)
        return cls(
            epoch=values["epoch"],
            place=values["place"],
            sums=Sums(**values["sums"]),
            history=tuple(Epoch(**each) for each in values["history"]),
            checkpoints=tuple(Checkpoint(**each) for each in values["checkpoints"]),
        )

    def to_text(self) -> str:
        """JSON. Numbers keep every bit."""
        return json.dumps(asdict(self))

    def next_epoch(self, done: Epoch) -> State:
        """The state after an epoch."""
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
    """Commits the state; a kill leaves the one before it.

    facts, extra : metadata and tensors that make it a file of weights (network/weights.py)
    """
    tensors = {**network.state_dict(), **extra}
    for name, buffer in momentum_of(network, optimiser).items():
        tensors[f"{MOMENTUM}{name}"] = buffer
    write_weights(path, tensors, {**facts, "state": state.to_text()})


def load_state(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> State:
    """Fills the network and the optimiser; the position.

    Raises  BadCheckpoint: no such state, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            state = State.from_text(file.metadata()["state"])
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                tensor.copy_(tensors[name])
            for name, parameter in network.named_parameters():
                held = tensors.get(f"{MOMENTUM}{name}")
                if held is not None:
                    buffer = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                    optimiser.state[parameter]["momentum_buffer"] = buffer.copy_(held)
        return state
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        words = " ".join(str(error).split())
        raise BadCheckpoint(
            f"{path} cannot be read ({words}): train again into another folder"
        ) from None


def momentum_of(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's momentum by the parameters' names; empty before the first step."""
    found = {}
    for name, parameter in network.named_parameters():
        buffer = optimiser.state[parameter].get("momentum_buffer")
        if buffer is not None:
            found[name] = buffer
    return found
