"""The macro history_at: the periods of a history at a given time."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from jinja2 import Environment, FileSystemLoader

PERIODS = """
create table periods as select * from (values
    ('oak', 'ill', timestamptz '2026-02-01 00:00:00+00', timestamptz '2026-03-01 00:00:00+00'),
    ('oak', 'well', timestamptz '2026-03-01 00:00:00+00', null),
    ('yew', 'ill', timestamptz '2026-02-01 00:00:00+00', timestamptz '2026-02-02 00:00:00+00')
) as t (plant, state, effective_from, effective_to)
"""


@pytest.mark.parametrize(
    ("at", "states"),
    [
        pytest.param("2026-01-31 23:59:59", [], id="before all periods"),
        pytest.param("2026-02-01 00:00:00", ["oak ill", "yew ill"], id="start is included"),
        pytest.param("2026-02-02 00:00:00", ["oak ill"], id="end is excluded"),
        pytest.param("2026-03-01 00:00:00", ["oak well"], id="one period per key"),
        pytest.param("2030-01-01 00:00:00", ["oak well"], id="current period has no end"),
    ],
)
def test_a_time_has_at_most_one_period_per_key(at: str, states: list[str], repo_root: Path) -> None:
    macros = Environment(loader=FileSystemLoader(repo_root / "dbt_project" / "macros" / "shared"))
    history_at = macros.get_template("history.sql").module.history_at

    with duckdb.connect() as connection:
        connection.execute(PERIODS)
        periods = connection.sql(str(history_at("periods", f"timestamptz '{at}+00'"))).fetchall()

    assert sorted(f"{plant} {state}" for plant, state, *_ in periods) == states
