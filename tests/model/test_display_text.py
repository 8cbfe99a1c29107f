"""Tables for a terminal, and other texts that readers see."""

from __future__ import annotations

import pytest

from etl_assets.model.display_text import align_columns, cut_lines


@pytest.mark.parametrize(
    ("rows", "right", "widest", "lines"),
    [
        ([["a", "b"], ["long", "c"]], (), None, ["a     b", "long  c"]),
        ([["a", "1"], ["b", "1,000"]], {1}, None, ["a      1", "b  1,000"]),
        ([["a", "x" * 9, "!"], ["b", "y", "!"]], (), 4, ["a  xxxxxxxxx  !", "b  y  !"]),
        ([["a", "x" * 9, "!"], ["b", "yy", "!"]], {1}, 1, ["a  xxxxxxxxx  !", "b  yy  !"]),
        ([], (), None, []),
    ],
    ids=["left", "right", "a wide cell", "only wide cells", "nothing"],
)
def test_columns_begin_or_end_at_the_same_place(
    rows: list[list[str]], right: set[int], widest: int | None, lines: list[str]
) -> None:
    assert align_columns(rows, right=right, widest=widest) == lines


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        (["a", *"bcdef"], "f"),
        (["a", *"bcdefg"], "and 1 more"),
        (["a", *"bcdef", "and 1,010 more"], "and 1,010 more"),
        (["a", *"bcdefg", "and 1,010 more"], "and 1,011 more"),
        (["a", *"bcdefg", "and 2 more of these rows", "h"], "and 4 more"),
    ],
    ids=["short", "long", "counted", "long and counted", "two lists"],
)
def test_a_list_that_is_cut_counts_what_it_counted_itself(lines: list[str], last: str) -> None:
    assert cut_lines(lines)[-1] == last
    assert cut_lines(lines)[:6] == lines[:6]
