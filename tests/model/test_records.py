"""The stored form of the records, which event logs and manifests of earlier versions have."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from etl_assets.model.errors import UsageError
from etl_assets.model.records import (
    Part,
    Pin,
    QuarantinedFile,
    RawFile,
    Record,
    Reject,
    SourceName,
    ValidationResult,
    Verdict,
    parse_digits,
)

SHA = "a" * 64
PART = {"source": "plants.trees", "partition": None}
DECISION = {"sha256": SHA, "by": "robin", "why": "", "at": "2026-03-01T12:00:00Z"}
VERDICT = {
    "part": PART, "sha256": SHA, "ok": False, "expected": "json", "found": "html",
    "unpacked_bytes": None, "where": "line 1", "code_version": "1", "accepted": DECISION,
}  # fmt: skip
FILE = {
    "part": PART, "sha256": SHA, "size_bytes": 10, "path": f"data/raw/aa/{SHA}",
    "url": "https://plants.example/trees.json", "etag": None, "last_modified": None,
    "published_sha256": None, "fetched_at": "2026-03-01T12:00:00Z", "attempts": 1,
    "last_status": 200, "waited_seconds": 0.0, "verdict": VERDICT, "code_version": "1",
}  # fmt: skip
STORED: list[tuple[type[Record], dict[str, Any]]] = [
    (Part, {"source": "plants.trees", "partition": "2024"}),
    (Verdict, VERDICT),
    (RawFile, FILE),
    (Pin, {"ruling": DECISION, "held": FILE}),
    (
        ValidationResult,
        {"part": PART, "file": FILE, "verdict": VERDICT, "stands_in": True, "code_version": "1"},
    ),
    (
        QuarantinedFile,
        {
            "part": PART, "sha256": SHA, "size_bytes": 10, "path": "data/quarantine/plants/x",
            "url": "https://plants.example", "where": "", "expected": "json", "found": "html",
            "quarantined_at": "2026-03-01T12:00:00Z",
        },
    ),
    (
        Reject,
        {
            "where": "line 2", "column": None, "rule": "type", "expected": "text", "found": "1",
            "row": "{}",
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "stored"), STORED, ids=[record.__name__ for record, _ in STORED]
)
def test_a_record_keeps_its_stored_form(record: type[Record], stored: dict[str, Any]) -> None:
    loaded = record.model_validate(stored)

    assert list(loaded.model_dump(mode="json").items()) == list(stored.items())


def test_a_source_name_has_a_domain_and_a_name() -> None:
    name = Part.model_validate(PART).source

    assert (name, name.domain, name.name) == (SourceName("plants", "trees"), "plants", "trees")


@pytest.mark.parametrize("text", ["trees", "plants.", ".trees", "", 7])
def test_a_text_that_is_no_full_name_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match=r"expected domain\.source, found"):
        Part.model_validate({"source": text})


@pytest.mark.parametrize("path", ["/data/raw/a", "../raw", "data/../../raw"])
def test_a_path_outside_the_home_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="must be relative to ETL_HOME"):
        RawFile.model_validate(FILE | {"path": path})


@pytest.mark.parametrize("text", ["a", "0" * 64, "ABCdef", " abc123\n"])
def test_digits_are_read_as_they_are_recorded(text: str) -> None:
    assert parse_digits(text) == text.strip().lower()


@pytest.mark.parametrize(
    ("text", "least", "actual"),
    [
        ("", 1, "''"), ("g", 1, "'g'"), ("abc", 6, "'abc'"), ("0x12ab", 1, "'0x12ab'"),
        ("f" * 65, 1, "65 digits"), ("0" * 200, 6, "200 digits"), ("\u0661" * 6, 6, "'"),
    ],
    ids=["empty", "no digit", "few", "prefix", "65", "200", "digits of another script"],
)  # fmt: skip
def test_what_is_no_digest_is_refused(text: str, least: int, actual: str) -> None:
    with pytest.raises(
        UsageError, match=f"expected {least} to 64 hexadecimal digits, found {actual}"
    ):
        parse_digits(text, least=least)
