"""The stages behind the paper's tables, trainings first: (laboratory, folder) -> Found.

Each goes on within itself where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from convscope.experiments.ablation.equal_budget import ablate
from convscope.experiments.ablation.variants import Variant, table2
from convscope.experiments.correspondence.aligned_parts import align_parts
from convscope.experiments.correspondence.sign_distance import correspond
from convscope.experiments.ensemble.averaging import ensemble
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.paper import tables
from convscope.experiments.paper.laboratory import UNTRAINED, Laboratory
from convscope.experiments.paper.results import (
    Averages,
    CorrespondenceStudy,
    MultiStudy,
    Trained,
    Trainings,
)
from convscope.experiments.paper.stage import Found, command, recipe_words
from convscope.experiments.published import NAMES
from convscope.experiments.training_runner import measured
from convscope.experiments.transfer.folds import Protocol, labels_of
from convscope.experiments.transfer.layers import probe
from convscope.experiments.transfer.learning_curve import transfer
from convscope.experiments.transfer.linear_model import Loss
from convscope.experiments.transfer.multilabel import transfer_several
from convscope.experiments.transfer.reading import LayerReader
from convscope.experiments.transfer.scratch import Scratch, for_few_images
from convscope.experiments.wording import minus
from convscope.images.duplicates import near_duplicates
from convscope.images.image_set import ImageSet
from convscope.training.loop import TrainingResult
from convscope.training.recipe import PHOTOS, SMALL

__all__ = [
    "run_correspondence",
    "run_depth",
    "run_multi",
    "run_table1",
    "run_table2",
    "run_training",
    "run_transfer",
]

JUDGED = {"table2-depth", "table2-dense", "table2-wider"}  # on the scorecard (claims.py)
FOLDS = 5  # of Table 7, as in the paper


def run_training(lab: Laboratory, folder: Path) -> Found:
    """ZFNet, as it is and with changes, and AlexNet at equal budget from each seed."""
    runs = []
    for name, seed in lab.plan:  # each step of it may depend on the trainings before
        runs.append(_trained(lab, name, lab.learned(name, seed)))
    found = Trainings(
        tuple(runs), len(lab.lesson.pictures), len(lab.lesson.validation), lab.epochs,
        len(lab.lesson.pictures.classes),
    )  # fmt: skip
    alone = command(
        "train", "--arch", lab.architecture("zfnet").name, "--data", lab.train.spec, "--val",
        lab.val.spec, *recipe_words(lab.recipe("zfnet", lab.seed), lab.base),
        seed=lab.seed, out=lab.run("zfnet").name,
    )  # fmt: skip
    pages = tuple(
        (
            f"{NAMES[run.name]}, seed {run.training.seed}",
            f"{lab.run(run.name, run.training.seed).name}/index.html",
        )
        for run in runs
    )
    return Found(found, alone, tables.trainings_table(found), pages=pages)


def _trained(lab: Laboratory, name: str, done: TrainingResult) -> Trained:
    return Trained(
        name,
        measured(done, lab.lesson, lab.device),
        sum(epoch.renormalised for epoch in done.history),
        tuple(1 - epoch.val_accuracy for epoch in done.history),
    )


def run_correspondence(lab: Laboratory, folder: Path) -> Found:
    """Table 1 of the first version, and the same before training."""
    model, _ = lab.network("zfnet")
    faces = align_parts(lab.val, lab.marked, model.preprocess, count=lab.budget.faces)
    found = CorrespondenceStudy(*(
        correspond(
            lab.network(name)[1], faces,
            fill=model.preprocess.fill("grey"), places=lab.budget.places, seed=lab.seed,
            out=folder / name, resume=True, progress=lab.say(name),
        )
        for name in ("zfnet", UNTRAINED)
    ))  # fmt: skip
    alone = command(
        "correspond", f"run:{lab.run('zfnet')}", lab.val.spec, "--count", lab.budget.faces,
        "--places", lab.budget.places,
        seed=lab.seed, out="correspondence",
    )  # fmt: skip
    return Found(found, alone, tables.correspondence_table(found))


def run_table1(lab: Laboratory, folder: Path) -> Found:
    """Table 1: the networks that were trained to be looked into, averaged."""
    plan = list(lab.plan)
    runs = {
        name: [lab.run(each, seed) for each, seed in plan if each == name]
        for name in ("zfnet", "wide", "alexnet")
    }
    crops = 10 if lab.recipe("zfnet", lab.seed).crops else 1

    def averaged(name: str, folders: Sequence[Path]) -> Ensemble:
        return ensemble(
            [f"run:{each}" for each in folders], lab.val,
            crops=crops, device=lab.device, workers=lab.workers, seed=lab.seed,
            out=folder / name, resume=True, progress=lab.progress,
        )  # fmt: skip

    ours, theirs = [*runs["zfnet"], *runs["wide"]], runs["alexnet"]
    alexnets = averaged("alexnets", theirs) if len(lab.seeds) > 1 else None
    found = Averages(averaged("zfnets", ours), alexnets)
    alone = command(
        "ensemble", *ours, "--data", lab.val.spec, "--crops", crops,
        seed=lab.seed, out="ensemble",
    )  # fmt: skip
    return Found(found, alone, tables.averages_table(found))


def run_table2(lab: Laboratory, folder: Path) -> Found:
    """Table 2, of AlexNet, whose column is the paper's fuller one."""
    recipe = replace(lab.recipe("alexnet", lab.seed), epochs=lab.budget.ablated_epochs)
    recipe = replace(recipe, keep_epochs=())
    architecture = lab.architecture("alexnet")
    seeds = range(lab.seed, lab.seed + lab.budget.ablated_seeds)
    rows = lab.budget.ablated_rows
    chosen = [row for row in table2(architecture) if rows is None or row.name in rows]
    found = ablate(
        architecture, lab.lesson, recipe, folder / "ablation",
        variants=chosen, seeds=tuple(seeds), device=lab.device, progress=lab.progress, resume=True,
    )  # fmt: skip
    words = tuple(
        f"{each.claim.words}: {each.verdict} ({minus(each.evidence)})."
        for each in found.claims
        if each.claim.key not in JUDGED
    )
    alone = command(
        "ablate", "--arch", architecture.name, "--data", lab.train.spec, "--val", lab.val.spec,
        *recipe_words(recipe, lab.base), "--seeds", len(seeds),
        *(() if rows is None else (word for row in chosen for word in ("--variant", _row(row)))),
        seed=lab.seed, out="ablation",
    )  # fmt: skip
    return Found(found, alone, tables.ablation_table(found), words)


