"""The real feeds become tables with the rows that were counted in them by other means."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl_assets.declarations.load import load
from etl_assets.declarations.source import Source
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Table
from etl_assets.tables.tabulate import code_version, tabulate

SHA = "a" * 64


@pytest.fixture(scope="module")
def sources(repo_root: Path) -> dict[str, Source]:
    return load(repo_root / "etl_assets" / "domains")["advisories"].sources


def made(home: Home, mirror: Path, declared: Source, partition: str | None = None) -> Table:
    url = (declared.location.url or declared.location.path or "").removeprefix("https://")
    raw = mirror / url.format(partition=partition)
    if not raw.is_file():
        pytest.skip(f"the mirror holds no {raw.name}")
    part = Part(source=declared.full_name, partition=partition)
    return tabulate(home, declared, part, raw, SHA, code_version=code_version(declared))


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("name", "records", "rows", "rejected"),
    [
        pytest.param("echo", 40_625, 40_625, 0, id="pairs of the vendor"),
        pytest.param("overrides", 1_970, 1_970, 0, id="rulings"),
        pytest.param("debian", 33_139, 33_138, 1, id="pairs by release"),
        pytest.param("osv", 13_077, 16_290, 0, id="records by interval"),
        pytest.param("epss", 313_089, 313_089, 0, id="probabilities"),
        pytest.param("kev", 1_662, 1_662, 0, id="known exploited"),
        pytest.param("nvd_modified", 2_228, 2_228, 0, id="changed lately"),
    ],
)
def test_every_record_arrives_or_is_rejected(
    home: Home,
    mirror: Path,
    sources: dict[str, Source],
    name: str,
    records: int,
    rows: int,
    rejected: int,
) -> None:
    table = made(home, mirror, sources[name])

    assert (table.records, table.rows, table.rejected) == (records, rows, rejected)
    assert table.duplicates == 0


@pytest.mark.long
@pytest.mark.ci
def test_the_years_hold_every_record_once(
    home: Home, mirror: Path, sources: dict[str, Source]
) -> None:
    years = [str(year) for year in range(2002, 2027)]

    tables = [made(home, mirror, sources["nvd"], year) for year in years]

    assert sum(table.rows for table in tables) == 153_522
    assert sum(table.rejected for table in tables) == 0
