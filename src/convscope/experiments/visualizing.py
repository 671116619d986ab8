"""Optimised pictures of units, layers and classes, beside what real images reach."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.display import Pictured
from convscope.errors import BadData, BadOption, NoSuchUnit
from convscope.experiments.naming import find_class
from convscope.experiments.session import Session
from convscope.progress import Progress, silent
from convscope.text import first_name, is_number

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from convscope.images.image_set import ImageSet
    from convscope.methods.ascent.loop import AscentSettings

__all__ = [
    "OptimisedPicture",
    "PictureTarget",
    "example_images",
    "find_targets",
    "visualize_targets",
]

EXAMPLES = 64
"""Images whose mean magnitude MACO keeps."""


@dataclass(frozen=True)
class PictureTarget:
    """What a picture is made for.

    Attributes:
        layer: its layer.
        channel: the feature map; of the network's answer, the class.
        name: `layer/channel`, or the class's name.
    """

    layer: str
    channel: int
    name: str


@dataclass(frozen=True, eq=False)
class OptimisedPicture(Pictured):
    """One optimised picture.

    Attributes:
        target: what it was made for.
        picture: float32 (C, h, w), in preprocessed units.
        rgb: uint8 (h, w, 3), as it is shown.
        activation: the unit's activation there; of a class, its score.
        best_image_activation: the largest over the images, if some were given.
    """

    target: PictureTarget
    picture: torch.Tensor
    rgb: NDArray[np.uint8]
    activation: float
    best_image_activation: float | None

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the pictures."""
        return {
            "target": self.target.name,
            "unit": f"{self.target.layer}/{self.target.channel}",
            "activation": self.activation,
            "best_image_activation": self.best_image_activation,
            "size": list(self.rgb.shape[:2]),
        }


def find_targets(session: Session, words: Iterable[str]) -> list[PictureTarget]:
    """Find what pictures are to be made for.

    Args:
        session: The network and its class names.
        words: Units (`layer/channel`), layers, which stand for all of their maps, and classes, by
            index or name; `class:NAME` where a layer is called so, too.

    Raises:
        NoSuchUnit: A position is given, or there is no such channel.
        BadOption: It is none of these.
    """
    from convscope.network.unit import Unit

    network = session.network
    names = {layer.name for layer in network.layers}
    found: list[PictureTarget] = []
    for word in words:
        if word in names:
            count = network.feature_layer(word).channels
            found += [PictureTarget(word, channel, f"{word}/{channel}") for channel in range(count)]
            continue
        try:
            unit = network.unit(word) if Unit.parse(word).layer in names else None
        except NoSuchUnit:
            if "/" in word and word.rpartition("/")[0] in names:
                raise
            unit = None
        if unit is not None:
            if unit.position is not None:
                raise NoSuchUnit(f"{unit}: a picture is made for a feature map, without a position")
            found.append(PictureTarget(unit.layer, unit.channel, str(unit)))
            continue
        found.append(_class_target(session, word))
    return found


def _class_target(session: Session, word: str) -> PictureTarget:
    network, word = session.network, word.removeprefix("class:")
    number = find_class(word, session, option="no unit, no layer, and as a class:")
    if network.layer(network.output).channels == 1:
        if number == 0:
            raise BadOption(f"{word}: one number speaks for class 1; ask for 1 with --negative")
        number = 0
    classes = session.model.classes
    return PictureTarget(network.output, number, _class_name(classes, word))


def _class_name(classes: Sequence[str] | None, word: str) -> str:
    if not is_number(word):
        return word
    return f"class {word}" if classes is None else first_name(classes[int(word)])


def example_images(session: Session, images: ImageSet, count: int = EXAMPLES) -> torch.Tensor:
    """Read images spread evenly over a set, (N, C, H, W) preprocessed, on the device.

    Raises:
        BadData: None can be read.
    """
    import torch

    from convscope.errors import BadImage

    found = []
    for index in np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)):
        try:
            found.append(session.model.preprocess.tensor(images.picture(int(index))))
        except BadImage:
            continue
    if not found:
        raise BadData(f"{images.spec}: no image can be read")
    return torch.stack(found).to(session.device)


def visualize_targets(
    session: Session,
    targets: Sequence[PictureTarget],
    settings: AscentSettings,
    *,
    data: str | None = None,
    atlas: Path | None = None,
    progress: Progress = silent,
) -> list[OptimisedPicture]:
    """Make optimised pictures, and say what the best of some images reach.

    Args:
        session: The network.
        targets: What they are made for; each gives as many pictures as `settings.variants`.
        settings: How. MACO takes its magnitudes from `data`.
        data: DATA of the command line.
        atlas: A finished atlas of this network.
        progress: Is called with (what, done, total).

    Raises:
        BadOption: MACO without data, or settings that cannot work.
        BadData, NoSuchLayer, BadInput: The images or the atlas do not serve.
        NonFinite: A unit is NaN or infinite in its picture.
    """
    from convscope.methods.ascent.loop import AscentMethod, maximise
    from convscope.methods.ascent.showing import canvas_of, shown_pictures

    preprocess = session.model.preprocess
    canvas = canvas_of(session.network, preprocess)
    if settings.method is AscentMethod.MACO and data is not None and settings.examples is None:
        settings = replace(settings, examples=example_images(session, session.images(data)))
    settings.check()
    best = _best_of(session, targets, data, atlas, progress)
    found: dict[PictureTarget, list[OptimisedPicture]] = {}
    for layer in dict.fromkeys(target.layer for target in targets):
        mine = [target for target in dict.fromkeys(targets) if target.layer == layer]
        channels = [target.channel for target in mine]
        told = partial(_told, progress, layer)
        ascent = maximise(session.network, layer, channels, canvas, settings, progress=told)
        free = settings.method in (AscentMethod.ERHAN, AscentMethod.CLASS)
        pictures = shown_pictures(ascent, preprocess, free=free)
        for number, rgb in enumerate(pictures):
            target = mine[number // settings.variants]
            found.setdefault(target, []).append(
                OptimisedPicture(
                    target,
                    ascent.picture[number].float().cpu(),
                    rgb,
                    float(ascent.activation[number]),
                    best.get((target.layer, target.channel)),
                )
            )
    return [picture for target in dict.fromkeys(targets) for picture in found[target]]


def _told(progress: Progress, layer: str, what: str, done: int, total: int) -> None:
    progress(f"{what} of {layer}", done, total)


def _best_of(
    session: Session,
    targets: Sequence[PictureTarget],
    data: str | None,
    atlas: Path | None,
    progress: Progress,
) -> dict[tuple[str, int], float]:
    """(layer, channel) -> the largest activation over the images of an atlas, or of a set."""
    network = session.network
    layers = list(dict.fromkeys(target.layer for target in targets))
    if atlas is not None:
        from convscope.atlas.store import open_atlas

        opened = open_atlas(atlas)
        records = {record.activation: record.name for record in opened.manifest.layers}
        known = {layer: records.get(network.activation(layer), layer) for layer in layers}
        values = {layer: opened.layers[name].value[:, 0] for layer, name in known.items()}
    elif data is not None:
        from convscope.scan.engine import Scan
        from convscope.scan.strongest import strongest

        scan = Scan(network, session.images(data), session.model.preprocess, progress=progress)
        tables = strongest(scan, {layer: network.activation(layer) for layer in layers}, 1)
        values = {layer: tables[layer].value[:, 0] for layer in layers}
    else:
        return {}
    best = {(t.layer, t.channel): float(values[t.layer][t.channel]) for t in targets}
    return {unit: value for unit, value in best.items() if math.isfinite(value)}
