"""Features watched while they grow: a run's kept epochs and images -> rows of Fig. 4, and numbers.

At each kept epoch every image goes through the network once, so that each map's strongest
activation over all of them is known (winners.py). A random subset of the maps is drawn: the
winner's patch and projection at each epoch (tiles.py). On a larger random subset it is
measured when a map comes to be what it is at the end (similarity.py, convergence.py).

Of a study in a folder, pieces/ holds the numbers, tiles/ the pictures of each epoch; a scan under
way is kept in scan-EPOCH.safetensors. An interrupted study goes on within the scan where it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.atlas.sheets import MAPS_PER_SHEET, cell_size, shown_window
from convscope.distributed import ALONE, Ranks
from convscope.errors import BadOption
from convscope.experiments.evolution.convergence import (
    Trend,
    converged,
    lower_first,
    similar_from,
    unchanged_from,
)
from convscope.experiments.evolution.kept import KeptEpoch, OpenedEpoch, kept_epochs
from convscope.experiments.evolution.result import (
    MEASURES,
    Evolution,
    LayerEvolution,
    Lead,
    MapEvolution,
)
from convscope.experiments.evolution.similarity import filter_distances, projection_cosines
from convscope.experiments.evolution.tiles import Tiles, draw_tiles, kept_tiles
from convscope.experiments.evolution.winners import Sight, Winners, find_winners
from convscope.images.image_set import ImageSet
from convscope.methods.rules import DECONVNET, Rules
from convscope.progress import Progress, silent
from convscope.scan.checkpoint import checkpoint_in
from convscope.scan.items import made_together, open_results
from convscope.scan.strongest import layers_with_maps
from convscope.store.lock import check_unused
from convscope.store.results import Record, ResultStore
from convscope.training.checkpoint import read_run

__all__ = ["evolve"]


def evolve(
    run: str | os.PathLike[str],
    images: ImageSet,
    *,
    layers: Iterable[str] | None = None,
    maps: int = 5,
    measured: int = 64,
    epochs: Iterable[int] | None = None,
    threshold: float = 0.9,
    rules: Rules = DECONVNET,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> Evolution:
    """What excites feature maps most at each kept epoch of a training, and when that settles.

    A map converges at the first kept epoch from which on it is, at all kept epochs, as at the end;
    so the answer is never finer than the epochs that were kept, and the last of them means that it
    changed until the end. What is compared: result.MEASURES.

    Args:
        run: a folder of `convscope train`, finished or not.
        images: the paper takes all that the network learned from.
        layers: names; by default every convolution. Each is seen at its activation.
        maps: feature maps of a layer that are drawn, 1 to 32.
        measured: those that are measured; a random subset of what is not dead at the end.
        epochs: of those that were kept; by default all.
        threshold: similarity to the end, 1 for the same, from which on a map counts as what it is
            then.
        rules: of the projections.
        out: a folder that keeps what is done; None keeps nothing.
        resume: go on with what is in the folder.
        seed: of the choice of maps.
        batch_size: images at a time.
        workers: threads that read them.
        device: where the network runs.
        progress: called with (what, done, total), in images and in projections.
        ranks: the processes that share the images; their number changes nothing in the result.

    Raises:
        BadData: no run there, too few kept epochs, or no image that can be read.
        BadOption: maps, measured, epochs or threshold.
        NoSuchLayer: with the nearest names.
        FolderInUse: the folder holds something else, or a study of other settings.
        NonFinite: an activation to be projected is NaN or infinite.

    Source:
        Zeiler & Fergus 2014, §4.1 and Fig. 4.

    Example:
        >>> images = convscope.open_images("scenes:train")
        >>> convscope.evolve("runs/demo/zfnet", images, layers=["conv5"]).epochs
    """
    _check(maps, measured, threshold)
    path = Path(str(run).removeprefix("run:")).expanduser()
    told = read_run(path)
    if out is not None and ranks.first:
        check_unused(out, resume=resume)
    checkpoints = [_Checkpoint(each, device) for each in kept_epochs(path, told, epochs)]
    network = checkpoints[-1].subject.network
    names = layers_with_maps(network, layers)
    sight = Sight(
        images=images,
        activations={name: network.activation(name) for name in names},
        rules=rules,
        batch_size=batch_size,
        workers=workers,
        progress=progress or silent,
        ranks=ranks,
    )
    place = None if out is None else Path(out)
    study = _Study(tuple(checkpoints), sight, maps, max(maps, measured), seed, place)
    states, skipped = study.run(resume)
    evolved = tuple(study.layer(name, states, threshold) for name in names)
    return Evolution(
        run=str(run),
        architecture=told.architecture.name,
        status=str(told.status),
        epochs=study.epochs,
        threshold=threshold,
        rules=rules.name,
        seed=seed,
        data=images.spec,
        images=len(images),
        skipped=skipped,
        layers=evolved,
        trends={measure: _trend(evolved, measure, seed) for measure in MEASURES},
    )


@dataclass
class _Checkpoint:
    """A kept epoch, opened when it is first needed."""

    kept: KeptEpoch
    device: str | torch.device

    @cached_property
    def subject(self) -> OpenedEpoch:
        return self.kept.open(self.device)

    def close(self) -> None:
        """Let go of the network."""
        self.__dict__.pop("subject", None)


@dataclass(frozen=True)
class _Choice:
    """Channels of a layer, ascending: those that are drawn, and all that are measured."""

    drawn: tuple[int, ...]
    measured: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _EpochState:
    """What is known of a kept epoch, each by layer; `near` (similarity.py) by measure and layer."""

    winners: Mapping[str, Winners]
    near: Mapping[str, Mapping[str, Sequence[float]]]
    tiles: Mapping[str, Tiles]


@dataclass(frozen=True, eq=False)
class _Study:
    """One study, epoch by epoch, and what is made of it."""

    checkpoints: tuple[_Checkpoint, ...]
    sight: Sight
    maps: int
    measured: int
    seed: int
    folder: Path | None

    @property
    def epochs(self) -> tuple[int, ...]:
        return tuple(checkpoint.kept.epoch for checkpoint in self.checkpoints)

    @property
    def end(self) -> OpenedEpoch:
        return self.checkpoints[-1].subject

    def run(self, resume: bool) -> tuple[list[_EpochState], tuple[tuple[str, str], ...]]:
        """Every epoch, the end's winners first; and the images that could not be read."""
        with open_results(
            self.folder, self._settings(), resume=resume, ranks=self.sight.ranks
        ) as results:
            end, skipped = self._winners(self.checkpoints[-1], results)
            states = []
            for checkpoint in self.checkpoints:
                winners, _ = self._winners(checkpoint, results)
                states.append(self._state(checkpoint, winners, end, results))
                if checkpoint is not self.checkpoints[-1]:
                    checkpoint.close()
        return states, skipped

    def _settings(self) -> dict[str, Any]:
        """What the pieces and tiles depend on."""
        if self.folder is None:
            return {}
        images = self.sight.images
        return {
            "study": "evolve",
            "kept": {
                str(checkpoint.kept.epoch): checkpoint.kept.sha256[:12]
                for checkpoint in self.checkpoints
            },
            "images": f"{len(images)}, identity {images.identity()[:12]}",
            "layers": list(self.sight.activations),
            "maps": self.maps,
            "measured": self.measured,
            "rules": self.sight.rules.name,
            "seed": self.seed,
        }

    def _winners(
        self, checkpoint: _Checkpoint, results: ResultStore
    ) -> tuple[dict[str, Winners], tuple[tuple[str, str], ...]]:
        epoch = checkpoint.kept.epoch
        commits = checkpoint_in(results, f"scan-{epoch}")
        piece: Record = made_together(
            f"winners {epoch}",
            lambda: find_winners(checkpoint.subject, self.sight, commits),
            results, results.record, ranks=self.sight.ranks,
        )  # fmt: skip
        if commits is not None:
            commits.remove()
            shutil.rmtree(commits.path.with_suffix(""), ignore_errors=True)  # of an older version
        winners = {name: Winners.read(piece["layers"][name]) for name in self.sight.activations}
        return winners, tuple((name, reason) for name, reason in piece["skipped"])

    def _state(
        self,
        checkpoint: _Checkpoint,
        winners: Mapping[str, Winners],
        end: Mapping[str, Winners],
        results: ResultStore,
    ) -> _EpochState:
        epoch = checkpoint.kept.epoch
        choices = {name: self._choice(end[name]) for name in end}
        measured = {name: choice.measured for name, choice in choices.items()}
        drawn = {name: choice.drawn for name, choice in choices.items()}

        def compared() -> Record:
            now = checkpoint.subject
            return {
                "projection": projection_cosines(now, self.end, self.sight, end, measured),
                "filter": filter_distances(now, self.end, measured),
            }

        near: Record = made_together(
            f"near {epoch}", compared, results, results.record, ranks=self.sight.ranks
        )
        place = self.folder and self.folder / "tiles" / f"epoch-{epoch:04d}.safetensors"
        tiles = kept_tiles(
            place, list(end), lambda: draw_tiles(checkpoint.subject, self.sight, winners, drawn),
            self.sight.ranks,
        )  # fmt: skip
        return _EpochState(winners, near, tiles)

    def _choice(self, end: Winners) -> _Choice:
        """Maps in a random order, those that have no winner at the end left out."""
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(end.image), generator=generator).tolist()
        alive = [channel for channel in order if not end.empty[channel]]
        return _Choice(tuple(sorted(alive[: self.maps])), tuple(sorted(alive[: self.measured])))

    def layer(self, name: str, states: Sequence[_EpochState], threshold: float) -> LayerEvolution:
        """A layer's part of the result."""
        network = self.end.network
        layer = network.layer(self.sight.activations[name])
        winners = [state.winners[name] for state in states]
        choice = self._choice(winners[-1])
        similarity = _similarity(name, states, choice.measured)
        columns = {
            measure: unchanged_from(values)
            if measure == "image"
            else similar_from(values, threshold)
            for measure, values in similarity.items()
        }
        window = shown_window(layer.field.size, network.input_shape[1:])
        settled = {measure: converged(column, self.epochs) for measure, column in columns.items()}
        return LayerEvolution(
            name=name,
            activation=layer.name,
            channels=layer.channels,
            field=layer.field.size,
            window=window,
            cell=cell_size(window),
            dead=tuple(int(winner.dead.sum()) for winner in winners),
            dead_at_end=tuple(np.flatnonzero(winners[-1].dead).tolist()),
            not_finite=tuple(int(winner.not_finite.sum()) for winner in winners),
            not_finite_at_end=tuple(np.flatnonzero(winners[-1].not_finite).tolist()),
            lost=tuple(winner.lost for winner in winners),
            rows=tuple(
                MapEvolution(
                    channel=channel,
                    leads=self._leads(winners, channel),
                    patches=np.stack([state.tiles[name].patches[row] for state in states]),
                    projections=np.stack([state.tiles[name].projections[row] for state in states]),
                    converged={
                        measure: self.epochs[column[choice.measured.index(channel)]]
                        for measure, column in columns.items()
                    },
                )
                for row, channel in enumerate(choice.drawn)
            ),
            measured=choice.measured,
            similarity=similarity,
            convergence={m: found for m, found in settled.items() if found is not None},
        )

    def _leads(self, winners: Sequence[Winners], channel: int) -> tuple[Lead, ...]:
        leads, before = [], -1
        for epoch, found in zip(self.epochs, winners, strict=True):
            leads.append(_lead(epoch, found, channel, before, self.sight.images))
            before = before if found.empty[channel] else int(found.image[channel])
        return tuple(leads)


