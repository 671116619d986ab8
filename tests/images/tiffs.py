"""TIFFs of any kind of samples, written tag by tag: a second, naive view of the format."""

from __future__ import annotations

import zlib

import numpy as np


def written_tiff(
    planes: np.ndarray,
    *,
    colours: int = 2,
    order: str = "<",
    apart: bool = False,
    tile: tuple[int, int] | None = None,
    rows: int | None = None,
    deflate: bool = False,
    predicted: bool = False,
) -> bytes:
    """A TIFF of samples (H, W, bands).

    Args:
        planes: The samples.
        colours: 0 white is zero, 1 grey, 2 RGB.
        order: Of the bytes, < or >.
        apart: Whether each band lies by itself.
        tile: (height, width) of tiles; None is strips.
        rows: Of a strip; None is all.
        deflate: Whether pieces are compressed.
        predicted: Whether samples are differences from their left neighbours.
    """
    height, width, bands = planes.shape
    tall, wide = tile or (rows or height, width)
    pieces = []
    for group in [planes[..., b : b + 1] for b in range(bands)] if apart else [planes]:
        for top in range(0, height, tall):
            for left in range(0, width, wide):
                piece = group[top : top + tall, left : left + wide]
                if tile:
                    lacking = ((0, tall - piece.shape[0]), (0, wide - piece.shape[1]), (0, 0))
                    piece = np.pad(piece, lacking)
                if predicted:
                    piece = np.concatenate([piece[:, :1], np.diff(piece, axis=1)], axis=1)
                data = piece.astype(planes.dtype.newbyteorder(order)).tobytes()
                pieces.append(zlib.compress(data) if deflate else data)
    kind = {"u": 1, "i": 2, "f": 3}[planes.dtype.kind]
    tags = {
        256: [width], 257: [height], 258: [8 * planes.dtype.itemsize] * bands,
        259: [8 if deflate else 1], 262: [colours], 277: [bands], 284: [2 if apart else 1],
        317: [2 if predicted else 1], 339: [kind] * bands,
    }  # fmt: skip
    if bands > 3 and colours == 2:
        tags[338] = [0] * (bands - 3)
    tags |= {322: [wide], 323: [tall]} if tile else {278: [tall]}
    places, counts = (324, 325) if tile else (273, 279)
    tags |= {places: [0] * len(pieces), counts: [len(piece) for piece in pieces]}

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little" if order == "<" else "big")

    start = 8 + 2 + 12 * len(tags) + 4
    beside_bytes = sum(4 * len(values) for values in tags.values() if len(values) > 1)
    ends = np.cumsum([start + beside_bytes, *tags[counts]]).tolist()
    tags[places] = ends[:-1]
    directory, beside = b"", b""
    for tag, values in sorted(tags.items()):
        content = b"".join(number(value, 4) for value in values)
        if len(values) > 1:
            beside, content = beside + content, number(start + len(beside), 4)
        directory += number(tag, 2) + number(4, 2) + number(len(values), 4) + content
    mark = b"II" if order == "<" else b"MM"
    head = mark + number(42, 2) + number(8, 4) + number(len(tags), 2)
    return head + directory + bytes(4) + beside + b"".join(pieces)
