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
    LEARNED_BY,
    LEARNED_WITH,
    Averages,
    CorrespondenceResult,
    Fig2,
    Fig5,
    Fig6,
    InvarianceResult,
    MultiResult,
    Pretraining,
    Surroundings,
    Trainings,
)
from convscope.experiments.pictures.result import Pictures
from convscope.experiments.sanity.result import Sanity
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.learning_curve import Transfer
from convscope.report.ablation_figure import ablation_figure
from convscope.report.correspondence_figure import correspondence_figure
from convscope.report.diagnosis_figure import diagnosis_figure
from convscope.report.ensemble_figure import ensemble_figure
from convscope.report.evolution_figure import evolution_figure
from convscope.report.evolution_page import write_evolution_page
from convscope.report.feature_grid import feature_grid_figure, feature_grid_words
from convscope.report.grouping_figure import grouping_figure
from convscope.report.invariance_figure import invariance_figure
from convscope.report.page import write_page
from convscope.report.pictures_figure import pictures_figure
from convscope.report.probe_figure import probe_figure, taught_figure
from convscope.report.sanity_figure import sanity_figure
from convscope.report.sensitivity_figure import scores_figure, sensitivity_figure
from convscope.report.style import save
from convscope.report.training_page import write_training_page
from convscope.report.trainings_figure import trainings_figure
from convscope.report.transfer_figure import precision_figure, transfer_figure
from convscope.report.trial_figure import trial_figure

__all__ = ["draw_stage"]

Shown = dict[str, tuple[str, Figure]]
"""By the file's name without its ending: what it shows, and the figure."""

PLATE = 3  # feature maps of each layer, drawn at random
ROWS = 4  # images of Fig. 6 that are drawn
PAIRS = 2  # images that two networks are drawn with
CURVES = 5  # images of the first version's Fig. 5 that are drawn, as in the paper


def draw_stage(stage: str, result: Any, folder: Path) -> Sequence[tuple[str, str]]:
    """`reproduce`'s argument `draw`: writes NAME.png for each picture, and pages."""
    shown = _DRAWN[stage](result, folder)
    for name, (_, figure) in shown.items():
        save(figure, folder / f"{name}.png")
    return [(f"{name}.png", words) for name, (words, _) in shown.items()]


def _trainings(trainings: Trainings, folder: Path) -> Shown:
    for run in trainings.runs:
        write_training_page(folder.parent / run.training.run)
    images = f"{trainings.images:,} images of {trainings.classes} classes"
    words = f"{images}, tested on {trainings.validation:,}"
    figure = trainings_figure(trainings, subtitle=words)
    return {"trainings": ("Validation error of every network, by epoch", figure)}


def _features(fig2: Fig2, folder: Path) -> Shown:
    write_page(fig2.atlas)
    atlas = open_atlas(fig2.atlas)
    words = f"Over {fig2.grouping.images:,} images. {feature_grid_words(atlas)}"
    title = "Feature maps, drawn at random"
    return {
        "maps": (
            "Feature maps of every layer: strongest patches, spotlights and projections",
            feature_grid_figure(atlas, maps=PLATE, title=title, subtitle=words),
        ),
        "grouping": (
            "How alike each map's strongest images are, before and after training",
            grouping_figure(fig2.grouping),
        ),
    }


def _evolution(evolution: Evolution, folder: Path) -> Shown:
    write_evolution_page(evolution, folder / "evolution")
    words = f"the strongest activations among {evolution.images:,} images it learned from"
    try:
        figure = evolution_figure(evolution, subtitle=words)
    except BadInput:  # more tiles than a figure holds: the page has them
        return {}
    return {"evolution": ("Projections of randomly drawn maps at each kept epoch", figure)}


def _filters(diagnoses: Fig5, folder: Path) -> Shown:
    pairs = {"architecture": ("AlexNet and ZFNet", ("alexnet", "zfnet"))}
    if "free" in diagnoses.shown:
        words = "ZFNet without and with renormalisation"
        pairs = {"renormalisation": (words, ("free", "zfnet")), **pairs}
    shown: Shown = {}
    for name, (words, names) in pairs.items():
        both = [diagnoses.shown[name] for name in names]
        images = both[0].diagnosis.images
        figure = diagnosis_figure(both, title=words, subtitle=f"{images:,} images")
        shown[name] = (words, figure)
    return shown


def _remedied(trial: Trial, _: Path) -> Shown:
    if not trial.after:
        return {}
    return {"remedy": ("Error of every seed before and after the remedies", trial_figure(trial))}


