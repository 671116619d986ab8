"""Pickles read without running the code in them.

A pickle says which functions to call and which classes to make. Here none of them is looked up:
what rebuilds tensors, arrays and dictionaries is done by functions of this file, and an object of
any other class becomes a `Foreign`, which keeps what the pickle says of it and does nothing. So a
checkpoint with a training script's own classes beside its weights is read, and a module that was
pickled whole can be asked for its parameters.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

__all__ = ["Foreign", "Storage", "StoredTensor", "Unreadable", "Unsafe", "read_pickle"]

DATA_TYPES = {  # beside weights they are plain data, so nobody needs to be told of them
    *("argparse.Namespace", "types.SimpleNamespace", "datetime.datetime", "datetime.timedelta"),
    *("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath"),
    *("torch.device", "builtins.slice", "builtins.range", "builtins.complex"),
}
ATTACKS = {  # what such a function does when it is called is never part of weights
    *("builtins", "os", "posix", "nt", "subprocess", "sys", "pty", "socket", "shutil", "ctypes"),
    *(
        "importlib",
        "runpy",
        "webbrowser",
        "code",
        "pdb",
        "commands",
        "signal",
        "asyncio",
        "io",
        "_io",
    ),
}
HARMLESS_BUILTINS = {"set", "frozenset", "slice", "range", "complex", "bytearray", "object", "dict"}
HARMLESS_BUILTINS |= {"list", "tuple", "int", "float", "bool", "str", "bytes", "getattr", "type"}
NUMPY_KINDS = {*("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")}
STORAGES = {  # class of a storage -> dtype of its numbers; bytes in all others
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
REBUILT_ODDLY = {  # function of torch._utils -> what the tensor is
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_qtensor": "quantised",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "on the meta device, without values",
    "_rebuild_wrapper_subclass": "of a class of its own",
}


FindStorage = Callable[[Any], "Storage"]
Nested = Callable[[bytes], Any]


class Unsafe(Exception):
    """The pickle calls a function that weights have no use for."""


class Foreign:
    """Stands for an object whose class is not made; nothing of it runs.

    Attributes:
        origin: the class that the pickle names, with its module.
        state: what the pickle would set on the object; None where it sets nothing.
        entries: what it would put into it, as into a dictionary.
    """

    origin = ""

    def __init__(self, *arguments: object, **more: object) -> None:
        self.state: Any = None
        self.entries: dict[Any, Any] = {}

    def __new__(cls, *arguments: object, **more: object) -> Foreign:
        made = super().__new__(cls)
        made.state, made.entries = None, {}
        return made

    def __call__(self, *arguments: object) -> None:
        """Refuse to be called, as a function that another one gave.

        Raises:
            Unsafe: always.
        """
        raise Unsafe(self.origin)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, value: Any) -> None:
        """Take an item of a list, which nobody asks for."""

    def extend(self, values: Iterable[Any]) -> None:
        """Take items of a list, which nobody asks for."""

    def add(self, value: Any) -> None:
        """Take an item of a set, which nobody asks for."""


class _Dictionary(dict[Any, Any]):
    """An OrderedDict, defaultdict or Counter, as plain data."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        for given in arguments:
            if isinstance(given, dict | list):
                self.update(given)

    def __setstate__(self, state: Any) -> None:
        """Leave out attributes, such as the versions in a state dict's `_metadata`."""