def _lead(epoch: int, winners: Winners, channel: int, before: int, images: ImageSet) -> Lead:
    """A map's strongest activation at an epoch; `before` is the image that led, -1 where none."""
    image = int(winners.image[channel])
    if image < 0:
        lost = bool(winners.not_finite[channel])
        return Lead(epoch, None, "", "", None, None, None, changed=False, not_finite=lost)
    label, classes = images.label(image), images.classes
    row, column = winners.place(channel)
    return Lead(
        epoch=epoch,
        image=image,
        name=images.name(image),
        label="" if label is None or classes is None else classes[label],
        value=float(winners.value[channel]),
        row=row,
        column=column,
        changed=before not in (-1, image),
    )


def _similarity(
    name: str, states: Sequence[_EpochState], measured: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """By measure, (M, E), 1 at the end: see MEASURES."""
    images = np.stack([state.winners[name].image[list(measured)] for state in states], axis=1)
    told = {"image": (images == images[:, -1:]).astype(float)}
    told["projection"] = np.array([state.near["projection"][name] for state in states]).T
    if name in states[0].near["filter"]:
        distance = np.array([state.near["filter"][name] for state in states]).T  # (M, E)
        furthest = distance.max(axis=1, keepdims=True)
        told["filter"] = 1 - distance / np.where(furthest > 0, furthest, 1)  # 1: it never moved
    return {measure: told[measure] for measure in MEASURES if measure in told}


def _trend(layers: Iterable[LayerEvolution], measure: str, seed: int) -> Trend:
    found = [layer.convergence[measure] for layer in layers if measure in layer.convergence]
    return lower_first([convergence.epochs for convergence in found], seed=seed)


def _check(maps: int, measured: int, threshold: float) -> None:
    if not 1 <= maps <= MAPS_PER_SHEET:
        raise BadOption(f"{maps} maps a layer: evolution draws 1 to {MAPS_PER_SHEET}")
    if measured < 1:
        raise BadOption(f"{measured} measured maps a layer: give at least 1")
    if not 0 < threshold <= 1:
        raise BadOption(f"threshold is {threshold}: a similarity above 0, at most 1")
