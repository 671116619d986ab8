"""Made-up results for every figure of report/, the worst that can come among them.

`FIGURES` has an entry for each function that draws a figure: small cases and hard ones, with the
names that must be readable in each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from convscope.atlas.store import open_atlas
from convscope.experiments.ablation.table import Ablation, VariantRow
from convscope.experiments.ablation.variants import TABLE2, paper_row, parameters_of
from convscope.experiments.adaptive.result import (
    Adaptive,
    LayerMaps,
    LearnedFilters,
    ProbedFeatures,
)
from convscope.experiments.comparison.result import Comparison, FilterMatch, LayerMatch
from convscope.experiments.correctly_classified import ChosenImage
from convscope.experiments.correspondence.aligned_parts import AlignedParts
from convscope.experiments.correspondence.sign_distance import correspond
from convscope.experiments.curving import CurvedUnit
from convscope.experiments.diagnosis.diagnosis import diagnose
from convscope.experiments.diagnosis.examined import Examined
from convscope.experiments.diagnosis.remedies import Change
from convscope.experiments.diagnosis.top_projections import top_projections
from convscope.experiments.diagnosis.trial import Attempt, Trial
from convscope.experiments.ensemble.combined import combine
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.features.image_map import ImageMap
from convscope.experiments.invariance.curves import Curves, Invariance
from convscope.experiments.invariance.transforms import Transform, TransformRange
from convscope.experiments.localization import localizing
from convscope.experiments.localization.maps import THRESHOLDS, MapMethod
from convscope.experiments.localization.result import (
    DetectedImage,
    Detection,
    Localization,
    RegionScore,
)
from convscope.experiments.mistakes.result import Confused, Mistakes, TellingMap
from convscope.experiments.mistakes.result import MapRemoval as Without
from convscope.experiments.paper.purity import Grouping, Purity
from convscope.experiments.paper.results import Trained, Trainings
from convscope.experiments.pictures.result import (
    RULES,
    PictureKind,
    Pictures,
    UnitPicture,
    UnitPictures,
    Worth,
)
from convscope.experiments.removal.effects import ClassMeans, Null
from convscope.experiments.removal.result import KnownClass, Removal
from convscope.experiments.sanity.planted import Planted
from convscope.experiments.sanity.result import LayerPictures, Pointing, Redrawn, Sanity
from convscope.experiments.sensitivity.pointing_game import Agreement, PointingGame, Scores
from convscope.experiments.sensitivity.result import OccludedImage, OcclusionStudy
from convscope.experiments.sensitivity.stored import Elsewhere
from convscope.experiments.study import Chart
from convscope.experiments.training_runner import Training
from convscope.experiments.transfer.folds import Protocol
from convscope.experiments.transfer.layers import LayerProbe, Probed
from convscope.experiments.transfer.learning_curve import Point, Transfer
from convscope.experiments.transfer.linear_model import Loss
from convscope.experiments.transfer.multilabel import ClassScore, LayerScore, MultiTransfer
from convscope.experiments.visualizing import OptimisedPicture, PictureTarget
from convscope.geometry.box import Box
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.methods.contrastive import ContrastiveMap
from convscope.methods.curvature import WALK, Curvature, CurvedDirection
from convscope.methods.inversion import Inversion, InversionSettings, InvertedLayer
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion_maps import ClassMaps, OcclusionMaps, TargetMaps
from convscope.methods.project import Projections, TargetProjections
from convscope.methods.saliency import Saliency, SaliencyMethod
from convscope.methods.targets import Target, Watched
from convscope.models.architectures import ARCHITECTURES
from convscope.network.network import open_network
from convscope.network.unit import Unit
from convscope.report.ablation_figure import ablation_figure
from convscope.report.adaptive_figure import adaptive_figure
from convscope.report.atlas_unit_figure import atlas_unit_figure
from convscope.report.chart_figure import chart_figure
from convscope.report.comparison_figure import comparison_figure
from convscope.report.contrast_figure import contrast_figure
from convscope.report.correspondence_figure import correspondence_figure
from convscope.report.curvature_figure import curvature_figure
from convscope.report.demo_page import contact_figure
from convscope.report.diagnosis_figure import diagnosis_figure
from convscope.report.ensemble_figure import ensemble_figure
from convscope.report.errors_figure import errors_figure
from convscope.report.evolution_figure import evolution_figure
from convscope.report.feature_grid import feature_grid_figure
from convscope.report.grouping_figure import grouping_figure
from convscope.report.image_map_figure import image_map_figure
from convscope.report.invariance_figure import invariance_figure
from convscope.report.inversion_figure import inversion_figure
from convscope.report.localization_figure import localization_figure
from convscope.report.occlusion_figure import occlusion_figure
from convscope.report.optimised_figure import optimised_figure
from convscope.report.pictures_figure import pictures_figure
from convscope.report.probe_figure import depth_figure, probe_figure, taught_figure
from convscope.report.projection_figure import projection_figure, target_figure
from convscope.report.removal_figure import removal_figure
from convscope.report.saliency_figure import saliency_figure
from convscope.report.sanity_figure import sanity_figure
from convscope.report.sensitivity_figure import scores_figure, sensitivity_figure
from convscope.report.training_figure import training_figure
from convscope.report.trainings_figure import trainings_figure
from convscope.report.transfer_figure import precision_figure, transfer_figure
from convscope.report.trial_figure import trial_figure
from convscope.stats import Estimate, Rate, Share, mean_of
from convscope.training.checkpoint import Run, read_run
from convscope.training.recipe import SMALL
from evolved import evolution, layer
from experiments.painted import Painted
from grown import write_run
from report.conftest import build

HEIGHT, WIDTH, CLASSES = 40, 40, 12
LAYER = "backbone.features.stage3.block_12.branch2.conv_expand_depthwise_1"  # 65 letters
FILE = "photographs/2026-11-28_morning/IMG_20261128_064649_HDR_panorama_edited_final-2.jpg"
CLASS = "West African long-haired lesser spotted mountain woodpecker"  # 59 letters
WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamter"
RUN = "run:runs/experiments/2026-11/zfnet-small_first=7x7_stride=2_renormalise=0.1_seed=0"
TITLE = f"{FILE} as {RUN} sees it"

Draw = Callable[[Path], Figure]


@dataclass(frozen=True)
class Case:
    """A figure to be drawn.

    draw : given an empty folder;   names : what must be readable in it
    """

    draw: Draw
    names: tuple[str, ...] = ()


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))


def pixels(*shape: int) -> np.ndarray:
    return (255 * noise(*shape)).to(torch.uint8).numpy()


# ---- occlusion and projections ----------------------------------------------------------------


def some_maps(
    occluder: Occluder | None = None,
    unit: Unit | None = None,
    *,
    shape: tuple[int, int] = (HEIGHT, WIDTH),
    classes: int = CLASSES,
) -> OcclusionMaps:
    """Maps with every class somewhere in them."""
    occluder = occluder or Occluder(8, 4)
    rows, columns = occluder.grid(*shape)
    grid = (len(rows), len(columns))
    return OcclusionMaps(
        answer=ClassMaps(
            target=min(2, classes - 1),
            probability=noise(*grid),
            log_odds=noise(*grid).double().logit(),
            label=torch.arange(grid[0] * grid[1]).reshape(grid) % classes,
            base_probabilities=torch.linspace(0, 1, classes).softmax(0),
            base_log_odds=1.5,
        ),
        activity=100 * noise(*grid),
        rows=rows,
        columns=columns,
        unit=unit or Unit("features.12.expand3x3_activation", 130, 3, 4),
        projection=noise(3, *shape) - 0.5,
        activation=12.34,
        box=Box(-4, 5, 20, 29),
        base_activity=90.0,
        image=noise(3, *shape),
        fill=torch.full((3, *shape), 0.5),
        occluder=occluder,
    )


def some_projections(count: int, side: int = 9, layer: str = "conv5") -> Projections:
    return Projections(
        fields=tuple(noise(count, 3, HEIGHT, WIDTH) - 0.5),
        places=(Box(0, 0, HEIGHT, WIDTH),) * count,
        shape=(3, HEIGHT, WIDTH),
        activation=torch.arange(float(count)) - 1,
        box=torch.tensor([[-3, 30, -3 + side, 30 + side]] * count),
        units=tuple(Unit(layer, i, 6, 6) for i in range(count)),
        images=torch.zeros(count, dtype=torch.int64),
    )


def some_picture() -> np.ndarray:
    return pixels(HEIGHT, WIDTH, 3)


def unit_preprocess(
    scaling: Scaling = Scaling.UNIT, shape: tuple[int, int] = (HEIGHT, WIDTH)
) -> Preprocess:
    return Preprocess((3, *shape), scaling)


def classes_named(count: int) -> list[str]:
    return [f"{WORD if i % 2 else CLASS} {i}" for i in range(count)]


def occluded(classes: int, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Figure:
    maps = some_maps(unit=Unit(LAYER, 4095, 111, 112), shape=shape, classes=classes)
    preprocess = unit_preprocess(shape=shape)
    return occlusion_figure(
        maps, preprocess, classes=classes_named(classes), title=FILE, subtitle=RUN
    )


def targeted(quantity: str, classes: int = 0, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> Figure:
    """Maps of a target's value; of maps of so many classes, if any."""
    maps = some_maps(unit=Unit(LAYER, 4095, 111, 112), shape=shape)
    predicted = torch.arange(12).reshape(3, 4) % classes if classes else None
    watched = Watched(
        Target(lambda output: output, CLASS, quantity=quantity), 1 if classes else None,
        "where it is predicted, 12 % of the map", (1, 2) if classes else None, predicted,
    )  # fmt: skip
    answer = TargetMaps(20 * noise(*maps.activity.shape) - 10, -1.5, watched)
    return occlusion_figure(
        replace(maps, answer=answer), unit_preprocess(shape=shape),
        classes=classes_named(classes) if classes else None, title=FILE, subtitle=RUN,
    )  # fmt: skip


