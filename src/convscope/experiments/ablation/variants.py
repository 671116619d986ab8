"""Variants of a network as lines of a small table: layers left out, and other widths.

    without layers 3,4:     -3 -4
    half as many units:     6,7*0.5
    wider in the middle:    3=512 4=1024 5*2

A change is `-LAYERS` (left out), `LAYERS=WIDTH` (feature maps or units) or `LAYERS*FACTOR` (of the
network's own width); LAYERS are numbers in the paper's count, a comma between them. TABLE2 holds
the rows of the paper's Table 2, scaled so that they fit a network of any width.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import yaml

from convscope.errors import BadOption
from convscope.experiments import published
from convscope.experiments.published import Errors
from convscope.models.architectures import Architecture, Convnet
from convscope.text import error_words

__all__ = [
    "NONE", "TABLE2", "PaperRow", "Variant", "Width", "paper_row", "parameters_of", "read_variants",
    "table2",
]  # fmt: skip

FORM = "'NAME: CHANGES' with changes such as -3 (left out), 6=512 or 6,7*0.5 (width)"
_LAYERS = r"(\d+(?:,\d+)*)"
_OUT = re.compile(rf"-{_LAYERS}")
_COUNT = re.compile(rf"{_LAYERS}=(\d+)")
_FACTOR = re.compile(rf"{_LAYERS}[*×](\d+(?:\.\d+)?(?:/\d*[1-9]\d*)?)")


@dataclass(frozen=True)
class Width:
    """A layer's number of feature maps or units: a number, or a multiple of the network's own.

    Attributes:
        layer: In the paper's count, 1 to 7.
        value: The number; a Fraction is a multiple of the network's own.
    """

    layer: int
    value: int | Fraction

    def of(self, own: int, groups: int = 1) -> int:
        """In a network whose layer has `own`, rounded to a multiple of its groups."""
        if isinstance(self.value, int):
            return self.value
        return max(1, round(own * self.value / groups)) * groups

    def __str__(self) -> str:
        return f"{self.layer}{'=' if isinstance(self.value, int) else '*'}{self.value}"


@dataclass(frozen=True)
class Variant:
    """What is changed in a network, and what that is called.

    Attributes:
        name: What the table calls it.
        without: Layers that are left out, in the paper's count.
        widths: The widths of layers that stay.

    Example:
        >>> Variant.parse("narrow: -3 6,7*0.5").without
        (3,)
    """

    name: str
    without: tuple[int, ...] = ()
    widths: tuple[Width, ...] = ()

    @property
    def changes(self) -> str:
        """As it is spelled in a table; `Variant.parse` reads it."""
        return " ".join([*(f"-{layer}" for layer in self.without), *map(str, self.widths)])

    @classmethod
    def parse(cls, line: str) -> Variant:
        """Read a row of the table, `NAME: CHANGES`. Without `NAME:` the changes are the name.

        Args:
            line: The row.

        Raises:
            BadOption: It is something else than such changes, or changes one layer twice.

        Example:
            >>> Variant.parse("-7").name
            '-7'
        """
        name, colon, changes = line.rpartition(":")
        name = (name if colon else line).strip().strip("'\"")
        without: list[int] = []
        widths: list[Width] = []
        for word in changes.strip().strip("'\"").split():
            if found := _OUT.fullmatch(word):
                without += _layers(found[1])
            elif found := _COUNT.fullmatch(word):
                widths += [Width(layer, int(found[2])) for layer in _layers(found[1])]
            elif found := _FACTOR.fullmatch(word):
                number, _, divisor = found[2].partition("/")
                factor = Fraction(number) / int(divisor or 1)
                widths += [Width(layer, factor) for layer in _layers(found[1])]
            else:
                raise BadOption(f"variant {line.strip()!r}: {word!r} is no change; give {FORM}")
        touched = [*without, *(width.layer for width in widths)]
        if twice := next((layer for layer in touched if touched.count(layer) > 1), None):
            raise BadOption(f"variant {line.strip()!r} changes layer {twice} twice: give it once")
        return cls(name or "none", tuple(sorted(without)), tuple(widths))

    def applied(self, architecture: Architecture) -> Architecture:
        """Make the changed network.

        Args:
            architecture: The whole network.

        Raises:
            BadOption: There is no such layer, or it cannot be changed.
        """
        maps = {layer.number: (layer.maps, layer.groups) for layer in architecture.convolutions}
        units = {layer.number: layer.units for layer in architecture.dense}
        try:
            for width in self.widths:
                if width.layer not in maps | units:
                    raise BadOption(
                        f"{architecture.name} has no layer {width.layer} whose width can be "
                        f"changed: give one of {', '.join(map(str, [*maps, *units]))}"
                    )
            wide = {w.layer: w.of(*maps[w.layer]) for w in self.widths if w.layer in maps}
            tall = {w.layer: w.of(units[w.layer]) for w in self.widths if w.layer in units}
            changed = _with_units(architecture.with_maps(wide), tall)
            return changed.without(*self.without)
        except BadOption as error:
            raise BadOption(f"variant {self.name!r}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"name": self.name, "changes": self.changes}


NONE = Variant("none")


def read_variants(path: str | os.PathLike[str]) -> tuple[Variant, ...]:
    """Read a table of variants from a file: lines `NAME: CHANGES`, or YAML with changes by name.

    Args:
        path: The file.

    Raises:
        BadOption: It is no such file, a row cannot be read, or a name is given twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        yaml_rows = Path(path).suffix.lower() in (".yaml", ".yml")
        lines = _yaml_lines(text) if yaml_rows else _text_lines(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        words = error_words(error)
        raise BadOption(f"variants {path} cannot be read ({words}): give a table") from None
    if not lines:
        raise BadOption(f"variants {path} holds no row: give lines {FORM}")
    return tuple(Variant.parse(line) for line in lines)


def _text_lines(text: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _yaml_lines(text: str) -> list[str]:
    table = yaml.safe_load(text)
    if not isinstance(table, Mapping):
        return []
    lines = []
    for name, changes in table.items():
        words = changes if isinstance(changes, list) else [] if changes is None else [changes]
        lines.append(f"{name}: {' '.join(map(str, words))}")
    return lines


def _layers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def _with_units(architecture: Architecture, units: Mapping[int, int]) -> Architecture:
    dense = tuple(replace(d, units=units.get(d.number, d.units)) for d in architecture.dense)
    if dense == architecture.dense:
        return architecture
    if min(units.values()) < 1 or len({layer.units for layer in dense}) == 1:
        return architecture.with_units(min(units.values()))
    changed = ",".join(f"{layer.number}:{layer.units}" for layer in dense)
    return replace(architecture, name=f"{architecture.name} units={changed}", dense=dense)


def parameters_of(architecture: Architecture) -> int:
    """Weights and biases; nothing is allocated."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in Convnet(architecture).parameters())


# ---- the paper's ------------------------------------------------------------------------------


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's Table 2, as published.Table2Row."""

    variant: Variant
    alexnet: Errors | None
    zfnet: Errors | None

    def beside(self, architecture: str) -> tuple[str, Errors]:
        """The column of the network's own family where there is a figure, else the other."""
        columns = {"alexnet": self.alexnet, "zfnet": self.zfnet}
        first = "alexnet" if architecture.startswith("alexnet") else "zfnet"
        own, other = columns.pop(first), columns.popitem()
        if own is not None:
            return first, own
        assert other[1] is not None
        return other[0], other[1]


TABLE2 = tuple(
    PaperRow(Variant.parse(f"{name}: {row.changes}"), row.alexnet, row.zfnet)
    for name, row in published.TABLE2.items()
)
"""In the paper's order."""


def table2(architecture: Architecture) -> tuple[Variant, ...]:
    """The rows of Table 2 that change layers which the network has."""
    layers = {layer.number for layer in architecture.convolutions}
    layers |= {layer.number for layer in architecture.dense}

    def fits(variant: Variant) -> bool:
        return {*variant.without, *(width.layer for width in variant.widths)} <= layers

    rows: Iterable[Variant] = (row.variant for row in TABLE2)
    return tuple(variant for variant in rows if fits(variant))


def paper_row(architecture: Architecture, changed: Architecture) -> PaperRow | None:
    """The row of Table 2 that makes the same of the network, whatever it is called."""
    fitting = {variant.name for variant in table2(architecture)}
    for row in TABLE2:
        if row.variant.name in fitting:
            made = row.variant.applied(architecture)
            if replace(made, name="") == replace(changed, name=""):
                return row
    return None
