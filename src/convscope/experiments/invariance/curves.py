"""Feature invariance: how far features move as a picture is shifted, enlarged and turned.

Zeiler & Fergus, arXiv:1311.2901, §4.1 "Feature invariance", Fig. 5
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadData, BadOption, NonFinite
from convscope.execution import Execution
from convscope.experiments.invariance.transforms import (
    SMALL,
    Moving,
    Transform,
    TransformRange,
    example_amounts,
    papers_transforms,
)
from convscope.experiments.number_words import plus_minus
from convscope.experiments.samples import Sample
from convscope.experiments.study import Result
from convscope.images.preprocess import Preprocess
from convscope.methods.classes import Head
from convscope.network.feature_layers import last_hidden_layer, last_scores_without_places
from convscope.network.network import Network
from convscope.progress import Progress, counted_as, scaled
from convscope.scan.items import for_each, open_results
from convscope.stats import Estimate, mean_of
from convscope.store.fingerprint import array_fingerprint
from convscope.store.results import Arrays
from convscope.text import table

__all__ = ["Curves", "Invariance", "first_and_last", "invariance"]

SHOWN = 5  # amounts of each motion whose pictures are kept
BATCH = 16
SETTLED = (
    Transform.TRANSLATION,
    Transform.SCALE,
)  # the paper calls the upper layer linear for these


@dataclass(frozen=True, eq=False)
class Curves:
    """What one kind of motion does to the features of N pictures, in L layers, by S amounts.

    Attributes:
        distance: Euclidean, between the features of the picture as it is and moved.
        probability: Of each picture's class.
        shown: The indices of the amounts that pictures show.
        pictures: The pictures moved by these amounts.

    Shape:
        distance: (N, L, S). probability: (N, S). shown: (K,). pictures: uint8 (N, K, H, W, 3).
    """

    motions: TransformRange
    distance: NDArray[np.float64]
    probability: NDArray[np.float64]
    shown: tuple[int, ...]
    pictures: NDArray[np.uint8]

    def early(self) -> NDArray[np.float64]:
        """(N, L): the distance after a tenth of the range, as a share of the largest.

        Where a tenth lies between two of the amounts, on the line between their distances; where it
        is reached on two ways, such as up and down, the mean of both. A straight line gives 0.1;
        near 1 the layer has changed all it will after a small move.
        """
        order = np.argsort(self.motions.amounts)
        efforts, distance = np.array(self.motions.efforts)[order], self.distance[..., order]
        small = SMALL * efforts.max()
        beyond = efforts >= small
        at = np.flatnonzero(beyond[1:] != beyond[:-1])  # between these and the next it is reached
        part = (small - efforts[at]) / (efforts[at + 1] - efforts[at])
        share = (distance[..., at] * (1 - part) + distance[..., at + 1] * part).mean(2)
        largest = distance.max(2)
        early: NDArray[np.float64] = np.zeros_like(share)
        np.divide(share, largest, out=early, where=largest > 0)
        return early

    def linearity(self) -> NDArray[np.float64]:
        """(N, L): R² of the best line through the origin, distance against the motion's size.

        1 is exactly proportional; a curve that jumps and then stays can be below 0.
        """
        efforts = np.array(self.motions.efforts)
        slope = (self.distance * efforts).sum(2) / (efforts**2).sum()
        rest = ((self.distance - slope[..., None] * efforts) ** 2).sum(2)
        whole = ((self.distance - self.distance.mean(2, keepdims=True)) ** 2).sum(2)
        left: NDArray[np.float64] = np.zeros_like(rest)
        np.divide(rest, whole, out=left, where=whole > 0)
        np.subtract(1, left, out=left)
        return left


LEGEND = (
    "early: how much of its largest change a layer has made after a tenth of the motion (a",
    "straight line: 10 %); line: R² of a straight line; largest: that change, where 1 is the",
    "distance between different pictures",
)


@dataclass(frozen=True, eq=False)
class Invariance(Result):
    """The numbers of Fig. 5 of the paper's first version.

    Attributes:
        layers: The layers.
        names: The pictures.
        targets: The class of each picture whose probability is followed.
        known: Whether that is the true label; otherwise it is what the network predicts.
        curves: What each kind of motion does.
        apart: Of each layer, the mean distance between different pictures: what chance gives; None
            where there is one picture only.
        pairs: How many pairs of different pictures that is over.
    """

    layers: tuple[str, ...]
    names: tuple[str, ...]
    targets: tuple[int, ...]
    known: tuple[bool, ...]
    curves: tuple[Curves, ...]
    apart: tuple[float, ...] | None
    pairs: int

    def early(self, curves: Curves) -> tuple[Estimate, ...]:
        """Of each layer, over the pictures: see `Curves.early`."""
        return tuple(mean_of(column) for column in curves.early().T.tolist())

    def linearity(self, curves: Curves) -> tuple[Estimate, ...]:
        """Of each layer, over the pictures: see `Curves.linearity`."""
        return tuple(mean_of(column) for column in curves.linearity().T.tolist())

    def steeper_below(self, curves: Curves) -> int:
        """In how many pictures the first layer changes earlier than the last."""
        early = curves.early()
        return int((early[:, 0] > early[:, -1]).sum())

    def largest(self, curves: Curves) -> tuple[Estimate, ...] | None:
        """Of each layer: the largest distance, where 1 is that between different pictures."""
        if self.apart is None:
            return None
        columns = curves.distance.max(2).T / np.array(self.apart)[:, None]
        return tuple(mean_of(column) for column in columns.tolist())

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without pictures."""
        return {
            "layers": list(self.layers),
            "images": [
                {"name": name, "class": target, "true_label": known}
                for name, target, known in zip(self.names, self.targets, self.known, strict=True)
            ],
            "between_different_images": None if self.apart is None else list(self.apart),
            "pairs_of_different_images": self.pairs,
            "motions": {str(c.motions.motion): self._record(c) for c in self.curves},
        }

    def words(self) -> list[str]:
        """A table per motion: a line per layer, and which layer changes earlier."""
        lines = []
        for curves in self.curves:
            head = (f"{curves.motions.motion}", "early", "line", "largest")
            lines += table(head, [self._cells(curves, i) for i in range(len(self.layers))])
            if len(self.layers) > 1:
                count = f"{self.steeper_below(curves)} of {len(self.names)} pictures"
                lines.append(f"{self.layers[0]} changes earlier than {self.layers[-1]} in {count}")
            lines.append("")
        return [*lines, *LEGEND]

    def _cells(self, curves: Curves, layer: int) -> tuple[str, str, str, str]:
        """A layer's numbers for one motion."""
        early, largest = self.early(curves)[layer], self.largest(curves)
        line = self.linearity(curves)[layer]
        return (
            self.layers[layer],
            f"{plus_minus(early.mean, early.deviation, digits=0)} %",
            plus_minus(line.mean, line.deviation, digits=2, unit=1)
            if curves.motions.motion in SETTLED
            else "–",
            "–" if largest is None else f"{largest[layer].mean:.2f}",
        )

    def _record(self, curves: Curves) -> dict[str, Any]:
        largest = self.largest(curves)
        return {
            "amounts": list(curves.motions.amounts),
            "distance": curves.distance.tolist(),
            "probability": curves.probability.tolist(),
            "small": SMALL,
            "share_of_largest_after_small": [e.to_dict() for e in self.early(curves)],
            "r_squared_of_line": [e.to_dict() for e in self.linearity(curves)],
            "largest_over_different": None if largest is None else [e.to_dict() for e in largest],
            "first_layer_earlier_than_last": self.steeper_below(curves),
        }


