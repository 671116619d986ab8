"""The paper's Table 1: what averaging the softmax outputs of several networks gains."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadData, BadModel, BadOption
from convscope.execution import Execution
from convscope.experiments.ensemble.combined import Chances, Scoring, combine
from convscope.experiments.ensemble.outputs import chances_of
from convscope.experiments.ensemble.result import Ensemble
from convscope.images.fitting import Fit
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.models.architectures import Architecture, Convnet
from convscope.models.weights import module_sha256
from convscope.models.zoo import Model, open_model
from convscope.progress import Progress, counted_as, named
from convscope.scan.items import for_each, open_results
from convscope.store.fingerprint import array_fingerprint
from convscope.store.results import Arrays
from convscope.training.cache import cached_pictures
from convscope.training.pictures import LabelledPictures, load_pictures, view_of

__all__ = ["ALL", "ensemble"]

ALL = "all together"


def ensemble(
    models: Sequence[Model | str],
    images: ImageSet,
    *,
    crops: int = 1,
    device: str | torch.device = "cpu",
    workers: int = 0,
    cache: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    seed: int = 0,
    ranks: Ranks = ALONE,
    progress: Progress | None = None,
) -> Ensemble:
    """The errors of networks, and of the averages of their softmax outputs.

    Args:
        models: two or more, of the same classes as the images; "run:DIR" and what `open_model`
            takes.
        images: labelled.
        crops: 1, the middle of each picture; 10 adds the corners and mirror images (paper §3),
            whose outputs are averaged within a network first.
        device: that the networks run on.
        workers: threads that decode.
        cache: a folder for the decoded pictures; None keeps them in memory.
        out: a folder that keeps each network's outputs; None keeps nothing.
        resume: go on with an interrupted study there.
        seed: of the subsets that are averaged, where there are too many for all.
        ranks: which of several processes this is; each runs its share of the networks.
        progress: is told how far each network is.

    Raises:
        BadModel: a network of other classes, named.
        BadOption: fewer than two networks, one given twice, or ten crops of pictures with nothing
            around the input.
        BadData: images without labels.
        FolderInUse: as `ResultStore`.

    Source:
        Zeiler & Fergus 2014, §5.1 and Table 1

    Example:
        >>> images = convscope.open_images("scenes:val")
        >>> convscope.ensemble(["run:runs/zfnet", "run:runs/alexnet"], images).to_dict()
    """
    if crops not in (1, 10):
        raise BadOption(f"{crops} crops: give 1 or 10")
    opened = [open_model(each, seed=seed) if isinstance(each, str) else each for each in models]
    if len(opened) < 2:
        raise BadOption(f"an ensemble of {len(opened)}: give at least two networks")
    names = _names(opened)
    classes = _classes(names, opened, images)
    if crops == 10:
        _check_ten(names, opened)
    settings = {}
    if out is not None:
        settings = {
            "study": "ensemble",
            "networks": [f"{n}: {_identity(m)}" for n, m in zip(names, opened, strict=True)],
            "images": f"{len(images)}, identity {images.identity()[:16]}",
            "crops": crops,
        }
    with open_results(out, settings, resume=resume, ranks=ranks) as results:
        decoded = _Decoded(images, workers, cache, ranks, progress)
        for model in opened:
            decoded.load(model.preprocess)

        def answered(number: int) -> Arrays:
            name, model = names[number], opened[number]
            made = chances_of(
                model, decoded.pixels(model.preprocess),
                crops=crops, device=device, progress=named(progress, name),
            )  # fmt: skip
            _check_outputs(name, made[1], classes, images)
            return {str(cut): chances for cut, chances in made.items()}

        answers = for_each(
            [f"network {number}" for number in range(len(opened))], answered,
            results, results.arrays,
            Execution(ranks=ranks, progress=counted_as(progress, "networks")), spread=False,
        )  # fmt: skip
    kinds, labels = _kinds(names, opened), decoded.labels()
    groups = _groups(names, kinds)

    def scored() -> tuple[Scoring, ...]:
        """In the first process, which has the outputs."""
        found: list[Scoring] = []
        for cut in (1, 10) if crops == 10 else (1,):
            chances: dict[str, Chances] = {}
            for name, answer in zip(names, answers, strict=True):
                chances[name] = answer[str(cut)]
                _check_outputs(name, chances[name], classes, images)
            found.append(combine(chances, labels, groups, crops=cut, seed=seed))
        return tuple(found)

    return Ensemble(
        images.spec,
        len(labels),
        classes,
        ranks.from_first(scored),
        kinds,
        tuple(n for n, m in zip(names, opened, strict=True) if m.random_weights),
        decoded.skipped(),
    )


@dataclass
class _Decoded:
    """The images as each way of fitting them sees them, decoded once."""

    images: ImageSet
    workers: int
    cache: str | os.PathLike[str] | None
    ranks: Ranks
    progress: Progress | None
    views: dict[tuple[tuple[int, ...], Fit], LabelledPictures] = field(default_factory=dict)

    def load(self, preprocess: Preprocess) -> None:
        """Decode them in one way, if it is another; processes that share a cache take turns."""
        key = (preprocess.shape, preprocess.fit)
        if key not in self.views and self.cache is None:
            self.views[key] = load_pictures(
                self.images, *view_of(preprocess), workers=self.workers, progress=self.progress
            )
        elif key not in self.views:
            self.views[key] = self.ranks.in_turn(lambda: self._cached(preprocess))

    def pixels(self, preprocess: Preprocess) -> Tensor:
        """uint8 (N, S, S, 3): those that could be read in every way."""
        view = self.views[preprocess.shape, preprocess.fit]
        kept = self._kept()
        if len(kept) == len(view):
            return view.pixels
        gone = {each.index for each in view.skipped}
        rows = [index for index in range(len(self.images)) if index not in gone]
        wanted = set(kept)
        return view.pixels[[row for row, index in enumerate(rows) if index in wanted]]

    def labels(self) -> NDArray[np.int64]:
        """Of the same images."""
        return np.array([self.images.label(index) for index in self._kept()], dtype=np.int64)

    def skipped(self) -> tuple[str, ...]:
        """Names of the others."""
        return tuple(sorted({each.name for v in self.views.values() for each in v.skipped}))

    def _kept(self) -> list[int]:
        gone = {each.index for view in self.views.values() for each in view.skipped}
        return [index for index in range(len(self.images)) if index not in gone]

    def _cached(self, preprocess: Preprocess) -> LabelledPictures:
        assert self.cache is not None
        return cached_pictures(
            self.images, preprocess, self.cache, workers=self.workers, progress=self.progress
        )


def _names(models: Sequence[Model]) -> list[str]:
    """As they were asked for; runs by their folders' own names where these differ."""
    names = [model.spec.removeprefix("run:").rstrip("/") for model in models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadOption(f"{twice} is given twice: an average of a network with itself is itself")
    tails = [
        Path(name).name if model.spec.startswith("run:") else name
        for name, model in zip(names, models, strict=True)
    ]
    return tails if len(set(tails)) == len(tails) else names


def _classes(names: Sequence[str], models: Sequence[Model], images: ImageSet) -> tuple[str, ...]:
    """The names of the classes; BadModel or BadData unless they are the same everywhere."""
    if images.classes is None or any(images.label(i) is None for i in range(len(images))):
        raise BadData(f"{images.spec} has no label for every image: give a folder per class")
    for name, model in zip(names, models, strict=True):
        if model.input_shape[1] != model.input_shape[2]:
            raise BadModel(f"{name} takes pictures that are not square: leave it out")
        if model.classes is not None and model.classes != images.classes:
            mine, theirs = set(model.classes), set(images.classes)
            stranger = next(iter(sorted(mine ^ theirs)), "in another order")
            raise BadModel(
                f"{name} has {len(mine)} classes that are not the {len(theirs)} of {images.spec} "
                f"({stranger}): average networks that learned the same classes"
            )
    return images.classes


def _check_outputs(name: str, chances: Chances, classes: Sequence[str], images: ImageSet) -> None:
    """Refuse, with BadModel, a network without class names that tells another number of classes."""
    if chances.shape[1] != len(classes):
        raise BadModel(
            f"{name} tells {chances.shape[1]} classes, but {images.spec} has "
            f"{len(classes)} classes: average networks of the same classes"
        )


def _check_ten(names: Sequence[str], models: Sequence[Model]) -> None:
    for name, model in zip(names, models, strict=True):
        if not model.preprocess.crops:
            raise BadOption(
                f"10 crops: {name} learned whole pictures (fit {model.preprocess.fit}), so nothing "
                "lies around its input; use 1 crop"
            )


def _kinds(names: Sequence[str], models: Sequence[Model]) -> dict[str, tuple[str, ...]]:
    """Networks of one architecture, lettered if there are several."""
    kinds: dict[str, list[str]] = {}
    for name, model in zip(names, models, strict=True):
        kind = model.spec.partition("@")[0]
        if isinstance(model.module, Convnet):
            described: Architecture = model.module.architecture
            kind = described.name
        kinds.setdefault(kind, []).append(name)
    if len(kinds) == 1:
        return {kind: tuple(members) for kind, members in kinds.items()}
    return {
        f"({chr(ord('a') + i % 26)}) {kind}": tuple(members)
        for i, (kind, members) in enumerate(kinds.items())
    }


def _groups(
    names: Sequence[str], kinds: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """What is averaged: the networks of each architecture, where there are several, and all."""
    groups = {kind: members for kind, members in kinds.items() if len(members) > 1}
    if len(kinds) > 1:
        groups[ALL] = tuple(names)
    return groups


def _identity(model: Model) -> str:
    """Of the weights, and of how the network is fed."""
    mean = model.preprocess.mean
    fed = json.dumps(model.preprocess.to_dict(), sort_keys=True)
    weights = model.weights_sha256 or module_sha256(model.module)
    kept = [] if mean is None else [np.asarray(mean)]
    return f"{weights[:12]}-{array_fingerprint([np.array(fed), *kept])[:4]}"
