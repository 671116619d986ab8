"""From a model and images to an atlas: one pass for the tables, one for the winners' pictures."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from convscope.atlas.depict import draw
from convscope.atlas.mine import mine
from convscope.atlas.sheets import cell_size, encode, filter_sheet, shown_window
from convscope.atlas.store import (
    Atlas,
    DataRecord,
    FieldRecord,
    ImageRecord,
    LayerRecord,
    LayerTable,
    Manifest,
    ModelRecord,
    PreprocessRecord,
    SkippedRecord,
    open_atlas,
    sheet_path,
    write_images,
    write_manifest,
    write_tables,
)
from convscope.atlas.topk import TopK
from convscope.atlas.unfinished import Mined, Plan, WorkFolder, claim
from convscope.errors import BadData, BadImage, BadInput, BadOption
from convscope.geometry.window import Field
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.methods.rules import DECONVNET, Rules
from convscope.network.exported import Network, open_network
from convscope.network.reader import INPUT
from convscope.network.weights import module_sha256, replace_file

if TYPE_CHECKING:
    from convscope.network.zoo import Model

__all__ = ["Progress", "build_atlas"]

Progress = Callable[[str, int, int], None]
"""Called with (phase, done, total); the phases are "images" and then "projections"."""

MOST_RANKS = 100  # a WebP sheet is at most 16383 pixels wide
LARGEST_BATCH = 32
VALUE_BYTES = 2**28  # of the largest value of a batch, where the batch size is left to us
PADDING = "grey 128 outside the image and outside the unit's field"


def build_atlas(
    model: Model,
    images: ImageSet,
    out: str | Path,
    *,
    layers: Iterable[str] | None = None,
    top: int = 9,
    batch_size: int | None = None,
    workers: int | None = None,
    resume: bool = False,
    rules: Rules = DECONVNET,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Atlas:
    """The strongest activations of every feature map over a set of images, as a folder.

    layers : names; by default every convolutional layer. Each is seen at its activation, after
        batch norm and rectification.
    top : K, how many images each feature map keeps, 1 to 100
    resume : go on with an unfinished scan of the same model, images and settings. It ends with
        the same bytes as a scan that was never stopped (if batch size and threads are the same).

    An image that cannot be read is skipped and named in the manifest. NaN and infinite
    activations never rank and are counted per layer. The model comes back as it was.

    Raises  NoSuchLayer; BadOption: top, batch_size, device, or a layer without feature maps;
        BadData: no images, or none that can be read; FolderInUse: `out` holds something else, or
        an atlas that was not to be resumed; BadInput: the disk is full.
    """
    out = Path(out)
    _check(top, batch_size, images)
    network = open_network(model.module, model.input_shape).to(_device(device))
    names = _layers(network, layers)
    plan = _plan(model, images, names, top=top, rules=rules, device=str(network.device))
    try:
        with claim(out, plan, resume=resume) as work:
            if work is not None:
                job = _Job(model, images, out, network, plan, work, progress or _silent)
                job.run(names, batch_size or _batch_size(network, names), workers, rules)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise BadInput(
            f"no space is left on the disk of {out}; free some, then go on with --resume"
        ) from None
    return open_atlas(out)


class _Job:
    """One scan, as far as this process takes it."""

    def __init__(
        self,
        model: Model,
        images: ImageSet,
        out: Path,
        network: Network,
        plan: Plan,
        work: WorkFolder,
        progress: Progress,
    ) -> None:
        self.model, self.images, self.out = model, images, out
        self.network, self.plan, self.work = network, plan, work
        self.progress = progress

    def run(self, names: tuple[str, ...], batch: int, workers: int | None, rules: Rules) -> None:
        """Both passes, then the manifest, which makes the atlas whole."""
        activations = {name: self.network.activation(name) for name in names}
        preprocess = self.model.preprocess
        found, mined = mine(
            self.network,
            self.images,
            preprocess,
            activations,
            self.work,
            top=self.plan.top,
            batch_size=batch,
            workers=workers,
            advance=lambda done, total: self.progress("images", done, total),
        )
        if len(mined.skipped) == len(self.images):
            self._withdraw()
            raise _nothing_readable(self.images, mined)
        started = time.monotonic()
        tables = {name: _table(found[name], self._field(activations[name])) for name in names}
        records = self._records(activations, found)
        write_tables(self.out, tables)
        write_images(self.out, _images(self.images))
        self._write_filters(records)
        written = time.monotonic() - started
        drawn = draw(
            self.network,
            self.images,
            preprocess,
            records,
            tables,
            self.out,
            self.work,
            rules=rules,
            batch_size=batch,
            workers=workers,
            advance=lambda done, total: self.progress("projections", done, total),
        )
        phases = {"images": mined.seconds, "tables": written, "projections": drawn}
        write_manifest(self.out, self._manifest(records, mined, batch, phases))

    def _withdraw(self) -> None:
        """Leave nothing of a scan that cannot be."""
        shutil.rmtree(self.work.path)
        if not any(self.out.iterdir()):
            self.out.rmdir()

    def _field(self, activation: str) -> Field:
        return self.network.layer(activation).field

    def _records(
        self, activations: Mapping[str, str], tables: Mapping[str, TopK]
    ) -> list[LayerRecord]:
        slugs = _slugs(activations)
        records = []
        for name, activation in activations.items():
            layer, table = self.network.layer(activation), tables[name]
            window = shown_window(layer.field.size, self.network.input_shape[1:])
            records.append(
                LayerRecord(
                    name=name,
                    slug=slugs[name],
                    activation=activation,
                    kind=self.network.layer(name).kind,
                    channels=layer.channels,
                    grid=layer.grid,
                    field=_field_record(layer.field),
                    window=window,
                    tile=cell_size(window),
                    non_finite=int(table.non_finite.sum()),
                    dead=int(table.dead.sum()),
                    filters=self._shows_filters(name),
                )
            )
        return records

    def _shows_filters(self, name: str) -> bool:
        """Whether it is a convolution of the image's three colour planes."""
        node = self.network.nodes[name]
        weight = node.tensors.get("weight")
        reads_image = node.kind == "conv" and node.inputs == (INPUT,)
        return reads_image and weight is not None and tuple(weight.shape[1:2]) == (3,)

    def _write_filters(self, records: Iterable[LayerRecord]) -> None:
        for record in records:
            if record.filters:
                weight = self.network.nodes[record.name].tensors["weight"]
                weight = self.model.preprocess.rgb(weight)
                path = sheet_path(self.out, record.slug, "filters")
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, encode(filter_sheet(weight), exact=True))

    def _manifest(
        self, records: list[LayerRecord], mined: Mined, batch: int, phases: dict[str, float]
    ) -> Manifest:
        asked = {name: getattr(self.plan, name) for name in Plan.model_fields if name != "layers"}
        return Manifest(
            convscope_version=importlib.metadata.version("convscope"),
            batch_size=batch,
            padding=PADDING,
            layers=tuple(records),
            skipped=tuple(SkippedRecord(name=name, reason=why) for _, name, why in mined.skipped),
            converted=mined.converted,
            seconds=round(sum(phases.values()), 3),
            seconds_by_phase={phase: round(seconds, 3) for phase, seconds in phases.items()},
            complete=True,
            **asked,
        )


