"""`etl sample` on real homes: which file it reads, what it prints, and that it stores nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_homes import call
from support.sample_home import DOMAIN, SampleHome, fingerprint

from etl_assets.demo.server import serving

Capture = pytest.CaptureFixture[str]
KEV = Path("www.cisa.gov") / "sites/default/files/feeds/known_exploited_vulnerabilities.json"


def count_events(sample: SampleHome) -> int:
    with sample.instance() as instance:
        return sum(
            record.asset_entry.last_materialization_storage_id or 0
            for record in instance.get_asset_records()
        )


def test_the_stored_file_is_read_and_nothing_is_recorded(
    sample_env: SampleHome, capsys: Capture
) -> None:
    before = (
        count_events(sample_env),
        fingerprint(sample_env.home.root / "data"),
        fingerprint(sample_env.latest),
    )
    (sample_env.mirror / KEV).unlink()

    assert call("sample", "kev", "--rows", "1") == 0

    first, summary, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{DOMAIN}.kev: data/raw/")
    assert summary == "of all 3 records, 3 rows are valid, 0 rejected"
    assert lines[:2] == ["record 1", '  cve_id              string        "CVE-2024-900001"']
    assert (
        count_events(sample_env),
        fingerprint(sample_env.home.root / "data"),
        fingerprint(sample_env.latest),
    ) == before


def test_a_file_that_is_not_stored_is_fetched_but_not_kept(
    empty_sample_env: SampleHome, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(empty_sample_env.mirror) as server:
        monkeypatch.setenv("ETL_MIRROR", server.url)
        assert call("sample", "kev", "--json") == 0

    sample = json.loads(capsys.readouterr().out)
    assert [row["record"] for row in sample["rows"]] == [1, 2, 3]
    assert sample["path"].startswith("https://www.cisa.gov/")
    assert [
        path for path in (empty_sample_env.home.root / "data").rglob("*") if path.is_file()
    ] == []
    assert count_events(empty_sample_env) == 0


def test_a_local_file_is_read_in_place(empty_sample_env: SampleHome, capsys: Capture) -> None:
    assert call("sample", "overrides", "--rows", "1") == 0

    path = empty_sample_env.mirror / "analyst" / "advisory-not-applicable.csv"
    assert f"{DOMAIN}.overrides: {path}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "partition"),
    [(["nvd[2020]"], "2020"), (["nvd", "--partition", "2021"], "2021"), (["nvd"], "2026")],
    ids=["by its name", "by the option", "the newest"],
)
def test_the_partition_is_the_named_or_the_newest_one(
    sample_env: SampleHome, capsys: Capture, arguments: list[str], partition: str
) -> None:
    assert call("sample", *arguments, "--json") == 0

    assert json.loads(capsys.readouterr().out)["part"]["partition"] == partition


def test_a_file_that_cannot_be_read_exits_with_1(
    empty_sample_env: SampleHome, capsys: Capture
) -> None:
    (empty_sample_env.mirror / KEV).write_text("<html>please log in</html>", encoding="utf-8")

    assert call("sample", "kev") == 1

    assert "the rest of the file is unreadable: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 2, "no source 'nothing'"),
        (["kev", "--partition", "2020"], 2, "advisories.kev has no partitions"),
        (["nvd", "--partition", "1999"], 2, "no partition '1999' of advisories.nvd; there are: 20"),
        (["kev", "--rows", "0"], 2, "--rows"),
        (["station_answers"], 1, "`etl run transit --source station_answers` requests them"),
        (["purchase_orders"], 1, "molding.purchase_orders: no file of the set in "),
        (["station_exits"], 1, "transit.station_exits: expected a file at "),
    ],
    ids=["source", "no partitions", "partition", "rows", "answers", "set", "missing"],
)
def test_a_missing_sample_is_an_error_with_its_reason(
    sample_env: SampleHome, capsys: Capture, arguments: list[str], code: int, message: str
) -> None:
    assert call("sample", *arguments) == code

    assert message in capsys.readouterr().err
