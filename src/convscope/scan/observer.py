"""The observer: it looks at layers' values of every image that a `Scan` runs through a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from convscope.distributed import Ranks
from convscope.images.batches import Batch

__all__ = ["Observer"]


class Observer(ABC):
    """Base of what looks at some layers of every image and sums up what it saw.

    Every process of a scan has an observer of its own, which sees the batches of that process.
    Now and then each hands over what it saw since (`part`), and the first process's observer takes
    the parts of all of them (`take`). In the end all of them know the whole (`share`).

    To give the same result to the bit for any number of processes, a sum of floating-point numbers
    must be kept batch by batch and added up in the order of the batches; what does not depend on
    an order, such as a maximum or a count, may be merged as it comes.

    Attributes:
        key: begins the names of its tensors in a checkpoint; another one for each observer of a
            scan.
        mirrored: whether it also wants the values of each image's mirror image.
        image_bytes: what `part` grows by with each image; parts are handed over before they become
            large.
    """

    key: str = ""
    mirrored: bool = False
    image_bytes: int = 0

    @property
    @abstractmethod
    def layers(self) -> Collection[str]:
        """Names of the layers whose values it looks at."""

    @abstractmethod
    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        """Look at one layer of a batch.

        Args:
            layer: its name.
            value: of the layer, on the network's device; not to be kept or written to.
            batch: the images. With `mirrored`, a second call has the values of their mirror images.

        Shape:
            value (n, C, H, W) or (n, C).
        """

    def end(self, batch: Batch, number: int) -> None:  # noqa: B027 - most need nothing
        """Called when all layers of a batch were seen.

        Args:
            batch: the images; of those that cannot be read it has the names alone.
            number: of the batch, counted over all processes from the first image on.
        """

    @abstractmethod
    def part(self) -> Any:
        """Hand over what was seen since the last call, on the CPU and picklable.

        In the first process it may hold what was taken before, too.
        """

    @abstractmethod
    def take(self, parts: Sequence[Any]) -> None:
        """Take the parts of all processes; called in the first process, its own part first."""

    @abstractmethod
    def state(self) -> Mapping[str, Tensor]:
        """All that was taken, as named tensors on the CPU: what a checkpoint keeps."""

    @abstractmethod
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from an earlier `state`."""

    def share(self, ranks: Ranks) -> None:
        """Give all processes what the first one knows; called in each at the end of a scan."""
        self.restore(ranks.from_first(self.state))
