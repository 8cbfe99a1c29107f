from __future__ import annotations

import pytest

from etl_assets.report import formatting
from etl_assets.report.report import Cell


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (None, "-"), (-1.0, "0 min"), (0.5, "30 min"), (30.0, "30 h"), (240.0, "10 d"),
        (26298.0, "3.0 y"),
    ],
)  # fmt: skip
def test_an_age_has_one_unit(hours: float | None, expected: str) -> None:
    assert formatting.format_age(hours) == expected


@pytest.mark.parametrize(
    ("number", "expected"), [(12, "12 B"), (12_345, "12.3 kB"), (3 * 10**9, "3.0 GB")]
)
def test_a_size_has_one_unit(number: int, expected: str) -> None:
    assert formatting.format_size(number) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (16.66, "16.7 s"), (75.6, "1 min 16 s"), (7260.0, "2 h 1 min")],
)
def test_a_duration_has_at_most_two_units(seconds: float, expected: str) -> None:
    assert formatting.format_duration(seconds) == expected


@pytest.mark.parametrize(
    ("part", "total", "expected"),
    [
        (1, 4, "25.0 %"), (0, 4, "0.0 %"), (4, 4, "100.0 %"), (1, 100_000, "< 0.1 %"),
        (99_999, 100_000, "> 99.9 %"), (1, 0, "-"),
    ],
)  # fmt: skip
def test_a_share_is_never_rounded_to_none_or_all(part: float, total: float, expected: str) -> None:
    assert formatting.format_share(part, total) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (None, "-"), ("", "-"), (True, "yes"), (False, "no"), (12345, "12,345"),
        (2.5, "2.5"), (40000.0, "40,000"), ("a\nb", "a b"),
    ],
)  # fmt: skip
def test_a_cell_is_formatted_by_its_type(cell: Cell, expected: str) -> None:
    assert formatting.format_cell(cell) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gate_plants__trees_are_tall", "Trees are tall"),
        ("plants__trees_are_tall", "Trees are tall"),
        ("not_null_trees_height__m", "not_null_trees_height__m"),
        ("gate_ferns__are_green", "gate_ferns__are_green"),
        ("fetched", "Fetched"),
        ("<b>", "<b>"),
    ],
)
def test_a_check_of_the_domain_gets_a_readable_name(name: str, expected: str) -> None:
    assert formatting.format_check_name(name, "plants") == expected
