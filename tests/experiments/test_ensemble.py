"""Averages of networks whose answers are known by construction."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.distributed import Ranks
from convscope.errors import BadData, BadModel, BadOption, FolderInUse, NonFinite
from convscope.experiments.ensemble.averaging import ALL, ensemble
from convscope.experiments.ensemble.combined import MOST_SUBSETS, _subsets, combine
from convscope.experiments.ensemble.outputs import chances_of
from convscope.experiments.published import TABLE1
from convscope.images.datasets import open_images
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.architectures import Architecture, Convolution
from convscope.models.zoo import Model
from convscope.progress import Progress
from convscope.training.loop import train
from convscope.training.recipe import SMALL
from experiments.painted import SIDE, Painted
from work_together import all_find_the_same

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("CONVSCOPE_DATA", REPOSITORY.parent / "shared" / "data"))
PAPER = DATA.parent / "paper.md"
DARK, BRIGHT = (10, 10, 10), (240, 240, 240)
SEEN = Preprocess((3, SIDE, SIDE), Scaling.UNIT, Fit.STRETCH)
CLASSES = ("dark", "bright")


class Sure(nn.Module):
    """Logits of two classes: `dark` on a dark picture, `bright` on a bright one, (of class 0)."""

    def __init__(self, dark: float, bright: float) -> None:
        super().__init__()
        self.logits = dark, bright

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        is_bright = images.mean((1, 2, 3)) > 0.5
        first = torch.where(is_bright, self.logits[1], self.logits[0])
        return torch.stack([first, torch.zeros_like(first)], 1)


def model(name: str, dark: float, bright: float, **how) -> Model:
    known = {"preprocess": SEEN, "classes": CLASSES, **how}
    return Model(Sure(dark, bright), spec=name, weights_sha256=None, random_weights=False, **known)


def painted(dark: int, bright: int, **how) -> Painted:
    truth = [0] * dark + [1] * bright
    return Painted([(DARK, BRIGHT)[each] for each in truth], truth, classes=CLASSES, **how)


def logit(chance: float) -> float:
    return float(np.log(chance / (1 - chance)))


def test_a_constant_network_pulls_a_hesitant_perfect_one_down_but_not_a_sure_one():
    images = painted(6, 4)
    constant = model("constant", logit(0.9), logit(0.9))
    hesitant = model("hesitant", logit(0.6), logit(0.4))
    sure = model("sure", logit(0.95), logit(0.05))
    found = ensemble([constant, hesitant], images).scorings[0]
    assert {name: score.error for name, score in found.singles.items()} == {
        "constant": 0.4, "hesitant": 0.0,
    }  # fmt: skip
    assert found.groups[-1].score.error == 0.4
    assert found.groups[-1].best.against == "hesitant"
    assert (found.groups[-1].best.rescued, found.groups[-1].best.lost) == (0, 4)
    assert found.disagreement.tolist() == [[0, 0.4], [0.4, 0]]
    assert ensemble([constant, sure], images).scorings[0].groups[-1].score.error == 0.0


def test_probabilities_are_averaged_and_not_logits():
    """One is sure of a wrong answer; the mean logit is its, the mean probability is not."""
    images = painted(2, 3)
    wrong = model("wrong", logit(0.9), 10.0)
    right = [model(f"right{i}", logit(0.9), -2.0) for i in range(2)]
    assert (10 - 2 - 2) / 3 > 0
    assert (1 / (1 + np.exp(-10)) + 2 / (1 + np.exp(2))) / 3 < 0.5
    found = ensemble([wrong, *right], images).scorings[0]
    assert found.singles["wrong"].error == 0.6
    assert found.groups[-1].score.error == 0.0


class Ending(nn.Module):
    """The mean of a picture less a half, six times, and what comes after."""

    def __init__(self, end) -> None:
        super().__init__()
        self.end = end

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.end((images.mean((2, 3)).mean(1, keepdim=True) - 0.5) * 6)


def two(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x * 0, x], 1)


ENDS = {
    "scores": two,
    "softmax": lambda x: two(x).softmax(1),
    "log-softmax": lambda x: two(x).log_softmax(1),
    "one logit": lambda x: x,
    "one number": lambda x: x.squeeze(1),
    "one sigmoid": lambda x: x.squeeze(1).sigmoid(),
}


@pytest.mark.parametrize("crops", [1, 10])
@pytest.mark.parametrize("end", ENDS)
def test_any_ending_gives_the_probabilities_that_it_means(end: str, crops: int) -> None:
    network = replace(model(end, 0, 0), module=Ending(ENDS[end]))
    pixels = torch.randint(0, 255, (3, SIDE, SIDE, 3), dtype=torch.uint8)
    found = chances_of(network, pixels, crops=crops)
    bright = (pixels.double().mean((1, 2, 3)) / 255 - 0.5) * 6
    expected = (1 / (1 + (-bright).exp())).numpy()
    for chances in found.values():
        np.testing.assert_allclose(chances[:, 1], expected, rtol=1e-4)
        np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("crops", [1, 10])
def test_a_network_that_makes_nan_of_an_image_is_refused_by_name(crops: int) -> None:
    spoiled = replace(model("spoiled", 0, 0), module=Ending(lambda x: two(x / (x > 0))))
    pixels = torch.full((3, SIDE, SIDE, 3), 255, dtype=torch.uint8)
    pixels[1] = 127  # of which the ending makes minus infinity, and the softmax NaN
    chances_of(spoiled, pixels[:1], crops=crops)
    with pytest.raises(NonFinite, match=r"spoiled: .* NaN or infinite for 1 of 3 images"):
        chances_of(spoiled, pixels, crops=crops)


def test_outputs_that_may_be_probabilities_are_not_guessed_at() -> None:
    class Unknown(Sure):  # it sorts, which the op table does not hold
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.sort(-1).values).softmax(1)

    unknown = replace(model("unknown", 0, 0), module=Unknown(1.0, 2.0))
    with pytest.raises(BadModel, match="whether they are probabilities cannot be told"):
        chances_of(unknown, torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8))


def test_errors_top_five_and_their_standard_errors_are_those_counted_by_hand():
    chances = np.full((4, 7), 0.1, np.float32)
    chances[0, 6] = 0.4  # right
    chances[1, :4] = 0.11  # 6 ranks below 0..5: wrong among five
    chances[2, 6], chances[2, 0] = 0.2, 0.3  # second
    chances[3, :4] = 0.12
    chances[3, 6] = 0.11  # fifth
    labels = np.full(4, 6)
    scores = combine({"a": chances, "b": chances}, labels, {"both": ("a", "b")})
    assert scores.singles["a"].error == 0.75 and scores.singles["a"].top5_error == 0.25
    assert scores.singles["a"].error_se == pytest.approx((0.75 * 0.25 / 4) ** 0.5)
    assert scores.groups[0].score == scores.singles["a"]
    assert scores.groups[0].best.p == 1.0


def test_growing_sizes_are_the_means_over_all_subsets():
    dice = np.random.default_rng(0)
    outputs = {name: dice.dirichlet(np.ones(6), 50).astype(np.float32) for name in "abcd"}
    labels = dice.integers(0, 6, 50)
    group = combine(outputs, labels, {"x": tuple("abcd")}).groups[0]
    assert [(size.members, size.subsets) for size in group.sizes] == [
        (1, 4),
        (2, 6),
        (3, 4),
        (4, 1),
    ]
    pairs = []
    for a, b in combinations("abcd", 2):
        told = [
            max(range(6), key=lambda c: float(outputs[a][i, c]) + float(outputs[b][i, c]))
            for i in range(50)
        ]
        pairs.append(sum(t != l for t, l in zip(told, labels, strict=True)) / 50)  # noqa: E741
    assert group.sizes[1].error == pytest.approx(sum(pairs) / 6)
    assert (group.sizes[1].low, group.sizes[1].high) == (min(pairs), max(pairs))
    assert group.sizes[3].error == group.score.error


def test_too_many_subsets_are_drawn_each_once_and_from_the_seed():
    drawn = _subsets(12, 6, 0)
    assert len(set(drawn)) == len(drawn) == MOST_SUBSETS
    assert drawn == _subsets(12, 6, 0) != _subsets(12, 6, 1)
    assert all(len(set(subset)) == 6 for subset in drawn)


def test_mcnemar_is_the_exact_binomial_by_hand():
    """The average loses one image of the best network's seven, and gains its other three."""
    best = np.array([0.6] * 7 + [0.4] * 3)
    other = np.array([0.1] + [0.45] * 6 + [0.9] * 3)
    chances = {
        name: np.stack([first, 1 - first], 1).astype(np.float32)
        for name, first in {"best": best, "other": other}.items()
    }
    group = combine(chances, np.zeros(10, np.int64), {"x": ("other", "best")}).groups[0]
    assert group.score.error == pytest.approx(0.1)
    assert (group.best.against, group.best.rescued, group.best.lost) == ("best", 3, 1)
    assert group.best.p == pytest.approx(2 * (4 + 1) / 2**4)
    # wrong: best 3, other 7 of ten, the average one; by image the members' mean less the average's
    by_image = [-0.5] + [0.5] * 6 + [0.5] * 3
    assert group.gain.mean == pytest.approx(np.mean(by_image)) == pytest.approx(0.5 - 0.1)
    half = 2.262157 * np.std(by_image, ddof=1) / 10**0.5  # t(9)
    assert (group.gain.low, group.gain.high) == pytest.approx((0.4 - half, 0.4 + half))


