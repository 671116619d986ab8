"""`convscope atlas` by several processes: as torchrun starts them, and ends them after a kill."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch

import torchrun
import warm
from folders import content
from forks import convscope_together

ARGUMENTS = (
    "atlas", "mynet:build@mynet.safetensors", "scenes:val:48",
    "--input", "3x96x96", "--preprocess", "unit", "--device", "cpu", "--batch-size", "8",
)  # fmt: skip
TORCHRUN = (
    torchrun.__file__, "--standalone", "--nproc-per-node", "2",
    "--monitor-interval", "5",  # a process whose peer was killed says so before torchrun ends it
    "-m", "convscope",
)  # fmt: skip


def worker(torchrun: int, rank: int) -> int:
    """The process of a rank, a child of torchrun."""
    children = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    return sorted(map(int, children))[rank]


def lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("convscope: ")]


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds a process by /proc")
def test_torchrun_writes_the_same_atlas_also_after_a_kill_and_one_process_speaks(
    place: Path, convscope
):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert convscope(*ARGUMENTS, "--out", "alone").code == 0
    torch.set_num_threads(threads)
    here = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = warm.start(*TORCHRUN, *ARGUMENTS, "--out", "together", env=here)
    while not (place / "together/work/state.safetensors").exists():
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    os.kill(worker(run.pid, 1), signal.SIGKILL)
    _, errors = run.communicate()
    assert run.wait() != 0
    assert len(lines(errors)) == 1 and "--resume" in lines(errors)[0], errors
    first, second = convscope_together(2, *ARGUMENTS, "--out", "together", "--resume")
    assert first.returncode == second.returncode == 0
    assert not lines(first.stderr + second.stderr), first.stderr + second.stderr
    words = first.stdout + second.stdout
    assert words.count("Open together") == 1 and "processes  2" in words
    took = re.compile(r"in \d+ (?:seconds|minutes)")
    for folder in ("alone", "together"):
        page = place / folder / "index.html"
        page.write_text(took.sub("", page.read_text()))
    assert content(place / "together") == content(place / "alone")
