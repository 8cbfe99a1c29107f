"""Tables for a terminal, and other texts that readers see."""

from __future__ import annotations

import pytest

from etl_assets.model.display_text import align_columns


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
