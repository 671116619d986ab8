"""An image in whatever form: the same samples, or a refusal that names what is not known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.errors import BadImage
from convscope.images.files import read_picture
from convscope.images.given import decoded, is_preprocessed
from convscope.images.raster import RGB, Form

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
GREY = Form(1)


def samples(given: object, form: Form = RGB) -> np.ndarray:
    return np.asarray(decoded(given, form).image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        PIXELS[None],
        PIXELS.astype(">u1"),
        np.asfortranarray(PIXELS),
        torch.from_numpy(PIXELS.copy()),
        torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)[None],
        Image.fromarray(PIXELS),
    ],
)
def test_bytes_are_pixels_whichever_way_they_lie(given: object) -> None:
    found = samples(given)
    assert found.dtype == np.uint8 and np.array_equal(found, PIXELS)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_within_0_and_1_are_black_to_white(kind: type) -> None:
    given = (PIXELS / 255).astype(kind)
    np.testing.assert_allclose(samples(given), given.astype(np.float32), atol=1e-7)


def test_a_mask_is_black_and_white_and_a_grey_array_is_repeated() -> None:
    mask = PIXELS[..., 0] > 100
    assert np.array_equal(samples(mask), np.repeat(mask[..., None] * np.uint8(255), 3, 2))
    assert np.array_equal(samples(PIXELS[..., :1], GREY), PIXELS[..., :1])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (PIXELS.astype(np.float32), "float32, .*its range is not known.*range=\\(LO, HI\\)"),
        (PIXELS / 255 - 0.5, "float64, -0.*its range is not known"),
        (PIXELS.astype(np.uint16), "uint16, .*its range is not known"),
        (PIXELS.astype(np.int64), "int64, .*its range is not known"),
        (torch.from_numpy(PIXELS.astype(np.int32)), "int32, .*its range is not known"),
        (np.full((6, 5, 3), np.nan), "nan to nan: its range is not known"),
        (np.zeros((2, 6, 5, 3), np.uint8), r"is an array \(2, 6, 5, 3\)"),
        (np.zeros((6, 5, 7), np.uint8), r"is an array \(6, 5, 7\)"),
        (np.zeros((0, 5, 3), np.uint8), "holds no pixels"),
        (np.array(["a"]), "holds no pixels"),
        (17, "a int is no image"),
        (None, "a NoneType is no image"),
        ([[1, 2], [3, 4]], "a list is no image"),
    ],
)
def test_what_is_not_known_is_refused_by_name(given: object, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        decoded(given, Form())  # type: ignore[arg-type]


def test_a_stated_range_is_taken() -> None:
    given = PIXELS.astype(np.uint16) * 16
    np.testing.assert_allclose(samples(given, Form(3, (0, 4080))), PIXELS / 255, atol=1e-6)


def test_a_picture_in_memory_is_converted_as_its_file_is(tmp_path: Path) -> None:
    colours = np.dstack([PIXELS, np.arange(30, dtype=np.uint8).reshape(6, 5) * 8])
    turned = Image.Exif()
    turned[0x0112] = 6
    cases = {
        "alpha.png": Image.fromarray(colours, "RGBA"),
        "palette.png": Image.fromarray(PIXELS).quantize(8),
        "grey.png": Image.fromarray(PIXELS[..., 0]),
        "turned.png": Image.fromarray(PIXELS),
    }
    for name, picture in cases.items():
        options = {"exif": turned} if name == "turned.png" else {}
        picture.save(tmp_path / name, **options)
        with Image.open(tmp_path / name) as opened:
            found = decoded(opened, Form())
        file = read_picture(tmp_path / name)
        assert np.array_equal(np.asarray(found.image), np.asarray(file.image)), name
        assert found.name == name
    assert decoded(tmp_path / "turned.png", Form()).image.size == (6, 5)
    assert np.array_equal(samples(str(tmp_path / "grey.png")), samples(tmp_path / "grey.png"))


def test_a_picture_that_breaks_off_is_a_bad_image(tmp_path: Path) -> None:
    Image.fromarray(np.repeat(PIXELS, 50, 0)).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "half.jpg") as picture, pytest.raises(BadImage, match=r"half\.jpg"):
        decoded(picture, Form())


def test_floating_point_tensors_alone_are_preprocessed() -> None:
    assert is_preprocessed(torch.zeros(3, 4, 4)) and is_preprocessed(torch.zeros(1).half())
    assert not is_preprocessed(torch.zeros(3, 4, 4, dtype=torch.uint8))
    assert not is_preprocessed(np.zeros(3)) and not is_preprocessed("dog.jpg")
