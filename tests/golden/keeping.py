"""How a result is kept, and how another is held against it.

Of a result `kept/NAME/` holds

    said.json          the exit code, and what `--json` printed
    files.json         every file: its layout, where the file itself is not kept
    texts/             its JSON and YAML, as they are
    arrays.tar.xz      its numbers and sheets, as they are

Figures, pages and their scripts are not kept, for they will be drawn anew: of a figure its `about`
is, of a sheet its size.

Numbers may differ by the rounding of another processor; names, whole numbers, keys and layouts may
not. Durations, versions and the hashes of weights that were trained anew are held to their form.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors import safe_open

TEXTS = {".json", ".jsonl", ".yaml"}
ARRAYS = {".npz", ".npy", ".safetensors", ".webp"}
RESULT = "result.json"
VOLATILE = re.compile("seconds.*|versions|convscope|convscope_version")
SHARES = re.compile("(val_)?(accuracy|top1|top5)|precisions?|std")
FITTED = re.compile("(suggested_)?probability|margin|p(_corrected)?")
LEFT_OUT = re.compile(
    r"(^|/)((data/units|page/images|pretraining/\w+/(features|pieces))/|checksums\.json$)|\.lock$"
)
SEAL = "sha256"  # of a file's own contents, which differ by rounding; older files have none
HASH = re.compile(r"\b[0-9a-f]{12,64}\b")
NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Tolerance:
    """How far numbers may be apart: `relative` to the larger one, plus `absolute`.

    `scaled` is the same of arrays, in units of the largest number of each. `shares` is the room of
    shares of images, where one of few may change its class, and of what follows from them;
    `fitted` that of probabilities, where a fit ends or a draw of a permutation is counted.
    """

    relative: float = 1e-5
    absolute: float = 2e-5
    scaled: float = 2e-5
    shares: float = 0.0
    fitted: float = 0.0


EXACT = Tolerance(0.0, 0.0, 0.0)
ROUNDED = Tolerance(fitted=0.002)
TRAINED = Tolerance(1e-3, 1e-4, scaled=0.05, shares=0.05, fitted=0.002)
# Measured after 120 steps by other instructions of a CPU: weights 0.02 apart, 1 of 24 images named
# otherwise.


# ---- layouts ------------------------------------------------------------------------------------


def _type(array: np.ndarray) -> str:
    """The type of an array's values; of texts without their length, for they tell numbers."""
    return "text" if array.dtype.kind in "US" else str(array.dtype)


def layout(path: Path) -> Any:
    """What a file looks like, without its numbers: JSON-able."""
    kind = path.suffix
    if kind in {".npz", ".npy", ".safetensors"}:
        arrays, about = read_arrays(path)
        return {
            "arrays": {name: [_type(a), list(a.shape)] for name, a in arrays.items()},
            "about": sorted(about),
        }
    if kind == ".webp":
        with Image.open(path) as picture:
            return {"size": list(picture.size)}
    if kind == ".png":
        with Image.open(path) as picture:
            picture.load()
            about = json.loads(getattr(picture, "text", {}).get("about", "{}"))
        return {"about": sorted(about)}
    if kind in TEXTS:
        return {"keys": sorted(_paths(read_text(path)))}
    return "page" if path.stat().st_size else "empty"


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays by name, what else the file says of them), of .npz, .npy, .safetensors and .webp."""
    if path.suffix == ".npy":
        return {"": np.load(path)}, {}
    if path.suffix == ".npz":
        with np.load(path) as found:
            arrays = {name: found[name] for name in found.files}
        about = json.loads(str(arrays.pop("about"))) if "about" in arrays else {}
        return arrays, about
    if path.suffix == ".webp":
        with Image.open(path) as picture:
            return {"size": np.array(picture.size)}, {}
    with safe_open(path, framework="np") as found:
        arrays = {name: found.get_tensor(name) for name in sorted(found.keys())}
        told = {key: text for key, text in (found.metadata() or {}).items() if key != SEAL}
        return arrays, {key: _parsed(text) for key, text in told.items()}


def read_text(path: Path) -> Any:
    """A JSON, JSON lines or YAML file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _paths(value: Any, way: str = "") -> set[str]:
    """The ways to all keys: "layers[].name"."""
    if isinstance(value, dict):
        inner = [_paths(each, f"{way}.{key}".lstrip(".")) for key, each in value.items()]
        return {f"{way}.{key}".lstrip(".") for key in value}.union(*inner)
    if isinstance(value, list):
        return set().union(*(_paths(each, f"{way}[]") for each in value))
    return set()


