"""Fuzzed stores: a file of an atlas, a study or a training is damaged, and then it is used.

A finished atlas, and one that is gone on with, is refused or is equal to what it was. Where there
is no checksum, of atlases that were made before there were any, it may say something else; but
there is no traceback, and nothing is written outside of the folder, here either.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from atlas.conftest import tiny_model, write_pictures
from campaign import mutations
from campaign.row import Row
from convscope.atlas import render as depict
from convscope.atlas.build import build_atlas
from convscope.atlas.store import Atlas, open_atlas
from convscope.cli.app import main
from convscope.errors import ConvscopeError
from convscope.images.datasets import open_images
from convscope.models.weights import read_weights
from convscope.models.zoo import open_model
from convscope.report.page import write_page
from convscope.scan import engine
from convscope.store.results import ResultStore
from convscope.training.checkpoint import read_run
from folders import content
from trainee import in_a_child, learn


@cache
def made() -> Path:
    """A folder with one store of each kind, and the pictures that they are made of."""
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="campaign-stores-"))
    write_pictures(folder / "pictures", 10)
    _scan(folder, "atlas")
    write_page(folder / "atlas")
    for stage, moment in enumerate(MOMENTS):
        _stopped(folder, f"unfinished-{stage}", moment)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        assert main(_study(folder / "study")) == 0
    in_a_child(lambda: learn(folder / "run"))
    return folder


MOMENTS = (4, 9, 14)
"""After how many reports of its progress an atlas is left unfinished."""


class Stop(Exception):
    """Ends a scan."""


def _scan(folder: Path, name: str, **options: Any) -> Atlas:
    images = open_images(folder / "pictures")
    return build_atlas(
        tiny_model(), images, folder / name, layers=["0", "3"], top=3, batch_size=4, workers=1,
        **options,
    )  # fmt: skip


def _stopped(folder: Path, name: str, moment: int) -> None:
    engine.CHECKPOINT_SECONDS = depict.CHECKPOINT_SECONDS = 0.0
    depict.TILE_BYTES = 1
    calls = 0

    def progress(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == moment:
            raise Stop

    with contextlib.suppress(Stop):
        _scan(folder, name, progress=progress)


def _study(out: Path) -> list[str]:
    words = ["invariance", "zfnet-small", "scenes:val:2", "--count", "1", "--device", "cpu"]
    return [*words, "--out", str(out), "--resume"]


# ---- what a store says --------------------------------------------------------------------------


def said_by(atlas: Atlas) -> str:
    """A fingerprint of all that an atlas gives to its reader, but the seconds."""
    digest = hashlib.sha256()
    manifest = atlas.manifest.model_dump()
    kept = {key: value for key, value in manifest.items() if not key.startswith("seconds")}
    digest.update(json.dumps(kept, sort_keys=True, default=str).encode())
    digest.update(json.dumps([image.model_dump() for image in atlas.images]).encode())
    for name, table in atlas.layers.items():
        digest.update(name.encode())
        for column in vars(table).values():
            digest.update(column.numpy().tobytes())
        for channel in range(atlas.record(name).channels):
            digest.update(repr(atlas.told_class(name, channel)).encode())
            for rank in range(atlas.manifest.top):
                digest.update(repr(atlas.trust(name, channel, rank)).encode())
                for kind in atlas.kinds:
                    digest.update(atlas.picture(kind, name, channel, rank).tobytes())
    return digest.hexdigest()


@cache
def _truth() -> str:
    return said_by(open_atlas(made() / "atlas"))


def _around(folder: Path) -> dict[str, str]:
    """All that lies beside the store in the folder of a trial."""
    beside = [path for path in folder.iterdir() if path.name != "store"]
    found = {f"{path.name}/{name}": sha for path in beside for name, sha in content(path).items()}
    return {**found, **{path.name: "" for path in beside}}


def _tried(
    seed: int, folder: Path, name: str, use: Callable[[Path, str], str | None]
) -> str | None:
    """Copy a store, damage it, use it, and look for what was written outside of it."""
    dice, store = random.Random(seed), folder / "store"
    shutil.copytree(made() / name, store)
    (folder / "outside").mkdir()
    (folder / "outside" / "mine.txt").write_text("mine")
    os.chdir(folder / "outside")
    before = _around(folder)
    what = mutations.damage(store, dice)
    try:
        wrong = use(store, what)
    except (ConvscopeError, OSError) as error:  # of both the command line makes a line
        wrong = f"two lines: {error}" if "\n" in str(error) else None
    except Exception as error:
        error.add_note(what)
        raise
    if _around(folder) != before:
        return f"{what}: something was written outside"
    return None if wrong is None else f"{what}: {wrong}"


# ---- the rows -----------------------------------------------------------------------------------


def atlas(seed: int, folder: Path) -> str | None:
    """A finished atlas is opened, read and rendered."""

    def use(store: Path, what: str) -> str | None:
        opened = open_atlas(store)
        write_page(store)
        return None if said_by(opened) == _truth() else "it says something else"

    return _tried(seed, folder, "atlas", use)


def old_atlas(seed: int, folder: Path) -> str | None:
    """The same of one without checksums: whatever it says, it is no traceback."""

    def use(store: Path, what: str) -> str | None:
        (store / "checksums.json").unlink(missing_ok=True)
        said_by(open_atlas(store))
        write_page(store)
        return None

    return _tried(seed, folder, "atlas", use)


def unfinished(seed: int, folder: Path) -> str | None:
    """An unfinished atlas is gone on with, to the same bytes or not at all."""
    shutil.copytree(made() / "pictures", folder / "pictures")

    def use(store: Path, what: str) -> str | None:
        images = open_images(made() / "pictures")
        build_atlas(
            tiny_model(), images, store, layers=["0", "3"], top=3, batch_size=4, workers=1,
            resume=True,
        )  # fmt: skip
        return None if said_by(open_atlas(store)) == _truth() else "it says something else"

    return _tried(seed, folder, f"unfinished-{seed % len(MOMENTS)}", use)


def study(seed: int, folder: Path) -> str | None:
    """A study is resumed: its numbers are those that they were, or it is refused in a line."""

    def use(store: Path, what: str) -> str | None:
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(stdout):
            code = main(_study(store))
        lines = [line for line in stderr.getvalue().splitlines() if line.startswith("convscope:")]
        if code:
            return None if code in (1, 2) and len(lines) == 1 else f"{code}: {stderr.getvalue()}"
        return None if _numbers(store) == _numbers(made() / "study") else "its numbers are others"

    return _tried(seed, folder, "study", use)


def _numbers(folder: Path) -> dict[str, Any]:
    """The results of a study, by the files that they are in."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.name not in ("study.json", "checksums.json"):
            found[path.name] = json.loads(path.read_text())
    return found


