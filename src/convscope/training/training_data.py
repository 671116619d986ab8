"""Training data: the pictures to learn from and to validate on, decoded once for many trainings."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from torch import Tensor

from convscope.errors import BadData
from convscope.execution import ONE_PROCESS, Execution
from convscope.images.datasets import ImageSet
from convscope.images.fitting import Fit, middle
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.architectures import Architecture
from convscope.training.cache import cached_pictures
from convscope.training.pictures import LabelledPictures, load_pictures, mean_picture, view_of
from convscope.training.recipe import Recipe

__all__ = ["TrainingData", "load_training_data"]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The pictures that a network learns from, and those that it is validated on.

    Attributes:
        pictures: uint8 (N, S, S, 3), S above the input's size if the recipe crops.
        validation: uint8 (n, S, S, 3); the network sees their middle.
        mean: float32 (S, S, 3): the mean of `pictures`.
        preprocess: The network's preprocessing, with the centre of that mean.
    """

    pictures: LabelledPictures
    validation: LabelledPictures
    mean: Tensor
    preprocess: Preprocess


def load_training_data(
    architecture: Architecture,
    images: ImageSet,
    validation: ImageSet,
    recipe: Recipe,
    *,
    cache: str | os.PathLike[str] | None = None,
    how: Execution = ONE_PROCESS,
) -> TrainingData:
    """Decode or render both sets, for any number of trainings with that input size and cropping.

    Args:
        architecture: Gives the size of the network's input.
        images: The labelled images to learn from.
        validation: Those to validate on, of the same classes.
        recipe: Says whether pictures are cropped or stretched.
        cache: A folder for the decoded pictures, which are then read from disk (cache.py); None
            keeps them in memory.
        how: Threads that decode, or processes that render scenes, and who is told of it.

    Raises:
        BadData: There are images without labels, or the classes of the two sets differ.
    """
    if images.classes != validation.classes:
        raise BadData(
            f"{images.spec} has {_named(images.classes)}, but {validation.spec} has "
            f"{_named(validation.classes)}: both need the same class folders"
        )
    fit = Fit.CROP if recipe.crops else Fit.STRETCH
    seen = Preprocess(architecture.input_shape, Scaling.PAPER, fit)

    def load(chosen: ImageSet) -> LabelledPictures:
        workers = how.workers or 0
        if cache is None:
            return load_pictures(chosen, *view_of(seen), workers=workers, progress=how.progress)
        return cached_pictures(chosen, seen, cache, workers=workers, progress=how.progress)

    pictures, tests = load(images), load(validation)
    mean = pictures.mean if pictures.mean is not None else mean_picture(pictures.pixels)
    size = architecture.input_size
    start = middle(len(mean), size)
    centre = mean[start : start + size, start : start + size].permute(2, 0, 1).contiguous()
    return TrainingData(pictures, tests, mean, replace(seen, mean=centre.numpy()))


def _named(classes: tuple[str, ...] | None) -> str:
    if classes is None:
        return "no classes"
    more = ", …" if len(classes) > 3 else ""
    return f"{len(classes)} classes ({', '.join(classes[:3])}{more})"
