"""What stages of the paper's reproduction find that no single experiment returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convscope.experiments.correspondence.result import Correspondence
from convscope.experiments.diagnosis.diagnosis import Diagnosis
from convscope.experiments.diagnosis.examined import Examined
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.invariance.curves import Invariance
from convscope.experiments.paper.purity import Grouping
from convscope.experiments.sensitivity.result import OcclusionStudy
from convscope.experiments.training_runner import Training
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.multilabel import MultiTransfer
from convscope.images.preprocess import Preprocess
from convscope.record import Record

__all__ = [
    "LEARNED_BY",
    "LEARNED_WITH",
    "Averages",
    "CorrespondenceResult",
    "Fig2",
    "Fig5",
    "Fig6",
    "InvarianceResult",
    "MultiResult",
    "Pretraining",
    "Surroundings",
    "Trained",
    "Trainings",
]  # fmt: skip


@dataclass(frozen=True)
class Trained(Record):
    """A network of the plan after its training.

    Attributes:
        name: In the plan: zfnet, alexnet, or `free` (ZFNet without renormalisation).
        training: The training.
        renormalised: How often a filter was scaled back.
        errors: The validation error after each epoch, a share of the images.
    """

    name: str
    training: Training
    renormalised: int
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Trainings(Record):
    """All that was trained to be looked into, at equal budget."""

    runs: tuple[Trained, ...]
    images: int
    validation: int
    epochs: int
    classes: int

    def of(self, name: str) -> tuple[Trained, ...]:
        """The runs of a network, by seed."""
        return tuple(run for run in self.runs if run.name == name)


@dataclass(frozen=True, eq=False)
class Fig5:
    """Fig. 5: ZFNet, the same without renormalisation, and AlexNet; all diagnosed on one set.

    Attributes:
        zfnet: By seed.
        alexnet: By seed.
        free: By seed, where renormalisation scaled a filter back; elsewhere ZFNet itself is what
            would come of a training without it.
        shown: By name, the first seed's, with what is drawn of it; `free` only where it was
            trained.
    """

    zfnet: tuple[Diagnosis, ...]
    alexnet: tuple[Diagnosis, ...]
    free: tuple[Diagnosis | None, ...]
    shown: Mapping[str, Examined]

    @property
    def inequality(self) -> tuple[tuple[float, float], ...]:
        """By seed, Gini's coefficient of the energies of the first layer's filters, without
        renormalisation and with it."""
        return tuple(
            ((free or kept).layers[0].strength.gini, kept.layers[0].strength.gini)
            for free, kept in zip(self.free, self.zfnet, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without pictures."""
        networks = {"zfnet": self.zfnet, "alexnet": self.alexnet, "free": self.free}
        return {
            "inequality": [list(pair) for pair in self.inequality],
            "networks": {
                name: [each and each.to_dict() for each in diagnoses]
                for name, diagnoses in networks.items()
            },
        }


@dataclass(frozen=True, eq=False)
class Fig6:
    """Fig. 6, and what its figure needs: the colours of preprocessed images, names of classes."""

    study: OcclusionStudy
    preprocess: Preprocess
    classes: tuple[str, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without pictures."""
        return self.study.to_dict()


LEARNED_WITH = ("Grounds that say nothing", "Grounds that tell the class")


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Two networks that learned alike, on the same images whose ground is their class's own.

    Attributes:
        plain: The one that learned with grounds that say nothing.
        telling: The one that learned with grounds that tell the class.
        errors: Of both, in that order, on validation images whose grounds say nothing.
        accuracy: Of `telling`, where grounds tell the class.
        preprocesses: How the networks want their images.
        classes: The names of the classes.
    """

    plain: OcclusionStudy
    telling: OcclusionStudy
    errors: tuple[float, float]
    accuracy: float
    preprocesses: tuple[Preprocess, Preprocess]
    classes: tuple[str, ...] | None

    @property
    def gains(self) -> tuple[float, ...]:
        """By image: how much better the plain network's fall finds the object (ROC area)."""
        return tuple(
            first.probability.detection - second.probability.detection
            for first, second in zip(self.plain.rows, self.telling.rows, strict=True)
            if first.probability is not None and second.probability is not None
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without pictures."""
        return {
            "gains": list(self.gains),
            "errors_where_grounds_say_nothing": list(self.errors),
            "accuracy_where_they_tell": self.accuracy,
            "plain": self.plain.to_dict(),
            "telling": self.telling.to_dict(),
        }


@dataclass(frozen=True)
class Averages(Record):
    """Table 1: what averaging several networks gains.

    Attributes:
        zfnets: ZFNets as they are (a), and with wider layers 3, 4, 5 (b).
        alexnets: AlexNets; None where there is one only.
    """

    zfnets: Ensemble
    alexnets: Ensemble | None


@dataclass(frozen=True, eq=False)
class InvarianceResult:
    """Fig. 5 of the first version, and the names of the classes."""

    study: Invariance
    classes: tuple[str, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without pictures."""
        return self.study.to_dict()


@dataclass(frozen=True, eq=False)
class Fig2:
    """Fig. 2: how alike the strongest images are.

    Attributes:
        grouping: The numbers.
        atlas: The folder of the atlas.
    """

    grouping: Grouping
    atlas: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"atlas": self.atlas, **self.grouping.to_dict()}


@dataclass(frozen=True, eq=False)
class CorrespondenceResult(Record):
    """Table 1 of the first version, and the same of the network before training."""

    trained: Correspondence
    untrained: Correspondence


@dataclass(frozen=True)
class MultiResult(Record):
    """Table 5, and the same of the network before training."""

    trained: MultiTransfer
    untrained: MultiTransfer


LEARNED_BY = ("labels", "autoencoders", "nothing")


@dataclass(frozen=True)
class Pretraining(Record):
    """Features that were learned without labels, beside those learned from them and random ones.

    Attributes:
        losses: By layer, what each epoch of its autoencoder left of the mean's squared error.
        supervised: The network that learned from labels.
        unsupervised: The same layers, each a denoising autoencoder, none of them fine-tuned.
        random: The network before its first step.
        errors: On the validation images: from labels alone, and from labels after pre-training.
    """

    losses: dict[str, tuple[float, ...]]
    supervised: LayerProbe
    unsupervised: LayerProbe
    random: LayerProbe
    errors: tuple[float, float]