# ---- keeping ------------------------------------------------------------------------------------


def files(folder: Path) -> list[str]:
    """All files below a folder, or the one file itself as "."; locks are left out.

    So are an atlas page's scripts of single units and images, of which there are hundreds, and an
    atlas's checksums, as the bytes of a picture are the encoder's matter.
    """
    if folder.is_file():
        return ["."]
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not LEFT_OUT.search(name))


def keep(
    case: Path, said: Any, result: Path | None, keeps: Callable[[str], bool], packed: bool
) -> None:
    """Write a case anew. keeps: file -> whether it is kept, and not its layout alone."""
    case.mkdir(parents=True)
    if result is None:
        _write(case / "said.json", said)
        return
    _write(case / "said.json", _without_result(said, result), indent=0 if packed else 1)
    told: dict[str, Any] = {}
    arrays: list[tuple[str, bytes]] = []
    for name in files(result):
        path = result if name == "." else result / name
        if path.suffix not in TEXTS | ARRAYS or not keeps(name):
            if "json" in said:  # of an interrupted one the rest is not looked at
                told[name] = layout(path)
            continue
        told[name] = "kept"
        if packed or path.suffix in ARRAYS:
            arrays.append((path.name if name == "." else name, path.read_bytes()))
        else:
            there = case / "texts" / name
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())
    _write_lines(case / "files.json", told)
    if arrays:
        with tarfile.open(case / "arrays.tar.xz", "w:xz", preset=9) as archive:
            for name, content in arrays:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def _without_result(said: Any, result: Path) -> Any:
    """What was said, without what result.json says, too."""
    if "json" not in said or not (result / RESULT).is_file():
        return said
    written = read_text(result / RESULT)
    same = [key for key, value in said["json"].items() if key in written and written[key] == value]
    rest = {key: value for key, value in said["json"].items() if key not in same}
    return {**said, "as in result.json": same, "json": rest}


def said_in(case: Path, result: Path) -> Any:
    """(exit code, what was said) of a case that is unpacked at `result`."""
    told = read_text(case / "said.json")
    written = read_text(result / RESULT) if "as in result.json" in told else {}
    return told["code"], {
        **told.get("json", {}),
        **{key: written[key] for key in told.get("as in result.json", ())},
    }


def _write_lines(path: Path, values: dict[str, Any]) -> None:
    """A line for each file."""
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _write(path: Path, value: Any, indent: int = 1) -> None:
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def unpack(case: Path, result: Path) -> Path:
    """Put a case's files where its command had left them, without those that are not kept."""
    told = json.loads((case / "files.json").read_text(encoding="utf-8"))
    into = result.parent if list(told) == ["."] else result
    into.mkdir(parents=True, exist_ok=True)
    for path in (case / "texts").rglob("*"):
        if path.is_file():
            there = into / path.relative_to(case / "texts")
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(path.read_bytes())
    if (case / "arrays.tar.xz").exists():
        with tarfile.open(case / "arrays.tar.xz") as archive:
            archive.extractall(into, filter="data")
    return result


# ---- comparing ----------------------------------------------------------------------------------


def differences(result: Path, case: Path, original: Path, tolerance: Tolerance) -> list[str]:
    """In what a result differs from a kept one, that is unpacked at `original`."""
    told = json.loads((case / "files.json").read_text(encoding="utf-8"))
    there = files(result)
    if tolerance == TRAINED:  # what is named after weights has another name
        told = {name: how for name, how in told.items() if not HASH.search(name)}
        there = [name for name in there if not HASH.search(name)]
    found = [f"{name} is missing" for name in sorted(set(told) - set(there))]
    found += [f"{name} is new" for name in sorted(set(there) - set(told))]
    for name in sorted(set(told) & set(there)):
        path = result if name == "." else result / name
        if told[name] != "kept":
            found += unlike(layout(path), told[name], EXACT, name)
            continue
        old = original if name == "." else original / name
        found += _file_differences(path, old, tolerance, name)
    return found


