"""From a file's bytes to a picture. Functions here are bytes -> Decoded, or BadImage.

What is decoded, and how, is decided here once, and every conversion leaves a note:

    EXIF orientation   applied, as every viewer does
    grey, 1 bit        repeated in R, G and B
    palette            looked up
    CMYK, YCbCr        converted by formula
    colour profiles    not applied, as torchvision does; one that is not sRGB's is named
    alpha              laid over white (BACKGROUND)
    16 bits a sample   the high byte is kept; of 12 bits the upper 8
    other whole ranges scaled to 0..255, as a portable map of 0..100
    extra bands        left out, and counted: near infrared beside R, G and B, a mask
    animation, pages   the first frame, page or picture
    float, 32 bits,
    signed             refused: the file does not say which value is white; a range does (Form)
    LAB, HSV           refused

A `Form` of another number of channels, or with a range, asks for the samples as they are stored
(raster.py): all bands of a TIFF, R, G, B and alpha for four channels, grey and alpha for two; RGB
becomes grey for one. A video is no picture, and is refused with what to do.

Only the formats of FORMATS are tried, whatever the file's name says; Pillow's other readers (some
start programs, like the one for EPS) are never reached. A JPEG is always decoded at its full size:
Pillow's `draft` gives slightly different pixels than decoding and then resizing.
"""

from __future__ import annotations

import functools
import io
import logging
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.errors import BadImage
from convscope.images.arrays import is_array, read_array
from convscope.images.colour_profile import profile_note
from convscope.images.raster import RGB, AnyPicture, Form, as_raster, with_channels
from convscope.images.tiff import Unsupported, read_tiff
from convscope.text import printable

BACKGROUND = (255, 255, 255)  # what lies behind transparent pixels
PIXEL_LIMIT = 89_478_485  # Pillow's own default; its warning never gets to speak
BYTE_LIMIT = 1 << 29  # 512 MiB a file, compressed or not
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
EXTENSIONS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"),
}
VIDEOS = {
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"),
    *(".ogv", ".mts", ".m2ts"),
}
VIDEO = (
    "is a video: make pictures of it, such as by `ffmpeg -i {name} frames/%06d.png`, and give the "
    "folder"
)

logging.getLogger("PIL").addHandler(logging.NullHandler())  # its reasons are in our messages

