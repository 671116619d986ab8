"""The atlas as a page: an atlas folder -> index.html, page/ and data/ in the same folder.

The page opens by double-click, so nothing is fetched: numbers come as scripts that call
`convscope.start(summary)` or `convscope.receive(slug, table)`, one script a layer, which the page
asks for when the reader comes to that layer. Pictures stay the sheets that the atlas wrote.

Names of layers, classes and files are data: the template escapes them, the scripts hold them as
JSON without any character that could end a script, and the page's own scripts make text of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from convscope.atlas.sheets import FILTER_COLUMNS, MAPS_PER_SHEET, WALL, WALL_TILE
from convscope.atlas.store import Atlas, LayerRecord, Manifest, open_atlas
from convscope.experiments.number_words import duration
from convscope.methods.checks import SPECIFIC
from convscope.methods.rules import DECONVNET
from convscope.report.embedded_data import call, resource, template
from convscope.report.page_evidence import response_arrays, trust_arrays
from convscope.report.page_sheets import (
    SEVERAL,
    STRIP_MAPS,
    has_optimised,
    shown_kinds,
    write_page_sheets,
)
from convscope.store.atomic import replace_file

__all__ = ["write_page"]

OWN_SCRIPTS = ("atlas.js", "drawing.js", "wall.js", "evidence.js", "unit.js", "controls.js")
SCRIPTS = (*(f"page/{name}" for name in OWN_SCRIPTS), "page/data.js")  # in this order
OWN_FILES = ("atlas.css", *OWN_SCRIPTS)  # copied as they are
SMALLEST_SHARE = 0.08  # of the input: a field that is drawn smaller could not be seen
FILE = "FILE.yaml"  # stands for the recipe that a user wrote, whose name no atlas knows
SAYS_ITSELF = ("torchvision", "timm", "run")  # families whose models know their preprocessing
DIGITS = 5  # significant digits of a value on the page; tables.safetensors has them all


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
    for place in ("page", "data"):
        (atlas.folder / place).mkdir(exist_ok=True)
    for record in atlas.manifest.layers:
        write_page_sheets(atlas, record)
        table = call("receive", record.slug, layer_arrays(atlas, record))
        replace_file(atlas.folder / "data" / f"{record.slug}.js", table)
    for name in OWN_FILES:
        replace_file(atlas.folder / "page" / name, resource(name))
    optimised = [one.slug for one in atlas.manifest.layers if has_optimised(atlas.folder, one)]
    summary = call("start", {**page_summary(atlas.manifest), "optimised": optimised})
    replace_file(atlas.folder / "page" / "data.js", summary)
    words = {**atlas_page_words(atlas.manifest), "optimised": bool(optimised)}
    index = atlas.folder / "index.html"
    replace_file(index, template("template.html.j2").render(words).encode())
    return index


# ---- what the scripts receive ---------------------------------------------------------------


def page_summary(manifest: Manifest) -> dict[str, Any]:
    """What the page needs at once: every layer's description, no numbers of feature maps."""
    wanted = {"name", "slug", "kind", "channels", "grid", "field", "window", "tile"}
    wanted |= {"activation", "non_finite", "dead", "filters", "image_dependent"}
    return {
        "title": manifest.model.title or title_of(manifest.model.spec),
        "command": project_command(manifest),
        "images": manifest.data.count - len(manifest.skipped),
        "rules": manifest.rules,
        "top": manifest.top,
        "kinds": {SEVERAL.get(kind, kind): kind for kind in shown_kinds(manifest)},
        "specific": SPECIFIC,
        "input": list(manifest.input_shape[1:]),
        "sheets": {
            "maps": MAPS_PER_SHEET,
            "wall": WALL * WALL,
            "columns": FILTER_COLUMNS,
            "thumbnail": WALL_TILE,
        },
        "layers": [record.model_dump(mode="json", include=wanted) for record in manifest.layers],
    }


