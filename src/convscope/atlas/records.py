"""What an atlas records of its model, its images, its layers and their tables."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from convscope.atlas.manifest import FieldRecord, ImageRecord, ModelRecord, PreprocessRecord
from convscope.atlas.tables import LayerTable
from convscope.errors import BadImage
from convscope.geometry.window import Field
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.models.weights import module_sha256
from convscope.network.network import Network
from convscope.scan.topk import TopK

if TYPE_CHECKING:
    from convscope.models.zoo import Model

__all__ = [
    "field_record",
    "image_records",
    "make_layer_table",
    "model_record",
    "preprocess_record",
    "slugs",
    "weights_of",
]


def model_record(model: Model, network: Network) -> ModelRecord:
    """What an atlas records of its model.

    Args:
        model: as it was opened.
        network: the same, as it was read.
    """
    return ModelRecord(
        spec=model.spec,
        weights_sha256=weights_of(model),
        random_weights=model.random_weights,
        parameters=sum(p.numel() for p in model.module.parameters()),
        classes=model.classes,
        output=_chosen_output(network),
        title=model.title,
        weights_key=model.weights_key,
    )


def _chosen_output(network: Network) -> str | None:
    """The name of the output that is the network's answer; None where there is but one."""
    if len(network.outputs) < 2:
        return None
    return next(name for name, layer in network.outputs.items() if layer == network.output)


def weights_of(model: Model) -> str:
    """SHA-256 of a model's weights, hex: of their file, or of the tensors where there is none."""
    return model.weights_sha256 or module_sha256(model.module)


def preprocess_record(preprocess: Preprocess) -> PreprocessRecord:
    """What an atlas records of how images become the network's input."""
    settings = preprocess.to_dict()
    mean = preprocess.per_pixel_mean
    if mean is not None:  # the record only says that there is one
        settings["mean_sha256"] = hashlib.sha256(mean.tobytes()).hexdigest()
    return PreprocessRecord(text=preprocess.describe(), settings=settings)


def field_record(field: Field) -> FieldRecord:
    """What an atlas records of a layer's receptive field."""
    rows, columns = field.rows, field.columns
    return FieldRecord(
        size=field.size,
        stride=(float(rows.stride), float(columns.stride)),
        start=(float(rows.start), float(columns.start)),
        status=field.status.value,
    )


def make_layer_table(strongest: TopK, field: Field) -> LayerTable:
    """A layer's strongest places with the receptive field of each.

    Args:
        strongest: the places.
        field: of the layer.

    Returns:
        The same places with their boxes in input pixels; (0, 0, 0, 0) where a place is empty.
    """
    top, left = field.rows.first(strongest.row), field.columns.first(strongest.column)
    box = torch.stack([top, left, top + field.rows.size, left + field.columns.size], dim=-1)
    box = box.masked_fill((strongest.image < 0)[..., None], 0)  # (C, K, 4)
    return LayerTable(
        strongest.value, strongest.image, strongest.row, strongest.column, box,
        strongest.active, strongest.non_finite,
    )  # fmt: skip


def image_records(images: ImageSet) -> list[ImageRecord]:
    """Every image's name, digest and class."""
    return [_image(images, index) for index in range(len(images))]


def _image(images: ImageSet, index: int) -> ImageRecord:
    label, classes = images.label(index), images.classes
    known = label is not None and classes is not None and 0 <= label < len(classes)
    try:
        digest = images.known_digest(index) if images.streamed else images.digest(index)
    except BadImage:  # it cannot be read; the manifest says why
        digest = None
    shown = None
    if images.multi_label:
        shown = tuple(number for number, there in enumerate(images.targets(index)) if there == 1)
    return ImageRecord(
        name=images.name(index),
        sha256=digest,
        label=label,
        class_name=classes[label] if known else None,  # type: ignore[index]
        labels=shown,
        class_names=None if shown is None or classes is None else tuple(classes[i] for i in shown),
    )


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Folder names for layers, safe and different on every file system.

    Args:
        names: of the layers.

    Returns:
        Layer -> folder name.
    """
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".") or "layer"
        slug, number = base, 2
        while slug.lower() in taken:
            slug, number = f"{base}~{number}", number + 1
        taken.add(slug.lower())
        folders[name] = slug
    return folders
