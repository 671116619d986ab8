"""The atlas on disk: a folder with a manifest, tables, an image list and sheets of pictures.

    manifest.json        what was looked at, with what, and what came of it (`Manifest`)
    images.json          every image: name, hash, label (`ImageRecord`), in data set order
    tables.safetensors   "<layer>/value" float32 (C, K), "/image" "/row" "/column" int64 (C, K),
                         "/box" int64 (C, K, 4), "/active" "/non_finite" int64 (C,)
    sheets/<slug>/       patch-000.webp, projection-000.webp, wall-….webp, filters.webp (see sheets)

Not in a plain atlas:

    sheets/<slug>/       spotlight-000.webp, wall-spotlight-000.webp
    sheets/<slug>/       contrast-000.webp: what is the unit's own, where a checked picture is not
    sheets/<slug>/       example-000.webp: patches at the manifest's quantiles of each map's maxima
    sheets/<slug>/       relevant-<class>-000.webp: where each map is worth most to a class
    relevance.safetensors     the places of these, as in tables, for "<layer>/<class>"
    trust.safetensors    how far the strongest pictures can be trusted (see trust)
    statistics.safetensors    of each map over all images (see statistics)
    optimised.json       how optimised pictures were made, where there are some (see optimised)
    checksums.json       of all of these files, by which a damaged one is told (see checksums)

Every file is written beside its place and moved there whole, so a reader, or the next run after a
kill, sees either the old bytes or the new ones.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar, overload

from PIL import Image
from torch import Tensor

from convscope.atlas.checksums import read_checksums
from convscope.atlas.entries import AtlasLayer, AtlasUnit
from convscope.atlas.folder import (
    CONTRAST,
    EXAMPLE,
    IMAGE_LIST,
    IMAGES,
    MANIFEST,
    OPTIMISED,
    PLACES,
    RELEVANCE,
    SHEETS,
    TABLES,
    damaged,
    read_content,
    read_manifest,
    read_tensors,
    relevant_kind,
    sheet_path,
    unfinished,
)
from convscope.atlas.manifest import ExtrasRecord, ImageRecord, LayerRecord, Manifest
from convscope.atlas.schema import check_image_list
from convscope.atlas.sheets import MAPS_PER_SHEET, WALL, cell_box
from convscope.atlas.statistics import STATISTICS, Statistics, statistics_of, top_images
from convscope.atlas.tables import Layers, LayerTable, read_layer_table
from convscope.atlas.trust import TRUST, TrustTable, trust_of, trust_tables
from convscope.display import Pictured, html_table
from convscope.errors import BadInput, BadOption, NoSuchUnit
from convscope.methods.checks import Trust
from convscope.network.unit import Unit
from convscope.store.names import check_inside

__all__ = ["Atlas", "open_atlas"]

T = TypeVar("T")


class Atlas(Pictured):
    """A finished atlas, as `open_atlas` reads it.

    Attributes:
        folder: where it lies.
        manifest: what it shows and how it was made.
        images: of the data set, in its order.
        layers: name -> the layer's strongest places.
        checksums: of its files; None of an atlas that was made before there were any.

    Example:
        >>> atlas = convscope.open_atlas("atlas")
        >>> atlas.layers["conv5"].value[12]  # the strongest activations of feature map 12
        >>> atlas.patch("conv5", channel=12, rank=0).save("patch.png")
        >>> atlas["conv5/12"].show()
    """

    def __init__(
        self, folder: Path, manifest: Manifest, images: list[ImageRecord], layers: Layers
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.images = images
        self.layers = layers
        self.checksums = read_checksums(folder)
        self._records = {record.name: record for record in manifest.layers}
        self._sheet = lru_cache(maxsize=16)(self.sheet)

    @overload
    def __getitem__(self, address: Unit) -> AtlasUnit: ...

    @overload
    def __getitem__(self, address: str) -> Any: ...  # which of the two is in the text

    def __getitem__(self, address: str | Unit) -> AtlasUnit | AtlasLayer:
        """A layer by its name, or a feature map by its address.

        Args:
            address: such as "conv5", or "conv5/12".

        Raises:
            NoSuchLayer: with the nearest names.
            NoSuchUnit: no such channel, or a position is given.

        Example:
            >>> atlas["conv5/12"].show()
        """
        if isinstance(address, str) and (address in self.layers or "/" not in address):
            return AtlasLayer(self, self.record(address).name)
        unit = Unit.parse(address)
        if unit.position is not None:
            raise NoSuchUnit(
                f"{unit}: an atlas shows feature maps: leave the position out, as in "
                f"{unit.layer}/{unit.channel}"
            )
        self._check(unit.layer, unit.channel, 0)
        return AtlasUnit(self, unit.layer, unit.channel)

    def __repr__(self) -> str:
        about = self.manifest
        maps = sum(layer.channels for layer in about.layers)
        return (
            f"<Atlas {about.model.title or about.model.spec} over {about.data.count} images of "
            f"{about.data.spec}: {len(about.layers)} layers, {maps} maps, in {self.folder}>"
        )

    def _repr_html_(self) -> str:
        rows = (
            (layer.name, layer.channels, "x".join(map(str, layer.field.size)), layer.dead)
            for layer in self.manifest.layers
        )
        head = ("layer", "maps", "each sees, px", "dead maps")
        return html_table(head, rows, caption=repr(self).strip("<>"))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of each winner's pictures, such as ("patch", "projection", "spotlight")."""
        extras = self.manifest.extras
        return ("patch", "projection") if extras is None else extras.kinds

    def record(self, layer: str) -> LayerRecord:
        """What the manifest says of a layer.

        Raises:
            NoSuchLayer: with the nearest names.
        """
        self.layers[layer]
        return self._records[layer]

    def patch(self, layer: str, channel: int, rank: int) -> Image.Image:
        """The image patch that excited a feature map.

        Args:
            layer: its name.
            channel: the feature map.
            rank: the place among the map's strongest, from 0.

        Returns:
            RGB, a square whose side is the layer's `tile`.

        Raises:
            NoSuchLayer: with the nearest names.
            NoSuchUnit: no such channel.
            BadOption: no such rank.
        """
        return self.picture("patch", layer, channel, rank)

    def projection(self, layer: str, channel: int, rank: int) -> Image.Image:
        """The projection of the unit that a patch belongs to, scaled around grey.

        Args, result and errors are those of `patch`.
        """
        return self.picture("projection", layer, channel, rank)

    def spotlight(self, layer: str, channel: int, rank: int) -> Image.Image:
        """The patch, lit where its unit's projection has its energy.

        Args, result and errors are those of `patch`, and:

        Raises:
            BadOption: the atlas is a plain one, without spotlights.
        """
        return self.picture("spotlight", layer, channel, rank)

    def picture(self, kind: str, layer: str, channel: int, rank: int) -> Image.Image:
        """One of a winner's pictures, by the name of its kind.

        Args:
            kind: one of `kinds`.
            layer, channel, rank: as of `patch`.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption: as `patch`, or there is no such kind.
        """
        record = self._check(layer, channel, rank)
        if kind not in self.kinds:
            raise BadOption(
                f"the atlas in {self.folder} holds no {kind}s; make it anew, without --plain"
            )
        return self._cell(record, kind, channel, rank)

    def trust(self, layer: str, channel: int, rank: int = 0) -> Trust | None:
        """How far a picture can be trusted, as far as the atlas knows.

        Args:
            layer: its name.
            channel: the feature map.
            rank: the place among the map's strongest, from 0.

        Returns:
            What was measured; None where the picture was not checked: the atlas is a plain one, or
            checks fewer pictures of each map, or the unit is not above zero.

        Raises:
            NoSuchLayer: with the nearest names.
            NoSuchUnit: no such channel.
            BadOption: no such rank.

        Example:
            >>> atlas.trust("conv5", channel=12).sentence
        """
        record = self._check(layer, channel, rank)
        extras = self.manifest.extras
        if extras is None or rank >= extras.check:
            return None
        table, places = self._trust[layer], self.layers[layer]
        unit = Unit(record.activation, channel, *self._position(places, channel, rank))
        return trust_of({field: float(table[field][channel, rank]) for field in table}, unit)

    def example(self, layer: str, channel: int, quantile: int) -> Image.Image:
        """The patch of the image whose maximum of a map lies at a quantile of all images'.

        Args:
            layer: its name.
            channel: the feature map.
            quantile: number of the quantile in `manifest.extras.quantiles`, from 0.

        Raises:
            NoSuchLayer: with the nearest names.
            NoSuchUnit: no such channel.
            BadOption: no such quantile, or the atlas is a plain one.
        """
        record = self._check(layer, channel, 0)
        extras = self._extras()
        if not 0 <= quantile < len(extras.quantiles):
            raise BadOption(
                f"the atlas holds examples 0 to {len(extras.quantiles) - 1} of each feature map; "
                f"found {quantile}"
            )
        return self._cell(record, EXAMPLE, channel, quantile)

    def optimised(self, layer: str, channel: int) -> Image.Image:
        """The picture that was made to excite a feature map most.

        Args:
            layer: its name.
            channel: the feature map.

        Returns:
            RGB, a square whose side is the layer's `tile`.

        Raises:
            NoSuchLayer: with the nearest names.
            NoSuchUnit: no such channel.
            BadOption: the atlas holds none of this layer.
        """
        record = self._check(layer, channel, 0)
        number, place = divmod(channel, WALL**2)
        path = sheet_path(self.folder, record.slug, OPTIMISED, number)
        if not path.exists():
            raise BadOption(
                f"the atlas in {self.folder} holds no optimised pictures of {layer}; "
                f"`convscope atlas ... --resume --optimised {layer}` makes them"
            )
        top, left = (record.tile * at for at in divmod(place, WALL))
        return self._cut(path, (left, top, left + record.tile, top + record.tile))

    def optimised_activations(self, layer: str) -> list[float | None]:
        """What each map of a layer reaches in its optimised picture; empty without them.

        None is a map that is NaN or infinite there.

        Raises:
            NoSuchLayer: with the nearest names.
        """
        record = self.record(layer)
        found: list[float | None] = []
        for number in range(-(-record.channels // WALL**2)):
            path = sheet_path(self.folder, record.slug, OPTIMISED, number)
            if not path.exists():
                return []
            maps = min(WALL**2, record.channels - number * WALL**2)
            content = self.content(path.with_suffix(".json"))
            try:
                reached = json.loads(content)["activation"]
                if len(reached) != maps or not all(
                    isinstance(n, float | int | None) for n in reached
                ):
                    raise ValueError(f"it has no {maps} numbers")
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                raise damaged(path.with_suffix(".json"), error) from None
            found += reached
        return found

    def contrast(self, layer: str, channel: int, rank: int = 0) -> Image.Image | None:
        """The contrastive picture of a winner whose other pictures are not its own.

        It is the patch, lit where a box that covers it costs the unit more of its activation than
        other strong units of the place.

        Args:
            layer: its name.
            channel: the feature map.
            rank: the place among the map's strongest, from 0.

        Returns:
            RGB, a square whose side is the layer's `tile`; None where there is none: the picture
            was not checked, or is the unit's own, or nothing in the image is.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption: as `patch`.
        """
        if not self.contrast_strength(layer, channel, rank) > 0:
            return None
        record = self.record(layer)
        return self._cell(record, CONTRAST, channel, rank)

    def contrast_strength(self, layer: str, channel: int, rank: int = 0) -> float:
        """The largest share of its activation that a unit loses beyond its neighbours.

        Args and errors are those of `contrast`. NaN where nobody looked.
        """
        self._check(layer, channel, rank)
        extras = self.manifest.extras
        if extras is None or rank >= extras.check:
            return math.nan
        return float(self._trust[layer]["contrast"][channel, rank])

    def relevant(self, layer: str, channel: int, rank: int, number: int) -> Image.Image:
        """The patch of an image where a feature map is worth most to a class.

        Args:
            layer: its name.
            channel: the feature map.
            rank: the place among those of the map, from 0.
            number: of the class.

        Returns:
            RGB, a square whose side is the layer's `tile`; grey where no image takes the place.

        Raises:
            NoSuchLayer, NoSuchUnit: as `patch`.
            BadOption: no such rank, or the atlas was made without this class of interest.
        """
        record = self._check(layer, channel, rank)
        self.relevance(layer, number)
        return self._cell(record, relevant_kind(number), channel, rank)

    def relevance(self, layer: str, number: int) -> LayerTable:
        """Where each map of a layer is worth most to a class: the activation times a derivative.

        Args:
            layer: its name.
            number: of the class.

        Raises:
            NoSuchLayer: with the nearest names.
            BadOption: the atlas was made without this class of interest.

        Example:
            >>> atlas.relevance("conv5", 3).image[12]
        """
        self.layers[layer]
        extras = self._extras()
        if number not in extras.relevant:
            raise BadOption(
                f"the atlas in {self.folder} holds no patches for class {number}; "
                f"`convscope atlas ... --relevant {number}` makes one that does"
            )
        return self._relevance[f"{layer}/{number}"]

    def statistics(self, layer: str) -> Statistics:
        """What is known of a layer's maps over all images, by field (see `atlas.statistics`).

        Raises:
            NoSuchLayer: with the nearest names.
            BadOption: the atlas is a plain one.

        Example:
            >>> atlas.statistics("conv5")["histogram"][12]
        """
        self.layers[layer]
        self._extras()
        return self._statistics[layer]

    def told_class(self, layer: str, channel: int) -> str | None:
        """The class that a map tells better than chance would; None where it tells none.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption: as `example`.
        """
        self._check(layer, channel, 0)
        table = self.statistics(layer)
        number = int(table["class"][channel])
        if number < 0 or not table["auc"][channel] > table["auc_chance"][channel]:
            return None
        return self.class_names.get(number, str(number))

    def top_classes(self, layer: str, channel: int) -> list[tuple[str, int]]:
        """The classes of the images that excite a map most, above zero, and how many of each.

        Beside them `all_classes` says how many there are of each at all.

        Raises:
            NoSuchLayer, NoSuchUnit, BadOption: as `example`.
        """
        self._check(layer, channel, 0)
        return self._count_classes(
            self.images[at] for at in top_images(self.statistics(layer), channel)
        )

    @cached_property
    def all_classes(self) -> list[tuple[str, int]]:
        """The classes of all images, and how many there are of each, the most frequent first."""
        return self._count_classes(self.images)

    @cached_property
    def class_names(self) -> dict[int, str]:
        """The names of the images' classes by number."""
        return {number: name for image in self.images for number, name in image.classes().items()}

    def _count_classes(self, images: Iterable[ImageRecord]) -> list[tuple[str, int]]:
        labels = Counter(number for image in images for number in image.classes())
        order = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
        return [(self.class_names[label], count) for label, count in order]

    def _extras(self) -> ExtrasRecord:
        """What the atlas holds besides patches and projections.

        Raises:
            BadOption: nothing.
        """
        if self.manifest.extras is None:
            raise BadOption(
                f"the atlas in {self.folder} holds patches and projections alone; make it anew, "
                "without --plain"
            )
        return self.manifest.extras

    def content(self, path: Path) -> bytes:
        """The bytes of one of the atlas's files, compared with its checksum, if it has one.

        Args:
            path: of the file.

        Raises:
            BadInput: it is missing, or damaged.
        """
        return read_content(self.folder, path, self.checksums)

    def sheet(self, path: Path) -> Image.Image:
        """One of the atlas's sheets, RGB.

        Args:
            path: of the sheet.

        Raises:
            BadInput: it is missing, or damaged.
        """
        try:
            with Image.open(io.BytesIO(self.content(path))) as image:
                return image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if isinstance(error, BadInput):
                raise
            raise damaged(path, error) from None

    def _cell(self, record: LayerRecord, kind: str, channel: int, rank: int) -> Image.Image:
        """A map's picture on a layer's sheets of a kind."""
        path = sheet_path(self.folder, record.slug, kind, channel // MAPS_PER_SHEET)
        return self._cut(path, cell_box(channel, rank, record.tile))

    def _cut(self, path: Path, box: tuple[int, int, int, int]) -> Image.Image:
        sheet = self._sheet(path)
        if box[2] > sheet.width or box[3] > sheet.height:
            raise damaged(path, f"it has {sheet.width}x{sheet.height} pixels alone")
        return sheet.crop(box)

    @cached_property
    def _statistics(self) -> dict[str, Statistics]:
        return self._read(STATISTICS, lambda found: statistics_of(found, self.manifest))

    @cached_property
    def _relevance(self) -> dict[str, LayerTable]:
        numbers = self._extras().relevant
        return self._read(
            RELEVANCE,
            lambda found: {
                f"{layer}/{number}": read_layer_table(
                    found, record, self.manifest, f"{layer}/{number}"
                )
                for layer, record in self._records.items()
                for number in numbers
            },
        )

    @cached_property
    def _trust(self) -> dict[str, TrustTable]:
        return self._read(TRUST, lambda found: trust_tables(found, self.manifest))

    def _read(self, name: str, make: Callable[[dict[str, Tensor]], T]) -> T:
        """What a file of tensors holds.

        Raises:
            BadInput: it is missing, or damaged.
        """
        return read_tensors(self.folder / name, self.content(self.folder / name), make)

    @staticmethod
    def _position(table: LayerTable, channel: int, rank: int) -> tuple[int, int] | tuple[()]:
        row, column = int(table.row[channel, rank]), int(table.column[channel, rank])
        return (row, column) if row >= 0 else ()

    def _check(self, layer: str, channel: int, rank: int) -> LayerRecord:
        """A layer's record, if it has the channel and the atlas the rank."""
        record = self.record(layer)
        if not 0 <= channel < record.channels:
            raise NoSuchUnit(
                f"layer {layer!r} has feature maps 0 to {record.channels - 1}; found {channel}"
            )
        if not 0 <= rank < self.manifest.top:
            raise BadOption(
                f"the atlas holds ranks 0 to {self.manifest.top - 1} of each feature map; "
                f"found {rank}"
            )
        return record


def open_atlas(folder: str | Path) -> Atlas:
    """Read a finished atlas.

    Args:
        folder: that `build_atlas` or `convscope atlas` wrote.

    Raises:
        BadInput: no atlas is there, or it is unfinished or damaged, or a newer Convscope wrote it.

    Example:
        >>> convscope.open_atlas("atlas").manifest.top
        9
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not manifest.complete:
        raise unfinished(folder)
    check_inside(folder, (*PLACES, *(f"{SHEETS}/{record.slug}" for record in manifest.layers)))
    sums = read_checksums(folder)
    read_content(folder, folder / MANIFEST, sums)
    try:
        images = IMAGE_LIST.validate_json(read_content(folder, folder / IMAGES, sums))
        check_image_list(manifest, images)
    except ValueError as error:
        if isinstance(error, BadInput):
            raise
        raise damaged(folder / IMAGES, error) from None
    layers = read_tensors(
        folder / TABLES,
        read_content(folder, folder / TABLES, sums),
        lambda found: Layers(
            (record.name, read_layer_table(found, record, manifest)) for record in manifest.layers
        ),
    )
    return Atlas(folder, manifest, images, layers)
