"""`convscope demo`: a network trained and looked into, offline, with a page that shows it all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.demo_pictures import draw_pictures
from convscope.cli.outputs import write_file
from convscope.cli.screen import Screen
from convscope.errors import FolderInUse
from convscope.experiments.learning import describe, epoch_line, workers_or
from convscope.experiments.options import Reading, Running
from convscope.experiments.session import Session, choose_device, open_session
from convscope.store.lock import LOCK, claimed
from convscope.version import __version__

if TYPE_CHECKING:
    from convscope.atlas.store import Atlas
    from convscope.images.datasets import SceneImages
    from convscope.training.checkpoint import Epoch

__all__ = ["demo"]

NETWORK = "zfnet-small"
RECORD, RUN, ATLAS, PICTURES = "demo.json", "zfnet", "atlas", "pictures"


@dataclass(frozen=True)
class DemoSize:
    """How much a demo does.

    Attributes:
        scenes: how many the network learns from.
        epochs: of its training.
        looked_at: how many other scenes the atlas looks at.
    """

    scenes: int
    epochs: int
    looked_at: int


FULL, QUICK = DemoSize(6000, 8, 1200), DemoSize(3000, 4, 240)


def demo(
    running: Running,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="A new folder, or one of an earlier demo.")
    ] = Path("runs/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A quarter of the work, and a worse network.")
    ] = False,
) -> None:
    """Train a small ZFNet on rendered scenes, then look inside it.

    A few minutes, offline: training, the table of layers, the atlas, projections, occlusion maps,
    and a page that goes through them. What an interrupted demo had finished is kept.

    Examples:

        convscope demo
        convscope demo --quick --out /tmp/demo
    """
    screen = Screen(running.as_json)
    size = QUICK if quick else FULL
    if out.exists() and not out.is_dir():
        raise FolderInUse(f"--out {out} is a file: give a new folder")
    with claimed(out):
        _demo(screen, out, size, running)


def _demo(screen: Screen, out: Path, size: DemoSize, running: Running) -> None:
    """Make the demo in a folder that is held, or go on with it."""
    page = out / "index.html"
    record = _claim(out, {**asdict(size), "seed": running.seed})
    if record.get("finished"):
        screen.say(f"{out} holds a finished demo; delete it to make another.", f"Open {page}")
        screen.result(record["facts"])
        return
    choose_device(running.device)
    try:
        facts = _make(screen, out, size, running)
    except KeyboardInterrupt:
        screen.warn("what was finished is kept: the same command goes on from there")
        raise
    _write_record(out, {**record, "finished": True, "facts": facts})
    screen.say("", f"Open {page}")
    screen.result(facts)


def _make(screen: Screen, out: Path, size: DemoSize, running: Running) -> dict[str, Any]:
    """Make everything that the page shows, and the page.

    Returns:
        What a program is told of it, JSON-able.
    """
    history = _train(screen, out / RUN, size, running)
    session = open_session(f"run:{out / RUN}", Reading(), running)
    scenes = _scenes(f"scenes:val:{size.looked_at}", session.model.input_shape[-1], running.seed)
    atlas = _write_atlas(screen, session, scenes, out / ATLAS, running)
    occluded = draw_pictures(screen, session, scenes, atlas, out / PICTURES)
    facts = {
        "convscope": __version__,
        "out": str(out),
        "page": str(out / "index.html"),
        "model": session.model.spec,
        "weights_sha256": session.model.weights_sha256,
        "history": [asdict(epoch) for epoch in history],
        "occlusion": occluded,
    }
    _write_page(out, session, atlas, size, facts)
    return facts


def _claim(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Take a folder that is new or holds a demo of these settings.

    Returns:
        What its demo.json says.

    Raises:
        FolderInUse: it holds something else.
    """
    path = out / RECORD
    if path.exists():
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            same = record["settings"] == settings
        except (ValueError, KeyError, TypeError, RecursionError):
            raise FolderInUse(f"{path} cannot be read: delete {out}, or give another") from None
        if not same:
            raise FolderInUse(
                f"{out} holds a demo of another size or seed: delete it, or give another --out"
            )
        return record
    if any(entry.name != LOCK for entry in out.iterdir()):
        raise FolderInUse(f"{out} is not empty and holds no demo: give a new folder with --out")
    record = {"settings": settings, "finished": False}
    _write_record(out, record)
    return record


