"""The figures of invariance, correspondence and occlusion studies: not blank, every word there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from convscope.experiments.correctly_classified import ChosenImage
from convscope.experiments.correspondence.aligned_parts import AlignedParts
from convscope.experiments.correspondence.sign_distance import correspond
from convscope.experiments.invariance.curves import invariance
from convscope.experiments.samples import Sample
from convscope.experiments.sensitivity.sweeps import sensitivity
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.methods.occluder import Occluder
from convscope.network.network import open_network
from convscope.report.correspondence_figure import correspondence_figure
from convscope.report.invariance_figure import invariance_figure
from convscope.report.sensitivity_figure import MOST_ROWS, scores_figure, sensitivity_figure
from report.figures_seen import drawn, inside, words

SIDE = 24
PREPROCESS = Preprocess((3, SIDE, SIDE), Scaling.UNIT, Fit.STRETCH)


def network():
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 3),
        torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(3 * 22 * 22, 3),
    )  # fmt: skip
    return open_network(module, (3, SIDE, SIDE))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_the_curves_have_a_column_a_layer_and_name_their_pictures() -> None:
    pictures = [
        Sample(f"$a_{i}$ " + "x" * 90, Image.fromarray(noise(SIDE, SIDE, 3))) for i in range(7)
    ]
    found = invariance(network(), PREPROCESS, pictures)
    figure = invariance_figure(found, subtitle="a network")
    said = words(figure)
    for expected in ("Distance in 1", "Distance in 3", "Shifted by pixels", "in grey: 2 more",
                     "a tenth of the range", "straight line", "21 pairs", "$a_0$"):  # fmt: skip
        assert expected in said
    assert drawn(figure).std() > 10 and inside(figure)
    one = invariance(network(), PREPROCESS, pictures[:1], layers=["0"])
    assert "dashed" not in words(invariance_figure(one)) and inside(invariance_figure(one))


def test_the_table_of_parts_shows_every_part_beside_both_baselines() -> None:
    pixels = noise(18, SIDE, SIDE, 3)
    spots = tuple((8.0 + i % 5, 9.0) for i in range(18))
    faces = AlignedParts(
        tuple(map(str, range(18))), PREPROCESS.tensors(pixels), pixels,
        {"left eye": spots, "no$e": spots}, None, (),
    )  # fmt: skip
    found = correspond(network(), faces, fill=0.5, places=4, draws=20)
    figure = correspondence_figure(found)
    said = words(figure)
    for expected in ("left eye", "no$e", "random, another in each", "random, the same in all",
                     "Δ in 3", "18 pictures, of which 16 are shown"):  # fmt: skip
        assert expected in said
    assert drawn(figure).std() > 10 and inside(figure)


class _Images:
    """As much of a set of images as a study asks for."""

    spec = "noise"
    classes = None

    def __init__(self, count: int) -> None:
        self.pixels = noise(count, SIDE, SIDE, 3)

    def __len__(self) -> int:
        return len(self.pixels)

    def name(self, index: int) -> str:
        return f"{index} " + "y" * 200

    def picture(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])

    def picture_as(self, index: int, form: object) -> Image.Image:
        return self.picture(index)


def test_a_study_has_a_row_an_image_and_its_scores() -> None:
    images = _Images(MOST_ROWS + 2)
    chosen = [ChosenImage(index, index % 3, True) for index in range(len(images))]
    mask = np.zeros((SIDE, SIDE), bool)
    mask[4:12, 6:18] = True
    found = sensitivity(
        network(), images, PREPROCESS, chosen, truth=lambda index: mask,
        occluder=Occluder(8, 8), others=0,
    )  # type: ignore[arg-type]  # fmt: skip
    figure = sensitivity_figure(found, PREPROCESS, classes=("a", "b", "c"), subtitle="s")
    said = words(figure)
    assert said.count("Most probable class") == 1
    assert sum(f"{i} yyy" in said for i in range(MOST_ROWS + 2)) == MOST_ROWS
    assert sum(len(axes.images) for axes in figure.axes) == 5 * MOST_ROWS
    assert f"{MOST_ROWS} of {MOST_ROWS + 2} images" in said and "ROC area" in said
    assert drawn(figure).std() > 10 and inside(figure)
    both = scores_figure({"first": found, "second " * 20: found})
    assert "Falls most on the object" in words(both) and inside(both)
    assert "hardly" in words(both) and "probability hardly falls" in said
    assert drawn(both).std() > 5
    assert found.probability is not None
    area = replace(found.probability.detection, low=-9.0, high=12.0)  # of two unlike images
    unsure = replace(found, probability=replace(found.probability, detection=area))
    assert inside(scores_figure({"first": unsure}))
