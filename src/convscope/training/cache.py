"""Decoded pictures on disk, for sets that memory does not hold: written once, then read as memory.

    NAME-KEY.pixels      uint8 (N, S, S, 3), nothing else, to be mapped into memory
    NAME-KEY.json        what it holds; written last: without it the pixels are not complete
    NAME-KEY.part        of a cache that is being written: how far it is, and the sum of its pixels

KEY stands for the images (names, sizes and dates of the files) and for how they were seen, so a set
that changes gets another file. A cache whose writing was interrupted is gone on with.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from convscope.errors import BadData, BadImage, FolderInUse
from convscope.images.batches import Skipped
from convscope.images.datasets import ImageSet, SceneImages
from convscope.images.files import printable
from convscope.images.preprocess import Preprocess
from convscope.progress import Progress
from convscope.store.atomic import replace_file
from convscope.store.lock import held
from convscope.training.pictures import (
    CHUNK,
    Pictures,
    View,
    check_labels,
    mean_of,
    view_of,
)

__all__ = ["cached_pictures"]

COMMIT_SECONDS = 20.0  # between two records of how far the writing is
SPARE = 2**28  # bytes that stay free on the disk


@dataclass
class _Written:
    """How far a cache is: the next image, and those that could not be read (index, name, why)."""

    next: int = 0
    skipped: list[tuple[int, str, str]] = field(default_factory=list)


def cached_pictures(
    images: ImageSet,
    preprocess: Preprocess,
    folder: str | os.PathLike[str],
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Pictures:
    """Every readable image, as training holds it (`view_of`); pixels and mean come from the cache.

    folder : made if need be; several sets may share it
    progress : its first call tells the size of the file, before it is written

    Raises  BadData: images without labels, nothing readable, no room on the disk.
            FolderInUse: `folder` is a file, or another process writes the same cache.
    """
    classes = check_labels(images)
    view, side = view_of(preprocess)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise FolderInUse(f"cache {folder} is a file: give a folder") from None
    base = Path(folder) / f"{_slug(images.spec)}-{_key(images, preprocess)}"
    record = base.with_suffix(".json")
    if not record.exists():
        busy = f"another process is writing {base.with_suffix('.pixels')}: wait for it"
        with held(base.with_suffix(".lock"), busy):
            if not record.exists():  # another process may have written it meanwhile
                _Writer(images, view, side, base).write(workers, progress)
    found = _read(record)
    count = len(images) - len(found["skipped"])
    pixels = np.memmap(base.with_suffix(".pixels"), np.uint8, "r", shape=(count, side, side, 3))
    gone = {index for index, _, _ in found["skipped"]}
    labels = [images.label(index) for index in range(len(images)) if index not in gone]
    with warnings.catch_warnings():  # torch has no tensors that are only to be read, and says so
        warnings.filterwarnings("ignore", message=".*not writable.*")
        mapped = torch.from_numpy(pixels)
    return Pictures(
        mapped,
        torch.tensor(labels, dtype=torch.int64),
        classes,
        images.spec,
        found["identity"],
        tuple(Skipped(*each) for each in found["skipped"]),
        torch.tensor(found["mean"], dtype=torch.float32).reshape(side, side, 3),
    )


class _Writer:
    """Writes one cache, from where an earlier one was interrupted."""

    def __init__(self, images: ImageSet, view: View, side: int, base: Path) -> None:
        self.images, self.view, self.side, self.base = images, view, side, base
        self.part = base.with_suffix(".part")
        self.written, self.sum = self._begun()

    def write(self, workers: int, progress: Progress | None) -> None:
        """Everything that is not there yet, in chunks; then the record that it is complete."""
        count, row = len(self.images), 3 * self.side**2
        done = self.written
        self._check_room(count * row)
        what = (
            f"caching {self.images.spec}, {self.side}x{self.side} pixels each, "
            f"{_size(count * row)} in {self.base.parent}"
        )
        if progress:
            progress(what, done.next, count)
        began = time.monotonic()
        path = self.base.with_suffix(".pixels")
        with (
            path.open("r+b" if path.exists() else "w+b") as file,
            ThreadPoolExecutor(max(1, workers), thread_name_prefix="convscope-images") as pool,
        ):
            file.truncate((done.next - len(done.skipped)) * row)
            file.seek(0, os.SEEK_END)
            while done.next < count:
                stop = min(done.next + CHUNK, count)
                pixels = self._decoded(range(done.next, stop), pool)
                self.sum += pixels.sum(axis=0, dtype=np.int64)
                file.write(pixels.data)
                done.next = stop
                if time.monotonic() - began > COMMIT_SECONDS:
                    self._commit(file)
                    began = time.monotonic()
                if progress:
                    progress(what, stop, count)
            self._commit(file)
        self._finish()

    def _decoded(self, indices: range, pool: ThreadPoolExecutor) -> NDArray[np.uint8]:
        """uint8 (n, S, S, 3): the readable ones, in order; the others are noted."""
        pixels = np.empty((len(indices), self.side, self.side, 3), np.uint8)
        reasons = list(pool.map(partial(self._fill, pixels, indices.start), indices))
        self.written.skipped += [
            (index, self.images.name(index), reason)
            for index, reason in zip(indices, reasons, strict=True)
            if reason is not None
        ]
        return pixels[[reason is None for reason in reasons]]

    def _fill(self, pixels: NDArray[np.uint8], start: int, index: int) -> str | None:
        try:
            pixels[index - start] = np.asarray(self.view(self.images.picture(index)))
        except BadImage as error:
            return str(error).removeprefix(f"{printable(self.images.name(index))}: ")
        return None

    def _begun(self) -> tuple[_Written, NDArray[np.int64]]:
        """What `_commit` recorded last; the beginning where there is nothing, or nothing whole."""
        try:
            with safe_open(self.part, framework="pt") as file:
                written = _Written(**json.loads(file.metadata()["written"]))
                total = file.get_tensor("sum").numpy()
            size = self.base.with_suffix(".pixels").stat().st_size
            if size >= (written.next - len(written.skipped)) * 3 * self.side**2:
                return written, total
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            pass
        return _Written(), np.zeros((self.side, self.side, 3), np.int64)

    def _commit(self, file: Any) -> None:
        """The pixels reach the disk, then the record of how many there are."""
        file.flush()
        os.fsync(file.fileno())
        header = {"written": json.dumps(asdict(self.written))}
        replace_file(self.part, save({"sum": torch.from_numpy(self.sum)}, header))

    def _finish(self) -> None:
        done, count = self.written, len(self.images)
        if len(done.skipped) == count:
            _, name, reason = done.skipped[0]
            self.base.with_suffix(".pixels").unlink()
            self.part.unlink()
            raise BadData(
                f"{self.images.spec}: none of its {count} images can be read, "
                f"such as {name}: {reason}"
            )
        mean = mean_of(torch.from_numpy(self.sum), count - len(done.skipped))
        found = {
            "spec": self.images.spec,
            "identity": self.images.identity(),
            "count": count,
            "skipped": done.skipped,
            "side": self.side,
            "mean": mean.flatten().tolist(),
        }
        replace_file(self.base.with_suffix(".json"), json.dumps(found).encode())
        self.part.unlink()

    def _check_room(self, wanted: int) -> None:
        path = self.base.with_suffix(".pixels")
        there = path.stat().st_size if path.exists() else 0
        free = shutil.disk_usage(self.base.parent).free
        if wanted - there + SPARE > free:
            raise BadData(
                f"cache {self.base.parent}: {self.images.spec} takes {_size(wanted)} as decoded "
                f"pixels, and {_size(free)} are free there: give a folder on a larger disk"
            )


def _read(record: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        row = 3 * found["side"] ** 2
        wanted = (found["count"] - len(found["skipped"])) * row
        if record.with_suffix(".pixels").stat().st_size != wanted:
            raise ValueError("the pixels beside it have another size")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        words = " ".join(str(error).split())
        raise BadData(f"cache {record} cannot be used ({words}): delete it") from None


def _key(images: ImageSet, preprocess: Preprocess) -> str:
    """Another one for other images and for another view of them; reads no image of a folder."""
    whole = hashlib.sha256(json.dumps(preprocess.to_dict()).encode())
    path = Path(images.spec).expanduser()
    names = [images.name(index) for index in range(len(images))]
    if isinstance(images, SceneImages) or not path.exists():
        whole.update(images.identity().encode())
    elif path.suffix.lower() == ".txt" or path.is_dir():
        root = path if path.is_dir() else path.parent
        for name in names:
            whole.update(f"{name}\0{_stamp(root / name)}\n".encode())
    else:
        whole.update("\n".join([_stamp(path), *names]).encode())
    return whole.hexdigest()[:16]


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"


def _slug(spec: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", spec).strip("-")[-40:].lower() or "images"


def _size(count: float) -> str:
    """1.5 GiB"""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB" if count < 1024 else f"{count / 1024:.2f} TiB"
