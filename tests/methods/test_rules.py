"""Methods as tables of rules; Captum's, where they are right and where they are not."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import BadOption, UnsupportedOp
from convscope.methods.project import project
from convscope.methods.rules import (
    DECONVNET,
    GRADIENT,
    GUIDED,
    RULES,
    InitialSignal,
    Rules,
    gate_by_input,
    rules_named,
    skip,
    unpool_overwriting,
)
from convscope.network.network import open_network
from convscope.network.node import Node, Saved
from convscope.network.ops import OPS
from nets import Apply

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what captum's own imports warn of
    from captum.attr import Deconvolution, GuidedBackprop, NeuronDeconvolution, Saliency


def test_every_operation_of_the_table_has_a_rule_in_every_method():
    for rules in RULES.values():
        missing = {op.kind for op in OPS if op.adjoint is None} - set(rules.table)
        assert not missing, (rules.name, missing)


def test_methods_are_found_by_name():
    assert [rules_named(name) for name in ("deconvnet", "gradient", "guided")] == [
        DECONVNET, GRADIENT, GUIDED,
    ]  # fmt: skip
    with pytest.raises(BadOption, match="choose one of deconvnet, gradient, guided"):
        rules_named("deconv")


def test_a_missing_rule_is_refused_with_the_operation_the_layer_and_the_remedy():
    network = open_network(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), (3, 5, 5))
    bare = Rules("bare", {}, InitialSignal.ONE)
    trace = network.trace(torch.randn(3, 5, 5))
    project(trace, "0/1", bare)  # a convolution has its adjoint
    with pytest.raises(
        UnsupportedOp,
        match=r"bare has no rule for relu \(layer '1'\).*rules\.replace\(\{'relu': rule\}\)",
    ):
        project(trace, "1/1", bare)


def test_replacing_a_rule_gives_another_method_and_leaves_the_first():
    network = open_network(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), (3, 5, 5))
    trace = network.trace(torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0)))
    mine = DECONVNET.replace({"relu": gate_by_input}, name="mine", seed=InitialSignal.ONE)
    assert (mine.name, str(mine), mine.seed) == ("mine", "mine", InitialSignal.ONE)
    assert (DECONVNET.name, DECONVNET.seed) == ("deconvnet", InitialSignal.ACTIVATION)
    assert mine.table["lrn"] is skip
    assert DECONVNET.table["relu"] is not gate_by_input
    for unit in ("1/0", "1/1@0,0"):
        found, expected = project(trace, unit, mine), project(trace, unit, GRADIENT)
        assert torch.equal(found.projection, expected.projection)


def test_a_rule_of_ones_own_sees_the_input_the_output_and_the_switches():
    seen: dict[str, list[tuple[int, ...]]] = {}

    def watch(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
        values = [saved.input(), saved.output()]
        if node.kind == "max_pool":
            values.append(saved.switches())
        seen[node.kind] = [tuple(value.shape) for value in (signal, *values)]
        return (signal.new_ones(signal.shape[0], *node.below[0]),)

    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    network = open_network(module, (3, 6, 6))
    rules = GRADIENT.replace({"relu": watch, "max_pool": watch})
    project(network.trace(torch.randn(2, 3, 6, 6)), ["2/0", "2/1", "2/1"], rules, images=[0, 1, 0])
    assert seen["max_pool"] == [(3, 2, 2, 2), (3, 2, 4, 4), (3, 2, 2, 2), (3, 2, 2, 2)]
    assert seen["relu"] == [(3, 2, 4, 4)] * 3


def test_overwriting_keeps_the_strongest_of_the_values_that_share_a_switch():
    """The 3x3 maximum, 5, is in all four windows; their values above it are 1, 2, 3 and 4."""
    weigh = nn.Conv2d(1, 1, 2, bias=False)
    weigh.weight = nn.Parameter(torch.tensor([[[[1.0, 2], [3, 4]]]]))
    network = open_network(nn.Sequential(nn.MaxPool2d(2, stride=1), weigh), (1, 3, 3))
    trace = network.trace(torch.tensor([[[0.0, 1, 0], [0, 5, 0], [1, 0, 2]]]))
    one = DECONVNET.replace({}, seed=InitialSignal.ONE)
    summed = project(trace, "1/0", one).projection[0, 0]
    overwritten = project(trace, "1/0", one.replace({"max_pool": unpool_overwriting}))
    assert summed.tolist() == [[0, 0, 0], [0, 10, 0], [0, 0, 0]]
    assert overwritten.projection[0, 0].tolist() == [[0, 0, 0], [0, 4, 0], [0, 0, 0]]


def test_overwriting_is_what_max_unpool_does_where_windows_do_not_overlap():
    module = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 3, 2))
    network = open_network(module, (2, 6, 6))
    trace = network.trace(torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0)))
    for pool in (DECONVNET, DECONVNET.replace({"max_pool": unpool_overwriting})):
        found = project(trace, "1/2@1,1", pool)
        signal = torch.zeros(1, 2, 3, 3)
        signal[0, :, 1:, 1:] = found.activation * module[1].weight[2].detach()
        expected = F.max_unpool2d(signal, trace.switches("0"), 2)
        torch.testing.assert_close(found.projection, expected)


class Functional(nn.Sequential):
    """The same layers, its rectifiers written as F.relu."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
        return x


