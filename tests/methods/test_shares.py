"""Rules that share a value out: shares add up, and are those of the formulas and of Captum."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope
from convscope.errors import UnsupportedOp
from convscope.methods.rules import DEEPLIFT, GRADIENT_X_INPUT, LRP_EPSILON, LRP_GAMMA, RULES
from convscope.methods.shares import EPSILON, GAMMA, TINY, share_by_epsilon_of

SIZE = (3, 12, 12)


def plain(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(6, 5, 3, stride=2, bias=bias), nn.ReLU(), nn.Flatten(),
        nn.Linear(20, 7, bias=bias), nn.ReLU(), nn.Linear(7, 4, bias=bias),
    ).double()  # fmt: skip


class Mixed(nn.Module):
    """Normalised, gated, added, averaged; every bias is drawn."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.body = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.gate = nn.Conv2d(6, 6, 1)
        self.end = nn.Linear(6, 4)
        self.activation = activation
        for buffer in (self.norm.running_mean, self.norm.running_var, self.norm.weight.data):
            nn.init.uniform_(buffer, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm(self.conv(x)))
        x = F.max_pool2d(x + self.body(x), 2)
        gate = torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        return self.end(F.avg_pool2d(x * gate, 6).flatten(1))


def traced(module: nn.Module, images: int = 2) -> convscope.Trace:
    network = convscope.open_network(module.eval(), SIZE).to(torch.float64)
    generator = torch.Generator().manual_seed(3)
    return network.trace(torch.randn(images, *SIZE, generator=generator, dtype=torch.float64))


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Sequential, convscope.Trace]:
    module = plain()
    return module, traced(module)


SCORE = convscope.Target(lambda scores: 2 * scores[1] - scores[3], "margin")


def shares(trace: convscope.Trace, rules: convscope.Rules) -> tuple[Tensor, Tensor]:
    found = convscope.project_target(trace, SCORE, rules)
    return found.projection.sum((1, 2, 3)).double(), found.value.double()


def _conserving(node, signal, saved):
    """LRP-0, which loses nothing but to biases."""
    return node.op.adjoint(node, signal, saved)


# laws


@pytest.mark.parametrize(
    "module",
    [plain(), Mixed(nn.ReLU()), Mixed(nn.SiLU()), Mixed(nn.Tanh()), Mixed(nn.Hardswish()),
     Mixed(nn.GELU())],
    ids=["plain", "relu", "silu", "tanh", "hardswish", "gelu"],
)  # fmt: skip
def test_deeplift_shares_out_the_difference_from_the_reference(module: nn.Module) -> None:
    trace = traced(module)
    total, value = shares(trace, DEEPLIFT)
    zero = SCORE.value(trace.reference[trace.network.output][0])
    torch.testing.assert_close(total, value - zero, rtol=1e-6, atol=1e-9)
    assert (value - zero).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("rules", "lost"),
    [(GRADIENT_X_INPUT, 1e-6), (LRP_EPSILON, 1e-4), (LRP_GAMMA, 1e-4)],  # to the epsilons
    ids=str,
)
def test_without_biases_all_of_the_value_is_shared_out(rules: convscope.Rules, lost: float) -> None:
    total, value = shares(traced(plain(bias=False)), rules)
    torch.testing.assert_close(total, value, rtol=lost, atol=1e-7)


def test_relevance_that_meets_at_sums_products_and_means_adds_up() -> None:
    module = Mixed(nn.ReLU())
    for name, parameter in module.named_parameters():
        if name.endswith("bias") and "gate" not in name:
            nn.init.zeros_(parameter)
    nn.init.zeros_(module.norm.running_mean)
    trace = traced(module)
    total, value = shares(trace, LRP_GAMMA.replace({"conv": _conserving, "linear": _conserving}))
    gate = _bias_share(module, trace)  # what the gate's bias, and a sigmoid of 0, takes
    torch.testing.assert_close(total, value - gate, rtol=1e-5, atol=1e-6)


