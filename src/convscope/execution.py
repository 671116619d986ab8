"""How a computation is carried out: on what device, by how many, and who is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convscope.distributed import ALONE, Ranks
from convscope.progress import Progress

if TYPE_CHECKING:
    import torch

__all__ = ["ONE_PROCESS", "Execution"]


@dataclass(frozen=True)
class Execution:
    """How a computation is carried out. What comes out of it is the same in all ways.

    Attributes:
        device: where networks run, in this process.
        workers: threads or processes that read images; None takes as many as there are cores.
        ranks: the processes that share the work, and which of them this is.
        progress: called with (what is counted, how many are done, how many there are).

    Example:
        >>> Execution(device="cuda", progress=print)
    """

    device: str | torch.device = "cpu"
    workers: int | None = None
    ranks: Ranks = ALONE
    progress: Progress | None = None

    @property
    def told(self) -> Progress | None:
        """Whom to tell: the first process's progress; None in the others."""
        return self.progress if self.ranks.first else None


ONE_PROCESS = Execution()
"""On the CPU, alone, and nobody is told."""
