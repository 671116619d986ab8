"""Weights on disk: reading a file, filling a module with it, writing a network to a file.

Reading prefers safetensors; pickles (`.pt`, `.pth`) are read without running the code inside them.
Nothing is loaded in part: whatever does not match is an error that lists it.

Our own files are safetensors whose string metadata say how to use them: `format`, `architecture`
(JSON), `parameters`, `input` (3x72x72), `preprocess` (JSON; a mean picture travels beside the
weights as the tensor `preprocess.mean`), `classes` (JSON), and facts such as `epoch`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from convscope.errors import BadCheckpoint
from convscope.images.preprocess import Preprocess
from convscope.models.architectures import Architecture, Convnet
from convscope.store.atomic import replace_file
from convscope.store.fingerprint import file_fingerprint

__all__ = [
    "Weights",
    "about_network",
    "load_weights",
    "module_sha256",
    "read_weights",
    "write_network",
    "write_weights",
]

FORMAT = "convscope-weights/1"
MEAN = "preprocess.mean"  # a tensor that is not the network's
MOMENTUM = "momentum/"  # begins the names of tensors that only a resumed training needs
WRAPPERS = ("module.", "_orig_mod.")  # DataParallel's and torch.compile's prefixes
NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts keep the weights
SHOWN = 4  # names listed in a message before it says how many more

T = TypeVar("T")


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Attributes:
        path: of the file.
        sha256: of the file's bytes, hex.
        tensors: by parameter name; floating ones are float32, wrappers' prefixes are stripped.
        metadata: the file's strings; empty for files that Convscope did not write.
        mean: the mean picture (3, H, W), pixels 0..255; None where there is none.
    """

    path: Path
    sha256: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    mean: Tensor | None = None

    @property
    def architecture(self) -> Architecture | None:
        """The network that the weights belong to, if the file says so."""
        return self._fact("architecture", Architecture.from_dict)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the network's outputs, if the file has them."""
        return self._fact("classes", _names)

    @property
    def preprocess(self) -> Preprocess | None:
        """How the network was fed while it was trained, if the file says so."""
        return self._fact("preprocess", lambda values: Preprocess.from_dict(values, self.mean))

    def _fact(self, key: str, read: Callable[[Any], T]) -> T | None:
        """An entry of the metadata, read from its JSON value.

        Raises:
            BadCheckpoint: it cannot be read.
        """
        if key not in self.metadata:
            return None
        try:
            return read(json.loads(self.metadata[key]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadCheckpoint(
                f"{self.path}: its metadata '{key}' cannot be read ({error}); "
                "write the file again with convscope, or drop the metadata"
            ) from error

    def without(self, prefixes: tuple[str, ...]) -> Weights:
        """The same weights but for tensors whose names start with one of these prefixes."""
        kept = {k: v for k, v in self.tensors.items() if not k.startswith(prefixes)}
        return replace(self, tensors=kept)


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a weights file: safetensors, or a pickled state dict without running its code.

    Args:
        path: of a .safetensors, .pt or .pth file.

    Raises:
        BadCheckpoint: the file is missing, cut short or unsafe, or holds no dictionary of tensors.

    Example:
        >>> weights = read_weights("runs/demo/zfnet/weights.safetensors")
        >>> weights.architecture.name, weights.tensors["conv1.weight"].shape
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise BadCheckpoint(f"weights {path}: {what}; give a .safetensors, .pt or .pth file")
    digest = file_fingerprint(path)
    if path.suffix == ".safetensors" or _looks_like_safetensors(path):
        tensors, metadata = _read_safetensors(path)
    else:
        tensors, metadata = _read_pickle(path), {}
    mean = tensors.pop(MEAN, None)
    if metadata.get("format") == FORMAT:
        tensors = {key: t for key, t in tensors.items() if not key.startswith(MOMENTUM)}
    return Weights(path, digest, _plain(tensors), metadata, mean)


def load_weights(module: nn.Module, weights: Weights, *, name: str) -> None:
    """Fill every parameter and buffer of a module; all of them or none.

    Args:
        module: changed in place.
        weights: that it is filled with.
        name: of the model, for messages.

    Raises:
        BadCheckpoint: tensors are missing, left over or of another shape, or one holds NaN or
            infinity.

    Example:
        >>> load_weights(module, read_weights("mine.safetensors"), name="my network")
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    held = {key: tuple(tensor.shape) for key, tensor in weights.tensors.items()}
    # PyTorch before 0.4.1 did not write these counters, and inference does not read them
    missing = [k for k in wanted if k not in held and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in held if key not in wanted]
    reshaped = [
        f"{key}: file {_shape(held[key])}, model {_shape(wanted[key])}"
        for key in wanted
        if key in held and held[key] != wanted[key]
    ]
    if missing or unexpected or reshaped:
        fitting = sum(held.get(key) == shape for key, shape in wanted.items())
        parts = [
            _listed("missing", missing),
            _listed("unexpected", unexpected),
            _listed("of another shape", reshaped),
        ]
        raise BadCheckpoint(
            f"{weights.path} does not fit {name}: {fitting} of {len(wanted)} tensors match; "
            f"{'; '.join(filter(None, parts))}; give the model that these weights were saved from"
        )
    bad = [key for key, tensor in weights.tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise BadCheckpoint(
            f"{weights.path} holds NaN or infinity: {_listed('in', bad)}; "
            "its training diverged or the file is damaged: use an earlier checkpoint"
        )
    module.load_state_dict(weights.tensors, strict=False)  # all keys were compared above


def write_weights(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> str:
    """Write a safetensors file that is whole or not there.

    The same tensors and metadata always make the same bytes.

    Args:
        path: of the file.
        tensors: by name.
        metadata: strings by name.

    Returns:
        SHA-256 of the file's bytes, hex.
    """
    held = {key: t.detach().cpu().contiguous() for key, t in tensors.items()}
    content = _in_order(to_safetensors(held, dict(metadata)))
    replace_file(Path(path), content)
    return hashlib.sha256(content).hexdigest()


def write_network(
    path: str | os.PathLike[str],
    network: Convnet,
    preprocess: Preprocess,
    classes: Sequence[str] | None,
    facts: Mapping[str, str] | None = None,
) -> str:
    """Write one of our networks with all that is needed to use it again.

    Args:
        path: of the .safetensors file.
        network: whose weights are written.
        preprocess: how its images were prepared.
        classes: names of its outputs, if known.
        facts: further metadata, such as the epoch.

    Returns:
        SHA-256 of the file's bytes, hex.

    Example:
        >>> write_network("zfnet.safetensors", module, preprocess, classes=None)
    """
    metadata, beside = about_network(network, preprocess, classes)
    return write_weights(path, {**network.state_dict(), **beside}, {**metadata, **(facts or {})})


def about_network(
    network: Convnet, preprocess: Preprocess, classes: Sequence[str] | None
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a weights file of ours holds besides the network's weights.

    Args:
        network: whose file it is.
        preprocess: how its images were prepared.
        classes: names of its outputs, if known.

    Returns:
        The metadata, and the tensors beside the network's own.
    """
    metadata = {
        "format": FORMAT,
        "architecture": json.dumps(network.architecture.to_dict()),
        "parameters": str(sum(p.numel() for p in network.parameters())),
        "input": _shape(network.architecture.input_shape),
        "preprocess": json.dumps(preprocess.to_dict()),
        **({} if classes is None else {"classes": json.dumps(list(classes))}),
    }
    mean = preprocess.per_pixel_mean
    return metadata, {} if mean is None else {MEAN: torch.from_numpy(mean.copy())}


def module_sha256(module: nn.Module) -> str:
    """SHA-256 of a module's weights, hex: of names, types, shapes and bytes of its state dict."""
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(f"{key} {tensor.dtype} {_shape(tuple(tensor.shape))}\n".encode())
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def _in_order(content: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which the library writes in a random order."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8, as the library aligns them
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("not a list of names")
    return tuple(value)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        if path.read_bytes()[:40].startswith(b"version https://git-lfs"):
            raise BadCheckpoint(
                f"{path} is a Git LFS pointer, not the weights: run 'git lfs pull' beside it"
            ) from error
        raise BadCheckpoint(
            f"{path} is not a whole safetensors file ({error}): fetch or save it again"
        ) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """The state dict of a pickled file; torch refuses anything that would run code.

    Raises:
        BadCheckpoint: the file cannot be read, or holds something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds; each means that we do not read it
        raise BadCheckpoint(f"{path} {_why_unread(str(error))}") from error
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise BadCheckpoint(
            f"{path} holds {_kind(content)}, not a dictionary of tensors: save model.state_dict()"
        )
    strangers = [str(k) for k, v in content.items() if not isinstance(v, Tensor)]
    if strangers:
        raise BadCheckpoint(
            f"{path} is not a state dict: {_listed('no tensors', strangers)}: "
            "save model.state_dict(), best as .safetensors"
        )
    return {str(key): tensor for key, tensor in content.items()}


def _why_unread(message: str) -> str:
    """What is wrong with a pickle, from torch's error message."""
    if code := re.search(r"GLOBAL ([\w.]+)", message):
        return (
            f"holds more than tensors ({code.group(1)}), and unpickling it would run its code: "
            "save model.state_dict(), best as .safetensors"
        )
    if "TorchScript" in message:
        return "is a TorchScript program: save model.state_dict() instead, best as .safetensors"
    line = message.strip().splitlines()[0] if message.strip() else "empty file"
    return f"is neither safetensors nor a readable PyTorch file ({line}): save or fetch it again"


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without wrappers' prefixes, floating ones as float32."""
    for _ in WRAPPERS:  # they nest, in either order
        for prefix in WRAPPERS:
            if tensors and all(key.startswith(prefix) for key in tensors):
                tensors = {key.removeprefix(prefix): t for key, t in tensors.items()}
    return {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 2**40


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:SHOWN])}{more})"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _kind(value: object) -> str:
    return "an empty dictionary" if value == {} else f"a {type(value).__name__}"
