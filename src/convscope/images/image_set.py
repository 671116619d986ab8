"""The interface of every set of images: it counts, names, decodes, labels and identifies them.

A set says where each image's bytes are and how they become a picture (`content`); decoding,
digests and identity are written here once.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from convscope.errors import BadData, BadImage
from convscope.images.files import Decoded

UNREADABLE = "unreadable"  # in the identity, in place of the digest of bytes nobody could read


@dataclass(frozen=True)
class Content:
    """What an image is made of.

    Attributes:
        data: The bytes that identify it.
        decode: Makes the picture; raises BadImage.
    """

    data: bytes
    decode: Callable[[], Decoded]  # raises BadImage


@dataclass(frozen=True)
class Loaded:
    """One image that was read.

    Attributes:
        image: The picture, RGB and upright.
        digest: SHA-256, hex, of its bytes.
        notes: What was converted, in words.
    """

    image: Image.Image
    digest: str
    notes: tuple[str, ...]


class ImageSet(ABC):
    """Base class of sets of images, counted from 0. Reading is safe from several threads at once.

    Attributes:
        spec: The words that open this set.
        classes: The names that labels count through, or None.
        multi_label: Whether an image may show several classes; its truth is `targets`, not `label`.
    """

    multi_label = False

    def __init__(self, spec: str, classes: tuple[str, ...] | None) -> None:
        self.spec = spec
        self.classes = classes
        self._digests: dict[int, bytes] = {}

    @abstractmethod
    def __len__(self) -> int:
        """How many images there are, the unreadable ones included."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the image's relative POSIX path, which is unique unless a list names one twice."""

    @abstractmethod
    def label(self, index: int) -> int | None:
        """Return the index of the image's class, or None where it has none."""

    def targets(self, index: int) -> tuple[int, ...]:
        """Return for each class 1 if the image shows it, 0 if it does not, -1 if that is not known.

        Raises:
            BadData: The image has no label.
        """
        label = self.label(index)
        if label is None or self.classes is None:
            raise BadData(f"{self.spec}: {self.name(index)} has no label among named classes")
        return tuple(int(number == label) for number in range(len(self.classes)))

    @abstractmethod
    def content(self, index: int) -> Content:
        """Return the image's bytes and decoder.

        Raises:
            BadImage: The bytes cannot be read.
        """

    def load(self, index: int) -> Loaded:
        """Read, hash and decode one image.

        Raises:
            BadImage: It cannot be read or decoded; it is named.
        """
        content = self.content(index)
        digest = hashlib.sha256(content.data).digest()
        self._digests[index] = digest
        decoded = content.decode()
        return Loaded(decoded.image, digest.hex(), decoded.notes)

    def picture(self, index: int) -> Image.Image:
        """Return the image as RGB, upright.

        Raises:
            BadImage: It cannot be read or decoded; it is named.
        """
        return self.load(index).image

    def digest(self, index: int) -> str:
        """Return the SHA-256, hex, of the image's bytes; of an image read before, as it was then.

        Bytes that are no image have a digest too.

        Raises:
            BadImage: The bytes cannot be read.
        """
        known = self._digests.get(index)
        if known is None:
            known = hashlib.sha256(self.content(index).data).digest()
            self._digests[index] = known
        return known.hex()

    def known_digest(self, index: int) -> str | None:
        """Return the digest of an image that was read before, else None; reads nothing."""
        known = self._digests.get(index)
        return None if known is None else known.hex()

    def digests(self, indices: Iterable[int]) -> dict[int, str]:
        """Return the SHA-256, hex, of some images' bytes by index, of those that can be read."""
        digests = {}
        for index in indices:
            with suppress(BadImage):
                digests[index] = self.digest(index)
        return digests

    def recall(self, digests: Mapping[int, str]) -> None:
        """Take over digests that another process has read from the same images."""
        self._digests.update((index, bytes.fromhex(digest)) for index, digest in digests.items())

    def identity(self) -> str:
        """Return the SHA-256, hex, of the whole set: over all names and digests, in order.

        Every image that no pass has read yet is read.
        """
        over_all = hashlib.sha256()
        for index in range(len(self)):
            try:
                digest = self.digest(index)
            except BadImage:
                digest = UNREADABLE
            over_all.update(f"{self.name(index)}\0{digest}\n".encode())
        return over_all.hexdigest()


def utf8(name: str) -> str:
    """Spell out the bytes of a name that are not UTF-8, so that it can be written anywhere."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
