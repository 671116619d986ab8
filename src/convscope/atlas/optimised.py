"""Optimised pictures of an atlas's feature maps: a stage of its own, after the atlas is finished.

    optimised.json                       how they were made (`OptimisedRecord`)
    sheets/<slug>/optimised-000.webp     100 maps in 10 x 10 cells of the layer's `tile`
    sheets/<slug>/optimised-000.json     what each of these maps reaches in its picture

A sheet is a piece of work: where it is there, it is done.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError

from convscope.atlas import sheets
from convscope.atlas.checksums import read_checksums, write_checksums
from convscope.atlas.folder import OPTIMISED, sheet_path
from convscope.atlas.manifest import LayerRecord, StoredRecord
from convscope.atlas.records import weights_of
from convscope.atlas.store import Atlas
from convscope.errors import BadModel, FolderInUse
from convscope.execution import ONE_PROCESS, Execution
from convscope.images.pictures import GREY
from convscope.methods.ascent.loop import BATCH, AscentSettings, ascend
from convscope.methods.ascent.showing import canvas_of, shown_pictures
from convscope.progress import Progress, silent
from convscope.store.atomic import replace_file, write_json
from convscope.store.lock import held

if TYPE_CHECKING:
    from convscope.models.zoo import Model

__all__ = ["OptimisedRecord", "expected_seconds", "write_optimised"]

RECORD = "optimised.json"
TRIED_STEPS = 2
WHAT = "optimised pictures"


class OptimisedRecord(StoredRecord):
    """How optimised pictures were made.

    Attributes:
        method: `convscope visualize --method` has it.
        steps: of the ascent.
        seed: of all that was drawn.
    """

    method: str = "fourier"
    steps: int = 128
    seed: int = 0


AS_VISUALIZE = OptimisedRecord()


def expected_seconds(
    model: Model,
    atlas: Atlas,
    layers: Iterable[str] | None = None,
    record: OptimisedRecord = AS_VISUALIZE,
    *,
    device: str = "cpu",
) -> float:
    """How long it will take to make what is not there, by a few steps of each layer.

    Args:
        model: That the atlas is of.
        atlas: A finished atlas.
        layers: Of it; None is all.
        record: How the pictures are made.
        device: As torch names it.

    Raises:
        NoSuchLayer: With the nearest names.
    """
    network = model.network().to(device)
    canvas = canvas_of(network, model.preprocess)
    seconds = 0.0
    for layer in _records(atlas, layers):
        missing = sum(len(maps) for _, maps in _missing(atlas, layer))
        if not missing:
            continue
        few = list(range(min(BATCH, layer.channels)))
        settings = AscentSettings(steps=TRIED_STEPS, seed=record.seed)
        ascend(network, layer.name, few, canvas, settings)  # what is worked out once
        started = time.monotonic()
        ascend(network, layer.name, few, canvas, settings)
        batches = math.ceil(missing / len(few))
        seconds += (time.monotonic() - started) * batches * record.steps / TRIED_STEPS
    return seconds


def write_optimised(
    model: Model,
    atlas: Atlas | None,
    layers: Iterable[str] | None = None,
    record: OptimisedRecord = AS_VISUALIZE,
    how: Execution = ONE_PROCESS,
) -> None:
    """Make the optimised pictures of an atlas's feature maps; those that are there stay.

    Several processes share the sheets: all call this, the first writes.

    Args:
        model: That the atlas is of.
        atlas: A finished atlas; None in all processes but the first.
        layers: Of it; None is all.
        record: How the pictures are made.
        how: On which device, and which of several processes this is.

    Raises:
        NoSuchLayer: With the nearest names.
        BadModel: The atlas is of other weights.
        FolderInUse: The atlas has pictures that were made otherwise, or another process makes some.
    """
    if atlas is None:
        _write_all(model, None, [], record, replace(how, progress=None))
        return
    folder = atlas.folder
    with held(
        folder / f"{RECORD}.lock",
        f"another process is at work in {folder}; wait for it, or stop it first",
    ):
        _claim(model, atlas, record)
        work = [
            _Sheet(layer, *one)
            for layer in _records(atlas, layers)
            for one in _missing(atlas, layer)
        ]
        _write_all(model, folder, work, record, how)


@dataclass(frozen=True)
class _Sheet:
    """A sheet that is to be made, and the maps on it."""

    layer: LayerRecord
    number: int
    maps: range


def _write_all(
    model: Model,
    folder: Path | None,
    work: list[_Sheet],
    record: OptimisedRecord,
    how: Execution,
) -> None:
    """Make some sheets; `folder` and `work` are the first process's."""
    ranks, progress = how.ranks, how.progress or silent
    shared_work = ranks.from_first(lambda: work)
    network = model.network().to(how.device)
    canvas = canvas_of(network, model.preprocess)
    settings = AscentSettings(steps=record.steps, seed=record.seed)
    done, total = 0, sum(len(sheet.maps) for sheet in shared_work)
    progress(WHAT, done, total)
    for start in range(0, len(shared_work), ranks.count):
        shared = shared_work[start : start + ranks.count]
        made = None
        if ranks.rank < len(shared):
            own = shared[ranks.rank]
            told = _Told(progress, done, len(own.maps), total)
            ascent = ascend(network, own.layer.name, own.maps, canvas, settings, progress=told)
            pictures = shown_pictures(ascent, model.preprocess, free=False)
            reached = ascent.activation.masked_fill(ascent.not_finite, math.nan).tolist()
            made = (_encoded(pictures), [one if math.isfinite(one) else None for one in reached])
        for sheet, one in zip(shared, ranks.gathered(made), strict=False):
            if one is not None and folder is not None:
                path = sheet_path(folder, sheet.layer.slug, OPTIMISED, sheet.number)
                numbers = path.with_suffix(".json")
                write_json(numbers, {"activation": one[1]})
                if read_checksums(folder) is not None:
                    write_checksums(folder, [numbers], {path: one[0]})
                replace_file(path, one[0])
        done += sum(len(sheet.maps) for sheet in shared)
        progress(WHAT, done, total)


