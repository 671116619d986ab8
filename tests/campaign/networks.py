"""Random networks in float64, and numbers that are none, planted anywhere."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from torch import nn

from atlas.conftest import tiny_model, tiny_module, write_pictures
from campaign.row import Row
from convscope.atlas.build import build_atlas
from convscope.errors import ConvscopeError, NonFinite
from convscope.images.datasets import open_images
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT
from convscope.network.local.incremental import BoxGrid, IncrementalSweep
from convscope.network.network import Network, open_network
from convscope.network.unit import Unit
from convscope.report.page import write_page
from network.graphs import graphs

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def _drawn(seed: int, gates: bool) -> tuple[nn.Module, tuple[int, int, int]]:
    """A random network in float64: the last of a few, as the first are the simplest there are."""
    found: list[tuple[nn.Module, tuple[int, int, int]]] = []

    @settings(
        max_examples=4, phases=[Phase.generate], database=None, deadline=None, derandomize=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @seeded(seed)
    @given(graphs(gates=gates))
    def draw(graph: tuple[nn.Module, tuple[int, int, int]]) -> None:
        found.append(graph)

    draw()
    module, shape = found[-1]
    return module.double().requires_grad_(False), shape


def _values(network: Network, module: nn.Module, images: torch.Tensor) -> str | None:
    """The graph gives what the module gives."""
    found = network.values(images, [network.output])[network.output]
    torch.testing.assert_close(found.flatten(1), module(images).flatten(1), **CLOSE)
    return None


def gradients(seed: int, folder: Path) -> str | None:
    """A unit's projection by the gradient, in windows or not, is what autograd says."""
    dice = random.Random(seed)
    module, shape = _drawn(seed, gates=True)
    network = open_network(module, shape)
    torch.manual_seed(seed)
    image = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    _values(network, module, image.detach())
    values = _by_autograd(network, image)
    maps = [layer.name for layer in network.layers if len(layer.shape) == 3 and layer.real]
    for name in dice.sample(maps, min(3, len(maps))):
        channels, height, width = network.layer(name).shape
        unit = Unit(name, dice.randrange(channels), dice.randrange(height), dice.randrange(width))
        (found,) = project(network.trace(image.detach()), [unit], GRADIENT).projection
        at = values[name][0, unit.channel, unit.row, unit.column]
        (wanted,) = torch.autograd.grad(at, image, retain_graph=True, allow_unused=True)
        wanted = torch.zeros_like(image) if wanted is None else wanted
        torch.testing.assert_close(found, wanted[0], **CLOSE)
    return None


def _by_autograd(network: Network, image: torch.Tensor) -> dict[str, torch.Tensor]:
    from convscope.network.from_export import INPUT

    values = {INPUT: image}
    for node in network.nodes.values():
        values[node.name] = node.forward(*(values[name] for name in node.inputs))
    return values


def windows(seed: int, folder: Path) -> str | None:
    """What units see, their gradients and the adjoints, in windows and over whole maps."""
    from network.test_cone import (
        check_the_adjoints,
        check_the_crops,
        check_the_gradient,
        last_map,
    )

    module, shape = _drawn(seed, gates=False)
    network = open_network(module, shape)
    layer = last_map(network)
    if layer is not None:
        torch.manual_seed(seed)
        check_the_crops(network, layer)
        check_the_gradient(network, layer)
        check_the_adjoints(network, layer)
    return None


def incremental(seed: int, folder: Path) -> str | None:
    """What changes under a box, computed where it changes, is what a whole pass gives."""
    dice = random.Random(seed)
    module, shape = _drawn(seed, gates=True)
    network = open_network(module, shape)
    torch.manual_seed(seed)
    image, change = torch.randn(2, *shape, dtype=torch.float64)
    size, step = (
        (dice.randint(1, 20), dice.randint(1, 12)),
        (dice.randint(5, 9), dice.randint(5, 9)),
    )
    rows = tuple((r, min(r + size[0], shape[1])) for r in range(0, shape[1], step[0]))
    columns = tuple((c, min(c + size[1], shape[2])) for c in range(0, shape[2], step[1]))
    found = IncrementalSweep(network, BoxGrid(rows, columns), [network.output]).run(image, change)[
        0
    ]
    for i, (top, bottom) in enumerate(rows):
        for k, (left, right) in enumerate(columns):
            whole = image.clone()
            whole[:, top:bottom, left:right] = change[:, top:bottom, left:right]
            wanted = module(whole[None])[0].flatten()
            torch.testing.assert_close(found[network.output][i, k].flatten(), wanted, **CLOSE)
    return None


