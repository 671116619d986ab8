"""Features as a file: .npz, .safetensors or .parquet, written in pieces, whole or not at all.

All three hold what others need beside the numbers: each image's name and label, the names of the
classes, and what the features are of (`about`, JSON). Images that could not be read have no row.

    .npz          arrays: LAYER (images, features), names, labels, classes, about
    .safetensors  tensors: LAYER, labels, and names, a JSON list as UTF-8 bytes; about and classes
                  stand in the metadata
    .parquet      a row per image: name, label, class, and for each LAYER a list of fixed length

Images that may show several classes have `targets` (images, classes), 1, 0 and -1, for `labels`; in
.parquet a list `classes` of the names.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadOption
from convscope.experiments.features.feature_set import FeatureSet
from convscope.store.atomic import replacing

__all__ = ["ENDINGS", "check_ending", "write_features"]

INSTALL = "pip install 'convscope[parquet]'"
SAFETENSORS = {"float32": "F32", "float16": "F16", "int64": "I64", "int8": "I8", "uint8": "U8"}
ROWS = 4096  # of a group of rows in .parquet, at most

About = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Array:
    """An array that comes in pieces along its first axis."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Iterable[NDArray[Any]]

    @classmethod
    def of(cls, name: str, values: NDArray[Any]) -> _Array:
        """An array that is in memory."""
        return cls(name, values.dtype, values.shape, (values,))

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def check_ending(path: Path) -> None:
    """Refuse a file that could not be written, before the work begins.

    Args:
        path: of the file.

    Raises:
        BadOption: it ends in none of ENDINGS, or in .parquet where pyarrow is not installed.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise BadOption(f"{path}: a file of features ends with {' or '.join(ENDINGS)}")
    if ending == ".parquet":
        _pyarrow()


def write_features(path: Path, found: FeatureSet, about: About) -> None:
    """Write features to a file; memory holds some rows at a time.

    Args:
        path: ends in .npz, .safetensors or .parquet; the folders above it are made.
        found: the features.
        about: what was used, JSON-able.

    Raises:
        BadOption: another ending, or pyarrow is not installed.
    """
    check_ending(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        ENDINGS[path.suffix.lower()](file, found, about)


def _layers(found: FeatureSet) -> Iterator[_Array]:
    for name, each in found.features.items():
        shape = len(found), each.values.shape[1]
        yield _Array(name, each.values.dtype, shape, found.pieces(name))


def _labels(found: FeatureSet) -> _Array:
    labels = found.labels
    if labels.ndim == 2:
        return _Array.of("targets", labels.astype(np.int8))
    return _Array.of("labels", labels)


def _write_npz(file: IO[bytes], found: FeatureSet, about: About) -> None:
    texts = {"names": found.names, "classes": list(found.classes or ())}
    arrays = [*_layers(found), _labels(found)]
    arrays += [_Array.of(name, np.array(words, np.str_)) for name, words in texts.items()]
    arrays.append(_Array.of("about", np.array(json.dumps(dict(about)))))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for array in arrays:
            entry = zipfile.ZipInfo(f"{array.name}.npy")  # of 1980: the same bytes every time
            with archive.open(entry, "w", force_zip64=True) as member:
                words = np.lib.format.dtype_to_descr(array.dtype)
                header = {"descr": words, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_2_0(member, header)
                for piece in array.pieces:
                    member.write(piece.tobytes())


def _write_safetensors(file: IO[bytes], found: FeatureSet, about: About) -> None:
    names = np.frombuffer(json.dumps(found.names).encode(), np.uint8)
    arrays = [*_layers(found), _labels(found), _Array.of("names", names)]
    arrays.sort(key=lambda array: -array.dtype.itemsize)  # so that each begins at a multiple of it
    classes = json.dumps(found.classes or ())
    header: dict[str, Any] = {
        "__metadata__": {"about": json.dumps(dict(about)), "classes": classes}
    }
    start = 0
    for array in arrays:
        header[array.name] = {
            "dtype": SAFETENSORS[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, start + array.size],
        }
        start += array.size
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    file.write(struct.pack("<Q", len(words)) + words)
    for array in arrays:
        for piece in array.pieces:
            file.write(piece.tobytes())


def _write_parquet(file: IO[bytes], found: FeatureSet, about: About) -> None:
    arrow, parquet = _pyarrow()
    labels, classes, several = found.labels, found.classes, found.images.multi_label
    fields = [("name", arrow.string())]
    fields += [] if several else [("label", arrow.int64()), ("class", arrow.string())]
    fields += [("classes", arrow.list_(arrow.string()))] if several else []
    tables = {name: each.values for name, each in found.features.items()}
    lists = {
        name: arrow.list_(arrow.from_numpy_dtype(values.dtype), values.shape[1])
        for name, values in tables.items()
    }
    schema = arrow.schema([*fields, *lists.items()], {"about": json.dumps(dict(about))})
    with parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, len(found), ROWS):
            rows = slice(start, min(start + ROWS, len(found)))
            indices = found.indices[rows]
            columns: list[Any] = [[found.images.name(index) for index in indices.tolist()]]
            if several:
                columns.append([_shown(row, classes) for row in labels[rows]])
            else:
                known = [None if label < 0 else label for label in labels[rows].tolist()]
                columns.append(known)
                columns.append([_name(label, classes) for label in known])
            arrays = [
                arrow.array(column, schema.field(number).type)
                for number, column in enumerate(columns)
            ]
            for name, kind in lists.items():
                flat = np.ascontiguousarray(tables[name][indices]).reshape(-1)
                arrays.append(
                    arrow.FixedSizeListArray.from_arrays(arrow.array(flat), kind.list_size)
                )
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _name(label: int | None, classes: tuple[str, ...] | None) -> str | None:
    return None if label is None or classes is None else classes[label]


def _shown(row: NDArray[np.int64], classes: tuple[str, ...] | None) -> list[str]:
    names = classes or tuple(map(str, range(len(row))))
    return [names[number] for number in np.flatnonzero(row == 1)]


def _pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet; BadOption where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise BadOption(
            f".parquet needs the package pyarrow: {INSTALL}; .npz and .safetensors need nothing"
        ) from None
    return pyarrow, pyarrow.parquet


ENDINGS: dict[str, Callable[[IO[bytes], FeatureSet, About], None]] = {
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
    ".parquet": _write_parquet,
}
