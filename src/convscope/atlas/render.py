"""The second pass: the winners' pictures and how far to trust them, and the sheets.

Winners are grouped by image, so that an image is decoded and run forward once for all the units of
all layers that it won (of as many layers as fit the tile budget on disk). Tiles wait in plain files
until every image has been through, then each layer's sheets are written. The strongest pictures of
each map are checked on the same pass.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, product
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from convscope.atlas import sheets
from convscope.atlas.checked import check_winners
from convscope.atlas.checkpoint import Rendered, WorkFolder
from convscope.atlas.checksums import Checksums, read_checksums, write_checksums
from convscope.atlas.folder import CONTRAST, sheet_path
from convscope.atlas.further import FurtherPatch, SeenImages, further_patches, further_tiles
from convscope.atlas.seals import damaged_work
from convscope.atlas.sheets import Pixels
from convscope.atlas.tiles import Further, RenderedLayer, Tile, TileFiles, Winner, read_tiles
from convscope.atlas.trust import CHECKS, FIELDS, write_trust
from convscope.atlas.trust_files import Measured, TrustFiles, read_numbers
from convscope.distributed import Ranks
from convscope.errors import BadData
from convscope.images.batches import Batch, batches
from convscope.images.image_set import ImageSet
from convscope.images.pictures import crop, shown_box
from convscope.images.preprocess import Preprocess
from convscope.methods.checks import Checker
from convscope.methods.descent import Start, crops_pay
from convscope.methods.project import project_fields
from convscope.methods.rules import InitialSignal, Rules
from convscope.network.graph import Graph
from convscope.network.network import Network
from convscope.network.trace import Trace
from convscope.store.atomic import replace_file
from convscope.text import error_words

__all__ = ["Renderer", "project_winners"]

CHECKPOINT_SECONDS = 30.0
TILE_BYTES = 2**30  # of tiles that wait on disk for their sheets
TRACE_BYTES = 2**28  # of activations that one batch may keep
TILES_AT_ONCE = 200  # that a process hands over; between two reports of progress


@torch.no_grad()
def project_winners(
    trace: Trace,
    winners: Sequence[tuple[int, Winner]],
    activations: Mapping[str, str],
    rules: Rules,
) -> Iterator[tuple[Winner, Tensor]]:
    """Project winners of one batch of images, each cut to what its picture shows.

    Args:
        trace: of the batch; it is run as far as it is asked.
        winners: (row, winner) pairs of any layers; the row is the image's place in the batch.
        activations: layer -> the layer whose value is its activation.
        rules: the method of projection.

    Yields:
        Pairs of a winner and its projection, a float32 tensor on the CPU that is zero outside the
        receptive field and outside the image.

    Shape:
        each projection (3, h, w).
    """
    network = trace.network
    extent = network.input_shape[1:]
    counts = Counter(activations[winner.layer] for _, winner in winners)
    from_crops = crops_pay(network, counts, len({row for row, _ in winners}), rules)
    for layer in dict.fromkeys(winner.layer for _, winner in winners):
        of_layer = [(row, winner) for row, winner in winners if winner.layer == layer]
        rows = torch.tensor([row for row, _ in of_layer], device=network.device)
        start = _start(network, activations[layer], [winner for _, winner in of_layer], rules)
        fields = project_fields(trace, start, rows, rules, from_crops=from_crops)
        for (_, winner), (box, field) in zip(of_layer, fields, strict=True):
            shown = shown_box(winner.box, *extent).seen_from(box)
            within = winner.box.seen_from(box)
            yield winner, crop(field.float().cpu(), shown, 0.0, within=within)


def _start(network: Graph, activation: str, winners: Sequence[Winner], rules: Rules) -> Start:
    """The initial signal of the backward walk at winners of one layer."""
    places = torch.tensor([(w.channel, w.row, w.column) for w in winners], device=network.device)
    value = torch.tensor([w.value for w in winners], device=network.device, dtype=network.dtype)
    signal = value if rules.seed is InitialSignal.ACTIVATION else torch.ones_like(value)
    return Start(activation, places[:, 0], places[:, 1:], signal)


@dataclass(frozen=True, eq=False)
class Renderer:
    """Renders the winners of an atlas's layers: their tiles first, then the sheets of the tiles.

    Attributes:
        network: on the device that is used.
        images: the set that the winners are from.
        preprocess: from pictures to the network's input.
        rules: the method of projection.
        batch_size: how many images are run forward together, at most.
        workers: threads that decode images and encode sheets; None takes one per core.
        folder: of the atlas.
        work: its work folder; None in all processes but the first, which alone writes.
        ranks: process r of n renders the batches r, r + n, ..., and hands its tiles to the first.
        progress: called with (winners rendered, winners in all).
        checked: how many of the strongest pictures of each map are checked.
    """

    network: Network
    images: ImageSet
    preprocess: Preprocess
    rules: Rules
    batch_size: int
    workers: int | None
    folder: Path
    work: WorkFolder | None
    ranks: Ranks
    progress: Callable[[int, int], None]
    checked: int = 0

    def render(self, layers: Sequence[RenderedLayer]) -> float:
        """Write every layer's sheets; what an interrupted run had finished is kept.

        Args:
            layers: of the atlas, in its order.

        Returns:
            The seconds spent, in all runs.

        Raises:
            BadData: an image that could be read in the first pass cannot be read now.
            FolderInUse: what an interrupted run had finished is damaged.
        """
        state = self.ranks.from_first(
            lambda: self.work.load_rendered() if self.work else Rendered()
        )
        counts = [int((layer.table.image >= 0).sum()) for layer in layers]

        def tell(done: int) -> None:
            self.progress(sum(counts[: state.layers]) + done, sum(counts))

        if self.work is not None:
            _check_sheets(layers[: state.layers], self.folder)
        checker = Checker(self.network, self.rules, CHECKS)
        while state.layers < len(layers):
            group = _group(layers[state.layers :], state.group)
            state = self._render_tiles(group, state, tell, checker)
            started = time.monotonic()
            if self.work is not None:
                known = [_with_contrast(layer, self.work, self.checked) for layer in group]
                written = _write_sheets(known, self.folder, self.work.tiles, self.workers)
                write_checksums(self.folder, written)
            state = Rendered(
                layers=state.layers + len(group),
                seconds=state.seconds + time.monotonic() - started,
            )
            if self.work is not None:
                self.work.save_rendered(state)
                shutil.rmtree(self.work.tiles, ignore_errors=True)
        if self.checked and self.work is not None:
            write_trust(
                self.folder,
                {
                    layer.record.name: read_numbers(self.work.trust, layer, self.checked)
                    for layer in layers
                },
            )
        tell(0)
        return state.seconds

    def _render_tiles(
        self,
        group: Sequence[RenderedLayer],
        state: Rendered,
        tell: Callable[[int], None],
        checker: Checker,
    ) -> Rendered:
        """All tiles of a group of layers; images that `state` counts are done already."""
        by_image: dict[int, list[Winner]] = {}
        further: dict[int, list[FurtherPatch]] = {}
        for layer in group:
            for winner in layer.winners():
                by_image.setdefault(winner.image, []).append(winner)
            for patch in further_patches(layer):
                further.setdefault(patch.image, []).append(patch)
        order = sorted({*by_image, *further})
        rounds = self.ranks.deal(order[state.images :], self._batch_size(group))
        done = sum(len(by_image.get(image, ())) for image in order[: state.images])
        started = saved = time.monotonic()
        tell(done)
        pieces = {
            image: self._pieces(by_image.get(image, ()), group) + len(further.get(image, ()))
            for image in order
        }
        with self._files(group, state) as files, closing(self._read(rounds)) as read:
            for shared in rounds:
                batch = next(read) if self.ranks.rank < len(shared) else None
                made: Iterator[Tile | Measured] = iter(())
                if batch is not None:
                    trace = self.network.trace(batch.tensors, [])  # it runs as far as it is asked
                    seen = SeenImages(batch, trace, self.preprocess)
                    made = chain(
                        self._made(seen, by_image, group, checker), further_tiles(seen, further)
                    )
                most = max(sum(pieces[image] for image in share) for share in shared)
                for at in range(0, most, TILES_AT_ONCE):
                    if at:
                        tell(done)
                    parts = self.ranks.gathered(list(islice(made, TILES_AT_ONCE)))
                    if files is not None:
                        done += files.write(chain.from_iterable(parts))
                now = time.monotonic()
                state = Rendered(
                    layers=state.layers,
                    group=len(group),
                    images=state.images + sum(map(len, shared)),
                    seconds=state.seconds + now - started,
                )
                started = now
                due = now - saved >= CHECKPOINT_SECONDS or state.images == len(order)
                if due and files is not None and self.work is not None:
                    files.flush()
                    self.work.save_rendered(state)
                    saved = time.monotonic()
                tell(done)
        return state

    def _pieces(self, winners: Sequence[Winner], group: Sequence[RenderedLayer]) -> int:
        """How many tiles and checks an image's winners get at most."""
        tiles = len(group[0].kinds) * len(winners)
        return tiles + 2 * sum(self._is_checked(winner) for winner in winners)

    def _is_checked(self, winner: Winner) -> bool:
        """Whether a winner's picture is checked: one that is not above zero cannot fall."""
        return winner.rank < self.checked and winner.value > 0

    @contextmanager
    def _files(self, group: Sequence[RenderedLayer], state: Rendered) -> Iterator[_Files | None]:
        """Where what was made waits; None in all processes but the first."""
        if self.work is None:
            yield None
            return
        if state.images == 0:
            shutil.rmtree(self.work.tiles, ignore_errors=True)  # of a group that is on its sheets
        with ExitStack() as stack:
            tiles = stack.enter_context(TileFiles(self.work.tiles, group))
            trust = None
            if self.checked:
                trust = stack.enter_context(TrustFiles(self.work.trust, group, self.checked))
            yield _Files(tiles, trust)

    def _read(self, rounds: Sequence[Sequence[Sequence[int]]]) -> Generator[Batch, None, None]:
        """This process's batches.

        Raises:
            BadData: an image cannot be read any more.
        """
        for batch in batches(
            self.images,
            self.preprocess,
            batch_size=len(rounds[0][0]) if rounds else 1,
            workers=self.workers,
            indices=self.ranks.hand(rounds),
        ):
            if batch.skipped:
                lost = batch.skipped[0]
                raise BadData(
                    f"{lost.name} was read before and cannot be read now: {lost.reason}; "
                    f"put it back and go on with --resume"
                )
            yield batch

    def _made(
        self,
        seen: SeenImages,
        by_image: Mapping[int, Sequence[Winner]],
        group: Sequence[RenderedLayer],
        checker: Checker,
    ) -> Iterator[Tile | Measured]:
        """All tiles of the winners of a batch, then the checks of the strongest."""
        winners = [
            (row, winner)
            for row, image in enumerate(seen.images)
            for winner in by_image.get(image, ())
        ]
        activations = {layer.record.name: layer.record.activation for layer in group}
        rows = {winner: row for row, winner in winners}
        for winner, projection in project_winners(seen.trace, winners, activations, self.rules):
            patch = seen.patch(rows[winner], winner.box)
            tiles = self._pictures(patch, projection, group[0].kinds)
            yield from (Tile(kind, winner, pixels) for kind, pixels in tiles.items())
        yield from check_winners(
            checker,
            seen,
            [(row, winner) for row, winner in winners if self._is_checked(winner)],
            activations,
            self.preprocess.fill("grey").to(self.network.device, self.network.dtype),
        )

    def _pictures(
        self, patch: Tensor, projection: Tensor, kinds: Sequence[str]
    ) -> dict[str, Pixels]:
        """A winner's tiles by kind."""
        tile = sheets.patch_tile(patch)
        makers: dict[str, Callable[[], Pixels]] = {
            "patch": lambda: tile,
            "projection": lambda: sheets.projection_tile(self.preprocess.rgb(projection)),
            "spotlight": lambda: sheets.spotlight_tile(tile, projection),
        }
        return {kind: makers[kind]() for kind in kinds}

    def _batch_size(self, group: Sequence[RenderedLayer]) -> int:
        """How many images may be run forward together with their activations kept."""
        below = self.network.below([layer.record.activation for layer in group])
        kept = 4 * sum(torch.Size(node.shape).numel() for node in below)
        return max(1, min(self.batch_size, TRACE_BYTES // max(1, kept)))


@dataclass(frozen=True)
class _Files:
    """Where tiles and checks wait until the last image has been through."""

    tiles: TileFiles
    trust: TrustFiles | None

    def write(self, made: Iterable[Tile | Measured]) -> int:
        """Write what was made.

        Returns:
            How many winners have all of their tiles with this.
        """
        every = list(made)
        if self.trust is not None:
            self.trust.write(one for one in every if isinstance(one, Measured))
        return self.tiles.write(one for one in every if isinstance(one, Tile))

    def flush(self) -> None:
        """Make sure that everything written is on the disk."""
        self.tiles.flush()
        if self.trust is not None:
            self.trust.flush()


def _group(layers: Sequence[RenderedLayer], begun: int) -> list[RenderedLayer]:
    """The layers that are rendered next, together.

    Args:
        layers: those that have no sheets yet, at least one.
        begun: how many of them an interrupted run had begun with; 0 takes as many as have room
            for their tiles on disk, at least one.
    """
    if begun:
        return list(layers[:begun])
    group = [layers[0]]
    for layer in layers[1:]:
        if sum(member.bytes for member in group) + layer.bytes > TILE_BYTES:
            break
        group.append(layer)
    return group


def _with_contrast(layer: RenderedLayer, work: WorkFolder, checked: int) -> RenderedLayer:
    """A layer that shows the contrastive pictures that were made, and no others."""
    if not checked:
        return layer
    numbers = read_numbers(work.trust, layer, checked)
    made = torch.from_numpy(numbers[..., FIELDS.index(CONTRAST)] > 0)
    image = torch.where(made, layer.table.image[:, :checked], -1)
    others = (some for some in layer.further if some.name != CONTRAST)
    contrast = (Further(CONTRAST, image, patches=False),) if made.any() else ()
    return replace(layer, further=(*others, *contrast))


def _check_sheets(layers: Sequence[RenderedLayer], folder: Path) -> None:
    """Compare the sheets that an interrupted run finished with their checksums.

    Raises:
        FolderInUse: one is damaged; what to do is said.
        BadInput: the checksums are.
    """
    known = read_checksums(folder) or Checksums(files={})  # none: begun by an older version
    done = tuple(f"sheets/{layer.record.slug}/" for layer in layers)
    for name in known.files:
        path = folder / name
        if name.startswith(done):
            try:
                known.check(folder, path, path.read_bytes())
            except (OSError, ValueError) as error:
                raise damaged_work(path, error_words(error)) from None


def _write_sheets(
    layers: Iterable[RenderedLayer], folder: Path, tiles: Path, workers: int | None
) -> list[Path]:
    """Write all sheets of some layers.

    Args:
        layers: whose tiles are complete.
        folder: of the atlas.
        tiles: the folder of the tiles.
        workers: threads, as Pillow lets go of the interpreter's lock while it encodes; None takes
            one per core, at most 8.
    """
    threads = min(8, os.cpu_count() or 1) if workers is None else max(1, workers)
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(threads, thread_name_prefix="convscope-sheets")
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        writing = [pool.submit(write) for write in _sheets(layers, folder, tiles)]
        return [future.result() for future in writing]


def _sheets(
    layers: Iterable[RenderedLayer], folder: Path, tiles: Path
) -> Iterator[Callable[[], Path]]:
    """A function for each sheet, which writes it."""
    makers = (
        ("", sheets.MAPS_PER_SHEET, sheets.rank_sheet),
        ("wall-", sheets.WALL**2, sheets.wall_sheet),
    )
    for layer, (prefix, maps, make) in product(layers, makers):
        kinds = layer.kinds if prefix else layer.every_kind
        slug, channels = layer.record.slug, layer.record.channels
        exact = sheets.is_small(layer.record.window) and not prefix
        for kind, (number, start) in product(kinds, enumerate(range(0, channels, maps))):
            path = sheet_path(folder, slug, f"{prefix}{kind}", number)
            read = partial(read_tiles, tiles, layer, kind, start, min(start + maps, channels))
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial(_write_sheet, path, read, make, exact)


def _write_sheet(
    path: Path, read: Callable[[], Pixels], make: Callable[[Pixels], Image.Image], exact: bool
) -> Path:
    replace_file(path, sheets.encode_sheet(make(read()), exact=exact))
    return path