def _occlusion(fig6: Fig6, _: Path) -> Shown:
    study, classes = fig6.study, fig6.classes
    few = replace(study, rows=study.rows[:ROWS])
    words = f"occluder {study.occluder}; {len(few.rows)} of {len(study.rows)} images"
    rows = sensitivity_figure(few, fig6.preprocess, classes=classes, subtitle=words)
    shown: Shown = {"sensitivity": ("Occlusion maps, an image a row", rows)}
    if study.probability is not None:
        words = f"{len(study.rows)} images, occluder {study.occluder}"
        figure = scores_figure({"ZFNet": study}, subtitle=words)
        shown["scores"] = ("How well the probability's fall finds the object", figure)
    return shown


def _surroundings(surroundings: Surroundings, _: Path) -> Shown:
    studies = (surroundings.plain, surroundings.telling)
    scored = {LEARNED_WITH[i]: study for i, study in enumerate(studies)}
    words = f"{len(surroundings.plain.rows)} images, occluder {surroundings.plain.occluder}"
    shown: Shown = {
        "scores": ("How well each network's fall finds the object",
                   scores_figure(scored, subtitle=words)),
    }  # fmt: skip
    for i, study in enumerate(studies):
        few = replace(study, rows=study.rows[:PAIRS])
        title = f"Learned with {LEARNED_WITH[i].lower()}"
        figure = sensitivity_figure(
            few,
            surroundings.preprocesses[i],
            classes=surroundings.classes,
            title=title,
            subtitle=words,
        )
        shown[("plain", "telling")[i]] = (f"Occlusion maps. {title}", figure)
    return shown


def _moved(invariance: InvarianceResult, _: Path) -> Shown:
    study, count = invariance.study, min(CURVES, len(invariance.study.names))
    few = replace(
        study,
        names=study.names[:count],
        targets=study.targets[:count],
        known=study.known[:count],
        curves=tuple(
            replace(
                curve,
                distance=curve.distance[:count],
                probability=curve.probability[:count],
                pictures=curve.pictures[:count],
            )
            for curve in study.curves
        ),
    )
    words = f"{count} of {len(study.names)} pictures"
    figure = invariance_figure(few, classes=invariance.classes, subtitle=words)
    return {"invariance": ("Distance of the features and probability, by motion", figure)}


def _correspondence(both: CorrespondenceResult, _: Path) -> Shown:
    found = both.trained
    figure = correspondence_figure(found, subtitle=f"ZFNet, {' and '.join(found.layers)}")
    return {"correspondence": ("What was covered, and Δ of each part", figure)}


def _transfer(transfer: Transfer, _: Path) -> Shown:
    images = f"{transfer.images:,} images of {len(transfer.classes)} classes"
    words = f"features of {transfer.layer}, {images}"
    figure = transfer_figure(transfer, subtitle=words)
    return {"transfer": ("Accuracy by images per class", figure)}


def _several(transfers: MultiResult, _: Path) -> Shown:
    words = f"{transfers.trained.images:,} images of several objects"
    figure = precision_figure(transfers.trained, subtitle=words)
    return {"precision": ("Average precision of each class", figure)}


def _depth(probe: LayerProbe, _: Path) -> Shown:
    words = f"{probe.images:,} images of {len(probe.classes)} classes"
    return {"depth": ("Accuracy by layer", probe_figure(probe, subtitle=words))}


def _taught(found: Pretraining, _: Path) -> Shown:
    probes = (found.supervised, found.unsupervised, found.random)
    words = f"{found.random.images:,} images of {len(found.random.classes)} classes"
    figure = taught_figure(dict(zip(LEARNED_BY, probes, strict=True)), subtitle=words)
    return {"pretraining": ("Accuracy by layer, by what taught it", figure)}


def _averages(averages: Averages, _: Path) -> Shown:
    words = f"{averages.zfnets.images:,} images"
    figure = ensemble_figure(averages.zfnets, subtitle=words)
    return {"ensemble": ("Error by the number of networks", figure)}


def _worth(sanity: Sanity, _: Path) -> Shown:
    figure = sanity_figure(sanity, subtitle=f"ZFNet, {sanity.images} images")
    return {"sanity": ("How far each kind of picture can be trusted, at which depth", figure)}


def _beside(found: Pictures, _: Path) -> Shown:
    figure = pictures_figure(found, subtitle="ZFNet, each unit in its strongest image")
    return {"pictures": ("Strong units of Fig. 2 by every method", figure)}


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
    "pretraining": _taught,
    "sanity": _worth,
    "pictures": _beside,
}
