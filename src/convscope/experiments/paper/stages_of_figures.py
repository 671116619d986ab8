"""The stages behind the paper's figures: (context, folder) -> StageResult.

Each goes on within itself where it was interrupted, as far as its experiment can.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from convscope.atlas.store import open_atlas
from convscope.experiments.atlas import AtlasStudy
from convscope.experiments.diagnosis.diagnosis import Diagnosis, diagnose
from convscope.experiments.diagnosis.examined import BATCH, Examined, examine
from convscope.experiments.diagnosis.study import DiagnoseStudy, Examination
from convscope.experiments.evolution.result import Evolution
from convscope.experiments.evolution.study import EvolveStudy
from convscope.experiments.invariance.curves import Invariance
from convscope.experiments.invariance.study import InvarianceStudy
from convscope.experiments.paper.purity import (
    Grouping,
    Purity,
    chance_of,
    purities,
)
from convscope.experiments.paper.results import Fig2, Fig5, Fig6, InvarianceResult
from convscope.experiments.paper.run_context import UNTRAINED, RunContext
from convscope.experiments.paper.stage import StageResult
from convscope.experiments.paper.tables import pointing_table
from convscope.experiments.pictures.result import Pictures
from convscope.experiments.pictures.study import PicturesStudy
from convscope.experiments.published import NAMES
from convscope.experiments.sanity.result import Sanity
from convscope.experiments.sanity.study import SanityStudy
from convscope.experiments.sensitivity.result import Sensitivity
from convscope.experiments.sensitivity.study import SensitivityStudy
from convscope.experiments.session import Session
from convscope.scan.engine import Scan
from convscope.scan.strongest import strongest

__all__ = [
    "occlusion_of",
    "run_fig2",
    "run_fig4",
    "run_fig5",
    "run_fig6",
    "run_invariance",
    "run_pictures",
    "run_sanity",
]

DIAGNOSED = ("zfnet", "alexnet", "free")  # the networks of Fig. 5
BESIDE = 2  # of so many layers, one unit is shown by every method
COVERED = 4  # the occluder's side is that part of the input's


def run_fig2(lab: RunContext, folder: Path) -> StageResult:
    """Fig. 2: the atlas, and how alike each map's strongest images are."""
    images = lab.some(lab.val, lab.budget.looked_at)
    study = AtlasStudy(f"run:{lab.run('zfnet')}", images.spec)
    study.build(lab.session("zfnet"), images, lab.context(folder / "atlas"))
    atlas = open_atlas(folder / "atlas")
    labels = [images.label(index) for index in range(len(images))]
    before = lab.session(UNTRAINED)
    layers = {record.name: record.activation for record in atlas.manifest.layers}
    scan = Scan(
        before.network, images, before.model.preprocess,
        workers=lab.workers, progress=lab.say("untrained network"),
    )  # fmt: skip
    start = strongest(scan, layers, study.top)
    grouping = Grouping(
        tuple(
            Purity(
                name,
                purities(atlas.layers[name].image, atlas.layers[name].value, labels),
                purities(start[name].image, start[name].value, labels),
            )
            for name in layers
        ),
        chance_of(labels),
        len(images),
        study.top,
    )
    alone = study.command(seed=lab.seed, out="atlas")
    page = ("the atlas: every feature map", "atlas/index.html")
    return StageResult(Fig2(grouping, str(folder / "atlas")), alone, pages=(page,))


def run_fig4(lab: RunContext, folder: Path) -> StageResult:
    """Fig. 4."""
    images = lab.some(lab.train, lab.budget.evolved)
    study = EvolveStudy(str(lab.run("zfnet")), images.spec, measured=lab.budget.measured)
    evolution = lab.do(study, folder / "evolution", networks=()).of(Evolution)
    words = tuple(f"By {measure}: {trend.words()}." for measure, trend in evolution.trends.items())
    alone = study.command(seed=lab.seed, out="evolution")
    pages = (("the epochs under a slider", "evolution/index.html"),)
    return StageResult(evolution, alone, words=words, pages=pages)


def run_fig5(lab: RunContext, folder: Path) -> StageResult:
    """Fig. 5, of every seed; the first seed's networks are drawn."""
    study = DiagnoseStudy(
        f"run:{lab.run('alexnet')}", against=f"run:{lab.run('zfnet')}",
        data=lab.some(lab.val, lab.budget.diagnosed).spec, images=lab.budget.diagnosed,
    )  # fmt: skip
    alexnet, zfnet = lab.do(study, networks=("alexnet", "zfnet")).of(Examination).networks
    shown = {
        "zfnet": replace(zfnet, title=NAMES["zfnet"]),
        "alexnet": replace(alexnet, title=NAMES["alexnet"]),
    }
    diagnoses = {}
    for name, seed in lab.plan:
        if name not in DIAGNOSED:
            continue
        if seed != lab.seed:
            diagnoses[name, seed] = _diagnosed(lab, name, seed)
            continue
        if name not in shown:
            shown[name] = _examined(lab, name)
        diagnoses[name, seed] = shown[name].diagnosis
    fig5 = Fig5(
        zfnet=tuple(diagnoses["zfnet", seed] for seed in lab.seeds),
        alexnet=tuple(diagnoses["alexnet", seed] for seed in lab.seeds),
        free=tuple(diagnoses.get(("free", seed)) for seed in lab.seeds),
        shown=shown,
    )
    words = tuple(
        f"{each.title}, {finding.layer}: {finding.words}."
        for each in shown.values()
        for finding in each.diagnosis.faults
    )
    return StageResult(fig5, study.command(seed=lab.seed, out="diagnosis"), words=words)


