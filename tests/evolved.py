"""An Evolution made by hand, without a network: what pages and figures show of it is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from convscope.atlas.sheets import cell_size, tile_shape
from convscope.experiments.evolution.convergence import Convergence, lower_first
from convscope.experiments.evolution.result import (
    MEASURES,
    Evolution,
    LayerEvolution,
    Lead,
    MapEvolution,
)

EPOCHS = (0, 1, 5)


def lead(epoch: int, image: int | None, changed: bool = False, name: str = "") -> Lead:
    if image is None:
        return Lead(epoch, None, "", "", None, None, None, False)
    return Lead(epoch, image, name or f"photos/{image}.png", "cat", 1.5 + epoch, 2, 3, changed)


def layer(name: str, window: tuple[int, int], settled: tuple[int, ...], **changes: Any) -> Any:
    """Map 4: image 7, then 8 from epoch 1; map 9: dead at epoch 1."""
    dice = np.random.default_rng(len(name))
    shape = (len(EPOCHS), *tile_shape(window), 3)
    leads = {
        4: (lead(0, 7), lead(1, 8, changed=True), lead(5, 8)),
        9: (lead(0, 2), lead(1, None), lead(5, 2)),
    }
    rows = tuple(
        MapEvolution(
            channel=channel,
            leads=found,
            patches=dice.integers(0, 256, shape, dtype=np.uint8),
            projections=dice.integers(0, 256, shape, dtype=np.uint8),
            converged=dict.fromkeys(MEASURES, settled[at % len(settled)]),
        )
        for at, (channel, found) in enumerate(leads.items())
    )
    ordered = sorted(settled)
    found = Convergence(settled, ordered[0], ordered[len(ordered) // 2], ordered[-1], 0.25)
    known: dict[str, Any] = {
        "name": name,
        "activation": f"{name}.relu",
        "channels": 16,
        "field": window,
        "window": window,
        "cell": cell_size(window),
        "dead": (0, 1, 2),
        "dead_at_end": (3, 11),
        "rows": rows,
        "measured": tuple(range(len(settled))),
        "similarity": {measure: np.ones((len(settled), len(EPOCHS))) for measure in MEASURES},
        "convergence": dict.fromkeys(MEASURES, found),
    }
    return LayerEvolution(**{**known, **changes})


def evolution(**changes: Any) -> Evolution:
    """Two layers; the lower settles at 1, the upper at 5."""
    low, high = (0, 1, 1, 1, 1, 1), (5, 5, 5, 5, 5, 1)
    known: dict[str, Any] = {
        "run": "runs/one",
        "architecture": "zfnet-small",
        "status": "finished",
        "epochs": EPOCHS,
        "threshold": 0.9,
        "rules": "deconvnet",
        "seed": 0,
        "data": "photos",
        "images": 1200,
        "skipped": (),
        "layers": (layer("conv1", (7, 7), low), layer("conv2", (60, 60), high)),
        "trends": dict.fromkeys(MEASURES, lower_first([low, high])),
    }
    return Evolution(**{**known, **changes})