def _file_differences(new: Path, old: Path, tolerance: Tolerance, name: str) -> list[str]:
    if new.suffix in TEXTS:
        return list(unlike(read_text(new), read_text(old), tolerance, name))
    (ours, about), (theirs, told) = read_arrays(new), read_arrays(old)
    about, told = ({k: v for k, v in one.items() if k != "torch"} for one in (about, told))
    found = list(unlike(about, told, tolerance, f"{name}:about"))
    if ours.keys() != theirs.keys():
        return [*found, f"{name}: holds {list(ours)}, not {list(theirs)}"]
    for key, mine in ours.items():
        found += _array_differences(mine, theirs[key], tolerance, f"{name}:{key}")
    return found


def _array_differences(
    new: np.ndarray, old: np.ndarray, tolerance: Tolerance, name: str
) -> Iterator[str]:
    if (new.dtype, new.shape) != (old.dtype, old.shape):
        yield f"{name}: {new.dtype} {new.shape}, not {old.dtype} {old.shape}"
    elif new.dtype.kind != "f":
        if not np.array_equal(new, old):
            yield f"{name}: other {new.dtype} values"
    elif old.size:
        scale = float(np.nanmax(np.abs(old), initial=0.0))
        near = np.isclose(new, old, tolerance.relative, tolerance.scaled * scale, equal_nan=True)
        if not near.all():
            worst = float(np.nanmax(np.abs(new - old)))
            yield f"{name}: {(~near).sum()} of {old.size} differ, by {worst:g} of {scale:g}"


def unlike(new: Any, old: Any, tolerance: Tolerance, way: str = "", key: str = "") -> Iterator[str]:
    """In what JSON-able values differ, a line each, with the way to it."""
    if VOLATILE.fullmatch(key):
        if type(new) is not type(old) or (isinstance(old, dict) and new.keys() != old.keys()):
            yield f"{way}: {new!r} is not of the form of {old!r}"
    elif isinstance(new, dict) and isinstance(old, dict):
        yield from (f"{way}.{k} is missing" for k in old if k not in new)
        yield from (f"{way}.{k} is new" for k in new if k not in old)
        for k in new:
            if k in old:
                yield from unlike(new[k], old[k], tolerance, f"{way}.{k}", k)
    elif isinstance(new, list) and isinstance(old, list):
        if len(new) != len(old):
            yield f"{way}: {len(new)} entries, not {len(old)}"
        for at, (mine, theirs) in enumerate(zip(new, old, strict=False)):
            yield from unlike(mine, theirs, tolerance, f"{way}[{at}]", key)
    elif isinstance(new, float) and isinstance(old, float):
        room = tolerance.absolute + tolerance.relative * max(abs(new), abs(old))
        if key in ("low", "high"):  # of two values an interval is 13 standard errors wide
            room = max(room, 5 * tolerance.absolute)
        if SHARES.fullmatch(key):
            room = max(room, tolerance.shares)
        if FITTED.fullmatch(key):
            room = max(room, tolerance.fitted)
        if not (abs(new - old) <= room or new == old):
            yield f"{way}: {new!r}, not {old!r}"
    elif isinstance(new, str) and isinstance(old, str) and tolerance != EXACT:
        yield from _words_unlike(new, old, tolerance, way, key)
    elif type(new) is not type(old) or new != old:
        yield f"{way}: {new!r}, not {old!r}"


def _words_unlike(new: str, old: str, tolerance: Tolerance, way: str, key: str) -> Iterator[str]:
    """Words that are the same but for printed numbers, whose last digit may be rounded."""
    if new == old:
        return
    if key.endswith("sha256") and HASH.fullmatch(new) and len(new) == len(old):
        return
    if tolerance == TRAINED:
        new, old = HASH.sub("#", new), HASH.sub("#", old)
    mine, theirs = NUMBER.findall(new), NUMBER.findall(old)
    if NUMBER.split(new) != NUMBER.split(old) or not all(map(_printed_alike, mine, theirs)):
        yield f"{way}: {new!r}, not {old!r}"


def _printed_alike(new: str, old: str) -> bool:
    """Whether two printed numbers are one apart in their last digit at most; whole ones equal."""
    if new == old:
        return True
    decimals = len(old.partition(".")[2].partition("e")[0])
    if decimals == 0 or "e" in new + old:
        return "e" in new + old
    unit = 10.0**-decimals
    return abs(float(new.replace("−", "-")) - float(old.replace("−", "-"))) <= 1.01 * unit
