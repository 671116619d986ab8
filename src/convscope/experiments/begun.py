"""What a folder was begun with, where the default has changed since.

Pictures that have the input's size were once resized and cropped by default, and transfer was
tested on at most 50 images per class. A folder that was
begun so goes on so: what it holds and what is still to come belong together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convscope.models.zoo import Model

__all__ = ["as_begun", "setting_begun"]

RECORDS = ("study.json", "manifest.json", "work/plan.json")  # of a study, an atlas, one begun


def as_begun(model: Model, folder: Path, fit: str | None) -> Model:
    """Return a model that fits pictures as they were fitted when a folder was begun.

    Args:
        model: As it was opened.
        folder: Of results that are gone on with.
        fit: What the user says about it, or None; what is said counts.
    """
    from convscope.images.fitting import Fit

    preprocess = model.preprocess
    if fit is not None or preprocess.fit is not Fit.AUTO or Fit.CROP not in _fits(folder):
        return model
    return replace(
        model,
        preprocess=replace(preprocess, fit=Fit.CROP),
        notes=(*model.notes, f"fit crop, as {folder} was begun"),
    )


def setting_begun(folder: Path, name: str) -> Any:
    """Return a setting of the study in a folder; None where there is none.

    Args:
        folder: Of the study.
        name: Of the setting.
    """
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        return json.loads((folder / "study.json").read_bytes()).get(name)
    return None


def _fits(folder: Path) -> set[str]:
    """How the records in a folder say that pictures were fitted."""
    found: set[str] = set()
    for name in RECORDS:
        with suppress(OSError, ValueError, RecursionError):
            found.update(_in(json.loads((folder / name).read_bytes())))
    return found


def _in(record: Any) -> Iterator[str]:
    if not isinstance(record, Mapping):
        return
    if "scaling" in record and isinstance(record.get("fit"), str):
        yield record["fit"]
    for value in record.values():
        yield from _in(value)
