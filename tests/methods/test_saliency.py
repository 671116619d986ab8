"""Saliency maps are autograd's, Captum's, and those of the formulas."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope
from convscope.errors import BadInput, BadOption, NoSuchLayer
from convscope.methods.saliency import SaliencyMethod, SaliencySettings, saliency
from convscope.network.legend import Legend

SIZE = (3, 16, 16)


class Small(nn.Module):
    """A side branch that the maps of `conv2` know nothing of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2)
        self.relu = nn.ReLU()
        self.side = nn.Conv2d(6, 2, 1)
        self.head = nn.Linear(8 * 9 + 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.conv1(x))
        top = F.max_pool2d(self.relu(self.conv2(x)), 2).flatten(1)
        return self.head(torch.cat([top, self.side(x).mean((2, 3))], 1))


@pytest.fixture(scope="module")
def opened() -> tuple[nn.Module, convscope.Network, Tensor]:
    module = Small().eval()
    network = convscope.open_network(module, SIZE)
    network.legend = Legend(classes=("a", "b", "c", "d", "e"))
    return module, network, torch.randn(SIZE, generator=torch.Generator().manual_seed(1))


def slope(module: nn.Module, images: Tensor, index: int) -> Tensor:
    images = images.detach().clone().requires_grad_()
    return torch.autograd.grad(module(images)[:, index].sum(), images)[0]


def test_it_is_the_largest_absolute_derivative_over_channels(opened) -> None:
    module, network, image = opened
    for target in range(5):
        expected = slope(module, image[None], target)[0]
        found = saliency(network, image, target)
        torch.testing.assert_close(found.gradient, expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.map, expected.abs().amax(0), rtol=1e-5, atol=1e-7)
        assert found.target.name == "abcde"[target]
    told = saliency(network, image)
    with torch.no_grad():
        scores = module(image[None])[0]
    assert told.target.name == "abcde"[int(scores.argmax())]
    assert told.value == pytest.approx(float(scores.max()))


def test_no_gradient_is_needed_around_it_and_none_is_left(opened) -> None:
    module, _, image = opened
    fresh = convscope.open_network(module, SIZE)
    with torch.inference_mode():
        inside = saliency(fresh, image.clone(), 2)
    after = saliency(fresh, image, 2)
    assert torch.equal(inside.gradient, after.gradient)
    assert not after.gradient.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())


def test_any_function_of_the_output_may_be_asked(opened) -> None:
    module, network, image = opened
    found = saliency(network, image, lambda scores: scores[0] ** 2 - scores[3])
    at = image[None].clone().requires_grad_()
    scores = module(at)[0]
    (expected,) = torch.autograd.grad(scores[0] ** 2 - scores[3], at)
    torch.testing.assert_close(found.gradient, expected[0], rtol=1e-5, atol=1e-7)


def test_smooth_is_the_mean_over_the_same_noisy_copies(opened) -> None:
    module, network, image = opened
    settings = SaliencySettings(SaliencyMethod.SMOOTH, copies=70, noise=0.2, seed=3)
    noise = torch.randn((70, *SIZE), generator=torch.Generator().manual_seed(3))
    copies = image + 0.2 * (image.max() - image.min()) * noise
    expected = slope(module, copies, 2).mean(0)
    found = saliency(network, image, 2, settings)
    torch.testing.assert_close(found.gradient, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.map, expected.abs().amax(0), rtol=1e-5, atol=1e-6)


def test_integrated_gradients_share_out_what_the_score_gains(opened) -> None:
    module, network, image = opened
    with torch.no_grad():
        gain = float((module(image[None]) - module(torch.zeros(1, *SIZE)))[0, 1])
    gaps = []
    for steps in (4, 64, 512):
        found = saliency(
            network, image, 1, SaliencySettings(SaliencyMethod.INTEGRATED, steps=steps)
        )
        assert found.gap == pytest.approx(float(found.map.sum()) - gain, abs=1e-5)
        gaps.append(abs(found.gap))
    assert gaps[0] > gaps[2] and gaps[2] < 2e-3 * abs(gain)
    linear = convscope.open_network(nn.Sequential(nn.Flatten(), nn.Linear(768, 3)), SIZE)
    found = saliency(linear, image, 0, SaliencySettings(SaliencyMethod.INTEGRATED, steps=1))
    assert found.gap == pytest.approx(0, abs=1e-5)


