"""Images in archives that are read in place: what zips and tars have in common, and zips.

    FILE.zip, FILE.tar               an archive of a folder of images (listing.py)
    FILE.zip/train, FILE.tar/train   a folder in it

Nothing is unpacked. What an archive says of itself is not believed: a file is inflated to the size
that is declared for it, at most to files.BYTE_LIMIT, and no further. Names that lead out of the
archive, or that several entries have, are left out and named. Tars are in tars.py.
"""

from __future__ import annotations

import bz2
import copy
import functools
import lzma
import os
import tarfile
import threading
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from convscope.errors import BadData
from convscope.images.files import BYTE_LIMIT, bad_image, check_bytes, decode
from convscope.images.image_set import Content, ImageSet, LeftOut, about_first, utf8
from convscope.images.listing import Labels, choose_images, labels_by_folder

__all__ = ["ArchiveImages", "ZipImages", "archive_at", "inflate", "is_tar", "read_beside"]

DICTIONARY_LIMIT = 1 << 28  # bytes, of LZMA
BESIDE_LIMIT = 1 << 28  # bytes of an index beside the images
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")


class ArchiveImages(ImageSet):
    """Base of the images in an archive, or in one folder of it.

    Args:
        spec: The words that name this set.
        kind: What errors call the archive: zip, tar.
        entries: (name, where it is) of each file, in the order of the archive.
        inside: A folder in the archive; "" is the whole archive.
        left_out: What was left out already.

    Raises:
        BadData: There is no image.
    """

    def __init__(
        self,
        spec: str,
        kind: str,
        entries: Iterable[tuple[str, Any]],
        inside: str = "",
        left_out: Iterable[LeftOut] = (),
    ) -> None:
        entries = list(entries)
        found, passed = _by_name(entries, f"{inside}/" if inside else "")
        chosen = choose_images(found, (*left_out, *passed))
        if not chosen.names:
            where = f"the folder {inside!r} of this {kind}" if inside else f"this {kind}"
            raise BadData(
                f"{spec}: no images in {where} ({len(entries)} files of other kinds)"
                f"{about_first(chosen.left_out)}"
            )
        self._names, self.left_out = chosen.names, chosen.left_out
        self._places = [found[name] for name in chosen.names]
        labels = self._labels_of(found)
        super().__init__(spec, labels.classes)
        self._labels = labels.labels

    def _labels_of(self, found: Mapping[str, Any]) -> Labels:
        return labels_by_folder(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return utf8(self._names[index])

    def label(self, index: int) -> int | None:
        return self._labels[index]

    def content(self, index: int) -> Content:
        name = self.name(index)
        data = self._bytes(self._places[index], name)
        read = functools.partial(decode, data, name)
        return Content(data, read, read)

    @abstractmethod
    def _bytes(self, place: Any, name: str) -> bytes:
        """Read an entry.

        Raises:
            BadImage: It cannot be read.
        """


def _by_name(
    entries: Iterable[tuple[str, Any]], prefix: str
) -> tuple[dict[str, Any], list[LeftOut]]:
    """The files by name, and those left out: of a name that counts for another, or leads out."""
    found: dict[str, Any] = {}
    left_out = []
    for written, place in entries:
        parts = [part for part in written.replace("\\", "/").split("/") if part not in ("", ".")]
        name = "/".join(parts)
        if not name.startswith(prefix):
            continue
        name = name[len(prefix) :]
        if ".." in parts:
            left_out.append(LeftOut(utf8(written), "leads out of the archive"))
            continue
        if not name:
            left_out.append(LeftOut(utf8(written), "has no name"))
            continue
        if name in found:
            left_out.append(
                LeftOut(utf8(name), "is there twice in the archive: the last one counts")
            )
        found[name] = place
    return found, left_out


# Zips


class ZipImages(ArchiveImages):
    """The images in a zip, or in one folder of it; a folder per class gives labels.

    Args:
        spec: The words that name this set.
        path: The zip.
        inside: A folder in the zip; "" is the whole zip.

    Raises:
        BadData: It is no readable zip, or there is no image in it.
    """

    def __init__(self, spec: str, path: Path, inside: str = "") -> None:
        self._path = path
        self._lock = threading.Lock()
        self._opened: tuple[int, zipfile.ZipFile] | None = None  # (process, archive)
        entries = [
            (entry.filename, entry)
            for entry in self._archive().infolist()
            if not entry.filename.endswith("/")
        ]
        super().__init__(spec, "zip", entries, inside)

    def _bytes(self, place: zipfile.ZipInfo, name: str) -> bytes:
        check_bytes(place.file_size, name)
        if place.compress_size > BYTE_LIMIT:
            raise bad_image(name, f"is too large: {place.compress_size:,} bytes in the zip")
        try:
            return inflate(self._archive(), place)
        except MemoryError:
            raise
        except Exception as error:  # zlib, CRC, encryption, unknown compression, a cut file
            raise bad_image(name, f"cannot be read from the zip: {error}") from None

    def _archive(self) -> zipfile.ZipFile:
        """Return the open zip.

        ZipFile serves threads itself; a forked process opens its own, for a position of its own.
        """
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                try:
                    self._opened = (os.getpid(), zipfile.ZipFile(self._path))
                except MemoryError:
                    raise
                except Exception as error:  # a later version, names in no encoding, a cut list
                    raise BadData(f"{self._path}: not a readable zip: {error}") from None
            return self._opened[1]


def inflate(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read a zip's entry; what exceeds its declared size is never inflated.

    ZipFile.read inflates all that the compressed bytes give before it looks at the size: 700 MB of
    an entry that declares 100 bytes.

    Args:
        archive: The zip.
        entry: One whose declared sizes are bearable.

    Raises:
        zipfile.BadZipFile: It has another size or checksum than is declared.
        Exception: As zipfile and the decoders raise.
    """
    if entry.compress_type not in DECODERS:
        raise NotImplementedError(f"compression method {entry.compress_type} is not read")
    raw = copy.copy(entry)  # the same bytes, as if they were stored without compression
    raw.compress_type, raw.file_size = zipfile.ZIP_STORED, entry.compress_size
    del raw.CRC  # it is of the inflated bytes
    data, more = DECODERS[entry.compress_type](archive.read(raw), entry.file_size)
    if len(data) < entry.file_size:
        raise zipfile.BadZipFile(f"{len(data):,} bytes, though {entry.file_size:,} are declared")
    if more:
        raise zipfile.BadZipFile(f"more than the {entry.file_size:,} bytes that are declared")
    if zlib.crc32(data) != entry.CRC:
        raise zipfile.BadZipFile("its checksum is wrong")
    return data


def _stored(data: bytes, size: int) -> tuple[bytes, bool]:
    return data[:size], len(data) > size


def _deflated(data: bytes, size: int) -> tuple[bytes, bool]:
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    found = decoder.decompress(data, size + 1)
    return found[:size], len(found) > size


def _bzip2(data: bytes, size: int) -> tuple[bytes, bool]:
    found = bz2.BZ2Decompressor().decompress(data, size + 1)
    return found[:size], len(found) > size


def _lzma(data: bytes, size: int) -> tuple[bytes, bool]:
    """A zip's LZMA: two bytes of a version, two of a length, then the stream's properties."""
    if len(data) < 9 or data[2:4] != b"\x05\0":
        raise zipfile.BadZipFile("its LZMA header is damaged")
    alone = data[4:9] + b"\xff" * 8 + data[9:]  # the header of an .lzma file of unknown size
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=DICTIONARY_LIMIT)
    found = decoder.decompress(alone, size + 1)
    return found[:size], len(found) > size


DECODERS = {
    zipfile.ZIP_STORED: _stored,
    zipfile.ZIP_DEFLATED: _deflated,
    zipfile.ZIP_BZIP2: _bzip2,
    zipfile.ZIP_LZMA: _lzma,
}
"""By a zip's method: (compressed bytes, size) -> (at most so many bytes, whether more follow)."""


# What lies at a path


def archive_at(path: Path) -> tuple[Path, str] | None:
    """Return the archive that a path names or leads into, and the folder in it, or None.

    Raises:
        BadData: It is a tar that is compressed as a whole.
    """
    for place in (path, *path.parents):
        if place.is_file():
            inside = path.relative_to(place).as_posix()
            if not _is_archive(place):
                return None
            return place, "" if inside == "." else inside
    return None


def _is_archive(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(COMPRESSED_TARS):
        raise BadData(
            f"{path}: a compressed tar cannot be read in place: decompress it once, to "
            f"{path.name.partition('.tar')[0]}.tar (its pictures are compressed already)"
        )
    return name.endswith((".zip", ".tar")) or zipfile.is_zipfile(path)


def is_tar(path: Path) -> bool:
    """Whether an archive is a tar, by its name."""
    return path.name.lower().endswith(".tar")


def read_beside(path: Path, name: str) -> bytes | None:
    """Read a file at the top of a folder or archive; None if it is not there.

    Raises:
        BadData: It cannot be read, or is too large.
    """
    try:
        if path.is_dir():
            return (path / name).read_bytes()
        found = archive_at(path)
        if found is None:
            return None
        archive, inside = found
        return _read_member(archive, f"{inside}/{name}" if inside else name)
    except FileNotFoundError:
        return None
    except BadData:
        raise
    except Exception as error:  # zlib, encryption, a cut file
        raise BadData(f"{path}: {name} cannot be read: {error}") from None


def _read_member(path: Path, name: str) -> bytes | None:
    if is_tar(path):
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.name.removeprefix("./") == name and member.isreg():
                    _check_beside(member.size)
                    stream = archive.extractfile(member)
                    return None if stream is None else stream.read()
        return None
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.removeprefix("./"): entry for entry in archive.infolist()}
        if name not in entries:
            return None
        _check_beside(max(entries[name].file_size, entries[name].compress_size))
        return inflate(archive, entries[name])


def _check_beside(size: int) -> None:
    if size > BESIDE_LIMIT:
        raise ValueError(f"{size:,} bytes, at most {BESIDE_LIMIT:,}")
