"""Parts of an atlas as one holds them in the hand: `atlas["conv5"]`, and `atlas["conv5/12"]`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from convscope.atlas.manifest import ImageRecord, LayerRecord, Manifest
from convscope.display import Pictured
from convscope.methods.checks import Trust

__all__ = ["AtlasLayer", "AtlasUnit", "Pages"]


class Pages(Protocol):
    """What a part asks of the atlas that it belongs to; `Atlas` has it."""

    manifest: Manifest
    images: list[ImageRecord]
    layers: Any

    @property
    def kinds(self) -> tuple[str, ...]: ...
    def record(self, layer: str) -> LayerRecord: ...
    def picture(self, kind: str, layer: str, channel: int, rank: int) -> Image.Image: ...
    def trust(self, layer: str, channel: int, rank: int = 0) -> Trust | None: ...
    def told_class(self, layer: str, channel: int) -> str | None: ...


@dataclass(frozen=True, repr=False)
class AtlasUnit(Pictured):
    """One feature map of an atlas, with the places that excite it most.

    Attributes:
        atlas: that it belongs to.
        layer: its layer's name.
        channel: its number in the layer.

    Example:
        >>> unit = convscope.open_atlas("atlas")["conv5/12"]
        >>> unit.spotlight(0).save("strongest.png")
        >>> unit.show()
    """

    atlas: Pages
    layer: str
    channel: int

    @property
    def values(self) -> tuple[float, ...]:
        """The strongest activations, best first, one of an image."""
        table = self.atlas.layers[self.layer]
        kept = table.image[self.channel] >= 0
        return tuple(table.value[self.channel][kept].tolist())

    @property
    def why_empty(self) -> str:
        """What keeps a map without pictures from having some, in words."""
        lost = bool(self.atlas.layers[self.layer].not_finite[self.channel])
        return "NaN or infinite in all images" if lost else "above zero in no image"

    @property
    def images(self) -> tuple[ImageRecord, ...]:
        """The images that these are of."""
        numbers = self.atlas.layers[self.layer].image[self.channel].tolist()
        return tuple(self.atlas.images[number] for number in numbers if number >= 0)

    @property
    def trust(self) -> Trust | None:
        """How far the strongest picture can be trusted; None where it was not checked."""
        return self.atlas.trust(self.layer, self.channel)

    @property
    def told_class(self) -> str | None:
        """The class that the map tells better than chance would, if it tells one."""
        known = self.atlas.manifest.extras is not None
        return self.atlas.told_class(self.layer, self.channel) if known else None

    def patch(self, rank: int = 0) -> Image.Image:
        """The image patch that excites it; rank 0 is the strongest."""
        return self.atlas.picture("patch", self.layer, self.channel, rank)

    def projection(self, rank: int = 0) -> Image.Image:
        """The unit's projection there, scaled around grey."""
        return self.atlas.picture("projection", self.layer, self.channel, rank)

    def spotlight(self, rank: int = 0) -> Image.Image:
        """The patch, lit where the projection has its energy."""
        return self.atlas.picture("spotlight", self.layer, self.channel, rank)

    def __str__(self) -> str:
        return f"{self.layer}/{self.channel}"

    def __repr__(self) -> str:
        values = self.values
        if not values:
            return f"<AtlasUnit {self}: {self.why_empty}>"
        told = f", tells {self.told_class}" if self.told_class else ""
        return f"<AtlasUnit {self}: {len(values)} images, {values[0]:.4g} the strongest{told}>"


@dataclass(frozen=True, repr=False)
class AtlasLayer(Pictured):
    """One layer of an atlas: as many units as it has feature maps.

    Attributes:
        atlas: that it belongs to.
        name: of the layer.

    Example:
        >>> layer = convscope.open_atlas("atlas")["conv5"]
        >>> layer[12].show()
        >>> [unit for unit in layer if unit.told_class == "dog"]
    """

    atlas: Pages
    name: str

    @property
    def record(self) -> LayerRecord:
        """What the manifest says of it."""
        return self.atlas.record(self.name)

    def __len__(self) -> int:
        return self.record.channels

    def __getitem__(self, channel: int) -> AtlasUnit:
        if not 0 <= channel < len(self):  # ends an iteration, too
            raise IndexError(f"layer {self.name!r} has feature maps 0 to {len(self) - 1}")
        return AtlasUnit(self.atlas, self.name, channel)

    def __iter__(self) -> Iterator[AtlasUnit]:
        return (self[channel] for channel in range(len(self)))

    def __repr__(self) -> str:
        seen = "x".join(map(str, self.record.field.size))
        dead = f", {self.record.dead} dead" if self.record.dead else ""
        lost = f", {self.record.not_finite} not finite" if self.record.not_finite else ""
        return f"<AtlasLayer {self.name}: {len(self)} maps, each sees {seen} px{dead}{lost}>"
