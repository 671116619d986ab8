"""A few pictures that an experiment looks at, each with what its truth is known to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convscope.errors import BadData, BadImage, BadOption
from convscope.experiments.session import Session
from convscope.images.arrays import ARRAYS
from convscope.images.image_set import ImageSet
from convscope.images.listing import is_image_name
from convscope.images.raster import RGB, AnyPicture, Form
from convscope.methods.classes import Head
from convscope.network.network import Network

__all__ = ["Sample", "draw_samples", "in_random_order", "open_samples", "true_label"]


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture, upright, in the form that the network takes.

    Attributes:
        name: Its name in its set.
        picture: The picture.
        label: Its class among the network's outputs; None where that is not known.
    """

    name: str
    picture: AnyPicture
    label: int | None = None


def draw_samples(
    images: ImageSet,
    count: int,
    network: Network,
    classes: Sequence[str] | None,
    *,
    seed: int = 0,
    form: Form = RGB,
) -> tuple[Sample, ...]:
    """Draw pictures of a set at random, without repetition; unreadable ones are passed over.

    Each is of a class that was not drawn yet, as long as there are such.

    Args:
        images: The set.
        count: How many pictures.
        network: Says how many classes there are.
        classes: The names of the network's outputs, if known.
        seed: Of the choice.
        form: `Preprocess.form`: what pictures are decoded to.

    Raises:
        BadData: Not one picture can be read.
    """
    samples: list[Sample] = []
    for index in _varied(images, seed):
        if len(samples) == count:
            break
        try:
            picture = images.picture_as(index, form)
        except BadImage:
            continue
        label = true_label(images, index, network, classes)
        samples.append(Sample(images.name(index), picture, label))
    if not samples:
        raise BadData(f"{images.spec}: not one of its {len(images)} images can be read")
    return tuple(samples)


def _varied(images: ImageSet, seed: int) -> list[int]:
    """Every index once: one of each class, then a second of each, each round in random order."""
    drawn: Counter[int | None] = Counter()
    rounds: list[tuple[int, int]] = []
    for index in in_random_order(images, seed):
        label = images.label(index)
        rounds.append((drawn[label] if label is not None else 0, index))
        drawn[label] += 1
    return [index for _, index in sorted(rounds, key=lambda entry: entry[0])]


def in_random_order(images: ImageSet, seed: int) -> Iterator[int]:
    """Every index of a set once, in the order that the seed says."""
    return iter(np.random.default_rng(seed).permutation(len(images)).tolist())


def true_label(
    images: ImageSet, index: int, network: Network, classes: Sequence[str] | None
) -> int | None:
    """An image's label as one of the network's outputs; None where they may count differently.

    The names decide where both have names; else the set has as many classes as the network, or
    numbers without names, which are taken as they are.
    """
    label, named = images.label(index), images.classes
    count = Head.of(network).classes
    if label is None or not 0 <= label < count:
        return None
    if named is None or classes is None:
        return label if named is None or len(named) == count else None
    return classes.index(named[label]) if named[label] in classes else None


def open_samples(
    session: Session, specs: Sequence[str], count: int, more: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Open the pictures to look at, and others to compare them with.

    Args:
        session: The network, and how it reads images.
        specs: Image files and DATA#NAME, all of which are looked at; or one set of images, of
            which `count` are drawn, and the others after them.
        count: How many pictures to look at, out of a set.
        more: How many others.

    Raises:
        BadData: There is no such set, or nothing in it can be read.
        BadImage: An image is missing or cannot be read.
        BadOption: Several sets are given.
    """
    if len(specs) == 1 and not _is_picture(specs[0]):
        images = session.images(specs[0])
        classes, seed = session.model.classes, session.seed
        drawn = draw_samples(
            images, count + more, session.network, classes,
            seed=seed, form=session.model.preprocess.form,
        )  # fmt: skip
        return drawn[:count], drawn[count:]
    sets = [spec for spec in specs if not _is_picture(spec)]
    if sets:
        raise BadOption(f"{sets[0]}: give either one set of images, or image files and DATA#NAME")
    samples = []
    for spec in specs:
        picture = session.picture(spec)
        label = None
        if picture.label is not None:
            images = session.images(spec.rpartition("#")[0])
            index = next(i for i in range(len(images)) if images.name(i) == picture.name)
            label = true_label(images, index, session.network, session.model.classes)
        samples.append(Sample(picture.name, picture.image, label))
    return tuple(samples), ()


def _is_picture(spec: str) -> bool:
    data, mark, _ = spec.rpartition("#")
    named = is_image_name(Path(spec).name) or Path(spec).suffix.lower() in ARRAYS
    return bool(data and mark) or (named and not Path(spec).is_dir())
