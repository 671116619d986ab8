"""What an atlas's page shows of another network's atlas, for the same images.

Its pictures are copied, so that the page opens wherever the atlas lies, with one atlas at hand.

    data/compared/<slug>.js           a layer's matches, see `match_table`
    data/compared/<slug>/<map>.js     a map of the other network's, see `other_tables`
    sheets/<slug>/compared-NNN.webp   of 40 of its maps each, ten in a row, the strongest picture
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convscope.atlas.compared import Compared, ComparedLayer, page_of
from convscope.atlas.folder import sheet_path
from convscope.atlas.manifest import LayerRecord
from convscope.atlas.store import Atlas, open_atlas
from convscope.errors import BadInput
from convscope.report.embedded_data import call
from convscope.report.page_pictures import PagePictures, encoded, shown_kinds
from convscope.report.page_tables import ShownImages, ranks_of
from convscope.store.atomic import replace_file

__all__ = ["ComparedPages", "match_table", "other_tables"]

PLACE = "data/compared"


class ComparedPages:
    """Writes the two networks' maps side by side.

    Args:
        atlas: whose page it is.
        compared: what was found; None writes nothing.
    """

    def __init__(self, atlas: Atlas, compared: Compared | None) -> None:
        self.atlas, self.compared = atlas, compared
        self.other = None if compared is None else other_atlas(atlas, compared)

    def write(self) -> None:
        """Write what the page asks for; what an earlier comparison left is removed."""
        shutil.rmtree(self.atlas.folder / PLACE, ignore_errors=True)
        for old in (self.atlas.folder / "sheets").glob("*/compared-*.webp"):
            old.unlink()
        for record in self.atlas.manifest.layers:
            match = None if self.compared is None else self.compared.layers.get(record.name)
            if match is not None:
                self._write_layer(record, match)

    def summary(self) -> dict[str, Any]:
        """What the page needs at once: which layers there are to see, and how they are shown."""
        if self.compared is None:
            return {}
        layers = [record.name for record in self.atlas.manifest.layers]
        kind = None if self.other is None else shared_kind(self.atlas, self.other)
        same = self.other is not None and self._same_images(self.other)
        return {
            "name": self.compared.other,
            "atlas": page_of(self.compared.atlas),
            "layers": [name for name in layers if name in self.compared.layers],
            "data": self.compared.data,
            "kind": kind,
            "same": same,
        }

    def _same_images(self, other: Atlas) -> bool:
        return other.manifest.data.identity == self.atlas.manifest.data.identity

    def _write_layer(self, record: LayerRecord, match: ComparedLayer) -> None:
        place = f"{PLACE}/{record.slug}"
        (self.atlas.folder / place).mkdir(parents=True, exist_ok=True)
        its = None if self.other is None else record_of(self.other, match)
        table = match_table(match, self.other, its)
        replace_file(self.atlas.folder / f"{place}.js", call("receive", place, table))
        if self.other is None or its is None:
            return
        pictures, kind = PagePictures(self.other), shared_kind(self.atlas, self.other)
        for number, sheet in enumerate(pictures.best(its, kind)):
            path = sheet_path(self.atlas.folder, record.slug, "compared", number)
            replace_file(path, encoded(sheet, its))
        tables = other_tables(self.other, its)
        for channel, (unit, sheet) in enumerate(
            zip(tables, pictures.ranks(its, kind), strict=True)
        ):
            pixels = base64.b64encode(encoded(sheet, its)).decode()
            at = f"{place}/{channel}"
            script = call("receive", at, {**unit, "sheet": pixels})
            replace_file(self.atlas.folder / f"{at}.js", script)


def other_atlas(atlas: Atlas, compared: Compared) -> Atlas | None:
    """The other network's atlas; None where none was given, or it lies there no more."""
    if compared.atlas is None:
        return None
    try:
        return open_atlas(Path(atlas.folder, compared.atlas))
    except BadInput:
        return None


def record_of(other: Atlas, match: ComparedLayer) -> LayerRecord | None:
    """The layer in the other atlas; None where it lacks it, or has another one of that name."""
    if match.layer not in other.layers:
        return None
    record = other.record(match.layer)
    partners = [partner for partner in match.partner if partner is not None]
    return record if all(partner < record.channels for partner in partners) else None


def shared_kind(atlas: Atlas, other: Atlas) -> str:
    """The kind of pictures that both atlases have: the spotlight, if they can."""
    common = [kind for kind in shown_kinds(atlas.manifest) if kind in other.kinds]
    return common[0]


def match_table(
    match: ComparedLayer, other: Atlas | None, its: LayerRecord | None
) -> dict[str, Any]:
    """What the page tells of a layer.

    `maps` is how many the other layer has, null where nobody knows; `dead` are those that are never
    above zero; `coarse` is whether single pixels are enlarged on its pictures, null where there
    are none.
    """
    dead: list[int] = []
    if other is not None and its is not None:
        dead = (other.layers[its.name].active == 0).nonzero().flatten().tolist()
    return {
        "layer": match.layer,
        "activation": match.layer if its is None else its.activation,
        "level": match.level,
        "cka": match.cka,
        "partner": match.partner,
        "correlation": match.correlation,
        "maps": match.maps if its is None else its.channels,
        "dead": dead,
        "coarse": None if its is None else its.tile > max(its.window),
    }


def other_tables(other: Atlas, record: LayerRecord) -> Iterator[dict[str, Any]]:
    """Of each map of the other network's layer its strongest activations, as of a unit's own."""
    images = ShownImages(other)
    for ranks in ranks_of(other, record, images):
        yield {"ranks": ranks}
