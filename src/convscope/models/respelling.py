"""Weights that are written in another way than the network's: weight norm and spectral norm.

PyTorch has two spellings of each, `conv.weight_g` and `conv.parametrizations.weight.original0`; and
a network may hold the plain weight that either computes, `conv.weight`. One is read for the other,
exactly. So are the names that DenseNet's layers had when torchvision's weights were saved.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.models.pickles import Unreadable
from convscope.models.readings import Leaf, tensor_of

__all__ = ["Computed", "respelled"]

OLD = re.compile(r"^((?:.*\.)?[^.]+)_(g|v|orig|u)$")
NEW = re.compile(
    r"^((?:.*\.)?)parametrizations\.([^.]+)\.(original0|original1|original|0\._u|0\._v)$"
)
ROLES = {"original0": "g", "original1": "v", "original": "orig", "0._u": "u", "0._v": "v"}
DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.\w+)$")


@dataclass(frozen=True, eq=False)
class Computed:
    """A tensor that is computed from others of the file.

    Attributes:
        parts: those others.
        function: from their tensors to it.
        shape: of the result.
        dtype: of the result.
    """

    parts: tuple[Leaf, ...]
    function: Callable[..., Tensor]
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def tensor(self) -> Tensor:
        """Compute it, in float64 on the way."""
        return self.function(*(tensor_of(part).double() for part in self.parts)).float()


def respelled(
    held: Mapping[str, Leaf], wanted: Iterable[str]
) -> tuple[dict[str, Leaf | Computed], tuple[str, ...]]:
    """The tensors of a file under the names that a network wants, where it spells them otherwise.

    Args:
        held: tensors by their names in the file, prefixes taken off.
        wanted: names of the network.

    Returns:
        The tensors, and what was done, a few words each.
    """
    names: dict[str, Leaf | Computed] = {DENSENET.sub(r"\1\2", k): leaf for k, leaf in held.items()}
    names = names if len(names) == len(held) else dict(held)
    lacking = [name for name in wanted if name not in names]
    if not lacking:
        return names, ()
    written, asked = _by_weight(names), _by_weight(lacking)
    done: Counter[str] = Counter()
    for weight, roles in asked.items():
        have = written.get(weight, {})
        if set(roles) <= set(have):
            for role, name in roles.items():
                names[name] = names.pop(have[role])
            done["weights are written in PyTorch's other spelling of their norm"] += 1
        elif set(roles) == {"g", "v"} and weight in names:
            leaf = names[weight]
            if not isinstance(leaf, Computed) and leaf.shape:
                names.pop(weight)
                names[roles["v"]] = leaf
                shape = (leaf.shape[0], *(1 for _ in leaf.shape[1:]))
                names[roles["g"]] = Computed((leaf,), _length, shape)
                done["weights are split into length and direction for its weight norm"] += 1
    for weight in lacking:
        if made := _computed(written.get(weight, {}), names):
            for name in written[weight].values():
                names.pop(name)
            names[weight], norm = made
            done[f"weights are computed from their {norm}"] += 1
    return names, tuple(f"{count} {words}" for words, count in done.items())


def _by_weight(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Name of a normed weight -> its parts: role -> name."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        if new := NEW.match(name):
            found.setdefault(new[1] + new[2], {})[ROLES[new[3]]] = name
        elif old := OLD.match(name):
            found.setdefault(old[1], {})[old[2]] = name
    return found


def _computed(
    roles: Mapping[str, str], names: Mapping[str, Leaf | Computed]
) -> tuple[Computed, str] | None:
    """The plain weight that parts of a normed one make, and the norm."""
    parts = {role: leaf for role, n in roles.items() if not isinstance(leaf := names[n], Computed)}
    if any(isinstance(part, Unreadable) for part in parts.values()):
        return None
    if set(parts) == {"g", "v"}:
        shape = tuple(parts["v"].shape or ())
        return Computed((parts["g"], parts["v"]), _weight_norm, shape), "weight norm"
    if set(parts) == {"orig", "u", "v"}:
        shape = tuple(parts["orig"].shape or ())
        return Computed((parts["orig"], parts["u"], parts["v"]), _spectral, shape), "spectral norm"
    return None


def _weight_norm(lengths: Tensor, directions: Tensor) -> Tensor:
    """Salimans & Kingma 2016: g v / |v|, the length taken over all axes that g does not have."""
    if lengths.dim() == 0:
        return lengths * directions / directions.norm()
    axes = [axis for axis, size in enumerate(lengths.shape) if size == 1]
    return lengths * directions / directions.square().sum(axes, keepdim=True).sqrt()


def _length(weight: Tensor) -> Tensor:
    """The length of each output's weights, as weight norm over axis 0 has it."""
    return weight.square().sum(list(range(1, weight.dim())), keepdim=True).sqrt()


def _spectral(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Miyato et al. 2018: W / (u' W v); of a transposed convolution along axis 1."""
    axis = 0 if len(left) == weight.shape[0] else 1
    matrix = weight.transpose(axis, 0).flatten(1)
    return weight / (left @ matrix @ right)