def taken_away(units: int, classes: int, layers: int = 1) -> Figure:
    shape = (units * layers, classes)
    rise = noise(*shape).double().numpy() - 0.5
    names = classes_named(classes)
    found = Removal(
        units=tuple(f"{LAYER}_{k}/{4000 + i}" for k in range(layers) for i in range(units)),
        classes=tuple(KnownClass(i, name, 1234, 0.5, 1.0) for i, name in enumerate(names)),
        to="mean", rise=ClassMeans(rise, rise - 1, rise + 1), accuracy_lost=rise,
        null=Null(rise, 1 - abs(rise), 0.54 - abs(rise)), draws=999,
    )  # fmt: skip
    return removal_figure(found, subtitle=f"{RUN} · {FILE}")


def own_part(seen: Box, *, alike: bool = False) -> Figure:
    """The contrast of a unit; alike : it and its neighbours lose the same."""
    occluder = Occluder(4, 2)
    rows = torch.arange(seen.top, seen.bottom, 2)
    columns = torch.arange(seen.left, seen.right, 2)
    drop = 3 * noise(len(rows), len(columns)).double() - 1
    neighbours = tuple(Unit(LAYER, 4000 + i, 111, 112) for i in range(8))
    found = ContrastiveMap(
        drop, drop if alike else drop.flip(0), Unit(LAYER, 4095, 111, 112), neighbours, 12.34,
        rows, columns, occluder, Box(-40, -5, 90, 90), seen,
    )  # fmt: skip
    return contrast_figure(found, some_picture(), title=FILE, subtitle=RUN)


