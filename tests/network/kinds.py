"""Operations of users' own code, by kinds: functions of maps (N, 4, 8, 8), each beside a relu."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FUNCTIONS", "GLOBAL", "KINDS", "Layered"]

SIZE = (8, 8)
torch.manual_seed(0)
WEIGHT = torch.rand(4, dtype=torch.float64) + 0.5
BIAS = torch.rand(4, dtype=torch.float64)
CHANNELS = WEIGHT.view(4, 1, 1)

Form = Callable[[Tensor], Tensor]

FUNCTIONS: dict[str, Form] = {
    "clamp": lambda y: y.clamp(min=-0.2) + y.clamp(-0.1, 0.3) + torch.clip(y, max=0.2),
    "clamp by maps": lambda y: torch.clamp(y, -CHANNELS, y.mean(1, keepdim=True)),
    "threshold": lambda y: F.threshold(y, 0.1, 0.05),
    "prelu": lambda y: F.prelu(y, WEIGHT),
    "selu, celu, elu": lambda y: F.selu(y) + F.celu(y, 0.7) + F.elu(y, 0.6),
    "softplus, mish": lambda y: F.softplus(y, 2.0) + F.mish(y),
    "shrinks": lambda y: F.hardshrink(y, 0.1) + F.softshrink(y, 0.1) + F.tanhshrink(y),
    "softsign, logsigmoid": lambda y: F.softsign(y) + F.logsigmoid(y),
    "a leak's mean": lambda y: F.rrelu(y),
    "glu": lambda y: torch.cat([F.glu(y, 1), F.glu(2 * y, -3)], 1),
    "powers": lambda y: y**2 + y.square() + (1 + y * y) ** -0.5 + 2**y + (1 + y * y) ** y,
    "roots": lambda y: (1 + y * y).sqrt() + (1 + y * y).rsqrt() + (2 + y * y).reciprocal(),
    "exponentials": lambda y: y.exp() + (1 + y * y).log() + torch.expm1(y) + torch.log1p(y * y),
    "signs": lambda y: -y + y.abs() * torch.tensor(3.0).double() + y * torch.sign(y),
    "addcmul, addcdiv": lambda y: (
        torch.addcmul(y, y, CHANNELS, value=2) + torch.addcdiv(y, y, 2 + y * y, value=0.5)
    ),
    "quotients": lambda y: y / (2 + y.exp()) + CHANNELS / (1 + y * y) + 1 / (3 + y * y),
    "where": lambda y: torch.where(y > 0.1, y * 2, y.sin()) + torch.where(y < 0, 0.5, y),
    "masks": lambda y: y * (y > 0.05) + y * ((y < 0) | (y > 0.2)).float() + y.masked_fill(y < 0, 1),
    "maximum, minimum": lambda y: (
        torch.maximum(y, 0.3 - y) + torch.minimum(y, y * y) + torch.max(y, CHANNELS / 9)
    ),
    "in place": lambda y: y.clone().mul_(2).add_(1).abs_().add_(0.5).clamp_(max=1.2).neg_().exp_(),
    "interpolated": lambda y: torch.lerp(y, y * y, 0.3) + torch.hypot(y, 1 + y),
    "steps": lambda y: y + (5 * y).floor() + (3 * y).round() * y,
    "trigonometry": lambda y: y.sin() + y.cos() + torch.atan(y) + torch.tanh(y) + torch.erf(y),
    "taken apart": lambda y: torch.logaddexp(y, 2 * y) + F.huber_loss(y, 3 * y, reduction="none"),
    "casts": lambda y: y.double() + y.to(y.dtype) + y.type_as(y) + y.to("cpu") + y.contiguous(),
    "constants": lambda y: (
        y * torch.linspace(0.5, 2, 4).view(4, 1, 1)
        + torch.arange(4).view(4, 1, 1)
        + torch.full_like(y, 0.3)
        + torch.zeros(y.shape[0], 4, 1, 1)
        + y.new_ones(4, 1, 1)
    ),
    "channels of zeros": lambda y: torch.cat([y[:, ::2], torch.zeros_like(y[:, :2])], 1),
    "channels of numbers": lambda y: torch.cat([CHANNELS.expand(y.shape[0], -1, *SIZE), y], 1)[
        :, 2:6
    ],
    "a layer norm of channels": lambda y: F.layer_norm(
        y.permute(0, 2, 3, 1), (4,), WEIGHT, BIAS
    ).permute(0, 3, 1, 2),
    "an RMS norm of channels": lambda y: F.rms_norm(
        y.permute(0, 2, 3, 1), (4,), WEIGHT, 1e-3
    ).permute(0, 3, 1, 2),
    "a norm of channels, written out": lambda y: (
        (y - y.mean(1, keepdim=True)) / (y.var(1, keepdim=True, correction=0) + 1e-3).sqrt()
    ),
    "an instance norm by stored numbers": lambda y: F.instance_norm(
        y, BIAS, WEIGHT, WEIGHT, BIAS, use_input_stats=False
    ),
    "unit length": lambda y: F.normalize(y, dim=1),
    "sums and extremes of channels": lambda y: (
        y.sum(1, keepdim=True) + y.amax(1, True) * y + y.min(1, keepdim=True)[0].expand_as(y)
    ),
    "deviations of channels": lambda y: (
        y.std(1, keepdim=True)
        + y * torch.logsumexp(y, 1, True)
        + torch.var_mean(y, 1, keepdim=True)[1]
    ),
    "running sums of channels": lambda y: y.cumsum(1) * y.prod(1, keepdim=True),
    "repeated channels": lambda y: y[:, :2].repeat(1, 2, 1, 1) + y[:, 2:].repeat_interleave(2, 1),
    "a dense layer of channels": lambda y: F.gelu(
        F.linear(y.permute(0, 2, 3, 1), torch.outer(WEIGHT, BIAS), BIAS)
    ).permute(0, 3, 1, 2),
}
"""Position by position. name -> a function of maps (N, 4, 8, 8) that gives such maps"""

GLOBAL: dict[str, Form] = {
    "a group norm": lambda y: F.group_norm(y, 2, WEIGHT, BIAS),
    "an instance norm": lambda y: F.instance_norm(y, weight=WEIGHT, bias=BIAS),
    "a layer norm of maps": lambda y: F.layer_norm(y, (4, *SIZE)),
    "a layer norm of rows": lambda y: F.layer_norm(y, SIZE[1:]),
    "a response norm": lambda y: (
        (g := torch.linalg.vector_norm(y, dim=(2, 3), keepdim=True)),
        y * (g / (g.mean(1, keepdim=True) + 1e-6)) + y,
    )[1],
    "unit length of maps": lambda y: y / y.flatten(1).norm(dim=1).view(-1, 1, 1, 1),
    "sums of maps": lambda y: y * y.sum((2, 3), keepdim=True) + y.amax((-1, -2), True),
    "deviations of maps": lambda y: y - y.std((2, 3), keepdim=True) * y.mean((2, 3), True),
    "a gate that is spread": lambda y: y * torch.sigmoid(y.mean((2, 3), keepdim=True)).expand_as(y),
    "positions attend": lambda y: (
        torch.bmm(y.flatten(2), torch.softmax(y.flatten(2).transpose(1, 2) @ y.flatten(2), -1))
    ).view(-1, 4, *SIZE),
    "a context of all positions": lambda y: (
        y
        + torch.einsum("nchw,nhw->nc", y, y.mean(1).flatten(1).softmax(1).view(-1, *SIZE)).view(
            -1, 4, 1, 1
        )
    ),
    "a bilinear form": lambda y: torch.baddbmm(
        y.flatten(2), y.flatten(2) @ y.flatten(2).transpose(1, 2), y.flatten(2), beta=2, alpha=0.1
    ).view(-1, 4, *SIZE),
    "a running sum of rows": lambda y: y.cumsum(2) * 0.1,
}
"""What looks at rows or columns. name -> a function of maps (N, 4, 8, 8) that gives such maps"""

KINDS = {**FUNCTIONS, **GLOBAL}


class Layered(nn.Module):
    """tanh(conv), a form, leaky_relu(conv), and 5 classes."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.form = form
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.scores = nn.Linear(4 * SIZE[0] * SIZE[1], 5)

    def maps(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.second(self.form(torch.tanh(self.first(x)))), 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.maps(x).flatten(1))
