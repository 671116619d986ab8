"""torchvision's networks, with random weights, opened once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from convscope.images.torchvision_import import import_torchvision
from convscope.network.network import Network, open_network

SIZES = {
    "alexnet": 96,
    "vgg11": 64,
    "vgg11_bn": 64,
    "squeezenet1_1": 96,
    "resnet18": 96,
    "googlenet": 96,
    "inception_v3": 96,
    "densenet121": 64,
    "mobilenet_v2": 96,
    "shufflenet_v2_x0_5": 96,
}


@pytest.fixture(scope="session")
def torchvision_network() -> Callable[[str], tuple[nn.Module, Network]]:
    """name -> (module in evaluation mode, network)"""
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed: pip install 'convscope[zoo]'")
    with warnings.catch_warnings():  # its compiled part may not load beside this torch
        warnings.simplefilter("ignore", UserWarning)
        models = import_torchvision().models

    @cache
    def opened(name: str) -> tuple[nn.Module, Network]:
        torch.manual_seed(0)
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        module = getattr(models, name)(weights=None, **options).eval()
        with torch.no_grad():
            for child in module.modules():
                if isinstance(child, nn.BatchNorm2d):
                    child.running_mean.normal_(0, 0.1)
                    child.running_var.uniform_(0.5, 1.5)
        return module, open_network(module, (3, SIZES[name], SIZES[name]))

    return opened
