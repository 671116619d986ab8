"""Feature evolution as a page: an Evolution -> index.html, page/ and sheets/ in a folder.

A slider moves all pictures through the kept epochs. The page opens by double-click, so the pictures
are sheets, a row for each map and a column for each epoch, and the numbers a script of one call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convscope.atlas.sheets import encode_sheet, is_small, rank_sheet
from convscope.experiments.evolution.result import Evolution, LayerEvolution, Lead, MapEvolution
from convscope.experiments.number_words import percent
from convscope.report.embedded_data import call, resource, template
from convscope.report.style import number
from convscope.store.atomic import replace_file

__all__ = ["write_evolution_page"]

OWN_FILES = ("atlas.css", "evolution.css", "evolution.js")  # copied as they are
SCRIPTS = ("page/evolution.js", "page/data.js")  # in this order
KINDS = ("patches", "projections")


def write_evolution_page(evolution: Evolution, folder: str | Path) -> Path:
    """Write the page into a folder, which may hold other things; gives the path of index.html.

    Each file is replaced as a whole and index.html comes last, so a page that opens is complete.
    The same evolution always gives the same bytes.
    """
    folder = Path(folder)
    (folder / "page").mkdir(parents=True, exist_ok=True)
    for at, layer in enumerate(evolution.layers):
        _write_sheets(layer, folder / _sheets(at))
    for name in OWN_FILES:
        replace_file(folder / "page" / name, resource(name))
    replace_file(folder / "page" / "data.js", call("start", page_data(evolution)))
    index = folder / "index.html"
    words = template("evolution.html.j2").render(evolution_page_words(evolution))
    replace_file(index, words.encode())
    return index


def _sheets(at: int) -> str:
    """The folder of a layer's sheets, by its place: a name could be anything."""
    return f"sheets/{at:02d}"


def _write_sheets(layer: LayerEvolution, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        if layer.rows:
            tiles = [getattr(row, kind) for row in layer.rows]  # each (E, th, tw, 3)
            sheet = rank_sheet(np.stack(tiles))
            replace_file(place / f"{kind}.webp", encode_sheet(sheet, exact=is_small(layer.window)))


# ---- what the script receives -----------------------------------------------------------------


def page_data(evolution: Evolution) -> dict[str, Any]:
    """All that the page's script shows: for each layer its sheets and its maps' leads."""
    return {
        "epochs": list(evolution.epochs),
        "layers": [
            {
                "sheets": _sheets(at),
                "coarse": is_small(layer.window),
                "maps": [_map(row) for row in layer.rows],
            }
            for at, layer in enumerate(evolution.layers)
        ],
    }


def _map(row: MapEvolution) -> dict[str, Any]:
    return {"settled": row.converged["projection"], "leads": [_lead(lead) for lead in row.leads]}


def _lead(lead: Lead) -> dict[str, Any]:
    return {
        "empty": _why_empty(lead),
        "changed": lead.changed,
        "name": lead.name,
        "label": lead.label,
        "value": "" if lead.value is None or not math.isfinite(lead.value) else number(lead.value),
    }


def _why_empty(lead: Lead) -> str:
    if not lead.empty:
        return ""
    return "NaN or infinite in all images" if lead.not_finite else "dead: above zero in no image"


# ---- what the template says -------------------------------------------------------------------


def evolution_page_words(evolution: Evolution) -> dict[str, Any]:
    """Everything that the template says."""
    epochs = evolution.epochs
    return {
        "title": evolution.architecture,
        "scripts": SCRIPTS,
        "standfirst": _standfirst(evolution),
        "trends": {measure: trend.words() for measure, trend in evolution.trends.items()},
        "threshold": f"{evolution.threshold:g}",
        "epochs": epochs,
        "untrained": 0 in epochs,
        "status": evolution.status,
        "facts": {
            "Run": evolution.run,
            "Images": f"{evolution.data} ({evolution.images:,})",
            "Kept epochs": ", ".join(map(str, epochs)),
            "Downward rules": evolution.rules,
            "Seed of the choice of maps": str(evolution.seed),
            "Training": evolution.status,
        },
        "skipped": evolution.skipped,
        "layers": [_layer(layer) for layer in evolution.layers],
    }


def _standfirst(evolution: Evolution) -> str:
    maps = sum(len(layer.rows) for layer in evolution.layers)
    trends = {m: trend.words().partition(" (")[0] for m, trend in evolution.trends.items()}
    return (
        f"{maps} feature maps of {len(evolution.layers)} layers, drawn at random, while the "
        f"network learned: at each of {len(evolution.epochs)} kept epochs the image that excites "
        f"the map most among all {evolution.images:,}, and what in it does. "
        f"By projection, {trends['projection']}; by their own filters, {trends['filter']}."
    )


def _layer(layer: LayerEvolution) -> dict[str, Any]:
    height, width = layer.field
    return {
        "name": layer.name,
        "about": f"{layer.channels:,} maps; each sees {height} × {width} pixels",
        "convergence": _settles(layer),
        "dead": _dead(layer),
        "maps": [f"{layer.name}/{row.channel}" for row in layer.rows],
    }


def _settles(layer: LayerEvolution) -> str:
    if "projection" not in layer.convergence:
        return ""
    convergence = layer.convergence
    words = (
        f"Half of the {len(layer.measured)} measured maps look as at the end from "
        f"{convergence['projection'].words()} on"
    )
    if convergence["projection"].to_the_end > 0:
        words += f"; {percent(convergence['projection'].to_the_end)} changed until the end"
    words += f". Their winning image stays from epoch {convergence['image'].median} on"
    if "filter" in convergence:
        words += f"; their own filters have all but arrived by epoch {convergence['filter'].median}"
    return words + "."


def _dead(layer: LayerEvolution) -> str:
    """The maps that are not drawn, and why."""
    reasons = {
        "Dead at the end, above zero in no image": layer.dead_at_end,
        "NaN or infinite in all images at the end": layer.not_finite_at_end,
    }
    return " ".join(
        f"{why}, and not drawn: {len(maps)} maps ({_named(maps)})."
        for why, maps in reasons.items()
        if maps
    )


def _named(maps: Sequence[int]) -> str:
    some = ", ".join(map(str, maps[:12]))
    more = len(maps) - 12
    return f"{some} and {more} more" if more > 0 else some
