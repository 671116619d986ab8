"""From the words of the command line to a handful of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.cli.inputs import Microscope
from convscope.errors import BadOption

if TYPE_CHECKING:
    from convscope.experiments.samples import Sample

__all__ = ["open_samples"]


def open_samples(
    scope: Microscope, specs: Sequence[str], count: int, more: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """(the pictures to look at, `more` others to compare them with).

    specs : image files and DATA#NAME, all of which are looked at; or one set of images, of which
        `count` are drawn, and the others after them
    Raises  BadData, BadImage: nothing there, or nothing readable; BadOption: several sets.
    """
    from convscope.experiments.samples import Sample, draw_samples, true_label

    if len(specs) == 1 and not _is_picture(specs[0]):
        images = scope.images(specs[0])
        classes, seed = scope.model.classes, scope.seed
        drawn = draw_samples(images, count + more, scope.network, classes, seed=seed)
        return drawn[:count], drawn[count:]
    sets = [spec for spec in specs if not _is_picture(spec)]
    if sets:
        raise BadOption(f"{sets[0]}: give either one set of images, or image files and DATA#NAME")
    samples = []
    for spec in specs:
        picture = scope.picture(spec)
        label = None
        if picture.label is not None:
            images = scope.images(spec.rpartition("#")[0])
            index = next(i for i in range(len(images)) if images.name(i) == picture.name)
            label = true_label(images, index, scope.network, scope.model.classes)
        samples.append(Sample(picture.name, picture.image, label))
    return tuple(samples), ()


def _is_picture(spec: str) -> bool:
    from convscope.images.listing import is_image_name

    data, mark, _ = spec.rpartition("#")
    return bool(data and mark) or (is_image_name(Path(spec).name) and not Path(spec).is_dir())
