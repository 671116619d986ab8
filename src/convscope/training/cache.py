"""Decoded pictures on disk, for sets too large for memory: written once, then mapped into memory.

    NAME-KEY.pixels      uint8 (N, S, S, 3), nothing else, to be mapped into memory
    NAME-KEY.json        what it holds; written last: without it the pixels are not complete
    NAME-KEY.part        of a cache that is being written: how far it is, and the sum of its pixels

KEY stands for the images (names, sizes and dates of the files) and for how they are preprocessed,
so a set that changes gets another file. A cache whose writing was interrupted is continued.
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
from convscope.images.preprocess import Preprocess
from convscope.progress import Progress
from convscope.store.atomic import replace_file
from convscope.store.lock import held
from convscope.text import error_words, printable
from convscope.training.pictures import (
    CHUNK,
    LabelledPictures,
    View,
    check_labels,
    mean_of_sum,
    view_of,
)

__all__ = ["cached_pictures"]

COMMIT_SECONDS = 20.0  # between two records of how far the writing is
SPARE = 2**28  # bytes that stay free on the disk


@dataclass
class _WritingState:
    """How far the writing of a cache is.

    Attributes:
        next: The index of the next image to write.
        skipped: The images that could not be read: (index, name, reason).
    """

    next: int = 0
    skipped: list[tuple[int, str, str]] = field(default_factory=list)


def cached_pictures(
    images: ImageSet,
    preprocess: Preprocess,
    folder: str | os.PathLike[str],
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> LabelledPictures:
    """Return the readable images of a set as training holds them, pixels and mean from a cache.

    Args:
        images: A labelled set.
        preprocess: The network's preprocessing; `view_of` says how training holds a picture.
        folder: Where caches lie; made if need be. Several sets may share it.
        workers: Threads that decode.
        progress: Called with (what, done, total). Its first call tells the size of the file,
            before it is written.

    Raises:
        BadData: There are images without labels, nothing is readable, the disk has no room, or the
            cache is damaged.
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
    contents = _read(record)
    count = len(images) - len(contents["skipped"])
    pixels = np.memmap(base.with_suffix(".pixels"), np.uint8, "r", shape=(count, side, side, 3))
    unreadable = {index for index, _, _ in contents["skipped"]}
    labels = [images.label(index) for index in range(len(images)) if index not in unreadable]
    with warnings.catch_warnings():  # torch has no tensors that are only to be read, and says so
        warnings.filterwarnings("ignore", message=".*not writable.*")
        mapped = torch.from_numpy(pixels)
    return LabelledPictures(
        mapped,
        torch.tensor(labels, dtype=torch.int64),
        classes,
        images.spec,
        contents["identity"],
        tuple(Skipped(*entry) for entry in contents["skipped"]),
        torch.tensor(contents["mean"], dtype=torch.float32).reshape(side, side, 3),
    )


