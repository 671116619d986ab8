"""Where the trust strip waits while an atlas is being made: plain files, as the tiles do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convscope.atlas.seals import SealedFile, check_seals
from convscope.atlas.tiles import RenderedLayer, Winner
from convscope.atlas.trust import FIELDS

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

    def __init__(self, folder: Path, layers: Sequence[RenderedLayer], checked: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._checked = checked
        self._files = {}
        for layer in layers:
            unknown = np.full(layer.record.channels * checked * len(FIELDS), np.nan, np.float32)
            path = _path(folder, layer.record.slug)
            self._files[layer.record.name] = SealedFile(path, unknown.tobytes())

    def __enter__(self) -> TrustFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.__exit__(None, None, None)

    def write(self, found: Iterable[Measured]) -> None:
        """Write the numbers of some pictures at their places."""
        for one in found:
            file = self._files[one.winner.layer]
            place = one.winner.channel * self._checked + one.winner.rank
            file.write(place, np.array(one.numbers, np.float32).tobytes())

    def flush(self) -> None:
        """Make sure that everything written is on the disk."""
        for file in self._files.values():
            file.flush()


def read_numbers(folder: Path, layer: RenderedLayer, checked: int) -> NDArray[np.float32]:
    """Read the numbers of a layer's pictures.

    Args:
        folder: of the `TrustFiles`.
        layer: whose pictures were checked.
        checked: N, how many of each feature map.

    Raises:
        FolderInUse: They are not those that were written.

    Shape:
        The result: (C, N, F), F as many as there are `FIELDS`.
    """
    path, shape = _path(folder, layer.record.slug), (layer.record.channels, checked, len(FIELDS))
    content = path.read_bytes()
    numbers = np.full(shape, np.nan, np.float32)
    size = min(len(content), numbers.nbytes) // 4
    numbers.reshape(-1)[:size] = np.frombuffer(content[: 4 * size], np.float32)
    rows = numbers.reshape(-1, len(FIELDS))
    check_seals(path, rows, np.asarray(np.isfinite(rows).any(1)))
    return numbers


def _path(folder: Path, slug: str) -> Path:
    return folder / f"{slug}.trust"
