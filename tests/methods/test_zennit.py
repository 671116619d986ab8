"""A second oracle: the rules that zennit has, too, give the same numbers there.

Where zennit is not installed (`pip install convscope[bench]`) nothing is compared; the formulas in
test_shares.py and test_rules.py are.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope
from convscope.images.torchvision_import import import_torchvision
from convscope.methods.rules import (
    DECONVNET,
    GRADIENT,
    GRADIENT_X_INPUT,
    GUIDED,
    LRP_EPSILON,
    LRP_GAMMA,
    InitialSignal,
)

if find_spec("zennit") is None:
    pytest.skip("zennit is the oracle, and is not installed", allow_module_level=True)
import_torchvision()  # which zennit imports, and which may need help to be imported

from zennit.attribution import Gradient  # noqa: E402
from zennit.composites import LayerMapComposite  # noqa: E402
from zennit.rules import Epsilon, Gamma, Pass, ReLUDeconvNet, ReLUGuidedBackprop  # noqa: E402
from zennit.types import Activation, Convolution, Linear  # noqa: E402

SIZE, CLASSES = (3, 14, 14), 4
DECONV = DECONVNET.replace({}, seed=InitialSignal.ONE)  # zennit's signal starts with what is given


def strided() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, stride=2), nn.ReLU(),
        nn.Conv2d(6, 8, 3, dilation=2, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, CLASSES),
    )  # fmt: skip


def pooled() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(32, CLASSES),
    )  # fmt: skip


@pytest.fixture(params=[strided, pooled], ids=["strided", "pooled"])
def case(request: pytest.FixtureRequest) -> tuple[nn.Sequential, Tensor, convscope.Trace]:
    """A network, two images with values of both signs, and their trace; float64."""
    torch.manual_seed(8)
    module = request.param().double().eval()
    images = torch.randn(2, *SIZE, dtype=torch.float64)
    network = convscope.open_network(module, SIZE).to(torch.float64)
    return module, images, network.trace(images)


def by_zennit(
    module: nn.Module,
    images: Tensor,
    composite: Any,
    start: Callable[[Tensor], Tensor],
    target: int,
) -> Tensor:
    """What zennit makes of the score of a class, with the signal that it starts with."""

    def signal(scores: Tensor) -> Tensor:
        return start(scores) * torch.eye(CLASSES).to(scores)[target]

    with Gradient(model=module, composite=composite) as attributor:
        _, found = attributor(images, signal)
    return found.detach()


def ours(trace: convscope.Trace, rules: convscope.Rules, target: int) -> Tensor:
    units = [f"{trace.network.output}/{target}"] * len(trace)
    return convscope.project(trace, units, rules, images=list(range(len(trace)))).projection


def same(one: Tensor, other: Tensor, tolerance: float) -> None:
    assert float(other.abs().max()) > 1e-4
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("target", [0, 3])
@pytest.mark.parametrize(
    ("rules", "composite"),
    [
        (GRADIENT, None),
        (DECONV, LayerMapComposite([(Activation, ReLUDeconvNet())])),
        (GUIDED, LayerMapComposite([(Activation, ReLUGuidedBackprop())])),
    ],
    ids=["gradient", "deconvnet", "guided"],
)
def test_projections_are_zennits(case, rules, composite, target: int) -> None:
    module, images, trace = case
    same(
        ours(trace, rules, target),
        by_zennit(module, images, composite, torch.ones_like, target),
        1e-12,
    )


@pytest.mark.parametrize("target", [0, 3])
def test_gradient_x_input_is_zennits_gradient_times_the_image(case, target: int) -> None:
    module, images, trace = case
    expected = images * by_zennit(module, images, None, torch.ones_like, target)
    same(ours(trace, GRADIENT_X_INPUT, target), expected, 1e-12)


@pytest.mark.parametrize("target", [0, 3])
@pytest.mark.parametrize(
    ("rules", "composite"),
    [
        (LRP_EPSILON, [(Activation, Pass()), (Convolution, Epsilon()), (Linear, Epsilon())]),
        (LRP_GAMMA, [(Activation, Pass()), (Convolution, Gamma(stabilizer=1e-9)),
                     (Linear, Epsilon())]),
    ],
    ids=["lrp-epsilon", "lrp-gamma"],
)  # fmt: skip
def test_relevance_is_zennits(case, rules, composite, target: int) -> None:
    module, images, trace = case
    layers = LayerMapComposite([*composite, (nn.AvgPool2d, Epsilon(1e-9))])
    expected = by_zennit(module, images, layers, lambda scores: scores, target)
    same(ours(trace, rules, target), expected, 1e-5)