def test_an_interrupted_study_goes_on_and_ends_with_the_same_result(tmp_path, monkeypatch):
    images = painted(6, 4)
    nets = [model(name, 2.0 + i, -1.0) for i, name in enumerate("abc")]
    whole = ensemble(nets, images).to_dict()

    def stopped(what, done, total):
        if what == "b: images":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensemble(nets, images, out=tmp_path / "s", progress=stopped)
    asked = []

    def counted(net, *given, **how):
        asked.append(net.spec)
        return chances_of(net, *given, **how)

    monkeypatch.setattr("convscope.experiments.ensemble.averaging.chances_of", counted)
    found = ensemble(nets, images, out=tmp_path / "s", resume=True)
    assert asked == ["b", "c"]
    assert json.dumps(found.to_dict()) == json.dumps(whole)
    with pytest.raises(FolderInUse, match="--resume"):
        ensemble(nets, images, out=tmp_path / "s")
    with pytest.raises(FolderInUse, match="networks has 3 entries there, 2 now"):
        ensemble(nets[:2], images, out=tmp_path / "s", resume=True)
    with pytest.raises(FolderInUse, match=r"the images \(DATA\) are others than there"):
        ensemble(nets, painted(5, 5), out=tmp_path / "s", resume=True)


def prepare() -> None:
    """Export the networks once for all processes."""
    for net in networks():
        net.network()


