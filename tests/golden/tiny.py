"""The program made small: the one place where the golden files know how the code is cut.

`tiny()` gives zfnet-small and alexnet-small a few maps and a small input, and the demo and the
paper a small budget. All else in this folder knows the command line and the public names only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import torch

from convscope.cli import demo
from convscope.experiments.paper import plan
from convscope.models.architectures import ARCHITECTURES, Architecture

SIDE, MAPS, UNITS = 36, 6, 16
DEMO = demo.DemoSize(scenes=24, epochs=1, looked_at=12)
PAPER = replace(
    plan.QUICK, images=96, validation=48, epochs=2, kept=(0, 2), seeds=2, wide=1, folder_epochs=1,
    looked_at=12, evolved=12, measured=4, diagnosed=12, occluded=2, turned=1, steps=2, faces=2,
    places=2, ablated_epochs=1, ablated_seeds=1, ablated_rows=(), transferred=48, per_class=(1, 2),
    folds=2, tested=1, scratch_epochs=1, several=36, probed=1,
)  # fmt: skip


@contextmanager
def tiny() -> Iterator[None]:
    """Everything in here is small, and computed by one thread."""
    threads = torch.get_num_threads()
    small = {name: _small(ARCHITECTURES[name]) for name in ("zfnet-small", "alexnet-small")}
    torch.set_num_threads(1)
    try:
        with (
            mock.patch.dict(ARCHITECTURES, small),
            mock.patch.object(demo, "QUICK", DEMO),
            mock.patch.object(plan, "QUICK", PAPER),
        ):
            yield
    finally:
        torch.set_num_threads(threads)


def _small(known: Architecture) -> Architecture:
    maps = dict.fromkeys(range(1, 6), MAPS)
    return replace(known.with_maps(maps).with_units(UNITS), name=known.name, input_size=SIDE)
