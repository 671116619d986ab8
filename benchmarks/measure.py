"""Measuring: alternatives in turn, medians with their spread, and results.md.

Every benchmark runs its alternatives round by round in one process, so that a change of the
machine's speed meets all of them alike. `--quick` is for trying a script: it writes no results.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

RESULTS = Path(__file__).with_name("results.md")
PREFACE = "# Benchmarks\n\nWritten by `make bench`; each section by the command that it names.\n"
PACKAGES = ("convscope", "torch", "captum", "zennit", "numpy", "pillow")


@dataclass(frozen=True)
class Times:
    """Seconds of one alternative, a number per round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def per(self, count: float) -> Times:
        """The same, for one of `count` things that a round does."""
        return Times(tuple(s / count for s in self.seconds))

    def __str__(self) -> str:
        """Median, and (min to max) where there is more than one round."""
        scale, unit = (1e3, "ms") if self.median < 0.5 else (1.0, "s")
        low, middle, high = (
            f"{scale * s:.3g}" for s in (min(self.seconds), self.median, max(self.seconds))
        )
        spread = f" ({low} to {high})" if len(self.seconds) > 1 else ""
        return f"{middle} {unit}{spread}"


def in_turn(
    alternatives: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    rarely: Iterable[str] = (),
    warm_up: bool = True,
) -> dict[str, Times]:
    """Run every alternative once a round, each round beginning with another one.

    rarely : alternatives for the first round only
    """
    rare, order = set(rarely), list(alternatives)
    found: dict[str, list[float]] = {name: [] for name in order}
    if warm_up:
        for name in order:
            if name not in rare:
                alternatives[name]()
    for number in range(rounds):
        first = number % len(order)
        for name in order[first:] + order[:first]:
            if number and name in rare:
                continue
            started = time.perf_counter()
            alternatives[name]()
            found[name].append(time.perf_counter() - started)
    return {name: Times(tuple(seconds)) for name, seconds in found.items()}


def ratio(a: Times, b: Times) -> str:
    """How many times a takes what b takes; the spread is that of the rounds both took part in."""
    each = [x / y for x, y in zip(a.seconds, b.seconds, strict=False)]
    spread = f" ({min(each):.3g} to {max(each):.3g})" if len(each) > 1 else ""
    return f"{a.median / b.median:.3g}×{spread}"


# --- what the scripts share -----------------------------------------------------------------------


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    lines = (description or "").strip().splitlines()
    options = argparse.ArgumentParser(description=lines[0] if lines else None)
    options.add_argument("--rounds", type=int, default=rounds, help=f"default {rounds}")
    options.add_argument("--threads", type=int, default=None, help="PyTorch's; default: its own")
    options.add_argument("--quick", action="store_true", help="a small trial; writes no results")
    return options


def read(options: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options as given; sets the threads and the seed."""
    given = options.parse_args(argv)
    if given.quick:
        given.rounds = min(given.rounds, 2)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    return given


def noise_images(count: int, shape: tuple[int, int, int], seed: int, scale: float = 64.0) -> Tensor:
    """Smooth noise of every scale, (count, C, H, W), channels last, of the pixels' RMS."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    total = torch.zeros(count, channels, height, width)
    for side in (4, 16, 64):
        coarse = torch.randn(count, channels, side, side, generator=generator)
        total += F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return (total * (scale / 3**0.5)).contiguous(memory_format=torch.channels_last)


def scene_files(folder: Path, count: int, side: int = 256) -> Path:
    """Rendered scenes as JPEG files, as a camera would leave them: to decode is part of the work.

    At most 256 different scenes; of each further file only the crop differs.
    """
    from PIL import Image

    from convscope.scenes.render import SceneSpec, render

    folder.mkdir(parents=True, exist_ok=True)
    spec, drawn = SceneSpec(size=side + 32), min(count, 256)
    generator = torch.Generator().manual_seed(0)
    pictures = [Image.fromarray(render(spec, index).pixels) for index in range(drawn)]
    for index in range(count):
        left, top = torch.randint(33, (2,), generator=generator).tolist()
        picture = pictures[index % drawn].crop((left, top, left + side, top + side))
        picture.save(folder / f"{index:06}.jpg", quality=90)
    return folder


# --- results.md -----------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine() -> str:
    """Where and with what these numbers were measured, a Markdown list."""
    lines = [
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, "
        f"{torch.backends.cpu.get_cpu_capability()}, {_memory()}; {platform.system()}",
        f"PyTorch threads {torch.get_num_threads()}; allocator {_allocator()}; "
        f"load when it ended {os.getloadavg()[0]:.1f}",
        ", ".join(["python " + platform.python_version(), *_versions()]),
        f"`{_command()}`, {datetime.now(UTC):%Y-%m-%d}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def report(name: str, title: str, body: str, *, write: bool) -> None:
    """Print a section, and put it into results.md in the place of its predecessor."""
    text = f"## {title}\n\n{machine()}\n\n{body.strip()}"
    print(f"\n{text}\n", flush=True)
    if write:
        RESULTS.write_text(replaced(_previous(), name, text), encoding="utf-8")


def replaced(document: str, name: str, text: str) -> str:
    """The document with the section called `name` exchanged, or added at its end."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    section = f"{begin}{text}\n{end}"
    if begin in document and end in document:
        head, _, rest = document.partition(begin)
        return head + section + rest.partition(end)[2]
    return f"{document.rstrip()}\n\n{section}"


def _previous() -> str:
    return RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else PREFACE


def _processor() -> str:
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, colon, value = line.partition(":")
            if colon:
                found.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    family, model = found.get("cpu family", "?"), found.get("model", "?")
    return f"{found.get('model name', platform.machine())} (family {family}, model {model})"


def _memory() -> str:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{size / 2**30:.0f} GiB"


def _allocator() -> str:
    preloaded = os.environ.get("LD_PRELOAD", "")
    settings = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("MALLOC_")]
    if os.environ.get("GLIBC_TUNABLES"):
        settings.append(f"GLIBC_TUNABLES={os.environ['GLIBC_TUNABLES']}")
    name = Path(preloaded.split(":")[0]).name if preloaded else "-".join(platform.libc_ver())
    return " ".join([name, *settings]) if settings else f"{name}, as it comes"


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return found


def _command() -> str:
    script = Path(sys.argv[0])
    variables = [f"{k}={os.environ[k]}" for k in ("OMP_NUM_THREADS",) if k in os.environ]
    words = [*variables, "python", f"{script.parent.name}/{script.name}", *sys.argv[1:]]
    return shlex.join(words)
