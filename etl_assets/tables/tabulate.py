"""A validated file becomes a parquet table under its contract; rows that do not hold, rejects.

A file that cannot become the table raises and leaves the last table as it is. Reading formats and
judging values is `etl_assets.io`'s; whether there is a file at all is decided before.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.declarations.source import Source
from etl_assets.model.errors import ContentError
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Reject, Table
from etl_assets.storage.atomic_write import atomic_file
from etl_assets.storage.hashing import hash_file
from etl_assets.tables import parquet
from etl_assets.tables.arrow_types import SOURCE_ROW, table_schema
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.duplicates import KeyHashes, find_duplicates
from etl_assets.tables.parquet import RejectWriter, TableWriter
from etl_assets.tables.readers import registry
from etl_assets.tables.readers.batch import row_json

CODE = (
    "etl_assets.tables.readers.batch",
    "etl_assets.tables.readers.raw_bytes",
    "etl_assets.storage.archives",
    "etl_assets.tables.arrow_types",
    "etl_assets.tables.contract_check",
    "etl_assets.tables.duplicates",
    "etl_assets.tables.parquet",
    "etl_assets.tables.tabulate",
)

UNKNOWN_VALUES_TOLD = 20  # of a column, by name; the rest is counted together
OTHERS = "(others)"


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
    """The part's table, written whole, and beside it the rejects if there are any.

    Raises `ContentError` where the file is refused: too many rejects, too few rows, an unknown
    field under `freeze`, or fewer rows than `previous` beyond both shrink limits.
    """
    target = home.table_file(source.domain, source.name, part.partition)
    rejects_target = home.rejects_file(source.domain, source.name, part.partition)
    with (
        atomic_file(target) as draft,
        parquet.reject_file(rejects_target, source_sha256) as rejects,
    ):
        making = _Making(source, draft, rejects)
        with KeyHashes(source.contract.key, target.parent) as keys:
            making.fill(raw, source_sha256, keys)
            making.settle_duplicates(keys)
        making.refuse_unfit(None if accept_shrink else previous)
        digest = hash_file(draft)
    return Table(
        part=part,
        path=home.relative(target),
        sha256=digest,
        source_sha256=source_sha256,
        **making.counted(),
        rejects_path=home.relative(rejects_target) if rejects.by_rule else None,
        code_version=code_version,
    )


def empty_table(home: Home, source: Source, part: Part, *, code_version: str) -> Table:
    """A table of the contract's types without rows, for an optional source that has no file."""
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
    """A digest of all that decides the table besides the file: the declaration and our own code."""
    declared = source.model_dump_json(
        include={
            "format": True,
            "contract": True,
            "expect": {"min_rows"},
            "limits": {"max_shrink_pct", "max_shrink_rows"},
            "freshness": {"content_column"},
        }
    )
    form = source.format.name
    modules = (*CODE, registry.READER_MODULES[form], *registry.READER_PARTS.get(form, ()))
    texts = [declared, *(_module_digest(module) for module in modules)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


@cache
def _module_digest(module: str) -> str:
    """Found by name, as importing a reader costs more than reading its text."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"expected the module {module}, found none", name=module)
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


class _Making:
    """One table on its way, with what is counted while it comes to be."""

    def __init__(self, source: Source, draft: Path, rejects: RejectWriter) -> None:
        self._source = source
        self._contract = source.contract
        self._draft = draft
        self._rejects = rejects
        self.records = 0
        self.rows = 0
        self.duplicates = 0
        self.unknown_fields: set[str] = set()
        self._unknown_values: dict[str, Counter[str]] = {}
        self.content_at: datetime | None = None

    def fill(self, raw: Path, source_sha256: str, keys: KeyHashes) -> None:
        """Read, judge and write batch by batch."""
        schema = table_schema(self._contract)
        checker = ContractChecker(self._contract)
        with TableWriter(self._draft, schema) as table:
            for batch in registry.read(raw, self._source.format, self._contract):
                checked = checker.check(batch)
                rows = checked.rows
                table.write(parquet.add_provenance(rows, schema, source_sha256, checked.ordinals))
                self._rejects.write(checked.rejects)
                keys.add(rows)
                self._count_unknown(checked.unknown_values)
                self.records += batch.records
                self.rows += rows.num_rows
                self.unknown_fields |= batch.unknown_fields
                self.content_at = _latest(self.content_at, rows, self._source)

    def _count_unknown(self, found: Mapping[str, Counter[str]]) -> None:
        """No more are held than are told, so that a column of nothing but unknown ones is cheap."""
        for column, values in found.items():
            counted = self._unknown_values.setdefault(column, Counter())
            for value, count in values.items():
                known = value in counted or len(counted) < UNKNOWN_VALUES_TOLD
                counted[value if known else OTHERS] += count

    def counted(self) -> dict[str, Any]:
        """What the record of the table says of its rows, by the record's own fields."""
        by_rule = self._rejects.by_rule
        return {
            "records": self.records,
            "rows": self.rows,
            "rejected": by_rule.total(),
            "duplicates": self.duplicates,
            "rejects_by_rule": dict(sorted(by_rule.items())),
            "first_rejects": [_told(reject) for reject in self._rejects.first],
            "unknown_fields": sorted(self.unknown_fields),
            "unknown_values": self.unknown_values,
            "content_at": self.content_at,
        }

    @property
    def unknown_values(self) -> dict[str, dict[str, int]]:
        """By column the values that the contract does not know, the most frequent first."""
        return {column: dict(n.most_common()) for column, n in sorted(self._unknown_values.items())}

    def settle_duplicates(self, keys: KeyHashes) -> None:
        """Of rows with one key leave the one that the contract wants; the others are counted."""
        aside = find_duplicates(self._draft, self._contract, keys.suspects())
        if not aside.places:
            return
        kept = iter(aside.kept_records)
        for rows in parquet.remove_rows(self._draft, aside.places):
            self.rows -= rows.num_rows
            if self._contract.duplicates == "reject":
                repeated = [self._repeated(row, next(kept)) for row in rows.to_pylist()]
                self._rejects.write(repeated)
            else:
                self.duplicates += rows.num_rows

    def _repeated(self, row: dict[str, Any], kept_ordinal: int) -> Reject:
        key = ", ".join(self._contract.key)
        declared = {column.name: row[column.name] for column in self._contract.columns}
        return Reject(
            where=f"record {row[SOURCE_ROW]}",
            column=key,
            rule="key",
            expected=f"each {key} once",
            found=f"the key of record {kept_ordinal}",
            row=row_json(declared),
        )

    def refuse_unfit(self, previous: Table | None) -> None:
        """Raise where the file as a whole may not become the table; says all that is against it."""
        reasons = [
            *self._too_many_rejects(),
            *self._too_few_rows(),
            *self._frozen_fields(),
            *self._shrunk(previous),
        ]
        if reasons:
            raise ContentError("; ".join(reasons))

    def _too_many_rejects(self) -> Iterator[str]:
        rejected, limit = self._rejects.by_rule.total(), self._contract.max_rejected_pct
        judged = self.rows + self.duplicates + rejected
        if rejected * 100 > limit * judged:
            rules = ", ".join(f"{n} by {rule}" for rule, n in sorted(self._rejects.by_rule.items()))
            told = " | ".join(_told(reject) for reject in self._rejects.first)
            yield (
                f"expected at most {limit:g} % of rows rejected, found {rejected:,} of {judged:,}"
                f" ({rules}), first: {told}"
            )

    def _too_few_rows(self) -> Iterator[str]:
        if self.rows < self._source.expect.min_rows:
            yield f"expected at least {self._source.expect.min_rows:,} rows, found {self.rows:,}"

    def _frozen_fields(self) -> Iterator[str]:
        if self.unknown_fields and self._contract.unknown_fields == "freeze":
            listed = ", ".join(sorted(self.unknown_fields))
            yield f"expected no field beside the declared ones (freeze), found {listed}"

    def _shrunk(self, previous: Table | None) -> Iterator[str]:
        limits = self._source.limits
        if previous and limits.is_shrunk(previous.rows, self.rows):
            yield (
                f"expected about {previous.rows:,} rows as last time, found {self.rows:,}: over"
                f" {limits.max_shrink_pct:g} % and {limits.max_shrink_rows:,} rows fewer; look at"
                " the file, and run with --accept-changes if it is right"
            )


def _told(reject: Reject) -> str:
    where = f"{reject.where}, {reject.column}" if reject.column else reject.where
    return f"{where}: expected {reject.expected}, found {reject.found}"


def _latest(known: datetime | None, rows: pa.RecordBatch, source: Source) -> datetime | None:
    """The greatest time of the column that dates the content, where one is declared."""
    column = source.freshness.content_column
    newest = pc.max(rows.column(column)).as_py() if column else None
    if newest is None:
        return known
    if type(newest) is date:
        newest = datetime(newest.year, newest.month, newest.day, tzinfo=UTC)
    return newest if known is None else max(known, newest)
