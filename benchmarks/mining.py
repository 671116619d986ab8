"""Mining: what the search for the strongest nine adds to a forward pass, and what decoding adds.

Bare: our forward pass up to the highest convolution, nothing kept. Scanned: the same with a table
of the strongest for every feature map of every convolutional layer. As written by hand: max, its
position, and topk at every layer. Every round brings new images and the tables live on, so that
newcomers become rarer from round to round, as in a long pass. Then the whole pass over JPEG files,
against its own forward passes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import measure
import torch
from torch import Tensor

from convscope.images.batches import Batch, batches
from convscope.images.datasets import FolderImages
from convscope.models.zoo import Model, open_model
from convscope.network.network import Network, open_network
from convscope.scan.checkpoint import CheckpointFile
from convscope.scan.engine import Scan, forward_batch
from convscope.scan.strongest import Strongest, as_maps

TOP = 9
BARE, SCANNED, BY_HAND = "bare", "scanned", "by hand"


class ByHand:
    """The loop that one would write: no ties, no NaN, no images that come twice."""

    def __init__(self, network: Network, activations: dict[str, str]) -> None:
        self.network, self.names = network, list(activations.values())
        self.best = {n: torch.full((TOP, network.layer(n).channels), -1.0) for n in self.names}
        self.where = {n: torch.zeros(TOP, network.layer(n).channels, 2).long() for n in self.names}

    @torch.no_grad()
    def __call__(self, images: Tensor, indices: Tensor) -> None:
        for name, value in self.network.stream(images, self.names):
            peak, place = as_maps(value).flatten(2).max(2)  # (N, C)
            found = torch.stack([indices[:, None].expand_as(place), place], dim=2)
            peaks = torch.cat([self.best[name], peak])
            wheres = torch.cat([self.where[name], found])
            self.best[name], order = peaks.topk(TOP, dim=0)
            self.where[name] = wheres.gather(0, order[..., None].expand(-1, -1, 2))


def one_pass(
    model: Model, network: Network, rounds: int, batch: int, count: int
) -> list[measure.Times]:
    """Times of each alternative for `count` images, batch by batch in turn."""
    activations = {name: network.activation(name) for name in network.conv_layers()}
    strongest = Strongest(network, activations, TOP)
    by_hand = ByHand(network, activations)
    highest = [list(activations.values())[-1]]

    @torch.no_grad()
    def bare(images: Tensor, indices: Tensor) -> None:
        for _ in network.stream(images, highest):
            pass

    def scanned(images: Tensor, indices: Tensor) -> None:
        forward_batch(network, Batch(images, indices, ("",) * len(indices)), [strongest])

    alternatives: dict[str, Callable[[Tensor, Tensor], None]] = {
        BARE: bare,
        SCANNED: scanned,
        BY_HAND: by_hand,
    }
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    bare(measure.noise_images(batch, model.input_shape, seed=0), torch.arange(batch))
    seen = 0
    for _ in range(rounds):
        spent = dict.fromkeys(alternatives, 0.0)
        for _ in range(count // batch):
            images = measure.noise_images(batch, model.input_shape, seed=seen + 1)
            indices = torch.arange(seen, seen + batch)
            turn = {n: partial(each, images, indices) for n, each in alternatives.items()}
            for name, times in measure.in_turn(turn, 1, warm_up=False).items():
                spent[name] += times.median
            seen += batch
        for name, value in spent.items():
            seconds[name].append(value)
    return [measure.Times(tuple(s)) for s in seconds.values()]


def overhead(slow: measure.Times, bare: measure.Times) -> str:
    """By how much more than the bare pass, in percent: median (min to max) over the rounds."""
    shares = [100 * (a / b - 1) for a, b in zip(slow.seconds, bare.seconds, strict=True)]
    middle = sorted(shares)[len(shares) // 2]
    return f"{middle:+.1f} % ({min(shares):+.1f} to {max(shares):+.1f})"


def from_files(model: Model, network: Network, folder: Path, rounds: int, batch: int) -> str:
    """What files cost: decoding alone, the forward passes alone, and the whole first pass."""
    images = FolderImages(str(folder))
    activations = {name: network.activation(name) for name in network.conv_layers()}
    highest = [list(activations.values())[-1]]
    decoded = [part.tensors for part in batches(images, model.preprocess, batch_size=batch)]

    def decode() -> None:
        for _ in batches(images, model.preprocess, batch_size=batch):
            pass

    @torch.no_grad()
    def bare() -> None:
        for tensors in decoded:
            part = tensors.contiguous(memory_format=torch.channels_last)
            for _ in network.stream(part, highest):
                pass

    def whole() -> None:
        with tempfile.TemporaryDirectory() as atlas:
            scan = Scan(network, images, model.preprocess, batch_size=batch)
            commits = CheckpointFile(Path(atlas, "state.safetensors"))
            scan.run(Strongest(network, activations, TOP), commits=commits)

    times = measure.in_turn({"bare": bare, "decode": decode, "whole": whole}, rounds)
    each = {name: time.per(len(images)) for name, time in times.items()}
    rows = [
        ("forward passes alone, images decoded beforehand", each["bare"], ""),
        ("decoding alone", each["decode"], ""),
        ("the pass: decode, forward, search", each["whole"], overhead(each["whole"], each["bare"])),
    ]
    head = (f"{len(images)} JPEG files of 256 px", "an image", "more than the forward passes")
    return measure.table(head, rows)


def main() -> None:
    options = measure.parser(__doc__, rounds=9)
    options.add_argument("--model", default="zfnet")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--images", type=int, default=256, help="per round; default 256")
    given = measure.read(options)
    batch, count = (8, 16) if given.quick else (given.batch, given.images)
    model = open_model(given.model)
    network = open_network(model.module, model.input_shape)
    bare, scanned, by_hand = one_pass(model, network, given.rounds, batch, count)
    rows = [
        [
            name,
            times.per(count),
            *(_first_and_later(times, bare) if times is not bare else ("", "")),
        ]
        for name, times in ((BARE, bare), (SCANNED, scanned), (BY_HAND, by_hand))
    ]
    head = (
        f"{given.model}, batches of {batch}",
        "an image",
        f"overhead, first {count} images",
        f"overhead, images {count} to {given.rounds * count}",
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        files = measure.scene_files(Path(folder), count)
        print(f"{count} scenes drawn in {time.monotonic() - started:.0f} s", flush=True)
        decoding = from_files(model, network, files, min(given.rounds, 5), batch)
    body = f"{measure.table(head, rows)}\n\n{decoding}"
    measure.report("mining", "Mining the strongest nine", body, write=not given.quick)


def _first_and_later(times: measure.Times, bare: measure.Times) -> tuple[str, str]:
    """Tables fill up in the first round; what a long pass costs is seen in the later ones."""

    def part(which: slice) -> str:
        return overhead(measure.Times(times.seconds[which]), measure.Times(bare.seconds[which]))

    return part(slice(1)).partition(" (")[0], part(slice(1, None))


if __name__ == "__main__":
    main()
