"""Coverage: every family of torchvision and timm opened, and checked where it is read.

Of each family the member with the fewest parameters, with random weights, at the smallest of 64,
96, 128 and 224 pixels that it takes, each in a process of its own with a limit of time and memory.
Nothing is downloaded. The log (JSON lines) is gone on with: what it holds is not done again, but
for what --again names.

    python benchmarks/coverage.py --log coverage.jsonl --processes 2      # and docs/coverage.md
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import coverage_checks
import coverage_table
import torch

from convscope.images.torchvision_import import import_torchvision
from convscope.models.sources import from_timm, from_torchvision

DOCUMENT = Path(__file__).parents[1] / "docs" / "coverage.md"
SECONDS, GIGABYTES = 420, 9
LEFT_OUT = ("detection", "video", "optical_flow", "quantization", "_3d")
TRIALS = ("test_",)  # timm's own test networks


@dataclass(frozen=True)
class Family:
    """Networks of one file and one first word: `resnet`, `seresnet` and `ecaresnet` are three."""

    source: str
    name: str
    members: tuple[str, ...]


def families() -> list[Family]:
    """All of torchvision's and timm's that map one batch of images to numbers."""
    return [*_torchvision_families(), *_timm_families()]


def _torchvision_families() -> Iterator[Family]:
    models = import_torchvision().models
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in models.list_models():
        place = models.get_model_builder(name).__module__
        if not any(part in place for part in LEFT_OUT) and "3d" not in name:
            groups[place.rpartition(".")[2], _word(name)].append(name)
    yield from _named("torchvision", groups)


def _timm_families() -> Iterator[Family]:
    import timm
    from timm.models import _registry

    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in timm.list_models():
        if not name.startswith(TRIALS):
            place = _registry._model_entrypoints[name].__module__.rpartition(".")[2]
            groups[place, _word(name.removeprefix("tf_"))].append(name)
    yield from _named("timm", groups)


def _named(source: str, groups: dict[tuple[str, str], list[str]]) -> Iterator[Family]:
    words = [word for _, word in groups]
    for (place, word), members in sorted(groups.items()):
        name = word if words.count(word) == 1 else f"{word} ({place})"
        yield Family(source, name, tuple(members))


def _word(name: str) -> str:
    """`resnet50_gn` -> `resnet_gn`, `tf_mobilenetv3_small_075` -> `mobilenetv3`."""
    found = re.match(r"[a-z]+?(_?v\d)?(?=_|\d|$)", name)
    word = found.group() if found else name
    kinds = [kind for kind in ("gn", "evos", "clip") if kind in name.split("_")]
    return "_".join([word, *kinds])


# --- one family, in a process of its own ----------------------------------------------------------


def parameters(source: str, name: str) -> int | None:
    """How many a network has; None where that cannot be told without making it."""
    try:
        with torch.device("meta"):
            if source == "timm":
                import timm

                module = timm.create_model(name, pretrained=False)
            else:
                module = import_torchvision().models.get_model(name, weights=None, **_quick(name))
    except Exception:
        return None
    return sum(p.numel() for p in module.parameters())


def _quick(name: str) -> dict[str, Any]:
    if name in ("googlenet", "inception_v3"):
        return {"init_weights": False, "aux_logits": False}
    return {"weights_backbone": None} if name.startswith(("fcn", "deeplab", "lraspp")) else {}


def smallest(family: Family) -> tuple[str, int]:
    """The member with the fewest parameters."""
    counts = {name: parameters(family.source, name) for name in family.members}
    known = {name: count for name, count in counts.items() if count is not None}
    if not known:
        return family.members[0], 0
    member = min(known, key=lambda name: (known[name], name))
    return member, known[member]


def made(source: str, name: str) -> tuple[torch.nn.Module, int]:
    """The module, in float64 and evaluation mode, and the side of its images."""
    if source == "torchvision" and _quick(name).keys() == {"weights_backbone"}:
        torch.manual_seed(0)
        models = import_torchvision().models
        module, side = models.get_model(name, weights=None, weights_backbone=None), 224
    else:
        loaded = (from_timm if source == "timm" else from_torchvision)(name, None, 0)
        module, side = loaded.module, loaded.preprocess.shape[1] if loaded.preprocess else 224
    return module.double().eval(), side


def examine(family: Family, wish: str | None) -> dict[str, Any]:
    """A line of the log."""
    started = time.time()
    member, count = (wish, parameters(family.source, wish)) if wish else smallest(family)
    line: dict[str, Any] = {
        "source": family.source, "family": family.name, "member": member, "parameters": count,
    }  # fmt: skip
    module, side = made(family.source, member)
    line.update(coverage_checks.examine(module, side))
    line["seconds"] = round(time.time() - started, 1)
    return line


def _child(answer: Connection, run: Callable[[], dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    limit = GIGABYTES * 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        answer.send(run())
    except BaseException as error:
        answer.send({"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


@dataclass
class _Job:
    family: Family
    process: BaseProcess
    answer: Connection
    started: float

    def result(self, seconds: float) -> dict[str, Any] | None:
        """What it says; None while it is at work."""
        about = {"source": self.family.source, "family": self.family.name}
        if self.answer.poll(0):
            try:
                said = self.answer.recv()
            except EOFError:
                said = {"failed": "the process died"}
            self.process.join()
            return {**about, **said}
        if self.process.is_alive() and time.time() - self.started < seconds:
            return None
        dead = not self.process.is_alive()
        self.process.kill()
        self.process.join()
        reason = "the process died" if dead else f"more than {seconds:g} seconds"
        return {**about, "failed": reason}


def run(todo: list[tuple[Family, str | None]], log: Path, processes: int, seconds: float) -> None:
    """Examine families, some at a time, each answer a line of the log."""
    context = multiprocessing.get_context("fork")
    waiting, jobs = list(todo), []
    while waiting or jobs:
        while waiting and len(jobs) < processes:
            family, wish = waiting.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            work = lambda family=family, wish=wish: examine(family, wish)  # noqa: E731
            process = context.Process(target=_child, args=(theirs, work))
            process.start()
            theirs.close()
            jobs.append(_Job(family, process, ours, time.time()))
        for job in list(jobs):
            line = job.result(seconds)
            if line is not None:
                jobs.remove(job)
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(coverage_table.in_words(line), f"({len(waiting)} to go)", flush=True)
        time.sleep(0.1)


def logged(log: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The last line of each family."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    return {(line["source"], line["family"]): line for line in lines}


def wanted(
    known: dict[tuple[str, str], dict[str, Any]], again: str | None, only: str | None
) -> list[tuple[Family, str | None]]:
    """Families to be examined, those again included that were not read (`--again refused`)."""
    todo: list[tuple[Family, str | None]] = []
    for family in families():
        line = known.get((family.source, family.name))
        if only and not re.search(only, f"{family.source}:{family.name}"):
            continue
        if (
            line is None
            or again == "all"
            or (again == "refused" and not coverage_table.right(line))
        ):
            todo.append((family, line.get("member") if line else None))
    return todo


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--log", type=Path, default=Path("coverage.jsonl"))
    options.add_argument("--processes", type=int, default=1)
    options.add_argument("--seconds", type=float, default=SECONDS, help="at most, for a network")
    options.add_argument("--again", choices=("refused", "all"), help="do these again")
    options.add_argument("--only", help="families whose source:name matches this expression")
    options.add_argument("--write", action="store_true", help="write docs/coverage.md and stop")
    given = options.parse_args()
    if not given.write:
        run(wanted(logged(given.log), given.again, given.only), given.log, given.processes,
            given.seconds)  # fmt: skip
    lines = list(logged(given.log).values())
    print(coverage_table.summary(lines))
    if given.write:
        DOCUMENT.write_text(coverage_table.document(lines, len(families())), encoding="utf-8")


if __name__ == "__main__":
    main()
