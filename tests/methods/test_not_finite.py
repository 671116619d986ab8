"""A map that is NaN or infinite is refused by name where a picture would be made of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import NonFinite
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.methods.ascent.loop import AscentSettings, ascend, maximise
from convscope.methods.ascent.showing import canvas_of, shown_pictures
from convscope.methods.inversion import InversionSettings, invert
from convscope.methods.saliency import SaliencyMethod, SaliencySettings, saliency
from convscope.network.network import Network, open_network

SPOILT = 1
VALUES = [torch.nan, torch.inf, -torch.inf]
FED = Preprocess((3, 12, 12), Scaling.UNIT, Fit.NONE)


class Spoilt(nn.Module):
    """A map of the first layer is no number; nothing above reads it."""

    def __init__(self, value: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.dense = nn.Conv2d(3, 4, 3), nn.Linear(2, 3)
        with torch.no_grad():
            self.conv.bias[SPOILT] = value

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return self.dense(maps[:, 2:].relu().mean((2, 3)))


@pytest.fixture(scope="module", params=VALUES, ids=["nan", "inf", "-inf"])
def network(request: pytest.FixtureRequest) -> Network:
    return open_network(Spoilt(request.param), (3, 12, 12))


def test_an_optimised_picture_of_it_is_refused_and_others_are_made(network: Network) -> None:
    canvas, settings = canvas_of(network, FED), AscentSettings(steps=1)
    with pytest.raises(NonFinite, match=f"^conv/{SPOILT}: NaN or infinite in the optimised pict"):
        maximise(network, "conv", None, canvas, settings)
    every = ascend(network, "conv", None, canvas, settings)
    assert every.not_finite.tolist() == [channel == SPOILT for channel in range(4)]
    others = maximise(network, "conv", [0, 2], canvas, settings)
    assert bool(others.activation.isfinite().all())
    assert torch.equal(others.picture[1], others.picture[1].nan_to_num())
    shown = shown_pictures(every, FED, free=False)
    assert all(picture.dtype == "uint8" for picture in shown)


def test_inverting_its_layer_is_refused(network: Network) -> None:
    with pytest.raises(NonFinite, match="conv is NaN or infinite in this image"):
        invert(
            network, torch.rand(3, 12, 12), ["conv"], canvas_of(network, FED),
            InversionSettings(steps=1),
        )  # fmt: skip


def test_a_map_of_its_layer_is_refused_and_one_that_does_not_read_it_is_made(
    network: Network,
) -> None:
    image = torch.rand(3, 12, 12)
    found = saliency(network, image, 0)
    assert bool(found.map.isfinite().all()) and float(found.map.max()) > 0
    with pytest.raises(NonFinite, match="class 0 or conv is NaN or infinite for this image"):
        saliency(network, image, 0, SaliencySettings(method=SaliencyMethod.GRAD_CAM, layer="conv"))
