"""The winners' pictures at one kept epoch: patches beside projections, kept as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convscope.atlas.render import project_winners
from convscope.atlas.sheets import patch_tile, projection_tile, shown_window, tile_shape
from convscope.atlas.tiles import Winner
from convscope.distributed import ALONE, Ranks
from convscope.errors import BadData
from convscope.experiments.evolution.kept import OpenedEpoch
from convscope.experiments.evolution.winners import Sight, Winners
from convscope.images.pictures import GREY, crop, shown_box
from convscope.models.weights import write_weights

__all__ = ["Tiles", "draw_tiles", "kept_tiles"]

Pixels = NDArray[np.uint8]
KINDS = ("patches", "projections")


@dataclass(frozen=True, eq=False)
class Tiles:
    """A layer's pictures at one epoch, uint8 (M, th, tw, 3) each; those of dead maps are grey."""

    patches: Pixels
    projections: Pixels

    @classmethod
    def grey(cls, maps: int, window: tuple[int, int]) -> Tiles:
        """Make tiles without anything on them.

        Args:
            maps: How many.
            window: (height, width) in pixels.
        """
        shape = (maps, *tile_shape(window), 3)
        return cls(*(np.full(shape, GREY, np.uint8) for _ in range(2)))


def draw_tiles(
    subject: OpenedEpoch,
    sight: Sight,
    winners: Mapping[str, Winners],
    channels: Mapping[str, Sequence[int]],
) -> dict[str, Tiles]:
    """Each map's winner at this epoch: what its unit sees, and its projection.

    Args:
        subject: the network after an epoch.
        sight: how it is looked at; its processes share the images.
        winners: at this epoch, by layer.
        channels: the maps to draw, by layer.

    Returns:
        By layer, whole in the first process. Tiles are as an atlas has them (atlas/sheets.py).
    """
    network, extent = subject.network, subject.network.input_shape[1:]
    wanted: dict[int, list[Winner]] = {}  # by image
    for name, chosen in channels.items():
        for place, channel in enumerate(chosen):
            if not winners[name].empty[channel]:
                winner = _winner(subject, sight, name, winners[name], channel, place)
                wanted.setdefault(winner.image, []).append(winner)
    own: list[_Drawn] = []
    total = sum(map(len, wanted.values()))
    for images, entries in sight.batches(subject, wanted):
        own += _drawn(subject, sight, images, entries)
        sight.progress(f"epoch {subject.epoch}: projections", len(own), total)
    tiles: dict[str, Tiles] = {}
    for name, chosen in channels.items():
        field = network.layer(sight.activations[name]).field
        tiles[name] = Tiles.grey(len(chosen), shown_window(field.size, extent))
    for winner, patch, projection in chain.from_iterable(sight.ranks.gathered(own)):
        tiles[winner.layer].patches[winner.rank] = patch
        tiles[winner.layer].projections[winner.rank] = projection
    return tiles


_Drawn = tuple[Winner, Pixels, Pixels]
"""A winner, its patch and its projection."""


def _drawn(
    subject: OpenedEpoch, sight: Sight, images: Tensor, entries: Sequence[tuple[int, Winner]]
) -> list[_Drawn]:
    """The tiles of the winners in one batch."""
    network, preprocess = subject.network, subject.preprocess
    extent = network.input_shape[1:]
    pictures = torch.from_numpy(preprocess.to_uint8(images)).permute(0, 3, 1, 2)
    patches = {
        winner: patch_tile(
            crop(pictures[row], shown_box(winner.box, *extent), GREY, within=winner.box)
        )
        for row, winner in entries
    }
    trace = network.trace(images, [])  # it runs as far as it is asked
    projected = project_winners(trace, entries, sight.activations, sight.rules)
    return [
        (winner, patches[winner], projection_tile(preprocess.rgb(projection)))
        for winner, projection in projected
    ]


def _winner(
    subject: OpenedEpoch, sight: Sight, layer: str, winners: Winners, channel: int, place: int
) -> Winner:
    """A map's winner as the renderer takes it; its rank is the place where its tile goes."""
    row, column = winners.place(channel)
    return Winner(
        layer=layer,
        channel=channel,
        rank=place,
        row=row,
        column=column,
        box=subject.network.layer(sight.activations[layer]).field.box((row, column)),
        image=int(winners.image[channel]),
        value=float(winners.value[channel]),
    )


def kept_tiles(
    path: Path | None,
    layers: Sequence[str],
    make: Callable[[], dict[str, Tiles]],
    ranks: Ranks = ALONE,
) -> dict[str, Tiles]:
    """The tiles in a file, else made and written there.

    Args:
        path: of the file; None keeps nothing.
        layers: in the file's order.
        make: called in every process or in none; whole in the first one.
        ranks: the processes. The first one reads and writes.

    Returns:
        By layer, in every process.

    Raises:
        BadData: the file is damaged.
    """
    there = ranks.from_first(lambda: path is not None and path.exists())
    made = {} if there else make()

    def whole() -> dict[str, Tiles]:
        if path is not None and there:
            return _read(path, layers)
        if path is not None:
            _write(path, layers, made)
        return made

    return ranks.from_first(whole)


def _write(path: Path, layers: Sequence[str], made: Mapping[str, Tiles]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{number}/{kind}": torch.from_numpy(getattr(made[name], kind))
        for number, name in enumerate(layers)
        for kind in KINDS
    }
    write_weights(path, tensors, {})


def _read(path: Path, layers: Sequence[str]) -> dict[str, Tiles]:
    try:
        tensors = load_file(path)
        return {
            name: Tiles(*(tensors[f"{number}/{kind}"].numpy() for kind in KINDS))
            for number, name in enumerate(layers)
        }
    except (SafetensorError, OSError, KeyError) as error:
        raise BadData(f"{path} cannot be read ({error}): remove it, and resume") from None