@dataclass(frozen=True)
class _Told:
    """Tells how far a sheet is, as a number of maps of all."""

    progress: Progress
    before: int
    maps: int
    total: int

    def __call__(self, what: str, done: int, total: int) -> None:
        self.progress(WHAT, self.before + self.maps * done // total, self.total)


def _records(atlas: Atlas, layers: Iterable[str] | None) -> list[LayerRecord]:
    """The layers that are asked for, in the atlas's order."""
    if layers is None:
        return list(atlas.manifest.layers)
    wanted = {atlas.record(name).name for name in layers}
    return [layer for layer in atlas.manifest.layers if layer.name in wanted]


def _missing(atlas: Atlas, layer: LayerRecord) -> list[tuple[int, range]]:
    """The numbers of a layer's sheets that are not there, and the maps on them."""
    size = sheets.WALL**2
    found = []
    for number, start in enumerate(range(0, layer.channels, size)):
        if not sheet_path(atlas.folder, layer.slug, OPTIMISED, number).exists():
            found.append((number, range(start, min(start + size, layer.channels))))
    return found


def _claim(model: Model, atlas: Atlas, record: OptimisedRecord) -> None:
    """Say how the pictures are made, or check that those that are there were made so."""
    if weights_of(model) != atlas.manifest.model.weights_sha256:
        raise BadModel(f"the atlas in {atlas.folder} is of other weights than {model.spec}")
    path = atlas.folder / RECORD
    if path.exists():
        try:
            there = OptimisedRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            there = None
        if there != record:
            raise FolderInUse(
                f"{path} says that optimised pictures were made otherwise: "
                f"{json.dumps(there and there.model_dump())}; delete it and "
                f"sheets/*/optimised-*, or ask for the same"
            )
        return
    replace_file(path, record.model_dump_json(indent=1).encode())


def _encoded(pictures: Sequence[sheets.Pixels]) -> bytes:
    """The sheet of some maps' pictures, as WebP."""
    tiles = [sheets.patch_tile(torch.from_numpy(one.copy()).permute(2, 0, 1)) for one in pictures]
    window = pictures[0].shape[0], pictures[0].shape[1]
    return sheets.encode_sheet(optimised_sheet(np.stack(tiles)), exact=sheets.is_small(window))


def optimised_sheet(tiles: sheets.Pixels) -> Image.Image:
    """Put tiles on a sheet of 10 x 10 cells, one for each feature map.

    Shape:
        (M, th, tw, 3), M at most 100.
    """
    rows = math.ceil(len(tiles) / sheets.WALL)
    grid = np.full((rows * sheets.WALL, *tiles.shape[1:]), GREY, np.uint8)
    grid[: len(tiles)] = tiles
    return sheets.rank_sheet(grid.reshape(rows, sheets.WALL, *tiles.shape[1:]))
