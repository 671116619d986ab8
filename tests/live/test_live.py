"""The live network: the same numbers as the full computation, and nothing computed twice."""

from __future__ import annotations

import json
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convscope.errors import BadImage, BadInput, BadOption, Cancelled, NonFinite, NoSuchLayer
from convscope.geometry.box import Box
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.live.cancel import Cancel
from convscope.live.network import LiveNetwork, LiveSettings
from convscope.methods.contrastive import contrastive_occlusion
from convscope.methods.occluder import Occluder, covered
from convscope.methods.occlusion import occlude
from convscope.methods.project import project
from convscope.methods.removal import losses_without
from convscope.methods.rules import GUIDED
from convscope.network.network import Network, open_network
from convscope.network.node import Node

SIDE = 24
NAMES = ("cat", "dog", "owl", "cow", "hen")


class Net(nn.Module):
    """A branch that joins again, so that windows meet, and a dense end."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.high = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Linear(6 * 12 * 12, len(NAMES))

    def forward(self, images: Tensor) -> Tensor:
        below = nn.functional.max_pool2d(self.norm(self.low(images)).relu(), 2)
        above = (self.high(below) + below).relu()
        scores: Tensor = self.last(above.flatten(1))
        return scores


@pytest.fixture(scope="module")
def module() -> Net:
    torch.manual_seed(4)
    module = Net().eval()
    module.norm.running_mean.uniform_(-0.2, 0.2)
    module.last.weight.data *= 8
    return module.double()


@pytest.fixture(scope="module")
def network(module: Net) -> Network:
    return open_network(module, (3, SIDE, SIDE))


@pytest.fixture
def live(network: Network) -> LiveNetwork:
    return LiveNetwork(network, Preprocess((3, SIDE, SIDE)), NAMES)


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def key(live: LiveNetwork) -> str:
    return live.add(picture(1), "one.png")


@pytest.fixture(scope="module")
def image(network: Network) -> Tensor:
    return Preprocess((3, SIDE, SIDE)).tensor(picture(1)).double()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each node was run over whole maps."""
    counted: Counter[str] = Counter()
    whole = Node.forward

    def forward(node: Node, *inputs: Tensor) -> Tensor:
        counted[node.name] += 1
        return whole(node, *inputs)

    monkeypatch.setattr(Node, "forward", forward)
    return counted


def grey() -> Tensor:
    return Preprocess((3, SIDE, SIDE)).fill("grey").double()


# --- an image -------------------------------------------------------------------------------------


def test_a_look_shows_every_layers_strongest_maps(live, key, network, image):
    seen = live.look(key)
    trace = network.trace(image)
    assert [layer.name for layer in seen.layers] == [
        row["name"] for row in live.facts()["layers"] if row["shown"]
    ]
    for layer in seen.layers:
        values = trace[layer.name][0]
        peaks = values.reshape(len(values), -1).amax(1)
        order = peaks.argsort(descending=True, stable=True)[:9].tolist()
        assert [each.unit.channel for each in layer.maps] == order
        for each, tile in zip(layer.maps, layer.tiles, strict=True):
            assert each.value == pytest.approx(float(peaks[each.unit.channel]))
            place = () if each.unit.position is None else each.unit.position
            assert float(values[(each.unit.channel, *place)]) == each.value
            assert tile.shape == layer.grid
        low, high = min(0.0, float(values.min())), float(values.max())
        first = values[order[0]].reshape(layer.grid)
        expected = ((first - low) / (high - low) * 255).round().to(torch.uint8)
        assert np.array_equal(layer.tiles[0], expected.numpy())
    assert np.array_equal(seen.picture, np.asarray(picture(1)))
    json.dumps([seen.to_dict(), live.facts()], allow_nan=False)


def test_its_bars_are_the_probabilities(live, key, network, image):
    answer = live.look(key).answer
    shares = network.values(image[None], [network.output])[network.output].softmax(1)[0]
    assert answer.quantity == "probability"
    assert [bar.name for bar in answer.bars] == [NAMES[i] for i in shares.argsort(descending=True)]
    assert [bar.value for bar in answer.bars] == pytest.approx(sorted(shares.tolist())[::-1])
    assert answer.top == int(shares.argmax())


