"""The layout of charts, maps and line diagrams, as numbers that a template draws as SVG.

Colours and type are in the style sheet; what is shown is decided by the report.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from etl_assets.report.report import Cell, is_number

MIN_MARK_PCT = 0.4  # a small value is still visible next to a large one

# Units of the viewBox of a map; the page scales it.
MAP_WIDTH = 1000.0
MARGIN = 24.0
LABEL_HEIGHT = 15.0
CHARACTER_WIDTH = 6.6  # an estimate: the reader's font is not known
BOLD_CHARACTER_WIDTH = 7.4
STOP_HEIGHT = 40  # of a stop, and of the ends of a slanted name
PLACE_RADIUS = 2
LARGE_PLACE_RADIUS = 5

MAX_LABELLED_PLACES = 60  # of more, only the large ones have a label

LABEL_SLOPE = math.sin(math.radians(52))  # of the names above the stops
STRIP_WIDTH = 910.0  # of all stops together, so that a line of forty needs no scrolling
STOP_STEP = 34.0
LAST_LABEL_WIDTH = 80.0

Anchor = Literal["start", "middle", "end"]
Box = tuple[float, float, float, float]  # left, top, right, bottom
COLOR = re.compile(r"#[0-9A-Fa-f]{6}")

# Offsets of a label from its place, best first. The last four are askew, for dense places.
LABEL_OFFSETS: tuple[tuple[float, float, Anchor], ...] = (
    (9, 4, "start"),
    (-9, 4, "end"),
    (0, -9, "middle"),
    (0, 18, "middle"),
    (7, -5, "start"),
    (7, 13, "start"),
    (-7, -5, "end"),
    (-7, 13, "end"),
)


@dataclass(frozen=True, slots=True)
class Label:
    """Where a name is written, and which end of the text is at that point."""

    x: float
    y: float
    anchor: Anchor

    def box(self, name: str) -> Box:
        """The area that the text covers, about."""
        width = len(name) * CHARACTER_WIDTH
        left = self.x - width * {"start": 0, "middle": 0.5, "end": 1}[self.anchor]
        return left, self.y - LABEL_HEIGHT + 3, left + width, self.y + 3


@dataclass(frozen=True, slots=True)
class MapPlace:
    """A place on a map, with a label if there is room for one."""

    name: str
    x: float
    y: float
    is_large: bool
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class MapLine:
    """A line between two places, in the colour that the data gives it."""

    ends: tuple[float, float, float, float]
    color: str | None


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Places and lines in a frame of this size, north up."""

    width: float
    height: float
    places: list[MapPlace]
    lines: list[MapLine]


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop of a line, and the other lines that stop there."""

    name: str
    x: float
    other_lines: list[str]


@dataclass(frozen=True, slots=True)
class Strip:
    """One line, or a part of it, as stops from left to right; the first strip names the line."""

    line: str
    color: str | None
    stops: list[Stop]
    is_first: bool

    @property
    def width(self) -> float:
        return round(self.stops[-1].x + LAST_LABEL_WIDTH, 1)

    @property
    def height(self) -> int:
        """Room for the longest name above its stop, and for the stop."""
        longest = max(len(stop.name) for stop in self.stops)
        return round(longest * BOLD_CHARACTER_WIDTH * LABEL_SLOPE) + STOP_HEIGHT


def bar_lengths(sizes: Sequence[float]) -> list[float]:
    """The length of each bar in per cent of the longest."""
    largest = max([*sizes, 0.0]) or 1.0
    return [round(_to_pct(size, largest), 2) for size in sizes]


def stack_segments(sizes: Sequence[float]) -> list[tuple[float, float]]:
    """Start and width of each segment of one stacked bar, in per cent of its length."""
    total = sum(sizes) or 1.0
    widths = [_to_pct(size, total) for size in sizes]
    # Small segments are widened, so the sum may exceed 100.
    scale = 100 / (sum(widths) or 1.0)
    segments, start = [], 0.0
    for width in widths:
        segments.append((round(start, 2), round(width * scale, 2)))
        start += width * scale
    return segments


def _to_pct(size: float, total: float) -> float:
    """A visible share of the total; 0 for a size that cannot be drawn."""
    return max(size / total * 100, MIN_MARK_PCT) if size > 0 else 0.0


def line_points(sizes: Sequence[float], width: float, height: float) -> list[tuple[float, float]]:
    """Evenly spaced points of a curve above zero; y grows downwards, as in SVG."""
    largest = max([*sizes, 0.0]) or 1.0
    first, step = 0.0, width / max(len(sizes) - 1, 1)
    if len(sizes) == 1:
        first = width / 2
    return [
        (round(first + index * step, 1), round(height - max(size, 0.0) / largest * height, 1))
        for index, size in enumerate(sizes)
    ]


def lay_out_map(rows: Sequence[Sequence[Cell]], lines: Sequence[Sequence[Cell]] = ()) -> MapLayout:
    """The layout of places and of the lines between them.

    `rows` are name, longitude, latitude and whether the place is large; `lines` are the longitude
    and latitude of both ends, and a colour. Rows without numbers as coordinates are left out.
    """
    located = [row for row in rows if all(map(is_number, row[1:3]))]
    if not located:
        return MapLayout(MAP_WIDTH, MARGIN * 2, [], [])
    longitudes = [_to_float(row[1]) for row in located]
    latitudes = [_to_float(row[2]) for row in located]
    west, east = min(longitudes), max(longitudes)
    south, north = min(latitudes), max(latitudes)
    # Equirectangular: a degree of longitude is shorter by the cosine of the latitude.
    shrink = math.cos(math.radians((south + north) / 2))
    scale = (MAP_WIDTH - 2 * MARGIN) / ((east - west) * shrink or 1.0)

    def project(longitude: Cell, latitude: Cell) -> tuple[float, float]:
        x = MARGIN + (_to_float(longitude) - west) * shrink * scale
        return round(x, 1), round(MARGIN + (north - _to_float(latitude)) * scale, 1)

    places = []
    for row in located:
        is_large = len(row) > 3 and bool(row[3])
        places.append(MapPlace(str(row[0]), *project(row[1], row[2]), is_large))
    map_lines = [
        MapLine((*project(row[0], row[1]), *project(row[2], row[3])), _read_color(row[4:]))
        for row in lines
        if all(map(is_number, row[:4]))
    ]
    height = round(2 * MARGIN + (north - south) * scale, 1)
    return MapLayout(MAP_WIDTH, height, _add_labels(places), map_lines)


def _add_labels(places: Sequence[MapPlace]) -> list[MapPlace]:
    """Label the places where a label covers no place and no earlier label, the large ones first."""
    taken: list[Box] = []
    for place in places:
        radius = LARGE_PLACE_RADIUS if place.is_large else PLACE_RADIUS
        taken.append((place.x - radius, place.y - radius, place.x + radius, place.y + radius))
    labels: dict[int, Label] = {}
    for number, place in sorted(enumerate(places), key=lambda item: not item[1].is_large):
        is_named = place.is_large or len(places) <= MAX_LABELLED_PLACES
        if is_named and (label := _find_label(place, taken)):
            taken.append(label.box(place.name))
            labels[number] = label
    return [replace(place, label=labels.get(number)) for number, place in enumerate(places)]


def _find_label(place: MapPlace, taken: Sequence[Box]) -> Label | None:
    """The first label that fits into the map without an overlap, or None."""
    for right, down, anchor in LABEL_OFFSETS:
        label = Label(round(place.x + right, 1), round(place.y + down, 1), anchor)
        box = label.box(place.name)
        fits = box[0] >= 0 and box[2] <= MAP_WIDTH
        if fits and not any(_overlap(box, other) for other in taken):
            return label
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def lay_out_lines(rows: Sequence[Sequence[Cell]]) -> list[Strip]:
    """The strips of a line diagram.

    `rows` are the segments: name of the line, one stop, the next stop, and the line's colour. A
    line with branches or loops becomes several strips, in which each segment appears once.
    """
    segments: dict[str, list[tuple[str, str]]] = {}
    colors: dict[str, str | None] = {}
    lines_at: dict[str, list[str]] = {}
    for row in rows:
        line, ends = str(row[0]), (str(row[1]), str(row[2]))
        segments.setdefault(line, []).append(ends)
        colors.setdefault(line, _read_color(row[3:]))
    for line, line_segments in segments.items():
        for ends in line_segments:
            for stop in ends:
                if line not in lines_at.setdefault(stop, []):
                    lines_at[stop].append(line)
    strips = []
    for line, line_segments in segments.items():
        for number, walk in enumerate(split_into_walks(line_segments)):
            step = min(STOP_STEP, STRIP_WIDTH / max(len(walk) - 1, 1))
            stops = []
            for index, name in enumerate(walk):
                other_lines = [other for other in lines_at[name] if other != line]
                stops.append(Stop(name, round(MARGIN + index * step, 1), other_lines))
            strips.append(Strip(line, colors[line], stops, is_first=number == 0))
    return strips


def split_into_walks(segments: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    """Walks that together use each segment once, as lists of stops.

    A walk starts at an end of the line, or without an end at the stop with the most segments.
    """
    remaining = list(segments)
    while remaining:
        degrees = Counter(chain.from_iterable(remaining))
        # An open walk starts and ends at stops of odd degree (Euler); other walks are closed.
        ends = [stop for stop, degree in degrees.items() if degree % 2]
        walk = [next(iter(ends), max(degrees, key=lambda stop: degrees[stop]))]
        while segment := next((each for each in remaining if walk[-1] in each), None):
            remaining.remove(segment)
            start, end = segment
            walk.append(end if start == walk[-1] else start)
        yield walk


def _read_color(cells: Sequence[Cell]) -> str | None:
    """The first cell if it is a colour; no other text of the data may enter a style."""
    if cells and COLOR.fullmatch(str(cells[0])):
        return str(cells[0])
    return None


def _to_float(cell: Cell) -> float:
    return float(cell or 0)
