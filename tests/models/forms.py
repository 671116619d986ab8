"""The forms in which people's checkpoints come, each written for one small network."""

from __future__ import annotations

import argparse
import copy
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize


class Small(nn.Module):
    """A convolution with batch norm, and a head."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3)
        self.bn1 = nn.BatchNorm2d(6)
        self.block = nn.Sequential(nn.Conv2d(6, 8, 1), nn.ReLU())
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


class Config:
    """A training script's own class."""

    def __init__(self) -> None:
        self.rate, self.steps = 0.1, [3, 4]


class Settings(dict[str, Any]):
    """A dictionary of a class of its own, as Lightning's hyper_parameters are."""


def drawn(make: Callable[[], nn.Module] = Small, seed: int = 1) -> nn.Module:
    """A network with weights and running statistics from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return network


def renamed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A state dict with a prefix before every name."""
    return {prefix + key: tensor for key, tensor in state.items()}


def halved(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """A state dict in half precision, whose values the network then has, too."""
    state = {
        k: t.to(dtype) if t.is_floating_point() else t for k, t in network.state_dict().items()
    }
    network.load_state_dict(state)
    return state


def _trained(network: nn.Module) -> dict[str, Any]:
    """An optimiser's state after a step, and what else a script keeps."""
    network = copy.deepcopy(network).train()
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    return {
        "optimizer": optimiser.state_dict(),
        "epoch": 7,
        "best_acc": np.float64(0.5),
        "seen": torch.tensor(12),
    }


def _lightning(network: nn.Module) -> dict[str, Any]:
    state = renamed(network.state_dict(), "model.")
    return {
        "epoch": 3,
        "global_step": 40,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": OrderedDict(state, **{"criterion.weight": torch.ones(4)}),
        "callbacks": {Config: {"best_model_score": torch.tensor(0.5), "path": Path("x.ckpt")}},
        "optimizer_states": [_trained(network)["optimizer"]],
        "hyper_parameters": Settings(lr=0.1, net=Config()),
    }


def _numpy(network: nn.Module) -> dict[str, Any]:
    return {key: tensor.numpy() for key, tensor in network.state_dict().items()}


def _inside(network: nn.Module) -> dict[str, Tensor]:
    """Names as they are where a submodule was compiled, and another one checkpointed."""
    return {
        key.replace("block.0", "block._orig_mod.0").replace(
            "fc.", "_checkpoint_wrapped_module.fc.module."
        ): tensor
        for key, tensor in network.state_dict().items()
    }


PICKLED: dict[str, Callable[[nn.Module], Any]] = {
    "a state dict": lambda net: net.state_dict(),
    "DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    "a compiled network": lambda net: renamed(net.state_dict(), "_orig_mod."),
    "compiled within DataParallel": lambda net: renamed(net.state_dict(), "_orig_mod.module."),
    "FSDP": lambda net: renamed(net.state_dict(), "_fsdp_wrapped_module."),
    "wrappers within the names": _inside,
    "model.": lambda net: renamed(net.state_dict(), "model."),
    "net.": lambda net: renamed(net.state_dict(), "net."),
    "backbone.": lambda net: renamed(net.state_dict(), "backbone."),
    "encoder.": lambda net: renamed(net.state_dict(), "encoder."),
    "two prefixes": lambda net: renamed(net.state_dict(), "module.model.backbone."),
    "a backbone beside another head": lambda net: {
        **renamed(net.state_dict(), "backbone."),
        "projector.weight": torch.ones(3, 8),
    },
    **{
        f"under {key!r}": lambda net, key=key: {key: net.state_dict(), "epoch": 3}
        for key in (
            *("state_dict", "model", "net", "params", "weights", "model_state_dict"),
            *("state_dict_ema", "ema", "network", "generator"),
        )
    },
    "PyTorch's ImageNet example": lambda net: {
        "arch": "small",
        "state_dict": nn.DataParallel(net).state_dict(),
        **_trained(net),
    },
    "torchvision's references": lambda net: {
        "model": net.state_dict(),
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), out=Path("runs")),
        **_trained(net),
    },
    "numpy scalars": lambda net: {"net": net.state_dict(), "acc": np.float32(1), "i": np.int64(2)},
    "Lightning": _lightning,
    "Composer": lambda net: {"state": {"model": net.state_dict(), "run_name": "x"}, "rng": []},
    "a script's own class beside": lambda net: {"state_dict": net.state_dict(), "cfg": Config()},
    "a defaultdict": lambda net: defaultdict(list, model=net.state_dict()),
    "a pair with the epoch": lambda net: (net.state_dict(), 3),
    "a list": lambda net: [{"epoch": 3}, net.state_dict()],
    "SWA": lambda net: torch.optim.swa_utils.AveragedModel(net).state_dict(),
    "counters of thop": lambda net: {
        **net.state_dict(),
        "total_ops": torch.zeros(1),
        "conv1.total_params": torch.zeros(1),
    },
    "numbers among the tensors": lambda net: {**net.state_dict(), "epoch": 3, "lr": 0.1},
    "parameters as such": lambda net: {**dict(net.named_parameters()), **dict(net.named_buffers())},
    "a whole network": lambda net: net,
    "a whole DataParallel": lambda net: nn.DataParallel(net),
    "a whole network with a hook": lambda net: _hooked(net),
    "a whole network in a checkpoint": lambda net: {"model": net, "ema": None, "epoch": 3},
    "half precision": lambda net: halved(net, torch.float16),
    "bfloat16": lambda net: halved(net, torch.bfloat16),
    "double precision": lambda net: {
        k: t.double() if t.is_floating_point() else t for k, t in net.state_dict().items()
    },
    "NumPy arrays": lambda net: {"model": _numpy(net), "__author__": "them"},
    "tensors that share their memory": lambda net: _sharing(net),
    "tensors in another memory layout": lambda net: net.to(
        memory_format=torch.channels_last
    ).state_dict(),
}
"""What is pickled, by the name of the form."""


