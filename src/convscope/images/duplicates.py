"""Near-duplicates between two sets of images.

A near-duplicate is the same photograph resized, recompressed, mirrored or cut a little at its
borders. The paper left such images out of its transfer tests.

Two steps. A 64-bit perceptual hash (the signs of the lowest frequencies of the grey picture) of
every image, and of a few crops and the mirror image of each, finds pairs that may be one picture;
then the thumbnails are laid over each other as well as a crop allows, and count as one picture if
their correlation is at least SAME.

Numbers only: numpy and Pillow, no network.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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

__all__ = [
    "SAME",
    "Duplicate",
    "Thumbnails",
    "duplicate_pairs",
    "near_duplicates",
    "thumbnails",
]

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
    """An image that is one of another set, but for its size, compression, borders or side.

    Attributes:
        index: Of the image in the set that was asked about.
        name: The image's name there.
        other: The index of its partner in the other set.
        other_name: The partner's name.
        correlation: Of the two aligned thumbnails.
        mirrored: Whether left and right are swapped.
    """

    index: int
    name: str
    other: int
    other_name: str
    correlation: float
    mirrored: bool


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """The images of a set that have structure, small and grey.

    Attributes:
        pixels: float32 (N, SIDE, SIDE), grey levels 0..255.
        indices: int64 (N,), in the set.
        unread: How many images could not be read.
        flat: How many images have no structure.
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
    """Shrink every readable image of a set to a small grey picture.

    Args:
        images: The set.
        workers: Threads that decode; None takes one per core, at most 8.
        progress: Called with (what, done, total).
    """
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
    """Find the images of one set that are in another set too, each with its best partner there.

    Pictures without structure cannot be recognised and are never named. Every image is read once.

    Args:
        images: The set that is asked about.
        others: The set to compare with.
        workers: Threads that decode; None takes one per core, at most 8.
        progress: Called with (what, done, total).

    Returns:
        The duplicates, in the order of `images`.

    Example:
        for pair in near_duplicates(open_images("test"), open_images("train")):
            print(pair.name, pair.other_name, pair.correlation)
    """
    small = thumbnails(images, workers=workers, progress=progress)
    other_small = thumbnails(others, workers=workers, progress=progress)
    best: dict[int, Duplicate] = {}
    for a, b, mirrored in _candidates(small, other_small, progress):
        correlation = _aligned(small.pixels[a], other_small.pixels[b], mirrored)
        index, other = int(small.indices[a]), int(other_small.indices[b])
        if correlation < SAME:
            continue
        if index not in best or correlation > best[index].correlation:
            best[index] = Duplicate(
                index,
                images.name(index),
                other,
                others.name(other),
                round(float(correlation), 4),
                mirrored,
            )
    return tuple(best[index] for index in sorted(best))


def duplicate_pairs(
    images: ImageSet,
    *,
    among: Iterable[int] | None = None,
    also: Iterable[tuple[int, int]] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Duplicate, ...]:
    """Find the pairs of near-duplicates within one set, each pair once.

    Args:
        images: The set.
        among: Indices of the images that count; None is all.
        also: Pairs of indices that are looked at besides those whose hashes are near, such as
            images whose features are alike.
        workers: Threads that decode; None takes one per core, at most 8.
        progress: Called with (what, done, total).

    Returns:
        The pairs, in the order of `index`, which is the smaller one of each pair.

    Example:
        for pair in duplicate_pairs(open_images("train")):
            print(pair.name, pair.other_name, pair.correlation)
    """
    small = thumbnails(images, workers=workers, progress=progress)
    place = {index: number for number, index in enumerate(small.indices.tolist())}
    allowed = set(place) if among is None else set(among)
    tried = {(a, b, mirrored) for a, b, mirrored in _candidates(small, small, progress) if a < b}
    for one, other in also:
        if one in place and other in place and one != other:
            a, b = sorted((place[one], place[other]))
            tried |= {(a, b, False), (a, b, True)}
    best: dict[tuple[int, int], Duplicate] = {}
    for a, b, mirrored in sorted(tried):
        index, other = int(small.indices[a]), int(small.indices[b])
        if index not in allowed or other not in allowed:
            continue
        correlation = round(float(_aligned(small.pixels[a], small.pixels[b], mirrored)), 4)
        known = best.get((index, other))
        if correlation >= SAME and (known is None or correlation > known.correlation):
            names = images.name(index), images.name(other)
            best[index, other] = Duplicate(index, names[0], other, names[1], correlation, mirrored)
    return tuple(best[pair] for pair in sorted(best))


# Which pairs may be one picture: hashes


def _candidates(
    small: Thumbnails, other_small: Thumbnails, progress: Progress | None
) -> Iterator[tuple[int, int, bool]]:
    """Yield (index, other index, mirrored) of pairs that have two crops with near hashes."""
    if not len(small) or not len(other_small):
        return
    whole = _hashes(other_small.pixels, WHOLE)
    cropped = [_hashes(other_small.pixels, margins) for margins in CROPS]
    near = 64 - 2 * BITS_APART  # of the product of two hashes of ±1
    for first in range(0, len(small), CHUNK):
        part = small.pixels[first : first + CHUNK]
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
            progress("comparing", min(first + CHUNK, len(small)), len(small))


def _hashes(pixels: Floats, margins: Margins) -> Floats:
    """Compute perceptual hashes: the signs of the 8 × 8 lowest frequencies about their median.

    The mean's coefficient is left out.

    Shape:
        pixels: (N, SIDE, SIDE). The result: (N, 64) of ±1.

    Source:
        C. Zauner, 2010, the perceptual hash.
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
    """Return the matrix of the discrete cosine transform II, (COMPARED, COMPARED)."""
    places = (np.arange(COMPARED) + 0.5) / COMPARED
    return np.cos(np.pi * np.arange(COMPARED)[:, None] * places).astype(np.float32)


# Whether they are: correlation of thumbnails laid over each other


def _aligned(a: Floats, b: Floats, mirrored: bool) -> float:
    """Return the best correlation that cutting one of two thumbnails at its borders gives."""
    a = a[:, ::-1] if mirrored else a
    return max(_best_cut(a, b), _best_cut(b, a))


def _best_cut(cut: Floats, whole: Floats) -> float:
    """Return the best correlation of `whole` with cuts of `cut`, by hill climbing."""
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
    """Shrink what the margins leave, averaged over each new pixel's area.

    Shape:
        The result: (N, COMPARED, COMPARED).
    """
    top, bottom, left, right = margins
    small = _areas(top, bottom) @ pixels @ _areas(left, right).T
    return small.astype(np.float32, copy=False)


@cache
def _areas(before: float, after: float) -> Floats:
    """Return the share of each old pixel in each new one, (COMPARED, SIDE)."""
    edges = np.linspace(before * SIDE, (1 - after) * SIDE, COMPARED + 1)
    start, stop = edges[:-1, None], edges[1:, None]
    old = np.arange(SIDE)
    shares = np.clip(np.minimum(stop, old + 1) - np.maximum(start, old), 0, None)
    of_one: Floats = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
    return of_one


def _unit(pixels: Floats) -> Floats:
    """Scale each picture to mean 0 and norm 1, so that a sum of products is a correlation."""
    centred = pixels - pixels.mean((1, 2), keepdims=True)
    norms = np.sqrt((centred**2).sum((1, 2), keepdims=True))
    unit: Floats = centred / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit
