"""The figure of whatever a notebook shows as a picture: a line of the table for each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from convscope.atlas.entries import AtlasLayer, AtlasUnit
from convscope.atlas.store import Atlas
from convscope.display import Drawer
from convscope.errors import BadInput
from convscope.experiments.curving import CurvedUnit
from convscope.experiments.study import Result
from convscope.experiments.visualizing import OptimisedPicture
from convscope.methods.contrastive import ContrastiveMap
from convscope.methods.inversion import Inversion
from convscope.methods.occlusion_maps import OcclusionMaps
from convscope.methods.project import Projections, TargetProjections
from convscope.methods.saliency import Saliency
from convscope.report.atlas_unit_figure import atlas_unit_figure
from convscope.report.contrast_figure import contrast_figure
from convscope.report.curvature_figure import curvature_figure
from convscope.report.drawing import figures_of
from convscope.report.feature_grid import feature_grid_figure
from convscope.report.inversion_figure import inversion_figure
from convscope.report.occlusion_figure import occlusion_figure
from convscope.report.optimised_figure import optimised_figure
from convscope.report.projection_figure import projection_figure, target_figure
from convscope.report.saliency_figure import saliency_figure
from convscope.report.style import figure_bytes, save

__all__ = ["FIGURES", "for_notebooks"]

SCREEN = 110
"""Pixels an inch: a page's width is that of a notebook's cell."""
MAPS = 2
"""Feature maps of a layer that are drawn."""


def _figure_of(value: Any) -> Figure:
    """Draw a value.

    Args:
        value: Of a kind in FIGURES, or derived from one.

    Raises:
        BadInput: It has no figure, or cannot be drawn.
    """
    make = next((FIGURES[kind] for kind in type(value).__mro__ if kind in FIGURES), None)
    if make is None:
        raise BadInput(f"a {type(value).__name__} has no figure")
    return make(value)


def for_notebooks() -> Drawer:
    """Who draws what a notebook shows."""
    return Drawer(_figure_of, lambda figure, form: figure_bytes(figure, form, dpi=SCREEN), _save)


def _save(figure: Figure, path: Path) -> None:
    save(figure, path)


def _projections(found: Projections) -> Figure:
    inputs, subtitle = _inputs(found.inputs), _subtitle(found.legend.title, found.rules)
    return projection_figure(
        found, found.legend.pictures(inputs), found.legend.reading(inputs), subtitle=subtitle
    )


def _target(found: TargetProjections) -> Figure:
    inputs, subtitle = _inputs(found.inputs), _subtitle(found.legend.title, found.rules)
    return target_figure(
        found, found.legend.pictures(inputs), found.legend.reading(inputs), subtitle=subtitle
    )


def _occlusion(maps: OcclusionMaps) -> Figure:
    return occlusion_figure(
        maps, maps.legend.reading(maps.image[None]), classes=maps.legend.classes,
        subtitle=_subtitle(maps.legend.title, f"occluder {maps.occluder}"),
    )  # fmt: skip


def _contrast(found: ContrastiveMap) -> Figure:
    [pixels] = found.legend.pictures(_inputs(found.image)[None])
    return contrast_figure(found, pixels, subtitle=found.legend.title)


def _saliency(found: Saliency) -> Figure:
    return saliency_figure(found, subtitle=found.legend.title)


def _inversion(found: Inversion) -> Figure:
    method, steps = found.settings.method, found.settings.taken
    return inversion_figure(
        found, subtitle=_subtitle(found.legend.title, f"{method}, {steps} steps")
    )


def _optimised(found: OptimisedPicture) -> Figure:
    return optimised_figure([found])


def _curved(unit: CurvedUnit) -> Figure:
    return curvature_figure([unit])


def _result(result: Result) -> Figure:
    figures = list(figures_of(result.outcome).values())
    if not figures:
        raise BadInput(f"a {type(result).__name__} has no figure; its words() tell it")
    return figures[0]


def _layer(layer: AtlasLayer) -> Figure:
    return feature_grid_figure(layer.atlas, layers=[layer.name], maps=MAPS)  # type: ignore[arg-type]


FIGURES: dict[type[Any], Callable[[Any], Figure]] = {
    Projections: _projections,
    TargetProjections: _target,
    OcclusionMaps: _occlusion,
    ContrastiveMap: _contrast,
    Saliency: _saliency,
    OptimisedPicture: _optimised,
    Inversion: _inversion,
    CurvedUnit: _curved,
    Result: _result,
    AtlasUnit: atlas_unit_figure,
    AtlasLayer: _layer,
    Atlas: feature_grid_figure,
}


def _inputs(images: torch.Tensor | None) -> torch.Tensor:
    if images is None:
        raise BadInput("the images are not known, of which this was found")
    return images


def _subtitle(*words: str) -> str:
    return " · ".join(filter(None, words))
