"""A plate: some feature maps of every layer, their strongest patches beside their projections.

After Fig. 2 of Zeiler & Fergus 2014, where the maps are a random subset, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.atlas.store import Atlas
from convscope.errors import BadOption
from convscope.report.style import FAINT, HEADER, MARGIN, head, place, tiled, write

__all__ = ["plate_figure"]

Pixels = NDArray[np.uint8]

SIDE = 1.15  # inches of a block of patches
GAP, PAIR_GAP, LABEL = 0.22, 0.05, 1.05
SHOWN = 9  # patches of a map at most
SEAM = 3  # pixels of white between two patches


def plate_figure(
    atlas: Atlas,
    *,
    layers: Sequence[str] | None = None,
    maps: int = 4,
    seed: int = 0,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """A row per layer, `maps` feature maps each, drawn at random from those that were active in
    enough images.

    layers : default: all of the atlas;   seed : of the choice of maps
    Raises  NoSuchLayer;  BadOption: no maps asked for.
    """
    if maps < 1:
        raise BadOption(f"a plate of {maps} maps a layer: give at least 1")
    names = list(atlas.layers) if layers is None else list(layers)
    pair = 2 * SIDE + PAIR_GAP
    across = 2 * MARGIN + LABEL + maps * pair + (maps - 1) * GAP
    figure = head(across, len(names) * (SIDE + GAP) + 0.06, title or "Feature maps", subtitle)
    for row, name in enumerate(names):
        top = HEADER + row * (SIDE + GAP)
        record = atlas.record(name)
        write(figure, MARGIN, top, name, "panel", weight="bold")
        write(figure, MARGIN, top + 0.2, f"{record.channels} maps", color=FAINT)
        seen = "×".join(map(str, record.field.size))
        write(figure, MARGIN, top + 0.35, f"each sees {seen} px", color=FAINT)
        for column, channel in enumerate(_chosen(atlas, name, maps, seed)):
            left = MARGIN + LABEL + column * (pair + GAP)
            for number, pixels in enumerate(_blocks(atlas, name, channel)):
                tall = SIDE * min(1.0, pixels.shape[0] / pixels.shape[1])
                axes = place(figure, left + number * (SIDE + PAIR_GAP), top, SIDE, tall)
                axes.imshow(pixels, aspect="auto", interpolation="antialiased")
            write(figure, left, top + SIDE + 0.02, f"{name}/{channel}", "small", color=FAINT)
    return figure


def _chosen(atlas: Atlas, layer: str, maps: int, seed: int) -> list[int]:
    """Feature maps that were above zero in enough images to fill a block, in their order."""
    active = (atlas.layers[layer].active >= min(SHOWN, atlas.manifest.top)).nonzero().flatten()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(active), generator=generator)[:maps]
    return sorted(int(channel) for channel in active[order])


def _blocks(atlas: Atlas, layer: str, channel: int) -> tuple[Pixels, Pixels]:
    """The map's patches and its projections, each (s, s, 3), in reading order of their ranks."""
    ranks = range(min(SHOWN, atlas.manifest.top))
    patches = [np.asarray(atlas.patch(layer, channel, rank)) for rank in ranks]
    projections = [np.asarray(atlas.projection(layer, channel, rank)) for rank in ranks]
    return tiled(patches, SEAM), tiled(projections, SEAM)
