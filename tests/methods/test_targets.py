"""Targets: numbers of any output, watched and projected, against brute force and autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import BadInput, BadOption, NonFinite
from convscope.methods import sweep as sweeping
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import occlude
from convscope.methods.project import project, project_target
from convscope.methods.rules import DECONVNET, GRADIENT
from convscope.methods.targets import ClassAt, Target, about_answer
from convscope.network.network import Network, open_network
from convscope.network.task import Task

SHAPE = (3, 16, 16)
OCCLUDER = Occluder(6, 5)
FILL = 0.25


class Outputs(nn.Module):
    """Maps of 4 channels, at half the size and back, and a vector of 5 numbers."""

    def __init__(self, returned: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.top = nn.Linear(6, 5)
        self.returned = returned

    def forward(self, x: Tensor) -> Any:
        features = self.pool(self.conv(x).relu())
        return self.returned(self.up(self.head(features)), 9 * self.top(features.mean((2, 3))))


FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "maps": lambda maps, vector: maps,
    "one map": lambda maps, vector: maps[:, :1],
    "softmax maps": lambda maps, vector: maps.softmax(1),
    "sigmoid map": lambda maps, vector: maps[:, :1].sigmoid(),
    "vector": lambda maps, vector: vector,
    "vector in maps": lambda maps, vector: vector[:, :, None, None],
    "number": lambda maps, vector: vector[:, 0],
    "rows": lambda maps, vector: maps.flatten(2).transpose(1, 2),
    "both": lambda maps, vector: {"maps": maps, "vector": vector},
}


class Opened:
    """A module of each form, and the networks that were read of it."""

    def __init__(self) -> None:
        self.modules = {name: Outputs(form).double().eval() for name, form in FORMS.items()}
        self.networks: dict[Any, Network] = {}

    def __call__(self, form: str, task: str = "auto") -> tuple[nn.Module, Network]:
        if form not in self.networks:
            self.networks[form] = open_network(self.modules[form], SHAPE)
        read = self.networks[form]
        again = Network(read.nodes.values(), SHAPE, read.outputs, read.output, task=Task(task))
        return self.modules[form], again


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()


def image() -> Tensor:
    noise = torch.randn(*SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    noise[:, :, 8:] += 1
    return noise


def by_hand(module: nn.Module, number: Callable[[Any], Tensor]) -> tuple[Tensor, float]:
    """The number of the module's own output at each position of the occluder, and without it."""
    rows, columns = OCCLUDER.grid(*SHAPE[1:])
    found = torch.empty(len(rows), len(columns), dtype=torch.float64)
    with torch.no_grad():
        for i, box in enumerate(OCCLUDER.boxes(*SHAPE[1:])):
            covered = image()
            covered[:, box.top : box.bottom, box.left : box.right] = FILL
            found[divmod(i, len(columns))] = number(module(covered[None]))
        return found, float(number(module(image()[None])))


def swept(network: Network, target: Any = None, **how: Any) -> Any:
    return occlude(network, image(), OCCLUDER, fill=FILL, target=target, **how)


def predicted(module: nn.Module) -> Tensor:
    with torch.no_grad():
        return module(image()[None])[0].argmax(0)


# ---- any function ------------------------------------------------------------------------------

DIRECTION = torch.linspace(-1, 1, 5, dtype=torch.float64)

FUNCTIONS: dict[str, tuple[str, Any, Callable[[Any], Tensor]]] = {
    "a margin": ("vector", lambda s: s[3] - s[1], lambda out: out[0, 3] - out[0, 1]),
    "a similarity": (
        "vector",
        lambda s: torch.cosine_similarity(s, DIRECTION, dim=0),
        lambda out: (out[0] @ DIRECTION) / (out[0].norm() * DIRECTION.norm()),
    ),
    "a class in a mask": (
        "maps",
        lambda maps: maps[2, 4:9, 3:7].sum(),
        lambda out: out[0, 2, 4:9, 3:7].sum(),
    ),
    "one number": ("number", lambda s: s**2, lambda out: out[0] ** 2),
    "an odd shape": ("rows", lambda rows: rows[17, 2], lambda out: out[0, 17, 2]),
    "a label, as an int": ("vector", lambda s: int(s.argmax()), lambda out: out[0].argmax()),
    "two outputs": (
        "both",
        Target(lambda v, m: v[0] * m[1, 5, 5], outputs=("vector", 0)),
        lambda out: out["vector"][0, 0] * out["maps"][0, 1, 5, 5],
    ),
    "one box of many": (  # a detector's boxes: here each position's first two channels
        "maps",
        lambda maps: maps[3].flatten()[(maps[:2].flatten(1) - 0.1).norm(dim=0).argmin()],
        lambda out: out[0, 3].flatten()[(out[0, :2].flatten(1) - 0.1).norm(dim=0).argmin()],
    ),
}


