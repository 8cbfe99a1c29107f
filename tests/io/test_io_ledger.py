"""The exported ledger: written where it changed, and never trusted where it is damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etl_assets.io import ledger
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.ledger import DownloadRecord, IngestionRecord, Process, ValidationRecord
from etl_assets.model.records import Part, RawFile, Table, Tabulated, Verdict

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHA = "a" * 64


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def a_file(source: str = "plants.trees", partition: str | None = None) -> RawFile:
    return RawFile(
        part=Part(source=source, partition=partition),
        sha256=SHA,
        size_bytes=10,
        path=f"data/raw/aa/{SHA}",
        url="https://plants.example/trees.json",
        etag='"1"',
        fetched_at=NOON,
        code_version="1",
    )


def export(home: Home, *files: RawFile, at: datetime = NOON) -> bool:
    records = [DownloadRecord.of(file) for file in files]
    return ledger.export(home, "plants", Process.DOWNLOAD, records, etl_version="0.1.0", at=at)


def test_a_domain_without_files_has_a_skeleton(home: Home) -> None:
    export(home)

    found = json.loads((home.manifests / "plants_download.manifest.json").read_text())
    assert found["records"] == {}
    assert found["metadata"] == {
        "process": "download",
        "etl_version": "0.1.0",
        "root_dir": ".",
        "total_records": 0,
        "ts_created": "2026-03-01T12:00:00Z",
        "ts_updated": "2026-03-01T12:00:00Z",
    }


def test_two_sources_with_equal_bytes_keep_two_records(home: Home) -> None:
    export(home, a_file("plants.trees"), a_file("plants.shrubs"), a_file("plants.trees", "2024"))

    found = ledger.load(home, "plants", Process.DOWNLOAD)
    assert found is not None
    assert list(found.records) == ["plants.shrubs", "plants.trees", "plants.trees[2024]"]
    assert {record.checksum for record in found.records.values()} == {SHA}


def test_an_unchanged_ledger_is_not_written_again(home: Home) -> None:
    export(home, a_file())
    before = (home.manifests / "plants_download.manifest.json").stat()

    written = export(home, a_file(), at=NOON + timedelta(days=1))

    after = (home.manifests / "plants_download.manifest.json").stat()
    assert not written
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_changed_ledger_keeps_the_day_it_was_created(home: Home) -> None:
    export(home)

    export(home, a_file(), at=NOON + timedelta(days=1))

    found = ledger.load(home, "plants", Process.DOWNLOAD)
    assert found is not None
    assert found.metadata.ts_created == NOON
    assert found.metadata.ts_updated == NOON + timedelta(days=1)


def test_verdicts_and_tables_keep_the_file_that_they_speak_of(home: Home) -> None:
    file, part = a_file(), Part(source="plants.trees")
    verdict = Verdict(part=part, sha256=SHA, ok=True, expected="JSON", found="JSON")
    table = Table(
        part=part, path="data/tables/plants/trees/trees.parquet", sha256="b" * 64,
        source_sha256=SHA, records=3, rows=2, rejected=1, code_version="1",
    )  # fmt: skip
    validated = [ValidationRecord.of(file, verdict, version="1")]
    ingested = [IngestionRecord.of(file, Tabulated(part=part, table=table))]

    ledger.export(home, "plants", Process.VALIDATION, validated, etl_version="1", at=NOON)
    ledger.export(home, "plants", Process.INGESTION, ingested, etl_version="1", at=NOON)

    found = [
        ledger.load(home, "plants", process) for process in (Process.VALIDATION, Process.INGESTION)
    ]
    assert [list(f.records.values()) for f in found if f] == [validated, ingested]


def test_no_manifest_is_no_ledger(home: Home) -> None:
    assert ledger.load(home, "plants", Process.DOWNLOAD) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(SHA, "A" * 63, "json:15: .*checksum: String should match", id="digest"),
        pytest.param('size": 10', 'size": 0', "json:17: .*file_size: .*greater than 0", id="size"),
        pytest.param('records": 1', 'records": 2', "is 2, but there are 1", id="count"),
        pytest.param('"plants.trees": {', '"plants.x": {', "other file's key: plants.x", id="key"),
        pytest.param("data/raw", "/data/raw", "must be relative to ETL_HOME", id="absolute path"),
        pytest.param('"etag"', "etag", "json:19: expected JSON, found Expecting", id="not JSON"),
        pytest.param('"download"', '"validation"', "expected the process download", id="process"),
        pytest.param("plants.example", "plants.\udcff", "expected UTF-8 text", id="not UTF-8"),
    ],
)
def test_a_damaged_manifest_is_named_by_line_and_stays(
    home: Home, old: str, new: str, message: str
) -> None:
    export(home, a_file())
    path = home.manifests / "plants_download.manifest.json"
    damaged = path.read_text().replace(old, new, 1).encode("utf-8", "surrogateescape")
    path.write_bytes(damaged)

    with pytest.raises(HomeError, match=message):
        export(home, a_file())

    assert path.read_bytes() == damaged
