"""The stages behind the paper's tables, trainings first: (context, folder) -> StageResult.

Each goes on within itself where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from convscope.experiments.ablation.study import AblateStudy, Varying
from convscope.experiments.ablation.table import Ablation
from convscope.experiments.ablation.variants import table2
from convscope.experiments.correspondence.result import Correspondence
from convscope.experiments.correspondence.study import CorrespondStudy
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.ensemble.study import EnsembleStudy
from convscope.experiments.learning import options_for
from convscope.experiments.number_words import minus
from convscope.experiments.paper import tables
from convscope.experiments.paper.results import (
    Averages,
    CorrespondenceResult,
    MultiResult,
    Trained,
    Trainings,
)
from convscope.experiments.paper.run_context import UNTRAINED, RunContext
from convscope.experiments.paper.stage import StageResult
from convscope.experiments.published import NAMES
from convscope.experiments.training_runner import measured
from convscope.experiments.transfer.folds import labels_of
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.learning_curve import Transfer
from convscope.experiments.transfer.multilabel import MultiTransfer
from convscope.experiments.transfer.options import ClassifierName, Measuring, Overlap
from convscope.experiments.transfer.study import ProbeStudy, TransferStudy
from convscope.images.image_set import ImageSet
from convscope.training.loop import TrainingResult

__all__ = [
    "measuring_for",
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


def run_training(lab: RunContext, folder: Path) -> StageResult:
    """ZFNet, as it is and with changes, and AlexNet at equal budget from each seed."""
    runs = []
    for name, seed in lab.plan:  # each step of it may depend on the trainings before
        runs.append(_trained(lab, name, lab.learned(name, seed)))
    trainings = Trainings(
        tuple(runs), len(lab.lesson.pictures), len(lab.lesson.validation), lab.epochs,
        len(lab.lesson.pictures.classes),
    )  # fmt: skip
    alone = lab.training("zfnet").command(seed=lab.seed, out=lab.run("zfnet").name)
    pages = tuple(
        (
            f"{NAMES[run.name]}, seed {run.training.seed}",
            f"{lab.run(run.name, run.training.seed).name}/index.html",
        )
        for run in runs
    )
    return StageResult(trainings, alone, tables.trainings_table(trainings), pages=pages)


def _trained(lab: RunContext, name: str, done: TrainingResult) -> Trained:
    return Trained(
        name,
        measured(done, lab.lesson, lab.device),
        sum(epoch.renormalised for epoch in done.history),
        tuple(1 - epoch.val_accuracy for epoch in done.history),
    )


def run_correspondence(lab: RunContext, folder: Path) -> StageResult:
    """Table 1 of the first version, and the same before training."""
    studies = {
        name: CorrespondStudy(
            lab.session(name).model.spec, lab.val.spec,
            count=lab.budget.faces, places=lab.budget.places,
        )
        for name in ("zfnet", UNTRAINED)
    }  # fmt: skip
    correspondence = CorrespondenceResult(*(
        lab.do(study, folder / name, networks=[name], what=name).of(Correspondence)
        for name, study in studies.items()
    ))  # fmt: skip
    alone = studies["zfnet"].command(seed=lab.seed, out="correspondence")
    return StageResult(correspondence, alone, tables.correspondence_table(correspondence))


def run_table1(lab: RunContext, folder: Path) -> StageResult:
    """Table 1: the networks that were trained to be looked into, averaged."""
    plan = list(lab.plan)
    runs = {
        name: [str(lab.run(each, seed)) for each, seed in plan if each == name]
        for name in ("zfnet", "wide", "alexnet")
    }
    crops = 10 if lab.recipe("zfnet", lab.seed).crops else 1
    ours = EnsembleStudy([*runs["zfnet"], *runs["wide"]], lab.val.spec, crops)
    theirs = EnsembleStudy(runs["alexnet"], lab.val.spec, crops)
    alexnets = None
    if len(lab.seeds) > 1:
        alexnets = lab.do(theirs, folder / "alexnets", networks=()).of(Ensemble)
    averages = Averages(lab.do(ours, folder / "zfnets", networks=()).of(Ensemble), alexnets)
    alone = ours.command(seed=lab.seed, out="ensemble")
    return StageResult(averages, alone, tables.averages_table(averages))


def run_table2(lab: RunContext, folder: Path) -> StageResult:
    """Table 2, of AlexNet, whose column is the paper's fuller one."""
    budget, architecture = lab.budget, lab.architecture("alexnet")
    recipe = replace(lab.recipe("alexnet", lab.seed), epochs=budget.ablated_epochs, keep_epochs=())
    rows = None
    if budget.ablated_rows is not None:
        chosen = (row for row in table2(architecture) if row.name in budget.ablated_rows)
        rows = [f"{row.name}: {row.changes}" for row in chosen]
    study = AblateStudy(
        architecture.name, lab.train.spec, lab.val.spec,
        learning=options_for(recipe, lab.base),
        varying=Varying(variant=rows, seeds=budget.ablated_seeds),
    )  # fmt: skip
    context = replace(lab.context(folder / "ablation"), lesson=lab.lesson)
    ablation = study.run(context).of(Ablation)
    words = tuple(
        f"{claim.claim.words}: {claim.verdict} ({minus(claim.evidence)})."
        for claim in ablation.claims
        if claim.claim.key not in JUDGED
    )
    alone = study.command(seed=lab.seed, out="ablation")
    return StageResult(ablation, alone, tables.ablation_table(ablation), words)