@pytest.mark.parametrize("method", ["incremental", "full"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_function_of_the_output_is_watched(opened: Opened, name: str, method: str) -> None:
    form, target, number = FUNCTIONS[name]
    module, network = opened(form)
    wanted, base = by_hand(module, number)
    found = swept(network, target, method=method)
    torch.testing.assert_close(found.value.double(), wanted, atol=1e-10, rtol=1e-8)
    assert found.base_value == pytest.approx(base, rel=1e-8)
    assert found.quantity == "value" and found.target_index is None
    with pytest.raises(BadInput, match="not probabilities of classes"):
        _ = found.probability


def test_a_function_that_fails_is_named_with_what_it_was_given() -> None:
    target = Target(lambda scores: scores[7], name="cat")
    with pytest.raises(BadOption, match=r"target 'cat' fails: IndexError: .*image's output \(5\)"):
        target.value(torch.zeros(5))


def test_maps_that_do_not_fit_in_memory_are_taken_in_rows(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, network = opened("maps")
    whole = swept(network, ClassAt(1), method="incremental")
    monkeypatch.setattr(sweeping, "HELD", 1)
    done: list[int] = []
    rows = swept(network, ClassAt(1), progress=lambda what, count, total: done.append(count))
    torch.testing.assert_close(rows.value, whole.value, atol=1e-12, rtol=0)
    torch.testing.assert_close(rows.activity, whole.activity, atol=1e-12, rtol=1e-12)
    assert done[-1] == whole.value.numel() and done == sorted(done)


# ---- classes of maps ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["maps", "softmax maps"])
def test_a_class_of_maps_is_its_mean_score_where_it_is_predicted(opened: Opened, form: str) -> None:
    module, network = opened(form)
    labels = predicted(module)
    areas = labels.flatten().bincount(minlength=4)
    most = int(areas.argmax())
    assert 0 < int(areas[most]) < labels.numel()
    wanted, base = by_hand(module, lambda out: out[0, most][labels == most].mean())
    found = swept(network)
    assert found.target_index == most
    torch.testing.assert_close(found.value, wanted, atol=1e-10, rtol=1e-8)
    assert found.base_value == pytest.approx(base)
    assert found.quantity == ("mean logit" if form == "maps" else "mean probability")
    assert torch.equal(found.answer.watched.predicted, labels)
    share = round(100 * float((labels == most).double().mean()))
    assert found.answer.watched.where == f"where it is predicted, {share} % of the map"


def test_a_class_that_is_predicted_nowhere_is_taken_everywhere(opened: Opened) -> None:
    module, network = opened("maps")
    with torch.no_grad():
        bias = module.head.bias.clone()
        module.head.bias[3] -= 1000
        try:
            wanted, _ = by_hand(module, lambda out: out[0, 3].mean())
            found = swept(network, 3)
        finally:
            module.head.bias.copy_(bias)
    torch.testing.assert_close(found.value, wanted, atol=1e-9, rtol=1e-8)
    assert "predicted nowhere" in found.answer.watched.where


def test_the_background_is_watched_only_where_nothing_else_is_predicted(opened: Opened) -> None:
    module, network = opened("maps")
    areas = predicted(module).flatten().bincount(minlength=4)
    order = areas.argsort(descending=True).tolist()
    assert areas[order[1]] > 0
    assert swept(network, background=order[0]).target_index == order[1]
    assert swept(network, background=order[1]).target_index == order[0]


def test_a_class_may_be_watched_at_one_position(opened: Opened) -> None:
    module, network = opened("maps")
    wanted, _ = by_hand(module, lambda out: out[0, 2, 15, 4])
    found = swept(network, ClassAt(2, (15, 4)))
    torch.testing.assert_close(found.value, wanted, atol=1e-10, rtol=1e-8)
    assert (found.quantity, found.answer.watched.where) == ("logit", "at row 15, column 4")


@pytest.mark.parametrize("form", ["one map", "sigmoid map"])
def test_one_map_tells_two_classes(opened: Opened, form: str) -> None:
    module, network = opened(form)
    with torch.no_grad():
        there = module(image()[None])[0, 0] > (0 if form == "one map" else 0.5)
    assert bool(there.any()) and not bool(there.all())
    rest: Callable[[Tensor], Tensor] = (lambda x: -x) if form == "one map" else (lambda x: 1 - x)
    for target, mask, score in ((1, there, lambda x: x), (0, ~there, rest)):
        wanted, _ = by_hand(module, lambda out, m=mask, f=score: f(out[0, 0])[m].mean())
        torch.testing.assert_close(swept(network, target).value, wanted, atol=1e-10, rtol=1e-8)
    with pytest.raises(BadOption, match="classes 0 to 1"):
        swept(network, 2)


def test_of_labels_of_their_own_each_is_where_its_logit_is_positive(opened: Opened) -> None:
    module, network = opened("maps", task="multilabel")
    with torch.no_grad():
        there = module(image()[None])[0, 1] > 0
    assert 0 < int(there.sum()) != int((predicted(module) == 1).sum())
    wanted, _ = by_hand(module, lambda out: out[0, 1][there].mean())
    torch.testing.assert_close(swept(network, 1).value, wanted, atol=1e-10, rtol=1e-8)


# ---- values and labels of a vector --------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "target", "number"),
    [
        ("vector", 2, lambda out: out[0, 2]),
        ("vector", None, lambda out: out[0, 0]),
        ("vector in maps", 4, lambda out: out[0, 4, 0, 0]),
        ("number", None, lambda out: out[0]),
        ("maps", 1, lambda out: out[0, 1].mean()),
        ("maps", ClassAt(1, (0, 3)), lambda out: out[0, 1, 0, 3]),
    ],
)
def test_a_regression_shows_values(
    opened: Opened, form: str, target: Any, number: Callable[[Tensor], Tensor]
) -> None:
    module, network = opened(form, task="regress")
    wanted, base = by_hand(module, number)
    found = swept(network, target)
    torch.testing.assert_close(found.value, wanted, atol=1e-10, rtol=1e-8)
    assert found.base_value == pytest.approx(base)
    assert found.quantity in ("value", "mean value") and found.answer.watched.predicted is None


def test_labels_of_their_own_have_a_sigmoid_each(opened: Opened) -> None:
    module, network = opened("vector", task="multilabel")
    wanted, _ = by_hand(module, lambda out: out[0, 2].sigmoid())
    found = swept(network, 2)
    torch.testing.assert_close(found.probability, wanted, atol=1e-10, rtol=1e-8)
    logits, _ = by_hand(module, lambda out: out[0, 2])
    torch.testing.assert_close(found.log_odds, logits, atol=1e-9, rtol=1e-8)
    with torch.no_grad():
        each = module(image()[None])[0].sigmoid()
    torch.testing.assert_close(found.base_probabilities, each)
    assert float(each.sum()) != pytest.approx(1)


def test_a_vector_in_maps_of_one_position_is_a_vector(opened: Opened) -> None:
    flat, maps = swept(opened("vector")[1]), swept(opened("vector in maps")[1])
    torch.testing.assert_close(flat.probability, maps.probability)
    assert flat.target == maps.target


# ---- what cannot be ----------------------------------------------------------------------------


def test_what_cannot_be_watched_is_refused_in_one_line(opened: Opened) -> None:
    vector, maps, rows = (opened(form)[1] for form in ("vector", "maps", "rows"))
    refused: list[tuple[Network, Any, str]] = [
        (vector, lambda s: s, "returned 5 numbers, not one: it is given one image's output"),
        (vector, lambda s: "high", "returned a str, not a number"),
        (vector, lambda s: None, "returned a NoneType, not a number"),
        (vector, "cat", "give a class's index, or a function"),
        (vector, 2.5, "give a class's index, or a function"),
        (vector, ClassAt(2, (0, 0)), "has no positions"),
        (vector, 5, "classes 0 to 4"),
        (vector, -1, "classes 0 to 4"),
        (vector, Target(lambda s: s[0], outputs=("mask",)), "has one output"),
        (opened("both")[1], Target(lambda s: s[0], outputs="mask"), "it returns maps, vector"),
        (maps, 4, "classes 0 to 3"),
        (maps, ClassAt(1, (16, 0)), "rows 0 to 15 and columns 0 to 15"),
        (opened("vector", "regress")[1], 5, "values 0 to 4"),
        (opened("maps", "regress")[1], 4, "channels 0 to 3"),
    ]
    for network, target, words in refused:
        with pytest.raises(BadOption, match=words):
            swept(network, target)
    for network in (rows, opened("rows", "regress")[1]):
        with pytest.raises(BadInput, match="256x4"):
            swept(network, 1)
    with pytest.raises(NonFinite, match="target 'target' is NaN"):
        swept(vector, lambda s: s[0] * float("nan"))
    with pytest.raises(BadOption, match="'cat'"):
        Target("cat")  # type: ignore[arg-type]


def test_how_the_answer_is_read_is_said(opened: Opened) -> None:
    assert about_answer(opened("vector")[1]) is None
    for form, task, words in (
        ("vector", "multilabel", "5 classes, each judged by itself"),
        ("vector", "regress", "5 values"),
        ("number", "auto", "log-odds of class 1"),
        ("maps", "auto", "maps 4x16x16: a class at each position"),
    ):
        assert words in str(about_answer(opened(form, task)[1]))


# ---- projected ---------------------------------------------------------------------------------


def slope(module: nn.Module, images: Tensor, number: Callable[[Any], Tensor]) -> Tensor:
    images = images.clone().requires_grad_()
    total = sum(number(module(images[i : i + 1])) for i in range(len(images)))
    return torch.autograd.grad(total, images)[0]


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "int" not in name])
def test_the_gradient_of_a_target_is_autograds(opened: Opened, name: str) -> None:
    form, target, number = FUNCTIONS[name]
    module, network = opened(form)
    images = torch.stack([image(), image().flip(2)])
    found = project_target(network.trace(images), target)
    torch.testing.assert_close(found.projection, slope(module, images, number))
    with torch.no_grad():
        values = [float(number(module(one[None]))) for one in images]
    assert found.value.tolist() == pytest.approx(values)
    second = project_target(network.trace(images), target, images=1)
    torch.testing.assert_close(second.projection[0], found.projection[1])
    assert second.images.tolist() == [1]