def _check(top: int, batch_size: int | None, images: ImageSet) -> None:
    if not 1 <= top <= MOST_RANKS:
        raise BadOption(f"top is {top}; a feature map can keep 1 to {MOST_RANKS} images")
    if batch_size is not None and batch_size < 1:
        raise BadOption(f"batch size is {batch_size}; it must be at least 1")
    if len(images) == 0:
        raise BadData(f"{images.spec} holds no images; an atlas needs at least one")


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        line = str(error).splitlines()[0]
        raise BadOption(f"device {name!r} cannot be used ({line}); cpu always can") from None
    return device


def _layers(network: Network, layers: Iterable[str] | None) -> tuple[str, ...]:
    """The layers asked for, in the network's order."""
    wanted = set(network.conv_layers() if layers is None else layers)
    if not wanted:
        raise BadOption("there are no layers to look at; name some that have feature maps")
    for name in wanted:
        shape = network.layer(network.activation(name)).shape
        if len(shape) not in (1, 3):
            raise BadOption(
                f"layer {name} has values of shape {tuple(shape)}, not feature maps (C, H, W); "
                f"leave it out"
            )
    return tuple(layer.name for layer in network.layers if layer.name in wanted)


def _batch_size(network: Network, names: Iterable[str]) -> int:
    """As many images as keep the largest value of a batch within VALUE_BYTES, at most 32."""
    largest = max(torch.Size(node.shape).numel() for node in network.below(names))
    return max(1, min(LARGEST_BATCH, VALUE_BYTES // (4 * largest)))


def _plan(
    model: Model, images: ImageSet, names: tuple[str, ...], *, top: int, rules: Rules, device: str
) -> Plan:
    return Plan(
        model=ModelRecord(
            spec=model.spec,
            weights_sha256=model.weights_sha256 or module_sha256(model.module),
            random_weights=model.random_weights,
            parameters=sum(p.numel() for p in model.module.parameters()),
            classes=model.classes,
        ),
        data=DataRecord(spec=images.spec, identity=images.identity(), count=len(images)),
        preprocess=_preprocess_record(model.preprocess),
        input_shape=model.input_shape,
        top=top,
        rules=rules.name,
        device=device,
        layers=names,
    )


def _preprocess_record(preprocess: Preprocess) -> PreprocessRecord:
    settings = preprocess.to_dict()
    mean = preprocess.per_pixel_mean
    if mean is not None:  # the record only says that there is one
        settings["mean_sha256"] = hashlib.sha256(mean.tobytes()).hexdigest()
    return PreprocessRecord(text=preprocess.describe(), settings=settings)


def _field_record(field: Field) -> FieldRecord:
    rows, columns = field.rows, field.columns
    return FieldRecord(
        size=field.size,
        stride=(float(rows.stride), float(columns.stride)),
        start=(float(rows.start), float(columns.start)),
        status=field.status.value,
    )


def _table(found: TopK, field: Field) -> LayerTable:
    """The table with each place's receptive field; (0, 0, 0, 0) where empty."""
    top, left = field.rows.first(found.row), field.columns.first(found.column)
    box = torch.stack([top, left, top + field.rows.size, left + field.columns.size], dim=-1)
    box = box.masked_fill((found.image < 0)[..., None], 0)  # (C, K, 4)
    return LayerTable(
        found.value, found.image, found.row, found.column, box, found.active, found.non_finite
    )


def _images(images: ImageSet) -> list[ImageRecord]:
    return [_image(images, index) for index in range(len(images))]


def _image(images: ImageSet, index: int) -> ImageRecord:
    label, classes = images.label(index), images.classes
    known = label is not None and classes is not None and 0 <= label < len(classes)
    try:
        digest = images.digest(index)
    except BadImage:  # it cannot be read; the manifest says why
        digest = None
    return ImageRecord(
        name=images.name(index),
        sha256=digest,
        label=label,
        class_name=classes[label] if known else None,  # type: ignore[index]
    )


def _slugs(names: Iterable[str]) -> dict[str, str]:
    """A folder name for each layer, safe and different on every file system."""
    slugs: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".") or "layer"
        slug, number = base, 2
        while slug.lower() in taken:
            slug, number = f"{base}~{number}", number + 1
        taken.add(slug.lower())
        slugs[name] = slug
    return slugs


def _nothing_readable(images: ImageSet, mined: Mined) -> BadData:
    _, name, reason = mined.skipped[0]
    return BadData(
        f"not one of the {len(images)} images of {images.spec} could be read; "
        f"the first: {name}: {reason}"
    )


def _silent(phase: str, done: int, total: int) -> None:
    """No progress to show."""
