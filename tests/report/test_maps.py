"""Marks of maps and of diagrams of lines: where they stand, and what data may not do to them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_assets.report import maps

STOPS = st.sampled_from("ABCDEFG")
EDGES = st.lists(st.tuples(STOPS, STOPS).filter(lambda edge: edge[0] != edge[1]), max_size=20)


def test_north_is_up_and_east_is_right() -> None:
    drawn = maps.drawn_map([("north", 10.0, 51.0), ("east", 11.0, 50.0), ("west", 9.0, 50.0)])

    north, east, west = drawn.spots
    assert north.y < east.y == west.y
    assert west.x < north.x < east.x


def test_a_degree_of_longitude_is_as_long_as_it_is_there() -> None:
    drawn = maps.drawn_map([("a", 0.0, 59.5), ("b", 1.0, 60.5)])

    a, b = drawn.spots
    assert (b.x - a.x) / (a.y - b.y) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="nothing"),
        pytest.param([("a", None, 1.0), ("b", "east", 1.0), ("c", True, 1.0)], id="no place"),
        pytest.param([("a", 1.0, 1.0)], id="one place"),
        pytest.param([("a", 1.0, 1.0), ("b", 1.0, 2.0)], id="one above the other"),
    ],
)
def test_few_places_make_a_map_too(rows: list[tuple[maps.Cell, ...]]) -> None:
    drawn = maps.drawn_map(rows)

    assert len(drawn.spots) == sum(isinstance(row[1], float) for row in rows)
    assert drawn.height > 0


def test_labels_of_large_places_never_cover_each_other() -> None:
    rows = [(f"Station {n}", 1 + n % 20 / 9, 1 + n // 20 / 99, True) for n in range(200)]

    spots = maps.drawn_map(rows).spots

    boxes = [spot.label.box(spot.name) for spot in spots if spot.label]
    assert 0 < len(boxes) < len(rows)
    assert not any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        for a, b in combinations(boxes, 2)
    )


@pytest.mark.parametrize(("longitude", "anchor"), [(1, "start"), (9, "end")], ids=["west", "east"])
def test_a_label_has_its_end_at_its_place(longitude: float, anchor: str) -> None:
    rows = [("West", 1, 1, False), ("East", 9, 2, False), ("A long name", longitude, 1.5, True)]

    [label] = [spot.label for spot in maps.drawn_map(rows).spots if spot.label]

    assert label.anchor == anchor


@given(EDGES)
def test_walks_use_every_stretch_once(edges: list[tuple[str, str]]) -> None:
    ways = list(maps.walks(edges))

    walked = Counter(frozenset(pair) for way in ways for pair in pairwise(way))
    assert walked == Counter(frozenset(edge) for edge in edges)


def test_a_line_with_a_loop_at_its_end_is_one_strip() -> None:
    edges = [("A", "B"), ("B", "C"), ("C", "D"), ("D", "B")]

    assert list(maps.walks(edges)) == [["A", "B", "C", "D", "B"]]


def test_a_branch_is_a_strip_of_its_own() -> None:
    rows = [("Red", a, b, "#ff0000") for a, b in ("AB", "BC", "BD")]

    strips = maps.drawn_lines(rows)

    names = [([stop.name for stop in strip.stops], strip.is_first) for strip in strips]
    assert names == [(["A", "B", "C"], True), (["B", "D"], False)]


def test_stops_of_several_lines_name_the_others() -> None:
    rows = [("Red", "A", "B"), ("Blue", "C", "B")]

    others = {s.name: s.others for strip in maps.drawn_lines(rows) for s in strip.stops}

    assert others == {"A": [], "B": ["Red"], "C": []}


@pytest.mark.parametrize("color", ["red; background: url(//x)", "#12345", '"><script>', None])
def test_no_colour_comes_into_a_style_but_a_colour(color: str | None) -> None:
    [strip] = maps.drawn_lines([("Red", "A", "B", color)])

    assert strip.color is None


def test_long_lines_fit_into_the_page() -> None:
    rows = [("Long", f"S{n}", f"S{n + 1}") for n in range(60)]

    [strip] = maps.drawn_lines(rows)

    assert strip.width < 1020
