"""The sets of images that a spec can name, and the function that opens them.

    scenes[:split[:count]]              rendered scenes (scenes.py); :context=0.9 behind it ties
                                        the ground to the label, as strongly as that
    DIR                                 a folder, with a folder per class or without
    FILE.zip, FILE.zip/inside           a zip of such a folder, or a folder in it (archives.py)
    FILE.tar, FILE.tar/inside           a tar, or a tar of tars (tars.py)
    shard-{000..099}.tar                tars that are one set, here or at an address of fsspec's,
                                        such as s3://bucket/shard-{000..099}.tar (tars.py)
    FILE.txt                            paths, one a line, relative to the file
    torchvision:NAME[:split][@root]     a data set of torchvision's that is on this machine
    index:PLACE[:split]                 a folder or zip whose index.csv or index.json has the labels
    caltech:PLACE                       Caltech-101 or -256 as published, without its clutter class
    voc:PLACE[:split]                   PASCAL VOC's VOCdevkit/VOC2012, several classes an image

A folder, an archive, shards or a list may end in :N, so many of its images, evenly chosen.

The identity of a set is the SHA-256 over its names and the SHA-256 of each image's bytes, so a copy
has the identity of the original. A pass hashes the images as it reads them; asking before any pass
reads every file once: one core hashed 1.9 GB/s, 0.6 GB/s out of a zip of small JPEGs.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from convscope.errors import BadData
from convscope.images.archives import ArchiveImages, ZipImages, archive_at, is_tar
from convscope.images.batches import Batch, Converted, Skipped, batches
from convscope.images.files import Decoded, decode, read_bytes
from convscope.images.image_set import Content, ImageSet, Loaded, about_first, utf8
from convscope.images.layouts import LAYOUTS
from convscope.images.listing import folder_images, labels_by_folder, read_list
from convscope.images.subsets import evenly, subset_images
from convscope.images.tars import ShardImages, TarImages, is_shards
from convscope.images.torchvision_images import TorchvisionImages
from convscope.text import is_number

if TYPE_CHECKING:
    from convscope.scenes.render import Scene

__all__ = [
    "Batch",
    "Content",
    "Converted",
    "FolderImages",
    "ImageSet",
    "ListImages",
    "Loaded",
    "SceneImages",
    "ShardImages",
    "Skipped",
    "TarImages",
    "TorchvisionImages",
    "ZipImages",
    "batches",
    "open_images",
    "split_folders",
]

FORMS = (
    "scenes[:split], a folder, a zip, a text file of paths, a tar, shards such as s-{00..99}.tar, "
    "torchvision:NAME[@root], index:PLACE, caltech:PLACE or voc:PLACE"
)
VALIDATION = ("val", "validation", "valid", "test")  # folders that may lie beside `train`
GLANCE = 20  # paths of a list that are looked for when it is opened


def open_images(
    spec: str | Path, *, size: int | None = None, seed: int = 0, context: float = 0.0
) -> ImageSet:
    """Open the set of images that DATA names, in one of the forms of the module's table.

    Args:
        spec: DATA, such as "scenes:val", a folder, a zip, or a text file of paths.
        size: Side of rendered scenes, pixels; None is their default. Other sets have no size.
        seed: Of rendered scenes.
        context: Strength of rendered scenes' spurious background, 0..1 (`SceneSpec`).

    Raises:
        BadData: There is no such set, or no image in it; what was looked for is named.
        BadOption: Scenes do not have that split, size, seed or context.

    Example:
        images = open_images("scenes:val", size=72)
        images.picture(0)
    """
    words = str(spec)
    if words == "scenes" or words.startswith("scenes:"):
        return SceneImages(words, size=size, seed=seed, context=context)
    if words.startswith("torchvision:"):
        return TorchvisionImages(words)
    layout, colon, place = words.partition(":")
    if colon and layout in LAYOUTS:
        return LAYOUTS[layout](words, place, _files_at)
    if not words or "\0" in words:
        raise BadData(f"no images named: DATA is {FORMS}")
    place, _, count = words.rpartition(":")
    if place and is_number(count) and not Path(words).expanduser().exists():
        counted = _open_place(place, words)
        if counted is not None and int(count) < 1:
            raise BadData(f"{words}: {count} images; give 1 or more")
        if counted is not None:
            return subset_images(counted, evenly(len(counted), int(count)))
    found = _open_place(words, words)
    if found is None:
        raise BadData(f"{words}: no such file or folder; DATA is {FORMS}")
    return found


def _open_place(place: str, spec: str) -> ImageSet | None:
    """Open the images of a folder, an archive, shards or a list; None where there is nothing.

    Args:
        place: The words that name it.
        spec: The words that name the set.
    """
    if is_shards(place):
        return ShardImages(place, spec)
    path = Path(place).expanduser()
    if files := _files_at(path, spec):
        return files
    return ListImages(spec, path) if path.is_file() else None


def _files_at(path: Path, spec: str) -> FolderImages | ArchiveImages | None:
    """Open the images of a folder or an archive; None where there is neither."""
    if path.is_dir():
        return FolderImages(spec, path)
    found = archive_at(path)
    if found is None:
        return None
    return TarImages(spec, *found) if is_tar(found[0]) else ZipImages(spec, *found)


def split_folders(data: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return DATA/train and the folder beside it to validate on; None unless both are there."""
    root = Path(data).expanduser()
    for name in VALIDATION:
        if (root / "train").is_dir() and (root / name).is_dir():
            return str(root / "train"), str(root / name)
    return None


