"""Does a picture point at the right place? The unit's fall when just that place is blurred away.

A part of the receptive field is replaced by the image without its detail: the places where a
picture has most of its energy; the same mask moved elsewhere, as chance; and a disc in the centre,
which is nearly as good on deep layers, so that nothing is claimed that the disc has too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import NonFinite
from convscope.geometry.box import Box
from convscope.methods.blur import blur, energy_map
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.local.receptive_windows import receptive_windows_of
from convscope.network.unit import Unit
from convscope.stats import Estimate, mean_of

__all__ = ["PlaceScore", "centred_disc", "place_score", "shifted", "strongest_places"]

COVERED = 0.2
"""The share of the receptive field that a mask covers."""
MASK_BLUR = 24
"""The energy is blurred by a bell of the field's side divided by this."""
FILL_BLUR = 4
"""What is covered shows the image blurred by a bell of the field's side divided by this."""
WORTH_WINDOWS = 0.35
"""What a unit sees is run where it holds at most this share of the maps: below, whole maps are
faster for each value."""
BATCH = 4
"""Covered images that are run together: more fall out of the caches."""
WINDOWS = 16
"""The same of windows alone."""


@dataclass(frozen=True)
class PlaceScore:
    """How much more a unit falls where its picture points than elsewhere.

    Each number is a drop, a share of the unit's activation: 1 is all of it.

    Attributes:
        own: with the picture's strongest places covered.
        above: by how much that is more than with the same mask moved elsewhere, on average over
            the moves, with the 95 % interval of that mean.
        disc: the same difference for a centred disc of the same area.
        p: how often a mask that points nowhere does as well: 1 + the moved masks that do, over 1 +
            their number.
    """

    own: float
    above: Estimate
    disc: float
    p: float


def strongest_places(field: Tensor, share: float = COVERED) -> Tensor:
    """Mark where a picture has most of its energy.

    Args:
        field: A projection as far as it lies in the image, signed.
        share: How much of the area is marked.

    Shape:
        field: (C, h, w). The result: (h, w) bool.
    """
    where = energy_map(field[None], sum(field.shape[-2:]) / 2 / MASK_BLUR)[0]
    count = max(1, round(share * where.numel()))
    mask = torch.zeros_like(where, dtype=torch.bool)
    mask.view(-1)[where.reshape(-1).argsort(descending=True, stable=True)[:count]] = True
    return mask


def shifted(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Move a mask to random other places; what leaves at one side comes in at the other.

    Args:
        mask: What to move.
        count: How many copies.
        generator: For the draws, on the CPU.

    Shape:
        mask: (h, w) bool. The result: (count, h, w).
    """
    area = mask.numel()
    moves = torch.randint(1, max(2, area), (count,), generator=generator).tolist()
    return torch.stack([mask.roll(divmod(move, mask.shape[1]), (0, 1)) for move in moves])


def centred_disc(mask: Tensor, centre: tuple[float, float]) -> Tensor:
    """Mark as many pixels as a mask has, those nearest to a centre (row, column)."""
    rows = torch.arange(mask.shape[0], device=mask.device) - centre[0]
    columns = torch.arange(mask.shape[1], device=mask.device) - centre[1]
    distance = rows[:, None] ** 2 + columns[None, :] ** 2
    disc = torch.zeros_like(mask)
    disc.view(-1)[distance.reshape(-1).argsort(stable=True)[: int(mask.sum())]] = True
    return disc


@torch.no_grad()
def place_score(
    network: Graph,
    image: Tensor,
    unit: Unit,
    mask: Tensor,
    *,
    shifts: int,
    generator: torch.Generator,
    whole: float | None = None,
) -> PlaceScore | None:
    """Measure how much more a unit falls with one mask covered than with its moved copies.

    Args:
        network: The network.
        image: Preprocessed.
        unit: At a position, if its layer has any.
        mask: Of the unit's receptive field, clipped to the image.
        shifts: How many moved copies stand for chance.
        generator: For the copies, on the CPU.
        whole: The unit's value in the image as it is; None looks.

    Returns:
        None where the unit is not above zero: only what is above zero can fall.

    Raises:
        NonFinite: the unit's value is NaN or infinite when a part is covered.

    Shape:
        image: (C, H, W). mask: (h, w) bool.
    """
    field = network.layer(unit.layer).field.box(unit.position or (0, 0))
    seen = field.clip(*image.shape[-2:])
    if whole is None:
        uncovered = torch.zeros_like(mask)[None]
        whole = float(_values(network, image, image, unit, seen, uncovered))
    if not whole > 0:
        return None
    centre = (
        (field.top + field.bottom - 1) / 2 - seen.top,
        (field.left + field.right - 1) / 2 - seen.left,
    )
    masks = torch.cat(
        [
            mask[None],
            centred_disc(mask, centre)[None],
            shifted(mask, shifts, generator).to(mask.device),
        ]
    )
    sigma = ((seen.height) / FILL_BLUR, (seen.width) / FILL_BLUR)
    covered = _values(network, image, blur(image, sigma), unit, seen, masks)
    if not bool(covered.isfinite().all()):
        raise NonFinite(f"{unit}: NaN or infinity where a part of what it sees is covered")
    own, disc, *moved = (1 - covered / whole).tolist()
    above = mean_of([own - other for other in moved])
    as_good = sum(other >= own for other in moved)
    return PlaceScore(own, above, above.mean + disc - own, (1 + as_good) / (1 + shifts))


def _values(
    network: Graph, image: Tensor, fill: Tensor, unit: Unit, seen: Box, masks: Tensor
) -> Tensor:
    """(M,) float64, the unit's value with each mask of what it sees covered."""
    found = []
    cone = receptive_windows_of(network, unit.layer)
    position = unit.position or (0, 0)
    below = (unit.layer,) if cone is None else cone.frontier(WORTH_WINDOWS)
    size = WINDOWS if below == (INPUT,) else BATCH
    everywhere = torch.tensor([position], device=image.device).repeat(size, 1)
    for part in masks.split(size):
        whole = image.new_zeros((len(part), *image.shape[-2:]), dtype=torch.bool)
        whole[:, seen.top : seen.bottom, seen.left : seen.right] = part
        images = torch.where(whole[:, None], fill, image)
        images = images.contiguous(memory_format=torch.channels_last)
        maps = network.values(images, below)
        if cone is None:
            values = maps[unit.layer][:, unit.channel]
            values = values if values.dim() == 1 else values[(slice(None), *position)]
        else:
            rows = torch.arange(len(part), device=image.device)
            positions = everywhere if len(part) == size else everywhere[: len(part)]
            windows = {name: cone.take(maps[name], name, rows, positions) for name in below}
            cone.run(unit.layer, windows, positions)
            values = windows[unit.layer][:, unit.channel, 0, 0]
        found.append(values.double().cpu())
    return torch.cat(found)
