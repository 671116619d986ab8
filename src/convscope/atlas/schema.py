"""What the tables of an atlas must look like: types, shapes and ranges, checked when it is opened.

A table that passes names only images, maps and positions that there are, in the order that an
atlas has them, so that no page or figure can show a number that is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from convscope.atlas.manifest import ImageRecord, LayerRecord, Manifest

__all__ = ["check_columns", "check_image_list", "check_table"]

Column = tuple[torch.dtype, tuple[int, ...]]
"""The type of a column's numbers, and its shape."""


def check_columns(found: Mapping[str, Tensor], wanted: Mapping[str, Column]) -> None:
    """Compare types and shapes.

    Raises:
        ValueError: a column is missing, or has another type or shape.
    """
    for name, (dtype, shape) in wanted.items():
        column = found.get(name)
        if column is None:
            raise ValueError(f"{name} is missing")
        if column.dtype is not dtype or tuple(column.shape) != shape:
            there = f"{column.dtype} {tuple(column.shape)}".removeprefix("torch.")
            wants = f"{dtype} {shape}".removeprefix("torch.")
            raise ValueError(f"{name} is {there}, not {wants}")


def check_image_list(manifest: Manifest, images: Sequence[ImageRecord]) -> None:
    """Compare the list of images with the manifest.

    Raises:
        ValueError: there are more or fewer.
    """
    count = manifest.data.count
    if len(images) != count:
        raise ValueError(f"it lists {len(images)} images, the manifest counts {count}")


def check_table(
    table: Mapping[str, Tensor], record: LayerRecord, manifest: Manifest, name: str
) -> None:
    """Check a layer's strongest places.

    Args:
        table: the columns of a `LayerTable`, as they were read.
        record: what the manifest says of the layer.
        manifest: of the atlas.
        name: of the table, for messages.

    Raises:
        ValueError: a column has another type or shape, or a number that there cannot be.
    """
    channels, top = record.channels, manifest.top
    place: Column = (torch.int64, (channels, top))
    wanted = {
        "value": (torch.float32, (channels, top)),
        "image": place,
        "row": place,
        "column": place,
        "box": (torch.int64, (channels, top, 4)),
        "active": (torch.int64, (channels,)),
        "non_finite": (torch.int64, (channels,)),
    }
    try:
        check_columns(table, wanted)
        _check_places(table, record, manifest.data.count)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _check_places(table: Mapping[str, Tensor], record: LayerRecord, images: int) -> None:
    empty = table["image"] == -1
    bounds = (
        ("image", table["image"], images),
        ("row", table["row"], record.grid[0]),
        ("column", table["column"], record.grid[1]),
    )
    for field, column, end in bounds:
        if not bool(((column >= 0) & (column < end))[~empty].all()):
            raise ValueError(f"{field} holds numbers beyond 0 to {end - 1}")
        if not bool((column[empty] == -1).all()):
            raise ValueError(f"{field} holds a place without an image")
    value = table["value"]
    if not bool(value[~empty].isfinite().all()) or not bool((value[empty] == -torch.inf).all()):
        raise ValueError("value holds NaN or infinity, or a value without an image")
    if not bool((value[:, 1:] <= value[:, :-1]).all()):
        raise ValueError("value is not in order, the largest first")
    first, last = table["box"][..., :2], table["box"][..., 2:]
    sides = torch.tensor(record.field.size)
    if not bool((last - first == sides)[~empty].all()) or bool(table["box"][empty].any()):
        raise ValueError("box holds fields of another size")
    for field, column, most in (
        ("active", table["active"], images),
        ("non_finite", table["non_finite"], 2**62),
    ):
        if not bool(((column >= 0) & (column <= most)).all()):
            raise ValueError(f"{field} holds numbers beyond 0 to {most}")
