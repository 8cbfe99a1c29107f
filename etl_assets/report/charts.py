"""Where the marks of a chart stand, in numbers that a template draws as SVG.

Colours and type are the style sheet's; what is shown is the report's.
"""

from __future__ import annotations

from collections.abc import Sequence

SMALLEST_PCT = 0.4  # a mark that is there can be seen


def bars(sizes: Sequence[float]) -> list[float]:
    """Lengths in per cent of the largest."""
    largest = max([*sizes, 0.0]) or 1.0
    return [
        round(max(size / largest * 100, SMALLEST_PCT), 2) if size > 0 else 0.0 for size in sizes
    ]


def slices(sizes: Sequence[float]) -> list[tuple[float, float]]:
    """Start and width of each part of one bar, in per cent of the whole."""
    whole = sum(sizes) or 1.0
    wanted = [max(size / whole * 100, SMALLEST_PCT) if size > 0 else 0.0 for size in sizes]
    scale = 100 / (sum(wanted) or 1.0)
    found, start = [], 0.0
    for width in wanted:
        found.append((round(start, 2), round(width * scale, 2)))
        start += width * scale
    return found


def points(sizes: Sequence[float], width: float, height: float) -> list[tuple[float, float]]:
    """Evenly spaced points of a line over zero, y downwards as SVG has it."""
    top = max([*sizes, 0.0]) or 1.0
    step = width / (len(sizes) - 1) if len(sizes) > 1 else 0.0
    first = 0.0 if step else width / 2
    return [
        (round(first + index * step, 1), round(height - max(size, 0.0) / top * height, 1))
        for index, size in enumerate(sizes)
    ]
