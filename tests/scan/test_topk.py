"""The top-k table against a Python sort, and the laws that make it mergeable."""

from __future__ import annotations

import math
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.errors import BadInput, BadOption
from convscope.scan.topk import TopK, merge

NAN, INF = float("nan"), float("inf")
# Few distinct values, so that ties between positions and images are the rule.
VALUES = [-1.0, -0.0, 0.0, 0.5, 1.0, 2.0, NAN, INF, -INF]
SEEDS = st.integers(0, 2**32 - 1)


def sorted_by_hand(maps: torch.Tensor, images: list[int], k: int) -> list[list[tuple]]:
    """The rule written out: per map, every image's best finite position, sorted, first k."""
    table = []
    for channel in range(maps.shape[1]):
        best: dict[int, tuple] = {}
        for n, image in enumerate(images):
            for row in range(maps.shape[2]):
                for column in range(maps.shape[3]):
                    value = float(maps[n, channel, row, column])
                    if math.isfinite(value):
                        place = (-value, image, row, column)
                        best[image] = min(best.get(image, place), place)
        table.append(sorted(best.values())[:k])
    return table


def as_lists(table: TopK) -> list[list[tuple]]:
    rows = zip(
        (-table.value).tolist(),
        table.image.tolist(),
        table.row.tolist(),
        table.column.tolist(),
        strict=True,
    )
    return [[place for place in zip(*row, strict=True) if place[1] >= 0] for row in rows]


def filled(maps: torch.Tensor, images: list[int], k: int, sizes: list[int] | None = None) -> TopK:
    table = TopK.empty(maps.shape[1], k)
    start = 0
    for size in sizes or [len(images)]:
        stop = start + size
        table.update(maps[start:stop], torch.tensor(images[start:stop], dtype=torch.int64))
        start = stop
    return table


def assert_same(a: TopK, b: TopK) -> None:
    for name, tensor in a.tensors().items():
        assert torch.equal(tensor, b.tensors()[name]), name


@st.composite
def batches_of_maps(draw, repeats: bool = False):
    n, c = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    h, w = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    random = Random(draw(SEEDS))
    values = random.choices(VALUES, k=n * c * h * w)
    images = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n, unique=not repeats))
    return torch.tensor(values).reshape(n, c, h, w), images, draw(st.integers(1, 4))


@given(batches_of_maps())
def test_the_table_equals_a_python_sort(case):
    maps, images, k = case
    assert as_lists(filled(maps, images, k)) == sorted_by_hand(maps, images, k)


@given(batches_of_maps(repeats=True))
def test_an_image_that_comes_twice_keeps_its_best_position(case):
    maps, images, k = case
    expected = sorted_by_hand(maps, images, k)
    assert as_lists(filled(maps, images, k)) == expected
    assert as_lists(filled(maps, images, k, [1] * len(images))) == expected


@given(batches_of_maps(), SEEDS)
def test_batch_size_order_and_layout_do_not_change_the_table(case, seed):
    maps, images, k = case
    random = Random(seed)
    order = list(range(len(images)))
    random.shuffle(order)
    sizes, left = [], len(images)
    while left:
        sizes.append(random.randint(0, left))
        left -= sizes[-1]
    shuffled = maps[order].to(memory_format=torch.channels_last)
    assert_same(filled(shuffled, [images[i] for i in order], k, sizes), filled(maps, images, k))


@given(batches_of_maps(repeats=True), st.integers(0, 7), st.integers(0, 7))
def test_merge_is_commutative_associative_and_equals_one_table(case, first, second):
    maps, images, k = case
    low, high = sorted((min(first, len(images)), min(second, len(images))))
    a, b, c = (
        filled(maps[part], images[part], k)
        for part in (slice(0, low), slice(low, high), slice(high, None))
    )
    assert_same(merge(a, b), merge(b, a))
    assert_same(merge(merge(a, b), c), merge(a, merge(b, c)))
    assert_same(merge(merge(a, b), c), filled(maps, images, k))
    assert_same(merge(a, TopK.empty(maps.shape[1], k)), a)


