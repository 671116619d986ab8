"""Boxes on a grid, and what they cover."""

from __future__ import annotations

import pytest
import torch

from convscope.errors import BadOption
from convscope.geometry.box import Box
from convscope.methods.occluder import Occluder, covered, fill_planes


def test_occluders_start_at_zero_and_step_while_they_start_inside():
    rows, columns = Occluder((3, 2), (2, 4)).grid(5, 9)
    assert rows.tolist() == [0, 2, 4]
    assert columns.tolist() == [0, 4, 8]


def test_an_occluder_that_crosses_the_edge_is_cut_by_it():
    occluder = Occluder(3, 2)
    assert occluder.box(1, 2) == Box(2, 4, 5, 7)
    assert occluder.boxes(4, 5) == [
        Box(0, 0, 3, 3), Box(0, 2, 3, 5), Box(0, 4, 3, 5),
        Box(2, 0, 4, 3), Box(2, 2, 4, 5), Box(2, 4, 4, 5),
    ]  # fmt: skip


def test_an_occluder_larger_than_the_image_covers_all_of_it():
    assert Occluder(100, 30).boxes(20, 25) == [Box(0, 0, 20, 25)]


def test_the_default_for_224_is_32_by_8():
    assert Occluder.fitting(224, 224) == Occluder(32, 8)


def test_the_default_follows_each_axis_and_never_falls_to_zero():
    assert Occluder.fitting(224, 56) == Occluder((32, 8), (8, 2))
    assert Occluder.fitting(4, 4) == Occluder(1, 1)


def test_what_is_given_is_kept_and_the_stride_follows_the_size():
    assert Occluder.fitting(224, 224, size=64) == Occluder(64, 16)
    assert Occluder.fitting(224, 224, stride=5) == Occluder(32, 5)


@pytest.mark.parametrize(("size", "stride"), [(0, 1), (1, 0), ((4, -1), 1), ((1, 2, 3), 1)])
def test_boxes_and_steps_below_one_pixel_are_refused(size, stride):
    with pytest.raises(BadOption, match="1 or more pixels"):
        Occluder(size, stride)


def test_an_occluder_says_what_it_is():
    assert str(Occluder(32, 8)) == "32×32 px, stride 8"
    assert str(Occluder((4, 6), (1, 2))) == "4×6 px, stride 1×2"


def test_each_image_has_its_own_box_covered_and_the_original_is_untouched():
    image = torch.zeros(1, 2, 3)
    images = covered(image, [Box(0, 0, 1, 1), Box(-1, 1, 2, 9)], 5.0)
    assert images[:, 0].tolist() == [[[5, 0, 0], [0, 0, 0]], [[0, 5, 5], [0, 5, 5]]]
    assert not image.any()


def test_a_fill_is_a_number_a_colour_or_planes_that_keep_their_place():
    image = torch.zeros(3, 2, 2)
    planes = torch.arange(12.0).reshape(3, 2, 2)
    box = Box(1, 1, 2, 2)
    assert covered(image, [box], 2)[0, :, 1, 1].tolist() == [2, 2, 2]
    assert covered(image, [box], torch.tensor([1.0, 2.0, 3.0]))[0, :, 1, 1].tolist() == [1, 2, 3]
    assert covered(image, [box], planes)[0, :, 1, 1].tolist() == planes[:, 1, 1].tolist()


@pytest.mark.parametrize("fill", [torch.zeros(4), torch.zeros(3, 2), float("nan")])
def test_fills_of_another_shape_or_nan_are_refused(fill):
    with pytest.raises(BadOption, match="3x2x2"):
        fill_planes(fill, torch.zeros(3, 2, 2))
