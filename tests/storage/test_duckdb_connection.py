"""Every in-memory connection is in UTC, whatever the time zone of the machine."""

from __future__ import annotations

import pytest

from etl_assets.storage.duckdb_connection import CONFIG, connect


@pytest.mark.parametrize("setting", sorted(CONFIG))
def test_a_connection_has_the_common_settings(setting: str) -> None:
    with connect() as connection, connect(**CONFIG) as configured:
        query = f"select current_setting('{setting}')"
        assert connection.execute(query).fetchone() == configured.execute(query).fetchone()


def test_a_timestamp_is_shown_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")

    with connect() as connection:
        [shown] = connection.execute("select timestamptz '2026-03-01 12:00+00'::varchar").fetchone()

    assert shown == "2026-03-01 12:00:00+00"


def test_a_setting_can_be_overridden() -> None:
    with connect(threads=2) as connection:
        assert connection.execute("select current_setting('threads')").fetchone() == (2,)
