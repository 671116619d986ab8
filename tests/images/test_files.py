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
import PIL
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
    with pytest.raises(BadImage, match="is a device, pipe or socket"):
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


def tiff(
    planes: np.ndarray,
    *,
    bits: int = 8,
    colours: int = 2,
    extra: tuple[int, ...] = (),
    kind: int = 1,
) -> bytes:
    """An uncompressed TIFF, written tag by tag.

    planes : (H, W, bands), of the type that is stored;   colours : 1 grey, 2 RGB, 5 CMYK
    extra : what each band beyond the colours is, 0 unknown, 1 and 2 alpha;   kind : 1 whole
        numbers, 2 with a sign, 3 float
    """
    height, width, bands = planes.shape
    if bits == 12:  # two samples in three bytes
        pairs = planes.reshape(-1, 2).astype(np.uint32)
        packed = (pairs[:, 0] << 12 | pairs[:, 1]).astype(">u4")
        data = packed.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    else:
        data = planes.tobytes()
    tags: dict[int, list[int]] = {
        256: [width], 257: [height], 258: [bits] * bands, 259: [1], 262: [colours], 273: [0],
        277: [bands], 278: [height], 279: [len(data)], 284: [1], 339: [kind] * bands,
    }  # fmt: skip
    if extra:
        tags[338] = list(extra)
    start = 8 + 2 + 12 * len(tags) + 4
    long = sum(2 * len(values) for values in tags.values() if len(values) > 2)
    tags[273] = [start + long]
    directory, beside = b"", b""
    for tag, values in sorted(tags.items()):
        content = b"".join(value.to_bytes(2, "little") for value in values)
        if len(content) > 4:
            beside, content = beside + content, (start + len(beside)).to_bytes(4, "little")
        directory += b"".join(n.to_bytes(2, "little") for n in (tag, 3))
        directory += len(values).to_bytes(4, "little") + content.ljust(4, b"\0")
    head = b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little")
    return head + directory + bytes(4) + beside + data


def samples(bands: int, dtype: type = np.uint8, most: int = 255) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most + 1, (6, 8, bands)).astype(dtype)


@pytest.mark.parametrize(("extra", "bits"), [(1, 8), (2, 8), (3, 8), (1, 16)])
def test_bands_beyond_the_colours_are_left_out_and_counted(extra: int, bits: int) -> None:
    planes = samples(3 + extra, np.uint8 if bits == 8 else np.uint16, 2**bits - 1)
    found = decode(tiff(planes, bits=bits, extra=(0,) * extra), "satellite.tif")
    assert np.array_equal(np.asarray(found.image), planes[..., :3] >> (bits - 8))
    words = "1 extra band left out" if extra == 1 else f"{extra} extra bands left out"
    assert words in found.notes


SOFT_GREY = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13,
    reason="Pillow reads grey multiplied by its alpha from 13 on; before, such a file is refused",
)


@SOFT_GREY
def test_bands_beyond_grey_cmyk_and_alpha_are_counted_too() -> None:
    grey = samples(2)
    found = decode(tiff(grey, colours=1, extra=(0,)), "grey.tif")
    assert np.array_equal(np.asarray(found.image), grey[..., :1].repeat(3, 2))
    assert found.notes == ("1 extra band left out", "grey to RGB")
    ink = samples(5)
    found = decode(tiff(ink, colours=5, extra=(0,)), "ink.tif")
    plain = decode(tiff(ink[..., :4].copy(), colours=5), "ink.tif")
    assert np.array_equal(np.asarray(found.image), np.asarray(plain.image))
    assert found.notes == ("1 extra band left out", *plain.notes)
    clear = samples(5)
    clear[..., 3] = 0  # nothing of it is seen
    found = decode(tiff(clear, extra=(2, 0)), "clear.tif")
    assert (np.asarray(found.image) == 255).all()
    assert found.notes == ("1 extra band left out", "alpha laid over white")


@SOFT_GREY
def test_grey_multiplied_by_its_alpha_is_laid_over_white() -> None:
    planes = np.zeros((6, 8, 2), np.uint8)
    planes[..., 0], planes[..., 1] = 40, 100  # grey 40 / 100 of full, 100 / 255 opaque
    found = decode(tiff(planes, colours=1, extra=(1,)), "soft.tif")
    assert np.abs(np.asarray(found.image).astype(int) - (40 + 155)).max() <= 1
    assert found.notes == ("grey to RGB", "alpha laid over white")


def test_of_12_bits_the_upper_8_are_kept() -> None:
    planes = samples(1, np.uint16, 4095)
    found = decode(tiff(planes, bits=12, colours=1), "scan.tif")
    assert np.array_equal(np.asarray(found.image), (planes >> 4).astype(np.uint8).repeat(3, 2))
    assert found.notes == ("12 bits a sample: upper 8 kept", "grey to RGB")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tiff(samples(3, np.float32), bits=32, kind=3), "float32 without a stated range"),
        (
            tiff(samples(1, np.float64), bits=64, colours=1, kind=3),
            "float64 without a stated range",
        ),
        (tiff(samples(5, np.uint16), bits=16, extra=(0, 0)), "5 channels, and the network takes 3"),
        (tiff(samples(5)), "5 channels, and the network takes 3"),
        (tiff(samples(13), extra=(0,) * 10), "13 channels, and the network takes 3"),
        (tiff(samples(1, np.float32), bits=32, colours=1, kind=3), "32-bit samples without"),
        (tiff(samples(1, np.int16), bits=16, colours=1, kind=2), "signed samples without"),
        (tiff(samples(1, np.int8, 100), colours=1, kind=2), "signed samples without"),
    ],
)
def test_samples_that_cannot_be_read_are_refused_for_what_they_are(
    data: bytes, why: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadImage, match=f"bands.tif: .*{why}"):
        decode(data, "bands.tif")
    assert capfd.readouterr().err == ""  # Pillow's own words stay out of the terminal


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("TIFF", "first of several pages"),
        ("MPO", "first of several pictures"),
        ("GIF", "first frame of an animation"),
        ("WEBP", "first frame of an animation"),
        ("PNG", "first frame of an animation"),
        pytest.param(
            "AVIF",
            "first frame of an animation",
            marks=pytest.mark.skipif(not features.check("avif"), reason="built without AVIF"),
        ),
    ],
)
def test_of_several_pictures_in_a_file_the_first_is_taken_and_said(kind: str, note: str) -> None:
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    content = io.BytesIO()
    pictures[0].save(content, kind, save_all=True, append_images=pictures[1:])
    found = decode(content.getvalue(), "several")
    assert note in found.notes
    red, green, blue = np.asarray(found.image)[8, 8].tolist()
    assert red > 240 and green < 15 and blue < 15


def test_a_portable_map_of_another_range_is_scaled_and_says_so() -> None:
    found = decode(b"P5 4 1 100\n" + bytes([0, 20, 50, 100]), "map.pgm")
    assert np.asarray(found.image)[0, :, 0].tolist() == [0, 51, 128, 255]
    assert found.notes == ("samples of 0 to 100 scaled to 0 to 255", "grey to RGB")
