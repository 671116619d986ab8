"""`convscope probe`: what each layer's features are worth (the paper's Table 7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.features import (
    ClassifierName,
    DropOption,
    FeatureReading,
    Measuring,
    Overlap,
    TestOption,
    open_reader,
    open_sets,
    read_several,
    say_precisions,
)
from convscope.cli.outputs import leave_study
from convscope.cli.screen import Screen
from convscope.experiments.options import (
    DataArgument,
    ModelArgument,
    Reading,
    ResumeOption,
    Running,
)
from convscope.experiments.session import open_session
from convscope.text import listed, table

if TYPE_CHECKING:
    from convscope.experiments.transfer.layers import LayerProbe
    from convscope.experiments.transfer.multilabel import MultiTransfer

__all__ = ["probe"]

PER_CLASS = 30


def probe(
    model: ModelArgument,
    data: DataArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="A new folder: result.json and probe.png.", show_default=False
        ),
    ],
    reading: Reading,
    features: FeatureReading,
    measuring: Measuring,
    overlap: Overlap,
    running: Running,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="These layers. Default: those that everything passes through, except the last.",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=f"Images per class to learn from. Default: {PER_CLASS}.",
            show_default=False,
        ),
    ] = None,
    test: TestOption = None,
    drop: DropOption = None,
    resume: ResumeOption = False,
) -> None:
    """See how much each layer knows: a softmax and a linear SVM on every layer's features.

    The curve over depth of the paper's feature analysis. All layers are read in one pass, and
    judged on the same images in the same folds.

    Examples:

        convscope probe run:runs/demo/zfnet scenes:transfer --out depth
        convscope probe torchvision:vgg16@vgg16.pth voc:VOCdevkit/VOC2012:train
            --test voc:VOCdevkit/VOC2012:val --out depth
    """
    overlap.check()
    names = None if layers is None else listed(layers, "--layers")
    screen = Screen(running.as_json)
    scope = open_session(model, reading, running)
    images, tests = open_sets(data, test, drop, scope)
    facts = {**scope.facts(), "images": f"{images.spec}: {len(images)}"}
    screen.facts(facts if tests is None else {**facts, "test": f"{tests.spec}: {len(tests)}"})
    subtitle = f"{scope.title()} · {Path(images.spec).name}"
    record = {**scope.record(), "images": images.spec, "against": overlap.against}
    if images.multi_label:
        from convscope.network.hidden import hidden_layers

        parts = measuring.parts(images, tests, per_class=per_class)
        several = read_several(
            screen, scope, (images, tests), out, features, running,
            names or hidden_layers(scope.network), parts, overlap, resume,
        )  # fmt: skip
        _leave_several(screen, several, out, overlap, record, subtitle)
        return
    from convscope.experiments.transfer.layers import probe as study
    from convscope.report.probe_figure import probe_figure

    protocol = measuring.protocol((per_class or PER_CLASS,), ClassifierName.BOTH, running.seed)
    with screen.progress(out) as progress:
        found = study(
            open_reader(scope, features, running, out, progress),
            images,
            protocol,
            layers=names,
            test=tests,
            duplicates=overlap.search(tests or images, scope, running, progress),
            drop_duplicates=overlap.drop_duplicates,
            out=out,
            resume=resume,
        )
    figure = probe_figure(found, title="Feature analysis", subtitle=subtitle)
    screen.say("", *_words(found))
    overlap.say(screen, found.duplicates)
    for name in found.skipped:
        screen.warn(f"skipped {name}: it could not be read")
    leave_study(screen, out, {"probe": figure}, found.to_dict(), record)


def _leave_several(
    screen: Screen,
    found: MultiTransfer,
    out: Path,
    overlap: Overlap,
    record: dict[str, object],
    subtitle: str,
) -> None:
    """Of images that show several classes each."""
    from convscope.report.probe_figure import depth_figure

    figure = depth_figure(found, title="Feature analysis", subtitle=subtitle)
    say_precisions(screen, found)
    overlap.say(screen, found.duplicates)
    leave_study(screen, out, {"probe": figure}, found.to_dict(), record)


def _words(found: LayerProbe) -> list[str]:
    """The table, and whether deeper is better here."""
    from convscope.experiments.wording import plus_minus

    rows = [
        [
            layer.name,
            f"{layer.length:,} ({layer.pooling})",
            *(plus_minus(points[i].mean, points[i].std) for points in found.points.values()),
        ]
        for i, layer in enumerate(found.layers)
    ]
    lines = [
        f"accuracy, mean over {len(found.classes)} classes and {found.protocol.folds} folds ± "
        f"standard deviation, %, from {found.protocol.per_class[0]} images per class; guessing "
        f"{100 * found.chance:.1f}",
        *table(["layer", "features", *found.points], rows),
        "",
    ]
    for classifier, rise in found.rises.items():
        best = found.best(classifier)
        lines.append(
            f"{classifier}: best on {best.layer}, {100 * best.mean:.1f}; deeper is better in "
            f"{(1 + rise) / 2:.0%} of the pairs of layers"
        )
    return lines