@pytest.mark.parametrize("rules", [DECONVNET, GRADIENT], ids=str)
def test_a_target_that_is_a_unit_is_projected_as_the_unit(opened: Opened, rules: Any) -> None:
    for form, target, unit in (
        ("vector", lambda s: s[3], "mul/3"),
        ("maps", lambda m: m[2, 9, 4], "up/2@9,4"),
    ):
        network = opened(form)[1]
        trace = network.trace(image(), [network.output])
        wanted = project(trace, unit, rules)
        found = project_target(trace, target, rules)
        torch.testing.assert_close(found.projection, wanted.projection)
        assert float(found.value) == pytest.approx(float(wanted.activation))


def test_an_output_below_another_is_reached_from_both(opened: Opened) -> None:
    class Embedding(Outputs):
        def forward(self, x: Tensor) -> Any:
            features = self.conv(x).relu().mean((2, 3))
            return features, self.top(features)

    module = Embedding(lambda *_: None).double().eval()
    target = Target(lambda e, s: e[0] * s[1], outputs=(0, 1))
    found = project_target(open_network(module, SHAPE).trace(image()), target)
    wanted = slope(module, image()[None], lambda out: out[0][0, 0] * out[1][0, 1])
    torch.testing.assert_close(found.projection, wanted)


def test_a_target_without_a_derivative_is_refused_and_one_of_a_part_has_zeros(
    opened: Opened,
) -> None:
    trace = opened("both")[1].trace(image())
    for target in (lambda m: m.argmax(), lambda m: 1.0, lambda m: m.detach().sum()):
        with pytest.raises(BadOption, match="has no derivative"):
            project_target(trace, target)
    with pytest.raises(BadInput, match="one row of the trace"):
        project_target(trace, lambda m: m.sum(), images=[1])
    unused = project_target(trace, Target(lambda m, v: m[0, 0, 0], outputs=("maps", "vector")))
    alone = project_target(trace, lambda m: m[0, 0, 0])
    torch.testing.assert_close(unused.projection, alone.projection)


