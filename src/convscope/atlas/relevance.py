"""The observer of relevance: every feature map keeps the images where it is worth most to a class.

relevance.safetensors    "<layer>/<class>/<field>", the fields of an atlas's tables: as there, but
                         the value is the relevance, and what is not above zero takes no place
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope.images.batches import Batch
from convscope.methods.relevance import relevance_by_class
from convscope.network.network import Network
from convscope.scan.strongest import Tables, as_maps
from convscope.scan.topk import TopK

__all__ = ["MostRelevant"]

TOGETHER = 8
"""Images whose derivatives are kept together."""


class MostRelevant(Tables):
    """Observes where the activation times the derivative of a class's log-odds is largest.

    Args:
        network: on the device that is used.
        activations: layer -> the layer whose value is its activation.
        classes: numbers of classes.
        top: K, how many images each feature map keeps.

    Source:
        Achtibat et al. 2023: relevance maximisation (RelMax).
    """

    key = "relevance/"

    def __init__(
        self, network: Network, activations: Mapping[str, str], classes: Sequence[int], top: int
    ) -> None:
        self.network, self.activations, self.classes = network, dict(activations), tuple(classes)
        channels = {
            _name(layer, number): network.layer(at).channels
            for layer, at in activations.items()
            for number in self.classes
        }
        super().__init__(channels, top, network.device)

    @property
    def layers(self) -> Collection[str]:
        return ()  # it runs the images itself, as it needs derivatives

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        raise AssertionError("it looks at no layer of the scan")

    def end(self, batch: Batch, number: int) -> None:
        for start in range(0, len(batch), TOGETHER):
            images = batch.tensors[start : start + TOGETHER].to(self.network.device)
            self._look(images, batch.indices[start : start + TOGETHER])

    def _look(self, images: Tensor, indices: Tensor) -> None:
        trace = self.network.trace(images, [])
        looked_at = list(dict.fromkeys(self.activations.values()))
        for number, found in zip(
            self.classes, relevance_by_class(trace, looked_at, self.classes), strict=True
        ):
            for layer, at in self.activations.items():
                if at in found:
                    self.tables[_name(layer, number)].update(as_maps(found[at]), indices)

    def found(self, layer: str, number: int) -> TopK:
        """Where a layer's maps are worth most to a class, as far as they speak for it."""
        table = self.tables[_name(layer, number)].to("cpu")
        nothing = ~(table.value > 0)
        return replace(
            table,
            value=table.value.masked_fill(nothing, -torch.inf),
            image=table.image.masked_fill(nothing, -1),
            row=table.row.masked_fill(nothing, -1),
            column=table.column.masked_fill(nothing, -1),
        )


def _name(layer: str, number: int) -> str:
    return f"{layer}/{number}"
