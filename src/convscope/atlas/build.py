"""From a model and images to an atlas: one pass for the tables, one for the winners' pictures."""

from __future__ import annotations

import errno
import importlib.metadata
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from convscope.atlas.checkpoint import AtlasPlan, WorkFolder, claim_atlas, plan_as_begun
from convscope.atlas.connections import connections, layers_read
from convscope.atlas.folder import (
    CONTRAST,
    EXAMPLE,
    RELEVANCE,
    relevant_kind,
    sheet_path,
    write_images,
    write_manifest,
)
from convscope.atlas.manifest import (
    DataRecord,
    ExtrasRecord,
    LayerRecord,
    Manifest,
    SkippedRecord,
)
from convscope.atlas.records import (
    field_record,
    image_records,
    make_layer_table,
    model_record,
    preprocess_record,
    slugs,
    weights_of,
)
from convscope.atlas.relevance import MostRelevant
from convscope.atlas.render import Renderer
from convscope.atlas.sheets import cell_size, encode_sheet, filter_sheet, shown_window
from convscope.atlas.statistics import (
    QUANTILES,
    Label,
    Statistics,
    layer_statistics,
    write_statistics,
)
from convscope.atlas.store import Atlas, open_atlas
from convscope.atlas.tables import LayerTable, write_tables
from convscope.atlas.tiles import KINDS, Further, RenderedLayer
from convscope.atlas.trust import CHECKS
from convscope.distributed import Ranks
from convscope.errors import BadData, BadInput, BadModel, BadOption
from convscope.execution import ONE_PROCESS, Execution
from convscope.geometry.window import Field
from convscope.images.image_set import ImageSet
from convscope.methods.classes import Head
from convscope.methods.dependence import depends_on_image
from convscope.methods.rules import DECONVNET, Rules
from convscope.network.from_export import INPUT
from convscope.network.network import Network
from convscope.progress import Progress, silent
from convscope.scan.engine import Scan, ScanState, fitting_batch, nothing_readable
from convscope.scan.histogram import BINS
from convscope.scan.observer import Observer
from convscope.scan.responses import TOP_IMAGES, Responses, sample_of
from convscope.scan.strongest import Strongest, layers_with_maps
from convscope.scan.topk import TopK
from convscope.store.atomic import replace_file
from convscope.store.fingerprint import text_fingerprint

if TYPE_CHECKING:
    from convscope.models.zoo import Model

__all__ = ["Search", "build_atlas", "write_atlas"]

MOST_RANKS = 100  # a WebP sheet is at most 16383 pixels wide
PADDING = "grey 128 outside the image and outside the unit's field"


@dataclass(frozen=True)
class Search:
    """What an atlas looks for, and how.

    Attributes:
        layers: their names; None is every convolutional layer.
        top: K, how many images each feature map keeps, 1 to 100.
        rules: the method of projection.
        batch_size: images at a time; None takes as many as fit the memory budget.
        workers: threads that decode images; None takes one per core.
        plain: patches and projections alone.
        check: how many of the strongest pictures of each feature map are checked; 0 is none.
        relevant: classes; of each map also the patches where it is worth most to one of them.
    """

    layers: tuple[str, ...] | None = None
    top: int = 9
    rules: Rules = DECONVNET
    batch_size: int | None = None
    workers: int | None = None
    plain: bool = False
    check: int = 1
    relevant: tuple[int, ...] = ()

    def extras(self, sample: int) -> ExtrasRecord | None:
        """What the atlas holds besides patches and projections.

        Args:
            sample: how many images' maxima are kept.
        """
        if self.plain:
            return None
        return ExtrasRecord(
            kinds=KINDS,
            check=self.check,
            shifts=CHECKS.shifts,
            neighbours=CHECKS.neighbours,
            draws=CHECKS.draws,
            quantiles=QUANTILES,
            bins=BINS,
            sample=sample,
            top_images=TOP_IMAGES,
            relevant=self.relevant,
        )


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
    plain: bool = False,
    check: int = 1,
    relevant: Iterable[int] = (),
    device: str = "cpu",
    progress: Progress | None = None,
) -> Atlas:
    """Find the strongest activations of every feature map over a set of images.

    The atlas is a folder: the numbers, and of each winner the image patch and its projection. An
    image that cannot be read is skipped and named in the manifest. NaN and infinite activations
    never rank and are counted per layer. The model comes back as it was.

    Args:
        model: as `open_model` gives it.
        images: as `open_images` gives them.
        out: the folder, new or empty.
        layers: their names; by default every convolutional layer. Each is seen at its activation,
            after batch norm and rectification.
        top: K, how many images each feature map keeps, 1 to 100.
        batch_size: images at a time; None takes as many as fit the memory budget.
        workers: threads that decode images; None takes one per core.
        resume: go on with an unfinished atlas of the same model, images and settings. It ends with
            the same bytes as one that was never stopped (if batch size and threads are the same).
        rules: the method of projection.
        plain: patches and projections alone.
        check: how many of the strongest pictures of each feature map are checked (`convscope.check`
            with fewer draws); 0 is none.
        relevant: numbers of classes. Of each feature map also the patches where it is worth most to
            one of them are kept: its activation times the derivative of the class's log-odds.
        device: as torch names it.
        progress: called with (what is counted, how many are done, how many there are).

    Returns:
        The finished atlas.

    Raises:
        NoSuchLayer: with the nearest names.
        BadOption: top, batch size, device, a layer without feature maps, or a class that is none.
        BadData: no images, or none that can be read.
        FolderInUse: `out` holds something else, or an atlas that was not to be resumed.
        BadInput: the disk is full.

    Example:
        >>> model = convscope.open_model("run:runs/demo/zfnet")
        >>> atlas = convscope.build_atlas(model, convscope.open_images("photos/"), "atlas")
        >>> atlas.projection("conv5", channel=12, rank=0).show()
    """
    search = Search(
        None if layers is None else tuple(layers),
        top, rules, batch_size, workers, plain, check, tuple(relevant),
    )  # fmt: skip
    how = Execution(device, progress=progress)
    write_atlas(model, images, out, search, resume=resume, how=how)
    return open_atlas(out)


