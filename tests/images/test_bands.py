"""Pictures of 1, 2, 4 and 12 channels, of 16 bits and floats: the numbers the network gets.

Arrays are tiny, so that the right answer can be read by eye.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.errors import BadImage, BadOption
from convscope.images.files import decode, read_picture
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess, choose_preprocess
from convscope.images.raster import Form, Raster
from convscope.images.scaling import CustomScaling, Scaling
from images.tiffs import written_tiff

GREY = np.array([[0, 51], [102, 255]], np.uint8)  # fifths of white, and white


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def png(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG", **options)
    return stream.getvalue()


def fed(data: bytes, preprocess: Preprocess, name: str = "x") -> np.ndarray:
    """What the network gets of a file."""
    return preprocess.tensor(decode(data, name, preprocess.form).image).numpy()


def unit(channels: int, height: int = 2, width: int = 2, **options: object) -> Preprocess:
    return Preprocess((channels, height, width), Scaling.UNIT, **options)


# one channel


def test_a_grey_picture_feeds_a_network_of_one_channel() -> None:
    expected = np.array([[[0, 0.2], [0.4, 1]]], np.float32)
    assert np.array_equal(fed(png(GREY), unit(1)), expected)
    assert np.array_equal(fed(npy(GREY), unit(1)), expected)


def test_red_green_and_blue_become_grey_by_their_luma() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    grey = np.array([[[76, 150], [29, 255]]], np.float32) / np.float32(255)  # 299, 587, 114 ‰
    assert np.array_equal(fed(png(pixels), unit(1)), grey)
    assert np.array_equal(fed(npy(pixels), unit(1)), grey)


def test_grey_is_repeated_for_a_network_of_three() -> None:
    assert np.array_equal(fed(npy(GREY), unit(3)), np.array([GREY] * 3, np.float32) / 255)


# arrays: which axis the channels are


@pytest.mark.parametrize(("shape", "channels"), [((3, 4, 12), 12), ((3, 4, 2), 2), ((5, 4, 4), 4)])
def test_a_last_axis_of_as_many_as_the_network_takes_is_that_of_the_channels(
    shape: tuple[int, int, int], channels: int
) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    found = fed(npy(array), unit(channels, *shape[:2]))
    assert np.array_equal(found, np.moveaxis(array, 2, 0) / np.float32(255))


@pytest.mark.parametrize(("shape", "channels"), [((12, 3, 4), 12), ((2, 3, 4), 2), ((1, 2, 3), 1)])
def test_else_a_first_axis_is(shape: tuple[int, int, int], channels: int) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert np.array_equal(fed(npy(array), unit(channels, *shape[1:])), array / np.float32(255))


@pytest.mark.parametrize("array", [np.zeros((2, 3, 5)), np.zeros(4), np.zeros((1, 2, 3, 4))])
def test_an_array_without_such_an_axis_is_refused_with_its_shape(array: np.ndarray) -> None:
    with pytest.raises(BadImage, match=r"x\.npy: is an array \(.*\(H, W\), \(H, W, 12\) or \(12,"):
        decode(npy(array), "x.npy", Form(12, (0, 1)))


def test_an_array_of_objects_is_refused_and_nothing_in_it_runs(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    stream = io.BytesIO()
    np.save(stream, np.array([Payload()], dtype=object), allow_pickle=True)
    with pytest.raises(BadImage, match=r"x\.npy: is no array of numbers"):
        decode(stream.getvalue(), "x.npy")
    assert not (tmp_path / "ran").exists()


def test_a_cut_array_is_refused() -> None:
    with pytest.raises(BadImage, match=r"x\.npy: is no array of numbers"):
        decode(npy(np.zeros((40, 40), np.uint8))[:-7], "x.npy")


# more than 8 bits


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_a_range_says_which_samples_are_black_and_white(dtype: type) -> None:
    array = np.array([[100, 200], [300, 500]], dtype)
    expected = np.array([[[0, 0.25], [0.5, 1]]], np.float32)
    assert np.array_equal(fed(npy(array), unit(1, range=(100, 500))), expected)


def test_what_lies_outside_the_range_is_cut_off_and_said() -> None:
    found = decode(
        npy(np.array([[-2000, 400], [-300, 3000]], np.int16)), "ct", Form(1, (-1000, 400))
    )
    assert np.array_equal(np.asarray(found.image)[..., 0], np.array([[0, 1], [0.5, 1]], np.float32))
    assert found.notes == (
        "samples of -1000 to 400 taken for 0 to 1", "samples outside -1000 to 400 cut off there",
    )  # fmt: skip


def test_a_png_of_16_bits_keeps_its_high_byte_or_by_a_range_all() -> None:
    stored = png(np.array([[0, 256], [1000, 65535]], np.uint16))
    high = np.array([[[0, 1], [3, 255]]], np.float32) / np.float32(255)
    assert np.array_equal(fed(stored, unit(1)), high)
    whole = np.array([[[0, 0.256], [1, 1]]], np.float32)
    assert np.array_equal(fed(stored, unit(1, range=(0, 1000))), whole)
    assert np.array_equal(fed(stored, unit(3, range=(0, 1000))), whole.repeat(3, 0))


def test_8_bits_are_0_to_255_whatever_the_range() -> None:
    found = decode(png(GREY), "x.png", Form(1, (0, 10_000)))
    assert np.array_equal(np.asarray(found.image)[..., 0], GREY)
    assert found.notes == ("8 bits a sample: 0 to 255",)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int64])
def test_numbers_without_a_range_are_refused_with_what_they_are(dtype: type) -> None:
    array = np.array([[0, 7]], dtype)
    with pytest.raises(BadImage, match=r"x\.npy: has samples of .*here 0 to 7.*--range LO,HI"):
        decode(npy(array), "x.npy", Form(1))


def test_samples_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(BadImage, match=r"x\.npy: has samples that are NaN or infinite"):
        decode(npy(np.array([[0.5, np.nan]])), "x.npy", Form(1, (0, 1)))


def test_two_levels_are_black_and_white() -> None:
    assert np.array_equal(fed(npy(np.array([[True, False]])), unit(1, 1, 2)), [[[1, 0]]])


# many bands


def test_a_tiff_of_12_bands_gives_all_of_them() -> None:
    bands = np.arange(2 * 2 * 12, dtype=np.uint16).reshape(2, 2, 12) * 100
    found = fed(written_tiff(bands, colours=1), unit(12, range=(0, 10_000)))
    assert np.allclose(found, np.moveaxis(bands, 2, 0) / 10_000, rtol=1e-7, atol=0)


def test_a_fourth_band_counts_where_the_network_takes_four() -> None:
    bands = np.arange(2 * 2 * 4, dtype=np.uint8).reshape(2, 2, 4)
    data = written_tiff(bands)
    assert np.array_equal(fed(data, unit(4)), np.moveaxis(bands, 2, 0) / np.float32(255))
    three = decode(data, "x.tif")
    assert np.array_equal(np.asarray(three.image), bands[..., :3])
    assert three.notes == ("1 extra band left out",)


def test_alpha_is_the_fourth_or_second_channel_where_the_network_takes_so_many() -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(2, 2, 4)
    assert np.array_equal(fed(png(pixels), unit(4)), np.moveaxis(pixels, 2, 0) / np.float32(255))
    pair = pixels[..., :2].copy()
    found = decode(png(pair), "x.png", Form(2))
    assert np.array_equal(np.asarray(found.image), pair)
    assert found.notes == ("alpha taken for a channel",)


@pytest.mark.parametrize("channels", [2, 4, 12])
def test_a_picture_of_other_channels_is_refused_with_both_numbers(channels: int) -> None:
    with pytest.raises(
        BadImage, match=rf"x\.png: has 3 channels \(RGB\), and the .* {channels} ch"
    ):
        decode(png(np.zeros((2, 2, 3), np.uint8)), "x.png", Form(channels))


# fitted band by band


@pytest.mark.parametrize("fit", [Fit.CROP, Fit.STRETCH, Fit.AUTO])
def test_bands_are_fitted_as_red_green_and_blue_are(fit: Fit) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    three = Preprocess((3, 6, 6), Scaling.UNIT, fit)
    six = Preprocess((6, 6, 6), Scaling.UNIT, fit)
    expected = three.tensor(Image.fromarray(pixels))
    found = six.tensor(Raster(np.concatenate([pixels, pixels[..., ::-1]], -1)))
    assert torch.equal(found[:3], expected)
    assert torch.equal(found[3:], expected.flip(0))


def test_floats_are_fitted_without_being_rounded_to_bytes() -> None:
    samples = np.random.default_rng(0).random((8, 8, 1), np.float32)
    found = Preprocess((1, 4, 4), Scaling.UNIT, Fit.STRETCH).picture(Raster(samples))
    assert len(np.unique(np.asarray(found))) == 16
    assert abs(np.asarray(found).mean() - samples.mean()) < 0.02


# any number of means


def test_mean_and_std_are_of_each_channel() -> None:
    recipe = CustomScaling(1000.0, (100.0, 200.0), (10.0, 20.0))
    preprocess = Preprocess((2, 1, 2), Scaling.CUSTOM, recipe=recipe, range=(0, 1000))
    found = fed(npy(np.array([[[100, 220]], [[120, 200]]], np.uint16).reshape(1, 2, 2)), preprocess)
    assert np.allclose(found, [[[0, 2]], [[1, 0]]], atol=1e-5)


def test_a_mean_per_pixel_has_the_channels_of_the_input() -> None:
    mean = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    preprocess = Preprocess((1, 2, 2), Scaling.PAPER, mean=mean)
    assert np.array_equal(fed(png(GREY), preprocess), GREY[None] - mean)


def test_numbers_for_another_count_of_channels_are_refused() -> None:
    with pytest.raises(BadOption, match="for 2 channels, the input has 5"):
        Preprocess((5, 2, 2), Scaling.CUSTOM, recipe=CustomScaling(1.0, (0.1, 0.2)))


def test_a_range_and_bands_go_through_the_record() -> None:
    preprocess = Preprocess((4, 2, 2), Scaling.UNIT, range=(0, 10_000), show_bands=(4, 3, 2))
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess
    assert preprocess != Preprocess((4, 2, 2), Scaling.UNIT)
    words = "4×2×2; auto.* unit: 0..1; samples of 0 to 10000; shown: 4, 3, 2"
    assert re.fullmatch(words, preprocess.describe())
    assert "range" not in Preprocess((3, 2, 2)).to_dict()  # records of RGB are as they were


@pytest.mark.parametrize("given", ["1", "5,1", "a,b", (3, 2), "1,nan"])
def test_a_range_is_two_numbers_that_grow(given: object) -> None:
    with pytest.raises(BadOption, match="it is LO,HI"):
        choose_preprocess("unit", "1x2x2", range=given)


# shown


def test_bands_are_shown_as_they_are_chosen() -> None:
    levels = np.arange(10, 70, 10, dtype=np.uint8)
    tensor = unit(6).tensors(np.broadcast_to(levels, (1, 2, 2, 6)).copy())
    for chosen, seen in [(None, [10, 20, 30]), ("4,3,2", [40, 30, 20]), ("5", [50, 50, 50])]:
        shown = choose_preprocess("unit", "6x2x2", show_bands=chosen).to_uint8(tensor)
        assert np.array_equal(shown, np.broadcast_to(np.array(seen, np.uint8), (1, 2, 2, 3)))
        assert shown.flags.c_contiguous


@pytest.mark.parametrize(("channels", "seen"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (4, [0, 1, 2])])
def test_projections_are_shown_in_the_same_bands(channels: int, seen: list[int]) -> None:
    planes = torch.arange(float(channels))[:, None, None].expand(channels, 2, 2)
    assert torch.equal(unit(channels).rgb(planes)[:, 0, 0], torch.tensor(seen, dtype=torch.float))


def test_a_picture_is_shown_as_rgb_bytes_whatever_its_samples() -> None:
    samples = np.array([[[0, 0.5, 1, 0.25]]], np.float32)
    preprocess = choose_preprocess("unit", "4x1x1", show_bands="4,3,2")
    assert np.array_equal(preprocess.shown(Raster(samples)), [[[64, 255, 128]]])


@pytest.mark.parametrize("given", ["0,1,2", "1,2", "5,4,3", "x"])
def test_bands_that_are_not_there_are_refused(given: str) -> None:
    with pytest.raises(BadOption, match="one or three of the channels 1 to 4"):
        choose_preprocess("unit", "4x2x2", show_bands=given)


def test_a_fill_is_of_all_channels_or_one_level_each() -> None:
    preprocess = unit(4)
    assert torch.equal(preprocess.fill("51")[:, 0, 0], torch.full((4,), 51 / 255))
    levels = preprocess.fill("0,51,102,255")[:, 0, 0]
    assert torch.equal(levels, torch.tensor([0, 51, 102, 255]) / 255)
    with pytest.raises(BadOption, match="4 levels"):
        preprocess.fill("1,2,3")


# pictures that already have the input's size


def test_a_picture_of_the_inputs_size_is_used_as_it_is_unless_crop_is_asked_for() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    picture = Image.fromarray(pixels)
    auto, crop = (Preprocess((3, 64, 64), Scaling.UNIT, fit) for fit in (Fit.AUTO, Fit.CROP))
    assert np.array_equal(np.asarray(auto.picture(picture)), pixels)
    enlarged = picture.resize((73, 73), Image.Resampling.BILINEAR).crop((4, 4, 68, 68))
    assert np.array_equal(np.asarray(crop.picture(picture)), np.asarray(enlarged))
    assert auto.fit_notes(picture) == ("had the input's size: neither resized nor cropped",)
    assert crop.fit_notes(picture) == ()


def test_other_pictures_are_cropped_as_ever() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 65, 3), np.uint8))
    auto, crop = (Preprocess((3, 64, 64), Scaling.UNIT, fit) for fit in (Fit.AUTO, Fit.CROP))
    assert torch.equal(auto.tensor(picture), crop.tensor(picture))
    assert auto.fit_notes(picture) == ()


# colour profiles


def icc(text: str) -> bytes:
    """A profile that holds nothing but its description (ICC version 2)."""
    name = text.encode() + b"\0"
    desc = b"desc" + bytes(4) + len(name).to_bytes(4, "big") + name
    tag = b"desc" + (144).to_bytes(4, "big") + len(desc).to_bytes(4, "big")
    return bytes(128) + (1).to_bytes(4, "big") + tag + desc


def test_a_colour_profile_is_named_and_not_applied() -> None:
    pixels = np.full((2, 2, 3), 200, np.uint8)
    found = decode(png(pixels, icc_profile=icc("Display P3")), "x.png")
    assert found.notes == ("colour profile 'Display P3' not applied",)
    assert np.array_equal(np.asarray(found.image), pixels)
    assert decode(png(pixels, icc_profile=icc("sRGB IEC61966-2.1")), "x.png").notes == ()


@pytest.mark.parametrize("profile", [b"", b"x" * 200, icc("A")[:140], bytes(128) + b"\xff" * 90])
def test_a_damaged_profile_harms_nothing(profile: bytes) -> None:
    decode(png(np.zeros((2, 2, 3), np.uint8), icc_profile=profile), "x.png")


# videos


def test_a_video_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "clip.MP4").write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(BadImage, match=r"clip\.MP4: is a video: .*ffmpeg -i clip\.MP4 frames/%06d"):
        read_picture(tmp_path / "clip.MP4")
