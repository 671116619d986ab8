"""Verbs as functions, where the function of a verb is not one of a single floor.

What is opened may be given as it is or in the command line's words: a MODEL, an IMAGE, DATA.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convscope.errors import BadOption
from convscope.experiments.options import Device, Reading, Running

if TYPE_CHECKING:
    from convscope.atlas.store import Atlas
    from convscope.experiments.checking import CheckedUnit
    from convscope.experiments.paper.study import Reproduction
    from convscope.experiments.removal.result import Removal
    from convscope.experiments.sanity.result import Sanity
    from convscope.experiments.session import Session
    from convscope.experiments.visualizing import OptimisedPicture
    from convscope.images.given import Given
    from convscope.images.image_set import ImageSet
    from convscope.methods.ascent.loop import AscentSettings
    from convscope.methods.checks import CheckSettings
    from convscope.methods.contrastive import ContrastiveMap
    from convscope.methods.occlusion_maps import OcclusionMaps
    from convscope.methods.rules import Rules
    from convscope.methods.saliency import Saliency
    from convscope.methods.targets import TargetLike
    from convscope.models.zoo import Model
    from convscope.network.network import Network
    from convscope.progress import Progress
    from convscope.training.loop import TrainingResult
    from convscope.training.recipe import Recipe

__all__ = [
    "atlas",
    "check",
    "contrast",
    "demo",
    "explore",
    "layers",
    "occlude",
    "paper",
    "remove_units",
    "saliency",
    "sanity",
    "train",
    "visualize",
]

Place = str | os.PathLike[str]
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
    atlas: Place | None = None,
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

    from convscope.explorer.opening import check_installed, opening

    check_installed()
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
        size, stride: the occluder's side and step, in pixels.
        fill: its colour, as `convscope occlude --fill` has it.
        target: the class to watch, by index or name; None is the predicted one. Or any function of
            the output for one image, without the axis of the batch, to one number.
        layer, unit: watch this layer's strongest feature map, or this unit's; one of them.
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
        size, stride: the box's side and step in pixels; None is a seventh of what the unit sees,
            and half of the side.
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


def remove_units(
    model: str | Model | Session,
    data: str | ImageSet,
    units: str | Iterable[str],
    *,
    to: str = "zero",
    images: int | None = None,
    draws: int = 999,
    seed: int = 0,
    out: Place | None = None,
    resume: bool = False,
    batch_size: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Removal:
    """Take feature maps away, each alone, and see which classes the network then knows less well.

    Args:
        model: a MODEL of the command line, or an opened model.
        data: labelled images: DATA of the command line, or an opened set.
        units: feature maps, `layer/channel`, and layers, which stand for all of theirs.
        to: what is put in a map's place: zero, or its mean over the images.
        images: how many to use, spread evenly; None is all.
        draws: random dealings of the labels, for p.
        seed: of the dealings.
        out: a folder that keeps the results; None keeps nothing.
        resume: go on with what is in it.
        batch_size, workers: images at a time, and threads that read them.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).

    Returns:
        For each unit and class the rise of the mean loss and the accuracy lost; `by_class` and
        `by_unit` are the pairs that lie beyond chance.

    Raises:
        NoSuchLayer, NoSuchUnit, BadModel, BadData, BadOption: what was given cannot be opened, or
            does not fit.
        BadInput: the network tells no classes.

    Source:
        Morcos et al. 2018; Bau et al. 2020.

    Example:
        >>> found = convscope.remove_units("run:runs/demo/zfnet", "scenes:val", "conv5")
        >>> found.by_class()["dog"]
    """
    from convscope.experiments.removal.result import Removal
    from convscope.experiments.removal.study import Put, RemoveUnitsStudy
    from convscope.experiments.study import Context
    from convscope.store.lock import check_unused

    session = _session(model, device)
    opened = _images(data, session.model.input_shape[-1])
    study = RemoveUnitsStudy(
        session.model.spec, opened.spec, [units] if isinstance(units, str) else list(units),
        to=_one_of(Put, to), images=images, draws=draws,
    )  # fmt: skip
    context = Context(
        None if out is None else check_unused(out, resume=resume),
        Running(_one_of(Device, device), batch_size, workers, seed), resume, progress,
        opened={session.model.spec: dataclasses.replace(session, seed=seed)},
        sets={opened.spec: opened},
    )  # fmt: skip
    return study.run(context).of(Removal)


def sanity(model: str, data: str, **options: Any) -> Sanity:
    """Say what the pictures of a network are worth, as `convscope sanity` does.

    Args:
        model: a MODEL of the command line.
        data: labelled images: DATA of the command line.
        options: those of the verb (`count`, `layers`, `parts`), and `out`, `resume`, `progress`,
            `device`, `batch_size`, `workers`, `seed`.

    Returns:
        How often each kind of picture points at the object, how alike pictures of different units
        are, what is left of them in a network drawn anew, and what was planted and found.

    Raises:
        BadModel, BadData, BadOption: what was given cannot be opened, or does not fit.

    Source:
        Adebayo et al. 2018; Nie et al. 2018; Sixt et al. 2020.

    Example:
        >>> convscope.sanity("run:runs/demo/zfnet", "scenes:val", count=24).words()
    """
    from convscope.experiments.sanity.result import Sanity
    from convscope.experiments.sanity.study import SanityStudy
    from convscope.experiments.study import as_function

    found = as_function(SanityStudy)(model, data, **options)
    assert isinstance(found, Sanity)
    return found


def visualize(
    model: str | Model | Session,
    targets: str | Iterable[str],
    *,
    data: str | None = None,
    atlas: Place | None = None,
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
    wanted = find_targets(session, [targets] if isinstance(targets, str) else targets)
    return visualize_targets(
        session, wanted, settings or AscentSettings(),
        data=data, atlas=None if atlas is None else Path(atlas), progress=progress or silent,
    )  # fmt: skip


def atlas(
    model: str | Model,
    images: str | ImageSet,
    out: Place,
    *,
    layers: Iterable[str] | None = None,
    top: int = 9,
    rules: str | Rules = "deconvnet",
    plain: bool = False,
    check: int = 1,
    optimised: Iterable[str] | None = None,
    resume: bool = False,
    batch_size: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Atlas:
    """Find what excites every feature map over a set of images, and write its page.

    `convscope.build_atlas` does the same for what is opened already, without the page.

    Args:
        model: a MODEL of the command line, or an opened model.
        images: DATA of the command line, or an opened set.
        out: a folder, new or empty, for index.html and the numbers behind it.
        layers: names; None is every convolutional layer.
        top: images kept of each feature map, 1 to 100.
        rules: of the projections, or their name.
        plain: patches and projections alone.
        check: how many of the strongest pictures of each feature map are checked.
        optimised: names of layers whose maps get optimised pictures, too.
        resume: go on where an interrupted atlas stopped.
        batch_size, workers: images at a time, and threads that read them.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).

    Returns:
        The atlas, opened.

    Raises:
        BadModel, BadData, BadOption, FolderInUse: as `build_atlas`.

    Example:
        >>> convscope.atlas("zfnet-small", "scenes:val:48", "atlas", layers=["conv1"])
    """
    from convscope.atlas.build import build_atlas
    from convscope.atlas.gallery import write_gallery
    from convscope.atlas.optimised import write_optimised
    from convscope.experiments.begun import as_begun
    from convscope.experiments.session import choose_device
    from convscope.methods.rules import rules_named
    from convscope.models.zoo import open_model
    from convscope.report.page import write_page

    opened = open_model(model) if isinstance(model, str) else model
    if resume and isinstance(model, str):
        opened = as_begun(opened, Path(out), None)
    chosen = str(choose_device(_one_of(Device, device)))
    looked_at = _images(images, opened.input_shape[-1])
    made = build_atlas(
        opened, looked_at, Path(out),
        layers=layers, top=top, batch_size=batch_size, workers=workers, resume=resume,
        rules=rules_named(rules) if isinstance(rules, str) else rules, plain=plain, check=check,
        device=chosen, progress=progress,
    )  # fmt: skip
    if made.manifest.extras is not None:
        write_gallery(
            opened, looked_at, made, batch_size=batch_size, workers=workers, device=chosen,
            progress=progress,
        )  # fmt: skip
    if optimised is not None:
        write_optimised(opened, made, optimised, device=chosen, progress=progress)
    write_page(Path(out))
    return made


def train(
    arch: str,
    data: str,
    out: Place,
    *,
    val: str | None = None,
    recipe: str | Recipe | None = None,
    epochs: int | None = None,
    seed: int = 0,
    resume: bool = False,
    cache: Place | None = None,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> TrainingResult:
    """Train a network of the paper on labelled images, and write its run and page.

    Args:
        arch: zfnet, alexnet, alexnet-dense, zfnet-small or alexnet-small.
        data: labelled images, as DATA of the command line.
        out: a new folder for the run; open it as "run:OUT".
        val: images to validate on; None is scenes:val, or DATA/val.
        recipe: a recipe, its name or its file; None is chosen by `arch` and `data`.
        epochs, seed: override a named recipe's.
        resume: go on with the run in `out`, or begin it.
        cache: a folder for decoded images, for sets that do not fit in memory.
        workers: processes or threads that make the images.
        device: auto, cpu or cuda.
        progress: called with (what, done, total), in images.

    Returns:
        The finished run.

    Raises:
        BadOption, BadModel, BadData: what was asked for does not exist or does not fit.
        FolderInUse: `out` holds something, or a run of other settings.
        NonFinite: the loss became NaN or infinite.

    Example:
        >>> convscope.train("zfnet-small", "scenes:train:600", "runs/zfnet", epochs=2)
    """
    from convscope.experiments.learning import (
        RecipeOptions,
        choose_recipe,
        open_training_images,
        workers_or,
    )
    from convscope.experiments.session import choose_device
    from convscope.models.architectures import architecture_named
    from convscope.report.training_page import write_training_page
    from convscope.training.loop import CheckpointPolicy
    from convscope.training.loop import train as train_network

    running = Running(workers=workers, seed=seed)
    if isinstance(recipe, str) or recipe is None:
        recipe = choose_recipe(RecipeOptions(recipe=recipe, epochs=epochs), arch, data, running)
    architecture = architecture_named(arch)
    images, validation = open_training_images(data, val, architecture, seed)
    result = train_network(
        architecture, images, validation, recipe, out,
        device=choose_device(_one_of(Device, device)), workers=workers_or(running), cache=cache,
        keeping=CheckpointPolicy(resume=resume), progress=progress,
    )  # fmt: skip
    write_training_page(Path(out))
    return result


def paper(
    out: Place,
    data: str = "scenes",
    *,
    quick: bool = False,
    resume: bool = False,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Reproduction:
    """Make every figure and table of the paper and its page, and see which of its claims hold.

    `convscope.reproduce` does the same without pictures and page, with a budget of one's own.

    Args:
        out: a folder, new or empty, for index.html, the figures and the numbers.
        data: "scenes", or a folder with train/ and val/ in folders of classes.
        quick: minutes instead of an hour, and wider intervals.
        resume: go on with a run that was interrupted, or failed.
        seed: of everything that is drawn at random.
        workers: threads that make or read images.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).

    Returns:
        What came of every stage; `failures` are those that failed.

    Raises:
        FolderInUse: `out` holds something, or a run of other settings.
        BadOption: data.

    Example:
        >>> convscope.paper("paper", quick=True).tally
    """
    from convscope.experiments.learning import workers_or
    from convscope.experiments.paper.plan import FULL, QUICK
    from convscope.experiments.paper.study import reproduce
    from convscope.experiments.session import choose_device
    from convscope.report.paper_figures import draw_stage
    from convscope.report.paper_page import write_paper_page

    def tell(reproduction: Reproduction, *_: object) -> None:
        write_paper_page(reproduction)

    result = reproduce(
        out, data, QUICK if quick else FULL, resume=resume, draw=draw_stage, tell=tell, seed=seed,
        workers=workers_or(Running(workers=workers)), device=choose_device(_one_of(Device, device)),
        progress=progress,
    )  # fmt: skip
    write_paper_page(result)
    return result


def demo(
    out: Place = "runs/demo", *, quick: bool = False, seed: int = 0, device: str = "auto"
) -> Path:
    """Train a small ZFNet on rendered scenes, and look inside it; the terminal says how far it is.

    Args:
        out: a new folder, or one of an earlier demo, which goes on.
        quick: a quarter of the work, and a worse network.
        seed: of everything that is drawn at random.
        device: auto, cpu or cuda.

    Returns:
        The page to open.

    Raises:
        FolderInUse: `out` holds something else.

    Example:
        >>> convscope.demo("demo", quick=True)
    """
    from convscope.cli.demo import demo as run_demo

    run_demo(Running(device=_one_of(Device, device), seed=seed), Path(out), quick)
    return Path(out) / "index.html"


def _session(model: str | Model | Session, device: str) -> Session:
    from convscope.experiments.session import Session, choose_device, open_session

    if isinstance(model, Session):
        return model
    if isinstance(model, str):
        return open_session(model, Reading(), Running(device=_one_of(Device, device)))
    where = choose_device(_one_of(Device, device))
    return Session(model, model.network().to(where), where, 0)


def _one_of(kind: type[Choice], value: str) -> Choice:
    """A member of an enumeration by its value.

    Raises:
        BadOption: there is none, with those there are.
    """
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise BadOption(f"{kind.__name__.lower()} {value!r}: give one of {known}") from None


def _images(images: str | ImageSet, side: int) -> ImageSet:
    from convscope.images.datasets import open_images

    return open_images(images, size=side) if isinstance(images, str) else images