def _row(variant: Variant) -> str:
    """As it is written in a table of variants."""
    return f"{variant.name}: {variant.changes}"


def run_transfer(lab: Laboratory, folder: Path) -> Found:
    """Tables 3 and 4, Fig. 9."""
    assert lab.places.transfer is not None
    budget, images = lab.budget, lab.images(lab.places.transfer)
    protocol = _protocol(lab, images, budget.per_class)
    fitting = for_few_images(SMALL if lab.scenes else PHOTOS)
    recipe = replace(fitting, epochs=budget.scratch_epochs, seed=lab.seed)
    scratch = Scratch(
        lab.architecture("zfnet").name, recipe, images,
        folder / "scratch", device=lab.device, workers=lab.workers, progress=lab.progress,
    )  # fmt: skip
    doubles = None
    if not lab.scenes:
        doubles = near_duplicates(images, lab.train, workers=lab.workers, progress=lab.progress)
    found = transfer(
        _reader(lab, folder), images, protocol,
        duplicates=doubles, drop_duplicates=doubles is not None, scratch=scratch,
        out=folder / "transfer", resume=True,
    )  # fmt: skip
    words = [f"Features of {found.layer}: {found.length:,} an image."]
    if doubles is not None:
        words.append(f"{len(doubles)} images that were learned before are left out of the tests.")
    alone = command(
        "transfer", f"run:{lab.run('zfnet')}", images.spec, "--per-class",
        ",".join(map(str, protocol.per_class)), "--folds", protocol.folds, "--test-per-class",
        protocol.test_per_class, "--classifier", "both", "--scratch", scratch.architecture,
        "--scratch-epochs", budget.scratch_epochs,
        *(() if doubles is None else ("--against", lab.train.spec, "--drop-duplicates")),
        seed=lab.seed, out="transfer",
    )  # fmt: skip
    return Found(found, alone, tables.transfer_table(found), tuple(words))


def run_multi(lab: Laboratory, folder: Path) -> Found:
    """Table 5."""
    assert lab.places.several is not None
    images = lab.images(lab.places.several)
    found = [
        transfer_several(
            _reader(lab, folder, name), images,
            seed=lab.seed, out=folder / name, resume=True,
        )
        for name in ("zfnet", UNTRAINED)
    ]  # fmt: skip
    both = MultiStudy(*found)
    alone = command(
        "transfer", f"run:{lab.run('zfnet')}", images.spec, seed=lab.seed, out="several"
    )
    return Found(both, alone, tables.several_table(both))


def run_depth(lab: Laboratory, folder: Path) -> Found:
    """Table 7."""
    assert lab.places.transfer is not None
    images, budget = lab.images(lab.places.transfer), lab.budget
    protocol = replace(_protocol(lab, images, (budget.probed,)), folds=FOLDS)
    found = probe(_reader(lab, folder), images, protocol, out=folder / "probe", resume=True)
    alone = command(
        "probe", f"run:{lab.run('zfnet')}", images.spec, "--per-class", protocol.per_class[0],
        "--folds", FOLDS, "--test-per-class", protocol.test_per_class,
        seed=lab.seed, out="probe",
    )  # fmt: skip
    return Found(found, alone, tables.depth_table(found))


def _protocol(lab: Laboratory, images: ImageSet, per_class: Sequence[int]) -> Protocol:
    """Images per class as planned, as far as the smallest class allows; one is left for tests."""
    budget = lab.budget
    smallest = int(np.bincount(labels_of(images)).min())
    numbers = tuple(number for number in per_class if number < smallest)
    tested = min(budget.tested, smallest - max(numbers, default=0))
    classifiers = (Loss.SVM, Loss.SOFTMAX)
    return Protocol(numbers or (max(1, smallest - 1),), budget.folds, tested, classifiers, lab.seed)


def _reader(lab: Laboratory, folder: Path, name: str = "zfnet") -> LayerReader:
    model, network = lab.network(name)
    return LayerReader(
        model, network, cache=folder / "features", workers=lab.workers, progress=lab.progress
    )
