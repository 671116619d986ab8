"""Laws of the window algebra, against brute force on small axes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from convscope.geometry.box import Box
from convscope.geometry.table import Table, windows_below
from convscope.geometry.window import IDENTITY, Field, Status, Window

sliding = st.builds(
    Window.sliding,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
)
upsampling = st.builds(
    lambda factor, size, start: Window(size, Fraction(1, factor), start),
    st.integers(1, 4),
    st.integers(1, 3),
    st.fractions(-2, 2, max_denominator=4),
)
mirrors = st.builds(lambda size, step, start: Window(size, -step, start),
                    st.integers(1, 3), st.integers(1, 3), st.integers(0, 20))  # fmt: skip
windows = st.one_of(sliding, upsampling, mirrors)
tables = st.builds(
    lambda reads, extent: Table(*zip(*((a % extent, min(a % extent + n, extent)) for a, n in reads),
                                     strict=True), extent=extent),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=1, max_size=12),
    st.integers(1, 12),
)  # fmt: skip


def read(window: Window, index: int) -> range:
    return range(window.first(index), window.first(index) + window.size)


@given(windows, st.integers(0, 20), st.integers(1, 10))
def test_need_is_the_hull_of_what_each_output_reads(window: Window, first: int, count: int) -> None:
    seen = [i for output in range(first, first + count) for i in read(window, output)]
    assert window.need((first, first + count)) == (min(seen), max(seen) + 1)


@given(windows, st.integers(-5, 30), st.integers(1, 10), st.integers(1, 20))
def test_affected_lists_exactly_the_outputs_that_read_the_interval(
    window: Window, first: int, count: int, extent: int
) -> None:
    changed = set(range(first, first + count))
    touched = [i for i in range(extent) if changed & set(read(window, i))]
    low, high = window.affected((first, first + count), extent)
    assert touched == list(range(low, high))


@given(windows, st.integers(1, 20))
def test_an_array_of_intervals_gives_what_the_single_ones_give(window: Window, extent: int) -> None:
    first = np.arange(-3, 12)
    low, high = window.affected((first, first + 2), extent)
    single = [window.affected((int(i), int(i) + 2), extent) for i in first]
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == single
    need_low, need_high = window.need((first, first + 2))
    assert need_low.tolist() == [window.need((int(i), int(i) + 2))[0] for i in first]
    assert need_high.tolist() == [window.need((int(i), int(i) + 2))[1] for i in first]


@given(sliding, sliding, sliding)
def test_composition_of_sliding_windows_is_associative_and_exact(
    a: Window, b: Window, c: Window
) -> None:
    assert a.after(b).after(c) == a.after(b.after(c))
    assert a.after(b).status is Status.EXACT


@given(windows)
def test_the_identity_changes_nothing(window: Window) -> None:
    assert window.after(IDENTITY) == window
    assert IDENTITY.after(window) == window


@given(windows, windows, st.integers(0, 12))
def test_a_composed_window_holds_what_two_steps_read(
    upper: Window, below: Window, index: int
) -> None:
    composed = upper.after(below)
    seen = [i for middle in read(upper, index) for i in read(below, middle)]
    assert composed.first(index) <= min(seen)
    assert max(seen) < composed.first(index) + composed.size
    if composed.status is Status.EXACT:
        assert list(read(composed, index)) == list(range(min(seen), max(seen) + 1))


@given(sliding, sliding, st.integers(0, 12))
def test_a_hull_holds_both_branches(a: Window, b: Window, index: int) -> None:
    other = Window(b.size, a.stride, b.start)
    hull = a.hull(other, 100)
    assert set(read(a, index)) | set(read(other, index)) <= set(read(hull, index))


def test_a_global_window_reads_the_whole_axis_for_every_output() -> None:
    pooled = Window.whole(6)
    seen = pooled.after(Window.sliding(3, 2, 1))
    assert (seen.size, seen.stride, seen.start, seen.status) == (13, 0, -1, Status.GLOBAL)
    assert pooled.affected((5, 6), extent=4) == (0, 4)
    assert pooled.affected((6, 9), extent=4) == (0, 0)


def test_branches_of_different_strides_meet_as_a_global_window() -> None:
    gate = Window.whole(8)
    assert Window.sliding(3).hull(gate, 8).status is Status.GLOBAL


def test_a_field_says_which_box_of_pixels_a_position_sees() -> None:
    field = Field(Window.sliding(7, 2, 1), Window.sliding(3))
    assert field.box((2, 5)) == Box(3, 5, 10, 8)
    assert field.size == (7, 3)


def test_boxes_intersect_join_and_clip() -> None:
    a, b = Box(-2, 1, 4, 5), Box(2, 0, 9, 3)
    assert a.intersect(b) == Box(2, 1, 4, 3)
    assert a.hull(b) == Box(-2, 0, 9, 5)
    assert a.clip(3, 3) == Box(0, 1, 3, 3)
    assert a.intersect(Box(50, 50, 60, 60)).empty


@given(tables, st.integers(-3, 14), st.integers(1, 6))
def test_a_table_answers_what_its_intervals_say(table: Table, first: int, count: int) -> None:
    """Both directions, against sets; outputs that are not there read nothing."""
    reads = [set(range(a, b)) for a, b in zip(table.first, table.last, strict=True)]
    wanted = set().union(*(reads[i] for i in range(first, first + count) if 0 <= i < len(reads)))
    low, high = table.need((np.array([first]), np.array([first + count])))
    assert set(range(low[0], high[0])) >= wanted
    assert (low[0], high[0]) == ((min(wanted), max(wanted) + 1) if wanted else (0, 0))
    changed = set(range(first, first + count))
    touched = [i for i, read in enumerate(reads) if read & changed]
    low, high = table.affected((np.array([first]), np.array([first + count])), len(reads))
    assert (low[0], high[0]) == ((touched[0], touched[-1] + 1) if touched else (0, 0))


@given(tables, st.fractions(-2, 3, max_denominator=4).filter(bool))
def test_the_window_of_a_table_holds_each_interval_and_an_exact_one_is_it(
    table: Table, stride: Fraction
) -> None:
    window = table.window(stride)
    for i, (first, last) in enumerate(zip(table.first, table.last, strict=True)):
        if first < last:
            assert window.first(i) <= first and last <= window.first(i) + window.size
            inside = window.first(i) >= 0 and window.first(i) + window.size <= table.extent
            if window.status is Status.EXACT and inside:
                assert (first, last) == (window.first(i), window.first(i) + window.size)


@given(windows, st.integers(1, 9))
def test_the_window_of_what_a_window_reads_is_that_window_or_no_larger(
    window: Window, outputs: int
) -> None:
    """Written down output by output, shifted into a map that holds all of it."""
    firsts = [window.first(i) for i in range(outputs)]
    shift = -min(firsts)
    first = [a + shift for a in firsts]
    table = Table(first, [a + window.size for a in first], extent=max(first) + window.size + 1)
    found = table.window(window.stride)
    assert found.status is Status.EXACT
    assert found.size == window.size
    assert [found.first(i) for i in range(outputs)] == first


@given(st.one_of(windows, tables), st.lists(st.integers(0, 10), min_size=1), st.integers(1, 5))
def test_windows_below_hold_what_is_needed_and_are_of_one_size(
    reach: Window | Table, first: list[int], size: int
) -> None:
    low, below = windows_below(reach, np.array(first), size)
    needed = reach.need((np.array(first), np.array(first) + size))
    for at, a, b in zip(low, *needed, strict=True):
        assert b <= a or (at <= a and b <= at + below)
    if isinstance(reach, Table):
        assert (low >= 0).all() and (low + below <= max(reach.extent, below)).all()
