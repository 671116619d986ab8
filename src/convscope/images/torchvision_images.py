"""torchvision's data sets that are already on this machine, as an ImageSet. Nothing is downloaded.

torchvision:CIFAR10:test@/data opens `torchvision.datasets.CIFAR10("/data", train=False)`; the word
after the name goes to the set's `train`, `split` or `image_set`, whichever it has.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from convscope.errors import BadData, BadImage
from convscope.images.files import as_form, bad_image
from convscope.images.image_set import Content, ImageSet
from convscope.images.torchvision_import import import_torchvision
from convscope.text import error_words

TRAIN = {"train": True, "test": False, "val": False}
ROOT = "data"  # where a spec without @root looks, below the working directory


class TorchvisionImages(ImageSet):
    """A torchvision data set whose items are (PIL image, target).

    Labels are targets that are whole numbers. An image's digest is over its pixels.

    Args:
        spec: torchvision:NAME[:split][@root].

    Raises:
        BadData: There is no such data set, it cannot be opened, or it is empty.
    """

    def __init__(self, spec: str) -> None:
        self._set, self._folder = _open(spec)
        super().__init__(spec, _classes(self._set))
        self._labels = _labels(self._set)

    def __len__(self) -> int:
        return len(self._set)

    def name(self, index: int) -> str:
        return f"{self._folder}/{index:06d}"

    def label(self, index: int) -> int | None:
        target = self._set[index][1] if self._labels is None else self._labels[index]
        return _whole(target)

    def content(self, index: int) -> Content:
        name = self.name(index)
        try:
            image = self._set[index][0]
            if not isinstance(image, Image.Image):
                raise bad_image(name, f"is a {type(image).__name__}, not an image")
            data = f"{image.mode} {image.size}\0".encode() + image.tobytes()
        except (BadImage, MemoryError):
            raise
        except Exception as error:  # the set's own reader
            raise bad_image(name, f"cannot be read: {error}") from None
        return Content(data, lambda: as_form(image, name), lambda form: as_form(image, name, form))


def _open(spec: str) -> tuple[Any, str]:
    """Open the data set of a spec.

    Returns:
        The data set, and the folder that its images' names pretend to lie in.
    """
    head, _, root = spec.removeprefix("torchvision:").partition("@")
    name, _, split = head.partition(":")
    root = root or ROOT
    kind = _kind(name)
    arguments = inspect.signature(kind.__init__).parameters
    given: dict[str, Any] = {}
    if "root" in arguments:
        given["root"] = str(Path(root).expanduser())
    if "download" in arguments:
        given["download"] = False
    if split:
        given |= _split(name, split, arguments)
    try:
        opened = kind(**given)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        words = error_words(error)
        raise BadData(
            f"{spec}: torchvision cannot open it in {root}: {words} (Convscope downloads nothing:"
            f" torchvision.datasets.{name}({root!r}, download=True) does, where it can)"
        ) from None
    if len(opened) == 0:
        raise BadData(f"{spec}: no images in {root}")
    return opened, f"{name}/{split}" if split else name


def _kind(name: str) -> Any:
    datasets = import_torchvision().datasets
    known = [other for other in datasets.__all__ if _is_set(datasets, other)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise BadData(f"torchvision has no data set {name!r}{hint}")
    return getattr(datasets, name)


def _is_set(datasets: Any, name: str) -> bool:
    kind = getattr(datasets, name)
    return inspect.isclass(kind) and issubclass(kind, datasets.VisionDataset)


def _split(name: str, split: str, arguments: Any) -> dict[str, Any]:
    if "train" in arguments:
        if split not in TRAIN:
            raise BadData(f"{name} has no split {split!r}: it has train and test")
        return {"train": TRAIN[split]}
    for argument in ("split", "image_set"):
        if argument in arguments:
            return {argument: split}
    raise BadData(f"{name} has no splits: leave out {split!r}")


def _classes(opened: Any) -> tuple[str, ...] | None:
    for attribute in ("classes", "categories"):
        names = getattr(opened, attribute, None)
        if isinstance(names, Sequence) and names and all(isinstance(n, str) for n in names):
            return tuple(names)
    return None


def _labels(opened: Any) -> Any:
    """Return the targets in one piece, where the set keeps them so; else None."""
    for attribute in ("targets", "labels", "_labels", "y"):
        targets = getattr(opened, attribute, None)
        if targets is not None and hasattr(targets, "__len__") and len(targets) == len(opened):
            return targets
    return None


def _whole(target: Any) -> int | None:
    if isinstance(target, bool):
        return None
    try:
        number = target.__index__()
    except (AttributeError, TypeError, ValueError):
        return None
    return number if number >= 0 else None
