"""Images in tars that are read in place: on this machine, or as shards at any address.

    FILE.tar, FILE.tar/inside             a tar on this machine
    FILE.tar with tars in it              ImageNet as it is distributed: a tar per class, whose name
                                          is the class's
    shard-{000..099}.tar, DIR/*.tar       several tars that are one set: shards
    s3://bucket/shard-{000..099}.tar      shards at an address of fsspec's: file://, memory://,
                                          http://, s3:// (with s3fs), gs:// (with gcsfs), ...

A tar is walked once for the places of its files, over the headers; then each image is read from
its place. Images of a tar that has KEY.cls or KEY.json beside KEY.jpg, as WebDataset writes it,
take their labels from there; else a folder per class gives labels.

From afar, images are read in blocks, in the order of the tar, and never kept: the set may be larger
than any disk. A pass goes through LANES shards side by side, so that of 2, 4 or 8 processes each
reads its own shards (`scan_order`). The identity of such a set is over the headers of its tars,
which name and date each file, not over the images, which nobody wants to fetch twice.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any

from convscope.errors import BadData
from convscope.images.archives import ArchiveImages
from convscope.images.files import bad_image, check_bytes
from convscope.images.image_set import LeftOut, utf8
from convscope.images.listing import Labels, is_image_name, labels_as_written, labels_by_folder
from convscope.text import error_words, printable

__all__ = [
    "ByteRange",
    "ShardImages",
    "TarImages",
    "TarIndex",
    "expand_braces",
    "index_tar",
    "is_shards",
]

LABEL_LIMIT = 1 << 16  # bytes of KEY.cls and KEY.json
LABELS = (".cls", ".json")
JSON_LABELS = ("label", "cls", "class")  # the keys of KEY.json that hold the label
LANES = 8  # shards that a pass goes through side by side
STRETCH = 32  # images that are read from one shard before the next lane's turn
BLOCK = 1 << 22  # bytes that are fetched at once while a shard is read in its order
BLOCKS = 2 * LANES  # that are kept
GAP = 1 << 16  # bytes between two images that may be passed over
INDEXERS = 8  # threads that walk shards
DAMAGED = (tarfile.TarError, ValueError, OverflowError, EOFError)
COUNT = re.compile(r":\d+$")  # of images, behind an address
BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


@dataclass(frozen=True)
class ByteRange:
    """Where the bytes of a file are.

    Attributes:
        offset: In its tar, bytes.
        size: Bytes.
        shard: The number of the tar, where there are several.
    """

    offset: int
    size: int
    shard: int = 0


@dataclass
class TarIndex:
    """What a tar holds.

    Attributes:
        entries: (name, where it is) of each file, in the order of the tar.
        labels: What KEY.cls or KEY.json says, by KEY.
        left_out: What looks like an image and cannot be read.
        headers: SHA-256, hex, over all headers.
    """

    entries: list[tuple[str, ByteRange]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    headers: str = ""


def index_tar(stream: IO[bytes], called: str) -> TarIndex:
    """Walk a tar over its headers, and those of tars in it.

    Args:
        stream: The tar; it can seek.
        called: What errors call it.

    Raises:
        BadData: It is no tar.

    Example:
        with open("shard-000.tar", "rb") as stream:
            index_tar(stream, "shard-000.tar").entries
    """
    index, digest = TarIndex(), hashlib.sha256()
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            _walk(archive, "", 0, index, digest.update, nested=True)
    except DAMAGED as error:
        if not index.entries:
            raise BadData(f"{called}: not a readable tar: {error}") from None
        index.left_out.append(LeftOut(called, f"is damaged or cut short: {error}"))
    index.headers = digest.hexdigest()
    return index


def _walk(
    archive: tarfile.TarFile,
    prefix: str,
    base: int,
    index: TarIndex,
    update: Callable[[bytes], None],
    *,
    nested: bool,
) -> None:
    """Add what a tar holds to an index.

    Args:
        archive: The tar.
        prefix: Of the names in it.
        base: Where the tar begins in the outermost one.
        index: Is added to.
        update: Takes what the headers say.
        nested: Whether tars in it are opened too.
    """
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all
        name = f"{prefix}{member.name}"
        update(f"{name}\0{member.size}\0{member.mtime}\n".encode("utf-8", "surrogateescape"))
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            if is_image_name(name):
                index.left_out.append(LeftOut(utf8(name), "is a link or device in the tar"))
            continue
        if nested and name.lower().endswith(".tar"):
            inner = archive.extractfile(member)
            try:
                with tarfile.open(fileobj=inner, mode="r:") as tar:
                    start = base + member.offset_data
                    _walk(tar, f"{name[:-4]}/", start, index, update, nested=False)
            except DAMAGED as error:
                index.left_out.append(LeftOut(utf8(name), f"is damaged or cut short: {error}"))
            continue
        index.entries.append((name, ByteRange(base + member.offset_data, member.size)))
        if name.lower().endswith(LABELS) and member.size <= LABEL_LIMIT:
            stream = archive.extractfile(member)
            label = _label(name, stream.read() if stream is not None else b"")
            if label is not None and (name.endswith(".cls") or _key(name) not in index.labels):
                index.labels[_key(name)] = label
    _check_end(archive)


def _check_end(archive: tarfile.TarFile) -> None:
    """tarfile takes a damaged header for the end.

    Raises:
        tarfile.ReadError: The tar does not end in zeros, or with the file.
    """
    stream = archive.fileobj
    if stream is not None:
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"the header at byte {archive.offset:,} is damaged")


def _key(name: str) -> str:
    """What WebDataset calls the key: the path up to the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _label(name: str, data: bytes) -> str | None:
    """The label in KEY.cls, or in KEY.json; None where there is none."""
    with suppress(UnicodeDecodeError, ValueError, RecursionError):
        text = data.decode().strip()
        if not name.lower().endswith(".json"):
            return text or None
        record = json.loads(text)
        for key in JSON_LABELS if isinstance(record, dict) else ():
            value = record.get(key)
            if isinstance(value, int | str) and not isinstance(value, bool) and str(value).strip():
                return str(value).strip()
    return None


