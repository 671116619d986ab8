"""How outputs are read as classes, against the formulas written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import BadInput, BadOption
from convscope.methods.classes import Head, class_names
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import occlude
from convscope.methods.sweep import sweep
from convscope.network.network import Network, open_network


class Ending(nn.Module):
    """A convolution, so many linear outputs, and a function of these."""

    def __init__(self, outputs: int, end: object = None) -> None:
        super().__init__()
        self.conv, self.top = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, outputs)
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        scores = self.top(self.conv(x).relu().flatten(1))
        return scores if self.end is None else self.end(scores)  # type: ignore[operator]


def opened(outputs: int, end: object = None) -> tuple[nn.Module, Network]:
    torch.manual_seed(0)
    module = Ending(outputs, end).eval()
    with torch.no_grad():
        module.top.weight *= 20  # so that probabilities are far from a half, and some near 0 and 1
    return module, open_network(module, (3, 16, 16))


def image() -> Tensor:
    return torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(1))


SINGLE = {
    "(N, 1)": None,
    "(N,) by squeeze": lambda x: x.squeeze(1),
    "(N,) by an index": lambda x: x[:, 0],
    "(N,) by view": lambda x: x.view(-1),
    "(N,) by flatten": lambda x: x.flatten(),
    "(N, 1, 1)": lambda x: x.unsqueeze(2),
}


@pytest.mark.parametrize("method", ["incremental", "full"])
@pytest.mark.parametrize("form", SINGLE)
def test_one_logit_is_the_log_odds_of_class_1_against_class_0(form: str, method: str) -> None:
    module, network = opened(1, SINGLE[form])
    occluder = Occluder(5, 4)
    found = sweep(network, image(), occluder, fill=0.5, method=method)
    for i, box in enumerate(occluder.boxes(16, 16)):
        covered = image()
        covered[:, box.top : box.bottom, box.left : box.right] = 0.5
        with torch.no_grad():
            logit = float(module(covered[None]).flatten())
        at = divmod(i, len(found.columns))
        assert float(found.log_odds(1)[at]) == pytest.approx(logit, abs=2e-4)
        assert float(found.log_odds(0)[at]) == pytest.approx(-logit, abs=2e-4)
        assert float(found.probability(1)[at]) == pytest.approx(
            1 / (1 + math.exp(-logit)), rel=1e-4
        )
        assert float(found.probability(0)[at]) == pytest.approx(1 / (1 + math.exp(logit)), rel=1e-4)
        assert int(found.label()[at]) == int(logit > 0)
    assert found.base_probabilities().shape == (2,)
    with pytest.raises(BadOption, match="classes 0 to 1"):
        found.probability(2)


@pytest.mark.parametrize("squeeze", [False, True])
def test_a_sigmoid_over_one_number_is_the_probability_of_class_1(squeeze: bool) -> None:
    module, network = opened(1, lambda x: x.sigmoid().squeeze(1) if squeeze else x.sigmoid())
    found = occlude(network, image(), Occluder(5, 4), fill=0.0)
    with torch.no_grad():
        p = float(module(image()[None]).flatten())
    assert found.base_probabilities.tolist() == pytest.approx([1 - p, p])
    assert found.base_label == found.target == int(p > 0.5)
    sign = 1 if p > 0.5 else -1
    assert found.base_log_odds == pytest.approx(sign * math.log(p / (1 - p)), abs=1e-3)
    assert found.probability.std() > 0 and found.log_odds.std() > 0


NORMALISED = {
    "softmax": lambda x: x.softmax(1),
    "sigmoid": lambda x: x.sigmoid(),
    "hardsigmoid": nn.functional.hardsigmoid,
    "softmax, reshaped": lambda x: x.softmax(1).unsqueeze(2).flatten(1),
    "softmax, some classes": lambda x: x.softmax(1)[:, 1:],
    "sigmoids side by side": lambda x: torch.cat([x[:, :1].sigmoid(), x[:, 1:].sigmoid()], 1),
}


@pytest.mark.parametrize("end", NORMALISED)
def test_probabilities_at_the_end_are_taken_as_they_are(end: str) -> None:
    module, network = opened(3, NORMALISED[end])
    with torch.no_grad():
        output = module(image()[None])[0]
    head = Head.of(network)
    assert head.normalised and head.outputs == len(output)
    assert head.probabilities(output).tolist() == output.tolist()
    for target, p in enumerate(output.double().tolist()):
        if 1e-6 < p < 1 - 1e-6:
            assert float(head.log_odds(output, target)) == pytest.approx(math.log(p / (1 - p)))


def test_probabilities_averaged_over_places_are_probabilities() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert Head.of(open_network(net.eval(), (3, 16, 16))) == Head(4, normalised=True)


SCORES = {
    "scores": None,
    "log-softmax": lambda x: x.log_softmax(1),
    "a gate, then a sum": lambda x: x * x.sigmoid() + x,
    "a part of the scores": lambda x: x[:, :2],
}


@pytest.mark.parametrize("end", SCORES)
def test_scores_go_through_a_softmax(end: str) -> None:
    module, network = opened(3, SCORES[end])
    with torch.no_grad():
        output = module(image()[None])[0]
    head = Head.of(network)
    assert not head.normalised
    powers = [math.exp(each - float(output.max())) for each in output.tolist()]
    expected = [power / sum(powers) for power in powers]
    assert head.probabilities(output).tolist() == pytest.approx(expected, abs=1e-6)
    assert int(head.labels(output)) == expected.index(max(expected))


def test_log_odds_tell_small_probabilities_apart_and_are_finite_at_0_and_1() -> None:
    head = Head(3, normalised=True)
    output = torch.tensor([1e-20, 1e-10, 1.0])
    assert float(head.log_odds(output, 0)) == pytest.approx(math.log(1e-20), rel=1e-6)
    assert float(head.log_odds(output, 1)) == pytest.approx(math.log(1e-10), rel=1e-6)
    assert float(head.log_odds(output, 2)) == pytest.approx(math.log(2**24), rel=1e-6)
    nothing = head.log_odds(torch.zeros(3), 0)
    assert torch.isfinite(nothing) and nothing < -80


@pytest.mark.parametrize(
    ("outputs", "end", "words"),
    [
        (1, lambda x: x.softmax(1), "softmax over a single number"),
        (1, lambda x: x.log_softmax(1), "softmax over a single number"),
        (3, lambda x: x.log_softmax(1)[:, 1], "a part of 'log_softmax'"),
        (6, lambda x: x.view(-1, 2, 3), "2x3, and not in a score per class"),
    ],
)
def test_what_is_no_score_per_class_is_refused_by_name(
    outputs: int, end: object, words: str
) -> None:
    _, network = opened(outputs, end)
    with pytest.raises(BadInput, match=words):
        Head.of(network)
    with pytest.raises(BadInput, match=words):
        sweep(network, image(), Occluder(5, 4), fill=0.0)


def test_one_name_is_that_of_class_1() -> None:
    _, one = opened(1)
    assert class_names(one, ["cat"]) == ("not cat", "cat")
    assert class_names(one, ["dog", "cat"]) == ("dog", "cat")
    _, three = opened(3)
    assert class_names(three, ["a", "b", "c"]) == ("a", "b", "c")
    for network, given, count in ((one, ["a", "b", "c"], 2), (three, ["a"], 3), (three, "abcd", 3)):
        with pytest.raises(BadOption, match=rf"{len(given)} class names, .* tells {count} classes"):
            class_names(network, list(given))


def test_maps_and_values_have_names_too() -> None:
    def maps(count: int, task: str = "auto") -> Network:
        return open_network(nn.Conv2d(3, count, 3).eval(), (3, 16, 16), task=task)

    assert class_names(maps(3), ["sky", "", "road"]) == ("sky", "", "road")
    assert class_names(maps(1), ["road"]) == ("not road", "road")
    assert class_names(maps(1, "regress"), ["depth"]) == ("depth",)
    for network, given in ((maps(3), ["a", "b"]), (maps(3, "regress"), ["a"]), (maps(1), "abc")):
        with pytest.raises(BadOption, match=f"{len(given)} (class )?names, but"):
            class_names(network, list(given))
    _, three = opened(3)
    with pytest.raises(BadOption, match="0 class names"):
        class_names(three, [])


def test_values_are_no_classes() -> None:
    network = open_network(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), (3, 4, 4), task="regress")
    with pytest.raises(BadInput, match="read as values, not as classes"):
        Head.of(network)


def test_labels_of_their_own_do_not_add_up() -> None:
    head = Head(3, normalised=False, separate=True)
    scores = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    each = [1 / (1 + math.exp(-score)) for score in scores.tolist()]
    assert head.probabilities(scores).tolist() == pytest.approx(each)
    assert [float(head.log_odds(scores, i)) for i in range(3)] == scores.tolist()
    assert int(head.labels(scores)) == 2