def run_transfer(lab: RunContext, folder: Path) -> StageResult:
    """Tables 3 and 4, Fig. 9."""
    assert lab.places.transfer is not None
    images = lab.images(lab.places.transfer)
    per_class, measuring = measuring_for(lab, images, lab.budget.per_class, lab.budget.folds)
    study = TransferStudy(
        f"run:{lab.run('zfnet')}", images.spec,
        measuring=replace(measuring, classifier=ClassifierName.BOTH),
        overlap=Overlap() if lab.scenes else Overlap(lab.train.spec, drop_duplicates=True),
        per_class=",".join(map(str, per_class)),
        scratch=lab.architecture("zfnet").name,
        scratch_epochs=lab.budget.scratch_epochs,
    )  # fmt: skip
    transfer = lab.do(study, folder / "transfer", beside=folder).of(Transfer)
    words = [f"Features of {transfer.layer}: {transfer.length:,} an image."]
    if transfer.duplicates is not None:
        count = len(transfer.duplicates)
        words.append(f"{count} images that were learned before are left out of the tests.")
    alone = study.command(seed=lab.seed, out="transfer")
    return StageResult(transfer, alone, tables.transfer_table(transfer), tuple(words))


def run_multi(lab: RunContext, folder: Path) -> StageResult:
    """Table 5."""
    assert lab.places.several is not None
    images = lab.images(lab.places.several)
    studies = {
        name: TransferStudy(lab.session(name).model.spec, images.spec)
        for name in ("zfnet", UNTRAINED)
    }
    both = MultiResult(*(
        lab.do(study, folder / name, networks=[name], beside=folder).of(MultiTransfer)
        for name, study in studies.items()
    ))  # fmt: skip
    alone = studies["zfnet"].command(seed=lab.seed, out="several")
    return StageResult(both, alone, tables.several_table(both))


def run_depth(lab: RunContext, folder: Path) -> StageResult:
    """Table 7."""
    assert lab.places.transfer is not None
    images = lab.images(lab.places.transfer)
    (per_class,), measuring = measuring_for(lab, images, (lab.budget.probed,), FOLDS)
    study = ProbeStudy(
        f"run:{lab.run('zfnet')}", images.spec, measuring=measuring, per_class=per_class
    )
    probe = lab.do(study, folder / "probe", beside=folder).of(LayerProbe)
    alone = study.command(seed=lab.seed, out="probe")
    return StageResult(probe, alone, tables.depth_table(probe))


def measuring_for(
    lab: RunContext, images: ImageSet, per_class: Sequence[int], folds: int
) -> tuple[tuple[int, ...], Measuring]:
    """Images per class as planned, as far as the smallest class allows; one is left for tests."""
    smallest = int(np.bincount(labels_of(images)).min())
    numbers = tuple(number for number in per_class if number < smallest)
    tested = min(lab.budget.tested, smallest - max(numbers, default=0))
    measuring = Measuring(folds, test_per_class=tested)
    return numbers or (max(1, smallest - 1),), measuring