def sure() -> Figure:
    """Maps of a network whose probability is 1 everywhere."""
    maps = some_maps(unit=Unit(LAYER, 4095, 111, 112), classes=3)
    answer = replace(
        maps.classes, probability=torch.ones_like(maps.probability), base_log_odds=17.5,
        log_odds=12 + 5 * noise(*maps.activity.shape).double(),
        base_probabilities=torch.tensor([0.0, 0.0, 1.0]),
    )  # fmt: skip
    return occlusion_figure(
        replace(maps, answer=answer), unit_preprocess(), classes=classes_named(3), title=FILE
    )


def optimised(count: int) -> Figure:
    found = [
        OptimisedPicture(
            PictureTarget(LAYER, i, f"{LAYER}/{i}"), torch.zeros(3, 9, 9),
            np.full((9, 9, 3), 20 * (i % 10), np.uint8), 3.5, 2.0 if i % 2 else None,
        )
        for i in range(count)
    ]  # fmt: skip
    return optimised_figure(found, title=TITLE, subtitle=RUN)


def curved(count: int, image: str | None = None) -> Figure:
    walk = torch.linspace(900, 1100, len(WALK))
    directions = tuple(
        CurvedDirection(
            most, -0.0123, -0.0234, 0.0012, 0.5, 0.98, noise(3, 9, 9), noise(len(WALK), 3, 9, 9),
            walk,
        )
        for most in (True, True, False)
    )  # fmt: skip
    units = []
    for i in range(count):
        found = Curvature(
            Unit(LAYER, i), LAYER, noise(3, 9, 9), 1000.0, torch.zeros(48), directions, 0.05, 2.0,
            1024, 0.18,
        )  # fmt: skip
        strips = np.full((3, len(WALK), 9, 9, 3), 90, np.uint8)
        units.append(CurvedUnit(found, np.full((9, 9, 3), 90, np.uint8), strips, image))
    return curvature_figure(units, subtitle=RUN)


def inverted(count: int) -> Figure:
    layers = [
        InvertedLayer(
            f"{LAYER}_{i}", LAYER, noise(3, HEIGHT, WIDTH), 0.02 * i, 1.0, None, 1 - 0.1 * i,
            torch.zeros(2),
        )
        for i in range(count)
    ]  # fmt: skip
    found = Inversion(noise(3, HEIGHT, WIDTH), tuple(layers), InversionSettings(), 32)
    return inversion_figure(found, title=FILE, subtitle=RUN)


def projected(count: int) -> Figure:
    found = some_projections(count, layer=LAYER)
    return projection_figure(
        found, [some_picture()], unit_preprocess(), names=[FILE], title=TITLE, subtitle=RUN
    )


def target_projected(count: int) -> Figure:
    found = TargetProjections(
        noise(count, 3, HEIGHT, WIDTH) - 0.5,
        noise(count),
        Target(max, WORD),
        torch.zeros(count).long(),
    )
    return target_figure(found, [some_picture()], unit_preprocess(), title=TITLE, subtitle=RUN)


def salient(method: SaliencyMethod) -> Figure:
    signed = method is SaliencyMethod.INTEGRATED
    found = Saliency(
        noise(HEIGHT, WIDTH) - 0.5 * signed, noise(3, HEIGHT, WIDTH), 12.5, Target(max, CLASS),
        method, 0.01 if signed else None, LAYER if method is SaliencyMethod.GRAD_CAM else None,
        noise(3, HEIGHT, WIDTH),
    )  # fmt: skip
    return saliency_figure(found, title=TITLE, subtitle=RUN)


def atlas_unit(folder: Path) -> Figure:
    return atlas_unit_figure(
        open_atlas(build(folder / "atlas", names=(LAYER, "conv2")))[f"{LAYER}/0"]
    )


def occlusion_study(images: int, classes: int = 100) -> OcclusionStudy:
    unit = Unit(LAYER, 4095, 111, 112)
    rows = []
    for i in range(images):
        maps = some_maps(unit=unit, classes=classes)
        other = Elsewhere(FILE, unit, 9.5, maps.projection, maps.box)
        found = PointingGame(i % 2 == 0, 0.2, 0.5 + 0.04 * (i % 10), 0.6, 0.1, 0.9)
        rows.append(
            OccludedImage(
                f"{i}/{FILE}", ChosenImage(i, 0, True), maps, (other,) * (i % 5),
                Agreement(-0.5, 0.9),
                found if i % 3 else None,
            )
        )  # fmt: skip
    areas = mean_of([0.5 + 0.04 * i for i in range(images)])
    scores = Scores(
        Rate.of([i % 2 == 0 for i in range(images)], [0.2] * images), areas, areas, areas, areas
    )
    return OcclusionStudy(tuple(rows), Occluder(8, 4), scores, scores, areas, areas)


def sensitive(images: int) -> Figure:
    study, classes = occlusion_study(images), classes_named(100)
    return sensitivity_figure(study, unit_preprocess(), classes=classes, subtitle=RUN)


def scored(networks: int) -> Figure:
    studies = {f"{RUN}-{i}": occlusion_study(3 + i) for i in range(networks)}
    return scores_figure(studies, subtitle=f"images of {FILE}")


# ---- invariance and correspondence ------------------------------------------------------------


