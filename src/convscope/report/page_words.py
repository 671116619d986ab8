"""What the atlas page's template says: facts of the model and the images, notes, the overview."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from convscope.atlas.compared import page_of, read_compared
from convscope.atlas.findings import read_findings
from convscope.atlas.folder import OPTIMISED
from convscope.atlas.gallery import UNTRAINED
from convscope.atlas.manifest import LayerRecord, Manifest
from convscope.atlas.store import Atlas
from convscope.experiments.number_words import duration
from convscope.images.preprocess import AS_IT_IS
from convscope.methods.rules import DECONVNET
from convscope.report.page_overview import LayerChoice, LeadUnit, field_share
from convscope.report.page_pictures import SEVERAL, has_sheets_of_maps, shown_kinds
from convscope.text import counted

__all__ = ["atlas_page_words", "overview_words", "project_command", "title_of"]

FILE = "FILE.yaml"  # stands for the recipe that a user wrote, whose name no atlas knows
SAYS_ITSELF = ("torchvision", "timm", "run")  # families whose models know their preprocessing


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
        "top_word": _number(manifest.top),
        "kinds": [SEVERAL.get(kind, kind) for kind in shown_kinds(manifest)],
        "standfirst": (
            f"The {_number(manifest.top)} strongest activations of {counted(maps, 'feature map')} "
            f"in {counted(len(layers), 'layer')}, found among "
            f"{counted(manifest.data.count, 'image')}, and what in each of them excited the "
            "network."
        ),
        "facts": _facts(manifest),
        "layers": [_listed(record, manifest.input_shape) for record in layers],
        "skipped": manifest.skipped,
        "skipped_text": f"{counted(len(manifest.skipped), 'file')} could not be read as an image "
        "and took no part.",
        "converted_text": _converted_text(manifest.converted),
        "non_finite_text": _non_finite_text(layers),
        "dead_text": _dead_text(layers, maps),
        "same_text": _same_text(layers),
    }


def overview_words(
    atlas: Atlas, choices: Mapping[str, LayerChoice], lead: LeadUnit | None
) -> dict[str, Any]:
    """The parts of the overview that follow from the atlas's numbers and pictures.

    Args:
        atlas: the atlas.
        choices: of each layer, the maps that stand for it.
        lead: the unit that the overview begins with.
    """
    manifest = atlas.manifest
    layers = manifest.layers
    return {
        "lead": lead and _lead(lead),
        "chosen_note": _chosen_note(choices[layers[0].name], manifest),
        "compared": _compared(atlas),
        "diagnosed": read_findings(atlas) is not None,
        "optimised": any(has_sheets_of_maps(atlas.folder, layer, OPTIMISED) for layer in layers),
        "untrained": any(has_sheets_of_maps(atlas.folder, layer, UNTRAINED) for layer in layers),
    }


def _compared(atlas: Atlas) -> dict[str, Any] | None:
    """What a comparison with another network found, and where its page and that atlas are."""
    found = read_compared(atlas)
    if found is None:
        return None
    layers = [found.layers[one.name] for one in atlas.manifest.layers if one.name in found.layers]
    maps, alike = sum(len(one.partner) for one in layers), sum(one.alike for one in layers)
    return {
        "other": found.other,
        "page": page_of(found.page),
        "atlas": page_of(found.atlas),
        "words": f"{alike:,} of {counted(maps, 'map')} have one in {found.other} that answers "
        f"alike, over {found.data}.",
    }


SAYS = {
    "patch": "what the unit saw",
    "spotlight": "lit where it excited the unit",
    "projection": "the same, sent back to the pixels",
    OPTIMISED: "what would excite it most",
}


def _lead(lead: LeadUnit) -> dict[str, Any]:
    return {
        "unit": f"{lead.record.activation}/{lead.channel}",
        "href": _address(lead.record.name, lead.channel),
        "pictures": [(kind.capitalize(), SAYS[kind]) for kind in lead.kinds],
        "sentence": lead.sentence,
    }


def _address(*parts: str | int) -> str:
    """A place on the page, as encodeURIComponent writes it."""
    return "#/" + "/".join(quote(str(part), safe="!*'()") for part in parts)


def _chosen_note(choice: LayerChoice, manifest: Manifest) -> str:
    """Which maps stand for a layer on the overview."""
    checked = manifest.extras is not None and manifest.extras.check > 0
    labelled = choice.responses is not None and any(
        choice.responses.named(c) is not None for c in range(choice.record.channels)
    )
    how = "that tell a class best" if labelled else "whose pictures are most their own"
    if not labelled and not checked:
        how = "that are active most often"
    lit = shown_kinds(manifest)[0] == "spotlight"
    what = "what excites it most, lit where it does" if lit else "what excites it most"
    return f"Of each layer the six maps {how}: of each {what}."


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


def _listed(record: LayerRecord, input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """A layer as lists name it. `share`: its field as parts of the input, rows and columns."""
    height, width = record.field.size
    return {
        "name": record.name,
        "href": _address(record.name),
        "kind": record.kind,
        "channels": f"{record.channels:,}",
        "field_text": f"{height} × {width} px",
        "share": field_share(record, input_shape),
    }


def _converted_text(converted: Mapping[str, int]) -> str:
    done = sorted((what, count) for what, count in converted.items() if what != AS_IT_IS)
    kinds = "; ".join(f"{what} ({count:,})" for what, count in done)
    first = f"Some images were changed first: {kinds}." if done else "Every image was 8-bit RGB."
    left = converted.get(AS_IT_IS, 0)
    return (
        f"{first} Neither resized nor cropped, as of the input's size: {left:,}." if left else first
    )


def _non_finite_text(layers: Iterable[LayerRecord]) -> str:
    found = [record for record in layers if record.non_finite]
    if not found:
        return "No activation was NaN or infinite."
    named = ", ".join(f"{record.name} ({record.non_finite:,})" for record in found)
    words = f"NaN or infinite activations, which never rank, were met in {named}."
    lost = [record for record in found if record.not_finite]
    if not lost:
        return words
    named = ", ".join(f"{record.name} ({record.not_finite:,})" for record in lost)
    total = sum(record.not_finite for record in lost)
    return f"{words} {counted(total, 'map')} held nothing else, and count as not finite: {named}."


def _dead_text(layers: Iterable[LayerRecord], maps: int) -> str:
    found = [record for record in layers if record.dead]
    if not found:
        return f"None of the {maps:,} feature maps is dead."
    named = ", ".join(f"{record.name} ({record.dead:,})" for record in found)
    total = sum(record.dead for record in found)
    was = "was" if total == 1 else "were"
    return f"{total:,} of the {maps:,} feature maps {was} never above zero: {named}."


def _number(n: int) -> str:
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[n - 1] if 1 <= n <= len(words) else str(n)
