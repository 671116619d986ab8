"""A second deconvnet, written from the formulas with loops, in float64 and for one image.

Nothing here knows torch.autograd, transposed convolutions or torch's pooling: an input position of
tap (u, v) of output (r, c) is (r * stride - padding + u * dilation, ...), and what a layer does
downward is written out from Zeiler & Fergus 2014, §2.1:

    filter    each value paints its flipped filter into the layer below, at the taps it came from
    rectify   deconvnet: max(0, signal); gradient: where the input was positive; guided: both
    unpool    each value goes to its switch; values that share one add
    LRN       skipped by the deconvnet; the gradient and guided backprop use its Jacobian
    BN        times its scale
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, Literal, Protocol

import numpy as np
from torch import nn

from nets import Branches, Residual

Method = Literal["deconvnet", "gradient", "guided"]
Array = np.ndarray[Any, np.dtype[np.float64]]


class Layer(Protocol):
    """`forward` remembers what `down` needs: the signal above -> the signal below."""

    def forward(self, x: Array) -> Array: ...

    def down(self, signal: Array, method: Method) -> Array: ...


def taps(
    size: tuple[int, int], kernel: Any, stride: Any, padding: Any, dilation: Any, at: Any
) -> list[tuple[int, int, int, int]]:
    """(u, v, row, column) of each tap of output `at` that lies inside an input of that size."""
    found = []
    for u, v in product(range(kernel[0]), range(kernel[1])):
        row = at[0] * stride[0] - padding[0] + u * dilation[0]
        column = at[1] * stride[1] - padding[1] + v * dilation[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            found.append((u, v, row, column))
    return found


class Convolution:
    def __init__(self, module: nn.Conv2d) -> None:
        self.weight = array(module.weight)
        self.bias = np.zeros(len(self.weight)) if module.bias is None else array(module.bias)
        self.geometry = (module.kernel_size, module.stride, module.padding, module.dilation)
        self.groups = module.groups

    def outputs(self) -> list[tuple[int, int, int, int]]:
        """(output map, row, column, first input map of its group)"""
        maps, per_group = self.weight.shape[:2]
        above = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(self.size, *self.geometry, strict=True)
        ]
        return [
            (o, r, c, o // (maps // self.groups) * per_group)
            for o, r, c in product(range(maps), range(above[0]), range(above[1]))
        ]

    def forward(self, x: Array) -> Array:
        self.shape, self.size = x.shape, x.shape[1:]
        outputs = self.outputs()
        rows, columns = outputs[-1][1] + 1, outputs[-1][2] + 1
        value = np.zeros((len(self.weight), rows, columns))
        for o, r, c, first in outputs:
            value[o, r, c] = self.bias[o]
            for u, v, row, column in taps(self.size, *self.geometry, at=(r, c)):
                for i in range(self.weight.shape[1]):
                    value[o, r, c] += self.weight[o, i, u, v] * x[first + i, row, column]
        return value

    def down(self, signal: Array, method: Method) -> Array:
        below = np.zeros(self.shape)
        for o, r, c, first in self.outputs():
            for u, v, row, column in taps(self.size, *self.geometry, at=(r, c)):
                for i in range(self.weight.shape[1]):
                    below[first + i, row, column] += self.weight[o, i, u, v] * signal[o, r, c]
        return below


class Rectifier:
    def forward(self, x: Array) -> Array:
        self.x = x
        return np.maximum(x, 0)

    def down(self, signal: Array, method: Method) -> Array:
        rectified = signal if method == "gradient" else np.maximum(signal, 0)
        return rectified if method == "deconvnet" else rectified * (self.x > 0)


class MaxPool:
    def __init__(self, module: nn.MaxPool2d) -> None:
        settings = (module.kernel_size, module.stride, module.padding, module.dilation)
        self.geometry = tuple(pair(value) for value in settings)
        self.round = math.ceil if module.ceil_mode else math.floor

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        above = []
        for size, k, s, p, d in zip(x.shape[1:], *self.geometry, strict=True):
            count = self.round((size + 2 * p - d * (k - 1) - 1) / s) + 1
            above.append(count - 1 if (count - 1) * s >= size + p else count)  # starts inside
        self.switches = {}
        value = np.zeros((len(x), *above))
        for channel, r, c in product(range(len(x)), range(above[0]), range(above[1])):
            best = -math.inf
            for _, _, row, column in taps(x.shape[1:], *self.geometry, at=(r, c)):
                if x[channel, row, column] > best:  # of equal ones the first in reading order
                    best = x[channel, row, column]
                    self.switches[channel, r, c] = (row, column)
            value[channel, r, c] = best
        return value

    def down(self, signal: Array, method: Method) -> Array:
        below = np.zeros(self.shape)
        for (channel, r, c), (row, column) in self.switches.items():
            below[channel, row, column] += signal[channel, r, c]
        return below


class Normalisation:
    """Local response normalisation: y_i = x_i * D_i^-beta, D_i = k + alpha / n * sum_j x_j^2."""

    def __init__(self, module: nn.LocalResponseNorm) -> None:
        self.n, self.k = module.size, module.k
        self.alpha, self.beta = module.alpha, module.beta

    def band(self, i: int) -> range:
        """The maps whose responses map i is divided by."""
        return range(max(0, i - self.n // 2), min(len(self.x), i + (self.n - 1) // 2 + 1))

    def forward(self, x: Array) -> Array:
        self.x = x
        self.d = np.stack(
            [
                self.k + self.alpha / self.n * sum(x[j] ** 2 for j in self.band(i))
                for i in range(len(x))
            ]
        )
        return x * self.d**-self.beta

    def down(self, signal: Array, method: Method) -> Array:
        if method == "deconvnet":
            return signal
        below = np.zeros_like(self.x)
        for i in range(len(self.x)):
            below[i] += signal[i] * self.d[i] ** -self.beta
            for j in self.band(i):
                slope = -2 * self.alpha * self.beta / self.n * self.d[i] ** (-self.beta - 1)
                below[j] += signal[i] * slope * self.x[i] * self.x[j]
        return below


class BatchNorm:
    def __init__(self, module: nn.BatchNorm2d) -> None:
        self.scale = array(module.weight) / np.sqrt(array(module.running_var) + module.eps)
        self.mean, self.bias = array(module.running_mean), array(module.bias)

    def forward(self, x: Array) -> Array:
        scale, mean, bias = (v[:, None, None] for v in (self.scale, self.mean, self.bias))
        return scale * (x - mean) + bias

    def down(self, signal: Array, method: Method) -> Array:
        return signal * self.scale[:, None, None]


class Dense:
    def __init__(self, module: nn.Linear) -> None:
        self.matrix, self.bias = array(module.weight), array(module.bias)

    def forward(self, x: Array) -> Array:
        return self.matrix @ x + self.bias

    def down(self, signal: Array, method: Method) -> Array:
        return self.matrix.T @ signal


class Flat:
    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x.reshape(-1)

    def down(self, signal: Array, method: Method) -> Array:
        return signal.reshape(self.shape)


class Chain:
    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers

    def forward(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def down(self, signal: Array, method: Method) -> Array:
        for layer in reversed(self.layers):
            signal = layer.down(signal, method)
        return signal


class Sum:
    """x + body(x): the signal goes down both ways, and adds."""

    def __init__(self, body: Layer) -> None:
        self.body = body

    def forward(self, x: Array) -> Array:
        return x + self.body.forward(x)

    def down(self, signal: Array, method: Method) -> Array:
        return signal + self.body.down(signal, method)


class Concatenation:
    """Branches side by side along the maps: each takes its own part of the signal down."""

    def __init__(self, branches: list[Layer]) -> None:
        self.branches = branches

    def forward(self, x: Array) -> Array:
        values = [branch.forward(x) for branch in self.branches]
        self.cuts = np.cumsum([len(value) for value in values])[:-1]
        return np.concatenate(values)

    def down(self, signal: Array, method: Method) -> Array:
        parts = np.split(signal, self.cuts)
        return sum(  # type: ignore[return-value]
            branch.down(part, method) for branch, part in zip(self.branches, parts, strict=True)
        )


def array(tensor: Any) -> Array:
    return tensor.detach().double().numpy()


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def naive(module: nn.Module) -> Layer:
    """The reference of a module made of the layers above."""
    match module:
        case nn.Sequential():
            return Chain([naive(child) for child in module])
        case Residual():
            return Sum(naive(module.body))
        case Branches():
            return Concatenation([naive(branch) for branch in module.branches])
        case nn.Dropout():
            return Chain([])
    kinds: dict[type[nn.Module], Any] = {
        nn.Conv2d: Convolution,
        nn.MaxPool2d: MaxPool,
        nn.LocalResponseNorm: Normalisation,
        nn.BatchNorm2d: BatchNorm,
        nn.Linear: Dense,
    }
    if isinstance(module, (nn.ReLU, nn.Flatten)):
        return Rectifier() if isinstance(module, nn.ReLU) else Flat()
    return kinds[type(module)](module)


def project_naively(
    module: nn.Module, image: Array, unit: tuple[int, ...], method: Method
) -> tuple[float, Array]:
    """(activation, projection (C, H, W)) of the module's output at `unit`.

    The deconvnet starts with the activation, the others with one.
    """
    reference = naive(module)
    value = reference.forward(image)
    seed = np.zeros_like(value)
    seed[unit] = value[unit] if method == "deconvnet" else 1.0
    return float(value[unit]), reference.down(seed, method)
