"""Which picture to use at which depth: the numbers of `convscope check`, by layer and method.

Of each layer the same units for all methods, evenly over its feature maps, each in the image that
excites it most. Every number is a mean over units with its 95 % interval; nothing is timed.

    python benchmarks/trust.py torchvision:squeezenet1_1@WEIGHTS PHOTOGRAPHS.zip \
        --layers features.3,features.6,features.9,features.12
"""

from __future__ import annotations

from collections.abc import Sequence

import measure
import torch

from convscope.experiments.options import Reading, Running
from convscope.experiments.session import Session, open_session
from convscope.images.subsets import evenly
from convscope.methods.checks import SPECIFIC, Checker, Trust
from convscope.methods.rules import RULES
from convscope.network.unit import Unit
from convscope.scan.strongest import strongest
from convscope.stats import Estimate, mean_of

HEAD = (
    "layer", "picture", "place", "disc", "in place", "specific", f"specific < {SPECIFIC}",
    "own weights",
)  # fmt: skip


def units_and_images(
    session: Session, data: str, layers: Sequence[str], count: int, images: int
) -> dict[str, list[tuple[Unit, int]]]:
    """Of each layer so many units that answer at all, with the image that excites each most."""
    photographs = session.images(data)
    tables = strongest(
        session.network, photographs, session.model.preprocess, {name: name for name in layers}, 1,
        indices=evenly(len(photographs), images),
    )  # fmt: skip
    found = {}
    for name, table in tables.items():
        alive = (table.value[:, 0] > 0).nonzero()[:, 0].tolist()
        chosen = [alive[k] for k in evenly(len(alive), count)]
        found[name] = [(Unit(name, unit), int(table.image[unit, 0])) for unit in chosen]
    return found


def checked(
    session: Session, data: str, units: Sequence[tuple[Unit, int]], rules: str
) -> list[Trust]:
    """The strip of each unit, in its image."""
    photographs, checker = session.images(data), Checker(session.network, RULES[rules])
    found = []
    for unit, image in units:
        tensor = session.model.preprocess.tensor(photographs.picture(image))
        found += checker.check(session.network.trace(tensor, [unit.layer]), unit)
    return found


def row(layer: str, rules: str, strips: Sequence[Trust]) -> list[str]:
    """A line of the table."""
    places = [strip.place for strip in strips if strip.place is not None]
    specific = [strip.specific.mean for strip in strips if strip.specific is not None]
    weights = [strip.own_weights.mean for strip in strips if strip.own_weights is not None]
    return [
        layer, rules, _number([place.above.mean for place in places]),
        _number([place.disc for place in places]),
        f"{sum(strip.in_place for strip in strips)} of {len(strips)}",
        _number(specific), f"{sum(one < SPECIFIC for one in specific)} of {len(specific)}",
        _number(weights),
    ]  # fmt: skip


def _number(values: Sequence[float]) -> str:
    if not values:
        return "–"
    found: Estimate = mean_of(values)
    between = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.mean:.2f}{between}"


def main() -> None:
    options = measure.parser(__doc__, rounds=1)
    options.add_argument("model", help="MODEL of the command line")
    options.add_argument("data", help="DATA: the images, whose labels do not matter")
    options.add_argument("--layers", required=True, help="A,B,...")
    options.add_argument("--rules", default=",".join(RULES), help=f"of {', '.join(RULES)}")
    options.add_argument("--units", type=int, default=20, help="of each layer")
    options.add_argument("--images", type=int, default=200, help="to look for the strongest in")
    given = measure.read(options)
    session = open_session(given.model, Reading(), Running())
    count, images = (2, 8) if given.quick else (given.units, given.images)
    names = given.layers.split(",")
    units = units_and_images(session, given.data, names, count, images)
    rows = []
    for layer in names:
        for rules in given.rules.split(","):
            rows.append(row(layer, rules, checked(session, given.data, units[layer], rules)))
            print("  ".join(rows[-1]), flush=True)
    print(f"\n{count} units a layer, each in the strongest of {images} images\n")
    print(measure.table(HEAD, rows))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
