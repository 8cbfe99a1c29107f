"""Whether a table may be smaller than the last one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from support.table_declarations import contract, source

from etl_assets.declarations.source import Limits
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    OperatorDecision,
    Part,
    Pin,
    RawFile,
    Reason,
    Table,
    TableResult,
)
from etl_assets.tables.tabulate import ShrinkOverride

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PART = Part(source="orchard.fruits")
OLD, NEW, THIRD = "a" * 64, "b" * 64, "c" * 64
SOURCE = source(
    contract("name"), {"name": "csv"}, limits=Limits(max_shrink_pct=10, max_shrink_rows=20)
)


def table(sha256: str, rows: int) -> Table:
    return Table(
        part=PART, path="data/tables/orchard/fruits/fruits.parquet", sha256=sha256,
        source_sha256=sha256, records=rows, rows=rows, rejected=0, code_version="1",
    )  # fmt: skip


def made(sha256: str, rows: int, **more: Any) -> TableResult:
    return TableResult(part=PART, table=table(sha256, rows), **more)


def file(sha256: str = NEW) -> RawFile:
    return RawFile(
        part=PART, sha256=sha256, size_bytes=1, path=f"data/raw/{sha256[:2]}/{sha256}",
        url="https://orchard.example/fruits", fetched_at=NOON, code_version="1",
    )  # fmt: skip


def decision(sha256: str = NEW) -> OperatorDecision:
    return OperatorDecision(sha256=sha256, by="robin", at=NOON)


def fetch(*, pin: Pin | None = None) -> FetchResult:
    decision = Decision(part=PART, fetch=False, reason=Reason.UP_TO_DATE)
    return FetchResult(
        part=PART, status=FetchStatus.UNCHANGED, decision=decision, file=file(), pin=pin
    )


PINNED = fetch(pin=Pin(decision=decision(), replaced_file=file(OLD)))


def test_without_a_decision_a_table_is_measured_by_the_last_one() -> None:
    override = ShrinkOverride(SOURCE, fetch(), made(OLD, 100), file(), decision=None)

    assert (override.may_shrink, override.previous, override.advice) == (False, table(OLD, 100), "")


def test_a_decision_on_the_refused_file_is_recorded() -> None:
    last = made(OLD, 100, fault="it shrank", refused_sha256=NEW)
    override = ShrinkOverride(SOURCE, fetch(), last, file(), decision=decision())

    record = override.add_to(made(NEW, 50))

    assert override.may_shrink
    assert record.accepted == [decision()]


def test_a_decision_on_the_refused_file_does_not_apply_to_another() -> None:
    last = made(OLD, 100, fault="it shrank", refused_sha256=NEW)

    override = ShrinkOverride(SOURCE, fetch(), last, file(THIRD), decision=decision(THIRD))

    assert not override.may_shrink
    assert "not the file bbbbbbbbbbbb that was refused before" in override.advice


def test_a_decision_that_was_not_needed_is_not_recorded() -> None:
    override = ShrinkOverride(SOURCE, fetch(), made(OLD, 100), file(), decision=decision())

    assert override.add_to(made(NEW, 99)).accepted == []


def test_a_decision_applies_to_its_file_for_ever() -> None:
    override = ShrinkOverride(
        SOURCE, fetch(), made(OLD, 100, accepted=[decision()]), file(), decision=None
    )

    record = override.add_to(made(NEW, 50))

    assert override.may_shrink
    assert record.accepted == [decision()]


def test_a_pinned_file_may_be_smaller_and_keeps_the_table_to_compare_with() -> None:
    override = ShrinkOverride(SOURCE, PINNED, made(OLD, 100), file(), decision=None)

    record = override.add_to(made(NEW, 50))

    assert override.may_shrink
    assert (record.accepted, record.baseline) == ([], table(OLD, 100))


def test_after_a_pin_the_table_before_it_is_compared_with() -> None:
    last = made(NEW, 500, baseline=table(OLD, 100))
    override = ShrinkOverride(SOURCE, fetch(), last, file(THIRD), decision=None)

    record = override.add_to(made(THIRD, 100))

    assert override.previous == table(OLD, 100)
    assert record.baseline is None


def test_the_first_table_of_a_source_is_compared_with_none() -> None:
    override = ShrinkOverride(SOURCE, None, None, file(), decision=decision())

    assert override.previous is None
    assert override.add_to(made(NEW, 0)).accepted == []