def _hooked(network: nn.Module) -> nn.Module:
    network.fc.register_forward_hook(_count)
    return network


def _count(module: nn.Module, given: object, returned: object) -> None:
    """A hook, which is pickled by its name."""


def _sharing(network: nn.Module) -> dict[str, Tensor]:
    """A state dict whose floating-point tensors are cut from one."""
    state = network.state_dict()
    floating = {k: t for k, t in state.items() if t.is_floating_point()}
    flat = torch.cat([t.flatten() for t in floating.values()])
    pieces = flat.split([t.numel() for t in floating.values()])
    cut = {k: p.view(t.shape) for p, (k, t) in zip(pieces, floating.items(), strict=True)}
    return {**state, **cut}


def _write(content: Any, path: Path, how: str) -> None:
    if how == "zip":
        torch.save(content, path)
    elif how == "old":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    elif how == "zip, protocol 5":
        torch.save(content, path, pickle_protocol=5)
    else:
        path.write_bytes(pickle.dumps(content, protocol=int(how.rpartition(" ")[2])))


FILES: dict[str, Callable[[nn.Module, Path], None]] = {
    "safetensors": lambda net, path: save_file(net.state_dict(), path),
    "safetensors with a prefix": lambda net, path: save_file(
        {k: t.clone() for k, t in renamed(net.state_dict(), "model.").items()}, path
    ),
    "safetensors with another program's metadata": lambda net, path: save_file(
        net.state_dict(), path, {"format": "pt", "architecture": "small", "classes": "a, b"}
    ),
    "PyTorch before 1.6": lambda net, path: _write(net.state_dict(), path, "old"),
    "a checkpoint of PyTorch before 1.6": lambda net, path: _write(
        {"net": net.state_dict(), "args": argparse.Namespace(x=1)}, path, "old"
    ),
    "torch.save with protocol 5": lambda net, path: _write(
        net.state_dict(), path, "zip, protocol 5"
    ),
    **{
        f"pickle, protocol {n}": lambda net, path, n=n: _write(
            net.state_dict(), path, f"pickle {n}"
        )
        for n in (2, 4, 5)
    },
    "a whole network, pickle, protocol 4": lambda net, path: _write(net, path, "pickle 4"),
    "NumPy arrays, pickle, protocol 5": lambda net, path: _write(_numpy(net), path, "pickle 5"),
}
"""What writes a file, by the name of the form."""


def write_form(name: str, path: Path) -> nn.Module:
    """Write a form to a file.

    Returns:
        The network whose weights it holds.
    """
    network = drawn()
    if name in PICKLED:
        torch.save(PICKLED[name](network), path)
    else:
        FILES[name](network, path)
    return network


# ---- weights that are computed from others

NORMED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda layer: layer,
    "old weight norm": lambda layer: nn.utils.weight_norm(layer),
    "new weight norm": lambda layer: parametrizations.weight_norm(layer),
    "old spectral norm": lambda layer: nn.utils.spectral_norm(layer),
    "new spectral norm": lambda layer: parametrizations.spectral_norm(layer),
}
"""What norms a layer's weight."""


def normed(name: str, seed: int = 1) -> nn.Module:
    """A convolution and a dense layer whose weights are normed, with values from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [NORMED[name](nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Flatten()]
        network = nn.Sequential(*layers, NORMED[name](nn.Linear(144, 2)))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        network(torch.randn(3, 3, 8, 8))  # a step of spectral norm's power iteration
    return network.eval()


def write_tied(path: Path) -> nn.Module:
    """Write a network with tied weights as safetensors does: one of them, and a word."""
    network = drawn(Tied)
    save_model(network, str(path))
    return network


def is_parametrised(module: nn.Module) -> bool:
    """Whether PyTorch's new norms are in use."""
    return any(parametrize.is_parametrized(child) for child in module.modules())
