"""A network under the microscope: one object to start from, in a notebook or at a prompt.

It opens a model once, takes an image in any form, and asks the functions of `convscope`: there is
nothing here that they do not do. What they return shows itself in a notebook.
"""

from __future__ import annotations

import html
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor, nn

from convscope import verbs
from convscope.cli.occlude import find_target
from convscope.display import Brief, html_image, html_table
from convscope.errors import BadInput, BadOption
from convscope.experiments.options import Device
from convscope.experiments.session import Session, choose_device
from convscope.methods.checks import Trust
from convscope.methods.checks import check as check_units
from convscope.methods.classes import Head
from convscope.methods.numbers import widened
from convscope.methods.project import Projections, TargetProjections, project, project_target
from convscope.methods.rules import DECONVNET, GRADIENT, Rules, rules_named
from convscope.methods.scores import score_target
from convscope.models.zoo import Model, open_model
from convscope.network.network import Layer, Network
from convscope.network.unit import Unit
from convscope.progress import bars

if TYPE_CHECKING:
    from convscope.atlas.store import Atlas
    from convscope.experiments.curving import CurvedUnit
    from convscope.experiments.removal.result import Removal
    from convscope.experiments.visualizing import OptimisedPicture
    from convscope.images.given import Given
    from convscope.images.image_set import ImageSet
    from convscope.methods.contrastive import ContrastiveMap
    from convscope.methods.inversion import Inversion
    from convscope.methods.occlusion_maps import OcclusionMaps
    from convscope.methods.saliency import Saliency
    from convscope.methods.targets import TargetLike
    from convscope.network.trace import Trace

__all__ = ["Microscope", "View", "open"]

Units = Unit | str | Sequence[Unit | str]
"""One unit or several, or their addresses."""


@dataclass(frozen=True, eq=False, repr=False)
class Microscope(Brief):
    """A network that is ready to be looked into; `convscope.open` makes it.

    Attributes:
        session: the opened model, and its network on the device that was asked for.
        progress: whether long work shows how far it is, in a notebook or a terminal.

    Example:
        >>> scope = convscope.open("run:runs/demo/zfnet")
        >>> view = scope.look("dog.jpg")
        >>> view.project("conv5/12")
    """

    session: Session
    progress: bool = True

    @property
    def model(self) -> Model:
        """The module, with how it wants its images."""
        return self.session.model

    @property
    def network(self) -> Network:
        """The network that was read from the module."""
        return self.session.network

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, in order of execution."""
        return self.network.layers

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, if known."""
        return self.model.classes

    def look(self, image: Given) -> View:
        """Put an image under the microscope.

        Args:
            image: a file, DATA#NAME, a path, a picture of Pillow's, an array of pixels (uint8, or
                floats within 0 to 1), or a preprocessed tensor.

        Raises:
            BadImage, BadData, BadInput: it cannot be read, or does not fit.

        Example:
            >>> scope.look("dog.jpg").strongest("conv5")
        """
        name, tensor = self.session.input(image)
        return View(self, name, tensor)

    def project(self, image: Given, units: Units, rules: Rules | str = DECONVNET) -> Projections:
        """Project units of one image down to its pixels; see `View.project`."""
        return self.look(image).project(units, rules)

    def occlude(self, image: Given, **options: Any) -> OcclusionMaps:
        """Slide a box over an image; the options are those of `convscope.occlude`."""
        return self.look(image).occlude(**options)

    def check(self, image: Given, units: Units, rules: Rules | str = DECONVNET) -> list[Trust]:
        """Measure how far projections can be trusted; see `View.check`."""
        return self.look(image).check(units, rules)

    def visualize(
        self, targets: str | int | Iterable[str | int], **options: Any
    ) -> list[OptimisedPicture]:
        """Make the pictures that excite units, layers or classes most.

        Args:
            targets: units, layers, and classes by index or name.
            options: those of `convscope.visualize`.
        """
        with bars(self.progress) as progress:
            return verbs.visualize(self.session, targets, progress=progress, **options)

    def remove_units(
        self, data: str | ImageSet, units: str | Iterable[str], **options: Any
    ) -> Removal:
        """Take feature maps away, and see which classes the network then knows less well.

        Args:
            data: labelled images: DATA of the command line, or an opened set.
            units: feature maps, and layers, which stand for all of theirs.
            options: those of `convscope.remove_units`.
        """
        with bars(self.progress) as progress:
            return verbs.remove_units(self.session, data, units, progress=progress, **options)

    def atlas(self, images: str | ImageSet, out: str | os.PathLike[str], **options: Any) -> Atlas:
        """Find what excites every feature map over a set of images, and write its page.

        Args:
            images: DATA of the command line, or an opened set.
            out: a folder, new or empty.
            options: those of `convscope.atlas`.
        """
        device = self.session.device.type
        with bars(self.progress) as progress:
            return verbs.atlas(self.model, images, out, progress=progress, device=device, **options)

    def __repr__(self) -> str:
        words = repr(self.network).strip("<>").removeprefix("Network ")
        return f"<Microscope {words}, on {self.session.device}>"

    def _repr_html_(self) -> str:
        return self.network._repr_html_()


