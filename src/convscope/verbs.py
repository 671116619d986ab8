"""Verbs as functions, where the function of a verb is not one of a single floor.

What is opened may be given as it is or in the command line's words: a MODEL, an IMAGE, DATA.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convscope.experiments.options import Device, Reading, Running
from convscope.verbs_of_data import features, find_errors
from convscope.verbs_of_studies import (
    adaptive,
    atlas,
    compare,
    demo,
    localize,
    paper,
    pictures,
    remove_units,
    sanity,
    train,
)

if TYPE_CHECKING:
    from convscope.experiments.checking import CheckedUnit
    from convscope.experiments.curving import CurvedUnit
    from convscope.experiments.session import Session
    from convscope.experiments.visualizing import OptimisedPicture
    from convscope.images.given import Given
    from convscope.methods.ascent.loop import AscentSettings
    from convscope.methods.checks import CheckSettings
    from convscope.methods.contrastive import ContrastiveMap
    from convscope.methods.inversion import Inversion
    from convscope.methods.occlusion_maps import OcclusionMaps
    from convscope.methods.rules import Rules
    from convscope.methods.saliency import Saliency
    from convscope.methods.targets import TargetLike
    from convscope.models.zoo import Model
    from convscope.network.network import Network
    from convscope.progress import Progress

__all__ = [
    "adaptive",
    "atlas",
    "check",
    "compare",
    "contrast",
    "curvature",
    "demo",
    "explore",
    "features",
    "find_errors",
    "invert",
    "layers",
    "localize",
    "occlude",
    "paper",
    "pictures",
    "remove_units",
    "saliency",
    "sanity",
    "train",
    "visualize",
]

PathLike = str | os.PathLike[str]
Choice = TypeVar("Choice", bound=Enum)


def layers(model: str | Model | Network, *, input: str | None = None) -> list[dict[str, Any]]:
    """List a network's layers, as `convscope layers --json` does.

    Args:
        model: a MODEL of the command line, an opened model, or a network.
        input: the input's shape, such as "3x224x224", for a MODEL that does not say it.

    Returns:
        For each layer its name, kind, shape, receptive field, stride and status.

    Raises:
        BadModel: and its kin, as `open_model`.

    Example:
        >>> [layer["name"] for layer in convscope.layers("zfnet-small")][0]
        'conv1'
    """
    from convscope.models.zoo import open_model
    from convscope.network.network import Network

    if isinstance(model, str):
        preprocess = None if input is None else "unit"  # no image will be looked at
        model = open_model(model, input=input, preprocess=preprocess)
    network = model if isinstance(model, Network) else model.network()
    return network.table()


def explore(
    model: str | Model,
    data: str | None = None,
    atlas: PathLike | None = None,
    port: int = 0,
    open_browser: bool = True,
) -> None:
    """Look into a network live, in the browser, until it is interrupted.

    The address is printed; only who has it is let in, and only from this machine.

    Args:
        model: a MODEL of the command line, or an opened model, whose weights are those it has now.
        data: images to choose from, as on the command line.
        atlas: the folder of the network's atlas, whose pages are served too.
        port: of 127.0.0.1; 0 is a free one.
        open_browser: whether the page is opened.

    Raises:
        BadModel, BadData, BadOption: what was given cannot be opened.

    Example:
        >>> convscope.explore("run:runs/demo/zfnet", "scenes:val", atlas="runs/demo/atlas")
    """
    from tempfile import TemporaryDirectory

    from convscope.explorer.opening import check_explorer_installed, opening

    check_explorer_installed()
    from convscope.explorer.serving import Serving, explore_until_interrupted

    folder = None if atlas is None else Path(atlas)
    with TemporaryDirectory() as kept:
        if isinstance(model, str):
            words = opening(model, data, Reading(), Running(), folder)
        else:
            from convscope.explorer.handing_over import hand_over

            spec, known = hand_over(model, Path(kept))
            words = opening(spec, data, Reading(), Running(), folder, exported=known)
        with suppress(KeyboardInterrupt):  # the way to end it
            explore_until_interrupted(
                Serving(words, folder, port),
                lambda address, _: print(address, flush=True),
                open_browser=open_browser,
            )


def occlude(
    model: str | Model | Session,
    image: Given,
    *,
    size: int | None = None,
    stride: int | None = None,
    fill: str = "grey",
    target: TargetLike | str | None = None,
    layer: str | None = None,
    unit: str | None = None,
    method: str = "incremental",
    precision: str = "float32",
    batch_size: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> OcclusionMaps:
    """Slide a box over an image and see what the network's answer rests on.

    Args:
        model: a MODEL of the command line, or an opened model.
        image: an IMAGE of the command line (a file, or DATA#NAME), a path, a picture of Pillow's,
            an array of pixels (uint8, or floats within 0 to 1), or a preprocessed tensor (3, H, W).
        size: the occluder's side, in pixels.
        stride: its step, in pixels.
        fill: its colour, as `convscope occlude --fill` has it.
        target: the class to watch, by index or name; None is the predicted one. Or any function of
            the output for one image, without the axis of the batch, to one number.
        layer: watch this layer's strongest feature map.
        unit: watch this unit's, instead of `layer`.
        method: incremental, or full.
        precision: float32, or bfloat16, which rounds.
        batch_size: positions that go through together.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).

    Returns:
        The maps of the paper's Fig. 6, in numbers; `value` is what was watched, `quantity` what it
        is: the probability of a class, the log-odds where that hardly changes, or a target's value.

    Raises:
        BadModel, BadImage, BadOption: what was given cannot be opened, or does not fit.

    Source:
        Zeiler & Fergus 2014, §4.2 and Fig. 6.

    Example:
        >>> convscope.occlude("run:runs/demo/zfnet", "dog.jpg", target="dog").probability.min()
        >>> convscope.occlude(model, image, target=lambda scores: scores[3] - scores[5]).value
    """
    from convscope.cli.occlude import Occluding, read_fill
    from convscope.methods.occluder import Occluder
    from convscope.methods.occlusion import occlude as sweep_occluder
    from convscope.methods.sweep import Method, SweepPrecision

    words = target if isinstance(target, str) else None
    watching = Occluding(target=words, layer=layer, unit=unit, fill=fill)
    watching.check()
    session = _session(model, device)
    _, height, width = session.model.input_shape
    return sweep_occluder(
        session.network, session.input(image)[1], Occluder.fitting(height, width, size, stride),
        fill=read_fill(fill, session), batch_size=batch_size, progress=progress,
        method=_one_of(Method, method), precision=_one_of(SweepPrecision, precision),
        **{**watching.watched(session), **({} if words else {"target": target})},
    )  # fmt: skip


def contrast(
    model: str | Model | Session,
    image: Given,
    unit: str,
    *,
    size: int | None = None,
    stride: int | None = None,
    fill: str = "grey",
    device: str = "auto",
) -> ContrastiveMap:
    """Find the part of an image that is one unit's own, as `convscope occlude --contrast` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        image: as of `occlude`.
        unit: its address, `layer/channel`, which stands for the map's strongest position in the
            image, or `layer/channel@row,column`.
        size: the box's side in pixels; None is a seventh of what the unit sees.
        stride: its step in pixels; None is half of the side.
        fill: its colour, as `convscope occlude --fill` has it.
        device: auto, cpu or cuda.

    Returns:
        By the box's place: what the unit loses, what its neighbours lose on average, and the
        difference, `contrast`.

    Raises:
        NoSuchLayer, NoSuchUnit, BadInput, BadModel, BadImage, BadOption: what was given cannot be
            opened, or does not fit; or the unit is not above zero in the image.

    Example:
        >>> found = convscope.contrast("run:runs/demo/zfnet", "dog.jpg", "conv5/12")
        >>> found.box(*found.strongest)
    """
    from functools import partial

    from convscope.cli.occlude import read_fill
    from convscope.methods.contrastive import contrastive_occlusion, fitting_box

    session = _session(model, device)
    return contrastive_occlusion(
        session.network, session.input(image)[1], unit,
        partial(fitting_box, size=size, stride=stride), fill=read_fill(fill, session),
    )  # fmt: skip


def saliency(
    model: str | Model | Session,
    image: Given,
    target: TargetLike | str | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    **settings: Any,
) -> Saliency:
    """Find which pixels of an image a class's score answers to, as `convscope saliency` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        image: as of `occlude`.
        target: a class, by index or name, or a function of the output; None is the class that is
            predicted.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).
        settings: those of `SaliencySettings`: method (gradient, smooth, integrated, grad-cam),
            copies, noise, steps, layer, seed.

    Returns:
        The map, and what it was made of.

    Raises:
        BadModel, BadImage, BadOption: what was given cannot be opened, or does not fit.

    Source:
        Simonyan et al. 2013; Smilkov et al. 2017; Sundararajan et al. 2017; Selvaraju et al. 2017.

    Example:
        >>> convscope.saliency("run:runs/demo/zfnet", "dog.jpg", "dog", method="grad-cam").map
    """
    from convscope.cli.occlude import find_target
    from convscope.methods.saliency import SaliencySettings
    from convscope.methods.saliency import saliency as find

    session = _session(model, device)
    asked = find_target(target, session) if isinstance(target, str) else target
    return find(
        session.network, session.input(image)[1], asked, SaliencySettings(**settings),
        progress=progress,
    )  # fmt: skip


def check(
    model: str | Model | Session,
    image: Given,
    units: str | Iterable[str],
    *,
    rules: str | Rules = "deconvnet",
    settings: CheckSettings | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[CheckedUnit]:
    """Measure how far the projections of units can be trusted, as `convscope check` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        image: as of `occlude`, or DATA of the command line: each unit is then seen in the image
            that excites its feature map most.
        units: their addresses, `layer/channel` or, in one image, `layer/channel@row,column`.
        rules: the method of projection, or its name.
        settings: how carefully; None is the default.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).

    Returns:
        For each unit the image it was seen in, and what was measured: place, specific and own
        weights, with their intervals.

    Raises:
        NoSuchLayer, NoSuchUnit, BadModel, BadImage, BadData, BadOption: what was given cannot be
            opened, or does not fit.

    Source:
        Sixt et al. 2020; Nie et al. 2018; Adebayo et al. 2018.

    Example:
        >>> [unit] = convscope.check("run:runs/demo/zfnet", "dog.jpg", "conv5/12")
        >>> unit.trust.specific.mean, unit.trust.sentence
    """
    from convscope.experiments.checking import check_units
    from convscope.methods.checks import CheckSettings
    from convscope.methods.rules import rules_named

    session = _session(model, device)
    return check_units(
        session,
        image,
        [units] if isinstance(units, str) else list(units),
        rules_named(rules) if isinstance(rules, str) else rules,
        settings or CheckSettings(),
        progress,
    )


def visualize(
    model: str | Model | Session,
    targets: str | int | Iterable[str | int],
    *,
    data: str | None = None,
    atlas: PathLike | None = None,
    settings: AscentSettings | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[OptimisedPicture]:
    """Make the pictures that excite units, layers or classes most, as `convscope visualize` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        targets: units (`layer/channel`), layers, and classes by index or name.
        data: DATA of the command line: MACO keeps the magnitudes of its images, and the largest
            activation over them is told.
        atlas: a finished atlas of the network, which knows that too.
        settings: how; None is the default.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).

    Returns:
        The pictures in the order of the targets.

    Raises:
        NoSuchUnit, BadOption, BadModel, BadData: what was given cannot be opened, or does not fit.

    Source:
        Erhan et al. 2009; Simonyan et al. 2013; Olah et al. 2017; Fel et al. 2023.

    Example:
        >>> [found] = convscope.visualize("run:runs/demo/zfnet", "conv5/12")
        >>> found.rgb.shape, found.activation
    """
    from convscope.experiments.visualizing import find_targets, visualize_targets
    from convscope.methods.ascent.loop import AscentSettings
    from convscope.progress import silent

    session = _session(model, device)
    several = [targets] if isinstance(targets, str | int) else targets
    words = [f"class:{one}" if isinstance(one, int) else one for one in several]
    wanted = find_targets(session, words)
    return visualize_targets(
        session, wanted, settings or AscentSettings(),
        data=data, atlas=None if atlas is None else Path(atlas), progress=progress or silent,
    )  # fmt: skip


def curvature(
    model: str | Model | Session,
    units: str | Iterable[str],
    *,
    image: Given | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    **settings: Any,
) -> list[CurvedUnit]:
    """Find which changes of a picture units mind most and least, as `convscope curvature` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        units: their addresses, `layer/channel`; with an image `layer/channel@row,column`, too.
        image: as of `occlude`: the start is what a unit sees of it; None starts from an optimised
            picture of the unit.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).
        settings: those of `CurvatureSettings`: step, samples, directions, ascent, seed.

    Returns:
        For each unit the curvature at the step along the most and the least curved directions, how
        far two halves of the samples agree on each, and walks along them.

    Raises:
        NoSuchLayer, NoSuchUnit, BadModel, BadImage, BadOption: what was given cannot be opened, or
            does not fit.
        BadInput: a unit sees a single number.

    Source:
        Berkes & Wiskott 2006; Le et al. 2010.

    Example:
        >>> [unit] = convscope.curvature("run:runs/demo/zfnet", "conv5/12")
        >>> [(one.curvature, one.split_half) for one in unit.found.directions]
    """
    from convscope.experiments.curving import curve_units
    from convscope.methods.curvature import CurvatureSettings
    from convscope.progress import silent

    session = _session(model, device)
    return curve_units(
        session, [units] if isinstance(units, str) else list(units), CurvatureSettings(**settings),
        None if image is None else session.input(image), progress or silent,
    )  # fmt: skip


def invert(
    model: str | Model | Session,
    image: Given,
    layers: str | Iterable[str] | None = None,
    *,
    data: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    **settings: Any,
) -> Inversion:
    """Find what layers keep of an image, as `convscope invert` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        image: as of `occlude`.
        layers: a name or several; None is every convolutional layer.
        data: DATA of the command line: an error is then a share of the mean distance between its
            images' features; else of the norm of this image's.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).
        settings: those of `InversionSettings`: method (fourier, mahendran), steps, variation, seed.

    Returns:
        For each layer the picture that it answers to as it does to the image, the error, and the
        correlation of its pixels with the image's.

    Raises:
        NoSuchLayer, BadModel, BadImage, BadData, BadOption: what was given cannot be opened, or
            does not fit.
        BadInput: the image makes all values of a layer zero.

    Source:
        Mahendran & Vedaldi 2015 (arXiv 2014).

    Example:
        >>> found = convscope.invert("run:runs/demo/zfnet", "dog.jpg", ["conv1", "conv5"])
        >>> [(one.layer, one.error, one.correlation) for one in found.layers]
    """
    from convscope.experiments.inverting import invert_layers
    from convscope.methods.inversion import InversionSettings
    from convscope.progress import silent

    session = _session(model, device)
    names = [layers] if isinstance(layers, str) else layers
    return invert_layers(
        session, session.input(image)[1], None if names is None else list(names),
        InversionSettings(**settings), data=data, progress=progress or silent,
    )  # fmt: skip


def _session(model: str | Model | Session, device: str) -> Session:
    from convscope.experiments.session import Session, open_session, session_of

    if isinstance(model, Session):
        return model
    running = Running(_one_of(Device, device))
    if isinstance(model, str):
        return open_session(model, Reading(), running)
    return session_of(model, running)


def _one_of(kind: type[Choice], value: str) -> Choice:
    """A member of an enumeration by its value; BadOption where there is none."""
    from convscope.experiments.as_function import member_of

    return member_of(kind, value, kind.__name__.lower())
