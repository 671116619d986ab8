"""A whole atlas of ZFNet against the bare forward passes of its images.

The images' pass grows with their number N; the winners' pass does not, once every feature map has
its nine winners (it then holds maps x 9 projections, of up to as many images). The figure for a
large N is extrapolated so, and said to be.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import measure
import torch

from convscope.atlas.build import build_atlas
from convscope.atlas.folder import read_manifest
from convscope.images.batches import batches
from convscope.images.datasets import FolderImages
from convscope.models.zoo import Model, open_model
from convscope.network.network import Network, open_network

LARGE = 50_000
BATCH = 32


def bare_pass(model: Model, network: Network, images: FolderImages, count: int) -> measure.Times:
    """Seconds per image of forward passes up to the highest activation, images in memory.

    Run batch by batch on the first `count` images; one number per batch.
    """
    highest = [network.activation(network.conv_layers()[-1])]
    parts = batches(images, model.preprocess, batch_size=BATCH, indices=range(count))
    decoded = [p.tensors.contiguous(memory_format=torch.channels_last) for p in parts]
    network.values(decoded[0], highest)
    seconds = []
    for tensors in decoded:
        times = measure.in_turn({"bare": lambda t=tensors: network.values(t, highest)}, 1,
                                warm_up=False)  # fmt: skip
        seconds.append(times["bare"].median / len(tensors))
    return measure.Times(tuple(seconds))


def compare(model: Model, images: FolderImages, out: Path, sample: int) -> str:
    network = open_network(model.module, model.input_shape)
    before = bare_pass(model, network, images, sample)

    def progress(phase: str, done: int, total: int) -> None:
        if done == total or done % 1000 == 0:
            print(f"{phase} {done} of {total}", flush=True)

    build_atlas(model, images, out, batch_size=BATCH, progress=progress)
    after = bare_pass(model, network, images, sample)
    bare = measure.Times((*before.seconds, *after.seconds))
    phases = read_manifest(out).seconds_by_phase
    count, each = len(images), bare.median
    large = {
        "images": phases["images"] * LARGE / count,
        "tables": phases["tables"] * LARGE / count,
        "projections": phases["projections"],
    }
    rows = []
    for name, n, spent in (("measured", count, phases), ("extrapolated", LARGE, large)):
        cells = [f"{spent[phase]:.1f} s" for phase in ("images", "tables", "projections")]
        total = sum(spent.values())
        rows.append([f"{n:,} images, {name}", *cells, f"{total:.0f} s", f"{n * each:.0f} s",
                     f"{total / (n * each):.3f}×"])  # fmt: skip
    maps = sum(record.channels for record in read_manifest(out).layers)
    head = (
        "ZFNet",
        "images' pass",
        "tables",
        "winners' pass",
        "all",
        "bare forward",
        "atlas ÷ bare",
    )
    words = (
        f"{maps} feature maps, {maps * 9} projections; JPEG files of 256 px. Bare forward: "
        f"{bare} an image, {len(bare.seconds)} batches of {BATCH} before and after the atlas, "
        "images decoded beforehand. The extrapolation scales the images' pass and the tables "
        "(digests of the files) by N and keeps the winners' pass, which holds as many "
        "projections, though of more images. The winners' pass equals "
        f"{phases['projections'] / each:.0f} bare forward passes."
    )
    return f"{measure.table(head, rows)}\n\n{words}"


def main() -> None:
    options = measure.parser(__doc__, rounds=1)
    options.add_argument("--images", type=int, default=2000, metavar="N")
    given = measure.read(options)
    count, sample = (16, 16) if given.quick else (given.images, min(given.images, 256))
    model = open_model("zfnet-small" if given.quick else "zfnet")
    with tempfile.TemporaryDirectory() as folder:
        files = measure.scene_files(Path(folder) / "images", count)
        body = compare(model, FolderImages(str(files)), Path(folder) / "atlas", sample)
    measure.report("atlas", "A whole atlas", body, write=not given.quick)


if __name__ == "__main__":
    main()
