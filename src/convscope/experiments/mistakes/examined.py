"""A network and labelled images, and whose classes count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData, BadInput
from convscope.experiments.mistakes.confident import LEAST
from convscope.experiments.samples import true_label
from convscope.experiments.session import Session
from convscope.images.image_set import ImageSet
from convscope.methods.classes import Head
from convscope.network.feature_layers import last_hidden_layer
from convscope.network.unit import Unit
from convscope.scan.strongest import layers_with_maps
from convscope.store.fingerprint import text_fingerprint

__all__ = ["ExaminedImages", "MistakesOptions"]

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class MistakesOptions:
    """What is looked for.

    Attributes:
        layers: whose maps are looked at; None is every convolutional one.
        layer: whose features judge the labels; None is the last hidden one.
        draws: dealings of the mistakes.
        shown: doubts and pairs that the page shows.
        seed: of everything that is drawn.
    """

    layers: Sequence[str] | None
    layer: str | None
    draws: int
    shown: int
    seed: int


@dataclass(frozen=True, eq=False)
class ExaminedImages:
    """A network, labelled images, and what is looked for in them.

    Attributes:
        session: the network.
        images: the set.
        against: another split; None is none.
        asked: what is looked for.
        labels: (N,), the class of each image, -1 where it has none.
        classes: the names that labels count through.
        judged: whether the network's own answers are classes of the images.
        layers: whose maps are looked at.
        layer: whose features judge the labels.
    """

    session: Session
    images: ImageSet
    against: ImageSet | None
    asked: MistakesOptions
    labels: Indices
    classes: tuple[str, ...]
    judged: bool
    layers: tuple[str, ...]
    layer: str

    @classmethod
    def of(
        cls, session: Session, images: ImageSet, against: ImageSet | None, asked: MistakesOptions
    ) -> ExaminedImages:
        """Settle whose classes count.

        Raises:
            BadData: the images have no labels, all of one class, several each, or too few of each.
            NoSuchLayer, BadOption: of the layers.
        """
        if images.multi_label:
            raise BadData(
                f"{images.spec}: its images show several classes each; give one class each"
            )
        network = session.network
        labels, names = _networks_labels(session, images), session.model.classes
        judged = labels is not None
        if labels is None:
            given = (images.label(index) for index in range(len(images)))
            labels = np.array([-1 if label is None else label for label in given], np.int64)
            names = None
        known = np.bincount(labels[labels >= 0])
        if not known.any():
            raise BadData(
                f"{images.spec}: no image has a label: give a folder per class, or index:, "
                "caltech: or voc: before a place that has labels"
            )
        if (known > 0).sum() < 2:
            raise BadData(f"{images.spec}: all labels are of one class; nothing can be confused")
        if (known >= LEAST).sum() < 2 and not judged:
            raise BadData(
                f"{images.spec}: no two classes have {LEAST} images, which predictions by "
                "cross-validation need, and the network has other classes"
            )
        names = names or images.classes or ()
        classes = tuple(names) + tuple(str(n) for n in range(len(names), len(known)))
        layers = layers_with_maps(network, asked.layers)
        layer = asked.layer or last_hidden_layer(network)
        return cls(
            session, images, against, asked, labels, classes, judged, layers,
            network.feature_layer(layer).name,
        )  # fmt: skip

    @property
    def labels_identity(self) -> str:
        """A word that other labels change."""
        return text_fingerprint(repr((self.labels.tolist(), self.classes)))[:16]

    def facts(self) -> dict[str, str]:
        """What is used, for a person."""
        judge = "the network" if self.judged else "a probe: the network has other classes"
        return {"predictions": judge, "features": self.layer}

    @cached_property
    def units(self) -> list[Unit]:
        """The maps of all layers, in the order in which they are looked at."""
        network = self.session.network
        return [
            Unit(network.activation(name), channel)
            for name in self.layers
            for channel in range(network.layer(network.activation(name)).channels)
        ]

    def name_of(self, label: int) -> str:
        """A class's name."""
        return self.classes[label] if label < len(self.classes) else str(label)


def _networks_labels(session: Session, images: ImageSet) -> Indices | None:
    """The class of every image among the network's; None where it has other ones."""
    try:
        Head.of(session.network)
    except BadInput:
        return None
    found = [
        true_label(images, index, session.network, session.model.classes)
        for index in range(len(images))
    ]
    labels = np.array([-1 if label is None else label for label in found], np.int64)
    return labels if (labels >= 0).any() else None
