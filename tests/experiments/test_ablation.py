"""The ablation study: its claims on the paper's own figures, and small trainings end to end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from convscope.distributed import Ranks
from convscope.errors import BadOption, FolderInUse
from convscope.experiments.ablation.claims import CLAIMS, Quantity, judge
from convscope.experiments.ablation.equal_budget import ablate
from convscope.experiments.ablation.table import Ablation
from convscope.experiments.ablation.variants import TABLE2, Variant
from convscope.experiments.claims import Verdict
from convscope.images.datasets import open_images
from convscope.models.architectures import Architecture, Convolution, Dense
from convscope.models.zoo import open_model
from convscope.progress import Progress
from convscope.scenes.backgrounds import KINDS, _tile
from convscope.stats import contrast_of_means
from convscope.training.checkpoint import read_run
from convscope.training.recipe import SMALL
from convscope.training.training_data import TrainingData, load_training_data
from work_together import work_together

TINY = Architecture(
    "tiny",
    input_size=32,
    convolutions=(
        Convolution(1, 8, 5, stride=2, padding=2, pooled=True),
        Convolution(3, 8, 3, padding=1),
        Convolution(4, 8, 3, padding=1),
    ),
    dense=(Dense(6, 16), Dense(7, 16)),
)
BRIEF = replace(SMALL, epochs=2, batch_size=16)
ROWS = tuple(map(Variant.parse, ("none:", "without layers 3,4: -3 -4", "narrow: 6=8")))
CLOCK = ("seconds",)


@pytest.fixture(scope="module")
def lesson() -> TrainingData:
    train, val = open_images("scenes:train:64", size=32), open_images("scenes:val:32", size=32)
    return load_training_data(TINY, train, val, BRIEF)


@pytest.fixture(scope="module")
def done(lesson: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ablation, Path]:
    out = tmp_path_factory.mktemp("ablation") / "study"
    return studied(lesson, out), out


def studied(lesson: TrainingData, out: Path, **more) -> Ablation:
    return ablate(TINY, lesson, BRIEF, out, **{"variants": ROWS, "seeds": (0, 1), **more})


def timeless(value):
    """Without what a clock says."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in CLOCK}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def test_every_claim_holds_of_the_paper_s_own_figures():
    for column in ("alexnet", "zfnet"):
        rows = {}
        for row in TABLE2:
            if (errors := getattr(row, column)) is not None:
                train, val = errors[0] / 100, errors[1] / 100
                rows[row.variant.name] = ([train - 1e-3, train + 1e-3], [val - 1e-3, val + 1e-3])
        found = judge(rows)
        assert [judged.verdict for judged in found] == [Verdict.HOLDS] * len(found)
        assert len(found) == {"alexnet": 6, "zfnet": 2}[column]


def test_a_claim_is_refuted_and_left_open_where_it_should_be():
    def verdict(*errors: list[float]) -> Verdict:
        names = ("none", "layers 3,4,5 wider")
        both = {name: ([0.0] * len(e), e) for name, e in zip(names, errors, strict=True)}
        (judged,) = judge(both)
        return judged.verdict

    assert verdict([0.3, 0.31, 0.32], [0.20, 0.21, 0.22]) is Verdict.HOLDS
    assert verdict([0.2, 0.21, 0.22], [0.30, 0.31, 0.32]) is Verdict.FAILS
    assert verdict([0.2, 0.25, 0.30], [0.19, 0.24, 0.29]) is Verdict.UNCLEAR
    assert verdict([0.3], [0.2]) is Verdict.UNCLEAR


def test_little_is_lost_also_where_all_four_layers_cost_nothing():
    def verdict(pair: float, all_four: float) -> Verdict:
        errors = {"none": 0.4, "without layers 6,7": pair, "without layers 3,4,6,7": all_four}
        both = {name: ([0.0] * 2, [e - 1e-3, e + 1e-3]) for name, e in errors.items()}
        (judged,) = judge(both)
        return judged.verdict

    assert verdict(0.44, 0.7) is Verdict.HOLDS  # 4 points of 30
    assert verdict(0.52, 0.7) is Verdict.FAILS  # 12 of 30
    assert verdict(0.3, 0.2) is Verdict.HOLDS  # nothing is lost
    assert verdict(0.5, 0.2) is Verdict.FAILS
    assert verdict(0.40, 0.40) is Verdict.UNCLEAR


