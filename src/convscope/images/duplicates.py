"""Near-duplicates between two sets of images: the same photograph, resized, recompressed, mirrored
or cut a little at its borders. The paper left such images out of its transfer tests.

Two steps. A 64-bit perceptual hash (the signs of the lowest frequencies of the grey picture) of
every image, and of a few crops and the mirror image of each, finds pairs that may be one picture;
then the thumbnails are laid over each other as well as a crop allows, and count as one picture if
their correlation is at least SAME.

Numbers only: numpy and Pillow, no network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.errors import BadImage
from convscope.images.image_set import ImageSet
from convscope.progress import Progress
from convscope.record import Record

__all__ = ["SAME", "Duplicate", "Thumbnails", "near_duplicates", "thumbnails"]

SAME = 0.98  # correlation of two aligned thumbnails
BITS_APART = 14  # of 64, at most, for a pair to be looked at; unrelated pictures differ in about 32
SIDE = 48  # pixels of a thumbnail
COMPARED = 32  # pixels of the thumbnails whose correlation is taken
FLAT = 4.0  # grey levels: a picture whose deviation is less has no structure to recognise
CUT = 0.08  # of the side: how much the crops that are hashed leave out
MOST_CUT = 0.16  # of the side, at each border, when two thumbnails are laid over each other
STEPS = (0.04, 0.02, 0.01)
CHUNK = 512  # pictures between two reports; hashes compared at once

Floats = NDArray[np.float32]
Margins = tuple[float, float, float, float]
"""What is cut off at the top, bottom, left and right, as shares of the side."""

WHOLE: Margins = (0, 0, 0, 0)
CROPS: tuple[Margins, ...] = (
    (CUT / 2, CUT / 2, CUT / 2, CUT / 2),
    (CUT, CUT, CUT, CUT),
    (0, CUT, 0, CUT),
    (0, CUT, CUT, 0),
    (CUT, 0, 0, CUT),
    (CUT, 0, CUT, 0),
)


@dataclass(frozen=True)
class Duplicate(Record):
    """An image that is, but for its size, compression, borders or side, one of another set.

    Attributes:
        index, name: in the set that was asked about.
        other, other_name: in the set it was held against.
        correlation: of the aligned thumbnails.
        mirrored: left and right are swapped.
    """

    index: int
    name: str
    other: int
    other_name: str
    correlation: float
    mirrored: bool


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """The images of a set that have structure, small.

    pixels : float32 (N, SIDE, SIDE), grey;   indices : int64 (N,), in the set
    unread, flat : how many images could not be read, or have no structure
    """

    pixels: Floats
    indices: NDArray[np.int64]
    unread: int = 0
    flat: int = 0

    def __len__(self) -> int:
        return len(self.indices)


def thumbnails(
    images: ImageSet, *, workers: int | None = None, progress: Progress | None = None
) -> Thumbnails:
    """Every readable image of a set, small and grey."""
    pixels = np.zeros((len(images), SIDE, SIDE), np.float32)
    readable = np.ones(len(images), bool)

    def fill(index: int) -> None:
        try:
            grey = images.picture(index).convert("L")
        except BadImage:
            readable[index] = False
            return
        pixels[index] = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)

    threads = min(8, os.cpu_count() or 1) if workers is None else max(1, workers)
    with ThreadPoolExecutor(threads, thread_name_prefix="convscope-images") as pool:
        for first in range(0, len(images), CHUNK):
            last = min(first + CHUNK, len(images))
            list(pool.map(fill, range(first, last)))
            if progress:
                progress(f"thumbnails of {Path(images.spec).name}", last, len(images))
    structured = pixels.std((1, 2)) >= FLAT
    kept = np.flatnonzero(readable & structured)
    unread = int((~readable).sum())
    return Thumbnails(pixels[kept], kept, unread, len(images) - unread - len(kept))


def near_duplicates(
    images: ImageSet,
    others: ImageSet,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Duplicate, ...]:
    """The images of one set that are in the other too, each with its best partner there.

    Pictures without structure cannot be recognised and are never named. Every image is read once.
    """
    mine = thumbnails(images, workers=workers, progress=progress)
    theirs = thumbnails(others, workers=workers, progress=progress)
    found: dict[int, Duplicate] = {}
    for a, b, mirrored in _candidates(mine, theirs, progress):
        correlation = _aligned(mine.pixels[a], theirs.pixels[b], mirrored)
        index, other = int(mine.indices[a]), int(theirs.indices[b])
        if correlation < SAME:
            continue
        if index not in found or correlation > found[index].correlation:
            found[index] = Duplicate(
                index,
                images.name(index),
                other,
                others.name(other),
                round(float(correlation), 4),
                mirrored,
            )
    return tuple(found[index] for index in sorted(found))


# Which pairs may be one picture: hashes


def _candidates(
    mine: Thumbnails, theirs: Thumbnails, progress: Progress | None
) -> Iterator[tuple[int, int, bool]]:
    """(mine, theirs, mirrored) of pairs with some pair of crops whose hashes are near."""
    if not len(mine) or not len(theirs):
        return
    whole = _hashes(theirs.pixels, WHOLE)
    cropped = [_hashes(theirs.pixels, margins) for margins in CROPS]
    near = 64 - 2 * BITS_APART  # of the product of two hashes of ±1
    for first in range(0, len(mine), CHUNK):
        part = mine.pixels[first : first + CHUNK]
        for mirrored in (False, True):
            seen = part[:, :, ::-1] if mirrored else part
            own = _hashes(seen, WHOLE)
            close = own @ whole.T >= near
            for other in cropped:
                close |= own @ other.T >= near
            for margins in CROPS:
                close |= _hashes(seen, margins) @ whole.T >= near
            for a, b in np.argwhere(close):
                yield first + int(a), int(b), mirrored
        if progress:
            progress("comparing", min(first + CHUNK, len(mine)), len(mine))


def _hashes(pixels: Floats, margins: Margins) -> Floats:
    """(N, 64) of ±1: the signs of the 8 × 8 lowest frequencies, about their median; not the mean's.

    The perceptual hash of C. Zauner, 2010, without its first coefficient.
    """
    small = _cut(pixels, margins)
    low = _cosines()[:9]
    waves = (low @ small @ low.T).reshape(len(pixels), -1)[:, 1:65]
    signs: Floats = np.where(waves > np.median(waves, axis=1, keepdims=True), 1, -1).astype(
        np.float32
    )
    return signs


@cache
def _cosines() -> Floats:
    """(COMPARED, COMPARED), the discrete cosine transform II."""
    places = (np.arange(COMPARED) + 0.5) / COMPARED
    return np.cos(np.pi * np.arange(COMPARED)[:, None] * places).astype(np.float32)


# Whether they are: correlation of thumbnails laid over each other


def _aligned(a: Floats, b: Floats, mirrored: bool) -> float:
    """The best correlation that cutting one of the two at its borders gives."""
    a = a[:, ::-1] if mirrored else a
    return max(_best_cut(a, b), _best_cut(b, a))


def _best_cut(cut: Floats, whole: Floats) -> float:
    """The best correlation of `whole` with `cut`, cut at each border: uphill, in smaller steps."""
    wanted = _unit(_cut(whole[None], WHOLE))[0]

    def score(margins: Margins) -> float:
        return float((_unit(_cut(cut[None], margins))[0] * wanted).sum())

    best = max((WHOLE, *CROPS), key=score)
    top = score(best)
    for step in STEPS:
        better = True
        while better:
            better = False
            for side in range(4):
                for change in (-step, step):
                    tried = list(best)
                    tried[side] = round(tried[side] + change, 4)
                    if not 0 <= tried[side] <= MOST_CUT:
                        continue
                    margins = (tried[0], tried[1], tried[2], tried[3])
                    value = score(margins)
                    if value > top + 1e-5:
                        best, top, better = margins, value, True
    return top


def _cut(pixels: Floats, margins: Margins) -> Floats:
    """(N, COMPARED, COMPARED): what the margins leave, averaged over each new pixel's area."""
    top, bottom, left, right = margins
    small = _areas(top, bottom) @ pixels @ _areas(left, right).T
    return small.astype(np.float32, copy=False)


@cache
def _areas(before: float, after: float) -> Floats:
    """(COMPARED, SIDE): the share of each old pixel in each new one."""
    edges = np.linspace(before * SIDE, (1 - after) * SIDE, COMPARED + 1)
    start, stop = edges[:-1, None], edges[1:, None]
    old = np.arange(SIDE)
    shares = np.clip(np.minimum(stop, old + 1) - np.maximum(start, old), 0, None)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def _unit(pixels: Floats) -> Floats:
    """Mean 0 and norm 1 each, so that a sum of products is a correlation."""
    centred = pixels - pixels.mean((1, 2), keepdims=True)
    norms = np.sqrt((centred**2).sum((1, 2), keepdims=True))
    unit: Floats = centred / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit
