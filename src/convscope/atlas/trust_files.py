"""Where the trust strip waits while an atlas is being made: plain files, as the tiles do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convscope.atlas.tiles import AtlasLayer, Winner
from convscope.atlas.trust import FIELDS
from convscope.store.atomic import replace_file

__all__ = ["Measured", "TrustFiles", "read_numbers"]


@dataclass(frozen=True)
class Measured:
    """How far a winner's picture can be trusted.

    Attributes:
        winner: of whom it is.
        numbers: in the order of `FIELDS`.
    """

    winner: Winner
    numbers: tuple[float, ...]


class TrustFiles:
    """Numbers on disk, a plain file for each layer, each picture's at its own offset.

    Used in a `with` statement, which closes the files.

    Args:
        folder: for the files; it is made.
        layers: whose pictures are checked. Files that are there already are gone on with.
        checked: N, how many pictures of each feature map.
    """

    def __init__(self, folder: Path, layers: Sequence[AtlasLayer], checked: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._checked = checked
        self._files = {}
        for layer in layers:
            path = _path(folder, layer.record.slug)
            if not path.exists():
                size = layer.record.channels * checked * len(FIELDS)
                replace_file(path, np.full(size, np.nan, np.float32).tobytes())
            self._files[layer.record.name] = path.open("r+b")

    def __enter__(self) -> TrustFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, found: Iterable[Measured]) -> None:
        """Write the numbers of some pictures at their places."""
        for one in found:
            file = self._files[one.winner.layer]
            numbers = np.array(one.numbers, np.float32)
            place = one.winner.channel * self._checked + one.winner.rank
            file.seek(place * numbers.nbytes)
            file.write(numbers.tobytes())

    def flush(self) -> None:
        """Make sure that everything written is on the disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())


def read_numbers(folder: Path, layer: AtlasLayer, checked: int) -> NDArray[np.float32]:
    """Read the numbers of a layer's pictures.

    Args:
        folder: of the `TrustFiles`.
        layer: whose pictures were checked.
        checked: N, how many of each feature map.

    Shape:
        The result: (C, N, F), F as many as there are `FIELDS`.
    """
    numbers = np.frombuffer(_path(folder, layer.record.slug).read_bytes(), np.float32)
    return numbers.reshape(layer.record.channels, checked, len(FIELDS))


def _path(folder: Path, slug: str) -> Path:
    return folder / f"{slug}.trust"
