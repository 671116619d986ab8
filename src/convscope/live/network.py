"""The live network: one door to all questions that a person asks about an image while waiting.

No web, no pictures in files: results are frozen dataclasses with numbers and pixels, and
`to_dict()` makes JSON of the numbers. Any thread may ask. One computation runs at a time, as each
uses all processors; the long one, `sweep`, gives way to short ones between its steps, and whatever
takes a `Cancel` ends within one step once it is set. An image's key comes from its content, so that
whoever shows the same image shares what is known of it.

The network's weights are those of the moment when it was opened: open it anew after training on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.atlas.store import Atlas
from convscope.errors import BadImage, BadInput, BadOption
from convscope.geometry.box import Box
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.images.raster import AnyPicture
from convscope.live.answers import Answer
from convscope.live.cancel import Cancel
from convscope.live.coarse_to_fine import FigureSix
from convscope.live.engine import Engine, LiveSettings
from convscope.live.kept_images import Activations, KeptImage
from convscope.live.looking import LayerLook, Look, layer_look, look, shown_layers
from convscope.live.occluding import Cover, Occluded, box_at, occlude_box
from convscope.live.projecting import (
    Projected,
    UnitContrast,
    contrast_unit,
    project_answer,
    project_unit,
    question_of,
)
from convscope.live.removing import Without, map_means, remove, standing_without
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import activation_of, strongest_map
from convscope.methods.rules import DECONVNET, GRADIENT, RULES, Rules, rules_named
from convscope.methods.sweep import Job
from convscope.methods.targets import Target, TargetLike, choices
from convscope.models.zoo import Model
from convscope.network.network import Network
from convscope.network.unit import Unit

__all__ = ["LiveNetwork", "LiveSettings"]

UnitLike = Unit | str
Fill = str | float | Tensor


class LiveNetwork:
    """One network, and questions about images.

    Args:
        network: The network.
        preprocess: How pictures become its input.
        classes: Names of its classes; empty where nobody knows them.
        images: A data set to choose from; means are taken over it.
        atlas: Of this network: knows the highest activations.
        settings: How much is kept and shown.

    Example:
        >>> live = LiveNetwork(network, model.preprocess)
        >>> key = live.add(picture, "dog.jpg")
        >>> look = live.look(key)
        >>> live.occlude(key, live.box_at((16, 16), 8)).answer.top
    """

    def __init__(
        self,
        network: Network,
        preprocess: Preprocess,
        classes: Sequence[str] = (),
        *,
        images: ImageSet | None = None,
        atlas: Atlas | None = None,
        settings: LiveSettings | None = None,
    ) -> None:
        settings = settings or LiveSettings()
        self.network = network
        self.images = images
        self.atlas = atlas
        self._engine = Engine(network, preprocess, classes, images, atlas, settings)
        self._means: dict[str, Tensor] = {}

    @classmethod
    def of_model(
        cls,
        model: Model,
        *,
        device: torch.device | str = "cpu",
        images: ImageSet | None = None,
        atlas: Atlas | None = None,
        settings: LiveSettings | None = None,
    ) -> LiveNetwork:
        """Read a model as a network, and ask about it.

        Args:
            model: The model, from `open_model`.
            device: Where it runs.
            images, atlas, settings: As of the class.
        """
        network = model.network().to(device)
        return cls(
            network, model.preprocess, model.classes or (),
            images=images, atlas=atlas, settings=settings,
        )  # fmt: skip

    # -- what there is

    def facts(self) -> dict[str, Any]:
        """What a page has to know before any image is there, JSON-able."""
        engine, shown = self._engine, set(shown_layers(self._engine.plan))
        height, width = self.network.input_shape[-2:]
        occluder = Occluder.fitting(height, width)
        names = list(engine.classes)
        return {
            "input": list(self.network.input_shape),
            "layers": [
                {**row, "shown": row["name"] in shown, "grid": list(layer.grid)}
                for row, layer in zip(self.network.table(), self.network.layers, strict=True)
            ],
            "output": self.network.output,
            "task": str(self.network.task),
            "quantity": engine.reader.quantity,
            "note": engine.reader.note,
            "classes": names or None,
            "class_count": self._class_count(),
            "rules": list(RULES),
            "fills": engine.fills(),
            "data": None if self.images is None else self.images.spec,
            "images": 0 if self.images is None else len(self.images),
            "default_occluder": {"size": list(occluder.size), "stride": list(occluder.stride)},
        }

    def image_names(self, start: int = 0, count: int = 100) -> list[dict[str, Any]]:
        """Some images of the data set, JSON-able: their number, name and class."""
        if self.images is None:
            return []
        numbers = range(max(0, start), min(start + count, len(self.images)))
        return [{"index": i, "name": self.images.name(i), "label": self._label(i)} for i in numbers]

    def warm_up(self) -> None:
        """Ask everything once about an empty image: the first pass of a process is slow."""
        engine = self._engine
        blank = engine.preprocess.blank().to(self.network.device, self.network.dtype)
        picture = engine.preprocess.to_uint8(blank.float().cpu())
        height, width = blank.shape[-2:]
        box = box_at((height / 2, width / 2), Occluder.fitting(height, width).size)
        image = KeptImage("blank", "blank", (), None, blank, picture)
        with engine.turns.short(), torch.no_grad():
            activations = engine.kept.activations(image)
            look(engine, image, activations, self._answer(image))
            if engine.reader.note is None:
                watched = engine.watched(image, activations, None)
                for _ in range(2):  # filters are packed when a size comes again
                    cover = Cover(box, 0.0, (), watched)
                    occlude_box(engine, image, activations, cover, activations.whole)
            engine.kept.forget(image.key)

    # -- images

    def add(self, picture: AnyPicture, name: str = "image", label: str | None = None) -> str:
        """Take in an image.

        Args:
            picture: Upright, as `images.files.read_picture` decodes it.
            name: What it is called.
            label: Its class, in words, if that is known.

        Returns:
            Its key; the same for the same pixels.

        Raises:
            BadImage: It cannot be fitted to the network's input.
        """
        engine = self._engine
        try:
            tensor = engine.preprocess.tensor(picture)
            notes = engine.preprocess.fit_notes(picture)
        except BadImage as error:
            raise BadImage(f"{name}: {error}") from None
        key = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:16]
        tensor = tensor.to(self.network.device, self.network.dtype)
        shown = engine.preprocess.to_uint8(tensor.float().cpu())
        engine.kept.add(KeptImage(key, name, notes, label, tensor, shown))
        return key

    def add_from_data(self, image: int | str) -> str:
        """Take in an image of the data set.

        Args:
            image: Its number, or its name.

        Raises:
            BadImage: There is none, or it cannot be read.
        """
        images, index = self.images, image
        if images is None:
            raise BadImage(f"no image {image!r}: no data set is open")
        if isinstance(index, str):
            index = next((i for i in range(len(images)) if images.name(i) == image), -1)
        if not 0 <= index < len(images):
            raise BadImage(f"no image {image!r} in {images.spec}: it has 0 to {len(images) - 1}")
        picture = images.picture_as(index, self._engine.preprocess.form)
        return self.add(picture, images.name(index), self._label(index))

    def __contains__(self, key: str) -> bool:
        """Whether an image is still known."""
        return key in self._engine.kept

    # -- questions

    def look(self, key: str, *, cancel: Cancel | None = None) -> Look:
        """Run an image through the network and find every layer's strongest maps.

        Args:
            key: The image.
            cancel: Ends the question.

        Raises:
            BadInput: There is no such image any more.
            NonFinite: The network makes NaN or infinity of it; the layer is named.
        """
        engine = self._engine
        with engine.asking(key, cancel) as (image, activations):
            engine.refuse_not_finite(image)
            return look(engine, image, activations, self._answer(image))

    def tiles(
        self,
        key: str,
        layer: str,
        channels: Sequence[int] | None = None,
        *,
        cancel: Cancel | None = None,
    ) -> LayerLook:
        """Look at any maps of a layer.

        Args:
            key: The image.
            layer: The layer.
            channels: The maps, in their order; None is all of them.
            cancel: Ends the question.

        Raises:
            NoSuchLayer, NoSuchUnit: There is none of that name.
        """
        with self._engine.asking(key, cancel) as (_, activations):
            return layer_look(self._engine, activations, layer, channels)

    def project(
        self,
        key: str,
        unit: UnitLike,
        rules: Rules | str = DECONVNET,
        *,
        cancel: Cancel | None = None,
    ) -> Projected:
        """Project a unit down to the pixels.

        Args:
            key: The image.
            unit: The unit; without a position, its map's strongest one.
            rules: The method of projection, or its name.
            cancel: Ends the question.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption: There is none of that name.
            BadInput: The unit sees nothing of the image.
            NonFinite: The unit is NaN or infinite.
        """
        found = self.network.unit(unit)
        with self._engine.asking(key, cancel) as (image, activations):
            return project_unit(self._engine, image, activations, found, _rules(rules))

    def project_target(
        self,
        key: str,
        target: TargetLike | str | None = None,
        rules: Rules | str = GRADIENT,
        *,
        cancel: Cancel | None = None,
    ) -> Projected:
        """Project a number of the answer: the log-odds of a class, or a target's value.

        Args:
            key: The image.
            target: A class by number or name, a function of the answer, or None for the predicted.
            rules: The method of projection, or its name.
            cancel: Ends the question.

        Raises:
            BadOption: There is no such class, or the function has no derivative.
            NonFinite: Its value is NaN or infinite.
        """
        engine = self._engine
        with engine.asking(key, cancel) as (image, activations):
            seen, index = engine.watched(image, activations, target)
            wanted = self._log_odds(activations.trace[self.network.output], index)
            return project_answer(
                engine, image, activations, wanted if seen is None else seen.target, _rules(rules)
            )

    def contrast(
        self,
        key: str,
        unit: UnitLike,
        *,
        size: int | None = None,
        stride: int | None = None,
        fill: Fill = "grey",
        cancel: Cancel | None = None,
    ) -> UnitContrast:
        """Find the part of the image that is one unit's own, and not its neighbours' too.

        Args:
            key: The image.
            unit: The unit; without a position, its map's strongest one.
            size, stride: Of the box; None is a seventh of what the unit sees, and half of that.
            fill: What the box shows.
            cancel: Ends the question between two steps.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption: There is none of that name, or of that size.
            BadInput: The unit, or all of its neighbours, are not above zero.
            Cancelled: It was ended.
        """
        engine = self._engine
        image, found = engine.kept[key], self.network.unit(unit)
        with engine.turns.long(), torch.no_grad():
            pause = engine.pausing(cancel)
            pause()
            activations = engine.kept.activations(image)
            asked = question_of(activations, found, size, stride)
            contrast = contrast_unit(engine, activations, asked, engine.fill(fill), pause)
            engine.kept.let_go()
            return contrast

    def occlude(
        self,
        key: str,
        box: Box | tuple[int, int, int, int],
        *,
        fill: Fill = "grey",
        units: Sequence[UnitLike] = (),
        target: TargetLike | str | None = None,
        without: Sequence[UnitLike] = (),
        to: str = "zero",
        cancel: Cancel | None = None,
    ) -> Occluded:
        """Cover one box: what the network says now, and what becomes of some maps, exactly.

        Args:
            key: The image.
            box: (top, left, bottom, right) in image pixels; it may cross the edge.
            fill: A colour as the command line has it, or numbers in preprocessed units.
            units: Whose maps are watched.
            target: A class that is shown whatever its rank, or a function of the answer.
            without, to: Units that are removed meanwhile, as of `remove`; what is compared with is
                the network with all of its units, of the image as it is.
            cancel: Ends the question.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption: There is none of that name.
            BadInput: The answer does not depend on what is removed.
            NonFinite: The covered image makes NaN or infinity.
        """
        engine = self._engine
        wanted = [self.network.unit(unit) for unit in units]
        removed = [self.network.unit(unit) for unit in without]
        put = self._put(removed, to, cancel)
        with engine.asking(key, cancel) as (image, activations):
            standing = standing_without(engine, activations, removed, put)
            watched = (
                (None, None)
                if target is None and engine.reader.quantity != "nothing"
                else engine.watched(image, activations, target)
            )
            cover = Cover(Box(*_sides(box)), fill, wanted, watched)
            return occlude_box(engine, image, activations, cover, standing)

    @staticmethod
    def box_at(centre: tuple[float, float], size: tuple[int, int] | int) -> Box:
        """The box of a size around a place (row, column) in image pixels."""
        return box_at(centre, size)

    def sweep(
        self,
        key: str,
        *,
        size: int | tuple[int, int] | None = None,
        stride: int | tuple[int, int] | None = None,
        fill: Fill = "grey",
        unit: UnitLike | None = None,
        target: TargetLike | str | None = None,
        cancel: Cancel | None = None,
    ) -> FigureSix:
        """Begin the maps of the paper's Fig. 6, coarse to fine: iterate over what it returns.

        Args:
            key: The image.
            size, stride: Of the box; None is a seventh of the image, and a quarter of that.
            fill: What the box shows.
            unit: Whose map is watched; a layer stands for its strongest map, None for that of the
                last convolution.
            target: What is watched; None is the predicted class.
            cancel: Ends the iteration between two steps.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption: There is none of that name.
            BadInput: The network's answer needs a function for its target.
        """
        engine, network = self._engine, self.network
        with engine.asking(key, cancel) as (image, activations):
            engine.refuse_not_finite(image)
            watched = engine.watched(image, activations, target)
            wanted = self._strongest(image, activations, unit)
            box = Occluder.fitting(*network.input_shape[-2:], size, stride)
            job = Job(
                network, image.tensor, engine.fill(fill), box, (wanted,), watched[0] is None, None,
                None if watched[0] is None else watched[0].target,
            )  # fmt: skip
            return FigureSix(engine, image, activations, job, watched, cancel)

    def remove(
        self,
        key: str,
        units: Sequence[UnitLike],
        to: str = "zero",
        *,
        target: int | str | None = None,
        cancel: Cancel | None = None,
    ) -> Without:
        """Take feature maps away, all of them together, and see what the network says.

        Args:
            key: The image.
            units: Maps of any layers; none puts the network back as it was.
            to: What is put in their place: zero, or each map's mean over the data set.
            target: A class that is shown whatever its rank.
            cancel: Ends the question.

        Raises:
            NoSuchLayer, NoSuchUnit: There is none of that name.
            BadOption: `to` is another word, the mean needs a data set, or there is no such class.
            BadInput: The answer does not depend on them.
        """
        engine = self._engine
        wanted = [self.network.unit(unit) for unit in units]
        put = self._put(wanted, to, cancel)
        with engine.asking(key, cancel) as (image, activations):
            shown = None if target is None else engine.watched(image, activations, target)[1]
            return remove(engine, activations, wanted, put, to, shown)

    # -- within

    def _put(self, units: list[Unit], to: str, cancel: Cancel | None) -> dict[Unit, float]:
        """What stands in the place of each unit's map."""
        if to not in PUTS:
            raise BadOption(f"{to!r} cannot be put in a map's place: give {' or '.join(PUTS)}")
        if to == "zero":
            return dict.fromkeys(units, 0.0)
        missing = {unit.layer for unit in units} - self._means.keys()
        if missing:
            with self._engine.turns.long():
                pause = self._engine.pausing(cancel)
                self._means.update(map_means(self._engine, sorted(missing), pause))
        return {unit: float(self._means[unit.layer][unit.channel]) for unit in units}

    def _strongest(self, image: KeptImage, activations: Activations, unit: UnitLike | None) -> Unit:
        """The unit whose map is watched, in the activation that a convolution stands for."""
        layer = None if unit is None else str(unit)
        if layer is None or layer in self.network.nodes:
            return activations.known(
                ("strongest", layer), lambda: strongest_map(self.network, image.tensor, layer)
            )
        found = activation_of(self.network, self.network.unit(str(unit)))
        return activations.trace.strongest(found, 0)

    def _answer(self, image: KeptImage) -> Answer:
        output = self._engine.kept.activations(image).trace[self.network.output]
        return self._engine.reader.read(output, output)

    def _log_odds(self, output: Tensor, index: int | None) -> Target:
        head = self._engine.reader.head
        if head is None:
            return Target(lambda answer: answer.sum())
        number = int(head.labels(head.vectors(output))[0]) if index is None else index
        return Target(
            lambda answer: head.log_odds(head.vectors(answer[None]), number)[0],
            self._engine.class_name(number),
            quantity="log-odds",
        )

    def _class_count(self) -> int | None:
        try:
            return choices(self.network)[1]
        except BadInput:
            return None

    def _label(self, index: int) -> str | None:
        assert self.images is not None
        label = self.images.label(index)
        if label is None:
            return None
        names = self.images.classes
        return str(label) if names is None else names[label]


PUTS = ("zero", "mean")


def _rules(given: Rules | str) -> Rules:
    return rules_named(given) if isinstance(given, str) else given


def _sides(box: Box | tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = box.as_tuple() if isinstance(box, Box) else box
    return int(top), int(left), int(bottom), int(right)
