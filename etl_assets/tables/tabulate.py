"""Turn a validated file into a Parquet table under its contract, or refuse the file.

A refused file leaves the last table as it is. Reading a format belongs to `tables.readers`,
checking values to `tables.contract_check`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.source import Source
from etl_assets.model.errors import ContentError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    FetchResult,
    OperatorDecision,
    Part,
    RawFile,
    Reject,
    Table,
    TableResult,
)
from etl_assets.storage.atomic_write import atomic_file
from etl_assets.storage.hashing import hash_file
from etl_assets.tables import parquet
from etl_assets.tables.arrow_types import SOURCE_ROW, table_schema
from etl_assets.tables.contract_check import ContractChecker, RefusedValue, row_keys
from etl_assets.tables.duplicates import Integers, KeyHashes, find_duplicates
from etl_assets.tables.parquet import RejectWriter, TableWriter
from etl_assets.tables.readers import registry
from etl_assets.tables.readers.batch import row_json, value_json

# A change of one of these modules, or of the format's reader, makes every table again.
TABLE_MODULES = (
    "etl_assets.tables.readers.batch",
    "etl_assets.tables.readers.raw_bytes",
    "etl_assets.storage.archives",
    "etl_assets.tables.arrow_types",
    "etl_assets.tables.contract_check",
    "etl_assets.tables.duplicates",
    "etl_assets.tables.parquet",
    "etl_assets.tables.tabulate",
    "etl_assets.tables.version_schemes",
)
REJECTED_TOGETHER = "reject_together"  # the rule of rows that have no fault of their own
MAX_DUPLICATES = 5  # shown with their records; all are counted
MAX_REFUSED_VALUES = 20  # shown with their lines; all are counted
MAX_UNKNOWN_VALUES = 20  # counted by name for each column; all others are counted together
OTHER_VALUES = "(others)"


def tabulate(
    home: Home,
    source: Source,
    part: Part,
    raw: Path,
    source_sha256: str,
    *,
    code_version: str,
    previous: Table | None = None,
    accept_shrink: bool = False,
) -> Table:
    """Write the table of a part, and a file of its rejects if there are any.

    Raises ContentError if the file is refused: too many rejects, too few rows, an unknown field
    under `freeze`, or fewer rows than `previous` beyond both shrink limits.
    """
    target = home.table_file(source.domain, source.name, part.partition)
    rejects_target = home.rejects_file(source.domain, source.name, part.partition)
    with (
        atomic_file(target) as draft,
        parquet.reject_file(rejects_target, source_sha256) as rejects,
    ):
        builder = _TableBuilder(source, draft, rejects)
        keys = builder.write_rows(raw, source_sha256)
        if not keys.all_differ():
            builder.remove_duplicates()
        builder.remove_rejected_groups()
        builder.refuse_if_unacceptable(None if accept_shrink else previous)
        digest = hash_file(draft)
    return Table(
        part=part,
        path=home.relative(target),
        sha256=digest,
        source_sha256=source_sha256,
        **builder.statistics(),
        lost_columns=builder.find_lost_columns(previous),
        rejects_path=home.relative(rejects_target) if rejects.by_rule else None,
        rejects_sha256=rejects.sha256,
        code_version=code_version,
    )


def empty_table(home: Home, source: Source, part: Part, *, code_version: str) -> Table:
    """Write a typed table without rows, for an optional source that has no file."""
    target = home.table_file(source.domain, source.name, part.partition)
    digest = parquet.write_empty(target, table_schema(source.contract))
    parquet.remove_file(home.rejects_file(source.domain, source.name, part.partition))
    return Table(
        part=part,
        path=home.relative(target),
        sha256=digest,
        source_sha256="",
        records=0,
        rows=0,
        rejected=0,
        code_version=code_version,
    )


def code_version(source: Source) -> str:
    """A digest of all that decides the table besides the file: the declaration and our code."""
    declaration = source.model_dump_json(
        include={
            "format": True,
            "contract": True,
            "expect": {"min_rows"},
            "limits": {"max_record_bytes", "max_shrink_pct", "max_shrink_rows"},
            "freshness": {"content_column"},
        }
    )
    format_name = source.format.name
    modules = (
        *TABLE_MODULES,
        registry.READER_MODULES[format_name],
        *registry.READER_PARTS.get(format_name, ()),
    )
    digests = map(_module_digest, modules)
    return hashlib.sha256("\n".join([declaration, *digests]).encode()).hexdigest()[:16]


@cache
def _module_digest(module: str) -> str:
    # The text is found by name: importing every reader costs more than reading its text.
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"expected the module {module}, found none", name=module)
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


class _TableBuilder:
    """One table that is being written, and the counts of its rows."""

    def __init__(self, source: Source, draft: Path, rejects: RejectWriter) -> None:
        self._source = source
        self._contract = source.contract
        self._draft = draft
        self._rejects = rejects
        self._records = 0
        self._rows = 0
        self._rejected_groups: set[Hashable] = set()
        self._duplicates = 0
        self._first_duplicates: list[str] = []
        self._unknown_fields: set[str] = set()
        self._unknown_values: dict[str, Counter[str]] = {}
        self._refused_values: Counter[str] = Counter()
        self._first_refused_values: list[str] = []
        self._optional = [c.name for c in self._contract.columns if c.optional]
        self._present_columns: set[str] = set()
        self._filled_columns: set[str] = set()
        self._content_at: datetime | None = None

    def write_rows(self, raw: Path, source_sha256: str) -> KeyHashes:
        """Read, check and write the file batch by batch; returns the keys of its valid rows."""
        keys = KeyHashes(self._contract)
        schema = table_schema(self._contract)
        checker = ContractChecker(self._contract)
        with TableWriter(self._draft, schema) as table:
            limit = self._source.limits.max_record_bytes
            for batch in registry.read(raw, self._source.format, self._contract, limit):
                checked = checker.check(batch)
                rows = checked.rows
                table.write(parquet.add_provenance(rows, schema, source_sha256, checked.ordinals))
                self._rejects.write(checked.rejects)
                self._rejected_groups |= checked.rejected_groups
                keys.add(rows)
                self._count_unknown_values(checked.unknown_values)
                self._count_refused_values(checked.refused_values)
                self._records += batch.records
                self._rows += rows.num_rows
                self._unknown_fields |= batch.unknown_fields
                self._note_optional_columns(batch.columns.keys(), rows)
                self._update_content_time(rows)
        return keys

    def _count_unknown_values(self, values_by_column: Mapping[str, Counter[str]]) -> None:
        # A column in which no value is known must not need memory for each of them.
        for column, values in values_by_column.items():
            counter = self._unknown_values.setdefault(column, Counter())
            for value, count in values.items():
                has_room = value in counter or len(counter) < MAX_UNKNOWN_VALUES
                counter[value if has_room else OTHER_VALUES] += count

    def _count_refused_values(self, values: list[RefusedValue]) -> None:
        self._refused_values.update(value.column for value in values)
        room = MAX_REFUSED_VALUES - len(self._first_refused_values)
        self._first_refused_values += map(str, values[:room])

    def _note_optional_columns(self, present: AbstractSet[str], rows: pa.RecordBatch) -> None:
        for name in self._optional:
            if name in present:
                self._present_columns.add(name)
                if rows.column(name).null_count < rows.num_rows:
                    self._filled_columns.add(name)

    def find_lost_columns(self, previous: Table | None) -> list[str]:
        """The optional columns that the file lacks, and of which rows had values before.

        A column stays lost until a file has it again, with values or without.
        """
        if previous is None or not self._rows:
            return []
        known = {*previous.filled_columns, *previous.lost_columns}
        return [c for c in self._optional if c in known and c not in self._present_columns]

    def _update_content_time(self, rows: pa.RecordBatch) -> None:
        column = self._source.freshness.content_column
        newest = pc.max(rows.column(column)).as_py() if column else None
        if newest is None:
            return
        if type(newest) is date:
            newest = datetime(newest.year, newest.month, newest.day, tzinfo=UTC)
        if self._content_at is None or newest > self._content_at:
            self._content_at = newest

    def statistics(self) -> dict[str, Any]:
        """The fields of `Table` that count rows and describe what was not declared."""
        by_rule = self._rejects.by_rule
        return {
            "records": self._records,
            "rows": self._rows,
            "rejected": by_rule.total(),
            "duplicates": self._duplicates,
            "first_duplicates": self._first_duplicates,
            "rejects_by_rule": dict(sorted(by_rule.items())),
            "first_rejects": [_format_reject(reject) for reject in self._rejects.first],
            "unknown_fields": sorted(self._unknown_fields),
            "unknown_values": {
                column: dict(counter.most_common())
                for column, counter in sorted(self._unknown_values.items())
            },
            "refused_values": dict(sorted(self._refused_values.items())),
            "first_refused_values": self._first_refused_values,
            "filled_columns": sorted(self._filled_columns),
            "content_at": self._content_at,
        }

    def remove_duplicates(self) -> None:
        """Keep one record and one row of each key. The others are rejects or shown, as declared."""
        if self._contract.record_key:
            self._remove_duplicates(self._contract.record_key, of_records=True)
        self._remove_duplicates(self._contract.key, of_records=False)

    def _remove_duplicates(self, key: list[str], *, of_records: bool) -> None:
        duplicates = find_duplicates(self._draft, self._contract, of_records=of_records)
        if not len(duplicates.positions):  # a rewrite would cost as much as the first one
            return
        kept_records = duplicates.kept_records
        for rows in parquet.remove_rows(self._draft, duplicates.positions):
            self._rows -= rows.num_rows
            kept, kept_records = kept_records[: rows.num_rows], kept_records[rows.num_rows :]
            if self._contract.duplicates == "reject":
                pairs = zip(rows.to_pylist(), kept.tolist(), strict=True)
                self._rejects.write([self._reject_duplicate(row, key, at) for row, at in pairs])
                if self._contract.reject_together:
                    self._rejected_groups.update(row_keys(rows, self._contract.reject_together))
            else:
                self._duplicates += rows.num_rows
                self._show_duplicates(rows, key, kept)

    def remove_rejected_groups(self) -> None:
        """Reject the valid rows that are one statement with a rejected row."""
        columns = self._contract.reject_together
        if not self._rejected_groups:
            return
        positions = [
            first + number
            for first, rows in parquet.read_batches(self._draft, columns)
            for number, group in enumerate(row_keys(rows, columns))
            if group in self._rejected_groups
        ]
        if not positions:
            return
        for rows in parquet.remove_rows(self._draft, np.array(positions)):
            self._rows -= rows.num_rows
            self._rejects.write([self._reject_with_group(row) for row in rows.to_pylist()])

    def _reject_with_group(self, row: dict[str, Any]) -> Reject:
        columns = ", ".join(self._contract.reject_together)
        return self._reject_row(
            row, columns, REJECTED_TOGETHER, f"all rows of one {columns} valid", "a rejected one"
        )

    def _show_duplicates(self, rows: pa.RecordBatch, key: list[str], kept: Integers) -> None:
        first = rows.slice(0, MAX_DUPLICATES).to_pylist()
        for row, kept_record in zip(first, kept, strict=False):
            line = _describe_duplicate(row, key, kept_record)
            # The rows of one record are one line.
            if line not in self._first_duplicates and len(self._first_duplicates) < MAX_DUPLICATES:
                self._first_duplicates.append(line)

    def _reject_duplicate(
        self, row: dict[str, Any], key_columns: list[str], kept_record: int
    ) -> Reject:
        key = ", ".join(key_columns)
        return self._reject_row(
            row, key, "key", f"each {key} once", f"the key of record {kept_record}"
        )

    def _reject_row(
        self, row: dict[str, Any], columns: str, rule: str, expected: str, actual: str
    ) -> Reject:
        values = {column.name: row[column.name] for column in self._contract.columns}
        return Reject(
            where=f"record {row[SOURCE_ROW]}",
            column=columns,
            rule=rule,
            expected=expected,
            actual=actual,
            row=row_json(values),
        )

    def refuse_if_unacceptable(self, previous: Table | None) -> None:
        """Raises ContentError with every reason why the file may not become the table."""
        reasons = []
        by_rule = self._rejects.by_rule
        # Rows without a fault of their own are no reason to refuse the file.
        rejected = by_rule.total() - by_rule[REJECTED_TOGETHER]
        total = self._rows + self._duplicates + rejected
        if self._contract.has_too_many_rejects(rejected, total):
            rules = ", ".join(f"{count} by {rule}" for rule, count in sorted(by_rule.items()))
            first = " | ".join(map(_format_reject, self._rejects.first))
            reasons.append(
                f"expected at most {self._contract.max_rejected_pct:g} % of rows rejected, or"
                f" {self._contract.max_rejected_rows:,}, and not all, found {rejected:,} of"
                f" {total:,} ({rules}), first: {first}"
            )
        min_rows = self._source.expect.min_rows
        if self._rows < min_rows:
            reasons.append(f"expected at least {min_rows:,} rows, found {self._rows:,}")
        if self._unknown_fields and self._contract.unknown_fields == "freeze":
            names = ", ".join(sorted(self._unknown_fields))
            reasons.append(f"expected only declared fields (freeze), found {names}")
        limits = self._source.limits
        if previous and limits.is_shrunk(previous.rows, self._rows):
            reasons.append(
                f"expected about {previous.rows:,} rows as last time, found {self._rows:,}: over"
                f" {limits.max_shrink_pct:g} % and {limits.max_shrink_rows:,} rows fewer; look at"
                " the file, and run with --accept-changes if it is right"
            )
        if reasons:
            raise ContentError("; ".join(reasons))


def _format_reject(reject: Reject) -> str:
    where = f"{reject.where}, {reject.column}" if reject.column else reject.where
    return f"{where}: expected {reject.expected}, found {reject.actual}"


def _describe_duplicate(row: dict[str, Any], key: list[str], kept_record: int) -> str:
    values = ", ".join(f"{name} {value_json(row[name])}" for name in key)
    return f"record {row[SOURCE_ROW]}: a duplicate by {values}; record {kept_record} counts"


class ShrinkOverride:
    """Whether one file may become a smaller table: by a pin, or by a decision of the operator.

    A decision applies to the file that was refused, or to one accepted before, and to no other.
    """

    def __init__(
        self,
        source: Source,
        fetch: FetchResult | None,
        last: TableResult | None,
        file: RawFile,
        *,
        decision: OperatorDecision | None,
    ) -> None:
        self._limits = source.limits
        self._decision = decision
        self._accepted: list[OperatorDecision] = []
        self._is_pinned = fetch is not None and fetch.pin is not None
        self.previous: Table | None = None
        self.advice = ""
        if last is not None:
            self._accepted = last.accepted
            self.previous = last.baseline or last.table
            refused = last.refused_sha256
            if decision and refused and refused != file.sha256:
                self._decision = None
                self.advice = (
                    f"\nthis is not the file {refused[:12]} that was refused before and looked"
                    " at; look at this one and say --accept-changes again"
                )
        self._is_accepted = any(earlier.sha256 == file.sha256 for earlier in self._accepted)

    @property
    def may_shrink(self) -> bool:
        return self._is_pinned or self._decision is not None or self._is_accepted

    def add_to(self, record: TableResult) -> TableResult:
        """The record with every decision so far, and the table that the next one is compared with.

        A pin is temporary: while it lasts, the table before it remains the one to compare with.
        """
        accepted = [*self._accepted]
        if self._decision and self._is_needed(record):
            accepted.append(self._decision)
        baseline = self.previous if self._is_pinned else None
        return record.model_copy(update={"accepted": accepted, "baseline": baseline})

    def _is_needed(self, record: TableResult) -> bool:
        """True if the table would have been refused without the new decision."""
        if self._is_pinned or self._is_accepted or record.fault or self.previous is None:
            return False
        return self._limits.is_shrunk(self.previous.rows, record.table.rows)
