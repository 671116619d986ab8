"""What the stages of the paper's reproduction share: images, trained networks, a place on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from convscope.errors import BadData, BadOption
from convscope.execution import Execution
from convscope.experiments.ablation.variants import TABLE2
from convscope.experiments.evolution.kept import kept_epochs
from convscope.experiments.learning import options_for
from convscope.experiments.options import Device, Running
from convscope.experiments.paper.plan import Budget
from convscope.experiments.session import Session
from convscope.experiments.study import Context, Outcome, Study
from convscope.experiments.train import Storing, TrainedNetwork, TrainStudy
from convscope.experiments.training_runner import KEEPING
from convscope.images.datasets import open_images, split_folders
from convscope.images.image_set import ImageSet
from convscope.images.parts import Marked, marked_images
from convscope.images.subsets import evenly, subset_images
from convscope.models.architectures import Architecture, architecture_named
from convscope.models.zoo import Model, open_model
from convscope.progress import Progress, named
from convscope.training.checkpoint import WEIGHTS, read_run
from convscope.training.loop import TrainingResult
from convscope.training.recipe import PHOTOS, SMALL, Recipe
from convscope.training.training_data import TrainingData, load_training_data

__all__ = ["SCENES", "UNTRAINED", "RunContext", "data_of"]

SCENES = "scenes"
TRANSFER = "transfer"  # a folder that may, too, of labelled images of other classes
UNTRAINED = "untrained"
ARCHITECTURES = {
    "zfnet": "zfnet-small", "free": "zfnet-small", "wide": "zfnet-small",
    "alexnet": "alexnet-small",
}  # fmt: skip
"""By the plan's name; `free` is not renormalised, `wide` has more maps in layers 3, 4, 5."""
WIDER = "layers 3,4,5 wider"  # the row of Table 2 that Table 1 calls (b)


@dataclass(frozen=True)
class Data:
    """Where images come from, as DATA on the command line.

    Attributes:
        train: The images to learn from.
        val: The images to test on.
        transfer: Images of other classes; None where there are none.
        several: Images of several classes each; None where there are none.
    """

    train: str
    val: str
    transfer: str | None
    several: str | None


def data_of(data: str, budget: Budget) -> Data:
    """Find the images of a reproduction.

    Args:
        data: `scenes`, or a folder with train/ and val/.
        budget: How many images.

    Raises:
        BadOption: It is other scenes than `scenes`, or no folder with train/ and val/.
    """
    if data == SCENES:
        return Data(
            f"scenes:train:{budget.images}",
            f"scenes:val:{budget.validation}",
            f"scenes:transfer:{budget.transferred}",
            f"scenes:multi:{budget.several}",
        )
    if data.partition(":")[0] == SCENES:
        raise BadOption(f"--data {data}: give scenes, whose splits are all used, or a folder")
    folders = split_folders(data)
    if folders is None:
        raise BadOption(f"--data {data}: give scenes, or a folder that holds train/ and val/")
    transfer = Path(data).expanduser() / TRANSFER
    return Data(*folders, str(transfer) if transfer.is_dir() else None, None)


