"""Sheets: pictures of many units in one image file.

Functions here go from numbers to pixels and from pixels to WebP bytes; they know no model and no
folder.

A *crop* is what a picture shows of a unit: its receptive field, as far as it lies in the image. A
*tile* is a crop at the size that is stored (at most 96 pixels), a *cell* the square place of a tile
on a sheet. Fields smaller than 32 pixels are enlarged by a whole factor, pixel by pixel, so that
single pixels stay visible. What lies outside field or image, and every empty place, is mid-grey.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from convscope.errors import BadInput
from convscope.geometry.box import Box
from convscope.images.pictures import GREY, grey_scaled, shown_box
from convscope.methods.spotlight import lit, spotlight

__all__ = [
    "MAPS_PER_SHEET",
    "cell_box",
    "cell_size",
    "encode_sheet",
    "filter_sheet",
    "lit_tile",
    "patch_tile",
    "projection_tile",
    "rank_sheet",
    "shown_window",
    "spotlight_tile",
    "tile_shape",
    "wall_sheet",
]

SMALLEST, LARGEST = 32, 96  # pixels of a cell
MAPS_PER_SHEET = 32  # rows of a rank sheet; its columns are the ranks
CLIP = 0.002  # share of a projection's values that may lie beyond the scale; see `around_grey`
WALL = 10  # a wall sheet is 10 x 10 feature maps
WALL_TILE, WALL_SIDE = 32, 3  # each a montage of 3 x 3 tiles of 32 pixels
FILTER_CELL, FILTER_COLUMNS = 64, 10

Pixels = NDArray[np.uint8]


def shown_window(field: tuple[int, int], image: tuple[int, int]) -> tuple[int, int]:
    """The size of what a picture of a unit shows, (height, width) in input pixels.

    Args:
        field: (height, width) of the unit's receptive field.
        image: (height, width) of the network's input.
    """
    shown = shown_box(Box(0, 0, *field), *image)
    return shown.height, shown.width


def tile_shape(window: tuple[int, int]) -> tuple[int, int]:
    """The size of a stored tile, (height, width): the window, reduced to fit in 96 x 96 pixels."""
    scale = min(1.0, LARGEST / max(window))
    return max(1, round(window[0] * scale)), max(1, round(window[1] * scale))


def cell_size(window: tuple[int, int]) -> int:
    """The side of the square cell that holds the tile of a window, in pixels.

    It is 32 to 96; where the tile is smaller than 32, a whole multiple of its larger side.
    """
    side = max(tile_shape(window))
    return side * _enlargement(side)


def patch_tile(patch: Tensor) -> Pixels:
    """Make the tile of an image patch.

    Shape:
        uint8 (3, h, w), a crop of a picture -> uint8 (th, tw, 3).
    """
    pixels = np.ascontiguousarray(patch.permute(1, 2, 0).numpy())
    height, width = tile_shape(pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def projection_tile(projection: Tensor) -> Pixels:
    """Make the tile of a projection.

    It is reduced first, then scaled around grey by its own values, the largest `CLIP` of them cut
    off.

    Shape:
        float32 (3, h, w), a crop of a projection that is zero outside the field
        -> uint8 (th, tw, 3).
    """
    return grey_scaled(_reduced(projection), CLIP)


def spotlight_tile(patch: Pixels, projection: Tensor) -> Pixels:
    """Make the tile of a spotlight: the patch's, lit where the projection has its energy.

    Args:
        patch: the tile of the patch.
        projection: a crop of a projection that is zero outside the field.

    Shape:
        uint8 (th, tw, 3), float32 (3, h, w) -> uint8 (th, tw, 3).
    """
    where = _reduced(projection.nan_to_num(0.0, 0.0, 0.0).abs().sum(0)[None])
    return spotlight(torch.tensor(patch)[None], where[None])[0].numpy()


def lit_tile(patch: Pixels, light: Tensor) -> Pixels:
    """Make a tile that is the patch's, as bright as is told.

    Args:
        patch: the tile of the patch.
        light: 0 to 1, of the crop that the tile shows.

    Shape:
        uint8 (th, tw, 3), float32 (1, h, w) -> uint8 (th, tw, 3).
    """
    bright = _reduced(light).clamp(0, 1)
    return lit(torch.tensor(patch)[None], bright)[0].numpy()


def _reduced(planes: Tensor) -> Tensor:
    """Planes (N, h, w) at the size of a tile."""
    height, width = tile_shape((planes.shape[1], planes.shape[2]))
    if (height, width) == planes.shape[1:]:
        return planes
    images = (Image.fromarray(np.ascontiguousarray(plane)) for plane in planes.numpy())
    reduced = (image.resize((width, height), Image.Resampling.BILINEAR) for image in images)
    return torch.from_numpy(np.stack([np.asarray(image) for image in reduced]))


def rank_sheet(tiles: Pixels) -> Image.Image:
    """Put tiles on a sheet with a row per feature map and a column per rank.

    Shape:
        (M, K, th, tw, 3), M at most 32.
    """
    maps, ranks, height, width = tiles.shape[:4]
    side = max(height, width)
    factor = _enlargement(side)
    cells = np.full((maps, ranks, side, side, 3), GREY, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    cells[:, :, top : top + height, left : left + width] = tiles
    cells = cells.repeat(factor, axis=2).repeat(factor, axis=3)
    return _grid(cells)


def cell_box(channel: int, rank: int, cell: int) -> tuple[int, int, int, int]:
    """Where a unit's cell lies on its rank sheet: (left, upper, right, lower), as Pillow counts.

    Args:
        channel: the feature map.
        rank: the unit's place among the strongest of the map, from 0.
        cell: the side of a cell in pixels.
    """
    row = channel % MAPS_PER_SHEET
    return rank * cell, row * cell, (rank + 1) * cell, (row + 1) * cell


def wall_sheet(tiles: Pixels) -> Image.Image:
    """Put tiles on a wall: 10 x 10 cells of 96 pixels, each a feature map's ranks 0 to 8 in 3 x 3.

    Shape:
        (M, K, th, tw, 3), M at most 100.
    """
    maps, ranks = tiles.shape[:2]
    montages = np.full((WALL * WALL, WALL_SIDE**2, WALL_TILE, WALL_TILE, 3), GREY, np.uint8)
    for m in range(maps):
        for k in range(min(ranks, WALL_SIDE**2)):
            montages[m, k] = _thumbnail(tiles[m, k])
    cells = montages.reshape(WALL * WALL, WALL_SIDE, WALL_SIDE, WALL_TILE, WALL_TILE, 3)
    side = WALL_SIDE * WALL_TILE
    cells = cells.transpose(0, 1, 3, 2, 4, 5).reshape(WALL, WALL, side, side, 3)
    return _grid(cells[: math.ceil(maps / WALL)])


def filter_sheet(weight: Tensor) -> Image.Image:
    """Show first-layer filters as pictures, in 10 columns of 64-pixel cells.

    Each is scaled around grey by its own largest absolute value and enlarged by a whole factor.

    Raises:
        BadInput: filters that do not look at three colour planes.

    Shape:
        (C, 3, kh, kw).
    """
    if weight.ndim != 4 or weight.shape[1] != 3:
        raise BadInput(
            f"filters of shape {tuple(weight.shape)} cannot be shown as pictures; "
            f"only those on three colour planes can"
        )
    rows = math.ceil(weight.shape[0] / FILTER_COLUMNS)
    cells = np.full((rows, FILTER_COLUMNS, FILTER_CELL, FILTER_CELL, 3), GREY, np.uint8)
    for number, kernel in enumerate(weight.detach().cpu().float()):
        pixels = Image.fromarray(grey_scaled(kernel))
        factor = FILTER_CELL / max(pixels.size)
        factor = math.floor(factor) if factor >= 1 else factor
        width, height = (max(1, int(extent * factor)) for extent in pixels.size)
        enlarged = pixels.resize((width, height), Image.Resampling.NEAREST)
        top, left = (FILTER_CELL - height) // 2, (FILTER_CELL - width) // 2
        cell = cells[number // FILTER_COLUMNS, number % FILTER_COLUMNS]
        cell[top : top + height, left : left + width] = np.asarray(enlarged)
    return _grid(cells)


def encode_sheet(sheet: Image.Image, *, exact: bool, quality: int = 85, method: int = 4) -> bytes:
    """Encode a sheet as WebP; the same pixels always make the same bytes.

    Args:
        sheet: the picture.
        exact: without loss, for small fields that are enlarged pixel by pixel.
        quality: 0 to 100, of one that is not exact.
        method: how hard to try, 0 to 6, of one that is not exact.
    """
    buffer = io.BytesIO()
    if exact:
        sheet.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    else:
        sheet.save(buffer, "WEBP", quality=quality, method=method)
    return buffer.getvalue()


def is_small(window: tuple[int, int]) -> bool:
    """Whether single pixels are enlarged, so that the sheet should be stored without loss."""
    return _enlargement(max(tile_shape(window))) > 1


def _enlargement(side: int) -> int:
    return math.ceil(SMALLEST / side) if side < SMALLEST else 1


def _thumbnail(tile: Pixels) -> Pixels:
    """A tile at the size of a wall, centred in 32 x 32 pixels."""
    height, width = tile.shape[:2]
    scale = WALL_TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = max(height, width) < WALL_TILE
    resampling = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    out = np.full((WALL_TILE, WALL_TILE, 3), GREY, np.uint8)
    top, left = (WALL_TILE - size[1]) // 2, (WALL_TILE - size[0]) // 2
    resized = np.asarray(Image.fromarray(tile).resize(size, resampling))
    out[top : top + size[1], left : left + size[0]] = resized
    return out


def _grid(cells: Pixels) -> Image.Image:
    """Join cells (rows, columns, h, w, 3) to one picture."""
    rows, columns, height, width = cells.shape[:4]
    joined = cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    return Image.fromarray(np.ascontiguousarray(joined))
