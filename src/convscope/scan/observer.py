"""What looks at the layers' values of every image, while a `Scan` runs them through a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from convscope.images.batches import Batch
from convscope.network.ranks import Ranks

__all__ = ["Observer"]


class Observer(ABC):
    """Looks at some layers of every image and sums up what it saw.

    Every process of a scan has an observer of its own, which sees the batches of that process.
    Now and then each hands over what it saw since (`part`), and the first process's observer takes
    the parts of all of them (`take`). In the end all of them know the whole (`share`).

    To give the same result to the bit for any number of processes, a sum of floating-point numbers
    must be kept batch by batch and added up in the order of the batches; what does not depend on
    an order, such as a maximum or a count, may be merged as it comes.
    """

    key: str = ""
    """Begins the names of its tensors in a store; another one for each observer of a scan."""
    mirrored: bool = False
    """Whether it also wants the values of each image's mirror image."""
    image_bytes: int = 0
    """What `part` grows by with each image: parts are handed over before they become large."""

    @property
    @abstractmethod
    def layers(self) -> Collection[str]:
        """The layers whose values it looks at."""

    @abstractmethod
    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        """Look at one layer of a batch.

        Args:
            layer: its name.
            value: (n, C, H, W) or (n, C), on the network's device; not to be kept or written to.
            batch: the images. With `mirrored`, a second call has the values of their mirror images.
        """

    def end(self, batch: Batch, number: int) -> None:  # noqa: B027 - most need nothing
        """All layers of a batch were seen.

        Args:
            batch: the images; of those that cannot be read it has the names alone.
            number: of the batch, counted over all processes from the first image on.
        """

    @abstractmethod
    def part(self) -> Any:
        """What was seen since the last call: on the CPU, picklable. In the first process it may
        hold what was taken before, too."""

    @abstractmethod
    def take(self, parts: Sequence[Any]) -> None:
        """Called in the first process with the parts of all processes, its own first."""

    @abstractmethod
    def state(self) -> Mapping[str, Tensor]:
        """All that was taken, as named tensors on the CPU."""

    @abstractmethod
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from an earlier `state`."""

    def share(self, ranks: Ranks) -> None:
        """Called in all processes at the end of a scan: what the first one knows, all know."""
        self.restore(ranks.from_first(self.state))