BITS, SAMPLES, FORMAT = 258, 277, 339  # TIFF tags: of each sample; their number; their number type
SIGNED = 2  # a sample format
TWELVE = "12 bits a sample: upper 8 kept"
FIRST = {"TIFF": "first of several pages", "MPO": "first of several pictures"}
ASKED = "save it with 8 or 16 bits, or say which samples are black and white: --range LO,HI"
UNREADABLE = ("unknown pixel mode", "Invalid value for samples per pixel")  # Pillow's, of TIFFs
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {  # orientation -> what turns the stored pixels upright (EXIF 2.32, table 6)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
KINDS = {  # Pillow's mode -> the note
    "1": "1 bit to RGB",
    "L": "grey to RGB",
    "LA": "grey to RGB",
    "La": "grey to RGB",
    "P": "palette to RGB",
    "PA": "palette to RGB",
    "CMYK": "CMYK to RGB, without its colour profile",
    "YCbCr": "YCbCr to RGB",
}


@dataclass(frozen=True)
class Decoded:
    """An upright picture of the form that was asked for.

    Attributes:
        image: The picture: Pillow's, RGB, unless another form was asked for.
        notes: What was converted to get it, in words.
    """

    image: AnyPicture
    notes: tuple[str, ...] = ()


def read_picture(path: str | Path, name: str | None = None, form: Form = RGB) -> Decoded:
    """Read the picture in a file.

    Args:
        path: The file.
        name: What errors call it; by default the path.
        form: What it is decoded to; by default RGB with 8 bits a sample.

    Raises:
        BadImage: It is missing, a folder, unreadable, empty, too large, corrupt, or of a kind that
            the module's table refuses.

    Example:
        read_picture("dog.jpg").image
    """
    name = str(path) if name is None else name
    return decode(read_bytes(Path(path), name), name, form)


def read_bytes(path: Path, name: str) -> bytes:
    """Read the bytes of an image file.

    Args:
        path: The file.
        name: What errors call it.

    Raises:
        BadImage: It cannot be read; the reason is said in words.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise bad_image(name, "is a folder, not an image file")
        if not stat.S_ISREG(status.st_mode):
            raise bad_image(name, "is a device, pipe or socket, not an image file")
        if path.suffix.lower() in VIDEOS:
            raise bad_image(name, VIDEO.format(name=path.name))
        check_bytes(status.st_size, name)
        return path.read_bytes()
    except BadImage:
        raise
    except FileNotFoundError:
        raise bad_image(name, "does not exist") from None
    except PermissionError:
        raise bad_image(name, "cannot be read: permission denied") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise bad_image(name, f"cannot be read: {_words(error)}") from None


def check_bytes(size: int, name: str) -> None:
    """Check the size of a file.

    Raises:
        BadImage: The file is empty or larger than BYTE_LIMIT.
    """
    if size == 0:
        raise bad_image(name, "is empty (0 bytes)")
    if size > BYTE_LIMIT:
        raise bad_image(name, f"is too large: {size:,} bytes, at most {BYTE_LIMIT:,}")


def decode(data: bytes, name: str, form: Form = RGB, *, pixel_limit: int = PIXEL_LIMIT) -> Decoded:
    """Decode the picture in a file's bytes, by the policy in this module's table.

    Damage inside JPEG data that libjpeg repairs is not noticed.

    Args:
        data: The file's bytes.
        name: What errors call the file.
        form: What it is decoded to; by default RGB with 8 bits a sample.
        pixel_limit: The most pixels that are decoded.

    Raises:
        BadImage: The data is empty, corrupt or truncated, has more than `pixel_limit` pixels, or is
            of a kind that is refused.
    """
    check_bytes(len(data), name)
    try:
        if is_array(data):
            samples = read_array(data, printable(name), form.channels, pixel_limit)
            return of_samples(samples, name, form, full_scale=False)
        stored = None if form.is_rgb else _tiff_samples(data, name, form, pixel_limit)
        return stored or _decode(data, name, form, pixel_limit)
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # a decoder fed with arbitrary bytes raises almost anything
        raise bad_image(name, f"is corrupt: {_words(error)}") from None


def _decode(data: bytes, name: str, form: Form, pixel_limit: int) -> Decoded:
    """Decode by Pillow."""
    try:
        image = _open(data, name)
    except _NotForPillow:
        stored = _tiff_samples(data, name, form, pixel_limit)
        if stored is None:
            raise bad_image(
                name, "is a TIFF of a kind that is not read; save it with 8 or 16 bits or as floats"
            ) from None
        return stored
    width, height = image.size
    if width * height > pixel_limit:
        raise bad_image(
            name,
            f"is {width}×{height}: more than {pixel_limit:,} pixels; make it smaller first",
        )
    tagged = _tiff_orientation(image)  # Pillow turns TIFFs itself, and then forgets the tag
    if image.format == "TIFF" and _is_signed(image):
        raise bad_image(name, f"has signed samples without a stated range; {ASKED}")
    stored_as = _as_stored(image)
    sixteen = _has_16_bits(image) and TWELVE not in stored_as
    image.load()
    orientation = _orientation(image) if tagged == 1 else tagged
    upright, turned = _turned(image, orientation, already=tagged != 1)
    upright = _of_12_bits(upright, stored_as)
    notes = (*profile_note(image.info.get("icc_profile")), *turned, *stored_as)
    decoded = as_form(upright, name, form, sixteen=sixteen)
    return Decoded(decoded.image, (*notes, *decoded.notes))


def _tiff_samples(data: bytes, name: str, form: Form, pixel_limit: int) -> Decoded | None:
    """Decode a TIFF of a kind whose samples can be read as they are stored; None for others."""
    try:
        tiff = read_tiff(data, pixel_limit)
    except Unsupported:
        return None
    samples = tiff.samples
    if tiff.orientation in UPRIGHT:
        samples = _array_turned(samples, tiff.orientation)
    decoded = of_samples(samples, name, form)
    turned = (
        (f"EXIF orientation {tiff.orientation} applied",) if tiff.orientation in UPRIGHT else ()
    )
    pages = (FIRST["TIFF"],) if tiff.more else ()
    return Decoded(decoded.image, (*turned, *pages, *decoded.notes))


def of_samples(samples: Any, name: str, form: Form, *, full_scale: bool = True) -> Decoded:
    """Bring stored samples (H, W, C) to a form."""
    called = printable(name)
    raster, scaled = as_raster(samples, called, form, full_scale=full_scale)
    raster, matched = with_channels(raster, form.channels, called)
    notes = (*scaled, *matched)
    if form.channels == RGB.channels and raster.samples.dtype == np.uint8:
        return Decoded(Image.fromarray(np.ascontiguousarray(raster.samples)), notes)
    return Decoded(raster, notes)


def _array_turned(samples: Any, orientation: int) -> Any:
    """Turn samples (H, W, C) upright, as `UPRIGHT` turns pictures."""
    if orientation >= 5:  # first over the diagonal from the top left
        samples = samples.swapaxes(0, 1)
    across, down = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return samples[:: -1 if down else 1, :: -1 if across else 1]


def as_form(image: Image.Image, name: str, form: Form = RGB, *, sixteen: bool = False) -> Decoded:
    """Convert a picture of Pillow's to a form, with notes of what that took.

    Args:
        image: Pillow's image, loaded.
        name: What errors call it.
        form: What is asked for.
        sixteen: Whether it was stored with 16 bits a sample.

    Raises:
        BadImage: Its samples have no known range, its channels are not the form's, or it has
            colours that the table refuses.
    """
    if form.is_rgb:
        return as_rgb(image, name, sixteen=sixteen)
    mode, sixteen = image.mode, sixteen or image.mode.startswith("I;16")
    if sixteen and not mode.startswith("I") and form.range is not None:
        raise bad_image(
            name, "has 16 bits a sample in colour, of which 8 are read; save it as TIFF or .npy"
        )
    if mode.startswith("I") and (sixteen or form.range is not None):
        samples = np.asarray(image)
        samples = samples.astype(np.uint16) if sixteen else samples
        return of_samples(samples[..., None], name, form)
    if mode == "F" and form.range is not None:
        return of_samples(np.asarray(image)[..., None], name, form)
    alpha = "transparency" in image.info
    if mode == "L" and not alpha and form.channels != RGB.channels:
        return of_samples(np.asarray(image)[..., None], name, form)
    if (mode, form.channels) in (("RGBA", 4), ("LA", 2)):
        decoded = of_samples(np.asarray(image), name, form)
        return Decoded(decoded.image, ("alpha taken for a channel", *decoded.notes))
    decoded = as_rgb(image, name, sixteen=sixteen)
    found = of_samples(np.asarray(decoded.image), name, form)
    return Decoded(found.image, (*decoded.notes, *found.notes))


def as_rgb(image: Image.Image, name: str, *, sixteen: bool = False) -> Decoded:
    """Convert an image to RGB, with notes of what that took.

    Args:
        image: Pillow's image, loaded.
        name: What errors call it.
        sixteen: Whether it was stored with 16 bits a sample.

    Raises:
        BadImage: Its samples have no known range, or it has colours that the table refuses.
    """
    mode = image.mode
    sixteen = sixteen or mode.startswith("I;16")
    notes = ("16 bits a sample: high byte kept",) if sixteen else ()
    if mode == "RGB" and "transparency" not in image.info:
        return Decoded(image, notes)
    if sixteen and mode.startswith("I"):
        image, mode = _high_byte(image, name), "L"
    if mode in ("I", "F"):
        raise bad_image(name, f"has 32-bit samples without a stated range; {ASKED}")
    if mode in ("LAB", "HSV"):
        raise bad_image(name, f"is in {mode} colours; save it as RGB")
    if mode in KINDS:
        notes = (*notes, KINDS[mode])
    if "A" in mode or "a" in mode or "transparency" in image.info:
        return _over_background(image, notes)
    return Decoded(image.convert("RGB"), notes)


def bad_image(name: str, reason: str) -> BadImage:
    """Return the error `NAME: REASON` on one line, whatever characters the name holds."""
    return BadImage(f"{printable(name)}: {reason}")


class _NotForPillow(Exception):
    """A TIFF whose samples Pillow has no mode for."""


def _open(data: bytes, name: str) -> Any:
    """Open Pillow's image with its header read, like Image.open, but only FORMATS and no warnings.

    Image.open warns above its pixel limit before the size can be asked for, and a warning
    cannot be silenced safely while other threads run.
    """
    failure = f"is not an image in a known format ({', '.join(FORMATS)})"
    for kind, accept, factory in _readers():
        accepted = accept(data[:16])
        if isinstance(accepted, str):  # the format, but a Pillow built without it
            raise bad_image(name, f"cannot be read: {kind} is missing from this Pillow")
        if not accepted:
            continue
        try:
            return factory(io.BytesIO(data), "")
        except Exception as error:
            if kind == "TIFF" and str(error) in UNREADABLE:
                raise _NotForPillow from None
            failure = f"is corrupt: {kind}: {_words(error)}"
    raise bad_image(name, failure)


@functools.cache
def _readers() -> tuple[tuple[str, Callable[[bytes], Any], Callable[..., Any]], ...]:
    """Return (format, test of the first 16 bytes, reader) for each of FORMATS that Pillow has."""
    Image.init()
    known = ((kind, *Image.OPEN[kind]) for kind in FORMATS if kind in Image.OPEN)
    return tuple((kind, accept, factory) for kind, factory, accept in known if accept)


def _tiff_orientation(image: Any) -> int:
    return image.tag_v2.get(ORIENTATION, 1) if image.format == "TIFF" else 1


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF does not make the pixels unreadable
        return 1


def turned_upright(image: Image.Image) -> Image.Image:
    """Turn a loaded picture as its EXIF data say."""
    return _turned(image, _orientation(image), already=False)[0]


def _turned(
    image: Image.Image, orientation: int, already: bool
) -> tuple[Image.Image, tuple[str, ...]]:
    if orientation not in UPRIGHT:
        return image, ()
    note = (f"EXIF orientation {orientation} applied",)
    return (image if already else image.transpose(UPRIGHT[orientation])), note


def _has_16_bits(image: Any) -> bool:
    """Whether the file stores 16 bits a sample, which Pillow's mode alone does not tell."""
    for tile in image.tile:
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(a, str) and ";16" in a for a in arguments):
            return True
        if tile[0] in ("ppm", "ppm_plain") and isinstance(arguments[-1], int):
            return arguments[-1] > 255
    return image.mode.startswith("I;16")


