"""A plate: some feature maps of every layer, their strongest patches, spotlights and projections.

After Fig. 2 of Zeiler & Fergus 2014, where the maps are a random subset, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.atlas.store import Atlas
from convscope.errors import BadOption
from convscope.report.projection_figure import draw_row
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import FAINT, tiled

__all__ = ["feature_grid_figure", "feature_grid_words"]

Pixels = NDArray[np.uint8]

BLOCK, WORDS = 1.2, 1.15  # inches: of a map's nine pictures of one kind, of a layer's words
ORDER = ("patch", "spotlight", "projection")  # as far as the atlas holds them
WORDS_OF = {
    "patch": "the nine image patches that excite it most",
    "spotlight": "the same, lit where they excited it",
    "projection": "their projections",
}
SHOWN = 9  # patches of a map at most
SEAM = 3  # pixels of white between two patches


def feature_grid_figure(
    atlas: Atlas,
    *,
    layers: Sequence[str] | None = None,
    maps: int = 4,
    seed: int = 0,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """Draw a row per layer: feature maps drawn at random from those active in enough images.

    Of each map its strongest patches, their spotlights where the atlas holds them, and their
    projections.

    Args:
        atlas: The atlas.
        layers: Which layers; by default all of the atlas.
        maps: How many feature maps of each layer.
        seed: Of the choice of maps.
        title: Which network it is.
        subtitle: Over which images.

    Raises:
        NoSuchLayer: The atlas has no such layer.
        BadOption: No maps are asked for.
    """
    if maps < 1:
        raise BadOption(f"a plate of {maps} maps a layer: give at least 1")
    kinds = [kind for kind in ORDER if kind in atlas.kinds]
    width = BLOCK * len(kinds)
    sheet = Sheet(title or "Feature maps", subtitle, width=WORDS + max(2, maps) * width)
    for name in atlas.layers if layers is None else layers:
        record = atlas.record(name)
        seen = "×".join(map(str, record.field.size))
        words = [
            Note(name, size="panel", bold=True),
            Note(f"{record.channels} maps", color=FAINT),
            Note(f"each sees {seen} px", color=FAINT),
        ]
        panels = [
            Panel(
                partial(draw_row, pictures=_blocks(atlas, name, channel, kinds)),
                notes=[Note(f"{name}/{channel}", color=FAINT, size="small")],
                width=width,
            )
            for channel in _chosen(atlas, name, maps, seed)
        ]
        empty = [Panel(width=width)] * (max(2, maps) - len(panels))
        sheet.row([Panel(notes=words, width=WORDS), *panels, *empty])
    return sheet.figure()


def feature_grid_words(atlas: Atlas) -> str:
    """What the plate shows of each map, as a sentence."""
    shown = [WORDS_OF[kind] for kind in ORDER if kind in atlas.kinds]
    return f"Of each map, from the left: {', '.join(shown[:-1])}, and {shown[-1]}."


def _chosen(atlas: Atlas, layer: str, maps: int, seed: int) -> list[int]:
    """Feature maps that were above zero in enough images to fill a block, in their order."""
    active = (atlas.layers[layer].active >= min(SHOWN, atlas.manifest.top)).nonzero().flatten()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(active), generator=generator)[:maps]
    return sorted(int(channel) for channel in active[order])


def _blocks(atlas: Atlas, layer: str, channel: int, kinds: Sequence[str]) -> list[Pixels]:
    """The map's pictures of each kind, each (s, s, 3), in reading order of their ranks."""
    ranks = range(min(SHOWN, atlas.manifest.top))
    return [
        tiled([np.asarray(getattr(atlas, kind)(layer, channel, rank)) for rank in ranks], SEAM)
        for kind in kinds
    ]
