"""Histograms that widen: the same in any order, and equal to what numpy counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope.scan.histogram import BINS, Histogram, merge_histograms

VALUES = torch.cat(
    [
        torch.rand(40, 1, generator=torch.manual_seed(0)) * 1e-3,
        torch.rand(40, 1, generator=torch.manual_seed(1)) * 300,
        torch.zeros(5, 1),
    ]
)


def of(*parts: torch.Tensor) -> Histogram:
    histogram = Histogram.empty(parts[0].shape[1])
    for part in parts:
        histogram.add(part)
    return histogram


def same(a: Histogram, b: Histogram) -> bool:
    return all(torch.equal(a.tensors()[name], b.tensors()[name]) for name in a.tensors())


@pytest.mark.parametrize("shift", [0.0, -20.0, -301.0])
def test_counts_are_numpys_over_the_same_bins(shift: float):
    values = VALUES + shift
    histogram = of(values)
    low, width = float(histogram.low[0]), float(histogram.width[0])
    edges = low + width * np.arange(BINS + 1)
    expected, _ = np.histogram(values.double().numpy(), edges)
    assert histogram.counts[0].tolist() == expected.tolist()
    assert histogram.counts.sum() == len(values)
    assert float(values.abs().max()) > width * BINS / 4  # no more than a bit too wide


def test_any_order_and_any_parts_give_the_same():
    values = torch.cat([VALUES, VALUES - 150, VALUES * 1e-6], 1)
    whole = of(values)
    order = torch.randperm(len(values), generator=torch.manual_seed(2))
    assert same(of(*values[order].split(7)), whole)
    a, b = of(values[:30]), of(values[30:])
    assert same(merge_histograms(a, b), whole) and same(merge_histograms(b, a), whole)
    assert same(merge_histograms(whole, Histogram.empty(3)), whole)


def test_nan_and_infinity_are_left_out():
    histogram = of(torch.tensor([[1.0], [torch.nan], [torch.inf], [-torch.inf]]))
    assert histogram.counts.sum() == 1 and same(histogram, of(torch.tensor([[1.0]])))


def test_values_of_every_size_of_a_float_are_counted():
    values = torch.tensor([[1e-44], [3.0], [-1e38], [1e38], [0.0], [-1e-30]])
    whole = of(values)
    assert whole.counts.sum() == len(values)
    for one, rest in ((values[:1], values[1:]), (values[2:4], values[[0, 1, 4, 5]])):
        assert same(merge_histograms(of(one), of(rest)), whole)
        assert same(of(one, rest), whole)


def test_powers_of_two_lie_in_the_bin_that_they_begin():
    for value in (0.25, 0.5, 1.0, 128.0, -1.0):
        histogram = of(torch.tensor([[value]]))
        at = int(histogram.counts[0].argmax())
        assert float(histogram.low + at * histogram.width) == value