def invariance(
    network: Network,
    preprocess: Preprocess,
    samples: Sequence[Sample],
    *,
    layers: Sequence[str] | None = None,
    others: Sequence[Sample] = (),
    motions: Sequence[TransformRange] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    ranks: Ranks = ALONE,
    progress: Progress | None = None,
) -> Invariance:
    """Measure how features answer as pictures are shifted, enlarged and turned.

    Args:
        network: A network that classifies.
        preprocess: How it wants its images.
        samples: The pictures.
        layers: Which layers; by default the activation of the first convolution, and what the
            classifier reads (the paper's 1 and 7). A convolution or linear layer stands for its
            activation.
        others: More pictures, for the distance between different ones.
        motions: The motions; by default the paper's, `papers_transforms`.
        out: A folder that keeps what each picture gave.
        resume: Go on with an interrupted study in that folder.
        ranks: The processes that share the pictures.
        progress: Is told how many pictures are done.

    Raises:
        NoSuchLayer: There is no such layer.
        BadData: There are no pictures.
        BadInput: The network does not classify.
        NonFinite: A layer makes NaN or infinity.
        FolderInUse: The folder holds something else, or a study of other settings.

    Source:
        Zeiler & Fergus, arXiv:1311.2901, §4.1, Fig. 5.

    Example:
        >>> samples = draw_samples(convscope.open_images("photos/"), 5, network, None)
        >>> convscope.invariance(network, preprocess, samples).to_dict()
    """
    if not samples:
        raise BadData("no pictures: invariance needs one or more")
    Head.of(network)  # refuses what does not classify
    names = first_and_last(network) if layers is None else _activations(network, layers)
    motions = papers_transforms(preprocess.size[0]) if motions is None else tuple(motions)
    moving = [Moving(sample.picture, preprocess) for sample in samples]
    stills = torch.stack([one.still for one in moving])
    base, chances = _features(network, stills, names)
    targets = [
        int(chances[i].argmax()) if sample.label is None else sample.label
        for i, sample in enumerate(samples)
    ]
    settings = {}
    if out is not None:
        settings = {
            "study": "invariance",
            "network": network.identity()[:16],
            "preprocess": preprocess.to_dict(),
            "count": len(samples),
            "pictures": array_fingerprint([stills.numpy(), *_pixels(samples)]),
            "others": array_fingerprint(_pixels(others)),
            "targets": targets,
            "layers": list(names),
            "amounts": {str(motion.motion): list(motion.amounts) for motion in motions},
        }
    total = len(moving) * sum(len(m.amounts) for m in motions)

    def moved(number: int) -> Arrays:
        features = [each[number] for each in base]
        return _moves(network, moving[number], motions, names, features, targets[number])

    with open_results(out, settings, resume=resume, ranks=ranks) as results:
        seen = for_each(
            [f"picture {number}" for number in range(len(moving))], moved,
            results, results.arrays,
            Execution(ranks=ranks, progress=counted_as(scaled(progress, total), "moved images")),
        )  # fmt: skip
        apart = partial(_apart, network, preprocess, names, base, others)
        between = ranks.from_first(lambda: results.record("apart", apart))
    return Invariance(
        layers=names,
        names=tuple(sample.name for sample in samples),
        targets=tuple(targets),
        known=tuple(sample.label is not None for sample in samples),
        curves=tuple(_joined(motion, str(k), seen) for k, motion in enumerate(motions)),
        apart=None if between["apart"] is None else tuple(between["apart"]),
        pairs=between["pairs"],
    )


