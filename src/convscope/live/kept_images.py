"""Images that were asked about: their pixels, and what the network made of them.

Pixels are small and kept of many images, so that a key stays good for long. Activations are large:
those of the images that were asked about last are kept, within a bound, and made anew when needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadInput
from convscope.network.local.patches import Base
from convscope.network.local.plan import Put
from convscope.network.network import Network
from convscope.network.trace import Trace

__all__ = ["Activations", "KeptImage", "KeptImages", "Standing"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class KeptImage:
    """One image as the network takes it.

    Attributes:
        key: Names it: from its content.
        name: What it is called.
        notes: What had to be done to read it, in words.
        label: Its class in its data set, by name; None where it has none.
        tensor: Preprocessed, on the network's device.
        picture: The same to look at.

    Shape:
        tensor: (C, H, W). picture: (H, W, 3) uint8.
    """

    key: str
    name: str
    notes: tuple[str, ...]
    label: str | None
    tensor: Tensor
    picture: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Standing:
    """How a network stands, with all of its units or without some: its activations of an image.

    Attributes:
        put: What stands in the place of units, by layer and channel.
        values: A layer's values, or the image under "input", by name.
        changed: The layers that are otherwise than with all units.
        base: The activations as windows are put into them.
    """

    put: Put
    values: Callable[[str], Tensor]
    changed: Mapping[str, Tensor]
    base: Base


@dataclass(eq=False)
class Activations:
    """What the network made of one image, and what was derived from it for later questions.

    Attributes:
        trace: The forward pass.
        without: How the network stood without the units that were removed last, if any were.
    """

    trace: Trace
    without: Standing | None = None
    _known: dict[Hashable, object] = field(default_factory=dict)

    @cached_property
    def base(self) -> Base:
        """The activations as windows are put into them; nothing is run again."""
        return Base(self.trace.__getitem__)

    @property
    def whole(self) -> Standing:
        """The network with all of its units."""
        return Standing({}, self.trace.__getitem__, {}, self.base)

    def known(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` works out of this image, once."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]  # type: ignore[return-value]

    @property
    def bytes(self) -> int:
        """The memory that they hold."""
        tensors = [*self.trace.tensors(), *self.base.tensors()]
        if self.without is not None:
            tensors += [*self.without.changed.values(), *self.without.base.tensors()]
        held = (tensor.untyped_storage() for tensor in tensors)
        return sum({one.data_ptr(): one.nbytes() for one in held}.values())


class KeptImages:
    """Images by key, and the activations of those that were used last.

    Args:
        network: That makes the activations.
        count: How many images' pixels are kept.
        memory: Bytes of activations that are kept; those of one image always.
    """

    def __init__(self, network: Network, count: int, memory: int) -> None:
        self.network, self.count, self.memory = network, count, memory
        self._images: OrderedDict[str, KeptImage] = OrderedDict()
        self._activations: OrderedDict[str, Activations] = OrderedDict()
        self._lock = Lock()

    def add(self, image: KeptImage) -> None:
        """Keep an image; one of the same key takes its place."""
        with self._lock:
            self._images[image.key] = image
            self._images.move_to_end(image.key)
            while len(self._images) > self.count:
                self._activations.pop(self._images.popitem(last=False)[0], None)

    def __contains__(self, key: str) -> bool:
        return key in self._images

    def __getitem__(self, key: str) -> KeptImage:
        """The image of a key.

        Raises:
            BadInput: There is none, or it was so long ago that it was forgotten.
        """
        with self._lock:
            if key not in self._images:
                raise BadInput(f"no image {key!r}: it was forgotten, or never given; give it again")
            self._images.move_to_end(key)
            return self._images[key]

    def activations(self, image: KeptImage) -> Activations:
        """What the network makes of an image, run only if it is not known any more.

        Whoever calls has the turn to compute.
        """
        with self._lock:
            found = self._activations.get(image.key)
        if found is None:
            with torch.no_grad():
                found = Activations(self.network.trace(image.tensor))
        with self._lock:
            self._activations[image.key] = found
            self._activations.move_to_end(image.key)
        return found

    def forget(self, key: str) -> None:
        """Forget an image's activations, if they are there."""
        with self._lock:
            self._activations.pop(key, None)

    def let_go(self) -> None:
        """Forget the activations that were used longest ago, down to the bound."""
        with self._lock:
            held = sum(one.bytes for one in self._activations.values())
            while held > self.memory and len(self._activations) > 1:
                held -= self._activations.popitem(last=False)[1].bytes

    @property
    def held(self) -> int:
        """Bytes of activations that are held."""
        with self._lock:
            return sum(one.bytes for one in self._activations.values())
