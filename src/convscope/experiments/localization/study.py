"""`convscope localize`: where the objects are, as the pictures of a network tell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption
from convscope.experiments.localization.asked import MappedClass
from convscope.experiments.options import DataArgument, ModelArgument, Reading
from convscope.experiments.study import Context, Outcome, Study
from convscope.text import split_names

if TYPE_CHECKING:
    from convscope.experiments.localization.detecting import Detector
    from convscope.experiments.localization.localizing import Looking, Seen
    from convscope.experiments.localization.maps import MapMethod
    from convscope.experiments.localization.marked_images import MarkedImage
    from convscope.experiments.localization.result import Detection, Localization
    from convscope.experiments.session import Session
    from convscope.images.image_set import ImageSet
    from convscope.store.results import ResultStore

__all__ = ["LocalizeStudy"]

EXAMPLES = 4  # images that the figure shows
METHODS = "occlusion,spotlight,contrastive,grad-cam"


@dataclass(frozen=True)
class LocalizeStudy(Study):
    """Say where the objects are: boxes from maps of what a class rests on, against marked boxes.

    A map is cut at a share of its largest value, and its largest connected part gives the box. The
    share is chosen on other images than those that are judged. A box is right where it shares half
    of what it and the marked one cover together (IoU .5). Beside the maps stand a box in the
    middle, as large as objects are on average, which must be beaten, and the whole image.

    Examples:

        convscope localize run:runs/demo/zfnet scenes:val --out found
        convscope localize torchvision:alexnet photos --boxes boxes.csv --out found
    """

    verb = "localize"
    out_help = "A new folder: result.json and localization.png."

    model: ModelArgument
    data: DataArgument
    reading: Reading = field(default_factory=Reading)
    method: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help="Maps: occlusion, spotlight, contrastive (of the unit that speaks most for the "
            "class), grad-cam, gradient.",
        ),
    ] = METHODS
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the objects are: .csv, .json, Tiny-ImageNet's .txt, or a folder of VOC's "
            ".xml. Default: the file beside the images; scenes know theirs.",
        ),
    ] = None
    of: Annotated[
        MappedClass,
        typer.Option(help="The class whose maps are made: the marked one, or the predicted one."),
    ] = MappedClass.MARKED
    count: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images that are judged, drawn at random.")
    ] = 100
    tune: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Other images, that thresholds are chosen on."),
    ] = 40
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.05, max=0.95, metavar="SHARE",
            help="Cut all maps at this share of their largest value, to the nearest .05. Default: "
            "as the other images say.",
        ),
    ] = None  # fmt: skip
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The layer of the spotlight, the contrastive map and grad-cam. Default: the last "
            "convolution.",
        ),
    ] = None

    detect: Annotated[
        int,
        typer.Option(
            "--detect", min=0, metavar="N",
            help="Also detect objects: learn a linear SVM on regions of N images that are not "
            "judged, and find those of the images that are (R-CNN's way). 0 does not.",
        ),
    ] = 0  # fmt: skip

    def check(self) -> None:
        self.methods()

    def methods(self) -> tuple[MapMethod, ...]:
        """The methods that are asked for.

        Raises:
            BadOption: One is unknown.
        """
        from convscope.experiments.localization.maps import MapMethod

        names = split_names(self.method, "--method")
        unknown = [name for name in names if name not in list(MapMethod)]
        if unknown:
            raise BadOption(f"--method {unknown[0]}: it is {', '.join(MapMethod)}")
        return tuple(MapMethod(name) for name in names)

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.localization.detecting import Detector
        from convscope.experiments.localization.localizing import Looking, mean_box
        from convscope.experiments.localization.marked_images import (
            boxes_fingerprint,
            dealt,
            draw_images,
            lacking_classes,
            network_labels,
        )
        from convscope.images.marked_boxes import boxed_images

        session = context.session(self.model, self.reading)
        images, network = session.images(self.data), session.network
        boxed = boxed_images(images, self.boxes)
        for note in boxed.notes:
            context.warn(note)
        labels = network_labels(boxed, network, session.model.classes)
        there = draw_images(
            images,
            boxed,
            labels,
            self.of,
            most=self.count + self.tune + self.detect,
            seed=session.seed,
            classes=session.model.classes,
        )
        if self.of is MappedClass.MARKED and (lacking := lacking_classes(boxed, labels)):
            context.warn(lacking)
        judged, tuning = dealt(there, self.count, self.tune)
        others = there[len(judged) :][: self.detect]
        if len(others) < self.detect:
            context.warn(f"--detect {self.detect}: {len(others)} images are left to learn from")
        preprocess = session.model.preprocess
        layer = _layer(session, self.layer)
        looking = Looking(network, preprocess, layer, self.methods(), preprocess.blank())
        context.facts({
            **session.facts(),
            "images": f"{images.spec}: {len(judged)} judged, {len(tuning)} to choose on",
            "maps": f"{', '.join(self.methods())}; layer {layer}",
        })  # fmt: skip
        more = {"truth": boxes_fingerprint(there), "layer": layer}
        with context.results(self, session, images, more=more) as results:
            first, second = _looked_at(looking, images, (judged, tuning), results, context)
            detected = self._detected(
                Detector(network, preprocess, layer, images, boxed),
                [[each.index for each in part] for part in (others, judged)],
                mean_box(second, preprocess.size), context,
            ) if self.detect else None  # fmt: skip

        def shown(index: int) -> Any:
            return preprocess.shown(images.picture_as(index, preprocess.form))

        found = replace(self._found(looking, first, second, shown), detection=detected)
        subtitle = f"{found.images} images of {images.spec}"
        return Outcome.on(session, found, subtitle, images=images.spec)

    def settings(self) -> dict[str, Any]:
        """The file of the boxes is left out: what it says is kept as their fingerprint."""
        return {name: value for name, value in super().settings().items() if name != "boxes"}

    def _detected(
        self, detector: Detector, parts: Sequence[Sequence[int]], centred: Any, context: Context
    ) -> Detection:
        """Learn from the first part of the images, and detect in the second."""
        from convscope.experiments.localization.detecting import detection, learned

        seed, tell = context.running.seed, context.progress
        probe = learned(detector, parts[0], seed=seed, progress=tell)
        return detection(detector, probe, parts[1], centred, seed=seed, progress=tell)

    def _found(
        self, looking: Looking, judged: Seen, tuning: Seen, shown: Callable[[int], Any]
    ) -> Localization:
        from convscope.experiments.localization.localizing import (
            box_examples,
            chosen_threshold,
            mean_box,
            scored,
        )
        from convscope.experiments.localization.result import Localization

        size = looking.preprocess.size
        thresholds = {
            str(method): chosen_threshold(tuning, method, self.threshold)
            for method in looking.methods
        }
        centred = mean_box(tuning, size)
        top, left, bottom, right = centred.tolist()
        return Localization(
            str(self.of), looking.layer, len(judged.rows), len(tuning.rows),
            (bottom - top, right - left), scored(judged, thresholds, centred, size),
            judged.beyond + tuning.beyond, judged.unseen + tuning.unseen,
            judged.unread + tuning.unread, examples=box_examples(judged, thresholds, shown),
        )  # fmt: skip


def _looked_at(
    looking: Looking,
    images: ImageSet,
    parts: Sequence[Sequence[MarkedImage]],
    results: ResultStore,
    context: Context,
) -> list[Seen]:
    """What the images of each part gave; of the first few of the first part their maps, too."""
    from convscope.experiments.localization.localizing import Seen
    from convscope.scan.items import for_each

    every = [image for part in parts for image in part]
    found = for_each(
        [f"image {image.index}" for image in every],
        lambda i: looking.at(images, every[i], maps=i < EXAMPLES),
        results, results.arrays, context.execution,
    )  # fmt: skip
    first = len(parts[0])
    return [
        Seen.of(images, part, rows)
        for part, rows in zip(parts, (found[:first], found[first:]), strict=True)
    ]


def _layer(session: Session, asked: str | None) -> str:
    """The layer of the maps; a convolution stands for its activation.

    Raises:
        BadOption: It has no feature maps.
        NoSuchLayer: There is none of that name.
    """
    network = session.network
    convolutions = network.conv_layers()
    if asked is None and not convolutions:
        raise BadOption("the network has no convolution: name a layer of feature maps, --layer")
    name = network.feature_layer(convolutions[-1] if asked is None else asked).name
    name = network.activation(name) if network.nodes[name].op.weighs else name
    if len(network.layer(name).shape) != 3:
        size = network.layer(name).size
        raise BadOption(f"layer {name} is {size}, no maps: name a layer of feature maps")
    return name
