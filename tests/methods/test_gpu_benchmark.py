"""benchmarks/gpu.py on the CPU: its checks in this process hold, and tell when they do not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def gpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import gpu

        yield gpu
        for name in ("gpu", "measure"):
            sys.modules.pop(name, None)


@pytest.fixture
def machine(gpu, tmp_path):
    return gpu.Machine(torch.device("cpu"), tmp_path, quick=True)


@pytest.mark.filterwarnings("ignore")  # Captum's own
def test_the_checks_hold_on_the_cpu(gpu, machine):
    for check in (gpu.values, gpu.windows, gpu.increments):
        assert check(machine).holds, check.__name__


def test_numbers_that_are_off_are_told(gpu, machine, monkeypatch, capsys):
    real = gpu.sweep

    def wrong(*given, method="incremental", **more):
        found = real(*given, method=method, **more)
        if method == "full":
            found.logits[0, 0, 0] += 1e-6 * found.logits.abs().max()
        return found

    monkeypatch.setattr(gpu, "sweep", wrong)
    assert not gpu.increments(machine).holds
    monkeypatch.setattr(gpu, "CHECKS", (gpu.increments,))
    with pytest.raises(SystemExit):
        gpu.checked(machine)
    assert capsys.readouterr().out.startswith("FAILED")


def test_nothing_is_known_of_a_number_that_is_nan(gpu):
    assert not gpu.Check("", float("nan"), 1.0).holds


def test_without_a_gpu_it_says_how_it_is_tried(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="--device cpu"):
        gpu.main([])