def _labels(names: Sequence[str], keys: Iterable[str], labels: Mapping[str, str]) -> Labels:
    """The labels of images: as KEY.cls and KEY.json say, else by their folders."""
    if not labels:
        return labels_by_folder(names)
    return labels_as_written([labels.get(key, "") for key in keys])


class TarImages(ArchiveImages):
    """The images in a tar on this machine, or in one folder of it.

    Args:
        spec: The words that name this set.
        path: The tar; tars in it are opened too.
        inside: A folder in the tar; "" is the whole tar.

    Raises:
        BadData: It is no readable tar, or there is no image in it.
    """

    def __init__(self, spec: str, path: Path, inside: str = "") -> None:
        self._path, self._inside = path, inside
        try:
            with path.open("rb") as stream:
                self._index = index_tar(stream, str(path))
        except OSError as error:
            raise BadData(f"{path}: cannot be read: {error.strerror}") from None
        super().__init__(spec, "tar", self._index.entries, inside, self._index.left_out)

    def _labels_of(self, found: Mapping[str, Any]) -> Labels:
        prefix = f"{self._inside}/" if self._inside else ""
        keys = [_key(f"{prefix}{name}") for name in self._names]
        labels = {_without_dot(key): label for key, label in self._index.labels.items()}
        return _labels(self._names, keys, labels)

    def _bytes(self, place: ByteRange, name: str) -> bytes:
        check_bytes(place.size, name)
        try:
            with self._path.open("rb") as stream:
                stream.seek(place.offset)
                return _whole(stream.read(place.size), place, name)
        except OSError as error:
            raise bad_image(name, f"cannot be read from the tar: {error.strerror}") from None


def _without_dot(key: str) -> str:
    return "/".join(part for part in key.split("/") if part not in ("", "."))


def _whole(data: bytes, place: ByteRange, name: str) -> bytes:
    if len(data) < place.size:
        raise bad_image(name, f"is cut short in its tar: {len(data):,} of {place.size:,} bytes")
    return data


# Shards


@dataclass(frozen=True, eq=False)
class _Shard:
    """A tar at an address of fsspec's.

    Attributes:
        system: The file system.
        path: Of the tar there.
        stem: Begins the names of its images.
    """

    system: Any
    path: str
    stem: str

    def index(self) -> TarIndex:
        """Walk the tar.

        Raises:
            BadData: It cannot be read.
        """
        try:
            with self.system.open(self.path, "rb") as stream:
                return index_tar(stream, self.path)
        except BadData:
            raise
        except Exception as error:  # whatever a file system raises
            raise BadData(f"{self.path}: cannot be read: {_words(error)}") from None

    def read(self, start: int, end: int) -> bytes:
        """Fetch bytes."""
        return self.system.cat_file(self.path, start=start, end=end)


class _Blocks:
    """Reads shards in blocks while they are read in their order, else by the image.

    Args:
        shards: The tars.
    """

    def __init__(self, shards: Sequence[_Shard]) -> None:
        self._shards = shards
        self._lock = threading.Lock()
        self._locks = [threading.Lock() for _ in shards]
        self._blocks: OrderedDict[int, tuple[int, bytes]] = OrderedDict()  # shard -> (start, bytes)

    def read(self, place: ByteRange) -> bytes:
        """Fetch an image's bytes."""
        with self._locks[place.shard]:
            with self._lock:
                start, block = self._blocks.get(place.shard, (0, b""))
            end = start + len(block)
            if start <= place.offset and place.offset + place.size <= end:
                return block[place.offset - start :][: place.size]
            follows = start <= place.offset <= end + GAP
            length = max(place.size, BLOCK) if follows else place.size
            fetched = self._shards[place.shard].read(place.offset, place.offset + length)
            with self._lock:
                self._blocks[place.shard] = (place.offset, fetched)
                self._blocks.move_to_end(place.shard)
                while len(self._blocks) > BLOCKS:
                    self._blocks.popitem(last=False)
            return fetched[: place.size]


