"""Settings that every test shares, and the order in which processes take them up."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

WORKER = "PYTEST_XDIST_WORKER" in os.environ
"""Whether this is one of the processes that share the tests, as many as there are cores."""

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # before torch is loaded; as the command line does
if WORKER:
    os.environ["OMP_NUM_THREADS"] = "1"  # the cores are taken; for the processes of tests too

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background; it is inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "convscope",
    max_examples=int(os.environ.get("CONVSCOPE_EXAMPLES", "20")),  # 200 in `make test-all`
    deadline=None,  # machines are shared and noisy: no timed assertions
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("convscope")


TOGETHER = {"forward", "incremental", "fields"}
"""Modules of tests/network that open torchvision's networks: in one process, they do so once."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A module's tests in one process, as by `--dist loadscope`, and those of some modules."""
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Modules(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module: str = super()._split_scope(nodeid)
            name = module.removeprefix("tests/network/test_").removesuffix(".py")
            return "torchvision's networks" if name in TOGETHER else module

    return Modules(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put modules with slow tests first, so that no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Spare all that was imported from every search for garbage: a tenth of the time.

    Most of it is torch's; what its export imports late is imported here, as most tests need it.
    """
    importlib.import_module("exports").export_once()
    if WORKER:
        importlib.import_module("torch._dynamo")
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000)  # and search seldom: exports and figures are many small objects


def pytest_unconfigure() -> None:
    """End the process that waits for scripts, if one was started."""
    if "warm" in sys.modules:
        sys.modules["warm"].stop()
