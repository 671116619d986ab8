"""The stages that train networks of their own to try a reading of the pictures.

(context, folder) -> StageResult, as the other stages.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from convscope.experiments.diagnosis.remedies import Change, remedied
from convscope.experiments.diagnosis.remedy_options import TryOptions
from convscope.experiments.diagnosis.study import DiagnoseStudy
from convscope.experiments.diagnosis.trial import Trial, attempted
from convscope.experiments.learning import options_for
from convscope.experiments.number_words import percent
from convscope.experiments.paper.results import LEARNED_WITH, Pretraining, Surroundings
from convscope.experiments.paper.run_context import UNTRAINED, RunContext
from convscope.experiments.paper.stage import StageResult
from convscope.experiments.paper.stages_of_figures import occlusion_of
from convscope.experiments.paper.stages_of_tables import measuring_for
from convscope.experiments.paper.tables import pretraining_table, trial_table
from convscope.experiments.sensitivity.result import Sensitivity
from convscope.experiments.train import TrainStudy
from convscope.experiments.transfer.layers import LayerProbe
from convscope.experiments.transfer.study import ProbeStudy
from convscope.training.checkpoint import RECIPE, read_run
from convscope.training.evaluation import evaluate
from convscope.training.loop import TrainingResult
from convscope.training.training_data import load_training_data

__all__ = ["run_pretraining", "run_remedy", "run_surroundings"]

PRETRAIN = 3  # epochs of each layer's autoencoder
FOLDS = 5
CONTEXT = ":context=1"  # behind a set of scenes: every picture's ground is its class's own


def run_remedy(lab: RunContext, folder: Path) -> StageResult:
    """§4.1: what AlexNet's diagnosis asks for, done and trained; the same seeds."""
    alexnet, recipe = lab.architecture("alexnet"), lab.recipe("alexnet", lab.seed)
    runs = [lab.learned("alexnet", seed) for seed in lab.seeds]
    first, findings = attempted(runs[0], lab.lesson, lab.device)
    change = remedied(alexnet, recipe, findings, notes=True)
    before, after = [first], []
    if change.applied:
        before += [attempted(run, lab.lesson, lab.device)[0] for run in runs[1:]]
        tried = [_remedied(lab, change, seed, folder) for seed in lab.seeds]
        after = [attempted(run, lab.lesson, lab.device)[0] for run in tried]
    trial = Trial(change, alexnet, findings, tuple(before), tuple(after))
    words = [f"{finding.layer}, {finding.kind}: {finding.words}." for finding in findings]
    words += [f"Done: {each}." for each in change.applied]
    words += [f"Left: {each}." for each in change.left]
    alone = DiagnoseStudy(
        alexnet.name, data=lab.train.spec,
        trying=TryOptions(
            try_=True, notes=True, val=lab.val.spec, seeds=len(lab.seeds),
            recipe=str(lab.run("alexnet") / RECIPE),
        ),
    ).command(seed=lab.seed, out="remedy")  # fmt: skip
    return StageResult(trial, alone, trial_table(trial), tuple(words))


def _remedied(lab: RunContext, change: Change, seed: int, folder: Path) -> TrainingResult:
    """From one seed; where the remedies make ZFNet of it, ZFNet's training is there already."""
    made, zfnet = change.architecture, lab.architecture("zfnet")
    recipe = replace(change.recipe, seed=seed)
    if replace(made, name=zfnet.name) == zfnet and recipe == lab.recipe("zfnet", seed):
        return lab.learned("zfnet", seed)
    recipe = replace(recipe, keep_epochs=())
    return lab.learn(made, recipe, folder / "runs" / f"seed-{seed}", f"remedied, seed {seed}")