def layers() -> list[nn.Module]:
    torch.manual_seed(0)
    return [
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * 3 * 3, 6), nn.ReLU(), nn.Linear(6, 4),
    ]  # fmt: skip


@pytest.fixture
def image() -> Tensor:
    return torch.randn(1, 3, 14, 14, generator=torch.Generator().manual_seed(3))


# captum says that it sets hooks, and that it asks the image for gradients, each time
@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations:UserWarning")
@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients:UserWarning")
class TestCaptum:
    @pytest.mark.parametrize("target", range(4))
    def test_with_relu_modules_its_methods_are_ours_seeded_with_one(
        self, target: int, image: Tensor
    ):
        module = nn.Sequential(*layers()).eval()
        trace = open_network(module, (3, 14, 14)).trace(image)
        for captum, rules in (
            (Deconvolution(module).attribute(image, target), DECONVNET),
            (GuidedBackprop(module).attribute(image, target), GUIDED),
            (Saliency(module).attribute(image, target, abs=False), GRADIENT),
        ):
            found = project(trace, f"10/{target}", rules.replace({}, seed=InitialSignal.ONE))
            torch.testing.assert_close(found.projection, captum.detach())

    @pytest.mark.parametrize("layer", ["0", "1", "2", "3", "4", "5", "6", "8", "9"])
    def test_its_neuron_deconvolution_times_the_activation_is_the_papers(
        self, layer: str, image: Tensor
    ):
        module = nn.Sequential(*layers()).eval()
        trace = open_network(module, (3, 14, 14)).trace(image)
        values = trace[layer][0]
        strongest = int(values.amax((1, 2)).argmax() if values.dim() == 3 else values.argmax())
        found = project(trace, f"{layer}/{strongest}")
        assert found.activation.item() > 0
        (seen,) = found.units
        captum = NeuronDeconvolution(module, module[int(seen.layer)]).attribute(
            image, (seen.channel, *(seen.position or ()))
        )
        torch.testing.assert_close(found.projection, found.activation.item() * captum.detach())

    def test_an_activation_seed_is_the_activation_times_captums(self, image: Tensor):
        module = nn.Sequential(*layers()).eval()
        trace = open_network(module, (3, 14, 14)).trace(image)
        target = int(trace["10"][0].argmax())
        captum = Deconvolution(module).attribute(image, target).detach()
        found = project(trace, f"10/{target}")
        assert found.activation.item() > 0
        torch.testing.assert_close(found.projection, found.activation.item() * captum)

    def test_with_functional_relu_its_deconvolution_is_silently_the_plain_gradient(
        self, image: Tensor
    ):
        module, functional = nn.Sequential(*layers()).eval(), Functional(*layers()).eval()
        captum = Deconvolution(functional).attribute(image, 1).detach()
        gradient = Saliency(functional).attribute(image, 1, abs=False).detach()
        assert torch.equal(captum, gradient)
        ones = DECONVNET.replace({}, seed=InitialSignal.ONE)
        ours = project(open_network(functional, (3, 14, 14)).trace(image), "10/1", ones)
        as_modules = project(open_network(module, (3, 14, 14)).trace(image), "10/1", ones)
        torch.testing.assert_close(ours.projection, as_modules.projection)
        assert (ours.projection - captum).norm() > 0.5 * captum.norm()


def test_a_negative_activation_is_carried_down_as_it_is():
    """Started with a negative activation, the rectifier below turns what was positive off."""
    module = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        module[0].weight[:] = torch.tensor([1.0, -1]).view(2, 1, 1, 1)
        module[2].weight[:] = torch.tensor([-2.0, 3]).view(1, 2, 1, 1)
        module[2].bias[:] = 0
    trace = open_network(module, (1, 1, 1)).trace(torch.ones(1, 1, 1, 1))
    found = project(trace, "2/0")
    assert found.activation.tolist() == [-2]
    # -2 * (-2, 3) = (4, -6); rectified (4, 0); through (1, -1): 4
    assert found.projection.item() == 4


def test_gates_pass_by_the_product_rule_in_every_method():
    network = open_network(Apply(lambda x: x * torch.sigmoid(x.mean((2, 3), True))), (2, 3, 3))
    trace = network.trace(torch.randn(2, 3, 3))
    results = [
        project(trace, "mul/1", r.replace({}, seed=InitialSignal.ONE)) for r in RULES.values()
    ]
    assert torch.equal(results[0].projection, results[1].projection)
    assert torch.equal(results[0].projection, results[2].projection)