def test_a_small_table_reads_as_expected():
    maps = torch.tensor(
        [[[[0.0, 3.0], [3.0, 1.0]]], [[[5.0, 0.0], [0.0, 0.0]]], [[[3.0, 0.0]] * 2]]
    )
    table = filled(maps, [7, 8, 2], k=4)
    assert table.value.tolist() == [[5.0, 3.0, 3.0, -INF]]
    assert table.image.tolist() == [[8, 2, 7, -1]]
    assert table.row.tolist() == [[0, 0, 0, -1]]
    assert table.column.tolist() == [[0, 0, 1, -1]]


def test_minus_zero_ties_with_zero_and_is_stored_as_zero():
    maps = torch.tensor([-0.0, 0.0, -0.0]).reshape(3, 1, 1, 1)
    table = filled(maps, [2, 1, 0], k=3)
    assert table.image.tolist() == [[0, 1, 2]]
    assert not torch.signbit(table.value).any()


def test_non_finite_values_never_rank_and_are_counted_per_map():
    maps = torch.zeros(2, 2, 2, 2)
    maps[0, 0] = torch.tensor([[NAN, 1.0], [INF, -INF]])
    maps[1, 0] = NAN
    maps[1, 1, 0, 0] = -INF
    table = filled(maps, [0, 1], k=2)
    assert table.non_finite.tolist() == [7, 1]
    assert table.image.tolist() == [[0, -1], [0, 1]]
    assert (table.row[0, 0], table.column[0, 0]) == (0, 1)
    assert table.column[1].tolist() == [0, 1]
    assert table.value[0].tolist() == [1.0, -INF]


def test_the_maps_themselves_are_left_alone():
    maps = torch.tensor([NAN, -0.0, 1.0, INF]).reshape(1, 1, 2, 2)
    before = maps.clone()
    filled(maps, [0], k=1)
    assert torch.equal(maps.view(torch.int32), before.view(torch.int32))


def test_a_map_that_is_never_above_zero_is_dead_and_activity_is_counted_in_images():
    maps = torch.zeros(3, 3, 1, 2)
    maps[0, 1] = 1.0
    maps[2, 1, 0, 1] = 0.1
    maps[:, 2] = -1.0
    table = filled(maps, [0, 1, 2], k=1, sizes=[1, 2])
    assert table.active.tolist() == [0, 2, 0]
    assert table.dead.tolist() == [True, False, True]
    assert table.images == 3


def test_a_table_survives_saving_and_goes_on_from_there():
    maps = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    half = filled(maps[:4], [0, 1, 2, 3], k=3)
    again = TopK.from_tensors(half.tensors())
    again.update(maps[4:], torch.arange(4, 8))
    assert_same(again, filled(maps, list(range(8)), k=3))


def test_half_precision_maps_are_compared_as_float32():
    maps = torch.tensor([1.0, 1.0078125, 1.0]).reshape(3, 1, 1, 1)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        table = filled(maps.to(dtype), [0, 1, 2], k=2)
        assert table.value.dtype == torch.float32
        assert table.image.tolist() == [[1, 0]]


def test_what_does_not_fit_is_refused_in_one_line():
    table = TopK.empty(2, 3)
    with pytest.raises(BadInput, match=r"\(1, 3, 2, 2\) do not fit a table of 2 feature maps"):
        table.update(torch.zeros(1, 3, 2, 2), torch.tensor([0]))
    with pytest.raises(BadInput, match="one for each image"):
        table.update(torch.zeros(2, 2, 2, 2), torch.tensor([0]))
    with pytest.raises(BadInput, match="at least 0"):
        table.update(torch.zeros(1, 2, 2, 2), torch.tensor([-1]))
    with pytest.raises(BadInput, match="same layer and K"):
        merge(table, TopK.empty(2, 4))
    with pytest.raises(BadOption, match="at least 1"):
        TopK.empty(2, 0)
