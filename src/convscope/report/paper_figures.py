"""The pictures of each stage of the paper's reproduction: a typed result -> files in a folder.

Pages of their own (the atlas, the evolution, the trainings) are written beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from convscope.atlas.store import open_atlas
from convscope.errors import BadInput
from convscope.experiments.diagnosis.trial import Trial
from convscope.experiments.evolution.result import Evolution
from convscope.experiments.paper.results import (
    LEARNED_WITH,
    Averages,
    CorrespondenceResult,
    Fig2,
    Fig5,
    Fig6,
    InvarianceResult,
    MultiResult,
    Surroundings,
    Trainings,
)
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.learning_curve import Transfer
from convscope.report.ablation_figure import ablation_figure
from convscope.report.correspondence_figure import correspondence_figure
from convscope.report.diagnosis_figure import diagnosis_figure
from convscope.report.ensemble_figure import ensemble_figure
from convscope.report.evolution_figure import evolution_figure
from convscope.report.evolution_page import write_evolution_page
from convscope.report.feature_grid import feature_grid_figure
from convscope.report.grouping_figure import grouping_figure
from convscope.report.invariance_figure import invariance_figure
from convscope.report.page import write_page
from convscope.report.probe_figure import probe_figure
from convscope.report.sensitivity_figure import scores_figure, sensitivity_figure
from convscope.report.style import save
from convscope.report.training_page import write_training_page
from convscope.report.trainings_figure import trainings_figure
from convscope.report.transfer_figure import precision_figure, transfer_figure
from convscope.report.trial_figure import trial_figure

__all__ = ["draw_stage"]

Shown = dict[str, tuple[str, Figure]]
"""By the file's name without its ending: what it shows, and the figure."""

PLATE = 4  # feature maps of each layer, drawn at random
ROWS = 4  # images of Fig. 6 that are drawn
PAIRS = 2  # images that two networks are drawn with
CURVES = 5  # images of the first version's Fig. 5 that are drawn, as in the paper


def draw_stage(stage: str, result: Any, folder: Path) -> Sequence[tuple[str, str]]:
    """`reproduce`'s argument `draw`: writes NAME.png for each picture, and pages."""
    shown = _DRAWN[stage](result, folder)
    for name, (_, figure) in shown.items():
        save(figure, folder / f"{name}.png")
    return [(f"{name}.png", words) for name, (words, _) in shown.items()]


def _trainings(found: Trainings, folder: Path) -> Shown:
    for run in found.runs:
        write_training_page(folder.parent / run.training.run)
    words = f"{found.images:,} images of {found.classes} classes, tested on {found.validation:,}"
    figure = trainings_figure(found, subtitle=words)
    return {"trainings": ("Validation error of every network, by epoch", figure)}


def _features(found: Fig2, folder: Path) -> Shown:
    write_page(found.atlas)
    atlas = open_atlas(found.atlas)
    words = (
        f"Left of each pair: the nine image patches that excite the map most, of "
        f"{found.grouping.images:,}. Right: their projections."
    )
    title = "Feature maps, drawn at random"
    return {
        "maps": (
            "Feature maps of every layer: strongest patches and their projections",
            feature_grid_figure(atlas, maps=PLATE, title=title, subtitle=words),
        ),
        "grouping": (
            "How alike each map's strongest images are, before and after training",
            grouping_figure(found.grouping),
        ),
    }


def _evolution(found: Evolution, folder: Path) -> Shown:
    write_evolution_page(found, folder / "evolution")
    words = f"the strongest activations among {found.images:,} images it learned from"
    try:
        figure = evolution_figure(found, subtitle=words)
    except BadInput:  # more tiles than a figure holds: the page has them
        return {}
    return {"evolution": ("Projections of randomly drawn maps at each kept epoch", figure)}


def _filters(found: Fig5, folder: Path) -> Shown:
    pairs = {"architecture": ("AlexNet and ZFNet", ("alexnet", "zfnet"))}
    if "free" in found.shown:
        words = "ZFNet without and with renormalisation"
        pairs = {"renormalisation": (words, ("free", "zfnet")), **pairs}
    shown: Shown = {}
    for name, (words, names) in pairs.items():
        both = [found.shown[each] for each in names]
        images = both[0].diagnosis.images
        figure = diagnosis_figure(both, title=words, subtitle=f"{images:,} images")
        shown[name] = (words, figure)
    return shown