# ---- numbers that are none ----------------------------------------------------------------------


@cache
def _pictures() -> Path:
    import tempfile

    torch.set_num_threads(1)
    return write_pictures(Path(tempfile.mkdtemp(prefix="campaign-numbers-")) / "pictures", 8)


def planted(seed: int, folder: Path) -> str | None:
    """NaN or infinity in weights, biases or running statistics: never a winner, counted by map."""
    dice, module = random.Random(seed), tiny_module(seed)
    state = {
        key: tensor for key, tensor in module.state_dict().items() if tensor.is_floating_point()
    }
    key = dice.choice(list(state))
    value = dice.choice((float("nan"), float("inf"), float("-inf"), 1e38, -1e38))
    tensor = state[key].flatten()
    for _ in range(dice.choice((1, 1, 5))):
        tensor[dice.randrange(len(tensor))] = value
    if key.endswith("running_var") and dice.randrange(2):
        tensor[0] = -1.0  # whose root is no number
    images = open_images(_pictures())
    try:
        atlas = build_atlas(
            tiny_model(module), images, folder / "a", top=3, batch_size=4, workers=1,
            plain=bool(dice.randrange(2)),
        )  # fmt: skip
    except NonFinite as error:
        return None if "\n" not in str(error) else "two lines"
    except ConvscopeError as error:
        return f"{key} = {value}: refused: {error}"
    return _checked(atlas, module, images, f"{key} = {value}") or _page(folder / "a")


def _checked(atlas, module: nn.Module, images, what: str) -> str | None:  # type: ignore[no-untyped-def]
    """Winners and counts against a plain pass of the module itself."""
    prepare = tiny_model().preprocess
    batch = torch.stack([prepare.tensor(images.picture(i)) for i in range(len(images))])
    whole, depth = batch, 0
    with torch.no_grad():
        seen = {}
        for depth, layer in enumerate(module):
            whole = layer(whole)
            seen[str(depth)] = whole
    activation = {"0": "1", "3": "5", "7": "7"}
    for name, table in atlas.layers.items():
        maps = seen[activation[name]].flatten(2)
        count = (~maps.isfinite()).sum((0, 2))
        if table.non_finite.tolist() != count.tolist():
            return f"{what}: {name}: {table.non_finite.tolist()} counted, not {count.tolist()}"
        best = torch.where(maps.isfinite(), maps, -torch.inf).amax(2).T
        wanted = best.sort(1, descending=True).values[:, : table.value.shape[1]]
        finite = wanted.isfinite()
        if not bool(torch.isfinite(table.value[table.image >= 0]).all()):
            return f"{what}: {name}: a winner is no number"
        if not np.allclose(table.value[finite], wanted[finite], rtol=1e-4, atol=1e-5):
            return f"{what}: {name}: other winners"
        if bool((table.image[~finite] != -1).any()):
            return f"{what}: {name}: a place without a number is filled"
    counted = {record.name: record.non_finite for record in atlas.manifest.layers}
    for name, table in atlas.layers.items():
        if counted[name] != int(table.non_finite.sum()):
            return f"{what}: {name}: the manifest counts {counted[name]}"
    return None


def _page(folder: Path) -> str | None:
    write_page(folder)
    text = (folder / "index.html").read_text()
    return "NaN on the page" if ">NaN<" in text or ">nan<" in text else None


def _warm() -> None:
    """Load what the first network that is read loads, once for all trials."""
    torch.set_num_threads(1)
    open_network(tiny_module(), (3, 24, 24))
    _drawn(0, gates=True)


ROWS = [
    Row(
        "gradients",
        "random networks: projections by the gradient against autograd",
        "≤ 1e-10 in float64",
        2000,
        gradients,
        _warm,
        least=1,
    ),
    Row(
        "windows",
        "random networks: windows and adjoints against whole maps",
        "≤ 1e-9 in float64",
        2000,
        windows,
        _warm,
        least=1,
    ),
    Row(
        "incremental",
        "random networks: incremental against whole passes",
        "≤ 1e-10 in float64",
        2000,
        incremental,
        _warm,
        least=1,
    ),
    Row(
        "numbers",
        "NaN, infinity and 1e38 planted in weights and statistics",
        "never a winner, counted by map",
        500,
        planted,
        _pictures,
        least=2,
    ),
]