def test_any_maps_of_a_layer_in_the_order_asked_for(live, key):
    assert [each.unit.channel for each in live.tiles(key, "high", [3, 1]).maps] == [3, 1]
    assert len(live.tiles(key, "high").maps) == 6
    with pytest.raises(NoSuchLayer, match="high"):
        live.tiles(key, "hihg")


def test_large_maps_are_pooled_by_their_maximum(network):
    small = LiveNetwork(
        network, Preprocess((3, SIDE, SIDE)), settings=LiveSettings(tile=12, strongest=2)
    )
    layer = small.look(small.add(picture(1))).layers[0]
    assert (layer.grid, layer.tiles.shape) == ((24, 24), (2, 12, 12))
    assert layer.tiles.max() == 255


def test_the_same_pixels_have_the_same_key_and_a_forgotten_one_says_so(network):
    small = LiveNetwork(network, Preprocess((3, SIDE, SIDE)), settings=LiveSettings(pictures=2))
    keys = [small.add(picture(seed)) for seed in (1, 2, 1, 3)]
    assert keys[0] == keys[2] and len(set(keys)) == 3
    assert keys[0] in small and keys[1] not in small
    with pytest.raises(BadInput, match="give it again"):
        small.look(keys[1])


# --- projections ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", ["deconvnet", "guided", GUIDED])
def test_a_projection_is_the_one_of_a_fresh_pass(live, key, network, image, rules):
    live.look(key)
    found = live.project(key, "high/2", rules)
    expected = project(
        network.trace(image), "high/2", GUIDED if rules != "deconvnet" else _deconvnet()
    )
    assert found.unit == expected.units[0]
    assert torch.allclose(found.projection, expected.seen_picture(0))
    assert found.picture.shape == (*found.projection.shape[1:], 3) == found.spotlight.shape
    assert found.light.shape == (SIDE, SIDE)
    outside = np.ones((SIDE, SIDE), bool)
    outside[found.seen.top : found.seen.bottom, found.seen.left : found.seen.right] = False
    assert found.light.max() == 255 and not found.light[outside].any()
    json.dumps(found.to_dict(), allow_nan=False)


def _deconvnet():
    from convscope.methods.rules import DECONVNET

    return DECONVNET


def test_a_class_is_projected_as_the_gradient_of_its_log_odds(live, key, network, image):
    found = live.project_target(key, "owl")
    pixels = image[None].clone().requires_grad_()
    values = {"": pixels}
    with torch.enable_grad():
        for node in network.below([network.output]):
            below = (values.get(name, pixels) for name in node.inputs)
            values[node.name] = node.forward(*below)
        scores = values[network.output][0]
        others = torch.cat([scores[:2], scores[3:]])
        (slope,) = torch.autograd.grad(scores[2] - others.logsumexp(0), pixels)
    assert found.target == "owl" and found.unit is None
    assert torch.allclose(found.projection, slope[0])


def test_a_contrast_is_that_of_a_fresh_pass(live, key, network, image):
    found = live.contrast(key, "high/2")
    expected = contrastive_occlusion(network, image, "high/2", fill=grey())
    assert torch.allclose(found.map.contrast, expected.contrast)
    assert found.light.max() == 255
    assert len(json.loads(json.dumps(found.to_dict(), allow_nan=False))["contrast"]) > 1


# --- one place of the occluder --------------------------------------------------------------------