@dataclass(frozen=True, eq=False, repr=False)
class View(Brief):
    """One image under the microscope.

    Attributes:
        scope: that it lies under.
        name: what it is called.
        input: (C, H, W), preprocessed.

    Example:
        >>> view = scope.look("dog.jpg")
        >>> view.predicted(3)
        >>> view.occlude(target="dog").save("dog.png")
    """

    scope: Microscope
    name: str
    input: Tensor

    @cached_property
    def trace(self) -> Trace:
        """The forward pass, with the values of every layer."""
        return self.scope.network.trace(self.input)

    @property
    def picture(self) -> Image.Image:
        """The image as the network sees it, RGB."""
        [pixels] = self.scope.network.legend.pictures(self.input[None])
        return Image.fromarray(pixels)

    def __getitem__(self, layer: str) -> Tensor:
        """The values of a layer, (C, H, W) or (C,)."""
        return self.trace[layer][0]

    def predicted(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable classes, with their probabilities.

        Args:
            count: how many.

        Raises:
            BadInput: the network tells no classes.
        """
        network = self.scope.network
        head = Head.of(network)
        output = widened(self.trace[network.output])
        [probabilities] = head.probabilities(head.vectors(output)).cpu()
        order = probabilities.sort(descending=True, stable=True).indices[:count].tolist()
        names = self.scope.classes
        return [
            (str(index) if names is None else names[index], float(probabilities[index]))
            for index in order
        ]

    def strongest(self, layer: str | None = None, count: int = 9) -> tuple[Unit, ...]:
        """The strongest units of a layer, one of each feature map.

        Args:
            layer: its name; a convolution stands for its activation. None is the last convolution.
            count: how many at most.
        """
        network = self.scope.network
        convolutions = network.conv_layers()
        if layer is None and not convolutions:
            raise BadInput("the network has no convolutional layer: name a layer")
        name = convolutions[-1] if layer is None else layer
        return self.trace.strongest_units(network.activation(name), count=count)

    def project(self, units: Units, rules: Rules | str = DECONVNET) -> Projections:
        """Project units down to the pixels.

        Args:
            units: addresses, `layer/channel` (the map's strongest position) or
                `layer/channel@row,column`; one or several.
            rules: the method, or its name.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption, NonFinite: as `convscope.project`.

        Example:
            >>> view.project(["conv5/12", "conv3/7@4,9"], rules="guided")
        """
        return project(self.trace, units, _rules(rules))

    def project_target(
        self, target: TargetLike | str | None = None, rules: Rules | str = GRADIENT
    ) -> TargetProjections:
        """Project a function of the output, as `convscope.project_target` does.

        Args:
            target: a class by index or name, a function of the output, or a `Target`; None is the
                class that is predicted.
            rules: the method, or its name.
        """
        if isinstance(target, str):
            target = find_target(target, self.scope.session)
        score = score_target(self.scope.network, self.input, target, self.scope.classes)
        return project_target(self.trace, score, _rules(rules))

    def occlude(self, **options: Any) -> OcclusionMaps:
        """Slide a box over the image and see what the network's answer rests on.

        Args:
            options: those of `convscope.occlude`: size, stride, fill, target, layer, unit ...
        """
        with bars(self.scope.progress) as progress:
            return verbs.occlude(self.scope.session, self.input, progress=progress, **options)

    def saliency(self, target: TargetLike | str | None = None, **settings: Any) -> Saliency:
        """Find which pixels a class's score answers to.

        Args:
            target: a class by index or name, or a function of the output; None is the class that is
                predicted.
            settings: those of `convscope.saliency`: method, copies, noise, steps, layer, seed.
        """
        with bars(self.scope.progress) as progress:
            return verbs.saliency(
                self.scope.session, self.input, target, progress=progress, **settings
            )

    def invert(
        self, layers: str | Sequence[str] | None = None, *, data: str | None = None, **settings: Any
    ) -> Inversion:
        """Find what layers keep of the image.

        Args:
            layers: a name or several; None is every convolutional layer.
            data: images whose features' distances are the errors' unit.
            settings: those of `convscope.invert`: method, steps, variation, seed.
        """
        with bars(self.scope.progress) as progress:
            return verbs.invert(
                self.scope.session, self.input, layers, data=data, progress=progress, **settings
            )

    def curvature(self, units: Units, **settings: Any) -> list[CurvedUnit]:
        """Find which changes of what they see of the image units mind most, and which least.

        Args:
            units: addresses, as of `project`; one or several.
            settings: those of `convscope.curvature`: step, samples, directions, seed.

        Example:
            >>> [unit] = view.curvature("conv5/12")
            >>> [one.curvature for one in unit.found.directions]
        """
        words = [str(unit) for unit in ([units] if isinstance(units, Unit | str) else units)]
        with bars(self.scope.progress) as progress:
            found = verbs.curvature(
                self.scope.session, words, image=self.input, progress=progress, **settings
            )
        return [replace(unit, image=self.name) for unit in found]

    def contrast(self, unit: str, **options: Any) -> ContrastiveMap:
        """Find the part of the image that is one unit's own.

        Args:
            unit: its address.
            options: those of `convscope.contrast`: size, stride, fill.
        """
        return verbs.contrast(self.scope.session, self.input, unit, **options)

    def check(self, units: Units, rules: Rules | str = DECONVNET) -> list[Trust]:
        """Measure how far the projections of units can be trusted.

        Args:
            units: as of `project`.
            rules: the method of projection, or its name.
        """
        return check_units(self.trace, units, _rules(rules))

    def __repr__(self) -> str:
        size = "x".join(map(str, self.input.shape))
        return f"<View of {self.name}, {size}, by {self.scope.network.legend.title}>"

    def _repr_html_(self) -> str:
        content = io.BytesIO()
        self.picture.save(content, "PNG")
        parts = [f"<div>{html.escape(self.name)}</div>", html_image(content.getvalue(), self.name)]
        try:
            rows = [(name, f"{share:.3f}") for name, share in self.predicted()]
            parts.append(html_table(("class", "probability"), rows))
        except BadInput:  # no classes: nothing to say of them
            pass
        convolutions = self.scope.network.conv_layers()
        found = [(name, ", ".join(map(str, self.strongest(name, 3)))) for name in convolutions]
        parts.append(html_table(("layer", "its strongest units"), found))
        return "".join(parts)


def open(
    model: str | nn.Module | Model,
    *,
    device: str = "auto",
    progress: bool = True,
    **reading: Any,
) -> Microscope:
    """Open a network, to look into it.

    Args:
        model: a MODEL of the command line, a module of yours, or an opened model.
        device: auto, cpu or cuda.
        progress: whether long work shows how far it is, in a notebook or a terminal.
        reading: how it is read, as of `open_model`. A module needs `input`, such as (3, 224, 224),
            and `preprocess`: imagenet, unit, paper, caffe, a file, or the numbers of the training's
            transform, {"scale": 1, "mean": [...], "std": [...]}. `classes` names its outputs.

    Raises:
        BadModel, BadCheckpoint, BadOption: as `open_model`, or the network cannot be read.

    Example:
        >>> scope = convscope.open(module, input=(3, 32, 32), preprocess="unit")
        >>> scope.look("dog.jpg").project("conv2/3")
    """
    if isinstance(model, Model) and reading:
        raise BadOption(f"{', '.join(reading)}: a model that is open says this itself")
    try:
        where = choose_device(Device(device))
    except ValueError:
        raise BadOption(f"device {device!r}: give one of {', '.join(Device)}") from None
    opened = model if isinstance(model, Model) else open_model(model, **reading)
    session = Session(opened, opened.network().to(where), where, reading.get("seed", 0))
    return Microscope(session, progress)


def _rules(rules: Rules | str) -> Rules:
    return rules_named(rules) if isinstance(rules, str) else rules