def _write_record(out: Path, record: dict[str, Any]) -> None:
    write_file(out / RECORD, json.dumps(record, indent=1).encode())


def _scenes(spec: str, side: int, seed: int) -> SceneImages:
    from convscope.images.datasets import SceneImages

    return SceneImages(spec, size=side, seed=seed)


def _train(screen: Screen, folder: Path, size: DemoSize, running: Running) -> Sequence[Epoch]:
    """Train the network into a folder, unless a trained one is there; its epochs."""
    from convscope.execution import Execution
    from convscope.models.architectures import architecture_named
    from convscope.training.checkpoint import RunStatus, read_run
    from convscope.training.loop import CheckpointPolicy, train
    from convscope.training.recipe import SMALL

    if (folder / "run.json").exists():
        run = read_run(folder)
        if run.status is RunStatus.FINISHED:
            screen.say(f"1/3  {folder} is trained already")
            return run.history
    recipe = replace(SMALL, epochs=size.epochs, seed=running.seed)
    side = architecture_named(NETWORK).input_size
    screen.say(f"1/3  training {NETWORK} on {size.scenes} rendered scenes: {describe(recipe)}")
    with screen.progress() as progress:
        trained = train(
            NETWORK,
            (
                _scenes(f"scenes:train:{size.scenes}", side, running.seed),
                _scenes(f"scenes:val:{size.looked_at}", side, running.seed),
            ),
            recipe,
            folder,
            keeping=CheckpointPolicy(resume=True),
            how=Execution(choose_device(running.device), workers_or(running), progress=progress),
        )
    screen.say(*(f"     {epoch_line(epoch)}" for epoch in trained.history))
    return trained.history


def _write_atlas(
    screen: Screen, session: Session, scenes: SceneImages, folder: Path, running: Running
) -> Atlas:
    """The atlas of the scenes, with its page."""
    from convscope.atlas.build import Search, write_atlas
    from convscope.atlas.gallery import write_gallery
    from convscope.atlas.store import open_atlas
    from convscope.execution import Execution
    from convscope.report.page import write_page

    screen.say(f"2/3  atlas: what excites each feature map, over {len(scenes)} other scenes")
    with screen.progress() as progress:
        write_atlas(
            session.model, scenes, folder,
            Search(batch_size=running.batch_size, workers=running.workers),
            resume=True, how=Execution(session.device, progress=progress),
        )  # fmt: skip
        write_gallery(
            session.model, scenes, open_atlas(folder), batch_size=running.batch_size,
            how=Execution(session.device, running.workers, progress=progress),
        )  # fmt: skip
    write_page(folder)
    return open_atlas(folder)


def _write_page(
    out: Path, session: Session, atlas: Atlas, size: DemoSize, facts: dict[str, Any]
) -> None:
    """Write the demo's page."""
    from convscope.report.demo_page import write_tour

    convolutions = session.network.conv_layers()
    layers = [row for row in session.network.table() if row["name"] in convolutions]
    write_tour(
        out,
        {
            **facts,
            "scenes": size.scenes,
            "looked_at": size.looked_at,
            "classes": session.model.classes,
            "layers": layers,
            "maps": sum(record.channels for record in atlas.manifest.layers),
            "input": session.model.input_shape,
            "parameters": atlas.manifest.model.parameters,
            "atlas": f"{ATLAS}/index.html",
            "pictures": PICTURES,
        },
    )
