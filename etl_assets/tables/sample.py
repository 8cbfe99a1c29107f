"""Read the first records of a file under its contract, and no more of it than these need.

What holds and what is refused is told, nothing is written. Tables, keys and the limits on a whole
file are `tables.tabulate`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from etl_assets.declarations.source import Source
from etl_assets.model.errors import ContentError
from etl_assets.model.records import Part, RawFile, Reject
from etl_assets.tables.contract_check import CheckedBatch, ContractChecker
from etl_assets.tables.readers import registry
from etl_assets.tables.readers.batch import Batch
from etl_assets.tables.sample_result import SampleResult, SampleRow

UNKNOWN_VALUES_TOLD = 20  # of a column
READ_ON_UP_TO_BYTES = 64 << 20  # of a larger file it is not asked whether anything follows


def read_sample(
    source: Source, part: Part, path: Path, *, rows: int, shown: str, file: RawFile | None = None
) -> SampleResult:
    """Batches are read until there are so many rows, or so many refusals, or no more records.

    A file that breaks off or is of another format gives what was read before, and the fault.
    """
    reading = _Reading(source, rows)
    fault = None
    try:
        batches = registry.read(path, source.format, source.contract)
        reading.read(batches, reads_on=path.stat().st_size <= READ_ON_UP_TO_BYTES)
    except ContentError as error:
        fault = str(error)
    return SampleResult(
        part=part,
        path=shown,
        sha256=file.sha256 if file else None,
        fetched_at=file.fetched_at if file else None,
        types={column.name: column.type for column in source.contract.columns},
        records=reading.records,
        held=reading.held,
        refused=reading.refused,
        is_whole=reading.is_whole,
        rows=reading.rows,
        rejects=reading.rejects,
        unknown_fields=sorted(reading.unknown_fields),
        unknown_values=reading.unknown_values,
        fault=fault,
    )


class _Reading:
    """What has been read so far."""

    def __init__(self, source: Source, wanted: int) -> None:
        self._checker = ContractChecker(source.contract)
        self._wanted = wanted
        self.records = self.held = self.refused = 0
        self.rows: list[SampleRow] = []
        self.rejects: list[Reject] = []
        self.unknown_fields: set[str] = set()
        self.is_whole = False
        self._unknown_values: dict[str, Counter[str]] = {}

    def read(self, batches: Iterator[Batch], *, reads_on: bool) -> None:
        for batch in batches:
            self._take(batch, self._checker.check(batch))
            if self._wanted in {len(self.rows), len(self.rejects)}:
                self.is_whole = reads_on and not any(batch.records for batch in batches)
                return
        self.is_whole = True

    def _take(self, batch: Batch, checked: CheckedBatch) -> None:
        self.records += batch.records
        self.held += checked.rows.num_rows
        self.refused += len(checked.rejects)
        self.rejects += checked.rejects[: self._wanted - len(self.rejects)]
        self.unknown_fields |= batch.unknown_fields
        for column, values in checked.unknown_values.items():
            self._unknown_values.setdefault(column, Counter()).update(values)
        rows = checked.rows.slice(0, self._wanted - len(self.rows)).to_pylist()
        self.rows += [
            SampleRow(record=ordinal, values={name: _plain(value) for name, value in row.items()})
            for ordinal, row in zip(checked.ordinals, rows, strict=False)
        ]

    @property
    def unknown_values(self) -> dict[str, dict[str, int]]:
        return {
            column: dict(values.most_common(UNKNOWN_VALUES_TOLD))
            for column, values in sorted(self._unknown_values.items())
        }


def _plain(value: Any) -> Any:  # noqa: ANN401 - a value of any declared type
    return value.isoformat() if isinstance(value, date | datetime) else value