def _high_byte(image: Image.Image, name: str) -> Image.Image:
    samples = np.asarray(image)
    if samples.min() < 0 or samples.max() > 65535:
        raise bad_image(name, f"has signed samples without a stated range; {ASKED}")
    return Image.fromarray((samples >> 8).astype(np.uint8))


def _is_signed(image: Any) -> bool:
    """Whether the samples have a sign; those of 32 bits are refused for their range anyway."""
    signed = SIGNED in image.tag_v2.get(FORMAT, ())
    return signed and max(image.tag_v2.get(BITS, (1,))) <= 16


def _as_stored(image: Any) -> tuple[str, ...]:
    """Note what a file holds that the picture will not: further frames, bands, other ranges."""
    notes = []
    if getattr(image, "is_animated", False):
        notes.append(FIRST.get(image.format, "first frame of an animation"))
    if image.format == "TIFF":
        extra = image.tag_v2.get(SAMPLES, 1) - len(image.getbands())
        if extra > 0:
            notes.append(f"{extra} extra {'band' if extra == 1 else 'bands'} left out")
        if set(image.tag_v2.get(BITS, ())) == {12}:
            notes.append(TWELVE)
    for tile in image.tile:
        if tile[0] in ("ppm", "ppm_plain") and isinstance(tile[3], tuple):
            most = tile[3][-1]
            if isinstance(most, int) and most not in (255, 65535):
                notes.append(f"samples of 0 to {most} scaled to 0 to 255")
    return tuple(notes)


def _of_12_bits(image: Image.Image, stored: tuple[str, ...]) -> Image.Image:
    """Shift 12-bit samples, which Pillow leaves in the lower part of 16 bits, to 8 bits."""
    if TWELVE not in stored:
        return image
    return Image.fromarray((np.asarray(image) >> 4).astype(np.uint8))


def _over_background(image: Image.Image, notes: tuple[str, ...]) -> Decoded:
    layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):  # nothing shines through
        return Decoded(layer.convert("RGB"), notes)
    below = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
    picture = Image.alpha_composite(below, layer).convert("RGB")
    return Decoded(picture, (*notes, "alpha laid over white"))


def _words(error: BaseException) -> str:
    """Format an error's message on one line, without addresses of objects."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(printable(message).split()) or type(error).__name__