class FolderImages(ImageSet):
    """The images below a folder; a folder per class gives labels (listing.py).

    Args:
        spec: The words that name this set.
        folder: The folder; None is the one that `spec` names.

    Raises:
        BadData: There is no image in the folder.
    """

    def __init__(self, spec: str, folder: Path | None = None) -> None:
        self._root = Path(spec).expanduser() if folder is None else folder
        chosen = folder_images(self._root)
        self._names, self.left_out = chosen.names, chosen.left_out
        if not self._names:
            raise BadData(
                f"{spec}: no images in this folder (looked for .jpg, .png, .webp, …)"
                f"{about_first(self.left_out)}"
            )
        labels = labels_by_folder(self._names)
        super().__init__(spec, labels.classes)
        self._labels = labels.labels

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return utf8(self._names[index])

    def label(self, index: int) -> int | None:
        return self._labels[index]

    def content(self, index: int) -> Content:
        return _file_content(self._root / self._names[index], self.name(index))


class ListImages(ImageSet):
    """The images that a text file lists, as paths relative to that file (`listing.read_list`).

    Args:
        spec: The words that name this set.
        path: The text file; None is the one that `spec` names.

    Raises:
        BadData: It is no list of paths, or none of the first GLANCE paths exists.
    """

    def __init__(self, spec: str, path: Path | None = None) -> None:
        path = Path(spec).expanduser() if path is None else path
        self._names, labels = read_list(path)
        self._folder = path.parent
        super().__init__(spec, labels.classes)
        self._labels = labels.labels
        first = self._names[:GLANCE]
        if not any((self._folder / name).exists() for name in first):
            raise BadData(
                f"{spec}: not one of the first {len(first)} paths exists, such as {first[0]!r};"
                f" paths are relative to {self._folder.resolve()}"
            )

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return utf8(self._names[index].replace(os.sep, "/"))

    def label(self, index: int) -> int | None:
        return self._labels[index]

    def content(self, index: int) -> Content:
        return _file_content(self._folder / self._names[index], self.name(index))


class SceneImages(ImageSet):
    """Rendered scenes, of which `scene(i)` has the truth; all have a label, except in `multi`.

    An image's digest is over what it is rendered from (split, seed, index, size, context, version),
    not over pixels.

    Args:
        spec: scenes[:split[:count]][:context=STRENGTH].
        size: The pictures' side, pixels; None is the default.
        seed: Of the scenes.
        context: Strength of the spurious background, 0..1, unless `spec` has one.

    Attributes:
        recipe: Which scenes these are.

    Raises:
        BadData: The number of scenes or the strength is no number.
        BadOption: Scenes do not have that split, size, seed or context.
    """

    def __init__(
        self, spec: str, *, size: int | None = None, seed: int = 0, context: float = 0.0
    ) -> None:
        # imported here: their module prepares textures that other sets never need
        from convscope.scenes.render import RECIPE, SPLIT_SIZES, SceneSpec, Split

        split, count, strength = _scene_words(spec)
        context = context if strength is None else strength
        side = {} if size is None else {"size": size}
        self.recipe = SceneSpec(split or Split.TRAIN, seed=seed, context=context, **side)
        self._version = RECIPE
        self._count = _count(spec, count) if count else SPLIT_SIZES[Split(self.recipe.split)]
        self.multi_label = self.recipe.split == Split.MULTI
        super().__init__(spec, self.recipe.classes)

    def __len__(self) -> int:
        return self._count

    def scene(self, index: int) -> Scene:
        """Render a picture together with its truth: masks, parts, ground."""
        from convscope.scenes.render import render

        return render(self.recipe, index)

    def name(self, index: int) -> str:
        split, label = self.recipe.split, self.label(index)
        if label is None:
            return f"{split}/{index:06d}"
        return f"{split}/{self.recipe.classes[label]}/{index:06d}"

    def label(self, index: int) -> int | None:
        return index % len(self.recipe.classes) if not self.multi_label else None

    def targets(self, index: int) -> tuple[int, ...]:
        return self.scene(index).labels if self.multi_label else super().targets(index)

    def content(self, index: int) -> Content:
        recipe = self.recipe
        words = {
            "scenes": self._version,
            "split": str(recipe.split),
            "seed": recipe.seed,
            "index": index,
            "size": recipe.size,
            "context": recipe.context,
        }
        data = json.dumps(words, sort_keys=True).encode()
        return Content(data, lambda: Decoded(Image.fromarray(self.scene(index).pixels)))


def _scene_words(spec: str) -> tuple[str, str, float | None]:
    """Split scenes[:split[:count]][:context=STRENGTH] into its parts.

    Returns:
        (split, count, context): "", "" and None where they are left out.

    Raises:
        BadData: The strength is not a number.
    """
    words, strength = spec.split(":")[1:], None
    if words and words[-1].startswith("context="):
        text = words.pop().removeprefix("context=")
        try:
            strength = float(text)
        except ValueError:
            raise BadData(f"{spec}: context {text!r} is no number, such as context=0.9") from None
    return words[0] if words else "", ":".join(words[1:]), strength


def _count(spec: str, words: str) -> int:
    if not is_number(words) or int(words) < 1:
        raise BadData(f"{spec}: {words!r} is no number of scenes; such as scenes:val:500")
    return int(words)


def _file_content(path: Path, name: str) -> Content:
    data = read_bytes(path, name)
    read = functools.partial(decode, data, name)
    return Content(data, read, read)