def networks() -> list[Model]:
    return [model(name, 2.0 + i, -1.0) for i, name in enumerate("cab")]


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, Any]:
    """A study as one of several processes; the folders of the others stay empty."""
    found = ensemble(
        networks(), painted(6, 4, broken=[2]), cache=folder.parent / "cache",
        out=folder if ranks.first else folder / "others", resume=True, ranks=ranks,
        progress=progress,
    )  # fmt: skip
    return found.to_dict()


@pytest.mark.long
def test_one_two_and_four_processes_find_the_same_also_after_a_kill(tmp_path: Path) -> None:
    found = all_find_the_same("experiments.test_ensemble:shared", tmp_path, "1@2")
    assert found["skipped"] == ["0002"] and found["images"] == 9


def test_outputs_of_too_many_classes_are_refused_before_they_are_kept(tmp_path: Path) -> None:
    three = Painted([DARK, BRIGHT], [0, 2], classes=("a", "b", "c"))
    nets = [model(name, 2.0, 2.0, classes=None) for name in "ab"]
    with pytest.raises(BadModel, match="a tells 2 classes"):
        ensemble(nets, three, out=tmp_path / "s")
    assert not list((tmp_path / "s").iterdir())


def test_ten_crops_are_those_cut_by_hand():
    torch.manual_seed(0)
    seen = Preprocess((3, 14, 14), Scaling.PAPER, Fit.CROP, mean=np.random.default_rng(0).uniform(
        90, 140, (3, 14, 14)))  # fmt: skip
    module = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    net = Model(module, seen, "x", None, False, None)
    noise = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    found = chances_of(net, torch.from_numpy(noise), crops=10)
    mean = np.pad(seen.mean, ((0, 0), (1, 1), (1, 1)), mode="edge")
    for number, pixels in enumerate(noise):
        planes = torch.from_numpy((pixels.transpose(2, 0, 1) - mean).astype(np.float32))
        answers = []
        for top, left in ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1)):
            cut = planes[:, top : top + 14, left : left + 14]
            for each in (cut, cut.flip(2)):
                with torch.no_grad():
                    answers.append(module(each[None]).softmax(1)[0].numpy())
        np.testing.assert_allclose(found[10][number], np.mean(answers, 0), atol=1e-5)
        np.testing.assert_allclose(found[1][number], answers[8], atol=1e-5)
        with torch.no_grad():
            whole = module(seen.tensor(Image.fromarray(pixels))[None]).softmax(1)[0].numpy()
        np.testing.assert_allclose(found[1][number], whole, atol=1e-5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of one architecture that learned crops, and one of another."""
    place = tmp_path_factory.mktemp("runs")
    tiny = Architecture(
        "tiny", 28, (Convolution(1, 6, 5, stride=2, pooled=True), Convolution(2, 6, 3)), ()
    )
    sets = open_images("scenes:train:64", size=32), open_images("scenes:val:40", size=32)
    recipe = replace(SMALL, epochs=1, batch_size=16, crops=True, keep_epochs=())
    made = []
    for name, wanted, seed in (
        ("a0", tiny, 0), ("a1", tiny, 1), ("b0", tiny.with_maps({2: 9}), 0),
    ):  # fmt: skip
        train(wanted, sets, replace(recipe, seed=seed), place / name)
        made.append(place / name)
    return made


def test_runs_score_as_their_training_said_and_are_grouped_by_architecture(runs: list[Path]):
    images = open_images("scenes:val:40", size=32)
    found = ensemble([f"run:{run}" for run in runs], images, crops=10)
    assert found.kinds == {"(a) tiny": ("a0", "a1"), "(b) tiny maps=2:9": ("b0",)}
    one, ten = found.scorings
    assert (one.crops, ten.crops) == (1, 10)
    assert [group.name for group in one.groups] == ["(a) tiny", ALL]
    assert [len(group.members) for group in one.groups] == [2, 3]
    for run in runs:
        said = {s["crops"]: s for s in json.loads((run / "run.json").read_text())["tested"]}
        assert one.singles[run.name].error == pytest.approx(1 - said[1]["top1"])
        assert one.singles[run.name].top5_error == pytest.approx(1 - said[1]["top5"])
        assert ten.singles[run.name].error == pytest.approx(1 - said[10]["top1"], abs=0.051)
    again = ensemble([f"run:{run}" for run in runs], images, crops=10)
    assert json.dumps(found.to_dict(), allow_nan=False) == json.dumps(again.to_dict())
    assert found.random == ()


def test_pictures_may_lie_in_a_cache(runs: list[Path], tmp_path: Path):
    images = open_images("scenes:val:40", size=32)
    spec = [f"run:{run}" for run in runs]
    kept = ensemble(spec, images, cache=tmp_path / "cache")
    assert kept.to_dict() == ensemble(spec, images).to_dict()


def test_unreadable_images_are_named_and_count_for_nobody():
    nets = [model("a", 2.0, -2.0), model("b", 1.0, -1.0, preprocess=replace(SEEN, fit=Fit.CROP))]
    found = ensemble(nets, painted(5, 5, broken=[0, 7]))
    assert found.images == 8 and found.skipped == ("0000", "0007")
    assert found.scorings[0].groups[-1].score.error == 0


def test_what_cannot_be_averaged_is_refused_by_name():
    images, good = painted(2, 2), model("good", 1.0, -1.0)
    other = model("cats", 1.0, -1.0, classes=("cat", "dog"))
    with pytest.raises(BadModel, match=r"cats has 2 classes.*bright"):
        ensemble([good, other], images)
    with pytest.raises(BadModel, match="another order"):
        ensemble([good, model("swapped", 1.0, 1.0, classes=CLASSES[::-1])], images)
    with pytest.raises(BadModel, match="wide tells 2 classes"):
        three = Painted([DARK, BRIGHT], [0, 2], classes=("a", "b", "c"))
        ensemble([model("wide", 2.0, 2.0, classes=None), model("x", 1, 1, classes=None)], three)
    with pytest.raises(BadOption, match="at least two"):
        ensemble([good], images)
    with pytest.raises(BadOption, match="good is given twice"):
        ensemble([good, good], images)
    with pytest.raises(BadOption, match="good learned whole pictures"):
        ensemble([good, model("x", 1.0, -1.0)], images, crops=10)
    with pytest.raises(BadOption, match="1 or 10"):
        ensemble([good, good], images, crops=5)
    with pytest.raises(BadData, match="no label"):
        ensemble([good, model("x", 1.0, -1.0)], Painted([DARK], [(1, 0)], classes=CLASSES))


@pytest.mark.real_data
@pytest.mark.skipif(not PAPER.is_file(), reason=f"no paper.md beside CONVSCOPE_DATA ({DATA})")
def test_the_paper_s_figures_are_those_of_the_paper():
    said = (
        PAPER.read_text(encoding="utf-8").partition("Table 1, ImageNet")[2].partition("Table 2")[0]
    )
    triples = re.findall(r"(\d\d\.\d) / (\d\d\.\d) / (–|\d\d\.\d)", said)
    read = [tuple(None if each == "–" else float(each) for each in one) for one in triples]
    assert read == list(TABLE1.values())
