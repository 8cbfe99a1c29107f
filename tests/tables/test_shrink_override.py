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
from etl_assets.tables.shrink_override import ShrinkOverride

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


def word(sha256: str = NEW) -> OperatorDecision:
    return OperatorDecision(sha256=sha256, by="robin", at=NOON)


def fetch(*, pin: Pin | None = None) -> FetchResult:
    decision = Decision(part=PART, fetch=False, reason=Reason.UP_TO_DATE)
    return FetchResult(
        part=PART, status=FetchStatus.UNCHANGED, decision=decision, file=file(), pin=pin
    )


PINNED = fetch(pin=Pin(ruling=word(), held=file(OLD)))


def test_without_a_word_a_table_is_measured_by_the_last_one() -> None:
    leave = ShrinkOverride(SOURCE, fetch(), made(OLD, 100), file(), word=None)

    assert (leave.may_shrink, leave.previous, leave.advice) == (False, table(OLD, 100), "")


def test_a_word_on_the_file_that_was_refused_is_noted() -> None:
    last = made(OLD, 100, fault="it shrank", refused_sha256=NEW)
    leave = ShrinkOverride(SOURCE, fetch(), last, file(), word=word())

    noted = leave.noted(made(NEW, 50))

    assert leave.may_shrink
    assert noted.accepted == [word()]


def test_a_word_on_the_file_that_was_refused_is_no_word_on_another() -> None:
    last = made(OLD, 100, fault="it shrank", refused_sha256=NEW)

    leave = ShrinkOverride(SOURCE, fetch(), last, file(THIRD), word=word(THIRD))

    assert not leave.may_shrink
    assert "not the file bbbbbbbbbbbb that was refused before" in leave.advice


def test_a_word_that_was_not_needed_is_not_noted() -> None:
    leave = ShrinkOverride(SOURCE, fetch(), made(OLD, 100), file(), word=word())

    assert leave.noted(made(NEW, 99)).accepted == []


def test_a_word_given_once_holds_for_that_file_for_ever() -> None:
    leave = ShrinkOverride(SOURCE, fetch(), made(OLD, 100, accepted=[word()]), file(), word=None)

    noted = leave.noted(made(NEW, 50))

    assert leave.may_shrink
    assert noted.accepted == [word()]


def test_a_pinned_file_may_be_smaller_and_leaves_the_measure_as_it_was() -> None:
    leave = ShrinkOverride(SOURCE, PINNED, made(OLD, 100), file(), word=None)

    noted = leave.noted(made(NEW, 50))

    assert leave.may_shrink
    assert (noted.accepted, noted.baseline) == ([], table(OLD, 100))


def test_after_a_pin_the_measure_is_what_stood_before_it() -> None:
    last = made(NEW, 500, baseline=table(OLD, 100))
    leave = ShrinkOverride(SOURCE, fetch(), last, file(THIRD), word=None)

    noted = leave.noted(made(THIRD, 100))

    assert leave.previous == table(OLD, 100)
    assert noted.baseline is None


def test_the_first_table_of_a_source_has_nothing_to_be_measured_by() -> None:
    leave = ShrinkOverride(SOURCE, None, None, file(), word=word())

    assert leave.previous is None
    assert leave.noted(made(NEW, 0)).accepted == []