def test_bfloat16_says_what_rounding_does_to_a_target() -> None:
    network = open_network(Outputs(FORMS["maps"]).eval(), SHAPE)
    found = occlude(
        network, image().float(), OCCLUDER, fill=FILL, target=ClassAt(1), precision="bfloat16"
    )
    exact = occlude(network, image().float(), OCCLUDER, fill=FILL, target=ClassAt(1))
    assert found.rounding is not None and found.rounding.probability is None
    apart = float((found.value - exact.value).abs().max())
    assert 0 < apart < 0.05 and "values differ by at most" in str(found.rounding)


# ---- the grad-cam convention --------------------------------------------------------------------


class ClassInMask:
    """As pytorch-grad-cam's users write it: called with one image's output."""

    def __init__(self, category: int, mask: Tensor) -> None:
        self.category, self.mask = category, mask

    def __call__(self, model_output: Tensor) -> Tensor:
        return (model_output[self.category] * self.mask).sum()


def test_a_callable_object_is_a_target_by_its_class_name(opened: Opened) -> None:
    module, network = opened("maps")
    mask = (torch.arange(256).reshape(16, 16) % 3 == 0).double()
    wanted, _ = by_hand(module, lambda out: (out[0, 1] * mask).sum())
    found = swept(network, ClassInMask(1, mask))
    torch.testing.assert_close(found.value, wanted, atol=1e-10, rtol=1e-8)
    assert found.answer.watched.target.name == "ClassInMask"
    assert found.arrays()["target"] == "ClassInMask" and "probability" not in found.arrays()
