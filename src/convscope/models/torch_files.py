"""Files of torch.save and plain pickles: what they hold, as data. Nothing in them is run.

`read_torch_file` knows the format since PyTorch 1.6, a zip of one pickle and a file per storage;
the one before, pickles and storages one behind the other; and a pickle that was written without
torch. What is none of these is answered with what it is, as far as its first bytes tell.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from convscope.errors import BadCheckpoint
from convscope.models.pickles import Storage, Unsafe, read_pickle
from convscope.text import error_words

__all__ = [
    "PICKLED",
    "PickledFile",
    "foreign_in",
    "read_torch_file",
    "unreadable",
    "what_it_is",
    "what_prose_is",
]

MAGIC = 0x1950A86A20F9469CFC6C  # begins a file of torch.save before 1.6
AGAIN = "fetch or save it again"
PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""What files of torch.save and pickle begin with."""
SAVE = "save model.state_dict() instead, best as .safetensors"

BEGINNINGS = (  # of files that people take for weights, and what to do
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights: run 'git lfs pull'"),
    (b"\x89HDF\r\n", f"is an HDF5 file, such as Keras writes: {SAVE}"),
    (b"\x1f\x8b", "is compressed by gzip: decompress it first"),
    (b"BZh", "is compressed by bzip2: decompress it first"),
    (b"\xfd7zXZ", "is compressed by xz: decompress it first"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive: extract it first"),
    (b"Rar!", "is a RAR archive: extract it first"),
    (b"\x93NUMPY", f"is a NumPy array: {SAVE}"),
    (b"GGUF", f"is a GGUF file of quantised weights: {SAVE}"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd: decompress it first"),
    (b"\x89PNG", "is a picture, not weights: give the file of weights"),
    (b"\xff\xd8\xff", "is a picture, not weights: give the file of weights"),
    (b"%PDF", "is a PDF document, not weights: give the file of weights"),
)
ONNX = (b"\x12\x07pytorch", b"\x12\x04onnx", b"\x12\x0aonnxscript")
"""What stands behind the version of an ONNX file: who wrote it."""
WEB_PAGE = (
    "is a web page, not the weights: the download led to a login or a question; fetch it in a "
    "browser, or by the address of the file itself"
)


@dataclass(frozen=True)
class PickledFile:
    """What a pickled file holds.

    Attributes:
        content: dictionaries, lists, numbers, and stand-ins for tensors and objects.
        foreign: names of the classes that were not made, each once.
    """

    content: Any
    foreign: tuple[str, ...] = ()


def read_torch_file(path: Path) -> PickledFile:
    """Read a file that torch.save or pickle wrote, without running its code.

    Args:
        path: of the file.

    Raises:
        BadCheckpoint: it is something else, damaged, or calls what weights have no use for.
    """
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        if said := what_it_is(head):
            raise BadCheckpoint(f"{path} {said}")
        try:
            if head.startswith(b"PK\x03\x04"):
                return _read_zip(path, str(path))
            content, foreign = read_old(file)
        except BadCheckpoint:
            raise
        except Unsafe as error:
            raise BadCheckpoint(
                f"{path} holds more than tensors ({error}), and unpickling it would run its code: "
                "trust it nowhere; fetch the weights from their author, best as .safetensors"
            ) from error
        except Exception as error:  # a damaged pickle raises any kind
            raise BadCheckpoint(unreadable(path, error)) from error
    return PickledFile(content, foreign)


def foreign_in(content: bytes) -> tuple[str, ...]:
    """Names of the classes that a file of torch.save would make; empty where it is plain data.

    Args:
        content: of the file.

    Raises:
        ValueError: it cannot be read, or calls what weights have no use for.
    """
    try:
        return _read_zip(BytesIO(content), "it").foreign
    except Exception as error:  # a damaged pickle raises any kind
        raise ValueError(error_words(error)) from error


def what_it_is(head: bytes) -> str | None:
    """What a file is that cannot hold weights, from its first bytes, and what to do about it."""
    for beginning, words in BEGINNINGS:
        if head.startswith(beginning):
            return words
    if head[257:262] == b"ustar":
        return "is a tar archive: extract it first; one of PyTorch 0.1 must be saved again"
    if head[:1] == b"\x08" and head[2:].startswith(ONNX):
        return "is an ONNX file: open the PyTorch network that it was made of"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return WEB_PAGE
    if text.startswith((b"{", b"[")):
        return "is JSON, not weights: give the file with the tensors"
    return None if head else f"is empty: {AGAIN}"


def unreadable(path: Path, error: Exception) -> str:
    """What to say of a file that cannot be read, in a line."""
    with path.open("rb") as file:
        if said := what_prose_is(file.read(512)):
            return f"{path} {said}"
    if isinstance(error, KeyError):  # of the unpickler's table of operations
        return f"{path} is neither safetensors nor a PyTorch file: {AGAIN}"
    words = error_words(error)
    return f"{path} is neither safetensors nor a readable PyTorch file ({words}): {AGAIN}"


def what_prose_is(head: bytes) -> str | None:
    """What a file is that begins with words, once it is known that it holds no weights."""
    try:
        prose = b" " in head and head.decode().replace("\n", " ").isprintable()
    except UnicodeDecodeError:
        return None
    return f"is text, such as a server's error message: {AGAIN}" if prose else None


# ---- the format since PyTorch 1.6


def _read_zip(source: Path | BytesIO, name: str) -> PickledFile:
    archive = _Archive(source)
    root = _root(archive.entries)
    if said := _what_archive_is(archive.entries, root):
        raise BadCheckpoint(f"{name} {said}")
    order = f"{root}byteorder"
    if order in archive.entries and archive.read(order) == b"big":
        raise BadCheckpoint(f"{name} was written on a big-endian machine: {SAVE}")
    storages: dict[Any, Storage] = {}

    def storage(saved: Any) -> Storage:
        _, dtype, key, _, count = saved
        if key not in storages:
            storages[key] = Storage(dtype, count, partial(archive.read, f"{root}data/{key}"))
        return storages[key]

    content, foreign = read_pickle(BytesIO(archive.read(f"{root}data.pkl")), storage, _nested)
    return PickledFile(content, _once(foreign))


class _Archive:
    """A zip whose entries lie in it as they are, so that none is larger than the file.

    It is not kept open, and its list of entries is read once.
    """

    def __init__(self, source: Path | BytesIO) -> None:
        self.source = source
        with zipfile.ZipFile(source) as archive:
            self.entries = {info.filename: info for info in archive.infolist()}

    def _file(self) -> AbstractContextManager[BinaryIO]:
        if isinstance(self.source, Path):
            return self.source.open("rb")
        return nullcontext(self.source)

    def read(self, name: str) -> bytearray:
        """An entry's bytes.

        Raises:
            ValueError: there is none of that name, or it is compressed, cut short or damaged.
        """
        if name not in self.entries:
            raise ValueError(f"no {name} in it")
        entry = self.entries[name]
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} in it is compressed")
        with self._file() as file:
            file.seek(entry.header_offset + 26)  # of the lengths of its name and extra field
            lengths = file.read(4)
            skipped = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            file.seek(skipped, os.SEEK_CUR)
            content = bytearray(file.read(entry.file_size))
        if zlib.crc32(content) != entry.CRC:
            raise ValueError(f"{name} in it is damaged")
        return content


def _root(entries: Mapping[str, Any]) -> str:
    """The folder in the archive that holds its pickle, with its slash."""
    pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    return min(pickles, key=len, default="").removesuffix("data.pkl")


def _what_archive_is(entries: Mapping[str, Any], root: str) -> str | None:
    """What a zip is that torch.save did not write."""
    names = [name.partition("/")[2] for name in entries]
    if any(name in ("archive_format", "models/model.json") for name in names):
        return "is an exported program: open it as MODEL itself, NAME.pt2, without an @"
    if f"{root}constants.pkl" in entries:
        return f"is a TorchScript program: {SAVE}"
    if f"{root}data.pkl" in entries:
        return None
    if all(name.endswith(".npy") for name in entries):
        return f"is an archive of NumPy arrays: {SAVE}"
    if "model.weights.h5" in entries:
        return f"is a Keras model: {SAVE}"
    return "is a zip, but not one that torch.save writes: extract it, and give the file of weights"


# ---- the format before, and plain pickles


def read_old(file: BinaryIO) -> tuple[Any, tuple[str, ...]]:
    """Read pickles that stand one behind the other, and the storages behind them.

    Args:
        file: at its beginning.

    Returns:
        The content, and the names of the classes that were not made.
    """
    storages: dict[Any, Storage] = {}

    def storage(saved: Any) -> Storage:
        _, dtype, key, _, count, *view = saved
        if view and view[0] is not None:
            raise ValueError("a view of a storage, which PyTorch 0.3 wrote")
        return storages.setdefault(key, Storage(dtype, count))

    first, foreign = read_pickle(file, storage, _nested)
    if first != MAGIC:
        return first, _once(foreign)
    _, machine = (read_pickle(file, storage, _nested)[0] for _ in range(2))
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise ValueError("written on a big-endian machine")
    content, foreign = read_pickle(file, storage, _nested)
    keys, _ = read_pickle(file, storage, _nested)
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        if count != storages[key].count:
            raise ValueError(f"a tensor's data has {count} numbers, not {storages[key].count}")
        numbers = bytearray(file.read(storages[key].size))
        storages[key].read = lambda numbers=numbers: numbers
    return content, _once(foreign)


def _nested(content: bytes) -> Any:
    """A storage that stands in a plain pickle as a file of its own."""
    storage, foreign = read_old(BytesIO(content))
    if foreign:
        raise Unsafe(foreign[0])
    return storage


def _once(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
