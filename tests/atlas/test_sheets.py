"""Tiles and sheets, checked pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.atlas import sheets
from convscope.errors import BadInput
from convscope.images.pictures import GREY


@pytest.mark.parametrize(
    ("field", "image", "window", "tile", "cell"),
    [
        ((1, 1), (24, 24), (1, 1), (1, 1), 32),
        ((7, 7), (224, 224), (7, 7), (7, 7), 35),
        ((31, 31), (224, 224), (31, 31), (31, 31), 62),
        ((32, 32), (224, 224), (32, 32), (32, 32), 32),
        ((75, 75), (224, 224), (75, 75), (75, 75), 75),
        ((139, 139), (224, 224), (139, 139), (96, 96), 96),
        ((483, 483), (224, 224), (224, 224), (96, 96), 96),
        ((3, 15), (224, 224), (3, 15), (3, 15), 45),
        ((300, 50), (224, 224), (224, 50), (96, 21), 96),
    ],
)
def test_a_cell_is_32_to_96_pixels_and_small_fields_grow_by_a_whole_factor(
    field, image, window, tile, cell
):
    assert sheets.shown_window(field, image) == window
    assert sheets.tile_shape(window) == tile
    assert sheets.cell_size(window) == cell


def test_a_projection_is_scaled_around_grey_by_its_own_largest_value():
    values = torch.tensor([-2.0, 0.0, 1.0, 2.0]).expand(3, 1, 4)
    tile = sheets.projection_tile(values)
    assert tile[0, :, 0].tolist() == [1, 128, 192, 255]
    assert (sheets.projection_tile(torch.zeros(3, 2, 2)) == GREY).all()
    broken = torch.tensor([float("nan"), 1.0]).expand(3, 1, 2)
    assert sheets.projection_tile(broken)[0, :, 0].tolist() == [128, 255]


def test_large_crops_are_reduced_to_fit_and_keep_their_mean():
    generator = torch.Generator().manual_seed(0)
    patch = torch.randint(0, 256, (3, 140, 100), dtype=torch.uint8, generator=generator)
    tile = sheets.patch_tile(patch)
    assert tile.shape == (96, 69, 3)
    assert abs(float(tile.mean()) - float(patch.float().mean())) < 1


def test_large_projections_are_reduced_before_they_are_scaled():
    values = torch.zeros(3, 192, 192)
    values[:, ::2, ::2] = 4.0  # fine checks average to 1, which then is the largest value
    values[:, 0, 0] = 0.0
    assert (
        sheets.projection_tile(values)[40:60, 40:60].min() >= 230
    )  # 160 if they were scaled first


def test_a_rank_sheet_holds_maps_in_rows_and_ranks_in_columns():
    tiles = np.zeros((3, 2, 7, 7, 3), np.uint8)
    tiles[2, 1, 3, 4] = 255
    sheet = sheets.rank_sheet(tiles)
    assert sheet.size == (2 * 35, 3 * 35)
    cell = np.asarray(sheet.crop(sheets.cell_box(2, 1, 35)))
    assert (cell[15:20, 20:25] == 255).all()
    assert int((cell == 255).sum()) == 5 * 5 * 3
    assert sheets.cell_box(34, 1, 35) == sheets.cell_box(2, 1, 35)


def test_a_tile_that_is_not_square_is_centred_in_its_cell_on_grey():
    tiles = np.zeros((1, 1, 2, 32, 3), np.uint8)
    cell = np.asarray(sheets.rank_sheet(tiles))
    assert cell.shape == (32, 32, 3)
    assert (cell[15:17] == 0).all()
    assert (cell[:15] == GREY).all()
    assert (cell[17:] == GREY).all()


def test_a_wall_cell_is_three_by_three_of_the_first_nine_ranks():
    tiles = np.zeros((12, 4, 32, 32, 3), np.uint8)
    tiles[...] = (10 * np.arange(12)[:, None] + np.arange(4)).astype(np.uint8)[
        ..., None, None, None
    ]
    wall = np.asarray(sheets.wall_sheet(tiles))
    assert wall.shape == (2 * 96, 10 * 96, 3)
    assert (wall[96:128, 96:128] == 110).all()  # map 11, rank 0
    assert (wall[128:160, 96:128] == 113).all()  # map 11, rank 3 begins the second row
    assert (wall[160:192, 96:192] == GREY).all()  # ranks that are not kept
    assert (wall[96:, 192:] == GREY).all()  # maps that do not exist


def test_filters_are_ten_to_a_row_each_scaled_around_grey():
    weight = torch.zeros(11, 3, 7, 7)
    weight[10, 0, 0, 0] = -0.01
    sheet = np.asarray(sheets.filter_sheet(weight))
    assert sheet.shape == (128, 640, 3)
    assert sheet[64, 0].tolist() == [1, GREY, GREY]
    assert sheet[64 + 8, 8].tolist() == [1, GREY, GREY]
    assert (sheet[64 + 9 :, :] == GREY).all()
    with pytest.raises(BadInput, match="three colour planes"):
        sheets.filter_sheet(torch.zeros(2, 4, 3, 3))


def test_small_fields_are_stored_without_loss_and_bytes_repeat():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = sheets.encode_sheet(Image.fromarray(noise), exact=True)
    assert content == sheets.encode_sheet(Image.fromarray(noise), exact=True)
    with Image.open(io.BytesIO(content)) as image:
        assert (np.asarray(image.convert("RGB")) == noise).all()
    assert sheets.is_small((31, 31))
    assert not sheets.is_small((32, 32))
