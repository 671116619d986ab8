"""The winners' pictures at one kept epoch: patches beside projections, kept as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from convscope.atlas.depict import project_winners
from convscope.atlas.sheets import patch_tile, projection_tile, shown_window, tile_shape
from convscope.atlas.tiles import Winner
from convscope.errors import BadData
from convscope.experiments.evolution.kept import Subject
from convscope.experiments.evolution.winners import Sight, Winners
from convscope.images.pictures import GREY, crop, shown_box
from convscope.network.weights import write_weights

__all__ = ["Tiles", "draw", "kept_tiles"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Tiles:
    """A layer's pictures at one epoch, uint8 (M, th, tw, 3) each; those of dead maps are grey."""

    patches: Pixels
    projections: Pixels

    @classmethod
    def grey(cls, maps: int, window: tuple[int, int]) -> Tiles:
        """Tiles without anything on them. window : (height, width) in pixels"""
        shape = (maps, *tile_shape(window), 3)
        return cls(*(np.full(shape, GREY, np.uint8) for _ in range(2)))


def draw(
    subject: Subject,
    sight: Sight,
    winners: Mapping[str, Winners],
    channels: Mapping[str, Sequence[int]],
) -> dict[str, Tiles]:
    """Each map's winner at this epoch: what its unit sees, and its projection. By layer.

    channels : the maps to draw.   Tiles are as an atlas has them (atlas/sheets.py).
    """
    network, preprocess = subject.network, subject.preprocess
    extent = network.input_shape[1:]
    tiles: dict[str, Tiles] = {}
    wanted: dict[int, list[Winner]] = {}  # by image
    for name, chosen in channels.items():
        field = network.layer(sight.activations[name]).field
        tiles[name] = Tiles.grey(len(chosen), shown_window(field.size, extent))
        for place, channel in enumerate(chosen):
            if not winners[name].dead[channel]:
                winner = _winner(subject, sight, name, winners[name], channel, place)
                wanted.setdefault(winner.image, []).append(winner)
    total, done = sum(map(len, wanted.values())), 0
    for images, entries in sight.batches(subject, wanted):
        pictures = torch.from_numpy(preprocess.to_uint8(images)).permute(0, 3, 1, 2)
        for row, winner in entries:
            patch = crop(pictures[row], shown_box(winner.box, *extent), GREY, within=winner.box)
            tiles[winner.layer].patches[winner.rank] = patch_tile(patch)
        projected = project_winners(network, images, entries, sight.activations, sight.rules)
        for winner, projection in projected:
            tile = projection_tile(preprocess.rgb(projection))
            tiles[winner.layer].projections[winner.rank] = tile
        done += len(entries)
        sight.progress(f"epoch {subject.epoch}: projections", done, total)
    return tiles


def _winner(
    subject: Subject, sight: Sight, layer: str, winners: Winners, channel: int, place: int
) -> Winner:
    """place : where the tile goes, as the winner's `rank`"""
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
    path: Path | None, layers: Sequence[str], make: Callable[[], dict[str, Tiles]]
) -> dict[str, Tiles]:
    """The tiles in that file, else made and written there. By layer; None keeps nothing.

    Raises  BadData: the file is damaged.
    """
    if path is None:
        return make()
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{number}/{kind}": torch.from_numpy(getattr(made[name], kind))
            for number, name in enumerate(layers)
            for kind in ("patches", "projections")
        }
        write_weights(path, tensors, {})
        return made
    try:
        found = load_file(path)
        return {
            name: Tiles(*(found[f"{number}/{kind}"].numpy() for kind in ("patches", "projections")))
            for number, name in enumerate(layers)
        }
    except (SafetensorError, OSError, KeyError) as error:
        raise BadData(f"{path} cannot be read ({error}): remove it, and resume") from None
