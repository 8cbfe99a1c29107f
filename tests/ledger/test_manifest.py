"""The exported manifests: written only if they changed, and refused if they are damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from etl_assets.ledger.manifest import (
    DownloadRecord,
    IngestionRecord,
    Process,
    ValidationRecord,
    export_manifest,
    load_manifest,
    load_manifests,
    manifest_file,
)
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    OperatorDecision,
    Part,
    Pin,
    RawFile,
    Table,
    TableResult,
    ValidationResult,
    Verdict,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHA = "a" * 64
EARLIER = Path(__file__).parent / "manifests"
"""Written by the code before a record was stored by its own fields; of invented data."""


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
    records = [DownloadRecord(file=file) for file in files]
    return export_manifest(home, "plants", Process.DOWNLOAD, records, etl_version="0.1.0", at=at)


def test_a_domain_without_files_has_an_empty_manifest(home: Home) -> None:
    export(home)

    manifest = json.loads((home.manifests / "plants_download.manifest.json").read_text())
    assert manifest["records"] == {}
    assert manifest["metadata"] == {
        "process": "download",
        "etl_version": "0.1.0",
        "root_dir": ".",
        "total_records": 0,
        "ts_created": "2026-03-01T12:00:00Z",
        "ts_updated": "2026-03-01T12:00:00Z",
    }


def test_two_sources_with_equal_bytes_keep_two_records(home: Home) -> None:
    export(home, a_file("plants.trees"), a_file("plants.shrubs"), a_file("plants.trees", "2024"))

    manifest = load_manifest(home, "plants", Process.DOWNLOAD)
    assert manifest is not None
    assert list(manifest.records) == ["plants.shrubs", "plants.trees", "plants.trees[2024]"]
    assert {record.file.sha256 for record in manifest.records.values()} == {SHA}


def test_an_unchanged_manifest_is_not_written_again(home: Home) -> None:
    export(home, a_file())
    before = (home.manifests / "plants_download.manifest.json").stat()

    written = export(home, a_file(), at=NOON + timedelta(days=1))

    after = (home.manifests / "plants_download.manifest.json").stat()
    assert not written
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_changed_manifest_keeps_its_creation_time(home: Home) -> None:
    export(home)

    export(home, a_file(), at=NOON + timedelta(days=1))

    manifest = load_manifest(home, "plants", Process.DOWNLOAD)
    assert manifest is not None
    assert manifest.metadata.ts_created == NOON
    assert manifest.metadata.ts_updated == NOON + timedelta(days=1)


def test_verdicts_and_tables_keep_their_file(home: Home) -> None:
    file, part = a_file(), Part(source="plants.trees")
    verdict = Verdict(part=part, sha256=SHA, ok=True, expected="JSON", actual="JSON")
    table = Table(
        part=part, path="data/tables/plants/trees/trees.parquet", sha256="b" * 64,
        source_sha256=SHA, records=3, rows=2, rejected=1, code_version="1",
    )  # fmt: skip
    validated = [ValidationRecord(file=file, verdict=verdict, code_version="1")]
    ingested = [IngestionRecord.of(file, TableResult(part=part, table=table))]

    export_manifest(home, "plants", Process.VALIDATION, validated, etl_version="1", at=NOON)
    export_manifest(home, "plants", Process.INGESTION, ingested, etl_version="1", at=NOON)

    judged, made = (
        load_manifest(home, "plants", process)
        for process in (Process.VALIDATION, Process.INGESTION)
    )
    assert judged is not None
    assert made is not None
    assert list(judged.records.values()) == validated
    assert [record.model_dump() for record in made.records.values()] == [
        record.model_dump() for record in ingested
    ]


def test_a_missing_manifest_is_none(home: Home) -> None:
    assert load_manifest(home, "plants", Process.DOWNLOAD) is None


@pytest.mark.fault("corrupt-manifest")
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
def test_a_damaged_manifest_is_reported_by_line_and_kept(
    home: Home, old: str, new: str, message: str
) -> None:
    export(home, a_file())
    path = home.manifests / "plants_download.manifest.json"
    damaged = path.read_text().replace(old, new, 1).encode("utf-8", "surrogateescape")
    path.write_bytes(damaged)

    with pytest.raises(HomeError, match=message):
        export(home, a_file())

    assert path.read_bytes() == damaged


def a_ruling(sha256: str = SHA) -> OperatorDecision:
    return OperatorDecision(sha256=sha256, by="robin", why="it was right", at=NOON)


def a_table(sha256: str = SHA) -> Table:
    return Table(
        part=Part(source="plants.trees"), path="data/tables/plants/trees/trees.parquet",
        sha256="b" * 64, source_sha256=sha256, records=5, rows=2, rejected=2, duplicates=1,
        rejects_by_rule={"key": 2}, first_rejects=["line 3, key: expected each once, found two"],
        unknown_fields=["bark"], unknown_values={"kind": {"fern": 1}},
        first_duplicates=["record 3: a duplicate"],
        refused_values={"version": 1}, first_refused_values=["line 4, version: found a word"],
        content_at=NOON,
        rejects_path="data/rejects/plants/trees/trees.parquet", rejects_sha256="d" * 64,
        code_version="1",
    )  # fmt: skip


def test_a_download_record_has_its_pin_and_its_verdict() -> None:
    part = Part(source="plants.trees")
    verdict = Verdict(
        part=part, sha256=SHA, ok=True, expected="JSON", actual="text", accepted=a_ruling()
    )
    file = a_file().model_copy(
        update={"verdict": verdict, "last_status": 200, "waited_seconds": 1.5, "attempts": 2}
    )
    pin = Pin(decision=a_ruling(), replaced_file=file.model_copy(update={"sha256": "c" * 64}))

    record = DownloadRecord(file=file, pin=pin)

    assert (record.file, record.pin) == (file, pin)
    assert record.raw_digests == {SHA, "c" * 64}


@pytest.mark.parametrize("newest", [SHA, "c" * 64], ids=["good", "refused"])
def test_a_validation_record_has_its_result(newest: str) -> None:
    file = a_file()
    verdict = Verdict(
        part=file.part, sha256=newest, ok=newest == SHA, expected="JSON", actual="?",
        where="line 1", unpacked_bytes=9, code_version="2",
    )  # fmt: skip
    stands_in = newest != SHA

    record = ValidationRecord(file=file, verdict=verdict, code_version="3", is_fallback=stands_in)

    assert record.result == ValidationResult(
        part=file.part, file=file, verdict=verdict, is_fallback=stands_in, code_version="3"
    )
    assert record.raw_digests == {SHA}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"fault": "it shrank", "refused_sha256": SHA},
        {"accepted": [a_ruling()], "baseline": a_table("d" * 64)},
    ],
    ids=["made", "refused", "accepted"],
)
def test_an_ingestion_record_has_its_result(more: dict[str, Any]) -> None:
    made = TableResult(part=Part(source="plants.trees"), table=a_table("c" * 64), **more)

    record = IngestionRecord.of(a_file(), made)

    assert record.result == made
    assert record.raw_digests == {SHA, "c" * 64}


def test_every_manifest_is_loaded_with_its_domain(home: Home) -> None:
    export(home, a_file())
    (home.manifests / "notes.txt").write_text("by hand", encoding="utf-8")

    [(domain, path, manifest)] = load_manifests(home)

    assert (domain, path.name) == ("plants", "plants_download.manifest.json")
    assert set(manifest.records) == {"plants.trees"}


@pytest.mark.parametrize("process", Process)
def test_a_manifest_of_an_earlier_version_is_read_and_exported_with_equal_bytes(
    home: Home, tmp_path: Path, process: Process
) -> None:
    text = (EARLIER / f"plants_{process}.manifest.json").read_text(encoding="utf-8")
    path = manifest_file(home, "plants", process)
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    manifest = load_manifest(home, "plants", process)
    assert manifest is not None
    records, at = list(manifest.records.values()), manifest.metadata.ts_updated

    is_rewritten = export_manifest(home, "plants", process, records, etl_version="0.1.0", at=at)
    other = Home(tmp_path / "other")
    export_manifest(other, "plants", process, records, etl_version="0.1.0", at=at)

    assert not is_rewritten
    assert manifest_file(other, "plants", process).read_text(encoding="utf-8") == text


def test_the_records_of_an_earlier_version_have_their_values() -> None:
    home = Home(EARLIER.parent)
    manifests = {process: load_manifest(home, "plants", process) for process in Process}
    download, validation, ingestion = (
        manifest.records["plants.trees"] for manifest in manifests.values() if manifest
    )

    assert isinstance(download, DownloadRecord)
    assert isinstance(validation, ValidationRecord)
    assert isinstance(ingestion, IngestionRecord)
    assert (download.file.attempts, download.file.waited_seconds) == (2, 1.5)
    assert download.raw_digests == {SHA, "b" * 64}
    assert (validation.result.is_fallback, validation.result.code_version) == (True, "3")
    assert validation.verdict.sha256 == "b" * 64
    assert ingestion.result.refused_sha256 == SHA
    assert ingestion.result.table.unknown_values == {"kind": {"fern\u00e9": 1}}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"source_id"', '"source"', r"json:11: records.plants.trees.source_id: Field required"),
        ('"checksum"', '"sum"', r"json:11: records.plants.trees.checksum: Field required"),
        ('"checksum"', '"sum"', r"json:15: records.plants.trees.sum: Extra inputs"),
        (
            '"valid": true',
            '"valid": 7',
            r"records.plants.trees.valid: Input should be a valid bool",
        ),
        (
            '"plants.trees",',
            '"trees",',
            r"records.plants.trees.source_id: .*expected domain.source",
        ),
    ],
    ids=["no source", "no digest", "unknown", "no flag", "no full name"],
)
def test_an_error_has_the_names_of_the_manifest(
    home: Home, old: str, new: str, message: str
) -> None:
    verdict = Verdict(part=a_file().part, sha256=SHA, ok=True, expected="JSON", actual="JSON")
    record = ValidationRecord(file=a_file(), verdict=verdict, code_version="1")
    export_manifest(home, "plants", Process.VALIDATION, [record], etl_version="1", at=NOON)
    path = manifest_file(home, "plants", Process.VALIDATION)
    path.write_text(path.read_text().replace(old, new), encoding="utf-8")

    with pytest.raises(HomeError, match=message) as raised:
        load_manifest(home, "plants", Process.VALIDATION)

    lines = str(raised.value).splitlines()
    assert len(lines) == len(set(lines))


def default_fields(record: BaseModel) -> set[str]:
    """Fields with their default value: a manifest that lost them would go unnoticed."""
    fields = type(record).model_fields.items()
    return {name for name, field in fields if getattr(record, name) == field.get_default()}


def test_these_tests_set_every_field_that_a_manifest_could_lose() -> None:
    part = Part(source="plants.trees", partition="2024")
    verdict = Verdict(
        part=part, sha256=SHA, ok=True, expected="JSON", actual="text", unpacked_bytes=9,
        where="line 1", code_version="2", accepted=a_ruling(),
    )  # fmt: skip
    file = RawFile(
        part=part, sha256=SHA, size_bytes=10, path=f"data/raw/aa/{SHA}",
        url="https://plants.example/trees.json", etag='"1"', last_modified=NOON,
        published_sha256="c" * 64, fetched_at=NOON, attempts=2, last_status=200,
        waited_seconds=1.5, verdict=verdict, code_version="1",
    )  # fmt: skip
    columns = {"filled_columns": ["kind"], "lost_columns": ["note"]}
    table = a_table("c" * 64).model_copy(update={"part": part, **columns})
    validated = ValidationResult(part=part, file=file, verdict=verdict, code_version="3")
    made = TableResult(part=part, table=table)

    judged = ValidationRecord(file=file, verdict=verdict, code_version="3").result

    assert set().union(*map(default_fields, (verdict, file, table))) == set()
    assert DownloadRecord(file=file).file == file
    assert judged.verdict == validated.verdict
    assert IngestionRecord.of(file, made).result == made