def first_and_last(network: Network) -> tuple[str, str]:
    """Name the activation of the first convolution, and the features that the classifier reads.

    A network whose last weights are a convolution and which then pools, as SqueezeNet, has no such
    features without places: what the pooling leaves, the classes' scores, stands for them.

    Args:
        network: The network.

    Raises:
        BadOption: There is no convolution, or nothing between it and the classes.
    """
    convolutions = network.conv_layers()
    if not convolutions:
        raise BadOption("the network has no convolutional layer: name the layers to compare")
    last = last_scores_without_places(network)
    return network.activation(convolutions[0]), last or last_hidden_layer(network)


def _activations(network: Network, layers: Sequence[str]) -> tuple[str, ...]:
    if not layers:
        raise BadOption("no layers to look at: name one or more")
    known = [network.feature_layer(name).name for name in layers]
    weighs = [network.nodes[name].op.weighs for name in known]
    return tuple(network.activation(n) if w else n for n, w in zip(known, weighs, strict=True))


def _moves(
    network: Network,
    one: Moving,
    motions: Sequence[TransformRange],
    layers: Sequence[str],
    base: Sequence[Tensor],
    target: int,
) -> Arrays:
    """Measure one picture under each motion, whose number the arrays' names begin with.

    They are distance (L, S), from the features where the picture stands, `base`; probability (S,);
    and pictures (K, H, W, 3) to show.
    """
    found: Arrays = {}
    for k, motion in enumerate(motions):
        images = one.moved(motion)
        distance, probability = [], []
        for part in images.split(BATCH):
            features, chances = _features(network, part, layers)
            moved = [(f - b).norm(dim=1) for f, b in zip(features, base, strict=True)]
            distance.append(torch.stack(moved))
            probability.append(chances[:, target])
        found[f"{k} distance"] = torch.cat(distance, 1).numpy()
        found[f"{k} probability"] = torch.cat(probability).numpy()
        found[f"{k} pictures"] = one.preprocess.to_uint8(images[example_amounts(motion, SHOWN)])
    return found


def _joined(motions: TransformRange, key: str, seen: Sequence[dict[str, NDArray[Any]]]) -> Curves:
    distance, probability, pictures = (
        np.stack([each[f"{key} {name}"] for each in seen])
        for name in ("distance", "probability", "pictures")
    )
    return Curves(motions, distance, probability, tuple(example_amounts(motions, SHOWN)), pictures)


def _pixels(samples: Sequence[Sample]) -> list[NDArray[np.uint8]]:
    return [np.asarray(sample.picture) for sample in samples]


def _features(
    network: Network, images: Tensor, layers: Sequence[str]
) -> tuple[list[Tensor], Tensor]:
    """Each layer's values as vectors, float64 (N, F), and the classes' probabilities (N, C)."""
    values = network.values(images, [*layers, network.output])
    for name, value in values.items():
        if not torch.isfinite(value).all():
            raise NonFinite(f"layer {name!r} makes NaN or infinity: check the weights and images")
    head = Head.of(network)
    chances = head.probabilities(head.vectors(values[network.output]).double().cpu())
    vectors = [values[name].reshape(len(images), -1).double().cpu() for name in layers]
    return vectors, chances


def _apart(
    network: Network,
    preprocess: Preprocess,
    layers: Sequence[str],
    base: Sequence[Tensor],
    others: Sequence[Sample],
) -> dict[str, Any]:
    """The mean distance between different pictures in each layer, and over how many pairs."""
    found = [list(base)]
    for sample in others:
        features, _ = _features(network, preprocess.tensor(sample.picture)[None], layers)
        found.append(features)
    vectors = [torch.cat(column) for column in zip(*found, strict=True)]
    count = len(vectors[0])
    if count < 2:
        return {"apart": None, "pairs": 0}
    means = [float(torch.pdist(v).mean()) for v in vectors]
    return {"apart": means, "pairs": count * (count - 1) // 2}
