"""From a layer's measures to findings in plain words, each with its evidence and a remedy.

A finding is a fault or a note: a fault is worth changing the network for, a note is worth knowing.
Every threshold is a constant here, with the reason for it; tests hold a sound network to no fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median_low
from typing import Any

from convscope.experiments.diagnosis.filters import BANDS
from convscope.experiments.diagnosis.layer import LayerDiagnosis
from convscope.record import Record
from convscope.text import some_maps

__all__ = ["Finding", "FindingKind", "Remedy", "Severity", "findings_of"]

DOMINANT = 5.0
"""Times the median strength: on a scale that shows such a filter whole, an ordinary one has 25
of the 127 grey levels. Layers of networks trained for these tests reached 3."""
DOMINATED = 0.5
"""Of a layer's energy: those who hold more than half of it dominate it."""
NOTABLE = 0.25
FEW = 0.1
"""Dominant filters are a few: at most a tenth of the layer."""
SILENT = 0.01
"""Of the median strength: below one grey level of 127 on the scale of its neighbours."""
WASTED = 0.05
"""Of a layer's maps: one map in twenty that does nothing costs a twentieth of the layer."""
REDUNDANT = 0.1
"""Of a layer's maps that are copies: the networks that were looked at had none."""
COVERED = 0.1
"""Of first-layer filters in an octave, for it to count as covered. A bank of random numbers has
15 % of its peaks in the middle octave, so what learned edges has more than that, not less."""
COUNTABLE = 12
"""Filters, for shares of bands to mean something: of 12 spread evenly over three bands, one band
stays empty in 1 of 130 cases."""
FOLDED = 0.5
"""Of a map's answer: what folds more than it keeps is mostly artefact."""
ALIASED = 0.05
"""Of the first layer's maps, and two at least, that fold more than half. Random filters of 7 x 7
at stride 2 have none, of 11 x 11 at stride 4 some 3 to 6 %."""
NOISY = 0.5
"""Of the filters: a first layer that is mostly noise has not been learned."""


class Severity(StrEnum):
    """How much a finding matters."""

    FAULT = "fault"
    NOTE = "note"


class FindingKind(StrEnum):
    """What was found."""

    DOMINANT = "dominant filters"
    NOT_FINITE = "not finite"
    DEAD = "dead maps"
    RARE = "nearly dead maps"
    TWINS = "duplicate filters"
    COVERAGE = "frequencies missing"
    NOISE = "noise filters"
    ALIASING = "aliasing"


class Remedy(StrEnum):
    """What to do about it, in the paper's order of preference (`said` has the words)."""

    SMALLER_FILTER = "smaller filter"
    SMALLER_STRIDE = "smaller stride"
    RENORMALISE = "renormalise"
    LOWER_RATE = "lower rate"
    FEWER_MAPS = "fewer maps"
    TRAIN_LONGER = "train longer"

    @property
    def said(self) -> str:
        return _SAID[self]


_SAID = {
    Remedy.SMALLER_FILTER: "make the filter smaller (the paper: 11x11 to 7x7)",
    Remedy.SMALLER_STRIDE: "make the stride smaller (the paper: 4 to 2)",
    Remedy.RENORMALISE: "scale filters back whose RMS exceeds 0.1 (the paper, section 3)",
    Remedy.LOWER_RATE: "train with a lower learning rate; one large step can leave a map at zero",
    Remedy.FEWER_MAPS: "give the layer fewer maps",
    Remedy.TRAIN_LONGER: "train the network, or train it longer",
}


@dataclass(frozen=True)
class Finding(Record):
    """One fault, or one thing to know, in one layer.

    Attributes:
        units: The feature maps concerned.
        words: The finding, a sentence.
        evidence: Its numbers, JSON-able.
        remedies: In the order in which to try them.
    """

    layer: str
    kind: FindingKind
    severity: Severity
    units: tuple[int, ...]
    words: str
    evidence: Mapping[str, Any]
    remedies: tuple[Remedy, ...]


def findings_of(layers: Sequence[LayerDiagnosis]) -> tuple[Finding, ...]:
    """All findings, faults first, each group bottom up.     Zeiler & Fergus 2014, Fig. 5"""
    found = [
        finding
        for place, layer in enumerate(layers)
        for finding in _in_layer(layer, layers[place + 1 : place + 2])
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.FAULT))


