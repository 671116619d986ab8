"""An atlas's tables: the strongest places of each layer's feature maps."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from convscope.atlas.folder import TABLES
from convscope.atlas.manifest import LayerRecord, Manifest
from convscope.atlas.schema import check_table
from convscope.display import Brief
from convscope.errors import NoSuchLayer
from convscope.store.atomic import replace_file

__all__ = ["LayerTable", "Layers", "read_layer_table", "write_tables"]


@dataclass(frozen=True, eq=False)
class LayerTable(Brief):
    """The strongest places of a layer's C feature maps, best first.

    Attributes:
        value: float32 (C, K), the activation; -inf where a place is empty.
        image: int64 (C, K), index into the images; -1 where empty.
        row: int64 (C, K), of the position on the layer's grid; -1 where empty.
        column: int64 (C, K), of the position on the layer's grid; -1 where empty.
        box: int64 (C, K, 4), the receptive field's top, left, bottom, right in input pixels,
            half-open; it may extend beyond the image.
        active: int64 (C,), in how many images the map was above zero.
        non_finite: int64 (C,), how many NaN and infinite activations there were; they never rank.
    """

    value: Tensor
    image: Tensor
    row: Tensor
    column: Tensor
    box: Tensor
    active: Tensor
    non_finite: Tensor

    @property
    def not_finite(self) -> Tensor:
        """bool (C,): the map was NaN or infinite everywhere, in all images."""
        return (self.image[:, 0] == -1) & (self.non_finite > 0)


TABLE_FIELDS = tuple(LayerTable.__dataclass_fields__)


class Layers(dict[str, LayerTable]):
    """Layer tables by name, in the network's order; an unknown name offers the nearest."""

    def __missing__(self, name: str) -> LayerTable:
        near = difflib.get_close_matches(str(name), self, n=3, cutoff=0.4) or list(self)[:3]
        raise NoSuchLayer(
            f"the atlas has no layer {name!r}; it has {len(self)}, among them {', '.join(near)}"
        )


def write_tables(folder: Path, tables: dict[str, LayerTable], name: str = TABLES) -> None:
    """Write tables.safetensors, the strongest places of all layers, or another file of tables."""
    named = {
        f"{layer}/{field}": getattr(table, field).contiguous()
        for layer, table in tables.items()
        for field in TABLE_FIELDS
    }
    replace_file(folder / name, save(named))


def read_layer_table(
    tensors: dict[str, Tensor], record: LayerRecord, manifest: Manifest, name: str | None = None
) -> LayerTable:
    """A layer's table out of the tensors of tables.safetensors.

    Raises:
        KeyError: a tensor is missing.
        ValueError: one is not what an atlas holds.
    """
    name = record.name if name is None else name
    table = {field: tensors[f"{name}/{field}"] for field in TABLE_FIELDS}
    check_table(table, record, manifest, name)
    return LayerTable(**table)
