"""Pictures that move, and features that follow or do not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.errors import BadData, BadOption, FolderInUse, NoSuchLayer
from convscope.experiments.invariance.curves import Curves, Invariance, first_and_last, invariance
from convscope.experiments.invariance.curves import _moves as moves
from convscope.experiments.invariance.transforms import (
    Moving,
    Transform,
    TransformRange,
    papers_transforms,
)
from convscope.experiments.samples import Sample, draw_samples, true_label
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.architectures import ARCHITECTURES, build
from convscope.network.feature_layers import last_scores_without_places
from convscope.network.network import open_network

from .looking import (
    SIDE,
    Drawn,
    Stopped,
    channel_means,
    network_of,
    network_reading,
    noise,
    stop_at,
    unit_preprocess,
)

GREY = 128 / 255


def moved(
    pixels: np.ndarray, motion: Transform, amount: float, fit: Fit = Fit.STRETCH
) -> np.ndarray:
    """(H, W) of the red plane."""
    one = Moving(Image.fromarray(pixels), unit_preprocess(SIDE, fit))
    return one.moved(TransformRange(motion, (amount,)))[0, 0].numpy()


def test_a_shift_by_pixels_moves_every_pixel_and_leaves_grey_behind() -> None:
    pixels = noise(SIDE, SIDE, 3)
    found = moved(pixels, Transform.TRANSLATION, 5)
    assert np.allclose(found[5:], pixels[:-5, :, 0] / 255, atol=1e-6)
    assert np.allclose(found[:5], GREY, atol=1e-6)
    up = moved(pixels, Transform.TRANSLATION, -2)
    assert np.allclose(up[:-2], pixels[2:, :, 0] / 255, atol=1e-6)


def test_a_quarter_turn_is_numpy_s() -> None:
    pixels = noise(SIDE, SIDE, 3)
    for quarters in (1, 2, 3):
        found = moved(pixels, Transform.ROTATION, 90 * quarters)
        assert np.allclose(found, np.rot90(pixels[..., 0], quarters) / 255, atol=1e-5)


def test_an_enlargement_shows_the_middle() -> None:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[8:16, 8:16] = 255  # a square of 8 in the middle becomes one of 16
    found = moved(pixels, Transform.SCALE, 2)
    assert (found[5:19, 5:19] > 0.99).all() and (found[:3] < 0.01).all()
    assert (found[:, :3] < 0.01).all()


def test_nothing_is_exactly_the_picture_as_the_network_gets_it() -> None:
    pixels = noise(40, 60, 3)
    preprocess = unit_preprocess(SIDE, Fit.CROP)
    one = Moving(Image.fromarray(pixels), preprocess)
    still = preprocess.tensor(Image.fromarray(pixels))
    for motion, none in (
        (Transform.TRANSLATION, 0.0),
        (Transform.SCALE, 1.0),
        (Transform.ROTATION, 0.0),
    ):
        assert torch.equal(one.moved(TransformRange(motion, (none,)))[0], still)
    around = one.moved(TransformRange(Transform.ROTATION, (360.0,)))[0]
    assert torch.allclose(around, still, atol=1e-5)


def test_what_the_picture_holds_beyond_the_crop_comes_in_first() -> None:
    pixels = np.full((32, 24, 3), 255, np.uint8)  # upright: 27 x 36 of which 24 x 24 are seen
    found = moved(pixels, Transform.TRANSLATION, 5, Fit.CROP)
    assert (found > 0.99).all()  # 6 rows lie above the crop
    found = moved(pixels, Transform.TRANSLATION, 8, Fit.CROP)
    assert np.allclose(found[:2], GREY, atol=1e-6) and (found[2:] > 0.99).all()


def test_beyond_the_picture_is_the_mean_where_the_scaling_has_one() -> None:
    preprocess = Preprocess((3, SIDE, SIDE), Scaling.IMAGENET, Fit.STRETCH)
    one = Moving(Image.fromarray(noise(SIDE, SIDE, 3)), preprocess)
    assert (one.moved(TransformRange(Transform.TRANSLATION, (6.0,)))[0, :, :6] == 0).all()


def test_the_papers_motions_are_in_proportion_to_the_input() -> None:
    shift, scale, turn = papers_transforms(224)
    assert shift.amounts[0] == -60 and shift.amounts[-1] == 60 and len(shift.amounts) == 21
    assert scale.amounts[0] == 1 and scale.amounts[-1] == pytest.approx(1.8)
    assert turn.amounts[0] == 0 and turn.amounts[-1] == 360
    assert max(turn.efforts) == 180 and turn.efforts[-1] == 0
    assert max(papers_transforms(56)[0].amounts) == 15
    with pytest.raises(BadOption, match="2 or more"):
        papers_transforms(224, 1)


@pytest.mark.parametrize("height", [224, 72, 33])
@pytest.mark.parametrize("steps", [2, 5, 6, 10])
def test_a_tenth_of_the_range_is_among_the_amounts_or_between_two_pixels(height, steps) -> None:
    for motions in papers_transforms(height, steps):
        efforts = np.array(motions.efforts)
        tenth = 0.1 * efforts.max()
        assert len(set(motions.amounts)) == len(motions.amounts)
        assert list(motions.amounts) == sorted(motions.amounts)
        if motions.motion is Transform.TRANSLATION:
            assert {np.floor(tenth), np.ceil(tenth)} <= set(efforts)
        else:
            assert np.isclose(efforts, tenth).any()


def curves(motions: TransformRange, distance) -> Curves:
    """Of one picture and one layer, the distance as a function of the amount."""
    values = np.array([[[distance(amount) for amount in motions.amounts]]])
    return Curves(motions, values, values[:, 0], (0,), np.zeros((1, 1, 2, 2, 3), np.uint8))


@pytest.mark.parametrize("steps", [2, 5, 6, 10])
def test_what_is_reached_after_a_tenth_of_the_range_is_that_of_the_known_curve(steps) -> None:
    shift, scale, turn = papers_transforms(72, steps)
    for motions, size in (
        (shift, abs), (scale, lambda n: n - 1), (turn, lambda n: 180 - abs(180 - n))
    ):  # fmt: skip
        assert curves(motions, size).early() == pytest.approx(0.1)
        largest = max(motions.efforts)
        square = curves(motions, lambda n, size=size: size(n) ** 2).early()
        step = 0 if motions is not shift else 0.25 / largest**2  # of a chord over one pixel
        assert square == pytest.approx(0.01, abs=step + 1e-9)
    uneven = curves(shift, lambda n: 3.0 if n > 0 else -3 * n / 19)  # at once down, steadily up
    assert uneven.early() == pytest.approx((1 + 0.1) / 2)


def samples(count: int, side: int = SIDE) -> list[Sample]:
    """Dark pictures with a bright block in the middle, which no motion below moves out."""
    made = []
    for i in range(count):
        pixels = np.zeros((side, side, 3), np.uint8)
        pixels[9:15, 9:15] = noise(6, 6, 3, seed=i) // 2 + 120
        made.append(Sample(f"{i}.png", Image.fromarray(pixels)))
    return made


DARK = Preprocess((3, SIDE, SIDE), Scaling.PAPER, Fit.STRETCH, np.zeros((3, SIDE, SIDE)))
SHIFTS = TransformRange(Transform.TRANSLATION, tuple(float(n) for n in range(-6, 7)))


def test_a_network_that_ignores_place_does_not_see_a_shift() -> None:
    preprocess = unit_preprocess()
    network = network_of(channel_means)
    pictures = [Sample("a", Image.fromarray(np.full((SIDE, SIDE, 3), 128, np.uint8)))]
    found = invariance(network, preprocess, pictures, layers=[network.output], motions=[SHIFTS])
    assert np.allclose(found.curves[0].distance, 0, atol=1e-6)


def test_a_distance_is_that_of_the_formula() -> None:
    network = network_of(channel_means)
    pictures = samples(3)
    preprocess = unit_preprocess()
    layer = network.activation("conv")
    found = invariance(network, preprocess, pictures, layers=["conv"], motions=[SHIFTS])
    assert found.layers == (layer,)
    for i, sample in enumerate(pictures):
        plain = np.asarray(sample.picture).astype(float) / 255
        for k, shift in enumerate(SHIFTS.amounts):
            other = np.full_like(plain, GREY)
            down = int(shift)
            if down >= 0:
                other[down:] = plain[: SIDE - down]
            else:
                other[:down] = plain[-down:]
            expected = np.sqrt(((plain - other) ** 2).sum())
            assert found.curves[0].distance[i, 0, k] == pytest.approx(expected, abs=1e-4)


def test_different_pictures_are_apart_by_the_mean_over_their_pairs() -> None:
    network = network_of(channel_means)
    pictures = samples(4)
    found = invariance(
        network, unit_preprocess(), pictures[:2], layers=["conv"], others=pictures[2:],
        motions=[SHIFTS],
    )  # fmt: skip
    flat = [np.asarray(s.picture).astype(float).ravel() / 255 for s in pictures]
    apart = [np.linalg.norm(flat[i] - flat[j]) for i in range(4) for j in range(i)]
    assert found.pairs == 6
    assert found.apart is not None and found.apart[0] == pytest.approx(np.mean(apart), rel=1e-5)
    one = invariance(network, unit_preprocess(), pictures[:1], layers=["conv"], motions=[SHIFTS])
    assert one.apart is None and one.largest(one.curves[0]) is None


def test_a_feature_that_follows_the_shift_is_linear_and_one_that_jumps_is_not() -> None:
    rows = torch.arange(SIDE, dtype=torch.float32)[None, None, :, None]
    network = network_reading(rows.expand(2, 3, SIDE, SIDE) * 1e-4)  # follows the centre of mass
    found = invariance(network, DARK, samples(2), layers=["conv", network.output], motions=[SHIFTS])
    (curves,) = found.curves
    assert np.allclose(curves.linearity()[:, 1], 1, atol=1e-6)
    assert np.allclose(curves.early()[:, 1], 0.1, atol=1e-4)  # 0.6 of ±6, between 0 and 1
    assert (curves.linearity()[:, 0] < 0.9).all() and (curves.early()[:, 0] > 0.15).all()
    assert found.steeper_below(curves) == 2


def test_the_probability_followed_is_the_true_label_s_or_the_predicted_one_s() -> None:
    network = network_of(lambda x: x.mean((2, 3)) * 4)
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[..., 1] = 255
    pictures = [Sample("a", Image.fromarray(pixels), 2), Sample("b", Image.fromarray(pixels))]
    found = invariance(network, unit_preprocess(), pictures, layers=["conv"], motions=[SHIFTS])
    assert found.targets == (2, 1) and found.known == (True, False)
    still = np.exp([0, 4, 0]) / np.exp([0, 4, 0]).sum()
    middle = found.curves[0].probability[:, 6]
    assert middle == pytest.approx([still[2], still[1]], abs=1e-5)


def test_what_cannot_be_looked_at_is_refused() -> None:
    network = network_of(channel_means)
    with pytest.raises(BadData, match="no pictures"):
        invariance(network, unit_preprocess(), [])
    with pytest.raises(NoSuchLayer):
        invariance(network, unit_preprocess(), samples(1), layers=["conv9"])
    with pytest.raises(BadOption, match="no layers"):
        invariance(network, unit_preprocess(), samples(1), layers=[])


def test_an_interrupted_study_goes_on_and_ends_with_the_same_result(tmp_path, monkeypatch) -> None:
    network = network_of(channel_means)
    pictures = samples(5)
    how = {"layers": ["conv", network.output], "motions": [SHIFTS], "others": pictures[3:]}
    whole = invariance(network, unit_preprocess(), pictures[:3], **how)
    stop = stop_at("moved images", 2 * len(SHIFTS.amounts))
    with pytest.raises(Stopped):
        invariance(network, unit_preprocess(), pictures[:3], **how, out=tmp_path, progress=stop)
    moved = []

    def counted(*given):
        moved.append(given)
        return moves(*given)

    monkeypatch.setattr("convscope.experiments.invariance.curves._moves", counted)

    def resumed(count: int = 3, **other):
        return invariance(
            network, unit_preprocess(), pictures[:count], **{**how, **other}, out=tmp_path,
            resume=True,
        )  # fmt: skip

    found = resumed()
    assert len(moved) == 1  # two were kept before the stop
    assert json.dumps(found.to_dict()) == json.dumps(whole.to_dict())
    assert np.array_equal(found.curves[0].pictures, whole.curves[0].pictures)
    resumed()
    assert len(moved) == 1
    with pytest.raises(FolderInUse, match="count is 3 there, 2 now"):
        resumed(2)
    with pytest.raises(FolderInUse, match=r"amounts\.translation has 13 entries there, 2 now"):
        resumed(motions=[TransformRange(Transform.TRANSLATION, (0.0, 2.0))])
    with pytest.raises(FolderInUse, match="others is"):
        resumed(others=())


def test_the_top_layer_of_a_network_that_ends_in_pooling_is_what_the_pooling_leaves() -> None:
    squeezed = open_network(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        (3, SIDE, SIDE),
    )  # fmt: skip
    assert first_and_last(squeezed) == ("1", "5")
    assert squeezed.layer("5").grid == (1, 1)
    maps = network_of(lambda x: x.mean((2, 3)).softmax(1))
    assert maps.layer(maps.output).kind == "softmax"
    top = first_and_last(maps)[1]
    assert top != maps.output and maps.layer(top).grid == (1, 1)
    small = ARCHITECTURES["zfnet-small"]
    dense = open_network(build(small, seed=0), small.input_shape)
    assert last_scores_without_places(dense) is None
    assert first_and_last(dense) == ("relu1", "relu7")


def test_pictures_are_drawn_of_different_classes_and_labels_go_by_name() -> None:
    network = network_of(channel_means)
    images = Drawn([noise(4, 4, 3)] * 12, [i // 4 for i in range(12)], ("a", "b", "c"))
    drawn = draw_samples(images, 3, network, ("c", "b", "a"), seed=1)
    assert sorted(sample.label or 0 for sample in drawn) == [0, 1, 2]
    assert true_label(images, 0, network, ("c", "b", "a")) == 2
    assert true_label(images, 0, network, ("x", "y", "z")) is None
    assert len({s.name for s in draw_samples(images, 99, network, None)}) == 12


def test_the_table_says_who_changes_early_and_who_along_a_line() -> None:
    amounts = tuple(map(float, range(11)))
    curves = Curves(
        TransformRange(Transform.TRANSLATION, amounts),
        distance=np.array([[[0.0] + [1.0] * 10, amounts]] * 2),  # one jumps, one follows
        probability=np.ones((2, 11)),
        shown=(0,),
        pictures=np.zeros((2, 1, 1, 1, 3), np.uint8),
    )
    pair = ("a", "b")
    found = Invariance(("low", "top"), pair, (0, 0), (True, True), (curves,), (2.0, 5.0), 1)
    assert found.words()[:4] == [
        "translation      early          line  largest",
        "low          100 ± 0 %  −1.36 ± 0.00     0.50",  # R² = 1 − (10 − 55²/385) / (10/11)
        "top           10 ± 0 %   1.00 ± 0.00     2.00",
        "low changes earlier than top in 2 of 2 pictures",
    ]
