"""Names and text in SQL are quoted, so that none of their characters is SQL."""

from __future__ import annotations

import pytest

from etl_assets.storage import sql_quoting


@pytest.mark.fault("hostile-sql")
def test_a_quote_in_a_name_is_doubled() -> None:
    assert sql_quoting.quote_name('a"b') == '"a""b"'


def test_a_path_is_quoted_name_by_name() -> None:
    assert sql_quoting.quote_path('by.so"urce') == '"by"."so""urce"'


@pytest.mark.fault("hostile-sql")
def test_a_quote_in_text_is_doubled() -> None:
    assert sql_quoting.quote_text("it's") == "'it''s'"
