"""`convscope ensemble`: several networks' outputs averaged, the paper's Table 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from convscope.errors import BadOption
from convscope.experiments.options import CacheOption, Reading
from convscope.experiments.study import Context, Outcome, Study
from convscope.version import __version__

__all__ = ["EnsembleStudy"]


@dataclass(frozen=True)
class EnsembleStudy(Study):
    """Average the softmax outputs of several networks, and see what that gains.

    The error of each network, of the average of those of one architecture, and of all; how it
    falls with the number of networks; on how many images any two differ; and whether the average
    beats the best of them by more than chance (McNemar's test).

    Examples:

        convscope ensemble runs/a runs/b runs/c --data scenes:val --out ensemble
        convscope ensemble mynet:build@a.pth mynet:build@b.pth --data photos/ --input 3x96x96
            --preprocess unit --out ensemble
        convscope ensemble ablation/runs/zfnet-small_seed=* --data photos/val --crops 10 --out ten
    """

    verb = "ensemble"
    out_help = "A new folder: result.json and ensemble.png."

    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN ...",
            help="Folders of `convscope train` (or of an ablation's runs/), or any MODEL of the "
            "same classes.",
            show_default=False,
        ),
    ]
    data: Annotated[
        str,
        typer.Option(metavar="DATA", help="Labelled images to test on.", show_default=False),
    ]
    crops: Annotated[
        int | None,
        typer.Option(
            metavar="1|10",
            help="10: also average over the corners, the centre and their mirror images. Default: "
            "10 where every network was trained on crops.",
            show_default=False,
        ),
    ] = None
    cache: CacheOption = None
    reading: Reading = field(default_factory=Reading)

    def check(self) -> None:
        if self.crops not in (None, 1, 10):
            raise BadOption(f"--crops {self.crops}: give 1 or 10")

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.ensemble.averaging import ensemble
        from convscope.experiments.learning import workers_or
        from convscope.experiments.session import open_read

        device, seed = context.device, context.running.seed
        specs = [f"run:{spec}" if Path(spec).is_dir() else spec for spec in self.networks]
        models = [open_read(spec, self.reading, seed) for spec in specs]
        images = context.images(self.data, size=models[0].input_shape[1])
        crops = self.crops
        if crops is None:
            crops = 10 if all(model.preprocess.crops for model in models) else 1
        context.facts(
            {
                "networks": f"{len(models)}: {', '.join(self.networks)}",
                "images": f"{images.spec}: {len(images)}",
                "crops": "the centre" if crops == 1 else "the centre, and 10 crops averaged",
                "device": str(device),
            }
        )
        found = ensemble(
            models, images, crops=crops, device=device, workers=workers_or(context.running),
            cache=self.cache, out=context.out, resume=context.resume, seed=seed,
            ranks=context.together(), progress=context.progress,
        )  # fmt: skip
        about = {
            "convscope": __version__,
            "networks": {model.spec: model.weights_sha256 for model in models},
            "device": str(device),
            "seed": seed,
        }
        return Outcome(found, about)