class _Writer:
    """Writes one cache, from where an earlier writer was interrupted."""

    def __init__(self, images: ImageSet, view: View, side: int, base: Path) -> None:
        self.images, self.view, self.side, self.base = images, view, side, base
        self.part = base.with_suffix(".part")
        self.written, self.sum = self._begun()

    def write(self, workers: int, progress: Progress | None) -> None:
        """Write the images that are not there yet, then the record that the cache is complete."""
        count, row = len(self.images), 3 * self.side**2
        done = self.written
        self._check_room(count * row)
        what = (
            f"caching {self.images.spec}, {self.side}x{self.side} pixels each, "
            f"{_in_bytes(count * row)} in {self.base.parent}"
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
        """Decode the readable images of a range, in order, and note the others as skipped.

        Shape:
            The result: uint8 (n, S, S, 3).
        """
        pixels = np.empty((len(indices), self.side, self.side, 3), np.uint8)
        reasons = list(pool.map(partial(self._fill, pixels, indices.start), indices))
        self.written.skipped += [
            (index, self.images.name(index), reason)
            for index, reason in zip(indices, reasons, strict=True)
            if reason is not None
        ]
        return pixels[[reason is None for reason in reasons]]

    def _fill(self, pixels: NDArray[np.uint8], start: int, index: int) -> str | None:
        """Decode one image into its row; return the reason if it cannot be read."""
        try:
            pixels[index - start] = np.asarray(self.view(self.images.picture(index)))
        except BadImage as error:
            return str(error).removeprefix(f"{printable(self.images.name(index))}: ")
        return None

    def _begun(self) -> tuple[_WritingState, NDArray[np.int64]]:
        """Return what `_commit` recorded last, or a new beginning where nothing whole is there."""
        try:
            with safe_open(self.part, framework="pt") as file:
                written = _WritingState(**json.loads(file.metadata()["written"]))
                total = file.get_tensor("sum").numpy()
            size = self.base.with_suffix(".pixels").stat().st_size
            if size >= (written.next - len(written.skipped)) * 3 * self.side**2:
                return written, total
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return _WritingState(), np.zeros((self.side, self.side, 3), np.int64)

    def _commit(self, file: Any) -> None:
        """Flush the pixels to the disk, then record how many there are."""
        file.flush()
        os.fsync(file.fileno())
        header = {"written": json.dumps(asdict(self.written))}
        replace_file(self.part, save({"sum": torch.from_numpy(self.sum)}, header))

    def _finish(self) -> None:
        """Record that the cache is complete; a cache without any image is removed and refused."""
        done, count = self.written, len(self.images)
        if len(done.skipped) == count:
            _, name, reason = done.skipped[0]
            self.base.with_suffix(".pixels").unlink()
            self.part.unlink()
            raise BadData(
                f"{self.images.spec}: none of its {count} images can be read, "
                f"such as {name}: {reason}"
            )
        mean = mean_of_sum(torch.from_numpy(self.sum), count - len(done.skipped))
        contents = {
            "spec": self.images.spec,
            "identity": self.images.identity(),
            "count": count,
            "skipped": done.skipped,
            "side": self.side,
            "mean": mean.flatten().tolist(),
        }
        replace_file(self.base.with_suffix(".json"), json.dumps(contents).encode())
        self.part.unlink()

    def _check_room(self, wanted: int) -> None:
        path = self.base.with_suffix(".pixels")
        present = path.stat().st_size if path.exists() else 0
        free = shutil.disk_usage(self.base.parent).free
        if wanted - present + SPARE > free:
            raise BadData(
                f"cache {self.base.parent}: {self.images.spec} takes {_in_bytes(wanted)} as "
                f"decoded pixels, and {_in_bytes(free)} are free there: give a folder on a larger "
                "disk"
            )


def _read(record: Path) -> dict[str, Any]:
    """Read a cache's record, and check that the pixels beside it have the recorded size."""
    try:
        contents: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        row = 3 * contents["side"] ** 2
        wanted = (contents["count"] - len(contents["skipped"])) * row
        if record.with_suffix(".pixels").stat().st_size != wanted:
            raise ValueError("the pixels beside it have another size")
        return contents
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        words = error_words(error)
        raise BadData(f"cache {record} cannot be used ({words}): delete it") from None


def _key(images: ImageSet, preprocess: Preprocess) -> str:
    """Return a fingerprint of the images and of how they are preprocessed.

    Images of a folder, a list or a zip are told apart by the names, sizes and dates of files, so
    that none of them is read.
    """
    digest = hashlib.sha256(json.dumps(preprocess.to_dict()).encode())
    path = Path(images.spec).expanduser()
    names = [images.name(index) for index in range(len(images))]
    if isinstance(images, SceneImages) or not path.exists():
        digest.update(images.identity().encode())
    elif path.suffix.lower() == ".txt" or path.is_dir():
        root = path if path.is_dir() else path.parent
        for name in names:
            digest.update(f"{name}\0{_stamp(root / name)}\n".encode())
    else:
        digest.update("\n".join([_stamp(path), *names]).encode())
    return digest.hexdigest()[:16]


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _slug(spec: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", spec).strip("-")[-40:].lower() or "images"


def _in_bytes(count: float) -> str:
    """Format a number of bytes, such as "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB" if count < 1024 else f"{count / 1024:.2f} TiB"