def write_atlas(
    model: Model,
    images: ImageSet,
    out: str | Path,
    search: Search,
    *,
    resume: bool = False,
    how: Execution = ONE_PROCESS,
) -> None:
    """Build an atlas by one or several processes: all call this, the first writes the folder.

    Its bytes are those of one process that has the same batch size and as many threads. What was
    interrupted may be resumed by any number of processes.

    Args:
        model, images, out, resume: as `build_atlas` has them.
        search: what to look for, and how.
        how: on which device, and which of several processes this is.

    Raises:
        BadData: as `build_atlas`, or the processes find other images.
        BadModel: the processes have other weights.
        ConvscopeError: of other kinds, as `build_atlas`, in the first process.
    """
    out, ranks = Path(out), how.ranks
    _check(search, images)
    network = model.network().to(_device(how.device))
    for number in search.relevant:
        Head.of(network).check(number)
    names = layers_with_maps(network, search.layers)
    _check_same_inputs(model, images, ranks)

    def planned() -> AtlasPlan:
        plan = _plan(model, images, names, search, network)
        return plan_as_begun(out, plan) if resume else plan

    plan = ranks.from_first(planned)
    try:
        with claim_atlas(out, plan, resume=resume) if ranks.first else nullcontext() as work:
            if ranks.from_first(lambda: work is not None):
                job = _Job(model, images, out, network, plan, work, how.progress or silent, ranks)
                job.run(search)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise BadInput(
            f"no space is left on the disk of {out}; free some, then go on with --resume"
        ) from None


