"""Whether the maps that tell mistakes are their reason: without them, what comes right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.experiments.mistakes.result import MapRemoval
from convscope.experiments.mistakes.telling import CandidateMap
from convscope.experiments.removal.losses import RemovalLosses
from convscope.images.subsets import subset_images
from convscope.network.network import Network
from convscope.network.unit import Unit
from convscope.scan.checkpoint import checkpoint_in
from convscope.scan.engine import LARGEST_BATCH, Scan
from convscope.scan.items import made_together
from convscope.stats import mean_of
from convscope.store.results import Arrays, ResultStore

__all__ = ["NamedMap", "removals"]

OTHERS = 19  # maps of the layer that are removed beside: one in 20 would be first by chance
DIGITS = 6
TRACE_BYTES = 2**28  # of all values of a batch


@dataclass(frozen=True, eq=False)
class NamedMap:
    """A map that tells a class's mistakes, by its name."""

    told: CandidateMap
    unit: Unit


def removals(
    claims: Sequence[NamedMap],
    labels: NDArray[np.int64],
    scan: Scan,
    results: ResultStore,
    *,
    seed: int = 0,
) -> list[MapRemoval]:
    """Set each map to zero, and others of its layer for comparison, for its class's judging images.

    Args:
        claims: one or more.
        labels: the class of each image of the set, among the network's.
        scan: of the set.
        results: where each image's losses are kept.
        seed: of the other maps.

    Returns:
        What becomes of the images, in the claims' order, in every process.

    Raises:
        BadOption: the table of losses would be too large.
        NonFinite: a loss is NaN or infinite.
    """
    dice = np.random.default_rng([seed, 7])
    beside = [_others(scan.network, claim.unit, dice) for claim in claims]
    units = list(dict.fromkeys([claim.unit for claim in claims] + [u for us in beside for u in us]))
    indices = np.unique(np.concatenate([claim.told.judged for claim in claims]))
    chosen = subset_images(scan.images, indices.tolist())
    known = torch.from_numpy(labels[indices])
    scan = replace(
        scan, images=chosen, indices=None, what="images without a map",
        batch_size=scan.batch_size or _fitting_batch(scan.network),
    )  # fmt: skip

    def looked_at() -> Arrays:
        observer = RemovalLosses(scan.network, chosen, units, known)
        commits = checkpoint_in(results, "removal")
        scan.run(observer, commits=commits)
        present = observer.present.numpy()
        place = torch.from_numpy(np.searchsorted(present, known.numpy()))
        own = observer.rise[torch.arange(len(known)), place]
        return {"rise": own.numpy(), "right": observer.right.numpy()}

    found = made_together("removal", looked_at, results, results.arrays, ranks=scan.ranks)
    if (commits := checkpoint_in(results, "removal")) is not None and scan.ranks.first:
        commits.remove()  # what it found is kept
    place = {unit: number for number, unit in enumerate(units)}
    return [
        _judged(
            claim.told, found, np.searchsorted(indices, claim.told.judged),
            place[claim.unit], [place[unit] for unit in others],
        )
        for claim, others in zip(claims, beside, strict=True)
    ]  # fmt: skip


def _judged(
    told: CandidateMap, found: Arrays, rows: NDArray[np.int64], own: int, others: Sequence[int]
) -> MapRemoval:
    """One map's effect beside that of the others."""
    right = found["right"][rows]
    was_right, is_right = right[:, 0], right[:, 1 + own]
    rise = found["rise"][rows].astype(np.float64)
    effects = -rise[~was_right] if told.more else rise[was_right]
    if not len(effects):  # the network answers otherwise alone than in its batch
        effects = np.zeros((1, rise.shape[1]))
    mean = mean_of(effects[:, own].tolist())
    low, high = (mean.mean if end is None else end for end in (mean.low, mean.high))
    largest = max((float(effects[:, other].mean()) for other in others), default=0.0)
    return MapRemoval(
        mistakes=int((~was_right).sum()),
        mended=int((~was_right & is_right).sum()),
        right=int(was_right.sum()),
        broken=int((was_right & ~is_right).sum()),
        effect=round(mean.mean, DIGITS),
        low=round(low, DIGITS),
        high=round(high, DIGITS),
        others=len(others),
        largest=round(largest, DIGITS),
        confirmed=low > 0 and mean.mean > largest,
    )


def _others(network: Network, unit: Unit, dice: np.random.Generator) -> list[Unit]:
    """Other maps of a unit's layer, drawn at random."""
    channels = [c for c in range(network.layer(unit.layer).channels) if c != unit.channel]
    some = dice.permutation(channels)[:OTHERS]
    return [Unit(unit.layer, int(channel)) for channel in sorted(some)]


def _fitting_batch(network: Network) -> int:
    nodes = network.below([network.output])
    each = 4 * sum(torch.Size(node.shape).numel() for node in nodes)
    return max(1, min(LARGEST_BATCH, TRACE_BYTES // each))