def _bias_share(module: Mixed, trace: convscope.Trace) -> Tensor:
    """Of each image's score, what goes up the gate and stays in its bias, by hand."""
    with torch.no_grad():
        x = trace["input"]
        module = copy.deepcopy(module).double()
        x = module.activation(module.norm(module.conv(x)))
        x = F.max_pool2d(x + module.body(x), 2)
        mean = x.mean((2, 3), keepdim=True)
        z = module.gate(mean)
        weights = 2 * module.end.weight[1] - module.end.weight[3]
        value = F.avg_pool2d(x * torch.sigmoid(z), 6).flatten(1) * weights  # (N, 6)
        half = value / 2
        return (half * (module.gate.bias / z.flatten(1))).sum(1)


# by hand


def dense(module: nn.Sequential) -> list[tuple[str, Tensor, Tensor]]:
    """Each layer as a matrix (out, in) and a bias; rectifiers and pools as ("relu" | "pool", ...).
    """  # fmt: skip
    steps, size = [], SIZE
    for layer in module:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            count = torch.Size(size).numel()
            units = torch.eye(count, dtype=torch.float64).view(count, *size)
            with torch.no_grad():
                zero = layer(torch.zeros(1, *size, dtype=torch.float64))[0].flatten()
                columns = layer(units).flatten(1) - zero
            steps.append(("weights", columns.T.contiguous(), zero))
            steps[-1][1].kind = "conv" if isinstance(layer, nn.Conv2d) else "linear"
        elif isinstance(layer, nn.MaxPool2d):
            steps.append(("pool", layer, torch.tensor(size)))
        elif isinstance(layer, nn.ReLU):
            steps.append(("relu", torch.zeros(()), torch.zeros(())))
        size = tuple(layer(torch.zeros(1, *size, dtype=torch.float64)).shape[1:])
    return steps


def relevance(
    module: nn.Sequential, image: Tensor, start: Tensor, gamma: bool, epsilon: float = EPSILON
) -> Tensor:
    """Relevance of the input's numbers, layer by layer, R_i = sum_j x_i w_ij R_j / z_j."""
    steps, values = dense(module), [image.flatten()]
    for kind, weight, bias in steps:
        x = values[-1]
        if kind == "weights":
            x = weight @ x + bias
        elif kind == "relu":
            x = x.clamp(min=0)
        else:
            x = weight(x.view(1, *bias.tolist())).flatten()
        values.append(x)
    passed = start * values[-1]
    for (kind, weight, bias), x, z in zip(reversed(steps), values[-2::-1], values[:0:-1],
                                          strict=True):  # fmt: skip
        if kind == "relu":
            continue
        below = torch.zeros_like(x)
        if kind == "pool":
            _, at = F.max_pool2d(x.view(1, *bias.tolist()), 3, 2, return_indices=True)
            channels, rows, columns = bias.tolist()
            flat = below.view(channels, rows * columns)
            for channel in range(channels):
                for j, place in enumerate(at[0, channel].flatten().tolist()):
                    flat[channel, place] += passed.view(channels, -1)[channel, j]
        elif gamma and weight.kind == "conv":
            for j in range(len(z)):
                sign = 1.0 if z[j] > 0 else -1.0
                favoured = weight[j] + GAMMA * (sign * weight[j] * x.sign() > 0) * weight[j]
                constant = bias[j] + GAMMA * (sign * bias[j] > 0) * bias[j]
                share = x * favoured
                total = share.sum() + constant
                below += share / (total + (TINY if total >= 0 else -TINY)) * passed[j]
        else:
            damping = epsilon
            for j in range(len(z)):
                total = z[j] + (damping if z[j] >= 0 else -damping)
                below += x * weight[j] / total * passed[j]
        passed = below
    return passed.view(SIZE)


