"""`convscope remove-units`: which classes lose when a feature map is taken away."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.errors import BadData
from convscope.experiments.options import DataArgument, ModelArgument, Reading
from convscope.experiments.study import Context, Outcome, Study

if TYPE_CHECKING:
    import torch

    from convscope.experiments.removal.result import Removal
    from convscope.experiments.session import Session
    from convscope.images.image_set import ImageSet
    from convscope.network.network import Network
    from convscope.network.unit import Unit
    from convscope.scan.engine import Scan
    from convscope.store.results import Arrays, ResultStore

__all__ = ["Put", "RemoveUnitsStudy"]

SCANS = ("means", "losses")
TRACE_BYTES = 2**29  # of all values of a batch


class Put(StrEnum):
    """What is put in a map's place."""

    ZERO = "zero"
    MEAN = "mean"


@dataclass(frozen=True)
class RemoveUnitsStudy(Study):
    """Take feature maps away, each alone, and see which classes the network then knows less well.

    A map is set to zero or to its mean at all of its positions, and only what lies above it is run
    again. For each unit and class: the rise of the class's mean loss with its 95 % interval over
    images, and the accuracy lost. A unit matters for a class where its loss rises, and by more than
    that of the other classes, beyond what labels give that are dealt to the images at random: p,
    corrected over all units and classes.

    Examples:

        convscope remove-units run:runs/demo/zfnet scenes:val conv5 --out removed
        convscope remove-units torchvision:alexnet photos/ features.10/17 features.10/40 --out two
    """

    verb = "remove-units"

    model: ModelArgument
    data: DataArgument
    units: Annotated[
        list[str],
        typer.Argument(
            metavar="UNIT|LAYER...",
            help="layer/channel, or a layer, which stands for all of its maps; of a convolution "
            "its activation is taken away.",
            show_default=False,
        ),
    ]
    reading: Reading = field(default_factory=Reading)
    to: Annotated[
        Put, typer.Option(help="What is put in a map's place: zero, or its mean over the images.")
    ] = Put.ZERO
    images: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help="Images of DATA to use, spread evenly over it. Default: all."
        ),
    ] = None
    draws: Annotated[
        int, typer.Option(min=19, metavar="N", help="Random dealings of the labels, for p.")
    ] = 999

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.removal.losses import find_units
        from convscope.images.subsets import evenly
        from convscope.scan.checkpoint import checkpoint_in
        from convscope.scan.engine import Scan
        from convscope.scan.items import made_together

        session = context.session(self.model, self.reading)
        images, network = session.images(self.data), session.network
        units = find_units(network, self.units)
        asked = evenly(len(images), self.images)
        labels, known = _labelled(session, images, asked)
        context.facts({
            **session.facts(), "images": f"{images.spec}: {len(known)} with a label",
            "units": f"{len(units)}, each set to {self.to}",
        })  # fmt: skip
        scan = Scan(
            network, images, session.model.preprocess, known,
            batch_size=context.running.batch_size or _fitting_batch(network),
            workers=context.running.workers, ranks=context.together(), progress=context.progress,
        )  # fmt: skip
        more = {"units": [str(unit) for unit in units]}
        with context.results(self, session, images, more=more) as results:
            found = made_together(
                "losses", lambda: self._losses(scan, units, labels, results), results,
                results.arrays, ranks=scan.ranks,
            )  # fmt: skip
            for name in SCANS:  # what they found is kept
                if (checkpoint := checkpoint_in(results, name)) is not None:
                    checkpoint.remove()
        names = session.model.classes or images.classes
        removal = self._judged(found, [str(unit) for unit in units], names, context)
        removal = dataclasses.replace(removal, left_out=len(asked) - removal.images)
        return Outcome.on(session, removal, images.spec, images=images.spec)

    def _losses(
        self, scan: Scan, units: Sequence[Unit], labels: torch.Tensor, results: ResultStore
    ) -> Arrays:
        """What becomes of every image, in one pass; the means take one before it."""
        from convscope.experiments.removal.losses import RemovalLosses
        from convscope.scan.checkpoint import checkpoint_in

        means = self._means(scan, units, results) if self.to is Put.MEAN else None
        observer = RemovalLosses(scan.network, scan.images, units, labels, means=means)
        commits = checkpoint_in(results, "losses")
        scan.run(observer, commits=commits)
        return {
            "labels": labels.numpy(), "present": observer.present.numpy(),
            "loss": observer.loss.numpy(), "rise": observer.rise.numpy(),
            "right": observer.right.numpy(),
        }  # fmt: skip

    def _means(
        self, scan: Scan, units: Sequence[Unit], results: ResultStore
    ) -> Mapping[str, torch.Tensor]:
        from convscope.scan.checkpoint import checkpoint_in
        from convscope.scan.means import Means
        from convscope.scan.strongest import as_maps

        layers = dict.fromkeys(unit.layer for unit in units)
        means = Means({name: lambda value: as_maps(value).double().mean((2, 3)) for name in layers})
        first = dataclasses.replace(scan, what="images for the means")
        first.run(means, commits=checkpoint_in(results, "means"))
        return {name: means[name] for name in layers}

    def _judged(
        self,
        found: Arrays,
        units: Sequence[str],
        names: Sequence[str] | None,
        context: Context,
    ) -> Removal:
        """From every image's losses to those of classes, against chance."""
        import numpy as np

        from convscope.experiments.removal.effects import class_means, permutation_test
        from convscope.experiments.removal.result import KnownClass, Removal

        seen = np.isfinite(found["loss"])
        numbers, classes = np.unique(found["labels"][seen], return_inverse=True)
        if len(numbers) < 2:
            raise BadData(f"{self.data}: images of one class only; what it needs has no contrast")
        count = len(numbers)
        rises = found["rise"][seen][:, np.isin(found["present"], numbers)]
        own = rises[np.arange(len(classes)), classes].T.astype(np.float64)  # (U, N)
        right = found["right"][seen].T.astype(np.float64)
        whole = class_means(np.stack([found["loss"][seen], right[0]]), classes, count).mean
        sizes = np.bincount(classes)
        known = tuple(
            KnownClass(
                int(index), names[index] if names and index < len(names) else str(index),
                int(sizes[k]), float(whole[0, k]), float(whole[1, k]),
            )
            for k, index in enumerate(numbers)
        )  # fmt: skip
        return Removal(
            units=tuple(units),
            classes=known,
            to=str(self.to),
            rise=class_means(own, classes, count),
            accuracy_lost=class_means(right[0] - right[1:], classes, count).mean,
            null=permutation_test(
                rises, classes, draws=self.draws, seed=context.running.seed,
                progress=context.progress,
            ),
            draws=self.draws,
        )  # fmt: skip


def _labelled(
    session: Session, images: ImageSet, indices: Sequence[int]
) -> tuple[torch.Tensor, list[int]]:
    """The class of every image of the set, -1 for none or not asked for; and those that have one.

    Raises:
        BadData: No image has a label among the network's classes, or they show several classes.
        BadInput: The network tells no classes.
    """
    import torch

    from convscope.experiments.samples import true_label

    if images.multi_label:
        raise BadData(f"{images.spec}: its images show several classes each; give one class each")
    labels = torch.full((len(images),), -1)
    for index in indices:
        label = true_label(images, index, session.network, session.model.classes)
        labels[index] = -1 if label is None else label
    known = [index for index in indices if labels[index] >= 0]
    if not known:
        raise BadData(
            f"{images.spec}: no image has a label among the network's classes; give a folder per "
            "class, and name the network's with --classes"
        )
    return labels, known


def _fitting_batch(network: Network) -> int:
    """How many images keep all values of a forward pass within TRACE_BYTES, at most 32."""
    import torch

    from convscope.scan.engine import LARGEST_BATCH

    nodes = network.below([network.output])
    each = 4 * sum(torch.Size(node.shape).numel() for node in nodes)
    return max(1, min(LARGEST_BATCH, TRACE_BYTES // each))
