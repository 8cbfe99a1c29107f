"""Where the marks of a map and of a diagram of lines stand, in numbers for a template's SVG.

Bars and curves are `etl_assets.report.charts`; colours that data does not bring are the style
sheet's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from etl_assets.report.report import Cell

Box = tuple[float, float, float, float]
COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
MAP_WIDTH = 1000.0
MARGIN = 24.0
LABEL_HEIGHT = 15.0
LABEL_CHARACTER = 6.6
LABEL_CHOICES: tuple[tuple[float, float, Literal["start", "middle", "end"]], ...] = (
    (9, 4, "start"),
    (-9, 4, "end"),
    (0, -9, "middle"),
    (0, 18, "middle"),
    (7, -5, "start"),
    (7, 13, "start"),
    (-7, -5, "end"),
    (-7, 13, "end"),
)  # the best first; the last four stand askew, where places are dense
STRIP_WIDTH = 910.0  # of all stops together, so that a line of forty needs no scrolling
STOP_STEP = 34.0
LAST_LABEL = 80.0


@dataclass(frozen=True, slots=True)
class Label:
    """Where a name is written, and which end of it stands there: fonts are not equally wide."""

    x: float
    y: float
    anchor: Literal["start", "middle", "end"]

    def box(self, name: str) -> Box:
        """What it covers: left, top, right and bottom."""
        wide = len(name) * LABEL_CHARACTER
        left = self.x - wide * {"start": 0, "middle": 0.5, "end": 1}[self.anchor]
        return left, self.y - LABEL_HEIGHT + 3, left + wide, self.y + 3


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on a map; its label has a place of its own where there is room for one."""

    name: str
    x: float
    y: float
    is_large: bool
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line between two places, in the colour that the data gives it."""

    ends: tuple[float, float, float, float]
    color: str | None


@dataclass(frozen=True, slots=True)
class Map:
    """Spots and strokes in a frame of this size, north up."""

    width: float
    height: float
    spots: list[Spot]
    strokes: list[Stroke]


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop of a line, and the other lines that can be taken there."""

    name: str
    x: float
    others: list[str]


@dataclass(frozen=True, slots=True)
class Strip:
    """One line, or a part of it, as stops from left to right; the first names it."""

    line: str
    color: str | None
    stops: list[Stop]
    is_first: bool

    @property
    def width(self) -> float:
        return round(self.stops[-1].x + LAST_LABEL, 1)


def drawn_map(rows: Sequence[Sequence[Cell]], strokes: Sequence[Sequence[Cell]] = ()) -> Map:
    """Rows of name, longitude, latitude and whether large; what has no place is left out."""
    places = [(row, *_numbers(row[1:3])) for row in rows if _are_numbers(row[1:3])]
    if not places:
        return Map(MAP_WIDTH, MARGIN * 2, [], [])
    west, east = min(x for _, x, _ in places), max(x for _, x, _ in places)
    south, north = min(y for _, _, y in places), max(y for _, _, y in places)
    squeeze = math.cos(math.radians((south + north) / 2))
    scale = (MAP_WIDTH - 2 * MARGIN) / ((east - west) * squeeze or 1.0)

    def at(longitude: float, latitude: float) -> tuple[float, float]:
        x = MARGIN + (longitude - west) * squeeze * scale
        return round(x, 1), round(MARGIN + (north - latitude) * scale, 1)

    spots = [_spot(row, *at(x, y)) for row, x, y in places]
    lines = [
        Stroke((*at(*_numbers(row[:2])), *at(*_numbers(row[2:4]))), _color(row[4:]))
        for row in strokes
        if _are_numbers(row[:4])
    ]
    height = round(2 * MARGIN + (north - south) * scale, 1)
    return Map(MAP_WIDTH, height, _labelled(spots), lines)


def drawn_lines(rows: Sequence[Sequence[Cell]]) -> list[Strip]:
    """Rows of line, one end, other end and colour: each line as strips that use every stretch."""
    lines: dict[str, list[tuple[str, str]]] = {}
    colors: dict[str, str | None] = {}
    for row in rows:
        line = str(row[0])
        lines.setdefault(line, []).append((str(row[1]), str(row[2])))
        colors.setdefault(line, _color(row[3:]))
    at: dict[str, list[str]] = {}
    for line, edges in lines.items():
        for stop in dict.fromkeys(stop for edge in edges for stop in edge):
            at.setdefault(stop, []).append(line)
    return [
        Strip(line, colors[line], _stops(walk, line, at), is_first=number == 0)
        for line, edges in lines.items()
        for number, walk in enumerate(walks(edges))
    ]


def walks(edges: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    """Ways over all edges, each edge once: from an end of the line, or where most of it meets."""
    left = list(edges)
    while left:
        degrees = Counter(stop for edge in left for stop in edge)
        ends = [stop for stop, degree in degrees.items() if degree % 2]
        way = [ends[0] if ends else max(degrees, key=lambda stop: degrees[stop])]
        while edge := next((edge for edge in left if way[-1] in edge), None):
            left.remove(edge)
            way.append(edge[1] if edge[0] == way[-1] else edge[0])
        yield way


def _stops(walk: Sequence[str], line: str, at: dict[str, list[str]]) -> list[Stop]:
    step = min(STOP_STEP, STRIP_WIDTH / max(len(walk) - 1, 1))
    return [
        Stop(name, round(MARGIN + number * step, 1), [o for o in at[name] if o != line])
        for number, name in enumerate(walk)
    ]


def _spot(row: Sequence[Cell], x: float, y: float) -> Spot:
    return Spot(str(row[0]), x, y, is_large=bool(row[3]) if len(row) > 3 else False)


def _labelled(spots: Sequence[Spot]) -> list[Spot]:
    """The large spots with a label beside, above or below them, where it covers no other."""
    taken: list[Box] = [
        (s.x - r, s.y - r, s.x + r, s.y + r) for s in spots for r in [5 if s.is_large else 2]
    ]
    found = []
    for spot in spots:
        label = _label(spot, taken) if spot.is_large else None
        found.append(Spot(spot.name, spot.x, spot.y, spot.is_large, label))
    return found


def _label(spot: Spot, taken: list[Box]) -> Label | None:
    for right, down, anchor in LABEL_CHOICES:
        label = Label(round(spot.x + right, 1), round(spot.y + down, 1), anchor)
        box = label.box(spot.name)
        fits = box[0] >= 0 and box[2] <= MAP_WIDTH
        if fits and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return label
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _color(cells: Sequence[Cell]) -> str | None:
    """A colour that is one: nothing else of the data comes into a style."""
    text = str(cells[0]) if cells else ""
    return text if COLOR.fullmatch(text) else None


def _numbers(cells: Sequence[Cell]) -> tuple[float, float]:
    first, second = (float(cell or 0) for cell in cells)
    return first, second


def _are_numbers(cells: Sequence[Cell]) -> bool:
    return all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)