@pytest.mark.parametrize(
    "box", [(4, 6, 12, 14), (-3, -3, 5, 5), (20, 20, 40, 40), (0, 0, 24, 24), (11, 3, 12, 4)]
)
def test_a_covered_box_gives_what_the_whole_network_gives(live, key, network, image, box):
    found = live.occlude(key, box, units=["high/2", "low/1@3,4", "last/0"], target="hen")
    changed = covered(image, [Box(*box)], grey())
    trace, base = network.trace(changed), network.trace(image)
    shares = trace[network.output].softmax(1)[0]
    for bar in found.answer.bars:
        assert bar.value == pytest.approx(float(shares[bar.index]), abs=1e-9)
    assert found.answer.top == int(shares.argmax())
    assert 4 in [bar.index for bar in found.answer.bars]
    assert found.box == Box(*box).clip(SIDE, SIDE)
    high, low, last = found.units
    assert high.unit == base.strongest(network.unit("high/2"), 0)
    assert torch.allclose(high.numbers, trace["high"][0, 2])
    assert high.value == pytest.approx(float(trace["high"][0, 2][high.unit.position]))
    assert high.base_sum == pytest.approx(float(base["high"][0, 2].sum()))
    assert high.peak == pytest.approx(float(trace["high"][0, 2].max()))
    assert low.value == pytest.approx(float(trace["low"][0, 1, 3, 4]))
    assert last.value == pytest.approx(float(trace["last"][0, 0]))
    assert high.map.shape == (12, 12)
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_box_outside_changes_nothing(live, key):
    found = live.occlude(key, (30, 30, 40, 40), units=["high/2"])
    assert [bar.value for bar in found.answer.bars] == [bar.base for bar in found.answer.bars]
    assert (found.units[0].sum, found.share) == (found.units[0].base_sum, 0.0)


def test_a_function_of_the_answer_is_watched(live, key, network, image):
    found = live.occlude(key, (4, 6, 12, 14), target=lambda scores: scores[1] - scores[0])
    scores = network.trace(covered(image, [Box(4, 6, 12, 14)], grey()))[network.output][0]
    assert found.target.value == pytest.approx(float(scores[1] - scores[0]))


def test_a_second_move_runs_nothing_of_the_image_as_it_is(live, key, calls):
    live.look(key)
    assert calls["low"] == calls["high"] == calls["last"] == 1
    for place in (4, 10, 17):
        live.occlude(key, live.box_at((place, place), 6), units=["high/2"])
    live.project(key, "high/2")
    live.contrast(key, "high/2")
    assert calls["low"] == calls["high"] == calls["last"] == 1


def test_a_plan_is_made_once_and_shares_its_filters(live, key):
    engine = live._engine
    live.occlude(key, (4, 4, 8, 8), units=["high/2"])
    plan = engine.planned(("last", "high"))
    live.occlude(key, (9, 4, 13, 8), units=["high/3"])
    assert engine.planned(("last", "high")) is plan
    first = next(step for step in engine.plan.steps if step.head.name == "low")
    assert first.run is next(step for step in plan.steps if step.head.name == "low").run


def test_more_of_it_changes_with_a_larger_box(live, key):
    shares = [live.occlude(key, live.box_at((12, 12), size)).share for size in (2, 8, 24)]
    assert shares == sorted(shares) and 0 < shares[0] < 0.5


def test_a_colour_that_makes_infinity_is_refused_and_the_next_question_answered(live, key):
    with pytest.raises(NonFinite, match="another fill"):
        live.occlude(key, (4, 4, 8, 8), fill=float("inf"))
    assert live.occlude(key, (4, 4, 8, 8)).answer.bars


# --- Fig. 6 ---------------------------------------------------------------------------------------


