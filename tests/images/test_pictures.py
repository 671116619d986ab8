"""What a picture of a unit shows, and projections around grey."""

from __future__ import annotations

import pytest
import torch

from convscope.geometry.box import Box
from convscope.images.pictures import GREY, around_grey, crop, grey_scaled, shown_box

PICTURE = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4)


def test_zero_is_grey_and_the_largest_magnitude_is_black_or_white():
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0])
    assert around_grey(values).tolist() == [1, 64, 128, 192]  # 128 + 127 * (-1, -0.5, 0, 0.5)


def test_a_picture_of_nothing_and_what_is_not_finite_are_grey():
    assert around_grey(torch.zeros(4)).tolist() == [GREY] * 4
    assert around_grey(torch.tensor([torch.nan, torch.inf, 1.0])).tolist() == [GREY, GREY, 255]


def test_a_clipped_share_of_strong_values_no_longer_hides_the_rest():
    values = torch.tensor([100.0] + [1.0] * 9)
    assert around_grey(values).tolist() == [255] + [129] * 9
    assert around_grey(values, clip=0.1).tolist() == [255] * 10


def test_clipping_never_cuts_off_all_there_is():
    values = torch.tensor([3.0] + [0.0] * 9)
    assert around_grey(values, clip=0.5).tolist() == [255] + [GREY] * 9


def test_a_projection_becomes_rows_of_rgb_pixels():
    projection = torch.zeros(3, 2, 5)
    projection[0, 1, 4] = -1.0
    pixels = grey_scaled(projection)
    assert pixels.shape == (2, 5, 3)
    assert pixels[1, 4].tolist() == [1, GREY, GREY]


def test_a_crop_past_the_edge_is_padded_and_not_shifted():
    seen = crop(PICTURE, Box(-1, 2, 2, 5), fill=99)
    assert seen[0].tolist() == [[99, 99, 99], [2, 3, 99], [6, 7, 99]]


def test_a_crop_outside_the_picture_is_all_fill():
    assert crop(PICTURE, Box(9, 9, 11, 11), fill=7).unique().tolist() == [7]


def test_what_lies_in_the_box_but_outside_the_field_is_fill():
    seen = crop(PICTURE, Box(0, 0, 2, 4), fill=99, within=Box(-3, 1, 1, 3))
    assert seen[0].tolist() == [[99, 1, 2, 99], [99] * 4]


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (Box(-2, 3, 5, 10), Box(-2, 3, 5, 10)),
        (Box(-30, 3, 70, 10), Box(0, 3, 40, 10)),
        (Box(-30, -30, 70, 70), Box(0, 0, 40, 50)),
    ],
)
def test_a_field_larger_than_the_image_shows_the_image(field, shown):
    assert shown_box(field, 40, 50) == shown