@dataclass(frozen=True)
class _Call:
    """A function of ours in place of one that the pickle names; it cannot be changed by it."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("changes a function")


@dataclass(frozen=True)
class Unreadable:
    """A tensor that is not read.

    Attributes:
        kind: why not: "sparse", "quantised" ...
        shape: nothing is known of it.
        dtype: nothing is known of it.
    """

    kind: str
    shape: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("changes a tensor")


@dataclass(eq=False)
class Storage:
    """The numbers that tensors share.

    Attributes:
        dtype: of its numbers; uint8 where the pickle leaves that to the tensors.
        count: how many there are.
        read: gives their bytes; None until it is known where they are.
    """

    dtype: torch.dtype
    count: int
    read: Callable[[], bytes | bytearray] | None = None
    content: Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("changes a tensor's data")

    @property
    def size(self) -> int:
        """In bytes."""
        return self.count * self.dtype.itemsize

    def bytes(self) -> Tensor:
        """All of it, as uint8.

        Raises:
            ValueError: there are fewer bytes than the pickle says.
        """
        if self.content is None:
            found = b"" if self.read is None else self.read()
            if len(found) != self.size:
                raise ValueError(f"a tensor's data has {len(found)} bytes, not {self.size}")
            empty = torch.empty(0, dtype=torch.uint8)
            self.content = torch.frombuffer(found, dtype=torch.uint8) if found else empty
        return self.content


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor whose numbers are not read yet.

    Attributes:
        storage: where they are.
        offset: of the first, in numbers.
        shape: of the tensor.
        stride: in numbers.
        dtype: of the numbers.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.stride)
        if len(self.shape) != len(self.stride) or any(
            type(n) is not int or n < 0 or n > 2**62 for n in numbers
        ):
            raise ValueError("a tensor's shape or stride is not a list of numbers")
        last = sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        there = self.storage.size // self.dtype.itemsize
        if math.prod(self.shape) and self.offset + last >= there:
            raise ValueError("a tensor reaches beyond its data")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("changes a tensor")

    def tensor(self) -> Tensor:
        """Read it. A view of its storage, as it was when it was saved."""
        numbers = self.storage.bytes()
        whole = len(numbers) // self.dtype.itemsize * self.dtype.itemsize
        numbers = numbers[:whole].view(self.dtype)
        if not math.prod(self.shape):
            return torch.empty(self.shape, dtype=self.dtype)
        return numbers.as_strided(self.shape, self.stride, self.offset)


class _Array(Foreign):
    """A NumPy array, which becomes a tensor."""

    origin = "numpy.ndarray"

    def tensor(self) -> Tensor | Unreadable:
        """Read it, if its bytes make an array of its shape."""
        try:
            _, shape, kind, columns_first, content = self.state
            return _from_numpy(content, kind, shape, "F" if columns_first else "C")
        except (ValueError, TypeError, OverflowError):
            return Unreadable("a damaged NumPy array")


class _NumpyType(Foreign):
    """A NumPy dtype."""

    origin = "numpy.dtype"
    code = ""

    def __init__(self, code: object = "", *more: object) -> None:
        super().__init__()
        self.code = str(code)

    def known(self) -> np.dtype[Any] | None:
        """The dtype, if it is one of plain numbers."""
        if self.code not in NUMPY_KINDS:
            return None
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "<"
        return np.dtype(self.code).newbyteorder(">" if order == ">" else "<")


def _from_numpy(content: Any, kind: Any, shape: Any, order: Any) -> Tensor | Unreadable:
    known = kind.known() if isinstance(kind, _NumpyType) else None
    if known is None or not isinstance(content, bytes | bytearray):
        return Unreadable("a NumPy array of other things than numbers")
    flat = np.frombuffer(content, known).astype(known.newbyteorder("="))
    return torch.from_numpy(flat.reshape(shape, order="F" if order == "F" else "C").copy())


def _rebuild(storage: Any, offset: int, shape: Any, stride: Any, *more: Any) -> Any:
    """A tensor, as torch._utils._rebuild_tensor, _v2 and _v3 are called for it."""
    if not isinstance(storage, Storage):
        return Unreadable("without data")
    dtype = next((each for each in more if isinstance(each, torch.dtype)), storage.dtype)
    return StoredTensor(storage, offset, tuple(shape), tuple(stride), dtype)


def _first(value: Any, *more: Any) -> Any:
    """What a parameter is made of, or a tensor from another device."""
    return value


def _rebuild_subclass(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    return function(*arguments) if isinstance(function, _Call) else Unreadable("of its own class")


def _reconstruct(kind: Any, base: Any, state: Any) -> Any:
    """An object as protocols 0 and 1 make it."""
    return kind() if isinstance(kind, type) and issubclass(kind, Foreign | dict) else Foreign()


def _encode(text: str, encoding: str) -> bytes:
    """Bytes as protocols below 3 write them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encodes text as {encoding!r}")
    return text.encode("latin1")


CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch.nn.parameter.Buffer": _first,
    "torch._tensor._rebuild_from_type_v2": _rebuild_subclass,
    "torch._tensor._rebuild_from_type": _rebuild_subclass,
    "torch.Size": lambda shape=(): tuple(shape),
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstruct,
    "copy_reg._reconstructor": _reconstruct,
    "numpy.core.multiarray._reconstruct": lambda *arguments: _Array(),
    "numpy._core.multiarray._reconstruct": lambda *arguments: _Array(),
    "numpy.core.numeric._frombuffer": _from_numpy,
    "numpy._core.numeric._frombuffer": _from_numpy,
}
DICTIONARIES = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter"}


# the C unpickler would make room for 2**32 entries if a hostile pickle numbers one so
class _Unpickler(pickle._Unpickler):
    """Makes data, and stands for all else.

    Attributes:
        foreign: names of the classes that were not made.
    """

    def __init__(self, file: BinaryIO, storage: FindStorage, nested: Nested) -> None:
        super().__init__(file)
        self._storage, self._nested = storage, nested
        self.foreign: list[str] = []
        self._made: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name that the pickle looks up. Nothing is imported."""
        full = f"{module}.{name}".replace("__builtin__.", "builtins.")
        if full not in self._made:
            self._made[full] = self._stand_in(full)
        return self._made[full]

    def _stand_in(self, full: str) -> Any:
        module, _, name = full.rpartition(".")
        if full in CALLS:
            return _Call(CALLS[full])
        if full == "torch.storage._load_from_bytes":
            return _Call(self._nested)
        if full in DICTIONARIES:
            return _Dictionary
        if full in ("builtins.set", "builtins.frozenset"):
            return set if name == "set" else frozenset
        if full == "numpy.dtype":
            return _NumpyType
        if module == "torch._utils" and name in REBUILT_ODDLY:
            return _Call(lambda *arguments: Unreadable(REBUILT_ODDLY[name]))
        if module.partition(".")[0] == "torch":
            if isinstance(dtype := getattr(torch, name, None), torch.dtype):
                return dtype
            if name.endswith("Storage"):
                return STORAGES.get(name, torch.uint8)
        if module.partition(".")[0] in ATTACKS and name not in HARMLESS_BUILTINS:
            raise Unsafe(full)
        if full not in DATA_TYPES:
            self.foreign.append(full)
        return type("Foreign", (Foreign,), {"origin": full})

    def persistent_load(self, saved: Any) -> Any:
        """The storage that a tensor is cut from, or the class of a module of old torch."""
        if isinstance(saved, tuple) and len(saved) == 4 and saved[0] == "module":
            return saved[1]
        return self._storage(saved)


def read_pickle(file: BinaryIO, storage: FindStorage, nested: Nested) -> tuple[Any, list[str]]:
    """Read the next pickle of a file.

    Args:
        file: stands at its beginning, and behind it afterwards.
        storage: from a persistent id to the storage that is meant.
        nested: from the bytes of a file within the pickle to what it holds.

    Returns:
        The content, in which `StoredTensor`, `Unreadable` and `Foreign` stand for tensors and
        objects, and the names of the classes that were not made.

    Raises:
        Unsafe: it calls a function that has no business in weights.
        Exception: it is damaged; as many kinds as there are ways.
    """
    unpickler = _Unpickler(file, storage, nested)
    return unpickler.load(), unpickler.foreign
