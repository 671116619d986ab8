"""Weights on disk: reading a file, filling a module with it, writing a network to a file.

A file is safetensors, or what torch.save or pickle wrote, read without running the code inside it.
Nothing is loaded in part: whatever does not match is an error that lists it, and whatever was done
to make people's names fit is said.

Our own files are safetensors whose string metadata say how to use them: `format`, `architecture`
(JSON), `parameters`, `input` (3x72x72), `preprocess` (JSON; a mean picture travels beside the
weights as the tensor `preprocess.mean`), `classes` (JSON), and facts such as `epoch`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from convscope.errors import BadCheckpoint
from convscope.images.preprocess import Preprocess
from convscope.models.architectures import Architecture, Convnet
from convscope.models.fitting import Match, Wanted, matches, unwrapped, wanted_by
from convscope.models.metadata import (
    read_architecture,
    read_class_names,
    read_fact,
    read_preprocess,
)
from convscope.models.module_tensors import state_of
from convscope.models.readings import Reading, main_reading, readings_of, tensor_of
from convscope.models.respelling import Computed
from convscope.models.shards import is_index, read_index
from convscope.models.torch_files import (
    PICKLED,
    read_torch_file,
    unreadable,
    what_it_is,
    what_prose_is,
)
from convscope.store.atomic import replace_file
from convscope.store.fingerprint import file_fingerprint, text_fingerprint
from convscope.text import error_words

__all__ = [
    "Weights",
    "about_network",
    "load_weights",
    "module_sha256",
    "read_weights",
    "weights_bytes",
    "write_network",
    "write_weights",
]

FORMAT = "convscope-weights/1"
MEAN = "preprocess.mean"  # a tensor that is not the network's
MOMENTUM = "momentum/"  # begins the names of tensors that only a resumed training needs
SHOWN = 4  # names listed in a message before it says how many more
COMPUTED_IN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SAVE = "save model.state_dict(), best as .safetensors"

T = TypeVar("T")


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Attributes:
        path: of the file.
        sha256: of the file's bytes, hex.
        readings: every dictionary of tensors in it, by its place; "" is the file itself.
        metadata: the file's strings; empty for files that are not safetensors.
        mean: the mean picture (3, H, W), pixels 0..255; None where there is none.
        key: where in the file the weights are, if the user says so.
        foreign: names of classes of objects beside the tensors, which were not made.
    """

    path: Path
    sha256: str
    readings: Mapping[str, Reading]
    metadata: Mapping[str, str] = field(default_factory=dict)
    mean: Tensor | None = None
    key: str | None = None
    foreign: tuple[str, ...] = ()

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The likeliest dictionary of tensors: floating ones are float32, wrappers' names are out.

        Raises:
            BadCheckpoint: one of them cannot be read.
        """
        reading = main_reading(self.readings)
        names = unwrapped(reading)
        tensors = {names[name]: self._read(name, leaf) for name, leaf in reading.items()}
        return {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}

    @property
    def ours(self) -> bool:
        """Whether Convscope wrote the file."""
        return self.metadata.get("format") == FORMAT

    @property
    def architecture(self) -> Architecture | None:
        """The network that the weights belong to, if the file says so."""
        return self._fact("architecture", read_architecture)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the network's outputs, if the file has them."""
        return self._fact("classes", read_class_names)

    @property
    def preprocess(self) -> Preprocess | None:
        """How the network was fed while it was trained, if the file says so."""
        return self._fact("preprocess", lambda values: read_preprocess(values, self.mean))

    def _fact(self, key: str, read: Callable[[Any], T]) -> T | None:
        """An entry of the metadata, read from its JSON value; None of what another program wrote.

        Raises:
            BadCheckpoint: it cannot be read.
        """
        if key not in self.metadata:
            return None
        try:
            return read_fact(self.metadata[key], read)
        except ValueError as error:
            if not self.ours:
                return None
            raise BadCheckpoint(
                f"{self.path}: its metadata '{key}' cannot be read ({error}); "
                "write the file again with convscope, or drop the metadata"
            ) from error

    def fill(self, wanted: Wanted, name: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """The tensors for a network, by its names.

        Args:
            wanted: by the network.
            name: of the model, for messages.

        Returns:
            The tensors, and what was done to make them fit, a few words each.

        Raises:
            BadCheckpoint: tensors are missing, left over, of another shape or kind, or hold NaN or
                infinity; or two parts of the file fit.
        """
        match = self.match(wanted, name)
        tensors = {key: self._read(key, leaf) for key, leaf in match.found.items()}
        self._check_kinds(tensors, wanted)
        bad = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
        if bad:
            raise BadCheckpoint(
                f"{self.path} holds NaN or infinity: {_listed('in', bad)}; "
                "its training diverged or the file is damaged: use an earlier checkpoint"
            )
        kinds = {str(tensors[k].dtype) for k in wanted.floating if k in tensors} - {"torch.float32"}
        saved = [f"saved in {', '.join(sorted(kinds)).replace('torch.', '')}"] if kinds else []
        return tensors, (*match.notes, *saved, *self._about_others(match.origin))

    def find(self, wanted: Wanted, name: str) -> Match | None:
        """Where the tensors for a network are, without reading them; None where they are not.

        Args:
            wanted: by the network.
            name: of the model, for messages.

        Raises:
            BadCheckpoint: two parts of the file fit.
        """
        fitting = [each for each in matches(self.readings, wanted, self.key) if each.fits]
        if len(fitting) < 2:
            return fitting[0] if fitting else None
        keys = ", ".join(match.key for match in fitting)
        raise BadCheckpoint(
            f"{self.path} holds weights for {name} {len(fitting)} times, as {keys}: "
            f"choose with --weights-key, such as --weights-key {fitting[0].key}"
        )

    def match(self, wanted: Wanted, name: str) -> Match:
        """Where the tensors for a network are, without reading them.

        Args:
            wanted: by the network.
            name: of the model, for messages.

        Raises:
            BadCheckpoint: not all that it wants is there, or more.
        """
        if match := self.find(wanted, name):
            return match
        found = matches(self.readings, wanted, self.key)
        if not found:
            held = ", ".join(place or "." for place in list(self.readings)[:SHOWN])
            raise BadCheckpoint(f"{self.path} has nothing under {self.key!r}: it holds {held}")
        match = max(found, key=lambda each: each.nearness)
        fit = len(match.found) - len(match.reshaped)
        shapes = [
            f"{key}: file {_shape(match.found[key].shape or ())}, model "
            f"{_shape(wanted.shapes[key])}"
            for key in match.reshaped
        ]
        parts = [
            _listed("missing", match.missing),
            _listed("unexpected", match.unexpected),
            _listed("of another shape", shapes),
        ]
        raise BadCheckpoint(
            f"{self.path} does not fit {name}: {fit} of {len(wanted.shapes)} tensors match; "
            f"{'; '.join(filter(None, parts))}; give the model that these weights were saved from"
        )

    def _check_kinds(self, tensors: Mapping[str, Tensor], wanted: Wanted) -> None:
        """Refuse numbers of another kind than the network computes with.

        Raises:
            BadCheckpoint: there are some.
        """
        for key, tensor in tensors.items():
            if key in wanted.floating and tensor.dtype not in COMPUTED_IN:
                kind = str(tensor.dtype).removeprefix("torch.")
                raise BadCheckpoint(
                    f"{self.path}: {key} holds {kind} numbers, where the network computes with "
                    "floating-point ones: quantised or damaged; give the weights before that"
                )
            if key not in wanted.floating and (tensor.is_complex() or _has_fractions(tensor)):
                raise BadCheckpoint(
                    f"{self.path}: {key} holds fractions, where the network counts: the file is "
                    "damaged, or of another network"
                )

    def _read(self, name: str, leaf: Any) -> Tensor:
        """A tensor of the file.

        Raises:
            BadCheckpoint: it is none that can be read.
        """
        try:
            return leaf.tensor() if isinstance(leaf, Computed) else tensor_of(leaf)
        except (ValueError, RuntimeError, OSError) as error:
            words = error_words(error)
            raise BadCheckpoint(
                f"{self.path}: {name} cannot be read ({words}): save plain dense tensors, best as "
                ".safetensors"
            ) from error

    def _about_others(self, origin: str | None) -> tuple[str, ...]:
        """What in the file is not used."""
        said = []
        if origin:
            said.append(f"a {origin} was pickled whole: its tensors are read, its code is not run")
        elif self.foreign:
            said.append(f"objects beside the weights not made ({_few(self.foreign)})")
        strange = sorted(k for k, v in self.metadata.items() if (k, v) != ("format", "pt"))
        if strange and not self.ours:
            said.append(f"its metadata are another program's ({_few(strange)})")
        return tuple(said)


def read_weights(path: str | os.PathLike[str], key: str | None = None) -> Weights:
    """Read a weights file: safetensors, or what torch.save or pickle wrote, without running code.

    Args:
        path: of a .safetensors, .pt, .pth, .ckpt or .pkl file, or of the .safetensors.index.json of
            weights in several files.
        key: where in the file the weights are, if it holds several: `state_dict_ema`,
            `student.backbone`; "." is the file itself.

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
    if is_index(path):
        return _read_shards(path, key)
    digest = file_fingerprint(path)
    if path.suffix == ".safetensors" or _looks_like_safetensors(path):
        tensors, metadata = _read_safetensors(path)
        mean = tensors.pop(MEAN, None)
        if metadata.get("format") == FORMAT:
            tensors = {k: t for k, t in tensors.items() if not k.startswith(MOMENTUM)}
        return Weights(path, digest, {"": tensors}, metadata, mean, key)
    file = read_torch_file(path)
    try:
        readings = readings_of(file.content)
    except Exception as error:  # what a damaged pickle holds may raise any kind
        raise BadCheckpoint(unreadable(path, error)) from error
    if not readings:
        raise BadCheckpoint(f"{path} {_without_tensors(file.content, file.foreign)}")
    return Weights(path, digest, readings, key=key, foreign=file.foreign)


def load_weights(
    module: nn.Module, weights: Weights, *, name: str, spare: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Fill every parameter and buffer of a module; all of them or none.

    Args:
        module: changed in place.
        weights: that it is filled with.
        name: of the model, for messages.
        spare: beginnings of names that only serve training, and may be left over.

    Returns:
        What was done to make them fit, a few words each.

    Raises:
        BadCheckpoint: tensors are missing, left over or of another shape or kind, or one holds NaN
            or infinity; or the file holds weights for it twice.

    Example:
        >>> load_weights(module, read_weights("mine.safetensors"), name="my network")
    """
    tensors, notes = weights.fill(replace(wanted_by(module), spare=spare), name)
    module.load_state_dict(tensors, strict=False)  # all names and shapes were compared
    return notes


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
    content = weights_bytes(tensors, metadata)
    replace_file(Path(path), content)
    return hashlib.sha256(content).hexdigest()


def weights_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file, always the same for the same tensors and metadata."""
    held = {key: t.detach().cpu().contiguous() for key, t in tensors.items()}
    return _in_order(to_safetensors(held, dict(metadata)))


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
    for key, tensor in sorted(state_of(module).items()):
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


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        with path.open("rb") as opened:
            head = opened.read(512)
        said = what_it_is(head) or what_prose_is(head)
        if head.startswith(PICKLED):
            said = "was written by torch.save or pickle, not as safetensors: name it .pt"
        words = error_words(error)
        raise BadCheckpoint(
            f"{path} {said}"
            if said
            else f"{path} is not a whole safetensors file ({words}): fetch or save it again"
        ) from error


def _read_shards(path: Path, key: str | None) -> Weights:
    """The weights that an index finds in several files; their fingerprint is that of all of them.

    Raises:
        BadCheckpoint: a shard does not hold what the index says.
    """
    tensors: dict[str, Tensor] = {}
    digests = [file_fingerprint(path)]
    for shard, names in sorted(read_index(path).items()):
        held, _ = _read_safetensors(shard)
        if held.keys() != set(names):
            apart = sorted(held.keys() ^ set(names))
            raise BadCheckpoint(
                f"{path}: {shard.name} does not hold the tensors that the index says "
                f"({_few(apart)}): fetch the network again"
            )
        tensors |= held
        digests.append(file_fingerprint(shard))
    return Weights(path, text_fingerprint("\n".join(digests)), {"": tensors}, key=key)


def _without_tensors(content: object, foreign: Sequence[str]) -> str:
    """What a file holds that has no tensors, and the remedy."""
    if foreign:
        return (
            f"holds more than tensors ({_few(foreign)}), and unpickling it would run its code: "
            f"{SAVE}"
        )
    kind = "an empty dictionary" if content == {} else f"a {type(content).__name__.lstrip('_')}"
    return f"holds {kind.lower()}, not a dictionary of tensors: save model.state_dict()"


def _has_fractions(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not torch.equal(tensor.double(), tensor.double().round())


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 2**40


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{len(names)} {what} ({_few(names)})" if names else ""


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
