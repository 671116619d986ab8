"""Files as MODEL: a program that torch.export.save wrote, and what other files are.

`torch.export.load` runs what a file says: it evaluates expressions, and unpickles. So a file is
looked through before it is handed over: only operators of torch, sizes, and plain tensors pass.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from convscope.errors import BadModel, BadOption
from convscope.models.loaded import LoadedModule, blamed
from convscope.models.torch_files import foreign_in
from convscope.network.export import without_its_warnings
from convscope.network.exported_module import ExportedModule
from convscope.network.network import open_network

__all__ = ["about_file", "from_program", "is_program"]

EXPORT = "export the network again with torch.export.export and torch.export.save"
OPERATOR = re.compile(
    r"torch\.ops\.(aten|prim|prims|torchvision|higher_order)\.\w+(\.[A-Za-z]\w*)?"
)
PYTHON = {
    *(f"_operator.{name}" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "neg")),
    *(f"_operator.{name}" for name in ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "pow")),
    *(f"torch.sym_{name}" for name in ("int", "float", "max", "min", "not", "ite", "sqrt", "sum")),
    "_operator.getitem",
}
# what sizes are written with: numbers, names without a dot behind them, and signs
EXPRESSION = re.compile(r"[\w+\-*/%(),=<>!~&|. ]*")
WORDS = re.compile(
    r"[a-z]+\d+|Symbol|Integer|Float|Rational|positive|integer|nonnegative|nonzero|real|True|False"
    r"|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|FloatTrueDiv|ModularIndexing"
    r"|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Abs|Add|Mul|Pow|Where|ToFloat|TruncToInt|RoundToInt|int_oo|oo"
)
CONTAINERS = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None}

WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pkl", ".tar", ".npz")
OTHERS = {
    ".onnx": "an ONNX file, which Convscope does not read: the converters to PyTorch that there "
    "are do not follow its newer operator sets",
    ".h5": "a Keras file",
    ".keras": "a Keras file",
    ".pb": "a TensorFlow file",
    ".tflite": "a TensorFlow Lite file",
    ".mlmodel": "a Core ML file",
    ".mlpackage": "a Core ML file",
    ".engine": "a TensorRT engine",
    ".caffemodel": "a Caffe file",
}
FROM_PYTORCH = "open the PyTorch network that it comes from, as package.module:factory@WEIGHTS"


def is_program(spec: str) -> bool:
    """Whether MODEL is a program that was exported."""
    return spec.lower().endswith(".pt2")


def about_file(name: str) -> str | None:
    """What a MODEL is that looks like a file, and what to give instead; None if it does not."""
    suffix = Path(name).suffix.lower()
    path = Path(name).expanduser()
    if suffix in OTHERS:
        return f"{name} is {OTHERS[suffix]}: {FROM_PYTORCH}"
    if suffix in WEIGHTS and (path.is_file() or "/" in name or ":" not in name):
        return f"{name} holds weights: give their network too, such as torchvision:resnet18@{name}"
    if suffix == ".py" and path.is_file():
        return f"{name} is Python: give the factory in it, such as {path.stem}:build"
    if (path / "hubconf.py").is_file():
        return f"{name} is a folder for torch.hub: give an entry too, as hub:{name}:ENTRY"
    if path.is_dir() and (path / "weights.safetensors").is_file():
        return f"{name} is a folder: open what 'convscope train' left in it as run:{name}"
    return None


def from_program(path: Path, wished: tuple[int, int, int] | None) -> LoadedModule:
    """Open a program that torch.export.save wrote, without running anything but its operators.

    Args:
        path: of the .pt2 file.
        wished: the input's shape (C, H, W), if the user gives one.

    Raises:
        BadModel: no such file, damaged, holding more than operators and tensors, or not a network
            of one batch of images.
        BadOption: it was exported for images of another size.
    """
    if not path.is_file():
        raise BadModel(f"{path}: no such file; give one that torch.export.save wrote")
    content = path.read_bytes()
    if (wrong := _what_is_wrong(content)) is not None:
        raise BadModel(f"{path} {wrong}")
    with blamed(str(path)), without_its_warnings():
        program = torch.export.load(BytesIO(content))
    module = ExportedModule(program)
    shape = module.input_shape()
    if shape is None or len(shape) != 4:
        raise BadModel(f"{path} takes something else than one batch of images (N, C, H, W)")
    count, *size = shape
    if not all(size):
        raise BadModel(f"{path} was exported for images of any size: export it for one size")
    told = (size[0], size[1], size[2])
    if wished not in (None, told):
        raise BadOption(
            f"--input {'x'.join(map(str, wished or ()))}: {path} was exported for "
            f"{'x'.join(map(str, told))}; leave --input out, or export it anew"
        )
    notes: tuple[str, ...] = ("an exported program: its weights are those in the file",)
    if count:
        _compare(path, module, told, count)
        notes = (*notes, f"exported for batches of {count}, run with any")
    return LoadedModule(module, notes=notes, title=path.stem, shape=told)


def _compare(path: Path, module: ExportedModule, shape: tuple[int, int, int], count: int) -> None:
    """Make sure that a program for so many images means each image by itself.

    Raises:
        BadModel: it does not.
    """
    network = open_network(module, shape)
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(count + 1, *shape, generator=draw)
    with torch.no_grad():
        ours = network.values(images, [network.output])[network.output]
        theirs = network.values(images[:count], [network.output])[network.output]
        written = _first_tensor(module(images[:count]))
    near = torch.allclose(ours[:count], theirs, rtol=1e-3, atol=1e-4)
    same = written.shape != theirs.shape or torch.allclose(written, theirs, rtol=1e-3, atol=1e-4)
    if not (near and same):
        raise BadModel(
            f"{path} was exported for batches of {count}, and its answer for an image depends on "
            "the others: export it with a dynamic batch, dynamic_shapes=({0: Dim('batch')},)"
        )


def _first_tensor(value: Any) -> torch.Tensor:
    """The first output of a network."""
    while not isinstance(value, torch.Tensor):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return value


# ---- looking through a file


def _what_is_wrong(content: bytes) -> str | None:
    """What forbids to hand a file to torch.export.load; None where nothing does."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return next(_faults(archive), None)
    except (zipfile.BadZipFile, ValueError, OSError, RecursionError, NotImplementedError) as error:
        return f"is not a whole exported program ({error}): {EXPORT}"


