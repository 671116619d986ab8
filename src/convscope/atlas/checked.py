"""How far winners' pictures can be trusted, and where one is not its unit's own, one that is.

A picture that other strong units of the place have, too, gets a contrastive one beside it: the
patch, lit where the unit loses more than those units when a box covers it. A unit that has a twin
has nothing of its own, and gets none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from convscope.atlas import sheets
from convscope.atlas.folder import CONTRAST
from convscope.atlas.further import SeenImages
from convscope.atlas.tiles import Tile, Winner
from convscope.atlas.trust import numbers_of
from convscope.atlas.trust_files import Measured
from convscope.errors import NonFinite
from convscope.images.pictures import crop, shown_box
from convscope.methods.checks import Checker, Trust
from convscope.methods.contrastive import ContrastiveMap, contrasts
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["check_winners"]

Checked = tuple[int, Winner, Unit, Trust]
"""The row of the images, the winner, its unit at its position, and what is known of its picture."""


def check_winners(
    checker: Checker,
    seen: SeenImages,
    winners: Sequence[tuple[int, Winner]],
    activations: Mapping[str, str],
    fill: Tensor,
) -> Iterator[Tile | Measured]:
    """Measure how far the pictures of some winners can be trusted, and draw contrastive ones.

    Args:
        checker: of the network.
        seen: a batch of images.
        winners: (row, winner) pairs of any layers; the row is the image's place in the batch.
        activations: layer -> the layer whose value is its activation.
        fill: what a covering box shows, (C, H, W).
    """
    if not winners:
        return
    checked = list(_checked_winners(checker, seen.trace, winners, activations))
    foreign = [one for one in checked if one[3].is_foreign and one[3].twin is None]
    found = contrasts(
        seen.trace,
        [unit for _, _, unit, _ in foreign],
        [row for row, *_ in foreign],
        fill=fill,
    )
    own = {winner: one for (_, winner, *_), one in zip(foreign, found, strict=True)}
    for row, winner, _, trust in checked:
        contrast = own.get(winner)
        most = 0.0 if trust.twin is not None else None
        if contrast is not None:
            most = 0.0 if contrast.twin is not None else float(contrast.contrast.max())
            if most > 0:
                yield Tile(CONTRAST, winner, _picture(seen, row, winner, contrast))
        yield Measured(winner, numbers_of(trust, most))


def _picture(seen: SeenImages, row: int, winner: Winner, contrast: ContrastiveMap) -> sheets.Pixels:
    """What the unit saw, lit where it is its own."""
    shown = shown_box(winner.box, *seen.trace.network.input_shape[-2:])
    light = crop(contrast.light().float()[None], shown.seen_from(contrast.seen), 0.0)
    return sheets.lit_tile(sheets.patch_tile(seen.patch(row, winner.box)), light)


def _checked_winners(
    checker: Checker,
    trace: Trace,
    winners: Sequence[tuple[int, Winner]],
    activations: Mapping[str, str],
) -> Iterator[Checked]:
    images, at = torch.tensor([row for row, _ in winners]).unique(return_inverse=True)
    few = trace if len(images) == len(trace) else trace.rows(images)
    rows = at.tolist()
    for layer in dict.fromkeys(winner.layer for _, winner in winners):
        mine = [i for i, (_, winner) in enumerate(winners) if winner.layer == layer]
        on_grid = len(trace.network.layer(activations[layer]).shape) == 3
        units = [
            Unit(activations[layer], winner.channel, *((winner.row, winner.column) * on_grid))
            for winner in (winners[i][1] for i in mine)
        ]
        trusts = _checked(checker, few, units, [rows[i] for i in mine])
        for i, unit, trust in zip(mine, units, trusts, strict=True):
            if trust is not None:
                yield (*winners[i], unit, trust)


def _checked(
    checker: Checker, trace: Trace, units: Sequence[Unit], rows: Sequence[int]
) -> list[Trust | None]:
    """What is known of some units' pictures; None where a number is not finite."""
    try:
        return list(checker.check(trace, units, images=rows))
    except NonFinite:
        if len(units) == 1:
            return [None]
        alone = zip(units, rows, strict=True)
        return [_checked(checker, trace, [unit], [row])[0] for unit, row in alone]
