"""What becomes of a stored file that the rules of today refuse."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.defs import validated
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import SourceState
from etl_assets.model.errors import HomeError
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    OperatorDecision,
    Part,
    Pin,
    RawFile,
    Reason,
    ValidationResult,
)
from etl_assets.storage.signatures import Signatures

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAGE = b"<!doctype html><title>Sign in</title>"
SHA = hashlib.sha256(PAGE).hexdigest()
PART = Part(source=f"{DOMAIN}.kev")
PIN = Pin(decision=OperatorDecision(sha256=SHA, by="robin", why="it was right", at=NOON))


@pytest.fixture
def project(tmp_path: Path) -> ProjectContext:
    sample = SampleHome(tmp_path)
    return ProjectContext(sample.settings, {DOMAIN: sample.domain})


@pytest.fixture
def raw(project: ProjectContext) -> Path:
    path = project.home.raw_file(SHA)
    path.parent.mkdir(parents=True)
    path.write_bytes(PAGE)
    return path


def judge(
    project: ProjectContext, *, pin: Pin | None = None, shared: bool = False
) -> ValidationResult:
    file = RawFile(
        part=PART, sha256=SHA, size_bytes=len(PAGE), path=f"data/raw/{SHA[:2]}/{SHA}",
        url="https://kev.example/kev.json", fetched_at=NOON, code_version="1",
    )  # fmt: skip
    decision = Decision(part=PART, fetch=False, reason=Reason.UP_TO_DATE)
    fetch = FetchResult(
        part=PART, status=FetchStatus.UNCHANGED, decision=decision, file=file, pin=pin
    )
    source = project.domains[DOMAIN].sources["kev"]
    state = SourceState({None: fetch}, {}, {})
    names = {SHA} if shared else set[str]()
    return validated._validate(project, source, PART, state, Signatures(), shared=names).record


@pytest.mark.parametrize(
    ("pin", "shared", "stays"),
    [(None, False, False), (None, True, True), (PIN, False, True)],
    ids=["its own", "another source's too", "pinned"],
)
def test_a_refused_file_leaves_the_store_unless_it_is_used_elsewhere(
    project: ProjectContext, raw: Path, pin: Pin | None, shared: bool, stays: bool
) -> None:
    record = judge(project, pin=pin, shared=shared)

    assert record.verdict
    assert not record.verdict.ok
    assert raw.exists() is stays
    assert (project.home.quarantine(DOMAIN, "kev") / SHA).read_bytes() == PAGE


def test_the_error_for_a_missing_file_says_what_to_do(project: ProjectContext) -> None:
    with pytest.raises(HomeError, match="etl unpin"):
        judge(project, pin=PIN)