@dataclass(eq=False)
class RunContext:
    """One run of the plan; networks are opened when they are first needed.

    Attributes:
        out: The folder of the run.
        data: `scenes`, or a folder.
        budget: How much of everything is done.
        seed: Of everything random.
        device: Where networks run.
        workers: Threads that read images.
        progress: Is told what goes on.
    """

    out: Path
    data: str
    budget: Budget
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int = 1
    progress: Progress | None = None

    @property
    def scenes(self) -> bool:
        """Whether the truth about the images is known."""
        return self.data == SCENES

    @cached_property
    def places(self) -> Data:
        return data_of(self.data, self.budget)

    def images(self, spec: str) -> ImageSet:
        """A set, scenes drawn at the networks' input size."""
        side = self.architecture("zfnet").input_size
        return open_images(spec, size=side, seed=self.seed)

    @cached_property
    def train(self) -> ImageSet:
        """What the networks learn from."""
        return self.some(self.images(self.places.train), self._most)

    @cached_property
    def val(self) -> ImageSet:
        """What they are tested on, and looked at with."""
        most = self._most
        return self.some(self.images(self.places.val), None if most is None else most // 2)

    @property
    def _most(self) -> int | None:
        return None if self.scenes else self.budget.most

    @cached_property
    def marked(self) -> tuple[Marked, ...]:
        """The parts that are known of the validation images; none where nobody marked them."""
        try:
            return marked_images(self.val)
        except BadData:
            return ()

    def some(self, images: ImageSet, most: int | None) -> ImageSet:
        """At most so many images of a set, evenly over it; of scenes the first."""
        found = images
        if most is not None and len(images) > most:
            if self.scenes:
                found = self.images(f"{images.spec.rpartition(':')[0]}:{most}")
            else:
                found = subset_images(images, evenly(len(images), most))
        self._sets[found.spec] = found
        return found

    @cached_property
    def _sets(self) -> dict[str, ImageSet]:
        """DATA -> the set, of those that were chosen from here: studies need not open them anew."""
        return {}

    def architecture(self, name: str) -> Architecture:
        """By the plan's name."""
        known = architecture_named(ARCHITECTURES[name])
        if name != "wide":
            return known
        row = next(row for row in TABLE2 if row.variant.name == WIDER)
        return row.variant.applied(known)

    @property
    def epochs(self) -> int:
        """Of each training."""
        return self.budget.epochs if self.scenes else self.budget.folder_epochs

    @property
    def base(self) -> Recipe:
        """The recipe that `train` would choose for these networks and images."""
        return SMALL if self.scenes else PHOTOS

    def recipe(self, name: str, seed: int) -> Recipe:
        """How a network of the plan learns."""
        base = self.base
        kept = self.budget.kept if self.scenes else base.keep_epochs
        return replace(
            base,
            epochs=self.epochs,
            keep_epochs=tuple(epoch for epoch in kept if epoch <= self.epochs),
            dropout=self.budget.dropout,
            radius=None if name == "free" else base.radius,
            seed=seed,
        )

    @cached_property
    def lesson(self) -> TrainingData:
        """All networks of the plan learn from it: their inputs are of one size."""
        return load_training_data(
            self.architecture("zfnet"), self.train, self.val, self.recipe("zfnet", self.seed),
            how=self.execution,
        )  # fmt: skip

    @property
    def execution(self) -> Execution:
        """How everything is computed here."""
        return Execution(self.device, self.workers, progress=self.progress)

    @property
    def seeds(self) -> range:
        """Of the trainings; the first seed's networks are those that are looked into."""
        return range(self.seed, self.seed + self.budget.seeds)

    @property
    def plan(self) -> Iterator[tuple[str, int]]:
        """(name, seed) of every training. Where renormalisation scaled no filter back, the training
        without it would be the same, and is left out."""
        for seed in self.seeds:
            yield "zfnet", seed
            yield "alexnet", seed
            if self.renormalised(seed):
                yield "free", seed
            if seed in self.seeds[: self.budget.wide]:
                yield "wide", seed

    def renormalised(self, seed: int) -> int:
        """How often ZFNet's training from that seed scaled a filter back; it is finished."""
        return sum(epoch.renormalised for epoch in read_run(self.run("zfnet", seed)).history)

    def training(self, name: str) -> TrainStudy:
        """The training of a network of the plan, declared; of `wide` it is ZFNet's."""
        return TrainStudy(
            ARCHITECTURES[name], self.train.spec, self.val.spec,
            learning=options_for(self.recipe(name, self.seed), self.base),
        )  # fmt: skip

    def learned(self, name: str, seed: int) -> TrainingResult:
        """The finished training, begun or gone on with where it is not."""
        what = f"{name}, seed {seed} of {self.seeds[0]} to {self.seeds[-1]}"
        folder = self.run(name, seed)
        if name == "wide":  # no --arch names it
            return self.learn(self.architecture(name), self.recipe(name, seed), folder, what)
        context = self._learning(folder, what)
        running = replace(self.running, seed=seed)
        return _run_of(_kept(self.training(name)).run(replace(context, running=running)))

    def learn(
        self, architecture: Architecture, recipe: Recipe, folder: Path, what: str
    ) -> TrainingResult:
        """Train a network that no study names, or take its training up where it stopped.

        Args:
            architecture: The network.
            recipe: What it is trained with.
            folder: The run.
            what: What the training is called in progress.
        """
        context = self._learning(folder, what)
        return _run_of(_kept(TrainStudy()).train(architecture, recipe, context))

    def learn_else(
        self, study: TrainStudy, lesson: TrainingData, folder: Path, what: str
    ) -> TrainingResult:
        """Train as a study says, on other images than all networks of the plan."""
        return _run_of(_kept(study).run(replace(self._learning(folder, what), lesson=lesson)))

    def _learning(self, folder: Path, what: str) -> Context:
        return replace(self.context(folder, what=what), lesson=self.lesson)

    def run(self, name: str, seed: int | None = None) -> Path:
        """The folder of a training."""
        return self.out / "training" / f"{name}-{self.seed if seed is None else seed}"

    def model(self, name: str, seed: int | None = None) -> Model:
        """Open a trained network.

        Args:
            name: In the plan; `untrained` is ZFNet before its first step.
            seed: Of its training; by default the first.

        Raises:
            BadData: It was not trained.
        """
        folder = self.run("zfnet" if name == UNTRAINED else name, seed)
        if not (folder / WEIGHTS).exists():
            raise BadData(f"{folder} holds no trained network: the stage `training` failed")
        if name != UNTRAINED:
            return open_model(f"run:{folder}")
        first = kept_epochs(folder, read_run(folder))[0]
        return open_model(f"{self.architecture('zfnet').name}@{first.path}")

    def session(self, name: str, seed: int | None = None) -> Session:
        """A trained network, default of the first seed, exported, on the device."""
        key = name, self.seed if seed is None else seed
        if key not in self._sessions:
            model = self.model(*key)
            network = model.network().to(self.device)
            self._sessions[key] = Session(model, network, self.device, self.seed)
        return self._sessions[key]

    @cached_property
    def _sessions(self) -> dict[tuple[str, int], Session]:
        return {}

    def do(
        self,
        study: Study,
        out: Path | None = None,
        *,
        networks: Sequence[str] = ("zfnet",),
        beside: Path | None = None,
        what: str = "",
    ) -> Outcome:
        """Run a study on what is open here; it goes on where it was interrupted.

        Args:
            study: with the budget's numbers.
            out: the folder of its results; None keeps nothing.
            networks: of the first seed, by the plan's name: those that the study names.
            beside: the folder of its features and trainings; None is `out`.
            what: for `progress`, which part of the stage this is.
        """
        context = self.context(out, networks=networks, what=what)
        study.check()
        return study.run(replace(context, beside=beside))

    def context(
        self, out: Path | None = None, *, networks: Sequence[str] = (), what: str = ""
    ) -> Context:
        """Where and how a study runs here, with what is open; the arguments are those of `do`."""
        sessions = [self.session(name) for name in networks]
        return Context(
            out,
            self.running,
            resume=True,
            progress=self.say(what) if what else self.progress,
            opened={session.model.spec: session for session in sessions},
            sets=dict(self._sets),
        )

    @property
    def running(self) -> Running:
        """How its studies run."""
        device = Device.CUDA if self.device.type == "cuda" else Device.CPU
        return Running(device=device, workers=self.workers, seed=self.seed)

    def say(self, what: str) -> Progress | None:
        """Progress of a part."""
        return named(self.progress, what)


def _kept(study: TrainStudy) -> TrainStudy:
    """The study, with a checkpoint every minute."""
    return replace(study, storing=Storing(checkpoint_every=KEEPING.every))


def _run_of(outcome: Outcome) -> TrainingResult:
    return outcome.of(TrainedNetwork).run
