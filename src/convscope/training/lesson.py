"""What is learned and what it is tested on, decoded once for any number of trainings."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from torch import Tensor

from convscope.errors import BadData
from convscope.images.datasets import ImageSet
from convscope.images.preprocess import Fit, Preprocess, middle
from convscope.images.scaling import Scaling
from convscope.network.architectures import Architecture
from convscope.progress import Progress
from convscope.training.cache import cached_pictures
from convscope.training.pictures import Pictures, load_pictures, mean_picture, view_of
from convscope.training.recipe import Recipe

__all__ = ["Lesson", "load_lesson"]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned, and what it is tested on; one lesson may serve many trainings.

    pictures : uint8 (N, S, S, 3), S above the input's size if the recipe crops
    validation : uint8 (n, S, S, 3); the middle is what the network will see
    mean : float32 (S, S, 3), over `pictures`
    preprocess : the network's, with the mean's centre
    """

    pictures: Pictures
    validation: Pictures
    mean: Tensor
    preprocess: Preprocess


def load_lesson(
    architecture: Architecture,
    images: ImageSet,
    validation: ImageSet,
    recipe: Recipe,
    *,
    workers: int = 0,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Lesson:
    """Decodes or draws both sets once, for any number of trainings with that input and cropping.

    cache : a folder for the decoded pictures, which are then read from disk (cache.py); None keeps
        them in memory

    Raises  BadData: images without labels, or whose classes differ between the two sets.
    """
    if images.classes != validation.classes:
        raise BadData(
            f"{images.spec} has {_named(images.classes)}, but {validation.spec} has "
            f"{_named(validation.classes)}: both need the same class folders"
        )
    fit = Fit.CROP if recipe.crops else Fit.STRETCH
    seen = Preprocess(architecture.input_shape, Scaling.PAPER, fit)

    def load(chosen: ImageSet) -> Pictures:
        if cache is None:
            return load_pictures(chosen, *view_of(seen), workers=workers, progress=progress)
        return cached_pictures(chosen, seen, cache, workers=workers, progress=progress)

    pictures, tests = load(images), load(validation)
    mean = pictures.mean if pictures.mean is not None else mean_picture(pictures.pixels)
    size = architecture.input_size
    start = middle(len(mean), size)
    centre = mean[start : start + size, start : start + size].permute(2, 0, 1).contiguous()
    return Lesson(pictures, tests, mean, replace(seen, mean=centre.numpy()))


def _named(classes: tuple[str, ...] | None) -> str:
    if classes is None:
        return "no classes"
    more = ", …" if len(classes) > 3 else ""
    return f"{len(classes)} classes ({', '.join(classes[:3])}{more})"
