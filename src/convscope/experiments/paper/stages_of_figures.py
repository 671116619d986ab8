"""The stages behind the paper's figures: (laboratory, folder) -> Found.

Each goes on within itself where it was interrupted, as far as its experiment can.
"""

from __future__ import annotations

from pathlib import Path

from convscope.atlas.scan import build_atlas
from convscope.experiments.diagnosis.diagnosis import Diagnosis, diagnose
from convscope.experiments.diagnosis.examined import BATCH, Examined, examine
from convscope.experiments.evolution.growth import evolve
from convscope.experiments.invariance.curves import first_and_last, invariance
from convscope.experiments.invariance.motions import papers_motions
from convscope.experiments.paper.laboratory import UNTRAINED, Laboratory
from convscope.experiments.paper.purity import (
    Grouping,
    Purity,
    chance_of,
    purities,
)
from convscope.experiments.paper.results import Fig2, Fig5, Fig6, InvarianceStudy
from convscope.experiments.paper.stage import Found, command
from convscope.experiments.published import NAMES
from convscope.experiments.samples import draw_samples
from convscope.experiments.sensitivity.correctly_classified import correctly_classified, truth_of
from convscope.experiments.sensitivity.sweeps import sensitivity
from convscope.methods.occluder import Occluder
from convscope.network.network import Network
from convscope.network.zoo import Model
from convscope.scan.engine import Scan
from convscope.scan.strongest import strongest

__all__ = ["occluder_of", "run_fig2", "run_fig4", "run_fig5", "run_fig6", "run_invariance"]

TOP = 9
DIAGNOSED = ("zfnet", "alexnet", "free")  # the networks of Fig. 5
COVERED = 4  # the occluder's side is that part of the input's
OTHERS = 32  # images besides, for the distance between different ones


def run_fig2(lab: Laboratory, folder: Path) -> Found:
    """Fig. 2: the atlas, and how alike each map's strongest images are."""
    model = lab.model("zfnet")
    images = lab.some(lab.val, lab.budget.looked_at)
    atlas = build_atlas(
        model, images, folder / "atlas",
        top=TOP, workers=lab.workers, resume=True, device=str(lab.device), progress=lab.progress,
    )  # fmt: skip
    labels = [images.label(index) for index in range(len(images))]
    before, network = lab.network(UNTRAINED)
    layers = {record.name: record.activation for record in atlas.manifest.layers}
    start = strongest(
        network, images, before.preprocess, layers, TOP,
        workers=lab.workers, progress=lab.say("untrained network"),
    )  # fmt: skip
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
        TOP,
    )
    alone = command("atlas", f"run:{lab.run('zfnet')}", images.spec, seed=lab.seed, out="atlas")
    page = ("the atlas: every feature map", "atlas/index.html")
    return Found(Fig2(grouping, str(folder / "atlas")), alone, pages=(page,))


def run_fig4(lab: Laboratory, folder: Path) -> Found:
    """Fig. 4."""
    images = lab.some(lab.train, lab.budget.evolved)
    found = evolve(
        lab.run("zfnet"), images,
        measured=lab.budget.measured, out=folder / "evolution", resume=True, seed=lab.seed,
        workers=lab.workers, device=lab.device, progress=lab.progress,
    )  # fmt: skip
    words = tuple(f"By {measure}: {trend.words()}." for measure, trend in found.trends.items())
    alone = command(
        "evolve", lab.run("zfnet"), images.spec, "--measured", lab.budget.measured,
        seed=lab.seed, out="evolution",
    )  # fmt: skip
    pages = (("the epochs under a slider", "evolution/index.html"),)
    return Found(found, alone, words=words, pages=pages)


