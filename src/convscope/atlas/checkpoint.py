"""The checkpoint of an atlas: what was asked for, how far it got, and who may go on with it.

While an atlas is being made, its folder holds a folder `work`:

    plan.json            what was asked for (`AtlasPlan`), written first
    state.safetensors    the tables so far and, in its header, the next image: one file, one commit
    drawn.json           which layers have their sheets, and how many images of the next ones are
                         projected (`Rendered`)
    tiles/               tiles that wait for their sheet
    trust/               how far pictures can be trusted, until the last layer's are known
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

from convscope.atlas.folder import MANIFEST, PLAN, WORK, read_manifest
from convscope.atlas.manifest import (
    DataRecord,
    ExtrasRecord,
    Manifest,
    ModelRecord,
    PreprocessRecord,
    StoredRecord,
)
from convscope.errors import BadInput, FolderInUse
from convscope.scan.checkpoint import CheckpointFile
from convscope.store.atomic import remove_leftovers, replace_file
from convscope.store.differences import all_differences
from convscope.store.lock import LOCK, held
from convscope.text import error_words

__all__ = [
    "AtlasPlan",
    "Rendered",
    "WorkFolder",
    "check_atlas_folder",
    "claim_atlas",
    "plan_as_begun",
]


class AtlasPlan(StoredRecord):
    """What an atlas was asked for. Two runs that differ here cannot make one atlas.

    Attributes:
        model: the network and its weights.
        data: the images.
        preprocess: from images to the network's input.
        input_shape: (3, H, W) in pixels.
        top: how many images each feature map keeps.
        rules: name of the method of projection.
        device: that the network is run on.
        layers: their names.
        plain: whether it holds patches and projections alone; None in older plans, which all do.
        extras: what it holds besides; None where it is plain.
    """

    model: ModelRecord
    data: DataRecord
    preprocess: PreprocessRecord
    input_shape: tuple[int, int, int]
    top: int
    rules: str
    device: str
    layers: tuple[str, ...]
    plain: bool | None = None
    extras: ExtrasRecord | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> AtlasPlan:
        """The plan that led to a finished atlas."""
        layers = tuple(record.name for record in manifest.layers)
        shared = cls.model_fields.keys() - {"layers", "plain"}
        return cls(layers=layers, **{name: getattr(manifest, name) for name in shared})

    def differences(self, other: AtlasPlan) -> str:
        """What differs from an earlier plan, in words.

        Where the weights and the images lie, and how they are called, does not matter.

        Args:
            other: the earlier plan.

        Returns:
            Such as "top is 9 there, 5 now"; empty where one may go on with the other.
        """
        there, now = other._facts(), self._facts()
        if None in (there["output"], now["output"]):  # an older plan does not say it
            now["output"] = there["output"]
        return "; ".join(all_differences(there, now))

    def _facts(self) -> dict[str, Any]:
        """What two plans of one atlas agree in, by the words for it."""
        return {
            "the model's weights": (self.model.weights_sha256 or "")[:12],
            "the model's parameters": self.model.parameters,
            "the number of images": self.data.count,
            "the images' identity": self.data.identity[:12],
            "preprocess": self.preprocess.text,
            "the preprocessing's settings": self.preprocess.settings,
            "input": "x".join(map(str, self.input_shape)),
            "top": self.top,
            "rules": self.rules,
            "device": self.device,
            "layers": _few(self.layers),
            "output": self.model.output,
            "what it holds": "patches and projections" if self.extras is None else "all",
            "check": None if self.extras is None else self.extras.check,
            "--relevant": None if self.extras is None else list(self.extras.relevant),
        }


class Rendered(StoredRecord):
    """How far the pictures are.

    Attributes:
        layers: how many have all their sheets.
        group: how many of the next layers are under way, together.
        images: how many images are projected for those.
        seconds: spent, in all runs.
    """

    layers: int = 0
    group: int = 0
    images: int = 0
    seconds: float = 0.0


class WorkFolder:
    """The folder `work` of one atlas, which `claim_atlas` gives.

    Attributes:
        path: of the folder.
        tiles: the folder of the tiles that wait for their sheets.
        trust: the folder of the numbers that wait for the last layer.
        tables: the state of the first pass.
    """

    def __init__(self, atlas: Path) -> None:
        self.path = atlas / WORK
        self.tiles = self.path / "tiles"
        self.trust = self.path / "trust"
        self.tables = CheckpointFile(self.path / "state.safetensors")

    def save_rendered(self, state: Rendered) -> None:
        """Commit how far the pictures are."""
        replace_file(self.path / "drawn.json", state.model_dump_json().encode())

    def load_rendered(self) -> Rendered:
        """What `save_rendered` committed last; nothing rendered where it never did.

        Raises:
            FolderInUse: the file cannot be read.
        """
        path = self.path / "drawn.json"
        try:
            return Rendered.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Rendered()
        except (OSError, ValidationError) as error:
            raise _unreadable(path, error) from None


def plan_as_begun(atlas: Path, plan: AtlasPlan) -> AtlasPlan:
    """The plan for going on with an atlas: one that does not say what it holds stays plain.

    Args:
        atlas: the folder.
        plan: what is asked for.
    """
    try:
        existing = _existing(atlas)
    except FolderInUse:  # `claim_atlas` says so
        return plan
    if existing is None:
        return plan
    earlier = AtlasPlan.of(existing) if isinstance(existing, Manifest) else existing
    if earlier.plain is not None or earlier.extras is not None:
        return plan
    return plan.model_copy(update={"plain": None, "extras": None})


@contextmanager
def claim_atlas(atlas: Path, plan: AtlasPlan, *, resume: bool) -> Iterator[WorkFolder | None]:
    """Hold an atlas folder to make the atlas in it, or to go on with it.

    Args:
        atlas: the folder, new, empty, or of an atlas of the same plan.
        plan: what is asked for.
        resume: go on with what is there.

    Yields:
        The work folder; None where the atlas is finished.

    Raises:
        FolderInUse: the folder holds something else, an atlas that is not to be resumed or is of
            another plan, or another process is at work in it. Nothing in it is changed then.
    """
    existing = _existing(atlas)
    if isinstance(existing, Manifest):
        _check_resume(atlas, "a finished atlas", plan, AtlasPlan.of(existing), resume)
        shutil.rmtree(WorkFolder(atlas).path, ignore_errors=True)  # a kill may have left it
        yield None
        return
    work = WorkFolder(atlas)
    if existing is not None:
        _check_resume(atlas, "an unfinished atlas", plan, existing, resume)
    work.path.mkdir(parents=True, exist_ok=True)
    busy = f"another process is at work in {atlas}; wait for it, or stop it first"
    with held(work.path / "lock", busy):
        remove_leftovers(atlas)
        replace_file(work.path / PLAN, plan.model_dump_json(indent=1).encode())
        yield work
    if isinstance(_existing(atlas), Manifest):
        shutil.rmtree(work.path)


def check_atlas_folder(atlas: Path) -> None:
    """Refuse a folder that can hold no atlas, before anything else is done.

    Raises:
        FolderInUse: it is a file, or holds something else, or cannot be read.
    """
    _existing(atlas)


def _existing(atlas: Path) -> Manifest | AtlasPlan | None:
    """What a folder holds: a finished atlas, the plan of an unfinished one, or nothing.

    Raises:
        FolderInUse: it holds something else, or cannot be read.
    """
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
            return AtlasPlan.model_validate_json(plan.read_bytes())
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
    """Whether this was left by a run that was killed before it had written its plan."""
    if entry.name == LOCK:
        return True
    if entry.name != WORK or not entry.is_dir():
        return False
    return all(
        inner.name == "lock" or inner.name.startswith(f".{PLAN}") for inner in entry.iterdir()
    )


def _check_resume(
    atlas: Path, what: str, plan: AtlasPlan, earlier: AtlasPlan, resume: bool
) -> None:
    """Refuse to go on with an atlas of another plan, or with one that is not to be resumed."""
    differences = plan.differences(earlier)
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
    line = error_words(error)
    return FolderInUse(
        f"{path} cannot be read ({line}); delete {path.parent.parent} to begin anew, "
        f"or give another folder"
    )