@pytest.mark.parametrize("rules", [LRP_EPSILON, LRP_GAMMA], ids=str)
def test_relevance_is_that_of_the_formula_layer_by_layer(pair, rules: convscope.Rules) -> None:
    module, trace = pair
    found = convscope.project_target(trace, lambda scores: scores[2], rules, images=[0])
    start = torch.tensor([0.0, 0, 1, 0], dtype=torch.float64)
    expected = relevance(module, trace["input"][0], start, gamma=rules is LRP_GAMMA)
    torch.testing.assert_close(found.projection[0].double(), expected, rtol=1e-5, atol=1e-8)


# Captum


@pytest.mark.parametrize(
    ("rules", "theirs"), [(GRADIENT_X_INPUT, "InputXGradient"), (DEEPLIFT, "DeepLift")], ids=str
)
def test_shares_are_captum_s(pair, rules: convscope.Rules, theirs: str) -> None:
    attr = pytest.importorskip("captum.attr")
    module, trace = pair
    module, image = copy.deepcopy(module), trace["input"].contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(attr, theirs)(module).attribute(image.clone().requires_grad_(), target=2)
    found = convscope.project_target(trace, lambda scores: scores[2], rules)
    torch.testing.assert_close(found.projection.double(), expected.detach(), rtol=1e-5, atol=1e-7)


def test_a_large_epsilon_is_that_of_the_formula(pair) -> None:
    module, trace = pair
    rules = LRP_EPSILON.replace(dict.fromkeys(("conv", "linear"), share_by_epsilon_of(0.2)))
    found = convscope.project_target(trace, lambda scores: scores[2], rules, images=[0])
    start = torch.tensor([0.0, 0, 1, 0], dtype=torch.float64)
    expected = relevance(module, trace["input"][0], start, gamma=False, epsilon=0.2)
    torch.testing.assert_close(found.projection[0].double(), expected, rtol=1e-5, atol=1e-8)


# units, windows, refusals


def test_a_unit_s_shares_are_those_of_its_field_and_add_up() -> None:
    trace = traced(plain(bias=False))
    for rules in (GRADIENT_X_INPUT, LRP_GAMMA, DEEPLIFT):
        found = convscope.project(trace, ["0/2@5,5", "3/1", "4/3@1,0"], rules, images=[0, 1, 1])
        total = found.projection.sum((1, 2, 3)).double()
        torch.testing.assert_close(total, found.activation.double(), rtol=1e-5, atol=1e-6)
    gradient = convscope.project(trace, "0/2@5,5", convscope.GRADIENT, images=0)
    times = convscope.project(trace, "0/2@5,5", GRADIENT_X_INPUT, images=0)
    torch.testing.assert_close(
        times.projection, gradient.projection * trace["input"][:1], check_dtype=False
    )
    assert times.fields[0].shape == (3, 3, 3)  # in windows, as the gradient


@pytest.mark.parametrize(
    ("end", "kind"),
    [(lambda x: x.softmax(1), "softmax"), (lambda x: F.glu(x, 1), "glu"),
     (lambda x: torch.logsumexp(x, (2, 3)), "logsumexp"),
     (lambda x: torch.hypot(x, x + 1), "hypot")],
)  # fmt: skip
def test_what_shares_out_nothing_is_refused_by_name(end, kind: str) -> None:
    class Ending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return end(self.conv(x))

    network = convscope.open_network(Ending(), SIZE)
    trace = network.trace(torch.randn(1, *SIZE))
    target = convscope.Target(lambda output: output.sum(), "sum")
    for rules in (LRP_EPSILON, LRP_GAMMA, DEEPLIFT):
        with pytest.raises(UnsupportedOp, match=f"shares out what {kind}"):
            convscope.project_target(trace, target, rules)
    assert convscope.project_target(trace, target, GRADIENT_X_INPUT).projection.abs().sum() > 0


def test_the_rules_have_the_names_that_the_command_line_offers() -> None:
    from convscope.experiments.options import RulesName

    assert [str(name) for name in RulesName] == list(RULES)
