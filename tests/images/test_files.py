"""What every kind of image file becomes, and which ones are refused in which words."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from convscope.errors import BadImage
from convscope.images.files import PIXEL_LIMIT, decode, read_picture


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def colours(data: bytes) -> list[list[list[int]]]:
    return np.asarray(decode(data, "x").image).tolist()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def sixteen_bit_png(samples: np.ndarray) -> bytes:
    """A PNG with 16 bits a sample, of (H, W, 3)."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body


def corners() -> Image.Image:
    """2 rows, 3 columns, all six pixels different."""
    return Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10)


def test_plain_rgb_comes_back_as_it_is_and_without_a_note() -> None:
    decoded = decode(saved(corners()), "x.png")
    assert decoded.notes == ()
    assert decoded.image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(decoded.image), np.asarray(corners()))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied_as_pillows_own_function_does(
    kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = saved(corners(), kind, exif=exif, **lossless)
    decoded = decode(data, "x")
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    np.testing.assert_array_equal(np.asarray(decoded.image), np.asarray(expected))
    noted = () if orientation == 1 else (f"EXIF orientation {orientation} applied",)
    assert decoded.notes == noted


def test_orientation_6_turns_the_stored_picture_clockwise() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.array([[[1] * 3, [2] * 3], [[3] * 3, [4] * 3]], np.uint8))
    assert np.asarray(decode(saved(stored, exif=exif), "x").image)[..., 0].tolist() == [
        [3, 1],
        [4, 2],
    ]


def test_grey_is_repeated_in_the_three_channels() -> None:
    data = saved(Image.new("L", (1, 1), 77))
    assert colours(data) == [[[77, 77, 77]]]
    assert decode(data, "x").notes == ("grey to RGB",)


def test_one_bit_becomes_black_and_white() -> None:
    data = saved(Image.new("1", (1, 1), 1))
    assert colours(data) == [[[255, 255, 255]]]
    assert decode(data, "x").notes == ("1 bit to RGB",)


def test_a_palette_is_looked_up() -> None:
    image = Image.new("P", (1, 1), 1)
    image.putpalette([0, 0, 0, 12, 34, 56])
    data = saved(image)
    assert colours(data) == [[[12, 34, 56]]]
    assert decode(data, "x").notes == ("palette to RGB",)


def test_a_transparent_palette_entry_shows_white() -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 12, 34, 56])
    image.putpixel((0, 0), 0)
    data = saved(image, transparency=0)
    assert colours(data) == [[[255, 255, 255], [12, 34, 56]]]
    assert decode(data, "x").notes == ("palette to RGB", "alpha laid over white")


def test_half_transparent_red_over_white_is_pink() -> None:
    data = saved(Image.new("RGBA", (1, 1), (255, 0, 0, 128)))
    [[[red, green, blue]]] = colours(data)
    assert red == 255
    assert abs(green - 127) <= 1
    assert abs(blue - 127) <= 1
    assert decode(data, "x").notes == ("alpha laid over white",)


def test_an_opaque_alpha_channel_changes_nothing_and_leaves_no_note() -> None:
    data = saved(Image.new("RGBA", (1, 1), (9, 8, 7, 255)))
    assert colours(data) == [[[9, 8, 7]]]
    assert decode(data, "x").notes == ()


def test_a_transparent_colour_of_an_rgb_png_shows_white() -> None:
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert colours(saved(image, transparency=(1, 2, 3))) == [[[255, 255, 255], [4, 5, 6]]]


def test_grey_with_alpha_is_laid_over_white() -> None:
    data = saved(Image.new("LA", (1, 1), (0, 0)))
    assert colours(data) == [[[255, 255, 255]]]
    assert decode(data, "x").notes == ("grey to RGB", "alpha laid over white")


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_becomes_rgb_and_says_that_its_profile_was_left_out(kind: str) -> None:
    data = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)
    red, green, blue = decode(data, "x").image.getpixel((4, 4))
    assert red > 245
    assert max(green, blue) < 10
    assert decode(data, "x").notes == ("CMYK to RGB, without its colour profile",)


def test_16_bit_grey_keeps_the_high_byte() -> None:
    samples = np.array([[0x0000, 0x12FF, 0xFFFF]], np.uint16)
    for data in (saved(Image.fromarray(samples)), saved(Image.fromarray(samples), "TIFF")):
        assert colours(data) == [[[0] * 3, [0x12] * 3, [255] * 3]]
        assert decode(data, "x").notes == ("16 bits a sample: high byte kept", "grey to RGB")


def test_16_bit_rgb_keeps_the_high_byte_and_says_so() -> None:
    data = sixteen_bit_png(np.array([[[0x12FF, 0xFFFF, 0x0001]]]))
    assert colours(data) == [[[0x12, 255, 0]]]
    assert decode(data, "x").notes == ("16 bits a sample: high byte kept",)


def test_a_16_bit_portable_grey_map_keeps_the_high_byte() -> None:
    data = b"P5 2 1 65535 " + bytes([0x12, 0xFF, 0xFF, 0xFF])
    assert colours(data) == [[[0x12] * 3, [255] * 3]]
    assert decode(data, "x").notes == ("16 bits a sample: high byte kept", "grey to RGB")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_a_stated_range_are_refused_not_guessed(mode: str) -> None:
    with pytest.raises(BadImage, match=r"depth\.tif: has 32-bit samples .* save it with 8 or 16"):
        decode(saved(Image.new(mode, (2, 2), 1), "TIFF"), "depth.tif")