@dataclass(frozen=True, eq=False)
class _Job:
    """An atlas being made, as far as this process takes part in it.

    Attributes:
        model: as it was opened.
        images: the set.
        out: the atlas folder.
        network: the model's, on the device that is used.
        plan: what was asked for.
        work: the work folder; None in all processes but the first, which alone writes.
        progress: called with (what is counted, how many are done, how many there are).
        ranks: which process this is.
    """

    model: Model
    images: ImageSet
    out: Path
    network: Network
    plan: AtlasPlan
    work: WorkFolder | None
    progress: Progress
    ranks: Ranks

    def run(self, search: Search) -> None:
        """Make both passes, then write the manifest, which makes the atlas whole.

        Raises:
            BadData: no image can be read.
        """
        activations = {name: self.network.activation(name) for name in self.plan.layers}
        batch = search.batch_size or fitting_batch(self.network, activations.values())
        strongest = Strongest(self.network, activations, self.plan.top)
        responses = relevant = None
        if self.plan.extras is not None:
            sample = sample_of(len(self.images), _maps(self.network, self.plan.layers))
            responses = Responses(self.network, activations, sample)
            classes = self.plan.extras.relevant
            relevant = MostRelevant(self.network, activations, classes, self.plan.top)
        every: tuple[Observer | None, ...] = (strongest, responses, relevant)
        observers = [observer for observer in every if observer is not None]
        seen = Scan(
            self.network, self.images, self.model.preprocess,
            batch_size=batch, workers=search.workers, ranks=self.ranks, progress=self.progress,
        ).run(*observers, commits=None if self.work is None else self.work.tables)  # fmt: skip
        if self.images.streamed and self.ranks.count > 1:  # each process knows what it has read
            for digests in self.ranks.gathered(self.images.known_digests()):
                self.images.recall(digests)
        started = time.monotonic()
        layers = self.ranks.from_first(
            lambda: self._write_tables(
                activations, strongest.tables, responses, relevant, seen, search.rules
            )
        )
        written = time.monotonic() - started
        rendered = Renderer(
            self.network, self.images, self.model.preprocess, search.rules,
            batch_size=batch, workers=search.workers, folder=self.out, work=self.work,
            ranks=self.ranks,
            progress=lambda done, total: self.progress("projections", done, total),
            checked=0 if self.plan.extras is None else self.plan.extras.check,
        ).render(layers)  # fmt: skip
        if self.ranks.first:
            phases = {"images": seen.seconds, "tables": written, "projections": rendered}
            records = [layer.record for layer in layers]
            write_manifest(self.out, self._manifest(records, seen, batch, phases))

    def _write_tables(
        self,
        activations: Mapping[str, str],
        top: Mapping[str, TopK],
        responses: Responses | None,
        relevant: MostRelevant | None,
        seen: ScanState,
        rules: Rules,
    ) -> list[RenderedLayer]:
        """Write what the first pass brought.

        Raises:
            BadData: no image could be read.
        """
        if len(seen.skipped) == len(self.images):
            self._withdraw()
            raise nothing_readable(self.images, seen)
        fields = {name: self.network.layer(at).field for name, at in activations.items()}
        tables = {name: make_layer_table(top[name], field) for name, field in fields.items()}
        records = self._records(activations, top, rules)
        write_tables(self.out, tables)
        write_images(self.out, image_records(self.images))
        self._write_filters(records)
        if responses is None or relevant is None:
            return [RenderedLayer(record, tables[record.name]) for record in records]
        worth = self._write_relevance(relevant, fields)
        statistics = self._write_statistics(responses, top)
        return [
            RenderedLayer(
                record,
                tables[record.name],
                KINDS,
                (
                    Further(EXAMPLE, statistics[record.name]["example"]),
                    *self._contrast(tables[record.name]),
                    *worth[record.name],
                ),
            )
            for record in records
        ]

    def _contrast(self, table: LayerTable) -> list[Further]:
        """The contrastive pictures that a layer may get, one for each picture that is checked."""
        extras = self.plan.extras
        if extras is None or extras.check == 0:
            return []
        return [Further(CONTRAST, table.image[:, : extras.check], patches=False)]

    def _write_relevance(
        self, relevant: MostRelevant, fields: Mapping[str, Field]
    ) -> dict[str, list[Further]]:
        """Write where each map is worth most to the classes of interest, if there are any."""
        found: dict[str, list[Further]] = {layer: [] for layer in fields}
        tables = {}
        for layer, field in fields.items():
            for number in relevant.classes:
                table = make_layer_table(relevant.found(layer, number), field)
                tables[f"{layer}/{number}"] = table
                kind = relevant_kind(number)
                found[layer].append(Further(kind, table.image, table.row, table.column))
        if tables:
            write_tables(self.out, tables, RELEVANCE)
        return found

    def _write_statistics(
        self, responses: Responses, top: Mapping[str, TopK]
    ) -> dict[str, Statistics]:
        """Write what is known of each map over all images."""
        labels: list[Label] = [
            self.images.targets(index) if self.images.multi_label else self.images.label(index)
            for index in responses.sample.tolist()
        ]
        found = {
            layer: layer_statistics(responses, layer, table.active.cpu(), labels)
            for layer, table in top.items()
        }
        means = {layer: table["mean"] for layer, table in found.items()}
        for layer, table in connections(self.network, responses.activations, means).items():
            found[layer].update(table)
        write_statistics(self.out, found)
        return found

    def _withdraw(self) -> None:
        """Leave nothing of an atlas that cannot be made."""
        shutil.rmtree(WorkFolder(self.out).path)
        if not any(self.out.iterdir()):
            self.out.rmdir()

    def _records(
        self, activations: Mapping[str, str], tables: Mapping[str, TopK], rules: Rules
    ) -> list[LayerRecord]:
        """What the manifest says of the layers."""
        folders = slugs(activations)
        records, reads = [], layers_read(self.network, activations)
        for name, activation in activations.items():
            layer, table = self.network.layer(activation), tables[name]
            window = shown_window(layer.field.size, self.network.input_shape[1:])
            records.append(
                LayerRecord(
                    name=name,
                    slug=folders[name],
                    activation=activation,
                    kind=self.network.layer(name).kind,
                    channels=layer.channels,
                    grid=layer.grid,
                    field=field_record(layer.field),
                    window=window,
                    tile=cell_size(window),
                    non_finite=int(table.non_finite.sum()),
                    dead=int(table.dead.sum()),
                    not_finite=int(table.not_finite.sum()),
                    filters=self._shows_filters(name),
                    image_dependent=depends_on_image(self.network, activation, rules),
                    reads=reads[name],
                )
            )
        return records

    def _shows_filters(self, name: str) -> bool:
        """Whether a layer is a convolution of the image's channels."""
        node = self.network.nodes[name]
        weight = node.tensors.get("weight")
        reads_image = node.op.convolves and node.inputs == (INPUT,)
        planes = self.network.input_shape[:1]
        return reads_image and weight is not None and tuple(weight.shape[1:2]) == planes

    def _write_filters(self, records: Iterable[LayerRecord]) -> None:
        for record in records:
            if record.filters:
                weight = self.network.nodes[record.name].tensors["weight"]
                weight = self.model.preprocess.rgb(weight)
                path = sheet_path(self.out, record.slug, "filters")
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, encode_sheet(filter_sheet(weight), exact=True))

    def _manifest(
        self, records: list[LayerRecord], seen: ScanState, batch: int, phases: dict[str, float]
    ) -> Manifest:
        """The manifest of the finished atlas; `phases` has the seconds by what was done."""
        asked = {name: getattr(self.plan, name) for name in AtlasPlan.model_fields}
        del asked["layers"], asked["plain"]
        return Manifest(
            convscope_version=importlib.metadata.version("convscope"),
            batch_size=batch,
            padding=PADDING,
            layers=tuple(records),
            skipped=tuple(SkippedRecord(name=name, reason=why) for _, name, why in seen.skipped),
            converted=seen.converted,
            seconds=round(sum(phases.values()), 3),
            seconds_by_phase={phase: round(seconds, 3) for phase, seconds in phases.items()},
            complete=True,
            **asked,
        )