def _remedied(found: Trial, _: Path) -> Shown:
    if not found.after:
        return {}
    return {"remedy": ("Error of every seed before and after the remedies", trial_figure(found))}


def _occlusion(found: Fig6, _: Path) -> Shown:
    study, classes = found.study, found.classes
    few = replace(study, rows=study.rows[:ROWS])
    words = f"occluder {study.occluder}; {len(few.rows)} of {len(study.rows)} images"
    rows = sensitivity_figure(few, found.preprocess, classes=classes, subtitle=words)
    shown: Shown = {"sensitivity": ("Occlusion maps, an image a row", rows)}
    if study.probability is not None:
        words = f"{len(study.rows)} images, occluder {study.occluder}"
        figure = scores_figure({"ZFNet": study}, subtitle=words)
        shown["scores"] = ("How well the probability's fall finds the object", figure)
    return shown


def _surroundings(found: Surroundings, _: Path) -> Shown:
    studies = (found.plain, found.telling)
    scored = {LEARNED_WITH[i]: study for i, study in enumerate(studies)}
    words = f"{len(found.plain.rows)} images, occluder {found.plain.occluder}"
    shown: Shown = {
        "scores": ("How well each network's fall finds the object",
                   scores_figure(scored, subtitle=words)),
    }  # fmt: skip
    for i, study in enumerate(studies):
        few = replace(study, rows=study.rows[:PAIRS])
        title = f"Learned with {LEARNED_WITH[i].lower()}"
        figure = sensitivity_figure(
            few, found.preprocesses[i], classes=found.classes, title=title, subtitle=words
        )
        shown[("plain", "telling")[i]] = (f"Occlusion maps. {title}", figure)
    return shown


def _moved(found: InvarianceResult, _: Path) -> Shown:
    study, count = found.study, min(CURVES, len(found.study.names))
    few = replace(
        study,
        names=study.names[:count],
        targets=study.targets[:count],
        known=study.known[:count],
        curves=tuple(
            replace(
                each,
                distance=each.distance[:count],
                probability=each.probability[:count],
                pictures=each.pictures[:count],
            )
            for each in study.curves
        ),
    )
    words = f"{count} of {len(study.names)} pictures"
    figure = invariance_figure(few, classes=found.classes, subtitle=words)
    return {"invariance": ("Distance of the features and probability, by motion", figure)}


def _correspondence(both: CorrespondenceResult, _: Path) -> Shown:
    found = both.trained
    figure = correspondence_figure(found, subtitle=f"ZFNet, {' and '.join(found.layers)}")
    return {"correspondence": ("What was covered, and Δ of each part", figure)}


def _transfer(found: Transfer, _: Path) -> Shown:
    words = f"features of {found.layer}, {found.images:,} images of {len(found.classes)} classes"
    figure = transfer_figure(found, subtitle=words)
    return {"transfer": ("Accuracy by images per class", figure)}


def _several(found: MultiResult, _: Path) -> Shown:
    words = f"{found.trained.images:,} images of several objects"
    figure = precision_figure(found.trained, subtitle=words)
    return {"precision": ("Average precision of each class", figure)}


def _depth(found: LayerProbe, _: Path) -> Shown:
    words = f"{found.images:,} images of {len(found.classes)} classes"
    return {"depth": ("Accuracy by layer", probe_figure(found, subtitle=words))}


def _averages(found: Averages, _: Path) -> Shown:
    words = f"{found.zfnets.images:,} images"
    figure = ensemble_figure(found.zfnets, subtitle=words)
    return {"ensemble": ("Error by the number of networks", figure)}


def _plain(name: str, words: str, draw: Callable[[Any], Figure]) -> Callable[[Any, Path], Shown]:
    return lambda found, folder: {name: (words, draw(found))}


_DRAWN: dict[str, Callable[[Any, Path], Shown]] = {
    "training": _trainings,
    "fig2": _features,
    "fig4": _evolution,
    "fig5": _filters,
    "remedy": _remedied,
    "fig6": _occlusion,
    "surroundings": _surroundings,
    "invariance": _moved,
    "correspondence": _correspondence,
    "table1": _averages,
    "table2": _plain("ablation", "Error of each variant, here and in the paper", ablation_figure),
    "transfer": _transfer,
    "multi": _several,
    "depth": _depth,
}
