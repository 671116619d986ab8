"""From pictures to numbers and back, against torchvision and against the formula by hand."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.errors import BadImage, BadOption
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess, choose_preprocess
from convscope.images.preprocess_settings import parse_shape
from convscope.images.scaling import CustomScaling, Scaling
from convscope.images.torchvision_import import import_torchvision


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def pixel(red: int, green: int, blue: int) -> Image.Image:
    return Image.new("RGB", (1, 1), (red, green, blue))


def one(scaling: str, **more: object) -> Preprocess:
    return Preprocess((3, 1, 1), Scaling(scaling), Fit.NONE, **more)


# the numbers


def test_unit_is_rgb_over_255() -> None:
    expected = torch.tensor([0.0, 0.2, 1.0]).reshape(3, 1, 1)
    torch.testing.assert_close(one("unit").tensor(pixel(0, 51, 255)), expected)


def test_paper_takes_imagenets_mean_off_bytes_and_divides_by_nothing() -> None:
    expected = torch.tensor([-123.675, 255 - 116.28, 100 - 103.53]).reshape(3, 1, 1)
    torch.testing.assert_close(one("paper").tensor(pixel(0, 255, 100)), expected)


def test_caffe_is_blue_green_red_minus_104_117_123() -> None:
    found = one("caffe").tensor(pixel(10, 20, 30))
    assert found.flatten().tolist() == [30 - 104, 20 - 117, 10 - 123]


def test_paper_takes_off_a_mean_of_three_numbers() -> None:
    found = one("paper", mean=(1, 2, 3)).tensor(pixel(10, 20, 30))
    assert found.flatten().tolist() == [9, 18, 27]


def test_paper_takes_off_a_mean_per_pixel() -> None:
    mean = torch.arange(12.0).reshape(3, 2, 2)
    preprocess = Preprocess((3, 2, 2), Scaling.PAPER, Fit.NONE, mean)
    found = preprocess.tensor(Image.new("RGB", (2, 2), (100, 100, 100)))
    assert torch.equal(found, 100 - mean)


def test_a_recipe_of_ones_own_scales_subtracts_and_divides_in_its_channel_order() -> None:
    recipe = CustomScaling(255.0, (10.0, 20.0, 30.0), (2.0, 4.0, 8.0), "BGR")
    found = one("custom", recipe=recipe).tensor(pixel(130, 60, 50))
    assert found.flatten().tolist() == [(50 - 10) / 2, (60 - 20) / 4, (130 - 30) / 8]


@pytest.mark.parametrize(
    ("width", "height"),
    [(500, 375), (375, 500), (256, 256), (341, 256), (256, 341), (257, 900), (60, 45), (1, 3)],
)
def test_imagenet_with_crop_is_torchvisions_usual_pipeline(width: int, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_torchvision()
        from torchvision import transforms
    usual = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    picture = noise(width, height)
    found = Preprocess((3, 224, 224)).tensor(picture)
    torch.testing.assert_close(found, usual(picture), rtol=0, atol=1e-6)


def test_many_pictures_give_what_each_gives_alone() -> None:
    preprocess = Preprocess((3, 32, 24), Scaling.CAFFE, Fit.STRETCH)
    pictures = [noise(50, 40, seed) for seed in range(3)]
    together = preprocess.tensors(pictures)
    assert together.shape == (3, 3, 32, 24)
    assert torch.equal(together, torch.stack([preprocess.tensor(p) for p in pictures]))


def test_an_array_of_the_inputs_size_is_taken_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found = Preprocess((3, 8, 8), Scaling.UNIT, Fit.CROP).tensors(pixels)
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(found, expected)


def test_an_array_of_another_size_is_fitted() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3), dtype=np.uint8)
    preprocess = Preprocess((3, 8, 8))
    expected = torch.stack([preprocess.tensor(Image.fromarray(p)) for p in pixels])
    assert torch.equal(preprocess.tensors(pixels), expected)


def test_no_pictures_give_no_tensors() -> None:
    assert Preprocess((3, 8, 6)).tensors([]).shape == (0, 3, 8, 6)


# the fit


def test_crop_cuts_the_centre_of_a_picture_of_the_needed_size_without_resampling() -> None:
    picture = noise(341, 256)
    found = Preprocess((3, 224, 224)).picture(picture)
    assert found.tobytes() == picture.crop((58, 16, 58 + 224, 16 + 224)).tobytes()


def test_crop_covers_an_input_that_is_not_square() -> None:
    red_below = Image.new("RGB", (400, 400), "blue")
    red_below.paste("red", (0, 200, 400, 400))
    found = np.asarray(Preprocess((3, 56, 112)).picture(red_below))  # resized to 128×128
    assert found.shape == (56, 112, 3)
    assert (found[:27] == (0, 0, 255)).all()
    assert (found[29:] == (255, 0, 0)).all()


@pytest.mark.parametrize("width", [37, 64, 200])
@pytest.mark.parametrize("height", [37, 64, 200])
def test_crop_never_reaches_outside_the_picture(width: int, height: int) -> None:
    white = Image.new("RGB", (width, height), "white")
    assert np.asarray(Preprocess((3, 40, 63)).picture(white)).min() == 255


def test_stretch_resizes_with_the_stated_filter() -> None:
    picture = noise(50, 40)
    found = Preprocess((3, 32, 24), fit=Fit.STRETCH).picture(picture)
    assert found.tobytes() == picture.resize((24, 32), Image.Resampling.BILINEAR).tobytes()


def test_stretch_leaves_a_picture_of_the_inputs_size_alone() -> None:
    picture = noise(24, 32)
    assert Preprocess((3, 32, 24), fit=Fit.STRETCH).picture(picture) is picture


def test_none_refuses_another_size_and_says_what_to_do() -> None:
    with pytest.raises(BadImage, match=r"50×40, the network takes 24×32 .* use fit crop or"):
        Preprocess((3, 32, 24), fit=Fit.NONE).picture(noise(50, 40))


def test_a_thread_of_a_picture_is_refused_before_it_is_blown_up() -> None:
    with pytest.raises(BadImage, match="too long and thin"):
        Preprocess((3, 224, 224)).picture(Image.new("RGB", (20_000, 1)))


# and back


@pytest.mark.parametrize("scaling", ["imagenet", "unit", "paper", "caffe"])
def test_every_byte_survives_the_way_there_and_back(scaling: str) -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    preprocess = Preprocess((3, 16, 16), Scaling(scaling))
    np.testing.assert_array_equal(preprocess.to_uint8(preprocess.tensors(pixels)), pixels)


def test_the_way_back_undoes_a_mean_per_pixel() -> None:
    mean = np.random.default_rng(0).uniform(90, 130, (3, 4, 4)).astype(np.float32)
    preprocess = Preprocess((3, 4, 4), Scaling.PAPER, Fit.NONE, mean)
    picture = noise(4, 4)
    np.testing.assert_array_equal(preprocess.to_uint8(preprocess.tensor(picture)), picture)


def test_the_way_back_takes_a_patch_of_another_size_and_clips() -> None:
    patch = torch.full((3, 2, 5), 1e6)
    shown = Preprocess((3, 224, 224)).to_uint8(patch)
    assert shown.shape == (2, 5, 3)
    assert (shown == 255).all()


def test_the_way_back_leaves_the_tensor_alone() -> None:
    tensor = torch.zeros(3, 2, 2, requires_grad=True)
    Preprocess((3, 2, 2)).to_uint8(tensor)
    assert torch.equal(tensor, torch.zeros(3, 2, 2))


# records and words

MEAN = np.arange(48, dtype=np.float32).reshape(3, 4, 4)
EVERY_KIND = [
    Preprocess((3, 4, 4)),
    Preprocess((3, 4, 4), Scaling.UNIT, Fit.NONE),
    Preprocess((3, 4, 4), Scaling.PAPER, Fit.STRETCH, (1, 2, 3)),
    Preprocess((3, 4, 4), Scaling.PAPER, Fit.CROP, MEAN),
    Preprocess(
        (3, 4, 4), Scaling.CUSTOM, recipe=CustomScaling(1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    ),
]


@pytest.mark.parametrize("preprocess", EVERY_KIND)
def test_a_record_goes_through_json_and_comes_back_equal(preprocess: Preprocess) -> None:
    record = json.loads(json.dumps(preprocess.to_dict()))
    again = Preprocess.from_dict(record, mean=preprocess.per_pixel_mean)
    assert again == preprocess
    assert hash(again) == hash(preprocess)
    picture = noise(4, 4)
    assert torch.equal(again.tensors([picture]), preprocess.tensors([picture]))


def test_preprocesses_that_differ_in_one_thing_are_unequal() -> None:
    assert len(set(EVERY_KIND)) == len(EVERY_KIND)
    other = MEAN.copy()
    other[0, 0, 0] += 1
    assert Preprocess((3, 4, 4), Scaling.PAPER, mean=other) != EVERY_KIND[3]


def test_a_record_that_names_a_mean_per_pixel_needs_it() -> None:
    with pytest.raises(BadOption, match="mean per pixel is missing"):
        Preprocess.from_dict(EVERY_KIND[3].to_dict())


@pytest.mark.parametrize(
    "change", [{"fit": "squeeze"}, {"scaling": "x"}, {"shape": [1, 4, 4]}, {"shape": None}]
)
def test_a_record_with_a_wrong_value_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadOption):
        Preprocess.from_dict(EVERY_KIND[0].to_dict() | change)


def test_the_mean_cannot_be_changed_behind_the_records_back() -> None:
    mean = MEAN.copy()
    preprocess = Preprocess((3, 4, 4), Scaling.PAPER, mean=mean)
    mean[:] = 0
    assert preprocess == Preprocess((3, 4, 4), Scaling.PAPER, mean=MEAN)
    with pytest.raises(ValueError, match="read-only"):
        preprocess.per_pixel_mean[:] = 0


def test_it_describes_itself_in_one_line() -> None:
    assert Preprocess((3, 224, 224)).describe() == (
        "3×224×224; auto: of that size as it is, else resized to cover 256×256, bilinear antialias,"
        " centre; imagenet: RGB 0..1 minus (0.485, 0.456, 0.406) over (0.229, 0.224, 0.225)"
    )
    assert Preprocess((3, 224, 224), fit=Fit.CROP).describe() == (
        "3×224×224; crop: resized to cover 256×256, bilinear antialias, centre;"
        " imagenet: RGB 0..1 minus (0.485, 0.456, 0.406) over (0.229, 0.224, 0.225)"
    )
    assert Preprocess((3, 8, 6), Scaling.CAFFE, Fit.STRETCH).describe() == (
        "3×8×6; stretch: resized, bilinear antialias; caffe: BGR 0..255 minus (104, 117, 123)"
    )
    assert EVERY_KIND[3].describe().endswith("paper: RGB 0..255 minus a mean per pixel")


# the words of the command line


def test_the_command_lines_words_choose_a_preprocess() -> None:
    chosen = choose_preprocess("caffe", "3x64x96", "stretch")
    assert chosen == Preprocess((3, 64, 96), Scaling.CAFFE, Fit.STRETCH)


@pytest.mark.parametrize(
    ("scaling", "shape", "fit", "words"),
    [
        ("torch", "3x4x4", "crop", "it is imagenet, unit, paper, caffe, or a file .yaml"),
        ("custom", "3x4x4", "crop", "it is imagenet"),
        ("unit", "224", "crop", "it is CxHEIGHTxWIDTH, such as 3x224x224"),
        ("imagenet", "1x28x28", "crop", "for 3 channels, the input has 1: use unit, or a FILE"),
        ("caffe", "4x8x8", "crop", "for 3 channels, the input has 4"),
        ("unit", "3x0x4", "crop", "CHANNELS×HEIGHT×WIDTH"),
        ("unit", "3x4x4", "squash", "it is auto, crop, stretch, none"),
        ("missing.yaml", "3x4x4", "crop", "missing.yaml: cannot be read"),
    ],
)
def test_other_words_are_refused_with_those_that_are_allowed(
    scaling: str, shape: str, fit: str, words: str
) -> None:
    with pytest.raises(BadOption, match=words):
        choose_preprocess(scaling, shape, fit)


def test_a_shape_is_read_in_its_usual_spellings() -> None:
    assert parse_shape("3x224x256") == parse_shape("3X224X256") == (3, 224, 256)


def test_numbers_that_do_not_belong_to_the_scaling_are_refused() -> None:
    with pytest.raises(BadOption, match="a mean belongs to scaling paper"):
        Preprocess((3, 4, 4), Scaling.IMAGENET, mean=(1, 2, 3))
    with pytest.raises(BadOption, match=r"it is 3 numbers or \(3, 4, 4\)"):
        Preprocess((3, 4, 4), Scaling.PAPER, mean=np.zeros((3, 5, 5)))
    with pytest.raises(BadOption, match="NaN"):
        Preprocess((3, 4, 4), Scaling.PAPER, mean=(1, 2, float("nan")))
    with pytest.raises(BadOption, match="unit has its own numbers"):
        Preprocess((3, 4, 4), Scaling.UNIT, recipe=CustomScaling())
    with pytest.raises(BadOption, match="custom needs a recipe"):
        Preprocess((3, 4, 4), Scaling.CUSTOM)