def test_maps_fill_coarse_to_fine_and_are_those_of_a_full_sweep(live, key, network, image):
    figure = live.sweep(key, size=6, stride=2, target="cow")
    places: list[tuple[int, int]] = []
    expected = occlude(network, image, Occluder(6, 2), fill=grey(), target=3, method="full")
    for part in figure:
        for (i, j), value, odds, label, activity in zip(
            part.places, part.value, part.log_odds, part.label, part.activity, strict=True
        ):
            assert value == pytest.approx(float(expected.probability[i, j]), abs=1e-9)
            assert odds == pytest.approx(float(expected.log_odds[i, j]), abs=1e-7)
            assert label == int(expected.label[i, j])
            assert activity == pytest.approx(float(expected.activity[i, j]))
        places += [tuple(place) for place in part.places.tolist()]
        assert part.done == len(places)
        filled = figure.spread("value")
        assert np.isfinite(filled).all()
        json.dumps(part.to_dict(), allow_nan=False)
    assert len(set(places)) == len(places) == figure.total == 144
    result = figure.result()
    assert result.legend == expected.legend
    assert result.unit == expected.unit and result.box == expected.box
    assert torch.allclose(result.projection, expected.projection)
    assert torch.allclose(result.value, expected.value)
    assert result.base_value == pytest.approx(expected.base_value)
    assert torch.equal(result.fill, expected.fill)
    json.dumps(figure.to_dict(), allow_nan=False)


def test_the_order_covers_the_grid_first_and_visits_every_place_once():
    from convscope.live.coarse_to_fine import coarse_to_fine

    for rows, columns in ((28, 28), (1, 1), (1, 200), (3, 2), (9, 30)):
        visited = [
            (level, i, j)
            for level, places in coarse_to_fine(rows, columns)
            for i in places[0]
            for j in places[1]
        ]
        assert len({place[1:] for place in visited}) == len(visited) == rows * columns
        assert visited == sorted(visited, key=lambda place: place[0])
        first = [place for place in visited if place[0] == 0]
        assert len(first) <= 64
    assert next(coarse_to_fine(28, 28))[1] == ([0, 4, 8, 12, 16, 20, 24],) * 2


def test_a_sweep_that_was_cancelled_stops_and_keeps_what_is_there(live, key):
    cancel = Cancel()
    figure = live.sweep(key, size=6, stride=2, cancel=cancel)
    parts = iter(figure)
    done = next(parts).done
    with pytest.raises(BadInput, match=f"{done} of 144"):
        figure.result()
    cancel.cancel()
    with pytest.raises(Cancelled):
        next(parts)
    assert figure.done == done == int(figure.maps()["known"].sum())
    assert np.isnan(figure.maps()["value"]).sum() == 144 - done
    assert (figure.maps()["label"] == -1).sum() == 144 - done
    figure._cancel = None
    assert sum(len(part.places) for part in figure) == 144 - done


def test_it_is_cancelled_in_the_middle_of_a_batch(live, key):
    cancel = Cancel()
    figure = live.sweep(key, size=6, stride=2, cancel=cancel)
    steps = 0

    def pausing(_: Cancel | None):
        def pause() -> None:
            nonlocal steps
            steps += 1
            if steps == 3:
                cancel.cancel()
            cancel.check()

        return pause

    live._engine.pausing = pausing
    with pytest.raises(Cancelled):
        list(figure)
    assert steps == 3 and figure.done == 0


def test_a_short_question_goes_before_the_next_step_of_a_sweep(live, key):
    live.look(key)
    figure = live.sweep(key, size=6, stride=1)
    answered, order = threading.Event(), []
    pausing = live._engine.pausing

    def watched(cancel):
        pause = pausing(cancel)

        def stepping() -> None:
            if not asked.is_alive() and not answered.is_set():
                asked.start()
                while not live._engine.turns._short:  # the question waits for its turn
                    pass
            pause()
            order.append("step")

        return stepping

    def ask() -> None:
        live.occlude(key, (4, 4, 8, 8))
        order.append("question")
        answered.set()

    asked = threading.Thread(target=ask)
    live._engine.pausing = watched
    next(iter(figure))
    asked.join(10)
    assert order.index("question") <= 1  # before the second step


def test_cancelled_before_it_began(live, key):
    cancel = Cancel()
    cancel.cancel()
    for ask in (
        lambda: live.look(key, cancel=cancel),
        lambda: live.project(key, "high/2", cancel=cancel),
        lambda: live.contrast(key, "high/2", cancel=cancel),
        lambda: live.occlude(key, (0, 0, 4, 4), cancel=cancel),
        lambda: live.remove(key, ["high/2"], cancel=cancel),
    ):
        with pytest.raises(Cancelled):
            ask()


