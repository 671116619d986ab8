"""Which part is a unit's own: masks of contrastive occlusion, of a projection, and a disc.

Units evenly over the maps of a layer, each in the photograph that excites it most. Each method
marks a share of what the unit sees; the marked pixels are blurred away (`methods/masking.py`), and
what counts is how much more the unit falls than eight strong units of its position. Contrastive
occlusion finds its mask with a grey box, and is scored like the others with a blurred mask. Nothing
is timed.

    python benchmarks/masks.py torchvision:squeezenet1_1@WEIGHTS PHOTOGRAPHS.zip \
        --layers features.9,features.12
"""

from __future__ import annotations

from collections.abc import Mapping

import measure
import torch
from torch import Tensor
from trust import units_and_images

from convscope.experiments.options import Reading, Running
from convscope.experiments.session import Session, open_session
from convscope.methods.blur import blur
from convscope.methods.contrastive import ContrastiveMap, contrastive_occlusion
from convscope.methods.masking import FILL_BLUR, centred_disc, strongest_places
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET
from convscope.stats import mean_of

METHODS = ("contrastive occlusion", "deconvnet", "centred disc")
HEAD = ("layer", *METHODS, "occlusion less deconvnet")


def masks(
    session: Session, image: Tensor, found: ContrastiveMap, share: float
) -> Mapping[str, Tensor]:
    """By method, (h, w) bool: the marked share of what the unit sees of the image."""
    seen, field = found.seen, found.field
    spread = found.over_pixels(found.contrast)
    own = torch.zeros_like(spread, dtype=torch.bool)
    count = max(1, round(share * own.numel()))
    own.view(-1)[spread.reshape(-1).argsort(descending=True, stable=True)[:count]] = True
    trace = session.network.trace(image, [found.unit.layer])
    projection = project(trace, found.unit, DECONVNET).projection[0]
    part = projection[:, seen.top : seen.bottom, seen.left : seen.right]
    centre = (
        (field.top + field.bottom - 1) / 2 - seen.top,
        (field.left + field.right - 1) / 2 - seen.left,
    )
    return {
        METHODS[0]: own,
        METHODS[1]: strongest_places(part, share),
        METHODS[2]: centred_disc(own, centre),
    }


def scored(
    session: Session, image: Tensor, found: ContrastiveMap, marked: Mapping[str, Tensor]
) -> dict[str, float]:
    """By method, how much more the unit falls than its neighbours, as a share of each."""
    seen, (row, column) = found.seen, found.unit.position or (0, 0)
    bells = (seen.height / FILL_BLUR, seen.width / FILL_BLUR)
    filled = blur(image, bells)
    images = image.repeat(1 + len(marked), 1, 1, 1)
    for one, mask in zip(images[1:], marked.values(), strict=True):
        part = (slice(None), slice(seen.top, seen.bottom), slice(seen.left, seen.right))
        one[part] = torch.where(mask, filled[part], one[part])
    layer = found.unit.layer
    values = session.network.values(images, [layer])[layer][:, :, row, column].double()
    drops = 1 - values[1:] / values[0]
    others = [unit.channel for unit in found.neighbours]
    specific = drops[:, found.unit.channel] - drops[:, others].mean(1)
    return dict(zip(marked, specific.tolist(), strict=True))


def main() -> None:
    options = measure.parser(__doc__, rounds=1)
    options.add_argument("model", help="MODEL of the command line")
    options.add_argument("data", help="DATA: the photographs")
    options.add_argument("--layers", required=True, help="A,B,...")
    options.add_argument("--units", type=int, default=20, help="of each layer")
    options.add_argument("--images", type=int, default=200, help="to look for the strongest in")
    options.add_argument("--share", type=float, default=0.05, help="of the receptive field")
    given = measure.read(options)
    session = open_session(given.model, Reading(), Running())
    photographs, preprocess = session.images(given.data), session.model.preprocess
    grey = preprocess.fill("grey")
    count, images = (2, 8) if given.quick else (given.units, given.images)
    layers = given.layers.split(",")
    units = units_and_images(session, given.data, layers, count, images)
    rows = []
    for layer in layers:
        found: dict[str, list[float]] = {name: [] for name in METHODS}
        for unit, index in units[layer]:
            image = preprocess.tensor(photographs.picture(index))
            contrast = contrastive_occlusion(session.network, image, unit, fill=grey)
            marked = masks(session, image, contrast, given.share)
            for name, value in scored(session, image, contrast, marked).items():
                found[name].append(value)
            print(index, contrast.unit, {n: round(v[-1], 3) for n, v in found.items()}, flush=True)
        differences = [a - b for a, b in zip(found[METHODS[0]], found[METHODS[1]], strict=True)]
        rows.append([layer, *(_number(one) for one in [*found.values(), differences])])
    print(measure.table(HEAD, rows))


def _number(values: list[float]) -> str:
    found = mean_of(values)
    between = "" if found.low is None else f" ({found.low:+.2f} to {found.high:+.2f})"
    return f"{found.mean:+.2f}{between}"


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
