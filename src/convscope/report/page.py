"""The atlas as a page: an atlas folder -> index.html, page/ and data/ in the same folder.

The page opens by double-click, so nothing is fetched: numbers come as scripts that call
`convscope.start(summary)` or `convscope.receive(place, table)` (see page_tables), which the page
asks for when the reader comes to them. A unit's script holds its pictures, too, so that a unit is
one small file; walls and the overview show sheets.

Names of layers, classes and files are data: the template escapes them, the scripts hold them as
JSON without any character that could end a script, and the page's own scripts make text of them.
"""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from convscope.atlas.compared import read_compared
from convscope.atlas.findings import StoredFinding, read_findings
from convscope.atlas.folder import OPTIMISED
from convscope.atlas.gallery import UNTRAINED, has_gallery, read_predictions
from convscope.atlas.manifest import LayerRecord, Manifest
from convscope.atlas.names import names_of
from convscope.atlas.sheets import FILTER_COLUMNS, WALL
from convscope.atlas.store import Atlas, open_atlas
from convscope.experiments.diagnosis.findings import Remedy
from convscope.methods.checks import SPECIFIC
from convscope.report.embedded_data import call, lean, template
from convscope.report.page_compared import ComparedPages
from convscope.report.page_overview import LayerChoice, NetworkStrip, lead_unit
from convscope.report.page_pictures import (
    BEST_MAPS,
    COLUMNS,
    SEVERAL,
    PagePictures,
    encoded,
    has_sheets_of_maps,
    sheet_plan,
    shown_kinds,
)
from convscope.report.page_tables import (
    ShownImages,
    image_tables,
    relatives,
    rounded,
    unit_tables,
    wall_table,
)
from convscope.report.page_words import atlas_page_words, overview_words, project_command, title_of
from convscope.store.atomic import replace_file

__all__ = ["write_page"]

FIRST = ("atlas.js", "drawing.js", "notes.js", "controls.js")  # that every view needs
LATER = ("overview", "wall", "evidence", "unit", "image", "diagnosis", "compare", "saving")
SCRIPTS = (*(f"page/{name}" for name in FIRST), "page/data.js")  # in this order
OWN_FILES = ("atlas.css", *FIRST, *(f"{name}.js" for name in LATER))
AT_ONCE = 64  # units whose sheets wait to be encoded


def write_page(atlas_dir: str | Path) -> Path:
    """Write the page of a finished atlas into its folder.

    Each file is replaced as a whole and index.html comes last, so a page that opens is complete.
    The same atlas always gives the same bytes; an older page is replaced.

    Args:
        atlas_dir: The atlas.

    Returns:
        The path of index.html.

    Raises:
        BadInput: There is no atlas, or it is unfinished or damaged.
    """
    atlas = open_atlas(atlas_dir)
    for place in ("page", "page/images", "data", "data/units"):
        (atlas.folder / place).mkdir(exist_ok=True)
    choices = {record.name: LayerChoice(atlas, record) for record in atlas.manifest.layers}
    pictures, images = PagePictures(atlas), ShownImages(atlas)
    for record in atlas.manifest.layers:
        pictures.write_best(record)
        pictures.write_strip(record, choices[record.name].most_selective)
        _write_layer(atlas, record, pictures, images)
    _write_images(atlas, images)
    _hand_over(atlas.folder, "page/chosen", _overview(atlas.manifest, choices))
    compared = ComparedPages(atlas, read_compared(atlas))
    compared.write()
    for name in OWN_FILES:
        replace_file(atlas.folder / "page" / name, lean(name))
    lead = lead_unit(atlas, choices)
    if lead is not None:
        pictures.write_lead(lead.record, lead.channel, lead.kinds)
    summary = {**page_summary(atlas.manifest), **_what_is_there(atlas, compared)}
    replace_file(atlas.folder / "page" / "data.js", call("start", summary))
    words = atlas_page_words(atlas.manifest) | overview_words(atlas, choices, lead)
    index = atlas.folder / "index.html"
    replace_file(index, template("template.html.j2").render(words, scripts=SCRIPTS).encode())
    return index


