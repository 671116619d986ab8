"""Which figures and pages a study's result has: a line of the registry for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from convscope.errors import BadInput
from convscope.experiments.ablation.table import Ablation
from convscope.experiments.adaptive.result import Adaptive
from convscope.experiments.atlas import WrittenAtlas
from convscope.experiments.comparison.result import Comparison
from convscope.experiments.correspondence.result import Correspondence
from convscope.experiments.diagnosis.study import Examination
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.evolution.result import Evolution
from convscope.experiments.invariance.curves import Invariance
from convscope.experiments.localization.result import Localization
from convscope.experiments.mistakes.result import Mistakes
from convscope.experiments.paper.reproduction import Reproduction
from convscope.experiments.pictures.result import Pictures
from convscope.experiments.removal.result import Removal
from convscope.experiments.sanity.result import Sanity
from convscope.experiments.sensitivity.result import Sensitivity
from convscope.experiments.sensitivity.study import AGAINST
from convscope.experiments.study import Outcome, Result
from convscope.experiments.train import TrainedNetwork
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.learning_curve import Transfer
from convscope.experiments.transfer.multilabel import MultiTransfer
from convscope.report.ablation_figure import ablation_figure
from convscope.report.adaptive_figure import adaptive_figure
from convscope.report.chart_figure import chart_figure
from convscope.report.comparison_figure import comparison_figure
from convscope.report.comparison_page import write_comparison_page
from convscope.report.correspondence_figure import correspondence_figure
from convscope.report.diagnosis_figure import diagnosis_figure
from convscope.report.ensemble_figure import ensemble_figure
from convscope.report.errors_figure import errors_figure
from convscope.report.errors_page import write_errors_page
from convscope.report.evolution_figure import evolution_figure
from convscope.report.evolution_page import write_evolution_page
from convscope.report.invariance_figure import invariance_figure
from convscope.report.localization_figure import localization_figure
from convscope.report.page import write_page
from convscope.report.paper_page import write_paper_page
from convscope.report.pictures_figure import pictures_figure
from convscope.report.probe_figure import depth_figure, probe_figure
from convscope.report.removal_figure import removal_figure
from convscope.report.sanity_figure import sanity_figure
from convscope.report.sensitivity_figure import scores_figure, sensitivity_figure
from convscope.report.style import write_figure
from convscope.report.training_page import write_training_page
from convscope.report.transfer_figure import precision_figure, transfer_figure
from convscope.report.trial_figure import trial_figure

__all__ = ["Drawn", "draw", "figures_of", "write_result_page"]


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a result.

    Attributes:
        figures: by the file's name without its ending.
        pages: pages that were written, the one to open first.
        warnings: why something was not drawn.
    """

    figures: Mapping[str, Figure]
    pages: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


Figures = Mapping[str, Figure]


def _invariance(invariance: Invariance, outcome: Outcome) -> Figures:
    figure = invariance_figure(invariance, classes=outcome.classes, subtitle=outcome.subtitle)
    return {"invariance": figure}


def _diagnosis(examination: Examination, outcome: Outcome) -> Figures:
    figures = {}
    if examination.networks:
        figures["diagnosis"] = diagnosis_figure(
            list(examination.networks), subtitle=outcome.subtitle
        )
    if examination.trial is not None and examination.trial.after:
        figures["trial"] = trial_figure(examination.trial)
    return figures


def _transfer(transfer: Transfer, outcome: Outcome) -> Figures:
    return {"transfer": transfer_figure(transfer, title="Transfer", subtitle=outcome.subtitle)}


def _layers(probe: LayerProbe, outcome: Outcome) -> Figures:
    return {"probe": probe_figure(probe, title="Feature analysis", subtitle=outcome.subtitle)}


def _several_classes(transfer: MultiTransfer, outcome: Outcome) -> Figures:
    if outcome.more["verb"] == "probe":
        figure = depth_figure(transfer, title="Feature analysis", subtitle=outcome.subtitle)
        return {"probe": figure}
    title = "Transfer: several classes an image"
    return {"transfer": precision_figure(transfer, title=title, subtitle=outcome.subtitle)}


def _correspondence(correspondence: Correspondence, outcome: Outcome) -> Figures:
    return {"correspondence": correspondence_figure(correspondence, subtitle=outcome.subtitle)}


def _comparison(comparison: Comparison, outcome: Outcome) -> Figures:
    return {"comparison": comparison_figure(comparison, subtitle=outcome.subtitle)}


def _localization(found: Localization, outcome: Outcome) -> Figures:
    figure = localization_figure(found, classes=outcome.classes, subtitle=outcome.subtitle)
    return {"localization": figure}


