"""The trust strip of an atlas: the numbers beside its pictures, in tables and as `Trust`.

trust.safetensors    "<layer>/<field>" float32 (C, N), each of FIELDS: of feature map c, the
                     picture of rank n; NaN is what is not known
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from convscope.atlas.manifest import Manifest
from convscope.atlas.schema import check_columns
from convscope.methods.checks import CheckSettings, Trust
from convscope.methods.masking import PlaceScore
from convscope.network.unit import Unit
from convscope.stats import Estimate
from convscope.store.atomic import replace_file

__all__ = [
    "CHECKS",
    "FIELDS",
    "TRUST",
    "TrustTable",
    "numbers_of",
    "trust_of",
    "trust_tables",
    "write_trust",
]

TRUST = "trust.safetensors"
CHECKS = CheckSettings(shifts=6, neighbours=3, draws=1)
"""How carefully the pictures of an atlas are checked: there are thousands."""
FIELDS = (
    "activation",
    "own",
    "place",
    "place_low",
    "place_high",
    "place_p",
    "disc",
    "specific",
    "specific_low",
    "specific_high",
    "own_weights",
    "own_weights_low",
    "own_weights_high",
    "twin",
    "contrast",
)
"""What is known of a picture: as `Trust.to_dict` has it, `own` the drop with the picture's own
places covered, `twin` the channel that has the very same picture, and `contrast` the largest share
of its activation that the unit loses beyond its neighbours, where a contrastive picture was looked
for."""


TrustTable = dict[str, Tensor]
"""A layer's numbers by field, float32 (C, N)."""


def numbers_of(trust: Trust, contrast: float | None = None) -> tuple[float, ...]:
    """What is stored of a picture, in the order of `FIELDS`.

    Args:
        trust: what was measured.
        contrast: of its contrastive picture.
    """
    known = {
        **trust.to_dict(),
        "contrast": contrast,
        "own": trust.place and trust.place.own,
        "twin": trust.twin and trust.twin.channel,
    }
    return tuple(math.nan if known[name] is None else float(known[name]) for name in FIELDS)


def trust_of(numbers: dict[str, float], unit: Unit) -> Trust | None:
    """What was stored of a unit's picture; None where nothing is known."""
    if math.isnan(numbers["activation"]):
        return None
    above = _estimate(numbers, "place")
    place = (
        None
        if above is None
        else PlaceScore(numbers["own"], above, numbers["disc"], numbers["place_p"])
    )
    twin = numbers["twin"]
    return Trust(
        unit=unit,
        activation=numbers["activation"],
        place=place,
        specific=_estimate(numbers, "specific"),
        own_weights=_estimate(numbers, "own_weights"),
        neighbours=(),
        twin=None if math.isnan(twin) else Unit(unit.layer, int(twin), unit.row, unit.column),
    )


def _estimate(numbers: dict[str, float], name: str) -> Estimate | None:
    mean, low, high = (numbers[f"{name}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(mean):
        return None
    if math.isnan(low):
        return Estimate(mean, None, None, None, 1)
    return Estimate(mean, None, low, high, 2)


def write_trust(atlas: Path, numbers: Mapping[str, NDArray[np.float32]]) -> None:
    """Write trust.safetensors.

    Args:
        atlas: its folder.
        numbers: by layer.

    Shape:
        numbers: (C, N, F), F as many as there are `FIELDS`.
    """
    named = {
        f"{layer}/{field}": torch.from_numpy(table[..., at].copy())
        for layer, table in numbers.items()
        for at, field in enumerate(FIELDS)
    }
    replace_file(atlas / TRUST, save(named))


def trust_tables(tensors: Mapping[str, Tensor], manifest: Manifest) -> dict[str, TrustTable]:
    """The numbers of an atlas's pictures by layer.

    Args:
        tensors: as they were stored.
        manifest: of the atlas.

    Raises:
        ValueError: one is missing, or of another type or shape.
    """
    known = {}
    for layer in manifest.layers:
        check = 0 if manifest.extras is None else manifest.extras.check
        shape = (layer.channels, check)
        nothing = torch.full(shape, torch.nan)  # older atlases have no contrastive pictures
        table = {
            field: tensors[name] for field in FIELDS if (name := f"{layer.name}/{field}") in tensors
        }
        known[layer.name] = {"contrast": nothing, **table}
        check_columns(known[layer.name], dict.fromkeys(FIELDS, (torch.float32, shape)))
    return known