def layer_arrays(atlas: Atlas, record: LayerRecord) -> dict[str, Any]:
    """A layer's numbers, flat: entry channel * K + rank. Empty ranks have image -1, value null.

    `images` lists [name, class name] of the images that occur; `image` points into that list, so
    that the page of a large data set stays small. `active` has one entry a map. `trust` and
    `responses` are null where the atlas does not say (see page_evidence).
    """
    table = atlas.layers[record.name]
    found = table.image.flatten().tolist()
    occurring = sorted({image for image in found if image >= 0})
    position = {image: at for at, image in enumerate(occurring)} | {-1: -1}
    return {
        "images": [_image_entry(atlas, image) for image in occurring],
        "image": [position[image] for image in found],
        "value": [_rounded(value) for value in table.value.flatten().tolist()],
        "row": table.row.flatten().tolist(),
        "column": table.column.flatten().tolist(),
        "box": table.box.flatten().tolist(),
        "active": table.active.tolist(),
        "trust": trust_arrays(atlas, record),
        "responses": response_arrays(atlas, record),
    }


def _image_entry(atlas: Atlas, image: int) -> list[str]:
    record = atlas.images[image]
    return [record.name, record.class_name or ""]


def project_command(manifest: Manifest) -> dict[str, Any]:
    """The words of `convscope project` but the unit; an image is told as DATA#NAME.

    A model that a factory builds does not say how it wants its images, so the options say it.
    """
    family, colon, _ = manifest.model.spec.partition(":")
    settings = manifest.preprocess.settings
    options = ["--rules", manifest.rules] if manifest.rules != DECONVNET.name else []
    if manifest.model.output is not None:
        options += ["--output", manifest.model.output]
    if manifest.model.weights_key is not None:
        options += ["--weights-key", manifest.model.weights_key]
    told = {"--preprocess": "scaling", "--fit": "fit"}
    silent = family not in SAYS_ITSELF if colon else family.endswith(".pt2")
    if silent and all(key in settings for key in told.values()):
        options += ["--input", "x".join(map(str, manifest.input_shape))]
        words = {key: FILE if settings[key] == "custom" else settings[key] for key in told.values()}
        options += [word for option, key in told.items() for word in (option, words[key])]
    for option, key in {"--range": "range", "--show-bands": "show_bands"}.items():
        if key in settings:
            options += [option, ",".join(f"{value:g}" for value in settings[key])]
    return {"model": manifest.model.spec, "data": manifest.data.spec, "options": options}


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


# ---- what the template says -----------------------------------------------------------------


def title_of(spec: str) -> str:
    """A model specification's own name: `torchvision:squeezenet1_1@w` is `squeezenet1_1`."""
    name = spec.split("@")[0].rpartition(":")[2].rstrip("/")
    return PurePosixPath(name).name or spec


def atlas_page_words(manifest: Manifest) -> dict[str, Any]:
    """Everything that the template says about an atlas."""
    layers = manifest.layers
    maps = sum(record.channels for record in layers)
    return {
        "title": manifest.model.title or title_of(manifest.model.spec),
        "scripts": SCRIPTS,
        "top_word": _number(manifest.top),
        "kinds": [SEVERAL.get(kind, kind) for kind in shown_kinds(manifest)],
        "standfirst": (
            f"The {_number(manifest.top)} strongest activations of {_count(maps, 'feature map')} "
            f"in {_count(len(layers), 'layer')}, found among {_count(manifest.data.count, 'image')}"
            f", and what in each of them excited the network."
        ),
        "strip_note": _strip_note(manifest),
        "facts": _facts(manifest),
        "layers": [_rung(record, manifest.input_shape) for record in layers],
        "skipped": manifest.skipped,
        "skipped_text": f"{_count(len(manifest.skipped), 'file')} could not be read as an image "
        "and took no part.",
        "converted_text": _converted_text(manifest.converted),
        "non_finite_text": _non_finite_text(layers),
        "dead_text": _dead_text(layers, maps),
        "same_text": _same_text(layers),
    }


