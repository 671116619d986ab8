"""How the claims about what pictures are worth are judged: a Sanity -> Judgement.

They are those of the works that tested the paper's pictures; claims.py has them in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from convscope.experiments.claims import Effect, Judgement, judged, not_run
from convscope.experiments.number_words import minus
from convscope.experiments.sanity.result import LayerPictures, Sanity, known

__all__ = ["sanity_disc", "sanity_units", "sanity_weights", "sanity_where"]

METHODS, AGAINST = ("deconvnet", "guided"), "gradient"
SHOWN = "deconvnet"


def sanity_units(found: Sanity) -> Judgement:
    """Pictures of different units of one place: deconvnet and guided against the gradient."""
    top = found.layers[-1]
    here = "; ".join(
        f"{layer.layer} {_means({name: known(layer.alike[name]) for name in layer.alike})}"
        for layer in found.layers
    )
    return _less_than_both(
        {name: top.alike[name] for name in top.alike},
        f"mean correlation with the pictures of other strong units of the place: {here}",
    )


def sanity_weights(found: Sanity) -> Judgement:
    """A class's picture while weights are drawn anew: deconvnet and guided against the gradient."""
    redrawn = found.redrawn
    first, last = redrawn.steps[0][-1], redrawn.steps[-1][-1]
    by_image = {name: redrawn.by_image(name) for name in redrawn.likeness}
    ends = ", ".join(
        f"{name} {steps[0].mean:.2f} to {steps[-1].mean:.2f}"
        for name, steps in ((name, redrawn.by_step(name)) for name in redrawn.likeness)
    )
    return _less_than_both(
        by_image,
        f"mean correlation with the trained network's picture over all steps: {_means(by_image)}; "
        f"from {first} alone to all down to {last}: {ends}",
    )


def sanity_where(found: Sanity) -> Judgement:
    """The unit falls more where its deconvnet picture points than with moved masks covered."""
    values = known(found.layers[-1].above[SHOWN])
    if not values:
        return not_run("no unit is above zero")
    depths = _by_depth(found.layers, [layer.above[SHOWN] for layer in found.layers])
    return judged(
        f"drop of the activation with the picture's places covered, less with the mask moved: "
        f"{depths}",
        Effect.of(values, "images"),
    )


def sanity_disc(found: Sanity) -> Judgement:
    """It also falls more than with a disc in the centre of its field covered."""
    values = known(found.layers[-1].over_disc(SHOWN))
    if not values:
        return not_run("no unit is above zero")
    depths = _by_depth(found.layers, [layer.over_disc(SHOWN) for layer in found.layers])
    return judged(
        f"drop with the picture's places covered, less with a centred disc covered: {depths}",
        Effect.of(values, "images"),
    )


def _less_than_both(values: Mapping[str, Sequence[float | None]], here: str) -> Judgement:
    """The gradient's number lies below both methods': the lesser of the two leads decides."""
    leads = []
    for name in METHODS:
        pairs = zip(values[name], values[AGAINST], strict=True)
        gains = [more - less for more, less in pairs if more is not None and less is not None]
        if not gains:
            return not_run("no picture can be compared")
        leads.append(Effect.of(gains, "images"))
    least = min(leads, key=lambda lead: lead.value if lead.low is None else lead.low)
    return judged(minus(here), least)


def _means(values: Mapping[str, Sequence[float | None]]) -> str:
    return ", ".join(f"{name} {fmean(known(some)):.2f}" for name, some in values.items() if some)


def _by_depth(layers: Sequence[LayerPictures], values: Sequence[Sequence[float | None]]) -> str:
    return ", ".join(
        minus(f"{layer.layer} {fmean(known(some)):.2f}")
        for layer, some in zip(layers, values, strict=True)
        if known(some)
    )