def run_fig5(lab: Laboratory, folder: Path) -> Found:
    """Fig. 5, of every seed; the first seed's networks are drawn."""
    shown, diagnoses = {}, {}
    for name, seed in lab.plan:
        if name not in DIAGNOSED:
            continue
        if seed == lab.seed:
            shown[name] = _examined(lab, name)
            diagnoses[name, seed] = shown[name].diagnosis
        else:
            diagnoses[name, seed] = _diagnosed(lab, name, seed)
    found = Fig5(
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
    alone = command(
        "diagnose", f"run:{lab.run('alexnet')}", "--against", f"run:{lab.run('zfnet')}", "--data",
        lab.some(lab.val, lab.budget.diagnosed).spec, "--images", lab.budget.diagnosed,
        seed=lab.seed, out="diagnosis",
    )  # fmt: skip
    return Found(found, alone, words=words)


def _examined(lab: Laboratory, name: str) -> Examined:
    """The first seed's network, with what is drawn of it."""
    model, network = lab.network(name)
    title = NAMES[name]
    return examine(network, model.preprocess, title, _looked_at(lab, model, network, title))


def _diagnosed(lab: Laboratory, name: str, seed: int) -> Diagnosis:
    model, network = lab.network(name, seed)
    return diagnose(network, _looked_at(lab, model, network, f"{NAMES[name]}, seed {seed}"))


def _looked_at(lab: Laboratory, model: Model, network: Network, what: str) -> Scan:
    """The images of Fig. 5."""
    images = lab.some(lab.val, lab.budget.diagnosed)
    return Scan(
        network, images, model.preprocess,
        batch_size=BATCH, workers=lab.workers, progress=lab.say(what),
    )  # fmt: skip


def run_fig6(lab: Laboratory, folder: Path) -> Found:
    """Fig. 6."""
    model, network = lab.network("zfnet")
    marked = lab.marked
    selection = correctly_classified(
        [(network, model.preprocess)], lab.val, lab.budget.occluded,
        classes=model.classes, indices=None if lab.scenes else [m.index for m in marked] or None,
        seed=lab.seed,
    )  # fmt: skip
    occluder = occluder_of(model)
    found = sensitivity(
        network, lab.val, model.preprocess, selection.chosen,
        truth=truth_of(lab.val, () if lab.scenes else marked), occluder=occluder, seed=lab.seed,
        out=folder / "sensitivity", resume=True, workers=lab.workers, progress=lab.progress,
    )  # fmt: skip
    words = [
        f"{len(selection.chosen)} images that the network names correctly; "
        f"{selection.passed} passed over."
    ]
    covered = found.covered()
    if covered:
        words.append(
            f"Probability of the class {covered['nothing'].mean:.2f}; with all of the object "
            f"covered {covered['object'].mean:.2f}, with all but it {covered['ground'].mean:.2f}."
        )
    alone = command(
        "sensitivity", f"run:{lab.run('zfnet')}", lab.val.spec, "--count",
        lab.budget.occluded, "--size", occluder.size[0], "--stride", occluder.stride[0],
        seed=lab.seed, out="sensitivity",
    )  # fmt: skip
    study = Fig6(found, model.preprocess, model.classes)
    return Found(study, alone, words=tuple(words))


def occluder_of(model: Model) -> Occluder:
    """Of Fig. 6, for a network's input."""
    side = min(model.preprocess.size) // COVERED
    return Occluder(side, max(1, side // 6))


def run_invariance(lab: Laboratory, folder: Path) -> Found:
    """Fig. 5 of the first version."""
    model, network = lab.network("zfnet")
    count = lab.budget.turned
    samples = draw_samples(lab.val, count + OTHERS, network, model.classes, seed=lab.seed)
    found = invariance(
        network, model.preprocess, samples[:count],
        layers=first_and_last(network), others=samples[count:], progress=lab.progress,
        motions=papers_motions(model.preprocess.size[0], lab.budget.steps),
        out=folder / "invariance", resume=True,
    )  # fmt: skip
    alone = command(
        "invariance", f"run:{lab.run('zfnet')}", lab.val.spec, "--count", count, "--steps",
        lab.budget.steps,
        seed=lab.seed, out="invariance",
    )  # fmt: skip
    return Found(InvarianceStudy(found, model.classes), alone)
