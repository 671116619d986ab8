"""Names and stars that a person gave to units of an atlas: names.json in its folder.

    {"units": {"conv5/12": {"name": "dog heads", "star": true}}}

The atlas's page exports such a file, and `convscope atlas --names FILE` takes it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from convscope.atlas.manifest import StoredRecord
from convscope.atlas.store import Atlas
from convscope.errors import BadInput
from convscope.store.atomic import replace_file
from convscope.text import is_number

__all__ = ["Names", "UnitName", "names_of", "read_unit_names", "write_names"]

NAMES = "names.json"


class UnitName(StoredRecord):
    """What a person said of a unit.

    Attributes:
        name: given to it; may be empty.
        star: whether it is starred.
    """

    name: str = ""
    star: bool = False


class Names(StoredRecord):
    """Names of units.

    Attributes:
        units: unit, as the command line names it -> what was said of it.
    """

    units: dict[str, UnitName]


def read_unit_names(path: Path) -> Names:
    """Read a file of names.

    Raises:
        BadInput: it is missing, or is no such file.
    """
    try:
        return Names.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"the names in {path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise BadInput(
            f"{path} holds no names of units: {place}: {first['msg'].lower()}; the atlas's page "
            'exports such a file: {"units": {"conv5/12": {"name": "dog heads", "star": true}}}'
        ) from None


def names_of(atlas: Atlas) -> Names:
    """The names that an atlas has; none of one that was given none."""
    path = atlas.folder / NAMES
    return read_unit_names(path) if path.is_file() else Names(units={})


def write_names(atlas: Atlas, names: Names) -> None:
    """Give units of an atlas names and stars; those of other units stay.

    Raises:
        BadInput: the atlas has no such unit.
    """
    known = {record.activation: record.channels for record in atlas.manifest.layers}
    unknown = [unit for unit in names.units if not _is_known(unit, known)]
    if unknown:
        some = next(iter(known))
        said = ", ".join(repr(unit) for unit in unknown)
        raise BadInput(
            f"the atlas in {atlas.folder} has no unit {said}; it has {some}/0 and others of "
            f"{', '.join(known)}"
        )
    whole = Names(units={**names_of(atlas).units, **names.units})
    replace_file(atlas.folder / NAMES, whole.model_dump_json(indent=1).encode())


def _is_known(unit: str, channels: Mapping[str, int]) -> bool:
    """Whether layers of so many channels hold a unit, LAYER/CHANNEL."""
    layer, _, channel = unit.rpartition("/")
    return channel.isascii() and is_number(channel, channels.get(layer, 0) - 1)
