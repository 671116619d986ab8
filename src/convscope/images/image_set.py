"""The interface of every set of images: it counts, names, decodes, labels and identifies them.

A set says where each image's bytes are and how they become a picture (`content`); decoding,
digests and identity are written here once.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from convscope.display import Brief
from convscope.errors import BadData, BadImage
from convscope.images.files import Decoded, as_form
from convscope.images.raster import RGB, AnyPicture, Form
from convscope.text import printable

MOST_NAMED = 10  # of what was left out of a set
UNREADABLE = "unreadable"  # in the identity, in place of the digest of bytes nobody could read


@dataclass(frozen=True)
class Content:
    """What an image is made of.

    Attributes:
        data: The bytes that identify it.
        decode: Makes the picture, RGB with 8 bits a sample; raises BadImage.
        decode_as: Makes the picture in another form; None: from the RGB picture, so that there are
            no other channels than these and grey.
    """

    data: bytes
    decode: Callable[[], Decoded]
    decode_as: Callable[[Form], Decoded] | None = None

    def decoded(self, name: str, form: Form) -> Decoded:
        """Make the picture in the form that is asked for.

        Raises:
            BadImage: It cannot be decoded, or not in this form.
        """
        if form.is_rgb:
            return self.decode()
        if self.decode_as is not None:
            return self.decode_as(form)
        found = self.decode()
        if isinstance(found.image, Image.Image):
            made = as_form(found.image, name, form)
            return Decoded(made.image, (*found.notes, *made.notes))
        return found


@dataclass(frozen=True)
class LeftOut:
    """What lies among the images of a set and is none that can be opened.

    Attributes:
        name: A file, folder or entry.
        reason: Why it was left out, in words.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Loaded:
    """One image that was read.

    Attributes:
        image: The picture, upright, in the form that was asked for.
        digest: SHA-256, hex, of its bytes.
        notes: What was converted, in words.
    """

    image: AnyPicture
    digest: str
    notes: tuple[str, ...]


class ImageSet(Brief, ABC):
    """Base class of sets of images, counted from 0. Reading is safe from several threads at once.

    Attributes:
        spec: The words that open this set.
        classes: The names that labels count through, or None.
        multi_label: Whether an image may show several classes; its truth is `targets`, not `label`.
        left_out: What was found among the images and could not be taken for one.
        streamed: Whether images come from afar: then none is read only to know its digest.
    """

    multi_label = False
    left_out: tuple[LeftOut, ...] = ()
    streamed = False

    def __init__(self, spec: str, classes: tuple[str, ...] | None) -> None:
        self.spec = spec
        self.classes = classes
        self._digests: dict[int, bytes] = {}

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"<{type(self).__name__} {self.spec}: {len(self)} images{classes}>"

    def about_left_out(self) -> list[str]:
        """Say what was left out, a line for each of the first MOST_NAMED, and how many more."""
        named = self.left_out[:MOST_NAMED]
        lines = [f"left out {printable(each.name)}: {each.reason}" for each in named]
        more = len(self.left_out) - len(lines)
        return [*lines, f"left out {more} more of {self.spec}"] if more else lines

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

    def load(self, index: int, form: Form = RGB) -> Loaded:
        """Read, hash and decode one image.

        Args:
            index: Of the image.
            form: What it is decoded to: `Preprocess.form`; by default RGB with 8 bits a sample.

        Raises:
            BadImage: It cannot be read or decoded; it is named.
        """
        content = self.content(index)
        digest = hashlib.sha256(content.data).digest()
        self._digests[index] = digest
        decoded = content.decoded(self.name(index), form)
        return Loaded(decoded.image, digest.hex(), decoded.notes)

    def picture_as(self, index: int, form: Form) -> AnyPicture:
        """Return the image, upright, in a form: `Preprocess.form` for a network's.

        Raises:
            BadImage: It cannot be read or decoded, or not in this form; it is named.
        """
        return self.load(index, form).image

    def picture(self, index: int) -> Image.Image:
        """Return the image as RGB, upright.

        Raises:
            BadImage: It cannot be read or decoded; it is named.
        """
        found = self.load(index).image
        assert isinstance(found, Image.Image)  # of the form RGB
        return found

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

    def known_digests(self) -> dict[int, str]:
        """Return the digests of the images that were read before, by index."""
        return {index: digest.hex() for index, digest in self._digests.items()}

    def recall(self, digests: Mapping[int, str]) -> None:
        """Take over digests that another process has read from the same images."""
        self._digests.update((index, bytes.fromhex(digest)) for index, digest in digests.items())

    def scan_order(self) -> Sequence[int]:
        """Return every index once, in the order in which a pass reads the set best."""
        return range(len(self))

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


def about_first(left_out: Sequence[LeftOut]) -> str:
    """Say what was left out first, for the end of a message; "" where nothing was."""
    return f"; {printable(left_out[0].name)} {left_out[0].reason}" if left_out else ""


def utf8(name: str) -> str:
    """Spell out the bytes of a name that are not UTF-8, so that it can be written anywhere."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