def test_lab_colours_are_refused() -> None:
    with pytest.raises(BadImage, match="is in LAB colours; save it as RGB"):
        decode(saved(Image.new("LAB", (2, 2)), "TIFF"), "x")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    decoded = decode(data, "x")
    assert decoded.image.getpixel((0, 0)) == (255, 0, 0)
    assert "first frame of an animation" in decoded.notes


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_file_cut_in_half_is_refused_and_named(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    with pytest.raises(BadImage, match=r"^holiday/x: is corrupt: ") as caught:
        decode(data[: len(data) // 2], "holiday/x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM"])
@pytest.mark.parametrize("length", [3, 12, 20])
def test_a_file_cut_in_its_header_is_refused(kind: str, length: int) -> None:
    with pytest.raises(BadImage, match=r"^x: "):
        decode(saved(corners(), kind)[:length], "x")


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(saved(corners()))
    data[data.index(b"IDAT") + 6] ^= 0xFF
    with pytest.raises(BadImage, match="is corrupt"):
        decode(bytes(data), "x")


def test_random_damage_gives_a_picture_or_bad_image_and_nothing_else() -> None:
    random = np.random.default_rng(1)
    files = [saved(corners().resize((30, 20)), kind) for kind in ("JPEG", "PNG", "GIF", "BMP")]
    for data in files * 40:
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 4):
            damaged[place] = random.integers(256)
        with contextlib.suppress(BadImage):
            assert decode(bytes(damaged), "x", pixel_limit=10_000).image.mode == "RGB"


def test_text_is_not_an_image_and_the_formats_are_named() -> None:
    with pytest.raises(BadImage, match=r"not an image in a known format \(JPEG, PNG"):
        decode(b"hello, world, this is text", "x.jpg")


def test_postscript_is_never_handed_to_a_program() -> None:
    with pytest.raises(BadImage, match="not an image in a known format"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "x.jpg")


def test_a_file_is_decoded_by_its_content_whatever_its_name() -> None:
    assert decode(saved(corners(), "PNG"), "x.jpg").image.size == (3, 2)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be that large."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"x")


@pytest.mark.parametrize("side", [10_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_without_a_warning_of_pillows(side: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(BadImage, match=rf"b\.png: is {side}×{side}: more than 89,478,485"):
            decode(bomb(side, side), "b.png")
    assert caught == []


def test_the_pixel_limit_is_pillows_own_so_that_pillow_never_warns_later() -> None:
    assert PIXEL_LIMIT == Image.MAX_IMAGE_PIXELS


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    with pytest.raises(BadImage, match=r"x\.jpg: is empty \(0 bytes\)"):
        read_picture(tmp_path / "x.jpg")


def test_a_folder_named_like_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(BadImage, match=r"x\.jpg: is a folder, not an image file"):
        read_picture(tmp_path / "x.jpg")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(BadImage, match="is a device or pipe"):
        read_picture(tmp_path / "x.jpg")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match=r"x\.jpg: does not exist"):
        read_picture(tmp_path / "x.jpg")


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(saved(corners()))

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read what chmod forbids
    with pytest.raises(BadImage, match=r"x\.jpg: cannot be read: permission denied"):
        read_picture(path)


def test_a_name_with_a_line_break_stays_on_one_line() -> None:
    with pytest.raises(BadImage) as caught:
        decode(b"", "evil\nname\x1b[31m.jpg")
    assert str(caught.value) == "evil\\nname\\x1b[31m.jpg: is empty (0 bytes)"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_make_the_pixels_unreadable() -> None:
    data = saved(corners(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xffgarbage")
    assert decode(data, "x").image.size == (3, 2)


def test_threads_decode_what_one_thread_decodes() -> None:
    data = [saved(Image.new("RGB", (50, 40), (i, 2 * i, 3 * i))) for i in range(60)]
    found: list[bytes | None] = [None] * len(data)

    def work(start: int) -> None:
        for i in range(start, len(data), 4):
            found[i] = decode(data[i], "x").image.tobytes()

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [decode(one, "x").image.tobytes() for one in data]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow is built without AVIF")
def test_avif_is_read() -> None:
    assert decode(saved(Image.new("RGB", (16, 16), "red"), "AVIF"), "x").image.size == (16, 16)


def test_pillows_draft_mode_would_not_give_equal_pixels() -> None:
    waves = np.add.outer(np.arange(512) ** 2, 3 * np.arange(512)).astype(np.uint8)
    data = saved(Image.fromarray(np.stack([waves, waves.T, waves], -1)), "JPEG", quality=90)
    with Image.open(io.BytesIO(data)) as draft:
        draft.draft("RGB", (256, 256))
        quick = np.asarray(draft.resize((128, 128), Image.Resampling.BILINEAR), np.int64)
    full = decode(data, "x").image.resize((128, 128), Image.Resampling.BILINEAR)
    assert np.abs(quick - np.asarray(full)).max() > 0
