"""Verbs as functions that keep what they find in a folder; `verbs.py` has all verbs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.experiments.as_function import as_function, member_of
from convscope.experiments.options import Device, Running

if TYPE_CHECKING:
    from convscope.atlas.store import Atlas
    from convscope.experiments.adaptive.result import Adaptive
    from convscope.experiments.comparison.result import Comparison
    from convscope.experiments.localization.result import Localization
    from convscope.experiments.paper.reproduction import Reproduction
    from convscope.experiments.pictures.result import Pictures
    from convscope.experiments.removal.result import Removal
    from convscope.experiments.sanity.result import Sanity
    from convscope.experiments.session import Session
    from convscope.experiments.study import Context, Result
    from convscope.images.image_set import ImageSet
    from convscope.methods.rules import Rules
    from convscope.models.zoo import Model
    from convscope.progress import Progress
    from convscope.training.loop import TrainingResult
    from convscope.training.recipe import Recipe

__all__ = [
    "adaptive",
    "atlas",
    "compare",
    "demo",
    "localize",
    "paper",
    "pictures",
    "remove_units",
    "sanity",
    "train",
]

PathLike = str | os.PathLike[str]


def remove_units(
    model: str | Model | Session,
    data: str | ImageSet,
    units: str | Iterable[str],
    *,
    to: str = "zero",
    images: int | None = None,
    draws: int = 999,
    seed: int = 0,
    out: PathLike | None = None,
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
        batch_size: images at a time.
        workers: threads that read them.
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
    from convscope.experiments.removal.study import RemoveUnitsStudy

    found = as_function(RemoveUnitsStudy)(
        model, data, units, to=to, images=images, draws=draws, seed=seed, out=out, resume=resume,
        batch_size=batch_size, workers=workers, device=device, progress=progress,
    )  # fmt: skip
    assert isinstance(found, Removal)
    return found


def pictures(
    model: str | Model | Session,
    source: str | ImageSet,
    units: str | Iterable[str],
    **options: Any,
) -> Pictures:
    """Make every kind of picture of units side by side, as `convscope pictures` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        source: an IMAGE or DATA of the command line, or an opened set; of a set, each unit is seen
            in the image that excites it most.
        units: their addresses.
        options: those of the verb (`steps`), and `out`, `resume`, `progress`, `device`,
            `batch_size`, `workers`, `seed`.

    Returns:
        For each unit its pictures by kind, and what each projection is worth.

    Raises:
        BadModel, BadData, BadOption: what was given cannot be opened, or does not fit.
        NoSuchLayer, NoSuchUnit: there is no such unit.

    Example:
        >>> found = convscope.pictures("run:runs/demo/zfnet", "scenes:val", ["conv5/12"])
        >>> found.units[0]["deeplift"].worth.specific
    """
    from convscope.experiments.pictures.result import Pictures
    from convscope.experiments.pictures.study import PicturesStudy

    found = as_function(PicturesStudy)(model, source, units, **options)
    assert isinstance(found, Pictures)
    return found


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

    found = as_function(SanityStudy)(model, data, **options)
    assert isinstance(found, Sanity)
    return found


def compare(
    model: str | Model | Session,
    other: str | Model | Session,
    data: str | ImageSet,
    **options: Any,
) -> Comparison:
    """Match the maps of two networks over the same images, as `convscope compare` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        other: the other network, likewise.
        data: images: DATA of the command line, or an opened set.
        options: those of the verb (`layers`, `pooling`, `least`, `draws`), and `out`, `resume`,
            `progress`, `device`, `batch_size`, `workers`, `seed`.

    Returns:
        For each pair of layers which maps both have, under the same number (`kept`) or another
        (`moved`), and which one alone has (`lost`, `new`); and how alike all layers are (`cka`).

    Raises:
        BadModel, BadData, BadOption: what was given cannot be opened, or does not fit.

    Source:
        Li et al. 2015; Kornblith et al. 2019.

    Example:
        >>> found = convscope.compare("run:runs/a", "run:runs/b", "scenes:val", layers="conv1")
        >>> found.layers[0].lost
    """
    from convscope.experiments.comparison.result import Comparison
    from convscope.experiments.comparison.study import CompareStudy

    found = as_function(CompareStudy)(model, other, data, **options)
    assert isinstance(found, Comparison)
    return found


def adaptive(data: str | ImageSet, **options: Any) -> Adaptive:
    """Learn features without labels, as `convscope adaptive` does.

    Args:
        data: DATA of the command line, or an opened set: images to learn from.
        options: those of the verb (`maps`, `side`, `size`, `count`, `epochs`, `weight`, `steps`,
            `probe`, `per_class`, `folds`, `against`, and how that one is fed: `input`,
            `preprocess`, ...), and `out`, `resume`, `progress`, `device`, `batch_size`, `workers`,
            `seed`.

    Returns:
        The layers that were learned, pictures of their maps, and what the features are worth.

    Raises:
        BadModel, BadData, BadOption: what was given cannot be opened, or does not fit.

    Source:
        Zeiler, Taylor & Fergus 2011, "Adaptive deconvolutional networks for mid and high level
        feature learning".

    Example:
        >>> found = convscope.adaptive("scenes:train", maps="8,16", probe="scenes:transfer")
        >>> found.layers[0].explained, found.verdict()
    """
    from convscope.experiments.adaptive.result import Adaptive
    from convscope.experiments.adaptive.study import AdaptiveStudy

    found = as_function(AdaptiveStudy)(data, **options)
    assert isinstance(found, Adaptive)
    return found


def localize(model: str | Model | Session, data: str | ImageSet, **options: Any) -> Localization:
    """Say where the objects are, by boxes of maps, as `convscope localize` does.

    Args:
        model: a MODEL of the command line, or an opened model.
        data: images with marked boxes: DATA of the command line, or an opened set.
        options: those of the verb (`method`, `boxes`, `of`, `count`, `tune`, `threshold`, `layer`),
            and `out`, `resume`, `progress`, `device`, `batch_size`, `workers`, `seed`.

    Returns:
        How much the boxes of each map overlap the marked ones (`scores`), beside a centred box of
        the mean size, which must be beaten, and the whole image.

    Raises:
        BadModel, BadData, BadOption: what was given cannot be opened, or does not fit.

    Source:
        Zeiler & Fergus 2014, §4.2; Zhou et al. 2016, §3.2.

    Example:
        >>> found = convscope.localize("run:runs/demo/zfnet", "scenes:val", count=50)
        >>> found.best.kind, found.best.iou.mean, found.verdict()
    """
    from convscope.experiments.localization.result import Localization
    from convscope.experiments.localization.study import LocalizeStudy

    found = as_function(LocalizeStudy)(model, data, **options)
    assert isinstance(found, Localization)
    return found


def atlas(
    model: str | Model,
    images: str | ImageSet,
    out: PathLike,
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
        batch_size: images at a time.
        workers: threads that read them.
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
    from convscope.execution import Execution
    from convscope.experiments.begun import as_begun
    from convscope.experiments.session import choose_device
    from convscope.methods.rules import rules_named
    from convscope.models.zoo import open_model
    from convscope.report.page import write_page

    opened = open_model(model) if isinstance(model, str) else model
    if resume and isinstance(model, str):
        opened = as_begun(opened, Path(out), None)
    chosen = str(choose_device(member_of(Device, device, "device")))
    looked_at = _images(images, opened.input_shape[-1])
    made = build_atlas(
        opened, looked_at, Path(out),
        layers=layers, top=top, batch_size=batch_size, workers=workers, resume=resume,
        rules=rules_named(rules) if isinstance(rules, str) else rules, plain=plain, check=check,
        device=chosen, progress=progress,
    )  # fmt: skip
    how = Execution(chosen, workers, progress=progress)
    if made.manifest.extras is not None:
        write_gallery(opened, looked_at, made, batch_size=batch_size, how=how)
    if optimised is not None:
        write_optimised(opened, made, optimised, how=how)
    write_page(Path(out))
    return made


def train(
    arch: str,
    data: str,
    out: PathLike,
    *,
    val: str | None = None,
    recipe: str | Recipe | None = None,
    epochs: int | None = None,
    seed: int = 0,
    resume: bool = False,
    cache: PathLike | None = None,
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
        epochs: overrides a named recipe's.
        seed: overrides a named recipe's.
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
    from convscope.experiments.learning import RecipeOptions
    from convscope.experiments.train import Storing, TrainedNetwork, TrainStudy
    from convscope.models.architectures import architecture_named

    named = recipe if isinstance(recipe, str) else None
    study = TrainStudy(
        arch, data, val, RecipeOptions(recipe=named, epochs=epochs),
        Storing(cache=None if cache is None else Path(cache)),
    )  # fmt: skip
    context = _context(
        out, Running(member_of(Device, device, "device"), None, workers, seed), resume, progress
    )
    if recipe is None or isinstance(recipe, str):
        outcome = study.run(context)
    else:
        outcome = study.train(architecture_named(arch), recipe, context)
    found = outcome.of(TrainedNetwork)
    _write_page(found, context)
    return found.run


def paper(
    out: PathLike,
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
    from convscope.experiments.paper.reproduction import Reproduction
    from convscope.experiments.paper.study import PaperStudy

    running = Running(member_of(Device, device, "device"), None, workers, seed)
    context = _context(out, running, resume, progress)
    found = PaperStudy(data, quick).run(context).of(Reproduction)
    _write_page(found, context)
    return found


def demo(
    out: PathLike = "runs/demo", *, quick: bool = False, seed: int = 0, device: str = "auto"
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

    run_demo(Running(device=member_of(Device, device, "device"), seed=seed), Path(out), quick)
    return Path(out) / "index.html"


def _context(out: PathLike, running: Running, resume: bool, progress: Progress | None) -> Context:
    """Where and how a study runs that draws on the way."""
    from convscope.experiments.study import Context
    from convscope.report.on_the_way import DrawnOnTheWay

    return Context(Path(out), running, resume, progress, drawing=DrawnOnTheWay())


def _write_page(found: Result, context: Context) -> None:
    assert context.drawing is not None and context.out is not None
    context.drawing.page(found, context.out)


def _images(images: str | ImageSet, side: int) -> ImageSet:
    from convscope.images.datasets import open_images

    return open_images(images, size=side) if isinstance(images, str) else images
