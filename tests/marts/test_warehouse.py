"""When a domain's warehouse may be built on."""

from __future__ import annotations

import duckdb
import pytest

from etl_assets.marts import warehouse
from etl_assets.model.home import Home

DOMAIN = "orchard"


@pytest.fixture
def built(home: Home) -> Home:
    home.warehouse(DOMAIN).parent.mkdir(parents=True)
    with duckdb.connect(home.warehouse(DOMAIN)) as database:
        database.execute("create table trees as select 1 as tree")
    warehouse.mark_complete(home, DOMAIN)
    return home


def test_a_marked_database_is_whole_until_it_is_unmarked(built: Home) -> None:
    assert warehouse.is_complete(built, DOMAIN)

    warehouse.unmark(built, DOMAIN)

    assert not warehouse.is_complete(built, DOMAIN)


@pytest.mark.parametrize("content", [b"", b"no database at all"], ids=["empty", "another"])
def test_another_file_in_its_place_is_not_whole(built: Home, content: bytes) -> None:
    built.warehouse(DOMAIN).write_bytes(content)

    assert not warehouse.is_complete(built, DOMAIN)


def test_a_mark_without_a_database_is_not_whole(built: Home) -> None:
    built.warehouse(DOMAIN).unlink()

    assert not warehouse.is_complete(built, DOMAIN)
