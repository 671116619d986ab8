"""Colours for what covers part of an image, in the numbers that the network gets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope.errors import BadOption
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling

SHAPE = (3, 2, 5)


def test_grey_is_a_grey_picture_that_went_through_the_preprocessing():
    preprocess = Preprocess(SHAPE, Scaling.IMAGENET)
    red = (128 / 255 - 0.485) / 0.229
    fill = preprocess.fill("grey")
    assert fill.shape == SHAPE
    torch.testing.assert_close(fill[0], torch.full((2, 5), red))
    assert (preprocess.to_uint8(fill) == 128).all()


def test_grey_respects_a_mean_per_pixel():
    mean = np.arange(30, dtype=np.float32).reshape(SHAPE)
    fill = Preprocess(SHAPE, Scaling.PAPER, mean=mean).fill("grey")
    assert fill.tolist() == (128 - mean).tolist()


def test_mean_is_zero_after_preprocessing():
    assert not Preprocess(SHAPE, Scaling.PAPER).fill("mean").any()


@pytest.mark.parametrize("text", ["255,0,10", " 255, 0, 10 "])
def test_colours_are_rgb_also_where_the_network_takes_bgr(text):
    preprocess = Preprocess(SHAPE, Scaling.CAFFE)
    fill = preprocess.fill(text)
    assert fill[:, 0, 0].tolist() == [10 - 104, 0 - 117, 255 - 123]
    assert preprocess.to_uint8(fill)[0, 0].tolist() == [255, 0, 10]


def test_black_white_and_levels_have_words_of_their_own():
    preprocess = Preprocess(SHAPE, Scaling.UNIT)
    assert preprocess.fill("black").unique().tolist() == [0]
    assert preprocess.fill("white").unique().tolist() == [1]
    assert torch.equal(preprocess.fill("51"), preprocess.fill("51,51,51"))


@pytest.mark.parametrize("text", ["", "pink", "1,2", "0,0,256", "-1,0,0", "1.5,0,0", "1,2,3,4"])
def test_other_fills_are_refused_with_what_is_allowed(text):
    with pytest.raises(BadOption, match="grey, black, white, mean"):
        Preprocess(SHAPE).fill(text)


def test_mean_is_refused_where_no_mean_is_taken_off():
    with pytest.raises(BadOption, match="unit takes no mean off"):
        Preprocess(SHAPE, Scaling.UNIT).fill("mean")


def test_planes_in_the_networks_order_come_back_as_rgb():
    planes = torch.arange(3.0)[:, None, None].expand(SHAPE)
    assert Preprocess(SHAPE, Scaling.CAFFE).rgb(planes)[:, 0, 0].tolist() == [2, 1, 0]
    assert Preprocess(SHAPE).rgb(planes)[:, 0, 0].tolist() == [0, 1, 2]
