"""The checks of benchmarks/coverage.py: what is wrong is told, and what is right is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def checks() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import coverage_checks

        yield coverage_checks
        for name in ("coverage_checks", "coverage_table", "eager"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(720, 3))
    return nn.Sequential(*layers).double().eval()


def wrong(checks: Any, net: nn.Module) -> list[str]:
    found = checks.checks(net, checks.noise(2, 3, 16), "CNN")
    told: list[str] = checks.coverage_table.wrong(found)
    return told


def test_a_network_that_is_read_rightly_passes(checks: Any, net: nn.Module):
    assert wrong(checks, net) == []


def test_a_projection_that_is_a_little_off_is_told(
    checks: Any, net: nn.Module, monkeypatch: pytest.MonkeyPatch
):
    right = checks._projected
    monkeypatch.setattr(checks, "_projected", lambda *a: right(*a) * (1 + 1e-6))
    assert wrong(checks, net) == ["projections"]


def test_values_that_are_a_little_off_are_told(
    checks: Any, net: nn.Module, monkeypatch: pytest.MonkeyPatch
):
    right = checks.Network.values
    off = lambda *a: {k: v + 1e-6 for k, v in right(*a).items()}  # noqa: E731
    monkeypatch.setattr(checks.Network, "values", off)
    assert "values" in wrong(checks, net)  # which the whole sweep computes too


def test_an_incremental_sweep_that_is_a_little_off_is_told(
    checks: Any, net: nn.Module, monkeypatch: pytest.MonkeyPatch
):
    right = checks.sweep

    def off(*a: Any, method: Any, **more: Any) -> Any:
        found = right(*a, method=method, **more)
        if method is checks.Method.INCREMENTAL:
            found.logits[0, 0] += 1e-5
        return found

    monkeypatch.setattr(checks, "sweep", off)
    assert wrong(checks, net) == ["occlusion"]


def test_not_a_number_is_not_exact(checks: Any):
    assert checks.coverage_table.wrong({"values": float("nan"), "projections": 0.0}) == [
        "values", "occlusion",
    ]  # fmt: skip