def _faults(archive: zipfile.ZipFile) -> Iterator[str]:
    """What an exported program must not hold."""
    entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if "models/model.json" not in entries:
        yield f"is not an exported program: {EXPORT}"
    for name, info in entries.items():
        last = name.rpartition("/")[2]
        if info.compress_type != zipfile.ZIP_STORED:
            yield f"is compressed inside ({name}): {EXPORT}"
        if last.startswith(("custom_obj", "opaque_obj")):
            yield f"holds objects ({name}), which would run code when they are read: {EXPORT}"
        if "aotinductor" in name:
            yield f"holds compiled code ({name}), which is not run: {EXPORT}"
        if last.endswith(".json"):
            yield from _faults_in_json(json.loads(archive.read(info)))
        elif name.startswith("data/sample_inputs/") or last.endswith(".pt"):
            foreign = foreign_in(archive.read(info))
            if foreign:
                yield f"holds objects ({', '.join(foreign[:3])}): {EXPORT}"


def _faults_in_json(content: Any) -> Iterator[str]:
    """What its description must not say."""
    checks: Mapping[str, Callable[[Any], bool]] = {
        "expr_str": _is_size,
        "target": lambda value: bool(OPERATOR.fullmatch(str(value))) or value in PYTHON,
        "in_spec": _is_plain_structure,
        "out_spec": _is_plain_structure,
        "use_pickle": lambda value: value is False,
        "treespec_namedtuple_fields": lambda value: not value,
    }
    todo = [content]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in checks and not checks[key](inner):
                    yield f"says what Convscope does not run ({key} {str(inner)[:60]!r}): {EXPORT}"
            todo += value.values()
        elif isinstance(value, list):
            todo += value


def _is_size(text: Any) -> bool:
    """Whether an expression computes a size, and calls nothing else."""
    if not isinstance(text, str) or len(text) > 1000:
        return False
    text = re.sub(r"'([a-z]+\d+)'", r"\1", text)  # Symbol('s0')
    if not EXPRESSION.fullmatch(text) or re.search(r"\.\s*[A-Za-z_]", text):
        return False
    return all(WORDS.fullmatch(word) for word in re.findall(r"[A-Za-z_]\w*", text))


def _is_plain_structure(text: Any) -> bool:
    """Whether inputs and outputs are tuples, lists and dictionaries."""
    if text in ("", None):
        return True
    todo = [json.loads(text)[1]]
    while todo:
        spec = todo.pop()
        keys = json.loads(spec["context"]) if isinstance(spec["context"], str) else None
        plain = keys is None or all(isinstance(key, str | int) for key in keys)
        if spec["type"] not in CONTAINERS or not plain:
            return False
        todo += spec["children_spec"]
    return True
