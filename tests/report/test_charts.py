from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.report import charts

SIZES = st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=40)


def test_bars_are_measured_by_the_longest() -> None:
    assert charts.bars([4, 1, 0, -2]) == [100, 25, 0, 0]


def test_what_is_there_can_be_seen_beside_a_giant() -> None:
    assert charts.bars([1_000_000, 1]) == [100, 0.4]
    assert charts.slices([1_000_000, 1])[1][1] == pytest.approx(0.4, abs=0.01)


@given(SIZES)
def test_the_parts_of_a_bar_lie_end_to_end_within_it(sizes: list[float]) -> None:
    parts = charts.slices(sizes)

    ends = [start + width for start, width in parts]
    assert all(end <= 100.02 for end in ends)
    assert all(
        after[0] == pytest.approx(end, abs=0.03)
        for end, after in zip(ends, parts[1:], strict=False)
    )


def test_a_line_stands_on_zero_and_fills_its_frame() -> None:
    assert charts.points([0, 5, 10], 100, 50) == [(0, 50), (50, 25), (100, 0)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([], []), ([3], [(50, 0)]), ([0, 0], [(0, 50), (100, 50)])],
    ids=["nothing", "one point", "all zero"],
)
def test_a_line_of_little_is_drawn(sizes: list[float], expected: list[tuple[float, float]]) -> None:
    assert charts.points(sizes, 100, 50) == expected
