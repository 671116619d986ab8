"""Transformers are read: their values, their tokens as feature maps, and every way down."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import NoSuchUnit, UnsupportedOp
from convscope.methods.occluder import Occluder
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, GRADIENT, GUIDED, Rules
from convscope.methods.sweep import Method, sweep
from convscope.network.axes import Grid
from convscope.network.network import Network, open_network
from convscope.network.passage import Passage

from .transformers import NETWORKS, SHAPE, Acrossed, Vit, opened_module

IMAGES = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
VITS = ("fused", "spelled", "by torch")


@cache
def opened(name: str) -> tuple[nn.Module, Network]:
    module = opened_module(name)
    return module, open_network(module, SHAPE)


def called(module: nn.Module, layer: str, images: Tensor) -> Tensor:
    """What a layer of the module answers."""
    kept: list[Tensor] = []
    hook = module.get_submodule(layer).register_forward_hook(lambda *call: kept.append(call[-1]))
    module(images)
    hook.remove()
    return kept[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_its_answers_are_the_modules(name: str) -> None:
    module, network = opened(name)
    found = network.values(IMAGES, [network.output])[network.output]
    torch.testing.assert_close(found, module(IMAGES), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("layer", ["blocks.0.norm1", "blocks.0.mlp.0", "blocks.1.mlp.2"])
def test_tokens_are_feature_maps_and_the_class_token_stands_apart(name: str, layer: str) -> None:
    module, network = opened(name)
    tokens = called(module, layer, IMAGES)  # (N, 1 + 16, C)
    maps = network.values(IMAGES, [layer])[layer]
    assert maps.shape == (3, tokens.shape[-1], 4, 4)
    for row in range(4):
        for column in range(4):
            expected = tokens[:, 1 + 4 * row + column]
            torch.testing.assert_close(maps[:, :, row, column], expected)
    assert network.layer(f"{layer}.tokens").shape == tuple(tokens.shape[1:])


def test_neighbours_that_are_merged_make_a_coarser_grid() -> None:
    module, network = opened("shifted windows")
    merged = called(module, "merge", IMAGES)  # (N, 2, 2, C)
    assert network.layer("merge").shape == (16, 2, 2)
    maps = network.values(IMAGES, ["merge"])["merge"]
    torch.testing.assert_close(maps, merged.permute(0, 3, 1, 2))


def test_windows_that_are_shifted_back_lie_where_they_were() -> None:
    module, network = opened("shifted windows")
    x = module.embed(IMAGES).permute(0, 2, 3, 1)  # type: ignore[operator]
    x = x + module.windows(x, module.plain, 0)  # type: ignore[operator]
    x = x + module.windows(x, module.shifted, 1)  # type: ignore[operator]
    sums = [layer.name for layer in network.layers if layer.shape == (16, 4, 4)]
    values = network.values(IMAGES, sums)
    expected = x.permute(0, 3, 1, 2)
    assert any(torch.allclose(values[s], expected, rtol=1e-12) for s in sums if "add" in s)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_autograds(name: str) -> None:
    module, network = opened(name)
    image = IMAGES[:1].clone().requires_grad_()
    for unit in range(3):
        (expected,) = torch.autograd.grad(module(image)[0, unit], image)
        trace = network.trace(image.detach())
        found = project(trace, f"{network.output}/{unit}", GRADIENT).projection
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", VITS)
def test_the_gradient_of_a_token_is_autograds(name: str) -> None:
    module, network = opened(name)
    image = IMAGES[:1].clone().requires_grad_()
    (expected,) = torch.autograd.grad(
        called(module, "blocks.1.mlp.0", image)[0, 1 + 4 * 2 + 3, 7], image
    )
    trace = network.trace(image.detach())
    found = project(trace, "blocks.1.mlp.0/7@2,3", GRADIENT).projection
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rules", [DECONVNET, GUIDED], ids=str)
def test_attention_is_crossed_alike_however_it_is_spelled(rules: Rules) -> None:
    found = []
    for name in ("fused", "spelled"):
        _, network = opened(name)
        trace = network.trace(IMAGES[:1])
        found.append(project(trace, "blocks.1.mlp.2/3@1,2", rules).projection)
    assert float(found[0].abs().max()) > 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_incremental_occlusion_is_the_whole_network_at_every_position(name: str) -> None:
    _, network = opened(name)
    runs = [
        sweep(network, IMAGES[0], Occluder(5, 4), fill=0.5, units=["embed/2"], method=method)
        for method in (Method.INCREMENTAL, Method.FULL)
    ]
    assert runs[0].logits is not None and runs[1].logits is not None
    torch.testing.assert_close(runs[0].logits, runs[1].logits, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(runs[0].activity, runs[1].activity, rtol=1e-10, atol=1e-12)


def test_images_that_attend_to_each_other_are_refused() -> None:
    with pytest.raises(UnsupportedOp, match="mixes the images of a batch"):
        open_network(Vit(Acrossed).eval(), SHAPE)


def test_raw_tokens_are_no_feature_maps() -> None:
    _, network = opened("fused")
    with pytest.raises(NoSuchUnit, match="neither feature maps nor a vector"):
        network.unit("blocks.0.mlp.0.tokens/3")


def test_a_network_with_passages_moves_to_another_dtype() -> None:
    _, network = opened("by torch")
    narrow = network.to(torch.float32)
    found = narrow.values(IMAGES.float(), [narrow.output])[narrow.output]
    expected = network.values(IMAGES, [network.output])[network.output]
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-4)


# ---- what identities hash


@pytest.mark.parametrize("name", NETWORKS)
def test_settings_say_in_their_own_words_what_identities_hash(name: str) -> None:
    """A dataclass's own repr has its name and those of its fields, which may be renamed."""
    _, network = opened(name)
    settings = [value for node in network.nodes.values() for value in node.settings.values()]
    derived = [value for value in settings if hasattr(type(value).__repr__, "__wrapped__")]
    assert not derived
    assert any(isinstance(value, Grid) for value in settings)


def test_the_words_of_studies_that_were_begun_stay() -> None:
    assert repr(Grid((1, 2), 4, 4, 1)) == "Grid(order=(1, 2), rows=4, columns=4, before=1)"
    names = frozenset(("f", "c", "a", "d", "b", "e"))
    assert repr(Passage((1, 2), (3,), ("w",), names)) == (
        "Passage(steps=(1, 2), values=(3,), stored=('w',), "
        "per_image=frozenset({'a', 'b', 'c', 'd', 'e', 'f'}))"
    )
    assert repr(Passage((), (), (), frozenset())).endswith("per_image=frozenset())")
