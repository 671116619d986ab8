"""The TIFF reader against a naive writer, and against Pillow's for the compressions."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from convscope.errors import BadImage
from convscope.images.files import PIXEL_LIMIT, decode
from convscope.images.raster import Form
from convscope.images.tiff import Unsupported, read_tiff
from images.tiffs import written_tiff

TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "f4", "f8"]


def noise(dtype: str, bands: int = 5) -> np.ndarray:
    generator = np.random.default_rng(0)
    if dtype.startswith("f"):
        return generator.normal(size=(7, 10, bands)).astype(dtype)
    info = np.iinfo(dtype)
    return generator.integers(info.min, info.max, (7, 10, bands), dtype=dtype, endpoint=True)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", TYPES)
def test_samples_come_back_as_they_were_written(dtype: str, order: str) -> None:
    planes = noise(dtype)
    found = read_tiff(written_tiff(planes, order=order), PIXEL_LIMIT)
    assert found.samples.dtype == planes.dtype
    assert np.array_equal(found.samples, planes)
    assert (found.orientation, found.more) == (1, False)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("form", [{}, {"rows": 3}, {"tile": (4, 4)}, {"tile": (16, 16)}])
def test_strips_and_tiles_are_put_together(form: dict, deflate: bool, apart: bool) -> None:
    planes = noise("u2")
    predicted = deflate
    data = written_tiff(planes, apart=apart, deflate=deflate, predicted=predicted, **form)
    assert np.array_equal(read_tiff(data, PIXEL_LIMIT).samples, planes)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("flat", [False, True])
def test_compressions_are_undone_as_pillow_made_them(compression: str, flat: bool) -> None:
    pixels = np.random.default_rng(1).integers(0, 4 if flat else 256, (90, 131, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF", compression=compression)
    assert np.array_equal(read_tiff(stream.getvalue(), PIXEL_LIMIT).samples, pixels)


def test_the_floating_point_predictor_is_undone() -> None:
    planes = noise("f4", bands=2)
    big = planes.astype(">f4").view(np.uint8).reshape(7, 20, 4)  # bytes of each row's samples
    rows = big.transpose(0, 2, 1).reshape(7, -1, 2)  # plane by plane; differences 2 bytes apart
    coded = np.concatenate([rows[:, :1], np.diff(rows, axis=1)], axis=1)
    data = written_tiff(planes)
    data = data.replace(planes.tobytes(), coded.tobytes())
    place = data.index((317).to_bytes(2, "little") + b"\4\0")
    data = data[: place + 8] + b"\3" + data[place + 9 :]
    assert np.array_equal(read_tiff(data, PIXEL_LIMIT).samples, planes)


def test_where_zero_is_white_it_is_turned_round() -> None:
    planes = np.array([[[0], [255], [55]]], np.uint8)
    found = read_tiff(written_tiff(planes, colours=0), PIXEL_LIMIT)
    assert np.array_equal(found.samples[..., 0], [[255, 0, 200]])


@pytest.mark.parametrize("cut", [3, 9, 40, -1])
def test_a_cut_file_is_damaged_and_says_so(cut: int) -> None:
    data = written_tiff(noise("f4"))[:cut]
    with pytest.raises(BadImage, match=r"x\.tif: "):
        decode(data, "x.tif", Form(5, (0, 1)))


def test_what_inflates_to_more_than_it_may_is_not_inflated() -> None:
    bomb = np.zeros((2000, 2000, 1), np.float64)
    data = written_tiff(bomb, colours=1, deflate=True)
    assert len(data) < 100_000
    huge = data.replace((2000).to_bytes(4, "little"), (60_000).to_bytes(4, "little"))
    with pytest.raises((Unsupported, ValueError)):
        read_tiff(huge, PIXEL_LIMIT)
    with pytest.raises(BadImage):
        decode(huge, "x.tif", Form(1, (0, 1)))


def test_random_bytes_after_a_good_header_raise_only_bad_image() -> None:
    good = bytearray(written_tiff(noise("u2"), deflate=True))
    generator = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(good)
        for place in generator.integers(0, len(data), 3):
            data[place] = generator.integers(0, 256)
        try:
            decode(bytes(data), "x.tif", Form(5, (0, 1)))
        except BadImage:
            continue
