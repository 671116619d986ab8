"""Check everything on a GPU and time it against Captum there, in under five minutes.

Values must be those of the CPU, windows and increments those of whole maps, both in float64; a
training that was killed must end where one ends that was not; NCCL must give what one process
gives; and the memory budget must hold. `--device cpu` runs the same script where there is no GPU.
The first check that fails ends it with exit code 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import measure
import torch
from captum.attr import NeuronDeconvolution, Occlusion
from torch import Tensor, nn

from convscope.atlas.store import open_atlas
from convscope.methods.occluder import Occluder
from convscope.methods.project import project
from convscope.methods.sweep import sweep
from convscope.models.architectures import Architecture, architecture_named, build
from convscope.network.network import Network, open_network
from convscope.network.unit import Unit

EXACT, ROUNDED = 1e-9, 1e-3
MEMORY = 1.0  # GiB that a projection and an occlusion map may take beside the network


@dataclass(frozen=True)
class Check:
    """What was compared, how far apart it was, and how far it may be."""

    name: str
    off: float
    bound: float

    @property
    def holds(self) -> bool:
        return self.off <= self.bound  # NaN does not hold

    def __str__(self) -> str:
        return (
            f"{'ok' if self.holds else 'FAILED'}  {self.name}: {self.off:.1e} of {self.bound:.0e}"
        )


@dataclass(frozen=True)
class Machine:
    """Where it runs, and how much of it.

    Attributes:
        device: the GPU, or the CPU.
        folder: an empty one, for runs and atlases.
        quick: a small trial.
    """

    device: torch.device
    folder: Path
    quick: bool

    @property
    def count(self) -> int:
        """Scenes to learn from and to make atlases of."""
        return 48 if self.quick else 512

    def training(self, epochs: int, out: str) -> tuple[str, ...]:
        """The words of a training."""
        data = ("--data", f"scenes:train:{self.count}", "--val", f"scenes:val:{self.count // 4}")
        kept = ("--epochs", str(epochs), "--checkpoint-every", "0", "--out", out)
        return ("train", "--arch", "zfnet-small", *data, *kept)

    def network(self, arch: Architecture, dtype: torch.dtype = torch.float32) -> Network:
        module = build(arch, seed=0).eval().to(self.device, dtype)
        return open_network(module, arch.input_shape)

    def images(self, arch: Architecture, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return measure.noise_images(count, arch.input_shape, seed=1).to(self.device, dtype)

    def finish(self) -> None:
        """Wait for the GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def start(self, *words: str, torchrun: bool = False) -> subprocess.Popen[str]:
        """Start a verb of the program in the folder."""
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
        command = [*(launcher if torchrun else []), "-m", "convscope", *words]
        return subprocess.Popen(
            [sys.executable, *command, "--device", self.device.type],
            cwd=self.folder, env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def verb(self, *words: str, torchrun: bool = False) -> None:
        """Run a verb of the program to its end."""
        process = self.start(*words, torchrun=torchrun)
        if said := process.communicate()[1] if process.wait() else "":
            raise SystemExit(f"convscope {' '.join(words)}: {said}")


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in units of the largest number expected."""
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).abs().max() / expected.abs().max())


def plain(name: str) -> Architecture:
    """A network without response normalisation, of which Captum takes another view."""
    arch = architecture_named(name)
    return replace(
        arch, convolutions=tuple(replace(c, normalised=False) for c in arch.convolutions)
    )


def strongest(network: Network, images: Tensor, layer: str, count: int) -> tuple[Unit, ...]:
    layer = network.activation(layer)
    return network.trace(images, [layer]).strongest_units(layer, count=count)


# --- checks ---------------------------------------------------------------------------------------


def values(machine: Machine) -> Check:
    """Answers, projections and an occlusion map on the device and on the CPU, in float64."""
    arch, off = architecture_named("zfnet-small"), 0.0
    here = replace(machine, device=torch.device("cpu"))
    found: list[list[Tensor]] = []
    for each in (machine, here):
        network = each.network(arch, torch.float64)
        images = each.images(arch, 2, torch.float64)
        trace = network.trace(images)
        units = [Unit(network.activation(name), 3) for name in ("conv1", "conv3", "conv5")]
        map_ = sweep(network, images[0], Occluder(12, 12), fill=0.0)
        assert map_.logits is not None
        places = [trace.strongest(unit, 1) for unit in units]
        found.append([trace[network.output], map_.logits])
        found[-1] += [project(trace, place, images=1).fields[0] for place in places]
    for mine, theirs in zip(*found, strict=True):
        off = max(off, apart(mine, theirs))
    return Check("answers, projections and occlusion as on the CPU", off, EXACT)


def windows(machine: Machine) -> Check:
    """Projections in windows against Captum's over whole maps, float64."""
    arch, off = plain("zfnet-small"), 0.0
    module = build(arch, seed=0).eval().to(machine.device, torch.float64)
    network = open_network(module, arch.input_shape)
    images = machine.images(arch, 1, torch.float64)
    for layer in ("conv2", "conv4", "conv5"):
        units = strongest(network, images, layer, 4)
        ours = project(network.trace(images, [units[0].layer]), units)
        method = NeuronDeconvolution(module, getattr(module, units[0].layer))
        theirs = [method.attribute(images, (u.channel, *(u.position or ()))) for u in units]
        seeded = torch.cat(theirs) * ours.activation[:, None, None, None]
        off = max(off, apart(ours.projection, seeded.detach()))
    return Check("windowed projections as Captum's whole ones", off, EXACT)


def increments(machine: Machine) -> Check:
    """Incremental occlusion against the whole network at every place, float64."""
    arch = architecture_named("zfnet-small")
    network = machine.network(arch, torch.float64)
    image = machine.images(arch, 1, torch.float64)[0]
    ways = [
        sweep(network, image, Occluder(12, 6), fill=0.0, method=m) for m in ("incremental", "full")
    ]
    assert ways[0].logits is not None and ways[1].logits is not None
    return Check(
        "incremental occlusion as the whole network's", apart(ways[0].logits, ways[1].logits), EXACT
    )


def training(machine: Machine) -> Check:
    """A training that is killed after its first epoch and resumed, against one that is not."""
    machine.verb(*machine.training(3, "straight"))
    words, log = machine.training(3, "killed"), machine.folder / "killed/metrics.jsonl"
    process = machine.start(*words)
    while process.poll() is None and not (log.exists() and log.read_text().strip()):
        time.sleep(0.02)
    process.kill()
    process.wait()
    machine.verb(*words, "--resume")
    losses = [
        [json.loads(line)["loss"] for line in (machine.folder / run / "metrics.jsonl").open()]
        for run in ("killed", "straight")
    ]
    off = apart(*map(torch.tensor, losses)) if len(losses[0]) == len(losses[1]) == 3 else 1.0
    if losses[1][-1] >= losses[1][0] and not machine.quick:
        off = 1.0  # it has not learned
    return Check("losses of a killed and resumed training", off, ROUNDED)


def one_rank(machine: Machine) -> Check:
    """An atlas by torchrun with one process (NCCL on a GPU) against one without."""
    words = ("atlas", "run:straight", f"scenes:val:{machine.count // 4}", "--plain", "--out")
    machine.verb(*words, "alone")
    machine.verb(*words, "ranked", torchrun=True)
    alone, ranked = (
        [unit.values for layer in atlas.manifest.layers for unit in atlas[layer.name]]
        for atlas in (open_atlas(machine.folder / name) for name in ("alone", "ranked"))
    )
    return Check("strongest activations of one process and one rank", float(alone != ranked), 0.0)


def memory(machine: Machine) -> Check:
    """What a projection of many units and an occlusion map take beside the network, in GiB."""
    arch = architecture_named("zfnet-small" if machine.quick else "zfnet")
    network, images = machine.network(arch), machine.images(arch, 2)
    units = strongest(network, images, "conv5", 256)
    if machine.device.type != "cuda":
        return Check("GiB beside the network (not counted on a CPU)", 0.0, MEMORY)
    machine.finish()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    project(network.trace(images, [units[0].layer]), units)
    sweep(network, images[0], Occluder(32, 8), fill=0.0)
    taken = (torch.cuda.max_memory_allocated() - before) / 2**30
    return Check("GiB beside the network", taken, MEMORY)


CHECKS = (values, windows, increments, training, one_rank, memory)


# --- times ----------------------------------------------------------------------------------------


def timed(machine: Machine, runs: dict[str, Callable[[], object]], rounds: int) -> list[object]:
    """The cells of a line: ours, Captum's at its best, and how many times ours that is."""

    def waited(run: Callable[[], object]) -> Callable[[], None]:
        def whole() -> None:
            run()
            machine.finish()

        return whole

    found = measure.in_turn({name: waited(run) for name, run in runs.items()}, rounds)
    ours, theirs = found["ours"], found["captum"]
    return [ours, theirs, measure.ratio(theirs, ours)]


def occlusion_times(machine: Machine, arch: Architecture, rounds: int) -> list[object]:
    """An occlusion map of one image, the same places."""
    module = build(arch, seed=0).eval().to(machine.device)
    network, image = open_network(module, arch.input_shape), machine.images(arch, 1)[0]
    size, stride = (32, 8) if arch.input_shape[1] > 128 else (12, 6)
    target = int(module(image[None]).argmax())
    peer = Occlusion(module)

    def captum() -> Tensor:
        return peer.attribute(
            image[None], (3, size, size), strides=(3, stride, stride), baselines=0,
            target=target, perturbations_per_eval=64,
        )  # fmt: skip

    with torch.no_grad():
        return timed(
            machine,
            {
                "ours": lambda: sweep(network, image, Occluder(size, stride), fill=0.0),
                "captum": captum,
            },
            rounds,
        )


def projection_times(machine: Machine, arch: Architecture, rounds: int) -> list[object]:
    """64 units of the last convolution, the network cut off above it for Captum."""
    module = build(arch, seed=0).eval().to(machine.device)
    network, images = open_network(module, arch.input_shape), machine.images(arch, 1)
    units = strongest(network, images, "conv5", 64)
    names = [name for name, _ in module.named_children()]
    cut = nn.Sequential(*list(module)[: names.index(units[0].layer) + 1])
    each = torch.arange(len(units), device=machine.device)
    channels = torch.tensor([u.channel for u in units], device=machine.device)
    places = torch.tensor([u.position for u in units], device=machine.device)
    batch = images.expand(len(units), -1, -1, -1).contiguous()

    def select(values: Tensor) -> Tensor:
        return values[each, channels, places[:, 0], places[:, 1]]

    return timed(
        machine,
        {
            "ours": lambda: project(network.trace(images, [units[0].layer]), units).fields[-1],
            "captum": lambda: NeuronDeconvolution(cut, cut[-1]).attribute(batch, select),
        },
        rounds,
    )


def seconds_of_verbs(machine: Machine) -> list[tuple[str, str]]:
    """An atlas and an epoch of training, the start of Python included; Captum has neither."""
    data = f"scenes:val:{machine.count}"
    verbs = {
        f"an atlas of {machine.count} scenes, plain": ("atlas", "run:straight", data, "--plain"),
        "the same with spotlights and checks": ("atlas", "run:straight", data),
        f"an epoch of training on {machine.count} scenes": machine.training(1, "epoch"),
    }
    found = []
    for number, (name, words) in enumerate(verbs.items()):
        if machine.quick and number == 1:
            continue
        out = () if "--out" in words else ("--out", f"timed {number}")
        started = time.perf_counter()
        machine.verb(*words, *out)
        found.append((name, f"{time.perf_counter() - started:.3g} s"))
    return found


def times(machine: Machine, rounds: int) -> str:
    """The tables of times, Markdown."""
    archs = ("zfnet-small",) if machine.quick else ("zfnet-small", "zfnet", "alexnet")
    rows = []
    for name in archs:
        arch = plain(name)
        rows.append([f"occlusion map, {name}", *occlusion_times(machine, arch, rounds)])
        rows.append(
            [f"64 projections from conv5, {name}", *projection_times(machine, arch, rounds)]
        )
    head = ("", "convscope", "Captum at its best", "÷ convscope")
    whole = measure.table(("whole verbs", "seconds"), seconds_of_verbs(machine))
    return f"{measure.table(head, rows)}\n\n{whole}"


def checked(machine: Machine) -> list[Check]:
    """All checks, told as they are done.

    Raises:
        SystemExit: one failed.
    """
    done = []
    for check in CHECKS:
        done.append(check(machine))
        print(done[-1], flush=True)
        if not done[-1].holds:
            raise SystemExit(1)
    return done


def main(argv: Sequence[str] | None = None) -> None:
    options = measure.parser(__doc__, rounds=5)
    options.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    given = measure.read(options, argv)
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no GPU here; --device cpu tries the script on the CPU")
    warnings.filterwarnings("ignore", module="captum")  # it sets hooks, and says so each time
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(torch.device(given.device), Path(folder), given.quick)
        done = checked(machine)
        body = times(machine, given.rounds)
    where = torch.cuda.get_device_name() if given.device == "cuda" else "the CPU"
    words = "\n".join(f"- {check}" for check in done)
    write = given.device == "cuda" and not given.quick
    measure.report("gpu", f"On {where}", f"{words}\n\n{body}", write=write)


if __name__ == "__main__":
    main()
