"""TIFF files whose samples Pillow does not give as they are: many bands, 16 bits in colour, floats.

Baseline TIFF 6.0 and BigTIFF: strips and tiles, bands side by side or one after the other, samples
of 8 to 64 bits, whole or floating, not compressed or by PackBits, LZW or Deflate, with predictor.
What is not of these is `Unsupported`, and left to Pillow.

Source:
    TIFF 6.0 specification (Adobe 1992), and its Technical Notes 1 and 3 (predictors).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tiff", "Unsupported", "read_tiff"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
OFFSETS, ORIENTATION, SAMPLES, STRIP_ROWS, COUNTS = 273, 274, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 284, 317, 322, 323, 324, 325
EXTRA, FORMAT = 338, 339
TYPES = {1: "B", 3: "H", 4: "I", 16: "Q", 13: "I"}  # of the numbers in a directory
KINDS = {1: "u", 2: "i", 3: "f"}  # sample format -> numpy's kind
WHITE_IS_ZERO, BLACK_IS_ZERO, COLOUR = 0, 1, 2  # photometric interpretations
NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 8, 32946, 32773
MOST_ENTRIES = 1000
MOST_BYTES = 1 << 29  # of all samples


class Unsupported(Exception):
    """A TIFF of a kind that is not read here; the message says which."""


@dataclass(frozen=True, eq=False)
class Tiff:
    """The first picture of a TIFF, as it is stored.

    Attributes:
        samples: (H, W, C).
        orientation: Of the EXIF tag, 1 to 8.
        more: Whether other pages follow.
    """

    samples: NDArray[Any]
    orientation: int
    more: bool


def read_tiff(data: bytes, pixel_limit: int) -> Tiff:
    """Read the first picture of a TIFF.

    Args:
        data: The file's bytes.
        pixel_limit: The most pixels that are read.

    Raises:
        Unsupported: It is of another kind, or has more pixels.
        ValueError: It is damaged.
    """
    directory = _Directory(data)
    layout = _Layout.of(directory)
    if layout.width * layout.height > pixel_limit:
        raise Unsupported("more pixels than are read")
    if layout.width * layout.height * layout.bands * layout.dtype.itemsize > MOST_BYTES:
        raise ValueError(f"its samples have more than {MOST_BYTES:,} bytes")
    samples = np.zeros((layout.height, layout.width, layout.bands), layout.dtype)
    for piece, (top, left, band) in zip(_pieces(data, layout), layout.places(), strict=True):
        rows = min(layout.piece_height, layout.height - top)
        columns = min(layout.piece_width, layout.width - left)
        bands = slice(band, band + layout.piece_bands)
        samples[top : top + rows, left : left + columns, bands] = piece[:rows, :columns]
    if layout.inverted:
        samples = np.iinfo(samples.dtype).max - samples
    native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    return Tiff(native, directory.one(ORIENTATION, 1), directory.more)


class _Directory:
    """The tags of a TIFF's first picture, whose values are whole numbers."""

    def __init__(self, data: bytes) -> None:
        self.order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
        if not self.order:
            raise Unsupported("no TIFF")
        (version,) = self._numbers(data, "H", 2)
        big = version == 43
        if not big and version != 42:
            raise Unsupported("no TIFF")
        word = "Q" if big else "I"
        (place,) = self._numbers(data, word, 8 if big else 4)
        (count,) = self._numbers(data, "Q" if big else "H", place)
        if count > MOST_ENTRIES:
            raise ValueError(f"{count} tags")
        first, size, inline = place + (8 if big else 2), (20 if big else 12), (8 if big else 4)
        self.tags: dict[int, tuple[int, ...]] = {}
        for at in range(first, first + size * count, size):
            tag, kind = self._numbers(data, "HH", at)
            (number,) = self._numbers(data, word, at + 4)
            if kind not in TYPES:
                continue
            code = TYPES[kind]
            if number * struct.calcsize(code) > len(data):
                raise ValueError(f"tag {tag} has {number} values")
            where = at + size - inline
            if number * struct.calcsize(f"={code}") > inline:
                (where,) = self._numbers(data, word, where)
            self.tags[tag] = self._numbers(data, f"{number}{code}", where)
        (following,) = self._numbers(data, word, first + size * count)
        self.more = following != 0

    def one(self, tag: int, default: int | None = None) -> int:
        """The only number of a tag."""
        values = self.tags.get(tag, () if default is None else (default,))
        if not values:
            raise ValueError(f"tag {tag} is missing")
        return values[0]

    def _numbers(self, data: bytes, form: str, at: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(f"{self.order}{form}", data, at)
        except struct.error as error:
            raise ValueError(f"cut short: {error}") from None


@dataclass(frozen=True)
class _Layout:
    """How the samples of a picture lie in the file, in strips or tiles: pieces.

    Attributes:
        width, height, bands: Of the picture.
        dtype: Of a sample, in the file's byte order.
        piece_width, piece_height, piece_bands: Of a piece.
        across, down, planes: How many pieces.
        offsets, counts: Where each piece is, bytes.
        compression, predictor: By TIFF's numbers.
        inverted: Whether 0 is white.
        tiled: Whether pieces are tiles, all of one size.
    """

    width: int
    height: int
    bands: int
    dtype: np.dtype[Any]
    piece_width: int
    piece_height: int
    piece_bands: int
    across: int
    down: int
    planes: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    compression: int
    predictor: int
    inverted: bool
    tiled: bool

    @classmethod
    def of(cls, tags: _Directory) -> _Layout:
        """The layout that a directory says."""
        width, height, bands = tags.one(WIDTH), tags.one(HEIGHT), tags.one(SAMPLES, 1)
        if min(width, height, bands) < 1:
            raise ValueError(f"{width}×{height} pixels of {bands} samples")
        tiled = TILE_OFFSETS in tags.tags
        piece_width = tags.one(TILE_WIDTH) if tiled else width
        piece_height = tags.one(TILE_HEIGHT) if tiled else min(tags.one(STRIP_ROWS, height), height)
        if min(piece_width, piece_height) < 1:
            raise ValueError(f"pieces of {piece_width}×{piece_height}")
        if piece_width * piece_height > 4 * width * height + (1 << 20):
            raise ValueError(f"tiles of {piece_width}×{piece_height}")
        apart = tags.one(PLANAR, 1) == 2
        photometric = tags.one(PHOTOMETRIC, BLACK_IS_ZERO)
        if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, COLOUR):
            raise Unsupported(f"photometric interpretation {photometric}")
        dtype = _sample_type(tags, bands)
        inverted = photometric == WHITE_IS_ZERO
        if inverted and dtype.kind != "u":
            raise Unsupported("0 is white in signed or floating samples")
        layout = cls(
            width, height, bands, dtype, piece_width, piece_height, 1 if apart else bands,
            -(-width // piece_width), -(-height // piece_height), bands if apart else 1,
            tags.tags.get(TILE_OFFSETS if tiled else OFFSETS, ()),
            tags.tags.get(TILE_COUNTS if tiled else COUNTS, ()),
            tags.one(COMPRESSION, NONE), tags.one(PREDICTOR, 1), inverted, tiled,
        )  # fmt: skip
        expected = layout.across * layout.down * layout.planes
        if not len(layout.offsets) == len(layout.counts) == expected:
            raise ValueError(f"{len(layout.offsets)} pieces, not {expected}")
        return layout

    @property
    def piece_bytes(self) -> int:
        """Of a whole piece, not compressed."""
        return self.piece_width * self.piece_height * self.piece_bands * self.dtype.itemsize

    def places(self) -> Iterator[tuple[int, int, int]]:
        """(top, left, first band) of each piece, in the order of the file."""
        for plane in range(self.planes):
            for down in range(self.down):
                for across in range(self.across):
                    yield down * self.piece_height, across * self.piece_width, plane


def _sample_type(tags: _Directory, bands: int) -> np.dtype[Any]:
    bits, kinds = set(tags.tags.get(BITS, (1,))), set(tags.tags.get(FORMAT, (1,)))
    if len(bits) != 1 or len(kinds) != 1:
        raise Unsupported("bands of different samples")
    bit, kind = bits.pop(), kinds.pop()
    allowed = (16, 32, 64) if kind == 3 else (8, 16, 32, 64)
    if bit not in allowed or kind not in KINDS:
        raise Unsupported(f"samples of {bit} bits, format {kind}")
    return np.dtype(f"{tags.order}{KINDS[kind]}{bit // 8}")


def _pieces(data: bytes, layout: _Layout) -> Iterator[NDArray[Any]]:
    """The strips or tiles, each (rows, columns, bands)."""
    for (top, _, _), offset, count in zip(
        layout.places(), layout.offsets, layout.counts, strict=True
    ):
        rows = layout.piece_height
        if not layout.tiled:  # the last strip is as long as it must be
            rows = min(rows, layout.height - top)
        row = layout.piece_width * layout.piece_bands * layout.dtype.itemsize
        content = _expanded(data[offset : offset + count], layout.compression, layout.piece_bytes)
        if len(content) < rows * row:
            raise ValueError("a strip or tile is cut short")
        yield _unpredicted(content[: rows * row], rows, layout)


def _expanded(data: bytes, compression: int, most: int) -> bytes:
    """Undo a piece's compression; what exceeds `most` bytes is never made."""
    if compression == NONE:
        return data
    if compression in (DEFLATE, OLD_DEFLATE):
        try:
            return zlib.decompressobj().decompress(data, most)
        except zlib.error as error:
            raise ValueError(str(error)) from None
    if compression == PACKBITS:
        return _packbits(data, most)
    if compression == LZW:
        return _lzw(data, most)
    raise Unsupported(f"compression {compression}")


def _packbits(data: bytes, most: int) -> bytes:
    out, at = bytearray(), 0
    while at < len(data) and len(out) < most:
        head = data[at]
        if head < 128:  # so many bytes as they are
            out += data[at + 1 : at + 2 + head]
            at += 2 + head
        else:
            if head > 128:  # one byte, repeated
                out += data[at + 1 : at + 2] * (257 - head)
            at += 2 if head > 128 else 1
    return bytes(out[:most])


def _lzw(data: bytes, most: int) -> bytes:
    """Undo TIFF's LZW: codes of 9 to 12 bits, most significant bit first."""
    clear, end = 256, 257
    single = [bytes([byte]) for byte in range(256)] + [b"", b""]
    table, out, width, before = list(single), bytearray(), 9, b""
    held, bits = 0, 0
    for byte in data:
        held, bits = (held << 8) | byte, bits + 8
        if bits < width:
            continue
        bits -= width
        code, held = held >> bits, held & ((1 << bits) - 1)
        if code == end or len(out) >= most:
            break
        if code == clear:
            table, width, before = list(single), 9, b""
            continue
        if code < len(table):
            entry = table[code]
        elif code == len(table) and before:
            entry = before + before[:1]
        else:
            raise ValueError("a code of LZW that stands for nothing")
        out += entry
        if before and len(table) < 4096:
            table.append(before + entry[:1])
        before = entry
        width = min(12, (len(table) + 1).bit_length())
    return bytes(out[:most])


def _unpredicted(content: bytes, rows: int, layout: _Layout) -> NDArray[Any]:
    """Undo the predictor: samples are differences from their neighbours on the left."""
    shape = (rows, layout.piece_width, layout.piece_bands)
    if layout.predictor == 1:
        return np.frombuffer(content, layout.dtype).reshape(shape)
    if layout.predictor == 2 and layout.dtype.kind in "ui":
        values = np.frombuffer(content, layout.dtype).reshape(shape)
        return np.cumsum(values, axis=1, dtype=layout.dtype.newbyteorder("="))
    if layout.predictor == 3 and layout.dtype.kind == "f":
        return _from_byte_planes(content, layout, shape)
    raise Unsupported(f"predictor {layout.predictor}")


def _from_byte_planes(content: bytes, layout: _Layout, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Undo the floating-point predictor: the bytes of each row lie plane by plane, largest first,
    as differences from the byte as many samples before."""
    size, bands = layout.dtype.itemsize, layout.piece_bands
    rows = np.frombuffer(content, np.uint8).reshape(shape[0], -1, bands)
    rows = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(shape[0], size, -1)
    big = np.ascontiguousarray(rows.transpose(0, 2, 1))  # (rows, columns * bands, size)
    return big.view(f">f{size}").reshape(shape)