def _in_layer(layer: LayerDiagnosis, above: Sequence[LayerDiagnosis]) -> Iterator[Finding]:
    yield from _dominance(layer)
    yield from _not_finite(layer)
    yield from _dead(layer)
    yield from _rare(layer)
    yield from _twins(layer)
    yield from _noise(layer)
    yield from _coverage(layer)
    yield from _aliasing(layer, above)


def _dominance(layer: LayerDiagnosis) -> Iterator[Finding]:
    strength = layer.strength.strength
    middle = median_low(strength)
    loud = tuple(k for k, value in enumerate(strength) if value > DOMINANT * middle)
    share = sum(strength[k] ** 2 for k in loud) / (sum(s * s for s in strength) or 1.0)
    if not loud or len(loud) > max(1, FEW * len(strength)) or share < NOTABLE:
        return
    what = "the batch norm's scale" if layer.strength.normalised else "the filters' RMS"
    yield Finding(
        layer.name,
        FindingKind.DOMINANT,
        Severity.FAULT if share > DOMINATED else Severity.NOTE,
        loud,
        f"{some_maps(loud, len(strength))} hold {share:.0%} of the layer's energy, by {what}; the "
        f"strongest is {layer.strength.ratio:.1f} times the median",
        {"energy_share": share, "ratio_to_median": layer.strength.ratio},
        () if layer.strength.normalised else (Remedy.RENORMALISE,),
    )


def _not_finite(layer: LayerDiagnosis) -> Iterator[Finding]:
    seen = layer.activity
    if seen is None or not seen.not_finite:
        return
    yield Finding(
        layer.name,
        FindingKind.NOT_FINITE,
        Severity.FAULT,
        seen.not_finite,
        f"{some_maps(seen.not_finite, layer.shape[0])} are NaN or infinite in some of "
        f"{seen.images:,} images, and left out of all other counts: check the weights",
        {"images": seen.images, "share": len(seen.not_finite) / layer.shape[0]},
        (),
    )


def _dead(layer: LayerDiagnosis) -> Iterator[Finding]:
    count = layer.shape[0]
    strength = layer.strength.strength
    middle = median_low(strength)
    silent = tuple(k for k, value in enumerate(strength) if value < SILENT * middle)
    if layer.activity is None:
        dead, why = silent, "have hardly any weight (below 1 % of the median)"
        evidence: dict[str, Any] = {"images": 0}
    else:
        seen = layer.activity
        dead = seen.dead
        why = (
            f"answered to none of {seen.images:,} images (one that answers in "
            f"{seen.missed:.2g} of all images or more would have been seen)"
        )
        evidence = {"images": seen.images, "would_be_seen_from": seen.missed}
    if not dead:
        return
    evidence |= {"share": len(dead) / count, "without_weight": [k for k in dead if k in silent]}
    yield Finding(
        layer.name,
        FindingKind.DEAD,
        Severity.FAULT if len(dead) > WASTED * count else Severity.NOTE,
        dead,
        f"{some_maps(dead, count)} {why}",
        evidence,
        (*_shrunk(layer), Remedy.LOWER_RATE) if layer.first else (Remedy.LOWER_RATE,),
    )


def _rare(layer: LayerDiagnosis) -> Iterator[Finding]:
    seen = layer.activity
    count = layer.shape[0]
    if seen is None or not seen.nearly_dead or len(seen.nearly_dead) <= WASTED * count:
        return
    yield Finding(
        layer.name,
        FindingKind.RARE,
        Severity.NOTE,
        seen.nearly_dead,
        f"{some_maps(seen.nearly_dead, count)} answered at fewer than 0.1 % of {seen.positions:,} "
        "positions: rare things, or maps about to die",
        {"positions": seen.positions, "share": len(seen.nearly_dead) / count},
        (),
    )


def _twins(layer: LayerDiagnosis) -> Iterator[Finding]:
    twins = layer.twins
    if not twins.groups:
        return
    units = tuple(sorted(unit for group in twins.groups for unit in group))
    first = twins.pairs[0]
    yield Finding(
        layer.name,
        FindingKind.TWINS,
        Severity.FAULT if twins.redundant > REDUNDANT * layer.shape[0] else Severity.NOTE,
        units,
        f"{some_maps(units, layer.shape[0])} are copies of each other, {twins.redundant} could go; "
        f"closest: {first[0]} and {first[1]}, cosine {first[2]:.3f}",
        {
            "groups": [list(group) for group in twins.groups],
            "redundant": twins.redundant,
            "cosine_limit": twins.cosine,
        },
        (Remedy.FEWER_MAPS,),
    )