# --- removing units -------------------------------------------------------------------------------


def test_without_a_unit_it_says_what_the_network_says(live, key, network, image):
    found = live.remove(key, ["high/2"])
    _, without = losses_without(network.trace(image), ["high/2"], torch.tensor([1]))
    dog = next(bar for bar in found.answer.bars if bar.name == "dog")
    assert dog.value == pytest.approx(float(torch.exp(-without[0, 0])))
    assert live.remove(key, []).answer == live.look(key).answer


def test_a_target_is_shown_whatever_its_rank_with_all_units_and_without_some(network):
    few = LiveNetwork(network, Preprocess((3, SIDE, SIDE)), NAMES, settings=LiveSettings(bars=1))
    key = few.add(picture(1))
    [first] = few.look(key).answer.bars
    target = (first.index + 1) % len(NAMES)
    for units in ([], ["high/2"]):
        shown = few.remove(key, units, target=target).answer
        assert target in [bar.index for bar in shown.bars]
        assert target not in [bar.index for bar in few.remove(key, units).answer.bars]
    asked = next(bar for bar in few.remove(key, [], target=NAMES[target]).answer.bars[1:])
    assert (asked.index, asked.value) == (target, asked.base)
    with pytest.raises(BadOption):
        few.remove(key, [], target=len(NAMES))


def test_units_of_several_layers_go_together_and_only_what_is_above_is_run(
    live, key, network, image, calls
):
    live.look(key)
    before = calls["low"]
    found = live.remove(key, ["norm/1", "high/4", "norm/3"])
    assert calls["low"] == before
    values = dict(network.stream(image[None], [node.name for node in network.below(["last"])]))
    norm, high = values["norm"].clone(), None
    norm[:, [1, 3]] = 0
    known = {"norm": norm}
    for node in network.below(["last"]):
        if any(name in known for name in node.inputs):
            known[node.name] = node.forward(*(known.get(n, values.get(n)) for n in node.inputs))
            if node.name == "high":
                high = known["high"] = known["high"].clone()
                high[:, 4] = 0
    shares = known["last"].softmax(1)[0]
    for bar in found.answer.bars:
        assert bar.value == pytest.approx(float(shares[bar.index]))


def by_hand(module: Net, image: Tensor, put: dict[str, dict[int, float]]) -> dict[str, Tensor]:
    """The forward pass of the network above, written out, with numbers in some maps' places."""
    found: dict[str, Tensor] = {}

    def kept(name: str, value: Tensor) -> Tensor:
        for channel, number in put.get(name, {}).items():
            value[:, channel] = number
        found[name] = value.clone()
        return value

    f = nn.functional
    norm = module.norm
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    low = kept(
        "low",
        f.conv2d(image.reshape(1, 3, SIDE, SIDE), module.low.weight, module.low.bias, padding=1),
    )
    shifted = (low - norm.running_mean[:, None, None]) * scale[:, None, None]
    normed = kept("norm", shifted + norm.bias[:, None, None])
    below = f.max_pool2d(normed.clamp(min=0), 2)
    high = kept("high", f.conv2d(below, module.high.weight, module.high.bias, padding=1))
    above = (high + below).clamp(min=0)
    kept("last", above.flatten(1) @ module.last.weight.T + module.last.bias)
    return found