def _maps(network: Network, names: Iterable[str]) -> int:
    """How many feature maps some layers have together."""
    return sum(network.layer(network.activation(name)).channels for name in names)


def _check(search: Search, images: ImageSet) -> None:
    if not 1 <= search.top <= MOST_RANKS:
        raise BadOption(f"top is {search.top}; a feature map can keep 1 to {MOST_RANKS} images")
    if search.plain and search.relevant:
        raise BadOption("a plain atlas holds no patches for classes: leave one of the two out")
    if len(set(search.relevant)) < len(search.relevant):
        raise BadOption(f"the classes {search.relevant}: each may be there once")
    if not 0 <= search.check <= search.top:
        raise BadOption(
            f"check is {search.check}; of {search.top} pictures of a feature map 0 to "
            f"{search.top} can be checked"
        )
    if search.batch_size is not None and search.batch_size < 1:
        raise BadOption(f"batch size is {search.batch_size}; it must be at least 1")
    if len(images) == 0:
        raise BadData(f"{images.spec} holds no images; an atlas needs at least one")


def _check_same_inputs(model: Model, images: ImageSet, ranks: Ranks) -> None:
    """Compare what the processes were given, and share the reading of the images' digests.

    Raises:
        BadData: in the first process, naming another one that finds other images.
        BadModel: in the first process, naming another one that has other weights.
    """
    if ranks.count == 1:
        return
    names = text_fingerprint("\n".join(map(images.name, range(len(images)))))
    facts = ranks.gathered((len(images), names, weights_of(model)))
    for rank, (count, named, weights) in enumerate(facts):
        if (count, named) != facts[0][:2]:
            raise BadData(
                f"process {rank} finds {count} images in {images.spec}, process 0 finds "
                f"{facts[0][0]}, or of other names: give all processes the same files"
            )
        if weights != facts[0][2]:
            raise BadModel(
                f"process {rank} has other weights of {model.spec} than process 0: give all "
                f"processes the same file"
            )
    if not images.streamed:
        own = range(ranks.rank, len(images), ranks.count)
        for digests in ranks.gathered(images.digests(own)):
            images.recall(digests)


def _plan(
    model: Model, images: ImageSet, names: tuple[str, ...], search: Search, network: Network
) -> AtlasPlan:
    return AtlasPlan(
        model=model_record(model, network),
        data=DataRecord(spec=images.spec, identity=images.identity(), count=len(images)),
        preprocess=preprocess_record(model.preprocess),
        input_shape=model.input_shape,
        top=search.top,
        rules=search.rules.name,
        device=str(network.device),
        layers=names,
        plain=search.plain,
        extras=search.extras(len(sample_of(len(images), _maps(network, names)))),
    )


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        line = str(error).splitlines()[0]
        raise BadOption(f"device {str(name)!r} cannot be used ({line}); cpu always can") from None
    return device