def moved(pictures: int, layers: int) -> Figure:
    """Curves of random numbers, of every motion."""
    amounts = {
        Transform.TRANSLATION: (-60.0, -10.5, 0.0, 10.5, 60.0),
        Transform.SCALE: (1.0, 1.2, 1.4, 1.6, 1.84),
        Transform.ROTATION: (0.0, 90.0, 180.0, 270.0, 360.0),
    }
    curves = tuple(
        Curves(
            TransformRange(motion, steps),
            9000 * noise(pictures, layers, 5).double().numpy(),
            noise(pictures, 5).double().numpy(),
            (0, 1, 2, 3, 4),
            pixels(min(5, pictures), 5, 12, 16, 3),
        )
        for motion, steps in amounts.items()
    )
    found = Invariance(
        tuple(f"{LAYER}_{i}" for i in range(layers)), tuple(f"{i}/{FILE}" for i in range(pictures)),
        (1,) * pictures, tuple(i % 2 == 0 for i in range(pictures)), curves,
        None if pictures == 1 else (3000.0,) * layers, pictures * (pictures - 1) // 2,
    )  # fmt: skip
    return invariance_figure(found, classes=classes_named(2), subtitle=RUN)


def long_names(*modules: nn.Module) -> nn.Sequential:
    """A network whose layers have long names, and those that are given none in order."""
    stem = LAYER.replace(".", "_")
    return nn.Sequential(OrderedDict((f"{stem}_{i}", each) for i, each in enumerate(modules)))


def parts_compared(pictures: int) -> Figure:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = long_names(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU())
    found = open_network(module.eval(), (3, 24, 24))
    spots = tuple((8.0 + i % 5, 9.0) for i in range(pictures))
    shown = pixels(pictures, 24, 24, 3)
    faces = AlignedParts(
        tuple(f"{i}/{FILE}" for i in range(pictures)),
        Preprocess((3, 24, 24), Scaling.UNIT).tensors(shown), shown,
        {"nose": spots, CLASS: spots, WORD: spots}, None, (),
    )  # fmt: skip
    result = correspond(found, faces, fill=0.5, places=4, draws=20)
    return correspondence_figure(result, title=TITLE, subtitle=RUN)


# ---- diagnosis --------------------------------------------------------------------------------


def diagnosed(networks: int, layers: int, *, images: bool) -> Figure:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules: list[nn.Module] = [nn.Conv2d(3, 9, 7, 2), nn.ReLU()]
        for _ in range(layers - 1):
            modules += [nn.Conv2d(modules[-2].out_channels, 4, 3, padding=1), nn.ReLU()]  # type: ignore[arg-type]
        module = long_names(*modules)
    found = open_network(module.eval(), (3, 40, 40))
    first, second = (f"{LAYER.replace('.', '_')}_{i}" for i in (0, 2))
    with torch.no_grad():
        for i in range(5):  # dead maps and copies: findings in words
            found.nodes[first].tensors["bias"][i] = -1e6
    pictures = noise(4, 3, 40, 40) if images else None
    examined = Examined(
        RUN, diagnose(found, pictures), Preprocess((3, 40, 40)),
        filters=found.nodes[first].tensors["weight"],
        second=None if pictures is None or layers < 2 else top_projections(found, pictures, second),
    )  # fmt: skip
    return diagnosis_figure([examined] * networks, title=TITLE, subtitle=RUN)


def trusted(layers: int, *, pointing: bool = True) -> Figure:
    names = [f"{LAYER}/{i}" if layers > 1 else LAYER for i in range(layers)]
    some = dict.fromkeys(("deconvnet", "guided", "gradient"), (0.5, 0.75, None))
    steps = tuple((name,) for name in reversed(names))
    likeness = dict.fromkeys(some, ((0.5,) * layers, (-0.25,) * layers))
    kinds = ("spotlight", "deconvnet", "centre of the field") if pointing else ()
    rate = Rate.of([True, False, True], [0.2, 0.3, 0.4])
    sanity = Sanity(
        3,
        tuple(Pointing(kind, rate, mean_of((0.0, 1.0, 0.0))) for kind in kinds),
        tuple(LayerPictures(name, (name,) * 3, some, some, some) for name in names),
        Redrawn(steps, likeness),
        (Planted(WORD, 9, 10), Planted(CLASS, 10, 10, "spotlight")),
    )
    return sanity_figure(sanity, title=TITLE, subtitle=RUN)


def learned_without_labels(layers: int, maps: int, probed: Sequence[str]) -> Figure:
    """Layers of ever larger windows; of the first a single image was read."""
    rows, pictures = [], []
    for i in range(layers):
        side, top = 7 + 13 * i, 9 if i else 1
        rows.append(
            LearnedFilters(f"layer {i + 1}", maps, (side, side), (90.0, 50, 40 + i), 0.8, 0.1)
        )
        tiles = np.stack([np.stack([pixels(side, side, 3)] * top)] * maps)
        pictures.append(
            LayerMaps(
                f"layer {i + 1}",
                np.ones((maps, top), np.float32),
                tiles,
                tiles,
                np.stack([pixels(32, 32, 3)] * 4),
            )
        )
    scores = tuple(
        ProbedFeatures(kind, f"layer {i + 1}", 64, (0.3, 0.4), 0.35, 0.07)
        for kind in probed
        for i in range(layers)
    )
    found = Adaptive(
        4, 32, tuple(rows), (pixels(32, 32, 3),) * 4, scores, 5, 0.1,
        Estimate(0.05, 0.07, -0.3, 0.4, 2) if probed else None, pictures=tuple(pictures),
    )  # fmt: skip
    return adaptive_figure(found, title=TITLE, subtitle=RUN)