REMOVED = [
    {"low": {0: 0.0}}, {"norm": {1: 0.0, 3: 0.0}, "high": {4: 0.0}}, {"high": {2: 0.0}},
    {"last": {1: 0.0}, "low": {5: 0.0}},
]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("put", REMOVED)
@pytest.mark.parametrize("box", [(4, 6, 12, 14), (-3, -3, 5, 5), (0, 0, 24, 24), (30, 30, 40, 40)])
def test_a_box_is_covered_while_units_are_removed(live, key, network, module, image, put, box):
    without = [f"{layer}/{channel}" for layer, maps in put.items() for channel in maps]
    found = live.occlude(key, box, units=["high/2", "low/1@3,4"], without=without)
    expected = by_hand(module, covered(image, [Box(*box)], grey()), put)
    whole = by_hand(module, image, {})
    shares, before = (values["last"].softmax(1)[0] for values in (expected, whole))
    for bar in found.answer.bars:
        assert bar.value == pytest.approx(float(shares[bar.index]), abs=1e-9)
        assert bar.base == pytest.approx(float(before[bar.index]), abs=1e-9)
    high, low = found.units
    assert torch.allclose(high.numbers, expected["high"][0, 2])
    assert high.base_sum == pytest.approx(float(whole["high"][0, 2].sum()))
    assert low.value == pytest.approx(float(expected["low"][0, 1, 3, 4]))
    alone = live.remove(key, without).answer
    if found.share == 0:
        assert [bar.value for bar in alone.bars] == [bar.value for bar in found.answer.bars]
    plain = live.occlude(key, box).answer  # the next question has all units again
    scores = by_hand(module, covered(image, [Box(*box)], grey()), {})["last"].softmax(1)[0]
    assert plain.bars[0].value == pytest.approx(float(scores[plain.bars[0].index]), abs=1e-9)


def test_a_box_with_means_in_the_place_of_units(network, module, image):
    live = LiveNetwork(network, Preprocess((3, SIDE, SIDE)), NAMES, images=Pictures())
    key = live.add_from_data("1.png")
    box = (4, 6, 12, 14)
    found = live.occlude(key, box, without=["high/2", "low/0"], to="mean")
    images = [Preprocess((3, SIDE, SIDE)).tensor(picture(seed)).double() for seed in (0, 1)]
    with torch.no_grad():
        maps = [by_hand(module, one, {}) for one in images]
        put = {
            layer: {channel: float(sum(one[layer][0, channel].mean() for one in maps)) / 2}
            for layer, channel in (("high", 2), ("low", 0))
        }
        scores = by_hand(module, covered(images[1], [Box(*box)], grey()), put)["last"].softmax(1)
    for bar in found.answer.bars:
        assert bar.value == pytest.approx(float(scores[0, bar.index]), abs=1e-9)


def test_what_is_kept_of_removed_units_is_counted(live, key):
    live.occlude(key, (4, 6, 12, 14))
    before = live._engine.kept.held
    live.occlude(key, (4, 6, 12, 14), without=["low/1"])
    assert live._engine.kept.held > before
    with pytest.raises(NoSuchLayer):
        live.occlude(key, (4, 6, 12, 14), without=["nowhere/1"])


class Pictures(ImageSet):
    """Three pictures, the last of them unreadable."""

    def __init__(self) -> None:
        super().__init__("pictures", NAMES)

    def __len__(self) -> int:
        return 3

    def name(self, index: int) -> str:
        return f"{index}.png"

    def label(self, index: int) -> int | None:
        return index

    def content(self, index: int):
        raise AssertionError

    def picture_as(self, index: int, form: object) -> Image.Image:
        if index == 2:
            raise BadImage("2.png: it is no image")
        return picture(index)


def test_the_mean_over_the_data_is_put_in_a_maps_place(network, image):
    live = LiveNetwork(network, Preprocess((3, SIDE, SIDE)), NAMES, images=Pictures())
    key = live.add_from_data("1.png")
    assert live.look(key).label == "dog"
    found = live.remove(key, ["high/2"], to="mean")
    pixels = [Preprocess((3, SIDE, SIDE)).tensor(picture(i)).double() for i in (0, 1)]
    values = network.values(torch.stack(pixels), ["high"])["high"]
    means = {"high": values.mean((0, 2, 3))}
    _, without = losses_without(network.trace(image), ["high/2"], torch.tensor([0]), means=means)
    cat = next(bar for bar in found.answer.bars if bar.name == "cat")
    assert cat.value == pytest.approx(float(torch.exp(-without[0, 0])))
    with pytest.raises(BadImage, match=r"it has 0 to 2|it is no image"):
        live.add_from_data(7)