class ShardImages(ArchiveImages):
    """The images in several tars, at any address that fsspec opens; names begin with the tar's.

    Args:
        address: Of the tars, with {000..099} or *, or of one tar.
        spec: The words that name this set; None: the address.

    Raises:
        BadData: There is no such tar, it cannot be read, or there is no image.

    Example:
        ShardImages("memory://set/shard-{0..3}.tar")
    """

    streamed = True

    def __init__(self, address: str, spec: str | None = None) -> None:
        shards = _open_shards(address)
        with ThreadPoolExecutor(INDEXERS, thread_name_prefix="convscope-shards") as pool:
            self._indexes = list(pool.map(_Shard.index, shards))
        self._blocks = _Blocks(shards)
        stems = [shard.stem for shard in shards]
        entries = [
            (f"{stem}/{_without_dot(name)}", ByteRange(place.offset, place.size, number))
            for number, (stem, index) in enumerate(zip(stems, self._indexes, strict=True))
            for name, place in index.entries
        ]
        self._keys = {
            f"{stem}/{_without_dot(key)}": label
            for stem, index in zip(stems, self._indexes, strict=True)
            for key, label in index.labels.items()
        }
        left_out = [left for index in self._indexes for left in index.left_out]
        super().__init__(spec or address, "set of shards", entries, "", left_out)

    def _labels_of(self, found: Mapping[str, Any]) -> Labels:
        bare = [name.partition("/")[2] for name in self._names]
        return _labels(bare, map(_key, self._names), self._keys)

    def _bytes(self, place: ByteRange, name: str) -> bytes:
        check_bytes(place.size, name)
        try:
            data = self._blocks.read(place)
        except Exception as error:  # whatever a file system raises
            raise bad_image(name, f"cannot be fetched: {_words(error)}") from None
        return _whole(data, place, name)

    def identity(self) -> str:
        """Return the SHA-256, hex, over what the headers of all tars say, in order."""
        return hashlib.sha256(
            "\n".join([index.headers for index in self._indexes]).encode()
        ).hexdigest()

    def scan_order(self) -> Sequence[int]:
        """Return every index once: STRETCH images of each lane in turn.

        Lane l holds the shards l, l + LANES, ...; where batches are of STRETCH images, the batches
        k, k + LANES, ... are of one lane. What is left of a lane comes at the end.
        """
        by_shard: list[list[int]] = [[] for _ in self._indexes]
        for index, place in enumerate(self._places):
            by_shard[place.shard].append(index)
        for images in by_shard:
            images.sort(key=lambda index: self._places[index].offset)
        lanes = [list(chain(*by_shard[lane::LANES])) for lane in range(LANES)]
        return [*_in_turn(lanes)]


def _in_turn(lanes: Sequence[Sequence[int]]) -> Iterator[int]:
    whole = [len(lane) - len(lane) % STRETCH for lane in lanes]
    for start in range(0, max(whole), STRETCH):
        for lane, end in zip(lanes, whole, strict=True):
            yield from lane[start : min(start + STRETCH, end)]
    for lane, end in zip(lanes, whole, strict=True):
        yield from lane[end:]


def is_shards(spec: str) -> bool:
    """Whether a spec names shards: an address, or a path with {000..099} or * that is no file's."""
    if "://" in spec:
        return COUNT.search(spec) is None
    pattern = "*" in spec or BRACES.search(spec) is not None
    return pattern and spec.lower().endswith(".tar") and not Path(spec).expanduser().exists()


def expand_braces(address: str) -> list[str]:
    """Write out {000..099} and {a,b} in an address.

    Example:
        >>> expand_braces("s-{08..10}.tar")
        ['s-08.tar', 's-09.tar', 's-10.tar']
    """
    found = BRACES.search(address)
    if found is None:
        return [address]
    first, last, words = found.group(1), found.group(2), found.group(3)
    if words is not None:
        choices = words.split(",")
    else:
        choices = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    before, after = address[: found.start()], address[found.end() :]
    return [f"{before}{word}{rest}" for word in choices for rest in expand_braces(after)]


def _open_shards(spec: str) -> list[_Shard]:
    """The tars that an address names, in order.

    Raises:
        BadData: There is no such tar, or no way to it.
    """
    from fsspec.core import url_to_fs

    found: list[tuple[Any, str]] = []
    for address in expand_braces(spec):
        try:
            system, path = url_to_fs(
                str(Path(address).expanduser()) if "://" not in spec else address
            )
            paths = sorted(system.glob(path)) if "*" in path else [path]
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # an unknown protocol, one whose package is missing, no access
            raise BadData(f"{address}: cannot be opened: {_words(error)}") from None
        if not paths:
            raise BadData(f"{address}: there is no such file")
        found += [(system, path) for path in paths]
    if not found:
        raise BadData(f"{spec}: names no tar")
    stems = [PurePosixPath(path).name.removesuffix(".tar") for _, path in found]
    alike = len(set(stems)) < len(stems)
    return [
        _Shard(system, path, f"{number:06d}-{stem}" if alike else stem)
        for number, ((system, path), stem) in enumerate(zip(found, stems, strict=True))
    ]


def _words(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return printable(error_words(error))
