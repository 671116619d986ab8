"""Kills, signals, failing writes and second comers: what is kept goes on to the same bytes."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

import trainee
from atlas.conftest import tiny_model
from campaign.row import Row
from campaign.stores import made
from convscope.atlas import render as depict
from convscope.atlas.build import build_atlas
from convscope.cli.app import main
from convscope.errors import ConvscopeError
from convscope.images.datasets import open_images
from convscope.scan import engine
from convscope.store.lock import LOCK
from folders import content

# ---- what is interrupted ------------------------------------------------------------------------


def _atlas(out: Path) -> None:
    images = open_images(made() / "pictures")
    build_atlas(
        tiny_model(), images, out, layers=["0", "3"], top=3, batch_size=4, workers=1, resume=True
    )


def _training(out: Path) -> None:
    trainee.learn(out, every=0.0)


def _verb(*words: str) -> Callable[[Path], None]:
    def run(out: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            code = main([*words, "--device", "cpu", "--out", str(out), "--resume"])
        if code:
            raise ConvscopeError(f"exit code {code}")

    return run


WORKS: dict[str, Callable[[Path], None]] = {
    "atlas": _atlas,
    "train": _training,
    "invariance": _verb("invariance", "zfnet-small", "scenes:val:2", "--count", "1"),
}
"""What is interrupted, by its verb."""
VOLATILE = ("run.json", "metrics.jsonl", "result.json", LOCK)
"""Files that hold seconds, and are compared without them by the tests of their verbs."""


@cache
def whole(name: str) -> dict[str, str]:
    """The files of the work that was never interrupted."""
    _every_step()
    out = made() / f"whole-{name}"
    trainee.in_a_child(lambda: WORKS[name](out))
    return _kept(out)


def _kept(out: Path) -> dict[str, str]:
    found = content(out).items()
    return {name: sha for name, sha in found if Path(name).name not in VOLATILE}


def _every_step() -> None:
    """Keep what is there after every batch, and give every layer its own tiles."""
    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = depict.CHECKPOINT_SECONDS = 0.0
    depict.TILE_BYTES = 1


def _prepared() -> None:
    for name in WORKS:
        whole(name)


def _prepared_writes() -> None:
    _prepared()
    _writes()


def _forked(work: Callable[[], None]) -> int:
    """A child of this process that does it: 0, 3 where a line is said, 4 where anything else."""
    child = os.fork()
    if child:
        return child
    code = 4
    try:
        sys.stderr = io.StringIO()
        work()
        code = 0
    except (ConvscopeError, OSError) as error:
        code = 3
        if os.environ.get("CAMPAIGN_SHOWS"):
            os.write(
                2, f"{sys.stderr.getvalue()[-500:]} {type(error).__name__}: {error}\n".encode()
            )
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _finished(name: str, out: Path) -> str | None:
    """Go on to the end: the same bytes."""
    child = _forked(lambda: WORKS[name](out))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        return f"{name}: it cannot be gone on with ({code})"
    found, wanted = _kept(out), whole(name)
    if found != wanted:
        differing = sorted(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
        return f"{name}: other bytes in {', '.join(differing[:5])}"
    return None


# ---- kill -9 ------------------------------------------------------------------------------------


def kill(seed: int, folder: Path) -> str | None:
    """Killed at random moments, three times in a row, and then gone on with to the end."""
    dice, name = random.Random(seed), list(WORKS)[seed % len(WORKS)]
    for _ in range(3):
        child = _forked(lambda: _slow(name, folder / "out"))
        time.sleep(dice.uniform(0.0, 1.0) ** 2 * 3)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return _finished(name, folder / "out")


def _slow(name: str, out: Path) -> None:
    """The work, in whose writings a kill is likely to fall."""
    sync = os.fsync
    os.fsync = lambda number: (sync(number), time.sleep(0.01))  # type: ignore[assignment,func-returns-value]
    WORKS[name](out)


# ---- writes that fail ---------------------------------------------------------------------------

NUMBERS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)


def write_fails(seed: int, folder: Path) -> str | None:
    """One call of open for writing, of fsync or of rename fails, or it and all after it."""
    dice, every = random.Random(seed), _writes()
    name, moment = every[seed % len(every)]
    number, ever = dice.choice(NUMBERS), bool(dice.randrange(2))
    out = folder / "out"
    child = _forked(lambda: (_failing(moment, number, ever), WORKS[name](out))[1])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, 3):
        return f"{name}: call {moment} fails with {errno.errorcode[number]}: ended with {code}"
    wrong = _finished(name, out)
    return wrong and f"call {moment} failed with {errno.errorcode[number]}: {wrong}"


@cache
def _writes() -> list[tuple[str, int]]:
    """Every call of every work that may fail, by its name and number, in an order drawn once."""
    every = []
    for name, work in WORKS.items():
        told = made() / f"writes-{name}"

        def count(work: Callable[[Path], None] = work, told: Path = told) -> None:
            calls: list[object] = []
            _before_writes(calls.append)
            work(told.with_suffix(".out"))
            os.write(os.open(told, os.O_CREAT | os.O_WRONLY), str(len(calls)).encode())

        os.waitpid(_forked(count), 0)
        every += [(name, number) for number in range(1, 1 + int(told.read_text()))]
    random.Random(0).shuffle(every)
    return every


def _failing(moment: int, number: int, ever: bool) -> None:
    """Let calls to the disk fail from the Nth on, or only that one."""
    calls = 0

    def maybe(path: object) -> None:
        nonlocal calls
        calls += 1
        if calls == moment or (ever and calls > moment):
            raise OSError(number, os.strerror(number), path)

    _before_writes(maybe)


def _before_writes(act: Callable[[object], None]) -> None:
    """Do something before each call of open for writing, of fsync and of rename, with its path."""
    sync, replace, opened = os.fsync, os.replace, io.open

    def fsync(descriptor: int) -> None:
        act(None)
        sync(descriptor)

    def moved(old: object, new: object, **more: object) -> None:
        act(str(new))
        replace(old, new, **more)  # type: ignore[call-overload]

    def open_(file: object, mode: str = "r", *rest: object, **more: object) -> object:
        if set(mode) & set("wax+") and not str(file).startswith(("/dev", "/proc")):
            act(str(file))
        return opened(file, mode, *rest, **more)  # type: ignore[call-overload]

    os.fsync, os.replace = fsync, moved  # type: ignore[assignment]
    io.open = builtins.open = open_  # type: ignore[assignment]


# ---- processes on one folder --------------------------------------------------------------------


def together(seed: int, folder: Path) -> str | None:
    """Two or three processes begin at once: one works, the others get one line, or wait none."""
    name, out = list(WORKS)[seed % len(WORKS)], folder / "out"
    start = time.monotonic() + 0.2

    def work() -> None:
        time.sleep(max(0.0, start - time.monotonic()))
        WORKS[name](out)

    children = [_forked(work) for _ in range(2 + seed % 2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if 0 not in codes or not set(codes) <= {0, 3}:
        return f"{name}: they ended with {codes}"
    return _finished(name, out)


# ---- SIGINT and SIGTERM -------------------------------------------------------------------------

LINES = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("told to end (SIGTERM)", 143)}
START = (
    "import os, pathlib, runpy, sys; from convscope import ending; listen = ending.listen\n"
    "ending.listen = lambda: (listen(), pathlib.Path(os.environ['READY']).touch())\n"
    "sys.argv = ['convscope', *sys.argv[1:]]\n"
    "runpy.run_module('convscope', run_name='__main__', alter_sys=True)"
)


def told(seed: int, folder: Path) -> str | None:
    """A verb is told to end at a random moment: one line, soon, and what is kept goes on."""
    dice, out, ready = random.Random(seed), folder / "out", folder / "ready"
    number = dice.choice(list(LINES))
    words = ["train", "--arch", "zfnet-small", "--data", "scenes", "--out", str(out), "--resume"]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "READY": str(ready)},
    )  # fmt: skip
    while not ready.exists():
        time.sleep(0.01)
    time.sleep(dice.uniform(0, 12))
    process.send_signal(number)
    before = time.monotonic()
    said = process.communicate(timeout=60)[1].splitlines()
    took = time.monotonic() - before
    line, code = LINES[number]
    if process.returncode != code:
        return f"ended with {process.returncode}: {said[-3:]}"
    if any("Traceback" in one for one in said) or said[-1] != f"convscope: {line}":
        return f"said {said[-3:]}"
    if took > 1 + 0.5 * os.getloadavg()[0]:  # others may be using the processor
        return f"took {took:.1f} s"
    return None


ROWS = [
    Row(
        "kill",
        "kill -9 at random moments, three in a row, then resumed: " + ", ".join(WORKS),
        "the same bytes",
        350,
        kill,
        _prepared,
        300,
        least=0,
    ),
    Row(
        "writes",
        "the Nth write fails (ENOSPC, EIO, EROFS, EDQUOT), for every N, then resumed",
        "one line, the same bytes",
        440,
        write_fails,
        _prepared_writes,
        300,
        least=1,
    ),
    Row(
        "together",
        "two and three processes on one folder",
        "one works, the others one line",
        100,
        together,
        _prepared,
        300,
        least=2,
    ),
    Row(
        "told",
        "SIGINT and SIGTERM at random moments",
        "one line, ≤ 1 s on an idle machine",
        200,
        told,
        seconds=300,
        least=0,
    ),
]
