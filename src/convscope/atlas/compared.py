"""Another network's maps that an atlas's page leads to: comparison.json in its folder.

`convscope compare` finds them, `convscope atlas --compare DIR` takes them in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from convscope.atlas.manifest import StoredRecord
from convscope.atlas.store import Atlas
from convscope.errors import BadInput
from convscope.store.atomic import replace_file

__all__ = [
    "ATLASES",
    "Compared",
    "ComparedLayer",
    "compared_of_study",
    "page_of",
    "read_compared",
    "write_compared",
]

COMPARED = "comparison.json"
RESULT, PAGE = "result.json", "index.html"  # of the study
ATLASES = "atlases.json"  # of the study: the folders of both atlases, as seen from its own


class ComparedLayer(StoredRecord):
    """A layer of the atlas, matched with one of the other network.

    Attributes:
        layer: the other network's.
        number: its place in the comparison, from 0.
        level: the correlation above which a pair counts as the same map.
        partner: of each map the other network's map; None where it has none.
        correlation: of each such pair.
        maps: how many the other network's layer has; None of a file of an earlier version.
        cka: how alike the layers are as a whole; None where nothing can be said.
    """

    layer: str
    number: int
    level: float
    partner: tuple[int | None, ...]
    correlation: tuple[float | None, ...]
    maps: int | None = None
    cka: float | None = None

    def of_map(self, channel: int) -> tuple[int, float] | None:
        """The other network's map and the correlation with it; None where there is none."""
        partner, r = self.partner[channel], self.correlation[channel]
        return None if partner is None or r is None else (partner, r)

    @property
    def alike(self) -> int:
        """How many maps have one that answers alike."""
        return sum(r is not None and r > self.level for r in self.correlation)


class Compared(StoredRecord):
    """An atlas's network beside another one.

    Attributes:
        weights_sha256: of the atlas's network.
        other: the other network's name.
        data: the images that both looked at.
        layers: the atlas's, by name.
        page: the folder of the comparison, seen from the atlas; None where it has no page.
        atlas: that of the other network's atlas; None where none was given.
    """

    weights_sha256: str | None
    other: str
    data: str
    layers: dict[str, ComparedLayer]
    page: str | None = None
    atlas: str | None = None


_PLACES = TypeAdapter(tuple[str, str])


def compared_of_study(folder: Path, atlas: Path) -> tuple[Compared, Compared]:
    """Read what a comparison found, as each of its two networks sees it.

    Args:
        folder: that `convscope compare --out` wrote.
        atlas: the folder of the atlas, from where the pages are seen.

    Raises:
        BadInput: it holds no finished comparison.
    """
    try:
        found = json.loads((folder / RESULT).read_bytes())
        weights = [side["weights_sha256"] for side in (found["about"], found["about"]["other"])]
        there = [None, None] if not (folder / ATLASES).is_file() else _places(folder, atlas)
        page = _seen_from(atlas, folder) if (folder / PAGE).is_file() else None
        names = found["model"], found["other"]
        first, second = (
            Compared(
                weights_sha256=weights[side],
                other=names[1 - side],
                data=found["data"],
                layers=_layers(found["layers"], side),
                page=page,
                atlas=there[1 - side],
            )
            for side in (0, 1)
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BadInput(
            f"{folder} holds no finished comparison; make one with `convscope compare --out DIR`"
        ) from None
    return first, second


def _places(folder: Path, atlas: Path) -> list[str]:
    """The two atlases' folders, as seen from one of them."""
    places = _PLACES.validate_json((folder / ATLASES).read_bytes())
    return [_seen_from(atlas, folder / place) for place in places]


def _seen_from(atlas: Path, folder: Path) -> str:
    return Path(os.path.relpath(folder, atlas)).as_posix()


def _layers(matches: Sequence[Mapping[str, Any]], side: int) -> dict[str, ComparedLayer]:
    """The layers of one network; of one that was compared with several the first."""
    layers: dict[str, ComparedLayer] = {}
    for number, match in enumerate(matches):
        partner, r = list(match["partner"]), list(match["correlation"])
        if len(r) != len(partner) or len(partner) != match["maps"][0]:
            raise ValueError("a layer has not one partner for each of its maps")
        if side == 1:
            partner, r = _turned(partner, r, match["maps"][1])
        own, other = match["layer"], match["other"]
        if side == 1:
            own, other = other, own
        layers.setdefault(
            own,
            ComparedLayer(
                layer=other,
                number=number,
                level=match["level"],
                partner=tuple(partner),
                correlation=tuple(r),
                maps=match["maps"][1 - side],
                cka=match.get("cka"),
            ),
        )
    return layers


def _turned(
    partner: Sequence[int | None], r: Sequence[float | None], maps: int
) -> tuple[list[int | None], list[float | None]]:
    """The same match as the other layer sees it, that has so many maps."""
    own: list[int | None] = [None] * maps
    its: list[float | None] = [None] * maps
    for number, other in enumerate(partner):
        if other is not None:
            own[other], its[other] = number, r[number]
    return own, its


def write_compared(atlas: Atlas, sides: tuple[Compared, Compared]) -> None:
    """Keep what a comparison found about an atlas's network.

    Raises:
        BadInput: the comparison is of other weights.
    """
    weights = atlas.manifest.model.weights_sha256
    own = next((side for side in sides if side.weights_sha256 == weights), None)
    if own is None:
        raise BadInput(f"the comparison is of other weights than the atlas in {atlas.folder}")
    replace_file(atlas.folder / COMPARED, own.model_dump_json(indent=1).encode())


def read_compared(atlas: Atlas) -> Compared | None:
    """What an atlas was given; None without a comparison.

    Raises:
        BadInput: the file is damaged.
    """
    path = atlas.folder / COMPARED
    if not path.is_file():
        return None
    try:
        found = Compared.model_validate_json(path.read_bytes())
    except ValidationError:
        found = None
    if found is None or not _fits(atlas, found):
        raise BadInput(f"{path} is damaged; give the atlas its comparison again")
    return found


def _fits(atlas: Atlas, found: Compared) -> bool:
    """Whether each of the atlas's layers that were compared has one entry for each of its maps."""
    maps = {layer.name: layer.channels for layer in atlas.manifest.layers}
    return all(
        len(layer.partner) == len(layer.correlation) == maps.get(name, len(layer.partner))
        for name, layer in found.layers.items()
    )


def page_of(folder: str | None) -> str | None:
    """The address of the page in a folder that an atlas's page leads to."""
    return None if folder is None else quote(f"{folder}/{PAGE}")
