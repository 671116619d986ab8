"""A training run as a page: RUN/index.html, readable while it runs, after it, and if it diverged.

Curves of loss, error, learning rate and renormalised filters, the first layer's filters at each
kept epoch, and what was trained on what by which recipe. No script: it prints as it looks.
"""

from __future__ import annotations

import math
import os
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from convscope.atlas.sheets import FILTER_CELL, FILTER_COLUMNS, encode_sheet, filter_sheet
from convscope.errors import BadCheckpoint, BadInput
from convscope.experiments.number_words import duration, percent
from convscope.images.preprocess import Preprocess
from convscope.models.weights import Weights, read_weights
from convscope.report.embedded_data import resource, template
from convscope.report.style import figure_bytes
from convscope.report.training_figure import exact, training_figure
from convscope.store.atomic import replace_file
from convscope.training.checkpoint import Checkpoint, Epoch, Run, RunStatus, read_run
from convscope.training.recipe_file import recipe_text

__all__ = ["write_training_page"]

OWN_FILES = ("tour.css", "training.css")  # copied as they are
UNFOLDED = 20  # epochs whose table is open at once
ACROSS, SEAM = 8, 6  # filters in a row, and pixels between two


def write_training_page(run_folder: str | os.PathLike[str]) -> Path:
    """Write the page of a training run into its folder, at any moment of it.

    Each file is replaced as a whole; nothing of the run is changed. The same run always gives the
    same bytes.

    Args:
        run_folder: The run.

    Returns:
        The path of index.html.

    Raises:
        BadData: There is no run.
    """
    folder = Path(run_folder)
    run = read_run(folder)
    (folder / "page").mkdir(exist_ok=True)
    for name in OWN_FILES:
        replace_file(folder / "page" / name, resource(name))
    kept = [_filters(folder, checkpoint) for checkpoint in run.checkpoints]
    curves = b64encode(figure_bytes(training_figure(run))).decode()
    index = folder / "index.html"
    replace_file(
        index, template("training.html.j2").render(training_page_words(run, kept, curves)).encode()
    )
    return index


# ---- filters ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """A kept epoch's first-layer filters: their picture beside the page, or why there is none."""

    epoch: int
    picture: str | None
    filters: int
    reason: str = ""


def _filters(folder: Path, checkpoint: Checkpoint) -> Kept:
    picture = f"page/filters-{checkpoint.epoch:04d}.webp"
    try:
        weights = read_weights(folder / checkpoint.file)
        weight = next(w for w in weights.tensors.values() if w.ndim == 4 and w.shape[1] == 3)
        sheet = _spaced(filter_sheet(_colours(weights).rgb(weight)), len(weight))
    except BadInput as error:
        return Kept(checkpoint.epoch, None, 0, str(error))
    except StopIteration:
        return Kept(checkpoint.epoch, None, 0, f"{checkpoint.file} has no filters of colours")
    replace_file(folder / picture, encode_sheet(sheet, exact=True))
    return Kept(checkpoint.epoch, picture, len(weight))


def _spaced(sheet: Image.Image, filters: int) -> Image.Image:
    """The cells of a filter sheet in rows of 8, with room between them that shows the page."""
    step = FILTER_CELL + SEAM
    size = ACROSS * step - SEAM, math.ceil(filters / ACROSS) * step - SEAM
    spaced = Image.new("RGBA", size)
    for place in range(filters):
        left, top = (FILTER_CELL * at for at in reversed(divmod(place, FILTER_COLUMNS)))
        cell = sheet.crop((left, top, left + FILTER_CELL, top + FILTER_CELL))
        spaced.paste(cell, (place % ACROSS * step, place // ACROSS * step))
    return spaced


def _colours(weights: Weights) -> Preprocess:
    """What knows in which order the network has its colours."""
    if weights.preprocess is None:
        raise BadCheckpoint(f"{weights.path} does not say how the network was fed")
    return weights.preprocess


# ---- words ------------------------------------------------------------------------------------


def training_page_words(run: Run, kept: Iterable[Kept], curves: str) -> dict[str, Any]:
    """Everything that the template says."""
    return {
        "title": run.architecture.name,
        "standfirst": _standfirst(run),
        "status": str(run.status),
        "done": len(run.history),
        "epochs": run.recipe.epochs,
        "curves": curves,
        "radius": run.recipe.radius,
        "kept": tuple(kept),
        "history": run.history,
        "unfolded": len(run.history) <= UNFOLDED,
        "recipe": _recipe(run),
        "facts": _facts(run),
        "notes": run.notes,
        "tested": run.tested,
        "number": exact,
        "percent": percent,
    }


def _standfirst(run: Run) -> str:
    done, all_ = len(run.history), run.recipe.epochs
    seconds = sum(epoch.seconds for epoch in run.history)
    words = (
        f"{done} of {all_} epochs over {run.data['count']:,} images of {len(run.classes)} classes"
    )
    if not done:
        return f"{words}: no epoch is complete yet."
    best = _best(run.history)
    return (
        f"{words}, in {duration(seconds)}. Validation error "
        f"{percent(1 - run.history[-1].val_accuracy, 1)} after the last of them; the lowest, "
        f"{percent(1 - best.val_accuracy, 1)}, after epoch {best.epoch}."
    )


def _best(history: Iterable[Epoch]) -> Epoch:
    return max(history, key=lambda each: (each.val_accuracy, -each.epoch))


def _recipe(run: Run) -> list[tuple[str, str, str]]:
    """(name, value, source) of every number."""
    rows = []
    for line in recipe_text(run.recipe).splitlines():
        setting, _, source = line.partition("  # ")
        name, _, value = setting.partition(": ")
        rows.append((name.strip(), value.strip(), source.strip()))
    return rows


def _facts(run: Run) -> dict[str, str]:
    seconds = sum(epoch.seconds for epoch in run.history)
    facts = {
        "Learned from": _data(run.data),
        "Validated on": _data(run.validation),
        "Classes": ", ".join(run.classes),
        "Input": "×".join(map(str, run.architecture.input_shape)),
        "Time": duration(seconds) if run.history else "none yet",
        "Status": str(run.status),
        "Processes": str(run.processes),
    }
    if run.history and seconds > 0:
        images = len(run.history) * run.data["count"]
        facts["Speed"] = f"{images / seconds:,.0f} images a second, validation included"
    facts |= dict(run.versions)
    if run.weights_sha256 is not None:
        facts["Weights"] = f"weights.safetensors, SHA-256 {run.weights_sha256}"
    elif run.status is RunStatus.RUNNING:
        facts["Weights"] = "the final ones are not there yet"
    return facts


def _data(about: Any) -> str:
    skipped = f", {about['skipped']} skipped" if about.get("skipped") else ""
    return (
        f"{about['spec']}: {about['count']:,} images{skipped}, identity {about['identity'][:12]}…"
    )