def _noise(layer: LayerDiagnosis) -> Iterator[Finding]:
    if layer.spectrum is None or not layer.spectrum.noise:
        return
    noise, count = layer.spectrum.noise, layer.shape[0]
    if len(noise) <= 2 * WASTED * count:  # a twentieth of learned filters could look so by chance
        return
    yield Finding(
        layer.name,
        FindingKind.NOISE,
        Severity.FAULT if len(noise) > NOISY * count else Severity.NOTE,
        noise,
        f"{some_maps(noise, count)} have a spectrum as flat as random numbers: nothing was learned",
        {"share": len(noise) / count},
        (Remedy.TRAIN_LONGER,),
    )


def _coverage(layer: LayerDiagnosis) -> Iterator[Finding]:
    spectrum, count = layer.spectrum, layer.shape[0]
    if spectrum is None or count < COUNTABLE or min(layer.kernel) < 3:
        return
    if spectrum.noise and len(spectrum.noise) > NOISY * count:
        return  # there is nothing yet to judge
    for (name, low, high), tuned in zip(BANDS, spectrum.tuned, strict=True):
        if tuned >= COVERED * count:
            continue
        units = tuple(k for k, peak in enumerate(spectrum.peak) if low <= peak < high)
        counts = ", ".join(
            f"{n} {band}" for (band, _, _), n in zip(BANDS, spectrum.tuned, strict=True)
        )
        edge = f"{low:g} to {high:g}" if high < 1 else f"above {low:g}"
        yield Finding(
            layer.name,
            FindingKind.COVERAGE,
            Severity.FAULT if name == "mid" else Severity.NOTE,
            units,
            f"{tuned} of {count} filters are tuned to {name} frequencies ({edge} cycles per "
            f"pixel); all of them: {counts}",
            {"band": name, "tuned": list(spectrum.tuned), "shares": list(spectrum.shares)},
            _shrunk(layer, stride=False) if name != "low" else (),
        )


def _aliasing(layer: LayerDiagnosis, above: Sequence[LayerDiagnosis]) -> Iterator[Finding]:
    folding, count = layer.folding, layer.shape[0]
    if folding is None:
        return
    units = tuple(k for k, share in enumerate(folding.by_map) if share and share > FOLDED)
    if len(units) < max(2, math.floor(ALIASED * count) + 1):
        return
    steps = "x".join(map(str, dict.fromkeys(layer.stride)))
    measured = "measured on images" if folding.measured else "for images of power 1/f²"
    evidence: dict[str, Any] = {
        "mean_folded": folding.mean,
        "measured": folding.measured,
        "unsteadiness": layer.unsteadiness,
    }
    words = (
        f"{some_maps(units, count)} answer mostly to patterns too fine for a stride of {steps} "
        f"({measured}; over all maps {folding.mean:.0%} of the answer folds)"
    )
    if layer.unsteadiness is not None:
        words += (
            f"; when the image moves by half a step, {layer.unsteadiness:.0%} of a map's variance "
            "does not move with it"
        )
    for next_layer in above:
        evidence["unsteadiness_above"] = next_layer.unsteadiness
        if next_layer.unsteadiness is not None:
            words += f", in {next_layer.name} {next_layer.unsteadiness:.0%}"
    yield Finding(
        layer.name,
        FindingKind.ALIASING,
        Severity.FAULT if layer.first else Severity.NOTE,
        units,
        words,
        evidence,
        (Remedy.SMALLER_STRIDE,),
    )


def _shrunk(layer: LayerDiagnosis, *, stride: bool = True) -> tuple[Remedy, ...]:
    """The paper's remedies for a first layer, as far as there is something to make smaller."""
    remedies = (Remedy.SMALLER_FILTER,) if min(layer.kernel) > 3 else ()
    return (*remedies, Remedy.SMALLER_STRIDE) if stride and max(layer.stride) > 1 else remedies