def _examined(lab: RunContext, name: str) -> Examined:
    """The first seed's network, with what is drawn of it."""
    session, title = lab.session(name), NAMES[name]
    images = _looked_at(lab, session, title)
    return examine(session.network, session.model.preprocess, title, images)


def _diagnosed(lab: RunContext, name: str, seed: int) -> Diagnosis:
    session = lab.session(name, seed)
    return diagnose(session.network, _looked_at(lab, session, f"{NAMES[name]}, seed {seed}"))


def _looked_at(lab: RunContext, session: Session, what: str) -> Scan:
    """The images of Fig. 5."""
    images = lab.some(lab.val, lab.budget.diagnosed)
    return Scan(
        session.network, images, session.model.preprocess,
        batch_size=BATCH, workers=lab.workers, progress=lab.say(what),
    )  # fmt: skip


def run_fig6(lab: RunContext, folder: Path) -> StageResult:
    """Fig. 6."""
    study = occlusion_of(lab, lab.val.spec)
    outcome = lab.do(study, folder / "sensitivity")
    found, model = outcome.of(Sensitivity).networks[0].study, lab.session("zfnet").model
    words = [
        f"{len(found.rows)} images that the network names correctly; "
        f"{outcome.more['passed']} passed over."
    ]
    covered = found.covered()
    if covered:
        words.append(
            f"Probability of the class {covered['nothing'].mean:.2f}; with all of the object "
            f"covered {covered['object'].mean:.2f}, with all but it {covered['ground'].mean:.2f}."
        )
    alone = study.command(seed=lab.seed, out="sensitivity")
    return StageResult(Fig6(found, model.preprocess, model.classes), alone, words=tuple(words))


def occlusion_of(lab: RunContext, data: str, against: str | None = None) -> SensitivityStudy:
    """Of Fig. 6, on those images; a second network learned as ZFNet did, and has its input."""
    side = lab.architecture("zfnet").input_size // COVERED
    return SensitivityStudy(
        f"run:{lab.run('zfnet')}", data, against=against,
        count=lab.budget.occluded, size=side, stride=max(1, side // 6),
    )  # fmt: skip


def run_invariance(lab: RunContext, folder: Path) -> StageResult:
    """Fig. 5 of the first version."""
    study = InvarianceStudy(
        f"run:{lab.run('zfnet')}", [lab.val.spec],
        count=lab.budget.turned, steps=lab.budget.steps,
    )  # fmt: skip
    outcome = lab.do(study, folder / "invariance")
    alone = study.command(seed=lab.seed, out="invariance")
    return StageResult(InvarianceResult(outcome.of(Invariance), outcome.classes), alone)


def run_sanity(lab: RunContext, folder: Path) -> StageResult:
    """What the pictures are worth: whether they point, whose they are, what was planted."""
    study = SanityStudy(f"run:{lab.run('zfnet')}", lab.val.spec, count=lab.budget.occluded)
    outcome = lab.do(study, folder / "sanity")
    found = outcome.of(Sanity)
    words = (
        f"{found.images} images that the network names correctly; {outcome.more['passed']} passed "
        "over.",
        *(f"Planted: {each}." for each in found.planted_words()),
    )
    alone = study.command(seed=lab.seed, out="sanity")
    return StageResult(found, alone, pointing_table(found) if found.pointing else None, words)


def run_pictures(lab: RunContext, folder: Path) -> StageResult:
    """The strongest maps of Fig. 2's atlas by every method, with what each picture is worth."""
    atlas = open_atlas(lab.out / "fig2" / "atlas")
    layers = list(atlas.manifest.layers)[::BESIDE]
    units = [
        f"{layer.activation}/{int(atlas.layers[layer.name].value[:, 0].argmax())}"
        for layer in layers
    ]
    images = lab.some(lab.val, lab.budget.looked_at)
    study = PicturesStudy(f"run:{lab.run('zfnet')}", images.spec, units)
    found = lab.do(study, folder / "pictures").of(Pictures)
    words = tuple(found.summary())
    return StageResult(found, study.command(seed=lab.seed, out="pictures"), words=words)
