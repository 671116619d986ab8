"""The network of a run at its kept epochs: a run's folder -> weights files -> networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from convscope.errors import BadCheckpoint, BadData, BadOption
from convscope.images.preprocess import Preprocess
from convscope.models.architectures import build
from convscope.models.weights import load_weights, read_weights
from convscope.network.network import Network, open_network
from convscope.training.checkpoint import WEIGHTS, Run

__all__ = ["KeptEpoch", "OpenedEpoch", "kept_epochs"]


@dataclass(frozen=True, eq=False)
class OpenedEpoch:
    """The network after an epoch, and how it is fed."""

    epoch: int
    network: Network
    preprocess: Preprocess


@dataclass(frozen=True)
class KeptEpoch:
    """Weights that a run kept: after which epoch, in which file, its sha256."""

    epoch: int
    path: Path
    sha256: str

    def open(self, device: str | torch.device = "cpu") -> OpenedEpoch:
        """Open the network with the weights of this epoch.

        Args:
            device: Where to run it.

        Raises:
            BadCheckpoint: The file is not the one that the run wrote.
        """
        weights = read_weights(self.path)
        architecture, preprocess = weights.architecture, weights.preprocess
        if weights.sha256 != self.sha256 or architecture is None or preprocess is None:
            raise BadCheckpoint(
                f"{self.path} is not what the run wrote after epoch {self.epoch}: "
                "put that file back, or leave the epoch out with --epochs"
            )
        module = build(architecture, None).eval()
        load_weights(module, weights, name=architecture.name)
        network = open_network(module, architecture.input_shape)
        return OpenedEpoch(self.epoch, network.to(device), preprocess)


def kept_epochs(
    folder: Path, run: Run, wanted: Iterable[int] | None = None
) -> tuple[KeptEpoch, ...]:
    """List the epochs whose weights a run kept, ascending, the final weights among them.

    Args:
        folder: The run's folder.
        run: The run.
        wanted: List these epochs only.

    Raises:
        BadOption: A wanted epoch was not kept, or fewer than two are wanted.
        BadData: Fewer than two epochs were kept, or a file is gone.
    """
    found = {
        checkpoint.epoch: KeptEpoch(checkpoint.epoch, folder / checkpoint.file, checkpoint.sha256)
        for checkpoint in run.checkpoints
    }
    if run.weights_sha256 is not None:
        last = run.recipe.epochs
        found.setdefault(last, KeptEpoch(last, folder / WEIGHTS, run.weights_sha256))
    known = ", ".join(map(str, sorted(found))) or "none"
    if len(found) < 2:
        raise BadData(
            f"run {folder} kept the weights of these epochs: {known}; evolution needs two or more: "
            "train on, or train with more kept epochs"
        )
    chosen = sorted(found if wanted is None else set(wanted))
    strangers = [epoch for epoch in chosen if epoch not in found]
    if strangers or len(chosen) < 2:
        what = f"epoch {strangers[0]}" if strangers else "fewer than two epochs"
        raise BadOption(f"--epochs asks for {what}: run {folder} kept {known}; give two or more")
    for epoch in chosen:
        if not found[epoch].path.is_file():
            raise BadData(
                f"{found[epoch].path} is gone: put it back, or name the other epochs with --epochs"
            )
    return tuple(found[epoch] for epoch in chosen)