def _strip_note(manifest: Manifest) -> str:
    """Which maps stand for a layer on the overview, see `strip_maps`."""
    kind = shown_kinds(manifest)[0]
    what = {"patch": "what it saw", "spotlight": "what it saw, lit where that excited it"}[kind]
    checked = manifest.extras is not None and manifest.extras.check > 0
    how = "most specific" if checked else "most often active"
    return (
        f"The {STRIP_MAPS} {how} maps of each layer: of each {what}, and below it the projection."
    )


def _same_text(layers: Sequence[LayerRecord]) -> str:
    """Which layers' projections show the filters alone; nothing where the atlas does not say."""
    same = [layer.name for layer in layers if layer.image_dependent is False]
    if not same:
        return ""
    which = "all layers here" if len(same) == len(layers) else ", ".join(same)
    return (
        f"Projections of {which} do not depend on the image at all, but for their strength: "
        "nothing below them, such as a max pooling or a gate, looks at the image on the way down."
    )


def _facts(manifest: Manifest) -> dict[str, str | bool | None]:
    model, data = manifest.model, manifest.data
    channels, height, width = manifest.input_shape
    identity = f"SHA-256 {model.weights_sha256[:12]}…" if model.weights_sha256 else "not identified"
    return {
        "model": model.spec,
        "data": data.spec,
        "count": f"{data.count:,}",
        "input": f"{channels} × {height} × {width}",
        "parameters": f"{model.parameters:,}",
        "rules": manifest.rules,
        "output": model.output,
        "weights": f"random, {identity}" if model.random_weights else identity,
        "random_weights": model.random_weights,
        "preprocess": manifest.preprocess.text,
        "identity": data.identity,
        "weights_sha256": model.weights_sha256 or "not identified",
        "seconds": duration(manifest.seconds),
        "device": manifest.device,
        "version": manifest.convscope_version,
    }


def _rung(record: LayerRecord, input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """A layer on the overview. `share`: its field as parts of the input, rows and columns."""
    sheets = f"sheets/{quote(record.slug, safe='')}"
    height, width = record.field.size
    return {
        "name": record.name,
        "href": "#/" + quote(record.name, safe="!*'()"),  # as encodeURIComponent writes it
        "kind": record.kind,
        "channels": f"{record.channels:,}",
        "grid_text": f"{record.grid[0]} × {record.grid[1]}",
        "field_text": f"{height} × {width} px",
        "share": (
            max(SMALLEST_SHARE, min(1.0, height / input_shape[1])),
            max(SMALLEST_SHARE, min(1.0, width / input_shape[2])),
        ),
        "strip": f"{sheets}/strip.webp",
    }


def _converted_text(converted: Mapping[str, int]) -> str:
    if not converted:
        return "Every image was 8-bit RGB already."
    kinds = "; ".join(f"{what} ({count:,})" for what, count in sorted(converted.items()))
    return f"Some images were converted to 8-bit RGB first: {kinds}."


def _non_finite_text(layers: Iterable[LayerRecord]) -> str:
    found = [record for record in layers if record.non_finite]
    if not found:
        return "No activation was NaN or infinite."
    named = ", ".join(f"{record.name} ({record.non_finite:,})" for record in found)
    return f"NaN or infinite activations, which never rank, were met in {named}."


def _dead_text(layers: Iterable[LayerRecord], maps: int) -> str:
    found = [record for record in layers if record.dead]
    if not found:
        return f"None of the {maps:,} feature maps is dead."
    named = ", ".join(f"{record.name} ({record.dead:,})" for record in found)
    total = sum(record.dead for record in found)
    return f"{total:,} of the {maps:,} feature maps were never above zero: {named}."


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _number(n: int) -> str:
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[n - 1] if 1 <= n <= len(words) else str(n)