def beside_each_other(units: int, *, refused: bool = False) -> Figure:
    """Pictures from one pixel to large ones; of every second unit nothing is known."""
    rows = []
    for i in range(units):
        known = (-0.25, 0.5, True, 1.25, True, 0.1) if i % 2 == 0 else (None,) * 6
        worth = Worth(*known, WORD)  # type: ignore[arg-type]
        numbers = {"it loses": 0.5, "others lose": -0.25, "activation": 12345.0, "r": -0.5}
        pictures = tuple(
            UnitPicture(kind, refused=WORD)
            if refused and kind is not PictureKind.PATCH
            else UnitPicture(kind, pixels(1 + 20 * i, 1 + 10 * i, 3), worth if kind in RULES
                             else None, {} if kind in RULES else numbers)
            for kind in PictureKind
        )  # fmt: skip
        rows.append(
            UnitPictures(f"{LAYER}/{i}", FILE, 1.5, (0, 0, 1 + 20 * i, 1 + 10 * i), pictures)
        )
    return pictures_figure(Pictures(tuple(rows)), title=TITLE, subtitle=RUN)


def detected(images: int, classes: int) -> Detection:
    """Right, wrong and not counted; a box of no pixel; long names of files and classes."""
    kinds = ("sliding windows", "centred box", "marked boxes")
    shares = Share.of([True, True, False, True])
    scores = tuple(RegionScore(kind, 9, shares, 0.6, 0.4, 0.9, 0.6, ()) for kind in kinds)
    boxes = np.array([[2.0, 3, 30, 15], [0, 0, 0, 5], [8, 2, 20, 19], [1, 1, 2, 2]])
    shown = tuple(
        DetectedImage(
            FILE, pixels(40, 20, 3), boxes[:2] + 2, (CLASS, CLASS), boxes, (CLASS,) * 4,
            np.array([1.0, 0.5, 0.25, 0.1]), np.array([(1, 0, -1)[i % 3], 0, 1, 1], np.int8),
        )
        for i in range(images)
    )  # fmt: skip
    names = classes_named(classes)
    rows = tuple((name, 123456, i / classes) for i, name in enumerate(names))
    return Detection(LAYER, 9, scores, rows, shown)


def localized(images: int, methods: Sequence[str], *, detects: bool = False) -> Figure:
    """Upright images, with a box of no pixel among those found."""
    truth, size = np.array([[5.0, 4, 30, 12], [0, 0, 4, 20]]), (40, 20)
    row = {"truth": truth, "beyond": np.array(0), "target": np.array(2)}
    for i, method in enumerate(methods):
        boxes = np.array([[2.0 * i, i, 20 + i, 10 + i]] * len(THRESHOLDS))
        row |= {f"boxes {method}": boxes * (i > 0), f"map {method}": pixels(*size)}
    seen = localizing.Seen((FILE,) * images, tuple(range(images)), (row,) * images, (), 0)
    chosen = dict.fromkeys(methods, 9)
    found = Localization(
        "predicted", LAYER, images, 3, (12.3, 8.9),
        localizing.scored(seen, chosen, np.array([10.0, 5, 30, 15]), size),
        examples=localizing.box_examples(seen, chosen, lambda _: pixels(*size, 3)),
        detection=detected(8, 12) if detects else None,
    )  # fmt: skip
    return localization_figure(found, classes=classes_named(3), subtitle=TITLE)


def two_compared(layers: int, maps: int) -> Figure:
    """Every kind of map in each layer, and one layer that is silent as a whole."""
    names = [f"{LAYER}_{i}" for i in range(layers)]
    order = [0, *range(2, maps), 1]  # map 0 is kept, all others moved
    r = (0.9, *(0.95 - 0.9 * i / maps for i in range(1, maps - 1)), None)
    partner = (*order[:-1], None)
    filters = FilterMatch(tuple(order), (0.5,) * maps)
    matches = [
        LayerMatch(name, name if i else f"{name}_of_the_other", partner, r, 0.3, 0.5,
                   (maps, maps + 2), ((maps - 1,), (maps + 1,)), 0.5, filters)
        for i, name in enumerate(names)
    ]  # fmt: skip
    alike = [
        [1.2 * (i == j) - 0.2 * (i + 1) / layers for j in range(layers)] for i in range(layers)
    ]
    rows: list[tuple[float | None, ...]] = [tuple(row) for row in alike]
    if layers > 1:
        rows[-1] = (None,) * layers
        matches[-1] = replace(
            matches[-1], partner=(None,) * maps, correlation=(None,) * maps, level=0.7, cka=None,
            silent=(tuple(range(maps)), ()), filters=None,
        )  # fmt: skip
    found = Comparison(
        RUN, f"{RUN}@{WORD}", FILE, 1000, "mean", tuple(matches), tuple(rows), (), ()
    )
    return comparison_figure(found, subtitle=f"{RUN} · {found.other} · {FILE}")


def tried(seeds: int) -> Figure:
    old = ARCHITECTURES["alexnet-small"]
    change = Change(old, SMALL, (f"first layer {LAYER} 11x11/4 to 7x7/2",), ())
    attempts = tuple(
        Attempt(Training(seed, 0.1, 0.5 + 0.01 * seed, 0.1, None, None, 1.0, RUN), 10, ())
        for seed in range(seeds)
    )
    return trial_figure(Trial(change, old, (), attempts, attempts))


# ---- trainings compared -----------------------------------------------------------------------


def ablated(rows: int, seeds: int, *, papers: bool = True) -> Figure:
    net, made = ARCHITECTURES["zfnet-small"], []
    for i in range(rows):
        variant = TABLE2[i].variant
        changed = variant.applied(net)
        trainings = tuple(
            Training(s, 0.1 * i, 0.1 * i + 0.02 * s, 0.05, None, None, 9, "") for s in range(seeds)
        )
        long = replace(variant, name=f"{i} {CLASS if i % 2 else WORD}")
        paper = paper_row(net, changed) if papers else None
        made.append(
            VariantRow(
                long, changed, parameters_of(changed), trainings if i else (), (), None, paper
            )
        )
    found = Ablation(net, SMALL, (0, 1, 2), FILE, "scenes:val", (60, 20), 0.9, tuple(made), ())
    return ablation_figure(found)


