"""The curves of a run for TensorBoard: an extra, since metrics.jsonl holds the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope.errors import BadOption
from convscope.training.checkpoint import Epoch

__all__ = ["TensorBoardLogger", "summary_writer"]

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


def summary_writer() -> Any:
    """TensorBoard's class that writes points.

    Raises:
        BadOption: The package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadOption(
            "--tensorboard needs the package tensorboard: pip install 'convscope[tensorboard]'"
        ) from None
    return SummaryWriter


class TensorBoardLogger:
    """Writes each epoch of a run as a point of every TensorBoard curve.

    Args:
        run: The run's folder; the curves go into a folder inside it.
        history: The epochs that are finished already. Later points, which an interrupted run may
            have left, are taken back.

    Raises:
        BadOption: The package tensorboard is not installed.
    """

    def __init__(self, run: Path, history: Sequence[Epoch] = ()) -> None:
        self.writer = summary_writer()(str(run / FOLDER), purge_step=len(history) + 1)

    def add(self, epoch: Epoch) -> None:
        """Add a point to every curve, at that epoch."""
        for curve, field in CURVES.items():
            self.writer.add_scalar(curve, getattr(epoch, field), epoch.epoch)
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()
