"""Read the first records of a file under its contract, for the author of a declaration.

Nothing is written. Duplicate keys and the limits on a whole file belong to `tables.tabulate`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field

from etl_assets.declarations.source import Source
from etl_assets.model.errors import ContentError
from etl_assets.model.records import Part, RawFile, Record, Reject, Sha256
from etl_assets.tables.contract_check import CheckedBatch, ContractChecker
from etl_assets.tables.readers import registry
from etl_assets.tables.readers.batch import Batch

MAX_UNKNOWN_VALUES = 20  # shown of a column
# In a larger file it is not examined whether more records follow: that may decode all of it.
READ_ON_UP_TO_BYTES = 64 << 20
SHOWN_CHARACTERS = 100  # of a value in the text; JSON has all of it


class SampleRow(Record):
    """One row that satisfies the contract."""

    record: int = Field(description="the record's place in the file, from 1")
    values: dict[str, Any] = Field(description="typed; dates and times as ISO texts")


class SampleResult(Record):
    """The first records of a file as the declaration reads them."""

    part: Part
    path: str = Field(description="the file that was read; of a fetched one, its URL")
    sha256: Sha256 | None = Field(default=None, description="None for a file outside the store")
    fetched_at: AwareDatetime | None = None
    types: dict[str, str] = Field(description="column: its declared type")
    records: int = Field(ge=0, description="records read; `rows` and `rejects` are the first ones")
    valid_rows: int = Field(alias="held", ge=0, description="valid rows among the records read")
    rejected: int = Field(
        alias="refused", ge=0, description="rejected rows and records among those read"
    )
    is_complete: bool = Field(
        alias="is_whole", description="true if these are all records of the file"
    )
    rows: list[SampleRow]
    rejects: list[Reject]
    unknown_fields: list[str] = []
    unknown_values: dict[str, dict[str, int]] = {}
    fault: str | None = Field(default=None, description="why the rest of the file is unreadable")

    def lines(self) -> list[str]:
        """Lines of text: the file, the rows with one value a line, the rejects and the reasons."""
        headline = f"{self.part}: {self.path}"
        if self.fetched_at:
            headline += f", fetched {self.fetched_at:%Y-%m-%d %H:%M} UTC"
        extent = "all" if self.is_complete else "the first"
        counts = f"{self.valid_rows:,} rows are valid, {self.rejected:,} rejected"
        lines = [headline, f"of {extent} {self.records:,} records, {counts}"]
        width = max(map(len, self.types))
        for row in self.rows:
            lines.append(f"record {row.record}")
            for column, value in row.values.items():
                text = _shorten(json.dumps(value, ensure_ascii=False))
                lines.append(f"  {column:{width}}  {self.types[column]:12}  {text}")
        for reject in self.rejects:
            where = f"{reject.where}, {reject.column}" if reject.column else reject.where
            reason = f"expected {reject.expected}, found {reject.actual} ({reject.rule})"
            lines += [f"rejected: {where}: {reason}", f"  {_shorten(reject.row)}"]
        if self.unknown_fields:
            lines.append(f"fields without a column: {', '.join(self.unknown_fields)}")
        for column, values in self.unknown_values.items():
            frequencies = ", ".join(f"{value!r} ({count})" for value, count in values.items())
            lines.append(f"values of {column} that are not among the known ones: {frequencies}")
        if self.fault:
            lines.append(f"the rest of the file is unreadable: {self.fault}")
        return lines


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def read_sample(
    source: Source, part: Part, path: Path, *, rows: int, shown: str, file: RawFile | None = None
) -> SampleResult:
    """Read batches until there are `rows` valid rows, or as many rejects, or no more records.

    `shown` names the file in the result. A file that breaks off or is of another format returns the
    records before the fault, and the fault.
    """
    reader = _SampleReader(source, rows)
    fault = None
    try:
        limit = source.limits.max_record_bytes
        batches = registry.read(path, source.format, source.contract, limit)
        reader.read(batches, reads_on=path.stat().st_size <= READ_ON_UP_TO_BYTES)
    except ContentError as error:
        fault = str(error)
    return SampleResult(
        part=part,
        path=shown,
        sha256=file.sha256 if file else None,
        fetched_at=file.fetched_at if file else None,
        types={column.name: column.type for column in source.contract.columns},
        records=reader.records,
        valid_rows=reader.valid_rows,
        rejected=reader.rejected,
        is_complete=reader.is_complete,
        rows=reader.rows,
        rejects=reader.rejects,
        unknown_fields=sorted(reader.unknown_fields),
        unknown_values=reader.top_unknown_values(),
        fault=fault,
    )


class _SampleReader:
    """The records read so far."""

    def __init__(self, source: Source, max_rows: int) -> None:
        self._checker = ContractChecker(source.contract)
        self._max_rows = max_rows
        self.records = self.valid_rows = self.rejected = 0
        self.rows: list[SampleRow] = []
        self.rejects: list[Reject] = []
        self.unknown_fields: set[str] = set()
        self.is_complete = False
        self._unknown_values: dict[str, Counter[str]] = {}

    def read(self, batches: Iterator[Batch], *, reads_on: bool) -> None:
        for batch in batches:
            self._add(batch, self._checker.check(batch))
            if self._max_rows in {len(self.rows), len(self.rejects)}:
                self.is_complete = reads_on and not any(batch.records for batch in batches)
                return
        self.is_complete = True

    def _add(self, batch: Batch, checked: CheckedBatch) -> None:
        self.records += batch.records
        self.valid_rows += checked.rows.num_rows
        self.rejected += len(checked.rejects)
        self.rejects += checked.rejects[: self._max_rows - len(self.rejects)]
        self.unknown_fields |= batch.unknown_fields
        for column, values in checked.unknown_values.items():
            self._unknown_values.setdefault(column, Counter()).update(values)
        rows = checked.rows.slice(0, self._max_rows - len(self.rows)).to_pylist()
        for record, row in zip(checked.ordinals, rows, strict=False):
            plain = {name: _json_value(value) for name, value in row.items()}
            self.rows.append(SampleRow(record=record, values=plain))

    def top_unknown_values(self) -> dict[str, dict[str, int]]:
        """The most frequent unknown values of each column, with their counts."""
        return {
            column: dict(values.most_common(MAX_UNKNOWN_VALUES))
            for column, values in sorted(self._unknown_values.items())
        }


def _json_value(value: Any) -> Any:  # noqa: ANN401 - a value of any declared type
    return value.isoformat() if isinstance(value, date | datetime) else value