def run_surroundings(lab: RunContext, folder: Path) -> StageResult:
    """§4.2: the plain network beside one that learned with telling grounds."""
    train, val = (lab.images(each + CONTEXT) for each in (lab.places.train, lab.places.val))
    recipe = replace(lab.recipe("zfnet", lab.seed), keep_epochs=())
    architecture, run = lab.architecture("zfnet"), folder / "telling"
    lesson = load_training_data(architecture, train, val, recipe, how=lab.execution)
    training = TrainStudy(
        architecture.name, train.spec, val.spec, learning=options_for(recipe, lab.base)
    )
    done = lab.learn_else(training, lesson, run, "grounds that tell the class")
    study = occlusion_of(lab, val.spec, f"run:{run}")
    outcome = lab.do(study)
    (_, plain), (_, telling) = outcome.more["models"]
    first, second = (network.study for network in outcome.of(Sensitivity).networks)
    elsewhere = evaluate(
        telling.module.to(lab.device), lab.lesson.validation, lesson.mean, architecture.input_size
    )
    surroundings = Surroundings(
        first, second,
        errors=(1 - lab.learned("zfnet", lab.seed).history[-1].val_accuracy, 1 - elsewhere.top1),
        accuracy=done.history[-1].val_accuracy,
        preprocesses=(plain.preprocess, telling.preprocess), classes=plain.classes,
    )  # fmt: skip
    learning = training.command(seed=lab.seed, out="telling")
    looking = study.command(seed=lab.seed, out="surroundings")
    passing = (
        f"{len(first.rows)} images that both name correctly; {outcome.more['passed']} passed over."
    )
    return StageResult(
        surroundings, f"{learning}\n{looking}", words=(passing, *_surroundings_words(surroundings))
    )


def _surroundings_words(surroundings: Surroundings) -> list[str]:
    plain, telling = map(percent, surroundings.errors)
    words = [
        f"The network whose images' ground told the class errs in "
        f"{percent(1 - surroundings.accuracy)} of such images, and in {telling} of those whose "
        f"ground says nothing; the other one there in {plain}."
    ]
    for name, study in zip(LEARNED_WITH, (surroundings.plain, surroundings.telling), strict=True):
        seen = study.covered()
        words.append(
            f"{name}: probability of the class {seen['nothing'].mean:.2f}, with the object covered "
            f"{seen['object'].mean:.2f}, with all but it {seen['ground'].mean:.2f}."
        )
    return words


def run_pretraining(lab: RunContext, folder: Path) -> StageResult:
    """The paper's contrast: layers that learned without labels, beside those that had them.

    Greedy denoising autoencoders; all hidden layers are probed, on the same folds.
    """
    assert lab.places.transfer is not None
    plain = lab.recipe("zfnet", lab.seed)
    recipe = replace(plain, pretrain=PRETRAIN, keep_epochs=())
    architecture, run = lab.architecture("zfnet"), folder / "pretrained"
    done = lab.learn(architecture, recipe, run, "layers without labels, then with them")
    training = TrainStudy(
        architecture.name, lab.train.spec, lab.val.spec, learning=options_for(recipe, lab.base)
    )
    images = lab.images(lab.places.transfer)
    (per_class,), measuring = measuring_for(lab, images, (lab.budget.probed,), FOLDS)
    before = run / read_run(run).checkpoints[0].file
    studies = {
        name: ProbeStudy(spec, images.spec, measuring=measuring, per_class=per_class)
        for name, spec in (
            ("supervised", f"run:{lab.run('zfnet')}"),
            ("unsupervised", f"{architecture.name}@{before}"),
            ("random", lab.session(UNTRAINED).model.spec),
        )
    }
    probes = {
        name: lab.do(study, folder / name, networks=(), what=name).of(LayerProbe)
        for name, study in studies.items()
    }
    errors = [each.history[-1].val_accuracy for each in (lab.learned("zfnet", lab.seed), done)]
    found = Pretraining(
        {each.layer: each.losses for each in done.pretraining},
        **probes, errors=(1 - errors[0], 1 - errors[1]),
    )  # fmt: skip
    words = (
        f"Validation error {percent(found.errors[0], 1)} from labels alone, "
        f"{percent(found.errors[1], 1)} after pre-training; one network each.",
    )
    commands = [training.command(seed=lab.seed, out="pretrained")]
    commands += [study.command(seed=lab.seed, out=name) for name, study in studies.items()]
    return StageResult(found, "\n".join(commands), pretraining_table(found), words)
