"""Average precision by hand, and features of regions against maps that are cropped by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convscope
from convscope.errors import BadOption
from convscope.experiments.localization.precision import (
    detection_average_precision,
    match_detections,
)
from convscope.experiments.localization.regions import RegionPooling, sliding_windows
from convscope.geometry.overlap import overlaps
from experiments.squares import Squares, colour_model

NONE = np.zeros((0, 4))


def flags(*values: int) -> np.ndarray:
    return np.array(values, np.int8)


def test_average_precision_by_hand() -> None:
    """Right, wrong, right, wrong, right, of 4: precisions 1, 2/3, 3/5 at recalls 1/4, 2/4, 3/4.

    At VOC 2007's recalls 0, .1, .2 it is 1; at .3, .4, .5 2/3; at .6, .7 3/5; beyond 0.
    """
    scores, right = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), flags(1, 0, 1, 0, 1)
    assert detection_average_precision(scores, right, 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    by_eleven = detection_average_precision(scores, right, 4, eleven=True)
    assert by_eleven == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11)


def test_the_order_is_by_score_and_a_better_precision_later_counts_for_earlier_recalls() -> None:
    scores, right = np.array([0.1, 0.9, 0.5]), flags(1, 0, 1)  # wrong, right, right
    assert detection_average_precision(scores, right, 2) == pytest.approx(2 / 3)
    assert detection_average_precision(scores, right, 2, eleven=True) == pytest.approx(2 / 3)


def test_all_found_is_1_none_0_and_nothing_to_find_not_known() -> None:
    assert detection_average_precision(np.ones(3), flags(1, 1, 1), 3) == pytest.approx(1)
    assert detection_average_precision(np.ones(3), flags(1, 1, 1), 3, eleven=True) == pytest.approx(
        1
    )
    assert detection_average_precision(np.ones(2), flags(0, 0), 3) == 0
    assert detection_average_precision(np.ones(0), flags(), 3, eleven=True) == 0
    assert np.isnan(detection_average_precision(np.ones(2), flags(0, 0), 0))


def test_what_is_difficult_does_not_count() -> None:
    scores = np.array([0.9, 0.8, 0.7])
    assert detection_average_precision(scores, flags(-1, 1, 0), 1) == pytest.approx(1)


def test_a_second_detection_of_an_object_is_wrong() -> None:
    boxes = np.array([[0, 0, 9, 10], [0, 0, 10, 10], [0, 0, 3, 3], [20, 20, 30, 30.0]])
    truth = np.array([[0, 0, 10, 10], [20, 20, 30, 30.0]])
    scores = np.array([0.5, 0.9, 0.8, 0.1])
    assert match_detections(boxes, scores, truth, np.array([False, False])).tolist() == [0, 1, 0, 1]
    assert match_detections(boxes, scores, truth, np.array([True, False])).tolist() == [
        -1,
        -1,
        0,
        1,
    ]
    assert match_detections(boxes, scores, NONE, np.zeros(0, bool)).tolist() == [0, 0, 0, 0]
    assert match_detections(NONE, np.zeros(0), truth, np.array([False, False])).tolist() == []


def test_windows_lie_in_the_image_and_reach_its_edges() -> None:
    boxes = sliding_windows((40, 60))
    assert boxes[0].tolist() == [0, 0, 40, 60]
    assert (boxes.min(0) >= 0).all() and (boxes.max(0) <= [40, 60, 40, 60]).all()
    assert np.isclose(boxes.max(0), [40, 60, 40, 60])[2:].all()
    dice = np.random.default_rng(0)
    corners = dice.random((200, 2)) * [16, 24]
    some = np.concatenate([corners, corners + (0.3 + 0.3 * dice.random((200, 2))) * [40, 60]], 1)
    assert (overlaps(some, boxes).max(1) >= 0.5).mean() > 0.95  # what they are for


# ---- features of regions ------------------------------------------------------------------------


def pooled_by_hand(maps: np.ndarray, box: list[float], middles: list[float]) -> np.ndarray:
    """The maximum over the positions whose middle is in each quarter, by a loop over positions."""
    top, left, bottom, right = box
    found = []
    for low_row, high_row in ((top, (top + bottom) / 2), ((top + bottom) / 2, bottom)):
        for low, high in ((left, (left + right) / 2), ((left + right) / 2, right)):
            rows = [i for i, middle in enumerate(middles) if low_row <= middle < high_row]
            columns = [j for j, middle in enumerate(middles) if low <= middle < high]
            rows = rows or [int(np.argmin([abs(m - (low_row + high_row) / 2) for m in middles]))]
            columns = columns or [int(np.argmin([abs(m - (low + high) / 2) for m in middles]))]
            found.append(np.max([maps[:, i, j] for i in rows for j in columns], axis=0))
    return np.concatenate(found)


def test_the_features_of_a_region_are_those_of_the_maps_cropped_by_hand() -> None:
    """A convolution of 3 by 3, padding 1, and a pool of 2 by 2: middles at 1, 3, 5 ... pixels."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    network = convscope.open_network(net, (3, 16, 16))
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        maps = net(image)[0].numpy()
    pooling = RegionPooling.of(network, "2")
    middles = [1.0 + 2 * i for i in range(8)]
    assert pooling.rows.tolist() == pooling.columns.tolist() == middles
    boxes = [[0, 0, 16, 16], [2, 5, 9, 12.5], [3.2, 3.2, 4.5, 4.5], [8, 0, 16, 3], [0, 14, 4, 16]]
    found = pooling(network.trace(image)["2"][0].numpy(), np.array(boxes, np.float64))
    for row, box in zip(found, boxes, strict=True):
        assert row == pytest.approx(pooled_by_hand(maps, [*map(float, box)], middles), abs=1e-6)
    assert pooling(maps, NONE).shape == (0, 20)


def test_a_layer_that_sees_all_has_no_regions() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    network = convscope.open_network(net, (3, 16, 16))
    for layer in ("1", "2"):
        with pytest.raises(BadOption, match=f"layer {layer}: its values have no places"):
            RegionPooling.of(network, layer)


# ---- detection ----------------------------------------------------------------------------------


def test_marked_boxes_as_regions_find_all_and_windows_no_more_than_they_cover(
    tmp_path: Path,
) -> None:
    """A class is told by its colour, so that marked boxes are told without a fault. A window within
    a square has the same features as the square: no detector could tell it here.
    """
    images = Squares(48)
    (tmp_path / "boxes.csv").write_text("\n".join(images.rows()))
    found = convscope.localize(
        colour_model(), images, boxes=tmp_path / "boxes.csv", method="grad-cam", count=16, tune=8,
        detect=32, device="cpu",
    ).detection  # fmt: skip
    assert found is not None and found.images == 16
    windows, centred, marked = found.scores
    assert marked.recall.share == 1 and marked.precision > 0.99 and marked.eleven > 0.99
    assert marked.regions == centred.regions == 1 and windows.regions > 200
    assert windows.recall.share > 0.9 and windows.precision < 0.5
    assert centred.recall.share == centred.precision == 0
    assert windows.low <= windows.precision <= windows.high
    assert [(name, count) for name, count, _ in found.classes] == [
        ("red", sum(1 - images.label(i) for i in judged_of(images))),
        ("green", sum(images.label(i) for i in judged_of(images))),
    ]


def judged_of(images: Squares) -> list[int]:
    """The images that are judged: the first 16 of the order that the seed gives."""
    return np.random.default_rng(0).permutation(len(images)).tolist()[:16]
