"""The paper's Table 1: what averaging the softmax outputs of several networks gains."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convscope.errors import BadData, BadModel, BadOption, UnsupportedOp
from convscope.experiments.ensemble.combined import Chances, Scoring, combine
from convscope.experiments.published import TABLE1
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Fit, Preprocess, middle
from convscope.methods.classes import Head
from convscope.network.architectures import Architecture, Convnet
from convscope.network.network import open_network
from convscope.network.weights import module_sha256
from convscope.network.zoo import Model, open_model
from convscope.progress import Progress, named
from convscope.store.fingerprint import array_fingerprint
from convscope.store.results import ResultStore
from convscope.training.cache import cached_pictures
from convscope.training.evaluation import ten_crops
from convscope.training.pictures import Pictures, load_pictures, view_of

__all__ = ["Ensemble", "chances_of", "ensemble"]

TOGETHER = 256  # crops per forward pass
ALL = "all together"


@dataclass(frozen=True)
class Ensemble:
    """What `ensemble` returns.

    scorings : of one crop of each picture, and of ten where they were asked for
    kinds : the networks' names by architecture, lettered as in the paper
    random : networks of random weights, which no average can help
    """

    data: str
    images: int
    classes: tuple[str, ...]
    scorings: tuple[Scoring, ...]
    kinds: Mapping[str, tuple[str, ...]]
    random: tuple[str, ...]
    skipped: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "data": self.data,
            "images": self.images,
            "classes": list(self.classes),
            "scorings": [scoring.to_dict() for scoring in self.scorings],
            "kinds": {name: list(members) for name, members in self.kinds.items()},
            "random_weights": list(self.random),
            "skipped": list(self.skipped),
            "paper": {name: list(errors) for name, errors in TABLE1.items()},
        }


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
    progress: Progress | None = None,
) -> Ensemble:
    """The errors of networks, and of the averages of their softmax outputs.

    models : two or more, of the same classes as the images; "run:DIR" and what `open_model` takes
    crops : 1, the middle of each picture; 10 adds the corners and mirror images (paper §3), whose
        outputs are averaged within a network first
    cache : a folder for the decoded pictures; None keeps them in memory
    out, resume : a folder that keeps each network's outputs: an interrupted study goes on there
    seed : of the subsets that are averaged, where there are too many for all

    Raises  BadModel: a network of other classes, named; BadOption: fewer than two networks, one
            given twice, or ten crops of pictures with nothing around the input; BadData: images
            without labels; FolderInUse: as `ResultStore`.
    Source: Zeiler & Fergus 2014, §5.1 and Table 1
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
    pieces = ResultStore(out, settings, resume=resume)
    seen = _Seen(images, workers, cache, progress)
    for model in opened:
        seen.load(model.preprocess)
    kept = seen.common()
    found: dict[int, dict[str, Chances]] = {1: {}, 10: {}} if crops == 10 else {1: {}}
    for number, (name, model) in enumerate(zip(names, opened, strict=True)):

        def said(name: str = name, model: Model = model) -> dict[str, Chances]:
            pixels, tell = seen.pixels(model.preprocess, kept), named(progress, name)
            made = chances_of(model, pixels, crops=crops, device=device, progress=tell)
            return {str(cut): chances for cut, chances in made.items()}

        for cut, chances in pieces.arrays(f"network {number}", said).items():
            if chances.shape[1] != len(classes):
                raise BadModel(
                    f"{name} tells {chances.shape[1]} classes, but {images.spec} has "
                    f"{len(classes)} classes: average networks of the same classes"
                )
            found[int(cut)][name] = chances
    kinds = _kinds(names, opened)
    groups = {kind: members for kind, members in kinds.items() if len(members) > 1}
    if len(kinds) > 1:
        groups[ALL] = tuple(names)
    labels = seen.labels(kept)
    return Ensemble(
        images.spec,
        len(labels),
        classes,
        tuple(
            combine(chances, labels, groups, crops=cut, seed=seed) for cut, chances in found.items()
        ),
        kinds,
        tuple(n for n, m in zip(names, opened, strict=True) if m.random_weights),
        seen.skipped(),
    )


