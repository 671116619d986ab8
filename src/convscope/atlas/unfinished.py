"""A scan that has not ended: what it was asked to do, how far it got, and who may go on with it.

While a scan runs, the atlas folder holds a folder `work`:

    plan.json            what was asked for (`Plan`), written first
    state.safetensors    the tables so far and, in its header, the next image: one file, one commit
    drawn.json           which layers have their sheets, and how many images of the next ones are
                         projected (`Drawn`)
    tiles/               tiles that wait for their sheet
    lock                 held by the process at work

A kill at any moment leaves each of these old or new, never half; tiles are written again unless
drawn.json counts them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from convscope.atlas.store import (
    MANIFEST,
    PLAN,
    WORK,
    DataRecord,
    Manifest,
    ModelRecord,
    PreprocessRecord,
    Record,
    read_manifest,
)
from convscope.errors import BadInput, FolderInUse
from convscope.scan.commits import StateFile
from convscope.store.atomic import remove_leftovers, replace_file
from convscope.store.lock import held

__all__ = ["Drawn", "Plan", "WorkFolder", "claim"]


class Plan(Record):
    """What a scan was asked to do. Two runs that differ here cannot make one atlas."""

    model: ModelRecord
    data: DataRecord
    preprocess: PreprocessRecord
    input_shape: tuple[int, int, int]
    top: int
    rules: str
    device: str
    layers: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Plan:
        """The plan that a manifest is the outcome of."""
        layers = tuple(record.name for record in manifest.layers)
        shared = cls.model_fields.keys() - {"layers"}
        return cls(layers=layers, **{name: getattr(manifest, name) for name in shared})

    def differences(self, other: Plan) -> str:
        """What differs, in words: "top was 9, now 5; ...". Empty: one may go on with the other.

        Where the weights and the images lie, and how they are called, does not matter.
        """
        pairs = {
            "the model's weights": lambda p: (p.model.weights_sha256 or "")[:12],
            "the model's parameters": lambda p: p.model.parameters,
            "the number of images": lambda p: p.data.count,
            "the images' identity": lambda p: p.data.identity[:12],
            "preprocess": lambda p: p.preprocess.text,
            "input": lambda p: "x".join(map(str, p.input_shape)),
            "top": lambda p: p.top,
            "rules": lambda p: p.rules,
            "device": lambda p: p.device,
            "layers": lambda p: _few(p.layers),
        }
        differing = [
            f"{name} was {value(other)}, now {value(self)}"
            for name, value in pairs.items()
            if value(self) != value(other)
        ]
        outputs = self.model.output, other.model.output
        if None not in outputs and outputs[0] != outputs[1]:  # an older plan does not say it
            differing.append(f"output was {outputs[1]}, now {outputs[0]}")
        if self.preprocess.settings != other.preprocess.settings and not differing:
            differing = ["the preprocessing's settings"]
        return "; ".join(differing)


class Drawn(Record):
    """How far the pictures are: layers with all their sheets, how many layers are under way, and
    how many images are projected for those."""

    layers: int = 0
    group: int = 0
    images: int = 0
    seconds: float = 0.0


class WorkFolder:
    """The folder `work` of one atlas. Got with `claim`."""

    def __init__(self, atlas: Path) -> None:
        self.path = atlas / WORK
        self.tiles = self.path / "tiles"
        self.tables = StateFile(self.path / "state.safetensors")

    def save_drawn(self, drawn: Drawn) -> None:
        """Commit how far the pictures are."""
        replace_file(self.path / "drawn.json", drawn.model_dump_json().encode())

    def load_drawn(self) -> Drawn:
        """What `save_drawn` committed last."""
        path = self.path / "drawn.json"
        try:
            return Drawn.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Drawn()
        except (OSError, ValidationError) as error:
            raise _unreadable(path, error) from None


@contextmanager
def claim(atlas: Path, plan: Plan, *, resume: bool) -> Iterator[WorkFolder | None]:
    """The work folder of a scan that may begin, or go on; None where the atlas is finished.

    Raises  FolderInUse: the folder holds something else, an atlas (finished, unfinished, or of
    another plan), or another process is at work in it. Nothing in it is changed then.
    """
    found = _found(atlas)
    if isinstance(found, Manifest):
        _may_resume(atlas, "a finished atlas", plan, Plan.of(found), resume)
        shutil.rmtree(WorkFolder(atlas).path, ignore_errors=True)  # a kill may have left it
        yield None
        return
    work = WorkFolder(atlas)
    if found is not None:
        _may_resume(atlas, "an unfinished atlas", plan, found, resume)
    work.path.mkdir(parents=True, exist_ok=True)
    busy = f"another process is at work in {atlas}; wait for it, or stop it first"
    with held(work.path / "lock", busy):
        remove_leftovers(atlas)
        replace_file(work.path / PLAN, plan.model_dump_json(indent=1).encode())
        yield work
    if isinstance(_found(atlas), Manifest):
        shutil.rmtree(work.path)


def _found(atlas: Path) -> Manifest | Plan | None:
    """The finished or unfinished atlas in a folder; None for one that is new or empty."""
    if not atlas.exists():
        return None
    if not atlas.is_dir():
        raise FolderInUse(f"{atlas} is a file; give a folder that is new or empty")
    plan = atlas / WORK / PLAN
    if (atlas / MANIFEST).exists():
        try:
            manifest = read_manifest(atlas)
        except BadInput as error:
            raise FolderInUse(f"{error}, in another folder, or delete this one") from None
        if manifest.complete:
            return manifest
    if plan.exists():
        try:
            return Plan.model_validate_json(plan.read_bytes())
        except (OSError, ValidationError) as error:
            raise _unreadable(plan, error) from None
    strangers = [entry.name for entry in atlas.iterdir() if not _is_ours(entry)]
    if strangers:
        raise FolderInUse(
            f"{atlas} holds {_few(sorted(strangers))}, which no atlas put there; "
            f"give a folder that is new or empty"
        )
    return None


def _is_ours(entry: Path) -> bool:
    """Whether a scan that was killed before it had written its plan left this."""
    if entry.name != WORK or not entry.is_dir():
        return False
    return all(
        inner.name == "lock" or inner.name.startswith(f".{PLAN}") for inner in entry.iterdir()
    )


def _may_resume(atlas: Path, what: str, plan: Plan, found: Plan, resume: bool) -> None:
    differences = plan.differences(found)
    if differences:
        raise FolderInUse(
            f"{atlas} holds {what} of another scan: {differences}; use the same again, "
            f"give another folder, or delete this one"
        )
    if not resume:
        go_on = "go on with --resume" if what.startswith("an un") else "look at it as it is"
        raise FolderInUse(
            f"{atlas} holds {what}; {go_on}, or delete the folder (or give another) to begin anew"
        )


def _few(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _unreadable(path: Path, error: Any) -> FolderInUse:
    line = " ".join(str(error).split())
    return FolderInUse(
        f"{path} cannot be read ({line}); delete {path.parent.parent} to begin anew, "
        f"or give another folder"
    )
