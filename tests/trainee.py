"""A small training that tests start in processes of its own, to kill them.

    python tests/trainee.py kills RUN       killed again and again at random moments, to its end
    python tests/trainee.py ranks FOLDER    two processes: whole, killed and resumed, one failing

This process imports torch once and forks; the children are killed with SIGKILL. Everything that is
random in a training takes part: crops, flips, dropout; the rate falls by plateaus.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from convscope.distributed import processes
from convscope.errors import ConvscopeError
from convscope.execution import Execution
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.architectures import ARCHITECTURES
from convscope.training.checkpoint import STATE
from convscope.training.loop import CheckpointPolicy, TrainingResult, train_on
from convscope.training.pictures import LabelledPictures, mean_picture
from convscope.training.recipe import SMALL, Recipe, Schedule
from convscope.training.trainer import Trainer
from convscope.training.training_data import TrainingData
from forks import become, free_port

TINY = (
    replace(ARCHITECTURES["zfnet-small"], input_size=28, dropout=0.3)
    .with_maps(dict.fromkeys(range(1, 6), 8))
    .with_units(16)
)
RECIPE = replace(
    SMALL,
    epochs=4,
    batch_size=8,
    learning_rate=0.02,
    schedule=Schedule.PLATEAU,
    patience=1,
    radius=0.05,
    crops=True,
    flips=True,
    keep_epochs=(0, 1, 3),
)
PRETRAINED = replace(RECIPE, epochs=1, pretrain=1, corruption=0.0)
STEPS = 8  # per epoch: the last has 4 of the 60 pictures


def lesson(count: int = 60, seed: int = 0) -> TrainingData:
    """Noise with a class in its brightness: a training that takes a moment."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randint(0, 160, (count, 32, 32, 3), generator=generator)
    pixels = (noise + 40 * labels[:, None, None, None]).to(torch.uint8)
    names = ("dark", "grey", "light")
    learned = LabelledPictures(pixels, labels, names, "noise", f"{seed:064}")
    tested = LabelledPictures(pixels[:21], labels[:21], names, "noise", f"{seed:064}")
    mean = mean_picture(pixels)
    centre = mean[2:30, 2:30].permute(2, 0, 1).contiguous().numpy()
    seen = Preprocess(TINY.input_shape, Scaling.PAPER, Fit.CROP, centre)
    return TrainingData(learned, tested, mean, seen)


def learn(out: Path, recipe: Recipe = RECIPE, *, every: float = 300.0) -> TrainingResult:
    """The training in this process; resumed if it was begun."""
    return train_on(TINY, lesson(), recipe, out, keeping=CheckpointPolicy(resume=True, every=every))


def forked(work: Callable[[], object]) -> int:
    """The process that does it; it exits with 0, or 1 if a ConvscopeError was raised."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except ConvscopeError as error:
        if not getattr(error, "said", False):
            sys.stderr.write(f"trainee: {error}\n")  # in one write, whoever else speaks
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def in_a_child(work: Callable[[], object]) -> None:
    """Do it in a process of its own: where torch is built for GPUs, none that forks may learn."""
    assert os.waitpid(forked(work), 0)[1] == 0


def kills(out: Path, seed: int = 0) -> dict[str, int]:
    """Killed at random moments, in a writing that is slow enough to be met."""
    dice, count, met, patience = random.Random(seed), 0, 0, 0.15

    def slow() -> None:
        whole = os.fsync
        os.fsync = lambda number: (whole(number), time.sleep(0.004))  # type: ignore[assignment]
        learn(out, every=0.0)

    while True:
        child = forked(slow)
        time.sleep(dice.uniform(0.02, patience))
        ended, code = os.waitpid(child, os.WNOHANG)
        if ended:
            return {"kills": count, "while writing": met, "code": os.waitstatus_to_exitcode(code)}
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        count, patience = count + 1, patience + 0.005  # some step forward is certain in the end
        met += any(out.glob(".*.tmp"))


def ranks(folder: Path) -> dict[str, object]:
    """Trainings by two processes."""
    plain = replace(RECIPE, dropout=0.0)

    def both(name: str, recipe: Recipe = RECIPE, *, killed: bool = False, fails: bool = False):
        port = free_port()
        children = [
            forked(lambda rank=rank: _as_rank(rank, port, folder / name, recipe, fails))
            for rank in (0, 1)
        ]
        if killed:  # once there is something to go on with
            while not (folder / name / STATE).exists() and not any(map(_ended, children)):
                time.sleep(0.005)
            for child in children:
                os.kill(child, signal.SIGKILL)
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    return {
        "plain": both("plain", plain),
        "whole": both("whole"),
        "killed": both("killed", killed=True),
        "resumed": both("killed"),
        "failed": both("failed", fails=True),
        "pretrained": both("pretrained", PRETRAINED),
    }


def _ended(child: int) -> bool:
    """Whether a child has ended, which stays to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _as_rank(rank: int, port: int, out: Path, recipe: Recipe, fails: bool) -> None:
    become(rank, 2, port)
    with processes(torch.device("cpu")) as joined:
        if fails and rank == 1:
            whole = Trainer.step

            def failing(self, batch, epoch, rate):
                if batch.place == 3:
                    raise ConvscopeError("process 1: the disk is full")
                return whole(self, batch, epoch, rate)

            Trainer.step = failing  # type: ignore[method-assign]
        keeping = CheckpointPolicy(resume=True, every=0.0)
        train_on(TINY, lesson(), recipe, out, keeping=keeping, how=Execution(ranks=joined))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"kills": kills, "ranks": ranks}[sys.argv[1]](Path(sys.argv[2]))))
