"""What the stages of an atlas cost: an image, and a picture of a unit.

Processor seconds of one thread, so that other work on the machine does not count. ZFNet with random
weights; JPEG files of 256 pixels. docs/scale.md says what follows for ImageNet.

    python benchmarks/stages.py
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import measure
import torch
from PIL import Image
from torch import Tensor

import convscope
from convscope.atlas.build import CHECKS
from convscope.images.preprocess import Preprocess
from convscope.methods.ascent.loop import AscentSettings
from convscope.network.network import Network

LAYER, UNITS, STEPS = "conv4", 8, 16
ROUNDS = 3


def main() -> None:
    given = measure.read(measure.parser(__doc__, ROUNDS))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = convscope.open_model("zfnet")
    network, preprocess = model.network(), model.preprocess
    noise = torch.randint(0, 255, (32, 32, 3), dtype=torch.uint8).numpy()
    picture = Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC)
    picture.save(file := io.BytesIO(), "JPEG", quality=90)
    images = torch.stack([preprocess.tensor(picture)] * 16)
    image = images[0]
    units = [f"{LAYER}/{channel}" for channel in range(UNITS)]
    trace = network.trace(image[None], [LAYER])
    canvas = AscentSettings(steps=STEPS)
    rows = {
        "decode a JPEG, fit and scale it": (lambda: decode(file, preprocess), 1),
        "forward pass, batches of 16": (lambda: forward(network, images), 16),
        f"projection of a unit of {LAYER}, {UNITS} together": (
            lambda: convscope.project(trace, units),
            UNITS,
        ),
        "check of a picture, with an atlas's settings": (
            lambda: convscope.check(model, image, units[:2], settings=CHECKS),
            2,
        ),
        f"optimised picture, a step, {UNITS} together": (
            lambda: convscope.visualize(model, units, settings=canvas),
            UNITS * STEPS,
        ),
    }
    lines = [
        (name, str(measure.Times(seconds(work, count, given.rounds))))
        for name, (work, count) in rows.items()
    ]
    body = measure.table(("ZFNet", "processor time of one thread"), lines)
    measure.report("stages", "The stages of an atlas", body, write=not given.quick)


def decode(file: io.BytesIO, preprocess: Preprocess) -> None:
    file.seek(0)
    with Image.open(file) as opened:
        preprocess.tensor(opened.convert("RGB"))


def forward(network: Network, images: Tensor) -> None:
    with torch.no_grad():
        for _ in network.stream(images, ["fc8"]):
            pass


def seconds(work: Callable[[], object], count: int, rounds: int) -> tuple[float, ...]:
    """Processor seconds of one of `count` things, a number per round."""
    work()
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        found.append((time.process_time() - begun) / count)
    return tuple(found)


if __name__ == "__main__":
    main()
