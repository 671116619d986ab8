"""`convscope evolve`: features of a training run while they grow, the paper's Fig. 4."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.experiments.options import DataArgument, LayersOption, RulesName, RulesOption
from convscope.experiments.study import Context, Outcome, Study
from convscope.text import split_integers, split_names
from convscope.version import __version__

if TYPE_CHECKING:
    from convscope.images.image_set import ImageSet
    from convscope.training.checkpoint import Run

__all__ = ["EvolveStudy"]


@dataclass(frozen=True)
class EvolveStudy(Study):
    """Watch a network's features grow over the kept epochs of its training.

    At each of them, what excites a random subset of the feature maps most among all images, and
    its projection; a mark where another image takes the lead; and the epoch at which each layer
    settles. A folder with a figure, a page with a slider (index.html) and the numbers. Several
    processes share the images, to the same bytes, with torchrun --nproc-per-node N -m convscope
    evolve.

    Examples:

        convscope evolve runs/demo/zfnet scenes:train --out evolution
        convscope evolve runs/photos photos/train --layers conv1,conv5 --maps 8 --out evolution
    """

    verb = "evolve"

    run_folder: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A folder of `convscope train`, finished or not.",
            show_default=False,
        ),
    ]
    data: DataArgument
    layers: LayersOption = None
    maps: Annotated[
        int, typer.Option(min=1, max=32, metavar="N", help="Feature maps shown of each layer.")
    ] = 5
    measured: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Feature maps of each layer that are measured."),
    ] = 64
    epochs: Annotated[
        str | None,
        typer.Option(metavar="E,E,...", help="These kept epochs only. Default: all of them."),
    ] = None
    threshold: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Similarity to the last epoch from which on a map counts as settled.",
        ),
    ] = 0.9
    rules: RulesOption = RulesName.DECONVNET

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.evolution.growth import evolve
        from convscope.methods.rules import rules_named
        from convscope.training.checkpoint import read_run

        running, device = context.running, context.device
        folder = Path(self.run_folder.removeprefix("run:")).expanduser()
        told = read_run(folder)
        images = context.images(self.data, size=told.architecture.input_size)
        context.facts(
            {
                "run": f"{folder}: {told.architecture.name}, {told.status}",
                "images": f"{images.spec}: {len(images)}, {_learned(told, images)}",
                "rules": self.rules,
                "device": str(device),
            }
        )
        evolution = evolve(
            folder,
            images,
            layers=split_names(self.layers, "--layers"),
            maps=self.maps,
            measured=self.measured,
            epochs=None
            if self.epochs is None
            else split_integers(self.epochs, "--epochs", least=0),
            threshold=self.threshold,
            rules=rules_named(self.rules),
            out=context.out,
            resume=context.resume,
            seed=running.seed,
            batch_size=running.batch_size,
            workers=running.workers,
            device=device,
            progress=context.progress,
            ranks=context.together(),
        )
        about = {
            "convscope": __version__,
            "recipe": told.recipe.to_dict(),
            "learned_from": dict(told.data),
            "images_identity": images.identity(),
            "device": str(device),
            "seed": running.seed,
        }
        subtitle = (
            f"{evolution.run} · {evolution.images:,} images of {evolution.data} · {evolution.rules}"
        )
        return Outcome(evolution, about, subtitle)


def _learned(run: Run, images: ImageSet) -> str:
    learned = run.data.get("identity") == images.identity()
    return "the set it was trained on" if learned else "not the set it was trained on"