def test_depth_does_not_matter_where_nothing_is_lost_though_the_parts_were_gains():
    def verdict(middle: float, dense: float, all_four: float) -> Verdict:
        names = ("none", "without layers 3,4", "without layers 6,7", "without layers 3,4,6,7")
        errors = zip(names, (0.4, middle, dense, all_four), strict=True)
        judged = judge({name: ([0.0] * 3, [e - 1e-3, e, e + 1e-3]) for name, e in errors})
        return judged[-1].verdict

    assert verdict(0.45, 0.45, 0.7) is Verdict.HOLDS
    assert verdict(0.50, 0.50, 0.55) is Verdict.FAILS
    assert verdict(0.35, 0.30, 0.35) is Verdict.FAILS  # more than the sum of the parts, and a gain
    assert verdict(0.35, 0.30, 0.40) is Verdict.UNCLEAR  # neither loss nor gain


def test_every_claim_compares_so_that_equal_networks_weigh_nothing():
    for claim in CLAIMS:
        total = sum(claim.weights.values())
        assert total == pytest.approx(0), claim.words
        assert claim.quantity is Quantity.GAP or "none" in claim.weights


def test_an_interval_is_that_of_the_two_sample_t_test_by_hand():
    found = contrast_of_means(
        [(1, [3.0, 5.0]), (-1, [1.0, 3.0])]
    )  # variances 2 and 2, df 2, error √2
    assert found.value == 2
    assert found.low == pytest.approx(2 - 4.302653 * 2**0.5)
    assert found.high == pytest.approx(2 + 4.302653 * 2**0.5)
    assert found.spreads == pytest.approx(2 / 2**0.5)
    equal = contrast_of_means([(1, [3.0, 3.0]), (-1, [1.0, 1.0])])
    assert (equal.low, equal.high, equal.spreads) == (2, 2, None)
    assert contrast_of_means([(1, [3.0]), (-1, [1.0, 2.0])]).low is None


def test_the_table_has_each_variant_from_each_seed(
    done: tuple[Ablation, Path], lesson: TrainingData
):
    found, _ = done
    assert [row.variant.name for row in found.rows] == [row.name for row in ROWS]
    assert [[t.seed for t in row.trainings] for row in found.rows] == [[0, 1]] * 3
    whole = found.rows[0]
    assert whole.effect is None and whole.paper is TABLE2[0]
    assert found.rows[1].paper is TABLE2[1] and found.rows[2].paper is None
    pixels = 8 * 8 * 8  # 32 → 16 → pooled to 8
    conv1, conv3 = 3 * 25 * 8 + 8, 8 * 9 * 8 + 8
    classes = len(lesson.pictures.classes)
    top = pixels * 16 + 16 + 16 * 16 + 16 + 16 * classes + classes
    assert whole.parameters == conv1 + 2 * conv3 + top
    assert found.rows[1].parameters == conv1 + top
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    mean = sum(t.error for t in found.rows[1].trainings) / 2
    assert read["rows"][1]["error"]["mean"] == pytest.approx(mean)
    assert read["rows"][1]["paper"] == {
        "network": "alexnet", "train_error": 41.8, "error": 45.4, "top5_error": 22.1,
    }  # fmt: skip
    assert found.rows[1].effect is not None
    assert found.rows[1].effect.value == pytest.approx(
        mean - sum(t.error for t in whole.trainings) / 2
    )


def test_training_error_is_of_the_final_weights_without_dropout(
    done: tuple[Ablation, Path], lesson: TrainingData
):
    found, out = done
    training = found.rows[1].trainings[1]
    model = open_model(f"run:{out / training.run}")
    assert not model.module.training
    wrong = 0
    for pixels, labels in zip(
        lesson.pictures.pixels.split(20), lesson.pictures.labels.split(20), strict=True
    ):
        with torch.no_grad():
            told = model.module(model.preprocess.tensors(pixels.numpy())).argmax(1)
        wrong += int((told != labels).sum())
    assert training.train_error == pytest.approx(wrong / 64)
    run = read_run(out / training.run)
    assert run.recipe.seed == 1
    assert training.error == pytest.approx(1 - run.history[-1].val_accuracy)


