"""Images and archives that are damaged, lie, or are of an odd kind, among good ones."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from atlas.conftest import tiny_model
from campaign import mutations
from campaign.row import Row
from convscope.atlas.build import build_atlas
from convscope.errors import BadData, BadImage
from convscope.images.datasets import open_images
from convscope.images.files import decode

KINDS = {
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "JPEG": ("RGB", "L", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "L", "P", "1"),
    "TIFF": ("RGB", "RGBA", "L", "CMYK", "I;16", "P", "1"),
    "PPM": ("RGB", "L", "1"),
    "TGA": ("RGB", "RGBA", "L"),
}
"""Formats, and the modes that each can hold."""


def encoded(dice: random.Random) -> tuple[bytes, str]:
    """A picture of some format and mode, with EXIF, profile, animation or transparency."""
    kind = dice.choice(list(KINDS))
    mode = dice.choice(KINDS[kind])
    size = (dice.randint(1, 40), dice.randint(1, 40))
    pixels = np.random.default_rng(dice.randrange(2**32)).integers(
        0, 256, (*size[::-1], 3), np.uint8
    )
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):
        picture.putalpha(dice.randrange(256))
        picture = picture.convert(mode)
    else:
        picture = picture.convert(mode)
    options: dict[str, object] = {}
    if kind in ("PNG", "JPEG", "WEBP") and dice.randrange(2):
        exif = Image.Exif()
        exif[0x0112] = dice.choice((1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 65535))
        options["exif"] = exif.tobytes()
    if kind in ("PNG", "JPEG", "WEBP", "TIFF") and dice.randrange(3) == 0:
        options["icc_profile"] = dice.choice((b"not a profile", _profile()))
    if (
        kind in ("GIF", "WEBP", "TIFF", "PNG")
        and mode in ("P", "RGB", "L")
        and dice.randrange(3) == 0
    ):
        options |= {"save_all": True, "append_images": [picture.copy().rotate(90, expand=True)]}
    stream = io.BytesIO()
    try:
        picture.save(stream, kind, **options)
    except (OSError, ValueError, RuntimeError):  # a pair that Pillow does not write
        stream = io.BytesIO()
        picture.convert("RGB").save(stream, kind)
    return stream.getvalue(), f"{kind} {mode} {sorted(options)}"


@cache
def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def odd(seed: int, folder: Path) -> str | None:
    """A picture with some bytes changed gives RGB of some size, or BadImage in one line."""
    dice = random.Random(seed)
    data, what = encoded(dice)
    if dice.randrange(4):
        way = dice.choice((mutations.flip, mutations.cut, mutations.fill, mutations.double))
        data, what = way(data, dice), f"{what}, {way.__name__}"
    try:
        picture = decode(data, "x.png")
    except BadImage as error:
        return None if "\n" not in str(error) else f"{what}: {error!r}"
    except Exception as error:
        error.add_note(what)
        raise
    pixels = np.asarray(picture.image)
    right = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
    return None if right else f"{what}: {pixels.shape} {pixels.dtype}"


# ---- archives -----------------------------------------------------------------------------------


def archive(seed: int, folder: Path) -> str | None:
    """An archive that lies, is cut, or leads out gives images or one line, and no more memory."""
    dice = random.Random(seed)
    path = folder / dice.choice(("x.zip", "x.tar"))
    names = [dice.choice(NAMES) for _ in range(dice.randint(1, 6))]
    contents = [_content(dice) for _ in names]
    path.write_bytes((_zip if path.suffix == ".zip" else _tar)(names, contents, dice))
    if dice.randrange(2):
        data = path.read_bytes()
        way = dice.choice((mutations.flip, mutations.cut, mutations.fill, mutations.double))
        path.write_bytes(way(data, dice))
    before = sorted(folder.rglob("*"))
    try:
        images = open_images(path)
        for index in range(len(images)):
            try:
                images.picture(index)
            except BadImage as error:
                if "\n" in str(error):
                    return f"two lines: {error}"
        if any("\n" in line for line in images.about_left_out()):
            return "a line that is two"
    except BadData as error:
        if "\n" in str(error):
            return f"two lines: {error}"
    return None if sorted(folder.rglob("*")) == before else "something was written"


NAMES = (
    "a.png", "b/a.png", "./a.png", "../a.png", "/etc/a.png", "a\\b.png", "a\n.png", "\x1b[2J.png",
    "é.png", "a" * 300 + ".png", "a.png/", ".png", "a.tar", "a.zip", "..", "", "CON.png", "a.npy",
)  # fmt: skip


def _content(dice: random.Random) -> bytes:
    how = dice.randrange(6)
    if how == 0:
        return bytes(50_000_000) if dice.randrange(4) == 0 else b""
    if how == 1:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as inner:
            inner.addfile(tarfile.TarInfo("in.png"), io.BytesIO())
        return stream.getvalue()
    if how == 2:
        head = b"IHDR" + (2**31 - 1).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
        return (
            b"\x89PNG\r\n\x1a\n"
            + (13).to_bytes(4, "big")
            + head
            + zlib.crc32(head).to_bytes(4, "big")
        )
    return encoded(dice)[0]


def _zip(names: list[str], contents: list[bytes], dice: random.Random) -> bytes:
    import warnings

    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content in zip(names, contents, strict=True):
            kind = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
            archive.writestr(name or "x", content, kind)
    data = stream.getvalue()
    if dice.randrange(3) == 0:  # the sizes in its list are others
        at = data.rfind(b"PK\1\2")
        lie = dice.choice((0, 1, 1000, 2**31, 2**32 - 1)).to_bytes(4, "little")
        data = data[: at + 24] + lie + data[at + 28 :]
    return data


def _tar(names: list[str], contents: list[bytes], dice: random.Random) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=dice.choice((0, 1, 2))) as archive:
        for name, content in zip(names, contents, strict=True):
            member = tarfile.TarInfo(name)
            kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
            if dice.randrange(4) == 0:
                member.type, member.linkname = dice.choice(kinds), "/etc/passwd"
                content = b""
            member.size = len(content)
            try:
                archive.addfile(member, io.BytesIO(content))
            except ValueError:  # a name that this format cannot hold
                continue
    return stream.getvalue()


# ---- bad images among good ones -----------------------------------------------------------------


def among_good(seed: int, folder: Path) -> str | None:
    """The bad are named, and the others' results are what they are without the bad ones."""
    dice = random.Random(seed)
    good, mixed = folder / "good", folder / "mixed"
    good.mkdir()
    mixed.mkdir()
    for number in range(8):
        draws = np.random.default_rng(seed * 100 + number)
        pixels = draws.integers(0, 256, (24, 24, 3), np.uint8)
        for place in (good, mixed):
            Image.fromarray(pixels).save(place / f"{number:02d}.png")
    bad = []
    for number in range(dice.randint(1, 5)):
        data = (mixed / f"{dice.randrange(8):02d}.png").read_bytes()
        name = f"{dice.randrange(9):02d}-bad-{number}.png"
        content = dice.choice(
            (b"", data[: len(data) // 2], b"GIF89a", b"text", dice.randbytes(300))
        )
        (mixed / name).write_bytes(content)
        bad.append(name)
    options = {"layers": ["0", "3"], "top": 3, "batch_size": 4, "workers": 1, "plain": True}
    one = build_atlas(tiny_model(), open_images(good), folder / "a", **options)
    two = build_atlas(tiny_model(), open_images(mixed), folder / "b", **options)
    named = sorted(skipped.name for skipped in two.manifest.skipped)
    if named != sorted(bad):
        return f"{named} were named, not {sorted(bad)}"
    for layer, table in one.layers.items():
        other = two.layers[layer]
        found = [[two.images[i].name for i in row] for row in other.image.tolist()]
        wanted = [[one.images[i].name for i in row] for row in table.image.tolist()]
        if found != wanted:
            return f"{layer}: other images are the strongest"
        if not np.allclose(other.value.numpy(), table.value.numpy(), rtol=1e-5, atol=1e-6):
            return f"{layer}: other values"
    return None


ROWS = [
    Row(
        "pictures",
        "pictures of every mode, with EXIF, profiles, animations, fuzzed",
        "RGB, or one line",
        3000,
        odd,
        memory=300,
        least=40,
    ),
    Row(
        "archives",
        "hostile archives",
        "limits hold, one line, < 400 MB, nothing written",
        600,
        archive,
        memory=400,
        least=6,
    ),
    Row(
        "among-good",
        "bad images among good ones",
        "all named, the others' results the same",
        200,
        among_good,
        least=1,
    ),
]
