"""The layout of charts, maps and line diagrams, and what data may not do to them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.report import charts

STOPS = st.sampled_from("ABCDEFG")
EDGES = st.lists(st.tuples(STOPS, STOPS).filter(lambda edge: edge[0] != edge[1]), max_size=20)
SIZES = st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=40)


def test_bars_are_relative_to_the_longest() -> None:
    assert charts.bar_lengths([4, 1, 0, -2]) == [100, 25, 0, 0]


def test_a_small_value_is_visible_next_to_a_large_one() -> None:
    assert charts.bar_lengths([1_000_000, 1]) == [100, 0.4]
    assert charts.stack_segments([1_000_000, 1])[1][1] == pytest.approx(0.4, abs=0.01)


@given(SIZES)
def test_the_segments_of_a_bar_follow_each_other_and_end_within_it(sizes: list[float]) -> None:
    segments = charts.stack_segments(sizes)

    ends = [start + width for start, width in segments]
    assert all(end <= 100.02 for end in ends)
    assert all(
        after[0] == pytest.approx(end, abs=0.03)
        for end, after in zip(ends, segments[1:], strict=False)
    )


def test_a_line_starts_at_zero_and_fills_its_frame() -> None:
    assert charts.line_points([0, 5, 10], 100, 50) == [(0, 50), (50, 25), (100, 0)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([], []), ([3], [(50, 0)]), ([0, 0], [(0, 50), (100, 50)])],
    ids=["nothing", "one point", "all zero"],
)
def test_a_line_of_few_points_is_drawn(
    sizes: list[float], expected: list[tuple[float, float]]
) -> None:
    assert charts.line_points(sizes, 100, 50) == expected


def test_north_is_up_and_east_is_right() -> None:
    layout = charts.lay_out_map([("north", 10.0, 51.0), ("east", 11.0, 50.0), ("west", 9.0, 50.0)])

    north, east, west = layout.places
    assert north.y < east.y == west.y
    assert west.x < north.x < east.x


def test_a_degree_of_longitude_shrinks_with_latitude() -> None:
    layout = charts.lay_out_map([("a", 0.0, 59.5), ("b", 1.0, 60.5)])

    a, b = layout.places
    assert (b.x - a.x) / (a.y - b.y) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="empty"),
        pytest.param([("a", None, 1.0), ("b", "east", 1.0), ("c", True, 1.0)], id="no coordinates"),
        pytest.param([("a", 1.0, 1.0)], id="one place"),
        pytest.param([("a", 1.0, 1.0), ("b", 1.0, 2.0)], id="one above the other"),
    ],
)
def test_a_map_of_few_places_is_drawn(rows: list[tuple[charts.Cell, ...]]) -> None:
    layout = charts.lay_out_map(rows)

    assert len(layout.places) == sum(isinstance(row[1], float) for row in rows)
    assert layout.height > 0


def test_labels_of_large_places_never_cover_each_other() -> None:
    rows = [(f"Station {n}", 1 + n % 20 / 9, 1 + n // 20 / 99, True) for n in range(200)]

    places = charts.lay_out_map(rows).places

    boxes = [place.label.box(place.name) for place in places if place.label]
    assert 0 < len(boxes) < len(rows)
    assert not any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        for a, b in combinations(boxes, 2)
    )


@pytest.mark.parametrize(("longitude", "anchor"), [(1, "start"), (9, "end")], ids=["west", "east"])
def test_a_label_at_the_edge_extends_inwards(longitude: float, anchor: str) -> None:
    rows = [("West", 1, 1, False), ("East", 9, 2, False), ("A long name", longitude, 1.5, True)]

    labels = {place.name: place.label for place in charts.lay_out_map(rows).places}

    label = labels["A long name"]
    assert label
    assert label.anchor == anchor


@pytest.mark.parametrize(
    ("count", "large", "labelled"),
    [(10, 0, 10), (10, 2, 10), (60, 1, 60), (61, 3, 3), (300, 20, 20)],
)
def test_every_place_of_a_small_map_is_named_and_the_large_ones_of_others(
    count: int, large: int, labelled: int
) -> None:
    rows = [(f"P{n}", n % 17 * 3.0, n // 17 * 3.0, n < large) for n in range(count)]

    places = charts.lay_out_map(rows).places

    assert [place.name for place in places] == [f"P{n}" for n in range(count)]
    assert sum(place.label is not None for place in places) == labelled
    assert all(place.label for place in places if place.is_large)


def test_a_small_place_takes_no_room_from_the_label_of_a_large_one() -> None:
    crowd = [(f"A small place {n}", 1 + n / 900, 1.0, False) for n in range(40)]
    rows = [
        *crowd,
        ("West", 0.5, 1.0, False),
        ("East", 9.0, 1.0, False),
        ("Large", 1.02, 1.02, True),
    ]

    [large] = [place for place in charts.lay_out_map(rows).places if place.is_large]

    assert large.label


@pytest.mark.parametrize(
    ("names", "height"), [(("A", "B"), 46), (("Fairview", "Linden"), 87), (("A", "x" * 40), 273)]
)
def test_a_strip_is_as_high_as_its_longest_name(names: tuple[str, str], height: int) -> None:
    [strip] = charts.lay_out_lines([("Line", *names, None)])

    assert strip.height == height


@given(EDGES)
def test_walks_use_every_segment_once(edges: list[tuple[str, str]]) -> None:
    walks = list(charts.split_into_walks(edges))

    segments = Counter(frozenset(pair) for walk in walks for pair in pairwise(walk))
    assert segments == Counter(frozenset(edge) for edge in edges)


def test_a_line_with_a_loop_at_its_end_is_one_strip() -> None:
    edges = [("A", "B"), ("B", "C"), ("C", "D"), ("D", "B")]

    assert list(charts.split_into_walks(edges)) == [["A", "B", "C", "D", "B"]]


def test_a_branch_is_a_strip_of_its_own() -> None:
    rows = [("Red", a, b, "#ff0000") for a, b in ("AB", "BC", "BD")]

    strips = charts.lay_out_lines(rows)

    names = [([stop.name for stop in strip.stops], strip.is_first) for strip in strips]
    assert names == [(["A", "B", "C"], True), (["B", "D"], False)]


def test_a_stop_of_several_lines_names_the_others() -> None:
    rows = [("Red", "A", "B"), ("Blue", "C", "B")]

    other_lines = {
        s.name: s.other_lines for strip in charts.lay_out_lines(rows) for s in strip.stops
    }

    assert other_lines == {"A": [], "B": ["Red"], "C": []}


@pytest.mark.parametrize("color", ["red; background: url(//x)", "#12345", '"><script>', None])
def test_only_a_colour_enters_a_style(color: str | None) -> None:
    [strip] = charts.lay_out_lines([("Red", "A", "B", color)])

    assert strip.color is None


def test_a_long_line_fits_into_the_page() -> None:
    rows = [("Long", f"S{n}", f"S{n + 1}") for n in range(60)]

    [strip] = charts.lay_out_lines(rows)

    assert strip.width < 1020