def test_the_mean_needs_data_and_other_words_are_refused(live, key):
    with pytest.raises(BadOption, match="needs a data set"):
        live.remove(key, ["high/2"], to="mean")
    with pytest.raises(BadOption, match="zero or mean"):
        live.remove(key, ["high/2"], to="one")


# --- memory and threads ---------------------------------------------------------------------------


def test_activations_stay_within_their_bound_and_come_back(network, calls):
    small = LiveNetwork(network, Preprocess((3, SIDE, SIDE)), settings=LiveSettings(memory=300_000))
    keys = [small.add(picture(seed)) for seed in range(4)]
    bars = [small.look(key).answer for key in keys]
    assert small._engine.kept.held <= 300_000
    assert calls["high"] == 4
    assert small.look(keys[0]).answer == bars[0]
    assert calls["high"] == 5


def test_two_threads_get_their_own_answers(live):
    keys = [live.add(picture(seed)) for seed in (1, 2)]
    alone = {key: live.occlude(key, (4, 4, 12, 12)).answer for key in keys}
    found: dict[str, list[object]] = {key: [] for key in keys}

    def ask(key: str) -> None:
        for _ in range(5):
            found[key].append(live.occlude(key, (4, 4, 12, 12)).answer)

    threads = [threading.Thread(target=ask, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer == alone[key] for key in keys for answer in found[key])


def test_an_error_gives_the_turn_back(live, key):
    for _ in range(2):
        with pytest.raises(NoSuchLayer):
            live.project(key, "nowhere/1")
        with pytest.raises(BadOption):
            live.occlude(key, (0, 0, 4, 4), fill="plaid")
        with pytest.raises(BadOption, match="the number of one of 5 classes"):
            live.occlude(key, (0, 0, 4, 4), target="ox")
    assert live.look(key).answer.bars


# --- other tasks ----------------------------------------------------------------------------------


def maps_of_classes(task: str) -> LiveNetwork:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1)).double()
    network = open_network(module, (3, SIDE, SIDE), task=task)
    return LiveNetwork(network, Preprocess((3, SIDE, SIDE)))


def test_maps_of_classes_have_shares_of_the_map_as_bars():
    live = maps_of_classes("auto")
    key = live.add(picture(1))
    answer = live.look(key).answer
    assert answer.quantity == "share of the map"
    scores = live.network.trace(Preprocess((3, SIDE, SIDE)).tensor(picture(1)))["2"][0]
    counts = scores.argmax(0).flatten().bincount(minlength=3) / SIDE**2
    for bar in answer.bars:
        assert bar.value == pytest.approx(float(counts[bar.index]))
    found = live.occlude(key, (4, 4, 12, 12), target="1@5,5")
    assert found.target.quantity == "logit"
    assert found.target.base == pytest.approx(float(scores[1, 5, 5]), abs=1e-6)
    figure = live.sweep(key, size=8, stride=8)
    parts = list(figure)
    assert figure.quantity == "mean logit" and parts[0].label is None
    assert figure.result().value.shape == (3, 3)


def test_values_of_a_regression_are_bars_in_their_order():
    live = maps_of_classes("regress")
    key = live.add(picture(1))
    answer = live.look(key).answer
    assert (answer.quantity, answer.top) == ("mean value", None)
    assert [bar.index for bar in answer.bars] == [0, 1, 2]
    assert live.project_target(key, "2").target == "channel 2"


def test_an_answer_that_is_neither_has_no_bars_but_maps():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(2)).double()
    live = LiveNetwork(open_network(module, (3, 8, 8)), Preprocess((3, 8, 8)))
    live.warm_up()
    key = live.add(picture(1).resize((8, 8)))
    seen = live.look(key)
    assert seen.answer.bars == () and "not in a score per class" in seen.answer.note
    assert seen.layers
    found = live.occlude(key, (0, 0, 4, 4), target=lambda tokens: tokens.mean())
    assert found.target.value != found.target.base