def test_a_study_interrupted_within_a_training_ends_the_same(
    done: tuple[Ablation, Path], lesson: TrainingData, tmp_path: Path
):
    calls = 0

    def interrupt(what: str, count: int, total: int) -> None:
        nonlocal calls
        calls += 1
        assert 0 <= count <= total
        if calls == 18:  # a training calls 11 times: this is in the second epoch of the second
            raise KeyboardInterrupt

    half = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        studied(lesson, half, progress=interrupt)
    assert len(list((half / "pieces").iterdir())) == 1
    with pytest.raises(FolderInUse, match="--resume"):
        studied(lesson, half)
    again = studied(lesson, half, resume=True)
    whole, out = done
    assert timeless(again.to_dict()) == timeless(whole.to_dict())
    for row in whole.rows:
        for training in row.trainings:
            weights = f"{training.run}/weights.safetensors"
            assert (half / weights).read_bytes() == (out / weights).read_bytes()


def test_variants_and_seeds_can_be_added_and_nothing_is_trained_twice(
    done: tuple[Ablation, Path], lesson: TrainingData, tmp_path: Path
):
    whole, out = done
    more = tmp_path / "more"
    shutil.copytree(out, more)
    told = []
    found = studied(
        lesson, more, resume=True, seeds=(0, 1, 2), variants=ROWS[:2],
        progress=lambda *what: told.append(what),
    )  # fmt: skip
    assert [t.seed for t in found.rows[1].trainings] == [0, 1, 2]
    assert found.rows[1].trainings[:2] == whole.rows[1].trainings
    assert [what for what in told if what[0] == "trainings"][-1] == ("trainings", 6, 6)
    learned = [done for what, done, _ in told if what.startswith("images")]
    assert learned == sorted(learned) and learned[0] >= 2 * 2 * 64 and learned[-1] == 6 * 2 * 64
    with pytest.raises(FolderInUse, match="other settings"):
        ablate(TINY, lesson, replace(BRIEF, epochs=1), more, variants=ROWS, resume=True)


def test_a_training_that_diverges_is_told_and_the_study_goes_on(
    lesson: TrainingData, tmp_path: Path
):
    wild = replace(BRIEF, learning_rate=1e30, epochs=1, radius=None)
    found = ablate(TINY, lesson, wild, tmp_path / "wild", variants=ROWS[:1], seeds=(0, 1))
    (row,) = found.rows
    assert row.trainings == () and [seed for seed, _ in row.diverged] == [0, 1]
    assert "learning rate" in row.diverged[0][1]
    assert json.loads(json.dumps(found.to_dict()))["rows"][0]["error"] is None
    assert found.claims == ()


def test_seeds_must_be_there_and_differ(lesson: TrainingData, tmp_path: Path):
    for seeds in ((), (1, 1)):
        with pytest.raises(BadOption, match="each once"):
            studied(lesson, tmp_path / "x", seeds=seeds)


def prepare() -> None:
    """Draw the grounds of scenes once for all processes."""
    for background in KINDS:
        _tile(background, 1)


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, object]:
    """The study by one of several processes, which share its trainings."""
    train, val = open_images("scenes:train:64", size=32), open_images("scenes:val:32", size=32)
    data, resume = load_training_data(TINY, train, val, BRIEF), folder.exists()
    return timeless(studied(data, folder, resume=resume, progress=progress, ranks=ranks).to_dict())


@pytest.mark.long
def test_one_two_and_four_processes_train_the_same_also_after_a_kill(tmp_path: Path):
    alone, two, four, killed, resumed = work_together(
        "experiments.test_ablation:shared", tmp_path,
        ["one=1", "two=2", "four=4", "killed=2:0@14", "killed=1"],
    )  # fmt: skip
    assert killed.codes[0] == -9 and killed.codes[1] == 1
    for each in (alone, two, four, resumed):
        assert set(each.codes) == {0} and not each.said
        assert all(found == alone.found[0] for found in each.found)
    trainings = [each for row in alone.found[0]["rows"] for each in row["trainings"]]
    assert len(trainings) == 6
    for training in trainings:
        one, *others = (
            (tmp_path / name / training["run"] / "weights.safetensors").read_bytes()
            for name in ("one", "two", "four", "killed")
        )
        assert others == [one] * 3