def averaged(networks: int, classes: int, crops: Sequence[int] = (1,)) -> Figure:
    dice = np.random.default_rng(0)
    names = [f"{RUN} number {i}" for i in range(networks)]
    chances = {name: dice.dirichlet(np.ones(classes), 30).astype(np.float32) for name in names}
    labels, groups = dice.integers(0, classes, 30), {f"(a) {LAYER}": tuple(names)}
    scorings = tuple(combine(chances, labels, groups, crops=each) for each in crops)
    words = tuple(map(str, range(classes)))
    return ensemble_figure(Ensemble(FILE, 30, words, scorings, groups, (), ()), subtitle=RUN)


def learned(seeds: int) -> Figure:
    runs = tuple(
        Trained(
            name,
            Training(seed, 0.1, 0.3, 0.1, None, None, 1.0, RUN),
            4,
            (0.9, 0.5, 0.3),
        )
        for name in ("zfnet", "alexnet", "free", "wide")
        for seed in range(seeds)
    )
    return trainings_figure(Trainings(runs, 900, 90, 3, 12), subtitle=RUN)


def run_of(folder: Path, epochs: int) -> Run:
    run = read_run(write_run(folder / "run"))
    return replace(run, history=run.history[:epochs])


def evolved(layers: int) -> Figure:
    made = tuple(layer(f"{LAYER}_{i}", (7, 7), (0, 1, 1, 1, 1, 1)) for i in range(layers))
    return evolution_figure(evolution(layers=made), title=TITLE, subtitle=RUN)


def grouped(layers: int) -> Figure:
    dots = tuple(noise(20).tolist())
    made = tuple(Purity(f"{LAYER}_{i}", dots, dots) for i in range(layers))
    return grouping_figure(Grouping(made, 0.1, 900, 9))


# ---- transfer ---------------------------------------------------------------------------------

LOSSES = (Loss.SOFTMAX, Loss.SVM)


def transferred(*per_class: int) -> Figure:
    points = tuple(
        Point(LAYER, classifier, count, (0.5,), min(0.9, 0.3 + 0.015 * count), 0.02)
        for classifier in ("softmax", "svm", "scratch")
        for count in per_class
    )
    protocol = Protocol(per_class, classifiers=LOSSES)
    found = Transfer(LAYER, "flatten", 9, ("a",) * 9, 90, 30, 0.1, protocol, points)
    return transfer_figure(found, title=TITLE, subtitle=f"features of {LAYER}")


def taught(layers: int) -> Figure:
    ways = ("labels", "autoencoders", "nothing")
    return taught_figure({way: probe_of(layers) for way in ways}, subtitle=TITLE)


def probed(layers: int) -> Figure:
    return probe_figure(probe_of(layers))


def probe_of(layers: int) -> LayerProbe:
    names = [f"{LAYER}_{i}" for i in range(layers)]
    points = {
        str(loss): tuple(Point(n, str(loss), 30, (0.2,), 0.2 + 0.03 * i, 0.02) for i, n in
                         enumerate(names))
        for loss in LOSSES
    }  # fmt: skip
    seen = tuple(Probed(name, (4, 2, 2), "flatten", 160000) for name in names)
    rises = {str(loss): 0.0 for loss in LOSSES}
    protocol = Protocol((30,), classifiers=LOSSES)
    return LayerProbe(seen, ("a",) * 9, 9, 9, 0.1, protocol, points, rises)


def several_objects(classes: int) -> MultiTransfer:
    made = tuple(
        ClassScore(name, 123456, 0.9 - 0.8 * i / classes, 0.05)
        for i, name in enumerate(classes_named(classes))
    )
    layers = tuple(LayerScore(f"{LAYER}_{i}", 8, 0.6, 0.01, 0.5, 0.7, made) for i in range(4))
    return MultiTransfer(layers, "auto", 60, 60, 5, 5, 5, 0.2, (), 0)


def numbers_drawn(count: int) -> Figure:
    values = {f"{LAYER} {i}": 0.1 * i - 0.5 for i in range(count)}
    intervals = {f"{LAYER} 0": (-0.6, -0.4)}
    return chart_figure(Chart(TITLE, f"of {FILE}", values, intervals), RUN)


# ---- the atlas and the demo -------------------------------------------------------------------


def plated(folder: Path) -> Figure:
    atlas = open_atlas(build(folder / "atlas", names=(LAYER, "conv2")))
    return feature_grid_figure(atlas, maps=3, title=TITLE, subtitle=RUN)


def contacts(count: int) -> Figure:
    pictures = [Image.fromarray(pixels(16, 20, 3))] * count
    return contact_figure(pictures, classes_named(count))


# ---- all of them ------------------------------------------------------------------------------


def mapped(count: int, classes: int) -> Figure:
    """A map of images, of which as many as may be are named."""
    dice = np.random.default_rng(count)
    labels = np.arange(count) % (classes + 1) - 1  # some have no class
    places = dice.normal(size=(count, 2)) + 3 * dice.normal(size=(classes + 1, 2))[labels]
    names = (CLASS, WORD, *(f"class {number}" for number in range(2, classes)))[:classes]
    colours = [(int(r), int(g), int(b)) for r, g, b in dice.integers(0, 256, (count, 3))]
    images = Painted(colours, labels.tolist(), classes=names)
    placed = ImageMap(LAYER, np.arange(count), places, labels, names, 30.0)
    return image_map_figure(placed, images, title=TITLE, subtitle=RUN)