def test_grad_cam_weighs_a_layer_s_maps(opened) -> None:
    module, network, image = opened
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, value: Tensor) -> Tensor:
        kept.append(value)
        return value

    hook = module.relu.register_forward_hook(keep)
    scores = module(image[None])[0]
    hook.remove()
    (grown,) = torch.autograd.grad(scores[4], kept[0])
    small = (grown.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu().detach()
    large = F.interpolate(small, size=SIZE[1:], mode="bilinear", align_corners=False)[0, 0]
    for layer in ("conv2", "relu"):
        found = saliency(network, image, 4, SaliencySettings(SaliencyMethod.GRAD_CAM, layer=layer))
        torch.testing.assert_close(found.map, large, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.gradient, small[0], rtol=1e-5, atol=1e-7)
        assert found.layer == "relu"
    assert saliency(network, image, settings=SaliencySettings(SaliencyMethod.GRAD_CAM)).layer in (
        "side", "relu",
    )  # fmt: skip


@pytest.mark.parametrize("method", list(SaliencyMethod))
def test_maps_are_captum_s(opened, method: SaliencyMethod) -> None:
    attr = pytest.importorskip("captum.attr")
    module, network, image = opened
    module, images = copy.deepcopy(module), image[None].clone().requires_grad_()
    found = saliency(network, image, 2, SaliencySettings(method, layer="relu", steps=40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method is SaliencyMethod.GRADIENT:
            wanted = attr.Saliency(module).attribute(images, target=2)[0].amax(0)
        elif method is SaliencyMethod.INTEGRATED:
            made = attr.IntegratedGradients(module).attribute(
                images, target=2, n_steps=40, method="riemann_middle"
            )
            wanted = made[0].sum(0)
        elif method is SaliencyMethod.GRAD_CAM:
            made = attr.LayerGradCam(module, module.relu).attribute(
                images, target=2, relu_attributions=True
            )
            wanted = F.interpolate(made, size=SIZE[1:], mode="bilinear", align_corners=False)[0, 0]
        else:  # its noise is drawn otherwise: the mean over as many copies, at another draw
            tunnel = attr.NoiseTunnel(attr.Saliency(module))
            torch.manual_seed(0)
            spread = 0.15 * float(image.max() - image.min())
            made = tunnel.attribute(images, nt_samples=50, stdevs=spread, target=2, abs=False)
            wanted = made[0].abs().amax(0)
            r = torch.corrcoef(torch.stack([found.map.flatten(), wanted.detach().flatten()]))[0, 1]
            assert r > 0.95
            return
    torch.testing.assert_close(found.map, wanted.detach().to(found.map), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda n, i: saliency(n, i, 9), BadOption, "classes 0 to 4"),
        (lambda n, i: saliency(n, i, settings=SaliencySettings("lime")), BadOption, "'lime'"),
        (lambda n, i: SaliencySettings(steps=0), BadOption, "give at least 1"),
        (lambda n, i: SaliencySettings(noise=float("nan")), BadOption, "more than 0"),
        (lambda n, i: saliency(n, i[:2]), BadInput, "opened for N x 3x16x16"),
        (lambda n, i: saliency(n, i, settings=SaliencySettings("grad-cam", layer="no")),
         NoSuchLayer, "'no'"),
        (lambda n, i: saliency(n, i, settings=SaliencySettings("grad-cam", layer="head")),
         BadInput, "no maps"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_by_name(opened, ask, error, words: str) -> None:
    with pytest.raises(error, match=words):
        ask(opened[1], opened[2])


def test_a_target_that_does_not_depend_on_the_layer_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.one(x).mean((2, 3)), self.other(x).mean((2, 3))

    network = convscope.open_network(Two(), SIZE)
    settings = SaliencySettings(SaliencyMethod.GRAD_CAM, layer="other")
    with pytest.raises(BadInput, match="does not depend on other"):
        saliency(network, torch.randn(SIZE), 0, settings)


def test_the_command_line_and_the_functions_find_the_same(tmp_path, capsys) -> None:
    import json

    import numpy as np

    from convscope.cli import main

    out = tmp_path / "a.npz"
    line = ["saliency", "zfnet-small", "scenes:val:3#1", "--method", "grad-cam", "--layer", "conv4",
            "--target", "3", "--out", str(out), "--device", "cpu", "--json"]  # fmt: skip
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)
    scope = convscope.open("zfnet-small", device="cpu")
    found = scope.look("scenes:val:3#1").saliency(3, method="grad-cam", layer="conv4")
    assert told["value"] == pytest.approx(found.value) and told["layer"] == found.layer == "relu4"
    with np.load(out) as arrays:
        np.testing.assert_allclose(arrays["map"], found.map.numpy(), rtol=1e-5, atol=1e-8)
    for method in SaliencyMethod:
        made = scope.look("scenes:val:3#1").saliency(method=str(method), copies=2, steps=2)
        assert made._repr_png_() and repr(made).startswith("<Saliency 72x72 by ")