def run(seed: int, folder: Path) -> str | None:
    """The files of a training are read."""

    def use(store: Path, what: str) -> str | None:
        read_run(store)
        for path in sorted(store.glob("*.safetensors")):
            try:
                read_weights(path)
                open_model(str(path))
            except ConvscopeError as error:
                assert "\n" not in str(error)
        return None

    return _tried(seed, folder, "run", use)


def pieces(seed: int, folder: Path) -> str | None:
    """Records and arrays of a store are read as they were written, or are refused."""
    import numpy as np

    dice = random.Random(seed)
    record, arrays = {"a": [1, 2.5, None], "b": {"c": "d"}}, {"x": np.arange(50.0), "y": np.eye(3)}
    with ResultStore(folder / "s", {"seed": 0}) as store:
        store.record("r", lambda: record)
        store.arrays("n", lambda: arrays)
    what = mutations.damage(folder / "s", dice)
    try:
        with ResultStore(folder / "s", {"seed": 0}, resume=True) as store:
            again, numbers = store.record("r", lambda: record), store.arrays("n", lambda: arrays)
    except ConvscopeError as error:
        return f"two lines: {error}" if "\n" in str(error) else None
    same = again == record and numbers.keys() == arrays.keys()
    same = same and all(np.array_equal(numbers[key], arrays[key]) for key in arrays)
    return None if same else f"{what}: another result was read"


MUST = "refused in one line, or equal; nothing outside"
ROWS = [
    Row("atlas", "fuzzed atlas, opened and rendered", MUST, 3000, atlas, _truth, least=2),
    Row(
        "old-atlas",
        "fuzzed atlas without checksums",
        "refused in one line, or read; nothing outside",
        2000,
        old_atlas,
        _truth,
    ),
    Row("unfinished", "fuzzed unfinished atlas, resumed", MUST, 1500, unfinished, _truth),
    Row("study", "fuzzed study, resumed", MUST, 1000, study, made, least=2),
    Row(
        "run",
        "fuzzed training, read",
        "refused in one line, or read; nothing outside",
        1000,
        run,
        made,
    ),
    Row("pieces", "fuzzed results of a study, read", MUST, 1500, pieces, least=20),
]