def _write_layer(
    atlas: Atlas, record: LayerRecord, pictures: PagePictures, images: ShownImages
) -> None:
    """The scripts of a layer: its wall's, and one for each unit, with its pictures."""
    _hand_over(atlas.folder, f"data/{record.slug}", wall_table(atlas, record, images))
    (atlas.folder / "data" / "units" / record.slug).mkdir(exist_ok=True)
    units = list(unit_tables(atlas, record, images))
    sheets = pictures.unit_sheets(record, [relatives(record, unit) for unit in units])

    def write(one: tuple[int, Mapping[str, Any], Image.Image]) -> None:
        number, unit, sheet = one
        pixels = base64.b64encode(encoded(sheet, record)).decode()
        place = f"data/units/{record.slug}/{number}"
        _hand_over(atlas.folder, place, {**unit, "sheet": pixels})

    with ThreadPoolExecutor(os.cpu_count() or 1, "convscope-page") as pool:
        whole = zip(range(record.channels), units, sheets, strict=True)
        while some := list(islice(whole, AT_ONCE)):
            list(pool.map(write, some))


def _overview(manifest: Manifest, choices: Mapping[str, LayerChoice]) -> dict[str, Any]:
    """The maps that stand for each layer, with the classes that they tell, and the network."""
    chosen = [
        [(channel, choice.name_of(channel) or "") for channel in choice.most_selective]
        for choice in choices.values()
    ]
    strip = NetworkStrip.of(manifest.layers, manifest.input_shape)
    return {"chosen": chosen, "network": dataclasses.asdict(strip)}


def _write_images(atlas: Atlas, images: ShownImages) -> None:
    """The scripts of the images: the list of all, and one for each."""
    listed = [[index, *names] for index, names in images.named.items()]
    _hand_over(atlas.folder, "page/images", listed)
    predictions = read_predictions(atlas)
    names = atlas.manifest.model.classes or ()
    for index, table in image_tables(atlas, images):
        if index in predictions:
            table["predicted"] = [
                [names[label] if label < len(names) else f"class {label}", rounded(probability)]
                for label, probability in predictions[index]
            ]
        _hand_over(atlas.folder, f"page/images/{index}", table)


def _hand_over(folder: Path, place: str, table: Any) -> None:
    """A script that hands the page a table, under the name of its place."""
    replace_file(folder / f"{place}.js", call("receive", place, table))


def page_summary(manifest: Manifest) -> dict[str, Any]:
    """What the page needs at once: every layer's description, no numbers of feature maps."""
    wanted = {"name", "slug", "kind", "channels", "grid", "field", "window", "tile"}
    wanted |= {"activation", "non_finite", "not_finite", "dead", "filters", "image_dependent"}
    return {
        "title": manifest.model.title or title_of(manifest.model.spec),
        "identity": f"{manifest.model.weights_sha256}:{manifest.data.identity}"[:32],
        "version": manifest.convscope_version,
        "command": project_command(manifest),
        "images": manifest.data.count - len(manifest.skipped),
        "rules": manifest.rules,
        "top": manifest.top,
        "kinds": {SEVERAL.get(kind, kind): kind for kind in shown_kinds(manifest)},
        "specific": SPECIFIC,
        "input": list(manifest.input_shape[1:]),
        "sheets": {"best": BEST_MAPS, "optimised": WALL * WALL, "columns": FILTER_COLUMNS},
        "unit": {"columns": COLUMNS, **sheet_plan(manifest)},
        "layers": [record.model_dump(mode="json", include=wanted) for record in manifest.layers],
    }


def _finding(found: StoredFinding) -> dict[str, Any]:
    """A finding of a diagnosis, with its remedies in words."""
    known = {str(remedy): remedy.said for remedy in Remedy}
    return found.model_dump() | {"remedies": [known.get(one, one) for one in found.remedies]}


def _what_is_there(atlas: Atlas, compared: ComparedPages) -> dict[str, Any]:
    """What an atlas holds that others may lack: pictures, names, a diagnosis."""
    findings = read_findings(atlas)
    diagnosis = None if findings is None else [_finding(one) for one in findings]
    names = names_of(atlas).model_dump()["units"]
    beside = compared.summary()
    return (
        {"whole": has_gallery(atlas.folder), "names": names, "diagnosis": diagnosis}
        | ({"compared": beside} if beside else {})
        | {
            kind: [
                record.slug
                for record in atlas.manifest.layers
                if has_sheets_of_maps(atlas.folder, record, kind)
            ]
            for kind in (OPTIMISED, UNTRAINED)
        }
    )