def _mistakes(found: Mistakes, outcome: Outcome) -> Figures:
    return {"errors": errors_figure(found, subtitle=outcome.subtitle)}


def _adaptive(found: Adaptive, outcome: Outcome) -> Figures:
    return {"adaptive": adaptive_figure(found, subtitle=outcome.subtitle)}


def _ensemble(ensemble: Ensemble, outcome: Outcome) -> Figures:
    return {"ensemble": ensemble_figure(ensemble)}


def _sensitivity(sensitivity: Sensitivity, outcome: Outcome) -> Figures:
    """Rows of each network, and their scores where the truth is known."""
    figures = {}
    files = ("sensitivity", AGAINST)
    studies = {network.name: network.study for network in sensitivity.networks}
    for file, study, (title, model) in zip(
        files, studies.values(), outcome.more["models"], strict=False
    ):
        figures[file] = sensitivity_figure(
            study,
            model.preprocess,
            classes=model.classes,
            subtitle=f"{title} · {sensitivity.images} · occluder {study.occluder}",
        )
    first = sensitivity.networks[0].study
    if first.probability is not None:
        words = f"{len(first.rows)} images of {sensitivity.images} · occluder {first.occluder}"
        figures["scores"] = scores_figure(studies, subtitle=words)
    return figures


def _pictures(found: Pictures, outcome: Outcome) -> Figures:
    return {"pictures": pictures_figure(found, subtitle=outcome.subtitle)}


def _sanity(sanity: Sanity, outcome: Outcome) -> Figures:
    return {"sanity": sanity_figure(sanity, subtitle=outcome.subtitle)}


def _ablation(ablation: Ablation, outcome: Outcome) -> Figures:
    return {"ablation": ablation_figure(ablation)}


def _evolution(evolution: Evolution, outcome: Outcome) -> Figures:
    title = f"Feature evolution of {evolution.architecture}"
    return {"evolution": evolution_figure(evolution, title=title, subtitle=outcome.subtitle)}


def _removal(removal: Removal, outcome: Outcome) -> Figures:
    return {"removal": removal_figure(removal, subtitle=outcome.subtitle)}


FIGURES: dict[type[Any], Callable[[Any, Outcome], Figures]] = {
    Ablation: _ablation,
    Adaptive: _adaptive,
    Evolution: _evolution,
    Examination: _diagnosis,
    Invariance: _invariance,
    LayerProbe: _layers,
    MultiTransfer: _several_classes,
    Transfer: _transfer,
    Comparison: _comparison,
    Correspondence: _correspondence,
    Ensemble: _ensemble,
    Localization: _localization,
    Mistakes: _mistakes,
    Pictures: _pictures,
    Removal: _removal,
    Sanity: _sanity,
    Sensitivity: _sensitivity,
}
"""Kind of result -> its figures. Of a result without an entry its chart is drawn."""

PAGES: dict[type[Any], Callable[[Any, Path], Path | None]] = {
    Comparison: write_comparison_page,
    Evolution: write_evolution_page,
    Mistakes: write_errors_page,
    Reproduction: lambda reproduction, folder: write_paper_page(reproduction),
    TrainedNetwork: lambda trained, folder: write_training_page(folder),
    WrittenAtlas: lambda atlas, folder: write_page(folder),
}
"""Kind of result -> a page of its own, written into the study's folder."""


def figures_of(outcome: Outcome) -> Figures:
    """By the file's name without its ending."""
    make = FIGURES.get(type(outcome.result))
    if make is not None:
        return make(outcome.result, outcome)
    chart = outcome.result.chart()
    return {} if chart is None else {"chart": chart_figure(chart, outcome.subtitle)}


def draw(outcome: Outcome, folder: Path) -> Drawn:
    """Write NAME.png for every figure of a result, and its pages.

    A result that a figure cannot hold is kept nevertheless, and the reason is told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures: Figures = {}
    warnings: tuple[str, ...] = ()
    try:
        figures = figures_of(outcome)
    except BadInput as error:
        warnings = (f"no figure was drawn: {error}",)
    for name, figure in figures.items():
        write_figure(folder / f"{name}.png", figure, outcome.about)
    page = write_result_page(outcome.result, folder)
    return Drawn(figures, () if page is None else (page,), warnings)


def write_result_page(result: Result, folder: Path) -> Path | None:
    """Write the page of a result into its folder; None where results of this kind have none."""
    write = PAGES.get(type(result))
    return None if write is None else write(result, folder)