def mistaken(classes: int, maps: int, *, right: bool = False, images: int = 100) -> Figure:
    """Mistakes with long names, of about so many images of each class."""
    names = tuple(f"{(CLASS, WORD)[number % 2]} {number}" for number in range(classes))
    table = np.diag(np.full(classes, 100))
    if not right:
        table += dice_table(classes)
    table *= images // 100
    confused = tuple(
        Confused(names[i], names[j], int(table[i, j]), int(table[i].sum()))
        for i, j in np.argwhere(table)
        if i != j
    )
    removal = Without(900, 300, 1200, 7, 0.5, 0.2, 0.8, 19, 0.1, True)
    telling = tuple(
        TellingMap(
            names[n % classes], f"{LAYER}/{n}", n % 2 == 0, 0.1 + 0.8 * (n % 2), 0.05, 0.95,
            0.001, 0.01, names[0], (), (), removal if n < 3 else None,
        )
        for n in range(maps)
    )  # fmt: skip
    return errors_figure(
        Mistakes(
            RUN, "the network", LAYER, names, table, confused, telling, (3000, classes), (), 0.05,
            0.9, (), (), 3,
        ),
        subtitle=RUN,
    )  # fmt: skip


def dice_table(classes: int) -> np.ndarray:
    """Confusions of each pair of classes."""
    return np.random.default_rng(classes).integers(0, 9, (classes, classes))