@torch.inference_mode()
def chances_of(
    model: Model,
    pixels: Tensor,
    *,
    crops: int = 1,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> dict[int, Chances]:
    """Probabilities, float32 (N, classes), of the middle of each picture (under 1) and, if asked
    for, averaged over ten crops (under 10).

    pixels : uint8 (N, S, S, 3), pictures through `view_of` of the model's preprocessing
    """
    head = _head(model)
    module, size = model.module.to(device).eval(), model.input_shape[1]
    wide = _widened(model.preprocess, pixels.shape[1])
    start = middle(pixels.shape[1], size)
    parts: dict[int, list[Tensor]] = {1: [], 10: []} if crops == 10 else {1: []}
    for part in pixels.split(TOGETHER // crops):
        images = torch.from_numpy(wide.scaled(part.numpy())).to(device)
        if crops == 10:
            cut = ten_crops(images, size)  # (10, n, 3, size, size), the middle at 4
            chances = _probabilities(module, head, cut.flatten(0, 1)).unflatten(0, (10, -1))
            parts[1].append(chances[4].cpu())
            parts[10].append(chances.mean(0).cpu())
        else:
            cut = images[:, :, start : start + size, start : start + size]
            parts[1].append(_probabilities(module, head, cut).cpu())
        if progress is not None:
            progress("images", sum(map(len, parts[1])), len(pixels))
    return {each: torch.cat(chances).numpy() for each, chances in parts.items()}


def _head(model: Model) -> Head | None:
    """How the output is read; None where the network has operations that cannot be followed."""
    if isinstance(model.module, Convnet):
        return Head(model.module.architecture.classes, normalised=False)
    try:
        return Head.of(open_network(model.module, model.input_shape))
    except (UnsupportedOp, BadModel):
        return None


def _probabilities(module: nn.Module, head: Head | None, images: Tensor) -> Tensor:
    """(N, classes).   Raises  BadModel: the output is not one tensor, or it cannot be known whether
    it is probabilities already."""
    output = module(images.contiguous(memory_format=torch.channels_last))
    if not isinstance(output, Tensor):
        raise BadModel(f"the network returns a {type(output).__name__}, not one tensor of scores")
    output = output.float()
    if head is None:
        if bool(((output >= 0) & (output <= 1)).all() and output.any()):
            raise BadModel(
                "the network has operations that Convscope does not follow, and all of its outputs "
                "lie between 0 and 1: whether they are probabilities cannot be told"
            )
        head = Head(output[0].numel(), normalised=False)
    return head.probabilities(head.vectors(output))


def _widened(preprocess: Preprocess, side: int) -> Preprocess:
    """The same scaling for pictures with more around the input.

    Of a mean per pixel only the part behind the input is kept with the weights; beyond it, its
    edges go on. In the middle that changes nothing.
    """
    mean, size = preprocess.mean, preprocess.shape[1]
    if isinstance(mean, np.ndarray) and side > size:
        before = middle(side, size)
        around = (before, side - size - before)
        mean = np.pad(mean, ((0, 0), around, around), mode="edge")
    return replace(preprocess, shape=(3, side, side), fit=Fit.NONE, mean=mean)


class _Seen:
    """The images as each way of fitting them sees them, decoded once."""

    def __init__(
        self,
        images: ImageSet,
        workers: int,
        cache: str | os.PathLike[str] | None,
        progress: Progress | None,
    ) -> None:
        self.images, self.workers, self.cache = images, workers, cache
        self.progress = progress
        self.views: dict[tuple[Any, ...], Pictures] = {}

    def load(self, preprocess: Preprocess) -> None:
        key = (preprocess.shape, preprocess.fit)
        if key in self.views:
            return
        how: Any = {"workers": self.workers, "progress": self.progress}
        if self.cache is not None:
            self.views[key] = cached_pictures(self.images, preprocess, self.cache, **how)
        else:
            self.views[key] = load_pictures(self.images, *view_of(preprocess), **how)

    def common(self) -> list[int]:
        """Images that could be read in every way."""
        gone = {each.index for view in self.views.values() for each in view.skipped}
        return [index for index in range(len(self.images)) if index not in gone]

    def pixels(self, preprocess: Preprocess, kept: Sequence[int]) -> Tensor:
        view = self.views[preprocess.shape, preprocess.fit]
        gone = {each.index for each in view.skipped}
        if len(kept) == len(view):
            return view.pixels
        rows = [index for index in range(len(self.images)) if index not in gone]
        wanted = set(kept)
        return view.pixels[[row for row, index in enumerate(rows) if index in wanted]]

    def labels(self, kept: Sequence[int]) -> NDArray[np.int64]:
        return np.array([self.images.label(index) for index in kept], dtype=np.int64)

    def skipped(self) -> tuple[str, ...]:
        return tuple(sorted({each.name for v in self.views.values() for each in v.skipped}))


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
    """Raises  BadModel, BadData: not the same classes everywhere."""
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


def _check_ten(names: Sequence[str], models: Sequence[Model]) -> None:
    for name, model in zip(names, models, strict=True):
        if model.preprocess.fit is not Fit.CROP:
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


def _identity(model: Model) -> str:
    """Of the weights, and of how the network is fed."""
    mean = model.preprocess.mean
    fed = json.dumps(model.preprocess.to_dict(), sort_keys=True)
    weights = model.weights_sha256 or module_sha256(model.module)
    kept = [] if mean is None else [np.asarray(mean)]
    return f"{weights[:12]}-{array_fingerprint([np.array(fed), *kept])[:4]}"
