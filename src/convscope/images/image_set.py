"""One face for every set of images: it counts, names, decodes, labels and identifies them.

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
    """What an image is made of: the bytes that identify it, and how they become a picture."""

    data: bytes
    decode: Callable[[], Decoded]  # raises BadImage


@dataclass(frozen=True)
class Loaded:
    """One image read: RGB picture, SHA-256 of its bytes in hex, what was converted, in words."""

    image: Image.Image
    digest: str
    notes: tuple[str, ...]


class ImageSet(ABC):
    """Images counted from 0. Reading is safe from several threads at once.

    spec    : the words that open this set
    classes : the names that labels count through, or None
    multi_label : whether an image may show several classes; its truth is `targets`, not `label`
    """

    multi_label = False

    def __init__(self, spec: str, classes: tuple[str, ...] | None) -> None:
        self.spec = spec
        self.classes = classes
        self._digests: dict[int, bytes] = {}

    @abstractmethod
    def __len__(self) -> int:
        """How many images, the unreadable ones included."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The image's relative path, POSIX; unique, unless a list names one twice."""

    @abstractmethod
    def label(self, index: int) -> int | None:
        """The index of the image's class, or None where it has none."""

    def targets(self, index: int) -> tuple[int, ...]:
        """Over the classes: 1 where the image shows the class, 0 where not, -1 where nobody says.

        Raises  BadData: the image has no label.
        """
        label = self.label(index)
        if label is None or self.classes is None:
            raise BadData(f"{self.spec}: {self.name(index)} has no label among named classes")
        return tuple(int(each == label) for each in range(len(self.classes)))

    @abstractmethod
    def content(self, index: int) -> Content:
        """The image's bytes and decoder. Raises  BadImage: the bytes cannot be read."""

    def load(self, index: int) -> Loaded:
        """Read, hash and decode one image. Raises  BadImage, naming it."""
        content = self.content(index)
        digest = hashlib.sha256(content.data).digest()
        self._digests[index] = digest
        decoded = content.decode()
        return Loaded(decoded.image, digest.hex(), decoded.notes)

    def picture(self, index: int) -> Image.Image:
        """The image as RGB, upright. Raises  BadImage, naming it."""
        return self.load(index).image

    def digest(self, index: int) -> str:
        """SHA-256 of the image's bytes, hex; of an image read before, as it was then.

        Raises  BadImage: the bytes cannot be read. Bytes that are no image have a digest.
        """
        known = self._digests.get(index)
        if known is None:
            known = hashlib.sha256(self.content(index).data).digest()
            self._digests[index] = known
        return known.hex()

    def known_digest(self, index: int) -> str | None:
        """The digest of an image that was read before, else None; reads nothing."""
        known = self._digests.get(index)
        return None if known is None else known.hex()

    def digests(self, indices: Iterable[int]) -> dict[int, str]:
        """SHA-256 of some images' bytes, hex, by index; of those that can be read."""
        found = {}
        for index in indices:
            with suppress(BadImage):
                found[index] = self.digest(index)
        return found

    def recall(self, digests: Mapping[int, str]) -> None:
        """Take over digests that another process has read from the same images."""
        self._digests.update((index, bytes.fromhex(digest)) for index, digest in digests.items())

    def identity(self) -> str:
        """SHA-256 of the whole set, hex: over all names and digests, in order.

        Reads every image that no pass has read yet.
        """
        whole = hashlib.sha256()
        for index in range(len(self)):
            try:
                digest = self.digest(index)
            except BadImage:
                digest = UNREADABLE
            whole.update(f"{self.name(index)}\0{digest}\n".encode())
        return whole.hexdigest()


def utf8(name: str) -> str:
    """The name with bytes that are not UTF-8 spelled out, so that it can be written anywhere."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
