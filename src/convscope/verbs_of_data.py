"""Verbs as functions that are about many images; `verbs.py` has all verbs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.experiments.as_function import as_function, member_of
from convscope.experiments.options import Device, Reading, Running

if TYPE_CHECKING:
    from convscope.experiments.features.feature_set import FeatureSet
    from convscope.experiments.mistakes.result import Mistakes
    from convscope.experiments.session import Session
    from convscope.images.image_set import ImageSet
    from convscope.models.zoo import Model
    from convscope.progress import Progress

__all__ = ["features", "find_errors"]

PathLike = str | os.PathLike[str]


def features(
    model: str | Model | Session,
    data: str | ImageSet,
    layers: Iterable[str] | None = None,
    *,
    pooling: str = "auto",
    flips: bool = False,
    half: bool = False,
    out: PathLike | None = None,
    map: PathLike | None = None,
    cache: PathLike | None = None,
    resume: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> FeatureSet:
    """Read features of every image, with names and labels, and write them to a file if asked to.

    Args:
        model: a MODEL of the command line, or an opened model.
        data: DATA of the command line, or an opened set.
        layers: names; None is the last hidden layer, which the classifier reads.
        pooling: of layers with a grid: flatten, mean, max, mean+max, grid3 (any number), auto.
        flips: average over each image and its mirror image.
        half: store in float16.
        out: a file, .npz, .safetensors or .parquet.
        map: a figure, .png: a map of the images by the last of the layers.
        cache: a folder where the rows are kept; None keeps them in memory, or, with `out`, in
            FILE.work until the file is written.
        resume: go on with the rows of an interrupted run.
        seed: of the map, and of rendered scenes.
        batch_size: images at a time.
        workers: threads that read them.
        device: auto, cpu or cuda.
        progress: called with (what, done, total).

    Returns:
        The features: `found["fc7"]` (images, features), `found.names`, `found.labels`; images
        that could not be read are in `found.skipped` and have no row.

    Raises:
        BadModel, BadData, BadOption, NoSuchLayer: what was given cannot be opened or written.
        NonFinite: a layer is NaN or infinite.

    Source:
        Donahue et al. 2014, "DeCAF".

    Example:
        >>> found = convscope.features("run:runs/demo/zfnet", "scenes:val", ["fc7"], out="f.npz")
        >>> found["fc7"].shape
        (1200, 128)
    """
    from convscope.experiments.features.feature_set import layers_of_features, read_features
    from convscope.experiments.features.files import check_ending, write_features
    from convscope.experiments.features.image_map import check_sklearn_installed
    from convscope.experiments.features.work_folder import rows_kept_beside
    from convscope.experiments.session import Session, open_session, session_of
    from convscope.scan.engine import Scan
    from convscope.scan.features import FeatureSettings
    from convscope.scan.pooling import Pooling

    file = None if out is None else Path(out)
    if file is not None:
        check_ending(file)
    if map is not None:
        check_sklearn_installed()
    running = Running(member_of(Device, device, "device"), batch_size, workers, seed)
    if isinstance(model, str):
        session = open_session(model, Reading(), running)
    else:
        session = model if isinstance(model, Session) else session_of(model, running)
    images = session.images(data) if isinstance(data, str) else data
    names = layers_of_features(session.network, None if layers is None else tuple(layers))
    folder = None if cache is None else Path(cache)
    with rows_kept_beside(file, folder, resume=resume) as kept:
        scan = Scan(
            session.network, images, session.model.preprocess,
            batch_size=batch_size, workers=workers, progress=progress,
        )  # fmt: skip
        how = FeatureSettings(Pooling(pooling).name, flips, half)
        found = read_features(session.model, scan, names, how, cache=kept)
        record = {**session.record(), "data": images.spec, **found.to_dict()}
        if file is not None:
            write_features(file, found, record)
        if map is not None:
            from convscope.report.image_map_figure import write_image_map

            words = f"{session.title()} · {images.spec}"
            write_image_map(Path(map), found, seed=seed, about=record, subtitle=words)
    return found


def find_errors(model: str | Model | Session, data: str | ImageSet, **options: Any) -> Mistakes:
    """Find why a network is wrong, as `convscope errors` does: confusions, maps, labels, pairs.

    `convscope.errors(...)` is the same.

    Args:
        model: a MODEL of the command line, or an opened model.
        data: labelled images: DATA of the command line, or an opened set.
        options: those of the verb (`layers`, `layer`, `against`, `draws`, `shown`), and `out`,
            `resume`, `progress`, `device`, `batch_size`, `workers`, `seed`.

    Returns:
        What was found: `confused` pairs of classes, `telling` maps, `doubts` about labels, `pairs`
        of images.

    Raises:
        BadModel, BadData, BadOption: what was given cannot be opened, or does not fit.

    Source:
        Northcutt, Jiang & Chuang 2021, "Confident learning", JAIR 70.

    Example:
        >>> found = convscope.find_errors("run:runs/demo/zfnet", "scenes:val")
        >>> [doubt.name for doubt in found.doubts[:10]]
    """
    from convscope.experiments.mistakes.result import Mistakes
    from convscope.experiments.mistakes.study import ErrorsStudy

    found = as_function(ErrorsStudy)(model, data, **options)
    assert isinstance(found, Mistakes)
    return found