FIGURES: dict[Callable[..., Figure], dict[str, Case]] = {
    errors_figure: {
        "two classes": Case(lambda _: mistaken(2, 3), (CLASS, LAYER, RUN)),
        "ten": Case(lambda _: mistaken(10, 30), (CLASS, WORD, f"{LAYER}/1", f"{WORD} 9")),
        "fifteen": Case(lambda _: mistaken(15, 3, images=200_000), (CLASS, f"{CLASS} 14")),
        "forty": Case(lambda _: mistaken(40, 30), (CLASS, WORD, "more pairs of classes")),
        "1000": Case(lambda _: mistaken(400, 0), (RUN, "more pairs of classes")),
        "all right": Case(lambda _: mistaken(3, 0, right=True), ("right about all",)),
    },
    image_map_figure: {
        "few": Case(lambda _: mapped(9, 2), (CLASS, WORD, RUN)),
        "many": Case(lambda _: mapped(2000, 101), (FILE, RUN)),
        "no class": Case(lambda _: mapped(20, 0), (RUN,)),
    },
    projection_figure: {
        "one": Case(lambda _: projected(1), (LAYER, FILE, RUN)),
        "many": Case(lambda _: projected(7), (f"{LAYER}/6@6,6", FILE)),
    },
    optimised_figure: {
        "one": Case(lambda _: optimised(1), (LAYER, RUN)),
        "a few": Case(lambda _: optimised(7), (f"{LAYER}/6", RUN)),
        "a layer": Case(lambda _: optimised(64), (f"{LAYER}/63", RUN)),
    },
    curvature_figure: {
        "one": Case(lambda _: curved(1), (f"{LAYER}/0", RUN)),
        "several, of an image": Case(lambda _: curved(3, FILE), (f"{LAYER}/2", FILE)),
    },
    inversion_figure: {
        "one": Case(lambda _: inverted(1), (f"{LAYER}_0", FILE, RUN)),
        "many": Case(lambda _: inverted(26), (f"{LAYER}_25", FILE)),
    },
    occlusion_figure: {
        "one class": Case(lambda _: occluded(1), (LAYER, FILE, RUN, CLASS)),
        "100 classes": Case(lambda _: occluded(100), (LAYER, FILE, f"{WORD} 99")),
        "upright": Case(lambda _: occluded(3, (40, 10)), (LAYER, FILE, CLASS, WORD)),
        "across": Case(lambda _: occluded(3, (10, 40)), (LAYER, FILE, CLASS, WORD)),
        "a function": Case(lambda _: targeted("cosine similarity"), (LAYER, FILE, CLASS, RUN)),
        "a long word": Case(lambda _: targeted(WORD, shape=(40, 10)), (LAYER, FILE, CLASS)),
        "maps of classes": Case(lambda _: targeted("mean logit", 7), (LAYER, f"{WORD} 1")),
        "sure": Case(lambda _: sure(), (LAYER, FILE, f"{CLASS} 2")),
    },
    contrast_figure: {
        "whole": Case(lambda _: own_part(Box(0, 0, 40, 40)), (LAYER, FILE, RUN)),
        "upright": Case(lambda _: own_part(Box(0, 8, 40, 14)), (LAYER, FILE, RUN)),
        "flat": Case(lambda _: own_part(Box(10, 0, 13, 40)), (LAYER, FILE, RUN)),
        "alike": Case(lambda _: own_part(Box(5, 0, 14, 40), alike=True), (LAYER, FILE, RUN)),
    },
    removal_figure: {
        "one": Case(lambda _: taken_away(1, 2), (LAYER, RUN, FILE, CLASS)),
        "many": Case(lambda _: taken_away(70, 50), (LAYER, "40 of 70", "10 more classes")),
        "layers": Case(lambda _: taken_away(3, 3, 9), (f"{LAYER}_7", "1 more layers")),
    },
    sensitivity_figure: {
        "one": Case(lambda _: sensitive(1), (FILE, LAYER, CLASS)),
        "many": Case(lambda _: sensitive(9), tuple(f"{i}/{FILE}" for i in range(8))),
    },
    sanity_figure: {
        "one layer": Case(lambda _: trusted(1, pointing=False), (FILE, LAYER, RUN)),
        "many": Case(lambda _: trusted(12), (f"{LAYER}/11", "spotlight", RUN, WORD)),
    },
    adaptive_figure: {
        "one": Case(lambda _: learned_without_labels(1, 2, ()), ("layer 1", "map 1", RUN)),
        "many": Case(
            lambda _: learned_without_labels(3, 24, ("adaptive", "random filters", WORD)),
            ("layer 3", "map 15", WORD, RUN),
        ),
    },
    pictures_figure: {
        "one": Case(lambda _: beside_each_other(1), (FILE, f"{LAYER}/0", RUN)),
        "four": Case(lambda _: beside_each_other(4), (FILE, f"{LAYER}/3", RUN, *PictureKind)),
        "refused": Case(
            lambda _: beside_each_other(1, refused=True), (WORD, f"{LAYER}/0", *PictureKind)
        ),
    },
    localization_figure: {
        "detected": Case(
            lambda _: localized(1, ["grad-cam"], detects=True),
            ("sliding windows", "centred box", "marked boxes", FILE, CLASS),
        ),
        "one": Case(lambda _: localized(1, ["grad-cam"]), (FILE, CLASS, "grad-cam", RUN)),
        "all maps": Case(lambda _: localized(4, list(MapMethod)), (FILE, CLASS, *MapMethod)),
    },
    comparison_figure: {
        "one": Case(lambda _: two_compared(1, 4), (f"{LAYER}_0_of_the_other", RUN, WORD, FILE)),
        "three": Case(lambda _: two_compared(3, 96), (f"{LAYER}_2", RUN, WORD, FILE)),
        "many": Case(lambda _: two_compared(30, 4), (f"{LAYER}_29", "10 more layers")),
    },
    scores_figure: {
        "one": Case(lambda _: scored(1), (f"{RUN}-0", FILE)),
        "three": Case(lambda _: scored(3), tuple(f"{RUN}-{i}" for i in range(3))),
    },
    invariance_figure: {
        "one": Case(lambda _: moved(1, 1), (f"{LAYER}_0", FILE, WORD)),
        "many": Case(lambda _: moved(7, 4), (f"{LAYER}_3", f"4/{FILE}", WORD)),
    },
    correspondence_figure: {
        "two": Case(lambda _: parts_compared(2), (CLASS, WORD, LAYER.replace(".", "_"))),
        "many": Case(lambda _: parts_compared(18), (CLASS, WORD, FILE, RUN)),
    },
    diagnosis_figure: {
        "weights alone": Case(lambda _: diagnosed(1, 1, images=False), (RUN, FILE)),
        "two": Case(
            lambda _: diagnosed(2, 3, images=True),
            (RUN, *(f"{LAYER.replace('.', '_')}_{i}" for i in (0, 2, 4))),
        ),
        "many layers": Case(
            lambda _: diagnosed(1, 30, images=True), (RUN, f"{LAYER.replace('.', '_')}_0")
        ),
    },
    trial_figure: {
        "one": Case(lambda _: tried(1), (LAYER,)),
        "three": Case(lambda _: tried(3), (LAYER,)),
    },
    ablation_figure: {
        "two": Case(lambda _: ablated(2, 1, papers=False), (f"1 {CLASS}", FILE)),
        "all": Case(lambda _: ablated(9, 3), (f"7 {CLASS}", f"8 {WORD}")),
    },
    ensemble_figure: {
        "two": Case(lambda _: averaged(2, 3), (f"{RUN} number 1",)),
        "many": Case(
            lambda _: averaged(9, 12, (1, 10)), tuple(f"{RUN} number {i}" for i in range(9))
        ),
    },
    trainings_figure: {
        "one": Case(lambda _: learned(1), (RUN,)),
        "three": Case(lambda _: learned(3), (RUN, "AlexNet")),
    },
    training_figure: {
        "begun": Case(lambda folder: training_figure(run_of(folder, 0)), ("nothing to show yet",)),
        "finished": Case(lambda folder: training_figure(run_of(folder, 3)), ("Learning rate",)),
    },
    evolution_figure: {
        "one": Case(lambda _: evolved(1), (f"{LAYER}_0", FILE)),
        "many": Case(lambda _: evolved(5), tuple(f"{LAYER}_{i}" for i in range(5))),
    },
    grouping_figure: {
        "one": Case(lambda _: grouped(1), (f"{LAYER}_0",)),
        "many": Case(lambda _: grouped(7), (f"{LAYER}_6",)),
    },
    transfer_figure: {
        "one": Case(lambda _: transferred(30), (LAYER, FILE)),
        "many": Case(lambda _: transferred(1, 5, 15, 30, 60), (LAYER,)),
    },
    probe_figure: {
        "one": Case(lambda _: probed(1), (f"{LAYER}_0",)),
        "many": Case(lambda _: probed(20), (f"{LAYER}_19",)),
    },
    precision_figure: {
        "one class": Case(lambda _: precision_figure(several_objects(1)), (LAYER, CLASS)),
        "100 classes": Case(
            lambda _: precision_figure(several_objects(100)), (f"{CLASS} 0", f"{WORD} 39")
        ),
    },
    chart_figure: {
        "one": Case(lambda _: numbers_drawn(1), (f"{LAYER} 0", FILE)),
        "many": Case(lambda _: numbers_drawn(20), (f"{LAYER} 19", RUN)),
    },
    taught_figure: {"many": Case(lambda _: taught(20), (f"{LAYER}_19",))},
    depth_figure: {"four": Case(lambda _: depth_figure(several_objects(3)), (f"{LAYER}_3",))},
    atlas_unit_figure: {"of a long name": Case(atlas_unit, (f"{LAYER}/0",))},
    saliency_figure: {
        str(method): Case(lambda _, method=method: salient(method), (CLASS, FILE, RUN))
        for method in SaliencyMethod
    },
    target_figure: {
        "one": Case(lambda _: target_projected(1), (WORD, FILE, RUN)),
        "several": Case(lambda _: target_projected(3), (WORD, FILE)),
    },
    feature_grid_figure: {"two layers": Case(plated, (LAYER, FILE, RUN))},
    contact_figure: {
        "one": Case(lambda _: contacts(1), (CLASS,)),
        "many": Case(lambda _: contacts(14), (f"{WORD} 13",)),
    },
}
"""By the function that draws: its cases."""
