"""The parts of the study, each kept in its store: layers, their pictures, what they are worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from convscope.experiments.adaptive.pictures import grey_pixels, pictures_of
from convscope.experiments.adaptive.probing import (
    Probing,
    kept_rows,
    lead_of,
    rows_kept,
    unlabelled_features,
)
from convscope.experiments.adaptive.reading import ReadImages
from convscope.experiments.adaptive.result import (
    LEARNED,
    RANDOM,
    Adaptive,
    LayerMaps,
    LearnedFilters,
    ProbedFeatures,
)
from convscope.experiments.session import Session
from convscope.experiments.study import Context
from convscope.progress import Progress
from convscope.scan.features import Features
from convscope.scan.items import made_together
from convscope.store.results import Arrays, Record, ResultStore
from convscope.training.deconvolution.layerwise import (
    DeconvolutionArchitecture,
    Encoded,
    Learning,
    infer_codes,
    learn_layer,
)
from convscope.training.deconvolution.reconstruction import DeconvolutionLayer, Reconstruction

__all__ = ["AdaptiveOptions", "find"]

SHOWN = 4  # images that are drawn as the codes reconstruct them


@dataclass(frozen=True, eq=False)
class AdaptiveOptions:
    """What is learned, and what it is judged on.

    Attributes:
        architecture: Of the network.
        learning: How its filters are learned.
        images: What they are learned from.
        probing: Labelled images to judge features on; None judges none.
        session: A network that learned from labels, judged beside; None is none.
    """

    architecture: DeconvolutionArchitecture
    learning: Learning
    images: ReadImages
    probing: Probing | None = None
    session: Session | None = None

    @property
    def size(self) -> int:
        """Pixels of a side."""
        return int(self.images.pixels.shape[-1])


def find(asked: AdaptiveOptions, results: ResultStore, context: Context) -> Adaptive:
    """Learn every layer, draw it, and judge its features.

    Args:
        asked: What is learned.
        results: Where each part is kept.
        context: Of the study.
    """
    layers: list[DeconvolutionLayer] = []
    rows, pictures = [], []
    for number in range(len(asked.architecture.maps)):
        name = f"layer {number + 1}"
        kept = _layer(asked, layers, number, results, context)
        device = asked.images.pixels.device
        layers.append(
            DeconvolutionLayer(
                torch.from_numpy(kept["filters"]).to(device), asked.architecture.pool
            )
        )
        drawn = _pictures(asked, layers, name, results, context)
        window = drawn["patches"].shape[2:4]
        rows.append(
            LearnedFilters(
                name,
                asked.architecture.maps[number],
                (int(window[0]), int(window[1])),
                tuple(kept["energy"].tolist()),
                float(drawn["explained"]),
                float(drawn["active"]),
            )
        )
        pictures.append(
            LayerMaps(
                name, drawn["values"], drawn["patches"], drawn["projections"], drawn["rebuilt"]
            )
        )
    found = Adaptive(
        len(asked.images.indices), asked.size, tuple(rows),
        tuple(grey_pixels(asked.images.pixels[:SHOWN])), pictures=tuple(pictures),
    )  # fmt: skip
    return found if asked.probing is None else _judged(found, layers, asked, results, context)


def _encoded(
    asked: AdaptiveOptions, layers: list[DeconvolutionLayer], context: Context
) -> list[Encoded]:
    """What some layers say of the images that they were learned from."""
    total = len(asked.images.pixels)
    tell = _told(context.progress, f"images through layer {len(layers)}", total)
    return infer_codes(layers, asked.images.pixels, asked.learning.sparsity, tell)


def _told(progress: Progress | None, what: str, total: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(what, done, total)


def _layer(
    asked: AdaptiveOptions,
    below: list[DeconvolutionLayer],
    number: int,
    results: ResultStore,
    context: Context,
) -> Arrays:
    """The filters of a layer, and the energy of each epoch."""
    images, name = asked.images.pixels, f"layer {number + 1}"

    def learn() -> Arrays:
        first = asked.architecture.random_layer(number, images.shape[1], context.running.seed)
        start = DeconvolutionLayer(first.filters.to(images), first.pool)
        switches = [each.switches for each in _encoded(asked, below, context)] if below else []
        tell = _told(context.progress, f"epochs of {name}", asked.learning.epochs)
        learned = learn_layer(
            Reconstruction([*below, start], switches), images, asked.learning, tell
        )
        return {
            "filters": learned.layer.filters.cpu().numpy(), "energy": np.array(learned.energy)
        }  # fmt: skip

    return made_together(name, learn, results, results.arrays, ranks=context.together())


def _pictures(
    asked: AdaptiveOptions,
    layers: list[DeconvolutionLayer],
    name: str,
    results: ResultStore,
    context: Context,
) -> Arrays:
    def draw() -> Arrays:
        found = _encoded(asked, layers, context)
        images, last = asked.images.pixels, found[-1]
        explained = 1 - last.error.square().sum() / images.square().sum().clamp(min=1e-9)
        active = (last.codes != 0).float().mean()
        return {
            **pictures_of(layers, found, asked.images, SHOWN),
            "explained": explained.cpu().numpy(), "active": active.cpu().numpy(),
        }  # fmt: skip

    return made_together(
        f"pictures of {name}", draw, results, results.arrays, ranks=context.together()
    )


def _judged(
    found: Adaptive,
    layers: list[DeconvolutionLayer],
    asked: AdaptiveOptions,
    results: ResultStore,
    context: Context,
) -> Adaptive:
    """The same with what the features are worth."""
    probing, session = asked.probing, asked.session
    assert probing is not None
    device = asked.images.pixels.device
    random = [
        DeconvolutionLayer(each.filters.to(device), each.pool)
        for each in asked.architecture.random_layers(1, context.running.seed + 1)
    ]

    def without_labels(which: list[DeconvolutionLayer]) -> list[Features]:
        sparsity = asked.learning.sparsity
        return unlabelled_features(which, probing.images, asked.size, sparsity, context)

    kinds: dict[str, Callable[[], list[Features]]] = {
        LEARNED: lambda: without_labels(layers),
        RANDOM: lambda: without_labels(random),
    }
    if session is not None:
        kinds[session.title()] = lambda: probing.supervised_features(session, context)
    rows: list[ProbedFeatures] = []
    for kind, read in kinds.items():

        def judge(kind: str = kind, read: Callable[[], list[Features]] = read) -> Record:
            return kept_rows([probing.probed(kind, each, device) for each in read()])

        kept = made_together(
            f"probe of {kind}", judge, results, results.record, ranks=context.together()
        )
        rows += rows_kept(kept)
    whole = replace(found, probed=tuple(rows), per_class=probing.per_class, chance=probing.chance)
    best, other = whole.best(LEARNED), whole.best(RANDOM)
    assert best is not None and other is not None
    return replace(whole, lead=lead_of(best, other, probing))
