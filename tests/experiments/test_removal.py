"""Taking units away: planted classes are recovered; where there is nothing, nothing is found."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from convscope.distributed import Ranks
from convscope.errors import BadData, BadInput, BadOption, FolderInUse, NoSuchUnit
from convscope.experiments.options import Running
from convscope.experiments.removal.effects import class_means, permutation_test
from convscope.experiments.removal.losses import find_units
from convscope.experiments.removal.study import Put
from convscope.experiments.session import Session
from convscope.progress import Progress
from convscope.stats import mean_of
from experiments.looking import Drawn, Stopped, stop_at
from experiments.planted import (
    CLASSES,
    NAMES,
    READS,
    UNITS,
    Rows,
    planted_model,
    random_model,
    removed,
    session_of,
)
from work_together import all_find_the_same


@pytest.fixture(scope="module")
def session() -> Session:
    return session_of(planted_model())


def test_classes_planted_on_units_are_recovered_12_of_12(session: Session) -> None:
    found = removed(Rows(6), session)
    units = {name: [effect.unit for effect in some] for name, some in found.by_class().items()}
    assert units == {NAMES[k]: [f"1/{unit}"] for k, unit in enumerate(READS)}
    classes = {unit: [effect.name for effect in some] for unit, some in found.by_unit().items()}
    assert {unit: names for unit, names in classes.items() if names} == {
        f"1/{unit}": [NAMES[k]] for k, unit in enumerate(READS)
    }
    for k, unit in enumerate(READS):
        effect = found.effect(unit, k)
        assert effect.low is not None and effect.low > 0
        assert effect.accuracy_lost == pytest.approx(found.classes[k].accuracy)
    assert min(known.accuracy for known in found.classes) == 1.0


def test_labels_that_say_nothing_give_p_that_is_uniform_and_nothing_after_correction() -> None:
    session = session_of(random_model())
    p, anywhere = [], 0
    for seed in range(20):
        found = removed(Rows(4, dealt=seed), session)
        p.append(found.null.p)
        anywhere += bool((found.null.corrected < 0.05).any())
    for share in (0.05, 0.25, 0.5, 0.75):
        assert np.mean(np.array(p) < share) == pytest.approx(share, abs=0.02)
    assert anywhere <= 4  # binomial(20, 0.05): more than 4 has p = 0.003


def test_the_loss_and_the_answers_are_those_of_the_module_without_the_unit(
    session: Session,
) -> None:
    images = Rows(3)
    model = session.model
    tensors = torch.stack([model.preprocess.tensor(images.picture(i)) for i in range(len(images))])
    labels = torch.tensor(images.labels)
    module = model.module
    with torch.no_grad():
        maps = module[1](module[0](tensors))
        whole = module[2:](maps)
        for to in Put:
            found = removed(images, session, ["0/7", "1/2"], to=to, draws=19)
            for row, unit in enumerate((7, 2)):
                changed = maps.clone()
                changed[:, unit] = 0.0 if to is Put.ZERO else maps[:, unit].mean()
                without = module[2:](changed)
                rise = functional.cross_entropy(without, labels, reduction="none")
                rise = rise - functional.cross_entropy(whole, labels, reduction="none")
                lost = (whole.argmax(1) == labels).double() - (without.argmax(1) == labels).double()
                for k in range(CLASSES):
                    expected = mean_of(rise[labels == k].tolist())
                    effect = found.effect(row, k)
                    assert effect.unit == f"1/{unit}"  # of a convolution, its activation
                    assert effect.rise == pytest.approx(expected.mean, abs=1e-5)
                    assert effect.low == pytest.approx(expected.low, abs=1e-5)
                    assert effect.high == pytest.approx(expected.high, abs=1e-5)
                    assert effect.accuracy_lost == pytest.approx(float(lost[labels == k].mean()))


def test_class_means_are_those_of_each_class() -> None:
    dice = np.random.default_rng(0)
    classes = np.array([0, 2, 1, 2, 0, 2, 2])
    values = dice.normal(size=(3, 7))
    found = class_means(values, classes, 3)
    for unit in range(3):
        for known in (0, 2):
            expected = mean_of(values[unit, classes == known].tolist())
            assert found.mean[unit, known] == pytest.approx(expected.mean)
            assert found.low[unit, known] == pytest.approx(expected.low)
            assert found.high[unit, known] == pytest.approx(expected.high)
        assert found.mean[unit, 1] == values[unit, 2]
        assert math.isnan(found.low[unit, 1]) and math.isnan(found.high[unit, 1])


def test_the_permutation_test_is_the_naive_one() -> None:
    dice = np.random.default_rng(1)
    classes = np.array([0, 1, 2, 1, 0, 2, 2, 1, 1, 2])
    rises = dice.normal(size=(10, 3, 4)) * np.array([1.0, 100, 0.01, 0])
    rises[classes == 1, 1, 0] += 3.0
    draws = 60
    found = permutation_test(rises, classes, draws=draws, seed=3)

    def contrast(unit: int, labels: np.ndarray, known: int) -> float:
        own = [rises[n, label, unit] for n, label in enumerate(labels)]
        inside = [value for value, label in zip(own, labels, strict=True) if label == known]
        outside = [value for value, label in zip(own, labels, strict=True) if label != known]
        return sum(inside) / len(inside) - sum(outside) / len(outside)

    again = np.random.default_rng(3)
    dealt = [classes, *(again.permutation(classes) for _ in range(draws))]
    cells = [(unit, known) for unit in range(3) for known in range(3)]
    sizes = {}
    for cell in cells:
        values = [contrast(cell[0], labels, cell[1]) for labels in dealt]
        sizes[cell] = [(value - np.mean(values)) / np.std(values) for value in values]
        assert found.contrast[cell] == pytest.approx(values[0])
    largest = [max(sizes[cell][k] for cell in cells) for k in range(1 + draws)]
    for cell in cells:
        own = sizes[cell][0] - 1e-9
        reach = sum(other >= own for other in sizes[cell][1:])
        assert found.p[cell] == pytest.approx((1 + reach) / (1 + draws))
        reach = sum(other >= own for other in largest[1:])
        assert found.corrected[cell] == pytest.approx((1 + reach) / (1 + draws))
    assert (found.p[3] == 1).all() and (found.corrected[3] == 1).all()  # it changes nothing


def test_a_unit_that_speaks_for_a_class_in_every_image_is_not_found() -> None:
    classes = np.arange(24) % 4
    rises = np.random.default_rng(0).normal(size=(24, 4, 1)) * 1e-3
    rises[:, 2] += 5.0  # like a bias: the class loses by 5 whatever the image shows
    found = permutation_test(rises, classes, draws=99, seed=0)
    assert found.contrast[0, 2] == pytest.approx(5.0, abs=0.1)
    assert found.corrected.min() > 0.05


def test_images_that_cannot_be_read_or_have_no_label_are_left_out(session: Session) -> None:
    images = Rows(4, broken=(5,))
    images.labels[7] = None  # type: ignore[call-overload, index]
    found = removed(images, session, ["1/7"], draws=19)
    assert found.images == 46 and found.left_out == 2
    assert [known.images for known in found.classes] == [
        4 - (number in (5, 7)) for number in range(CLASSES)
    ]
    some = removed(Rows(4), session, ["1/7"], draws=19, count=20)
    assert some.images == 20 and some.left_out == 0


def test_an_interrupted_study_goes_on_and_ends_with_the_same(
    session: Session, tmp_path: Path
) -> None:
    running = Running(batch_size=8)
    how: dict[str, Any] = {"running": running, "to": Put.MEAN, "draws": 19}
    whole = removed(Rows(4), session, **how).to_dict()
    for counted in ("images for the means", "images"):
        with pytest.raises(Stopped):
            removed(
                Rows(4), session, **how, out=tmp_path, resume=True, progress=stop_at(counted, 24)
            )
    again: list[tuple[str, int]] = []
    found = removed(
        Rows(4), session, **how, out=tmp_path, resume=True,
        progress=lambda what, done, total: again.append((what, done)),
    ).to_dict()  # fmt: skip
    assert found == whole
    images = [done for what, done in again if what == "images"]
    assert again[0] == ("images for the means", 48) and images == [24, 32, 40, 48]
    with pytest.raises(FolderInUse, match="to is 'mean' there, 'zero' now"):
        removed(Rows(4), session, running=running, draws=19, out=tmp_path, resume=True)
    with pytest.raises(FolderInUse, match="units"):
        removed(Rows(4), session, ["1/3"], **how, out=tmp_path, resume=True)


def prepare() -> None:
    """Export the network once for all processes."""
    planted_model().network()


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, Any]:
    """A study as one of several processes; the folders of the others stay empty."""
    return removed(
        Rows(3, broken=(4,)), session_of(planted_model()), to=Put.MEAN, draws=19,
        running=Running(batch_size=4), resume=True, ranks=ranks, progress=progress,
        out=folder if ranks.first else folder / "others",
    ).to_dict()  # fmt: skip


def test_one_two_and_four_processes_find_the_same_also_after_a_kill(tmp_path: Path) -> None:
    found = all_find_the_same("experiments.test_removal:shared", tmp_path, "1@4")
    assert found["images"] == 35


def test_units_are_maps_or_layers_each_once(session: Session) -> None:
    network = session.network
    assert [str(unit) for unit in find_units(network, ["0/3", "1/3", "1/1"])] == ["1/3", "1/1"]
    assert len(find_units(network, ["1/2", "0"])) == UNITS
    with pytest.raises(NoSuchUnit, match="leave its position out"):
        find_units(network, ["1/3@0,0"])
    with pytest.raises(NoSuchUnit, match="feature maps 0 to 15"):
        find_units(network, ["1/16"])
    with pytest.raises(BadOption, match="no unit"):
        find_units(network, [])


def test_what_has_no_truth_is_refused(session: Session) -> None:
    images = Rows(2)
    one = Drawn(images.pictures, [3] * len(images), NAMES, "one class")
    with pytest.raises(BadData, match="one class only"):
        removed(one, session, ["1/1"])
    bare = Drawn(images.pictures, spec="bare")
    with pytest.raises(BadData, match="no image has a label"):
        removed(bare, session, ["1/1"])
    several = Rows(2)
    several.multi_label = True
    with pytest.raises(BadData, match="several classes each"):
        removed(several, session, ["1/1"])


def test_a_layer_beside_the_answer_is_refused(session: Session) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))

    class Beside(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = module, torch.nn.Conv2d(3, 5, 12)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.two(x).flatten(1), self.one(x)

    model = session.model
    beside = type(model)(Beside().eval(), model.preprocess, "planted", None, False, NAMES[:5])
    with pytest.raises(BadInput, match="does not depend on one"):
        removed(Rows(2), session_of(beside), ["one.0/1"])
