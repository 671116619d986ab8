"""The curves of a run for TensorBoard: an extra; metrics.jsonl holds the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convscope.errors import BadOption
from convscope.training.checkpoint import Epoch

__all__ = ["Board"]

FOLDER = "tensorboard"  # in the run's
CURVES = {
    "loss/training": "loss",
    "loss/validation": "val_loss",
    "accuracy/training": "accuracy",
    "accuracy/validation": "val_accuracy",
    "accuracy/validation top-5": "val_top5",
    "learning rate": "learning_rate",
    "filters renormalised": "renormalised",
    "seconds": "seconds",
}


class Board:
    """Writes each epoch as a point of every curve.

    history : epochs that are there already; later points of an interrupted run are taken back
    Raises  BadOption: tensorboard is not installed.
    """

    def __init__(self, run: Path, history: Sequence[Epoch] = ()) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise BadOption(
                "--tensorboard needs the package tensorboard: pip install 'convscope[tensorboard]'"
            ) from None
        self.writer = SummaryWriter(str(run / FOLDER), purge_step=len(history) + 1)

    def add(self, epoch: Epoch) -> None:
        """A point of every curve, at that epoch."""
        for curve, field in CURVES.items():
            self.writer.add_scalar(curve, getattr(epoch, field), epoch.epoch)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
