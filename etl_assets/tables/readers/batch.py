"""What every reader yields: columns of values as they were read, and the records it cannot read.

Values are not checked here: that is `etl_assets.tables.contract_check`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import msgspec
import pyarrow as pa

from etl_assets.declarations.contract import Column, Contract
from etl_assets.model.errors import DeclarationError, Problem
from etl_assets.model.records import Reject

ROWS_PER_BATCH = 5_000  # some megabytes of text; bounds the memory of a reader
ROW_CHARACTERS = 2_000  # of a rejected row's JSON
VALUE_CHARACTERS = 200  # of a value in the message of a reject
# Unicode's white space, and the characters without a width that are copied with a text.
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\u2060\ufeff"
# msgspec raises Python's own errors for text that is not UTF-8 and for endless nesting.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)


Values: TypeAlias = list[Any] | pa.Array


class Refusal(NamedTuple):
    """A value of a row that is not read as it is: as null, or as another text."""

    row: int
    column: str
    expected: str
    actual: str
    read_as: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file: the declared columns, all of one length, and rejected records.

    Optional columns that the file lacks are left out.

    A column that is an Arrow array has its declared type already, or consists of texts. `exact`
    reads the same records again, slowly and with line numbers, and is called for a batch that
    breaks its contract. `faults` has, by column and row, what a cell has in place of a value, which
    is null in `columns`. `refusals` are of invalid values that the reader passed over.
    `rejected_rows` are the rejects of rows that are here for the values that they share with other
    rows (`reject_together`). `numbers_are_floats` is true for a format that stores all numbers as
    floats, so that no integer from 2^53 on is exact.
    """

    columns: Mapping[str, Values]
    ordinals: Sequence[int]
    records: int
    rejects: list[Reject] = field(default_factory=list)
    unknown_fields: frozenset[str] = frozenset()
    lines: list[int] | None = None
    line_label: str = "line"
    exact: Callable[[], Batch] | None = None
    faults: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    refusals: Sequence[Refusal] = ()
    rejected_rows: Mapping[int, Reject] = field(default_factory=dict)
    numbers_are_floats: bool = False

    def values(self, column: Column) -> Values:
        """The column's values; null in every row if the file lacks an optional column."""
        if column.optional and column.name not in self.columns:
            return [None] * len(self.ordinals)
        return self.columns[column.name]

    def where(self, row: int) -> str:
        """The line of a row in its file, or its record's number if lines are not known."""
        if self.lines:
            return f"{self.line_label} {self.lines[row]}"
        return f"record {self.ordinals[row]}"


class BatchBuilder:
    """Collects rows and rejects into batches, for readers that go record by record.

    `fields` maps a column to the position of its value in the tuples that are added.
    """

    def __init__(self, fields: dict[str, int]) -> None:
        self._fields = fields
        self.records = 0
        self.unknown_fields: set[str] = set()
        self._built_records = 0
        self._rows: list[Sequence[Any]] = []
        self._ordinals: list[int] = []
        self._lines: list[int] = []
        self._rejects: list[Reject] = []
        self._refusals: list[Refusal] = []

    def add(self, row: Sequence[Any], line: int | None = None) -> None:
        """Add a row of the record that was counted last, with its line if the file has lines."""
        self._rows.append(row)
        self._ordinals.append(self.records)
        if line is not None:
            self._lines.append(line)

    def reject(self, where: str, expected: str, actual: str, row: str) -> None:
        self.add_reject(record_reject(where, expected, actual, row))

    def refuse(self, position: int, expected: str, value: object) -> None:
        """Report an invalid value, in place of which the last row has another one or null."""
        row = len(self._rows) - 1
        self._refusals += [
            Refusal(row, name, expected, value_json(value))
            for name, at in self._fields.items()
            if at == position
        ]

    def add_reject(self, reject: Reject) -> None:
        self._rejects.append(reject)

    def is_full(self) -> bool:
        return len(self._rows) + len(self._rejects) >= ROWS_PER_BATCH

    def build(self) -> Batch:
        """Returns the rows and rejects since the last batch."""
        columns: dict[str, list[Any]] = {name: [] for name in self._fields}
        if self._rows:
            values = list(zip(*self._rows, strict=True))
            columns = {name: list(values[at]) for name, at in self._fields.items()}
        batch = Batch(
            columns=columns,
            ordinals=self._ordinals,
            records=self.records - self._built_records,
            rejects=self._rejects,
            unknown_fields=frozenset(self.unknown_fields),
            lines=self._lines or None,
            refusals=self._refusals,
        )
        self._rows, self._ordinals, self._lines = [], [], []
        self._rejects, self._refusals = [], []
        self._built_records = self.records
        return batch


def row_json(value: object) -> str:
    """A row as JSON, cut for a reject. Text that is not Unicode is escaped."""
    try:
        text = msgspec.json.encode(value).decode()
    except (UnicodeError, TypeError):
        text = json.dumps(value, default=str)
    except RecursionError:
        text = "(nested too deeply to be shown)"
    return text[:ROW_CHARACTERS]


def row_text(data: bytes) -> str:
    """The first characters of a record that could not be decoded."""
    # A character has at most four bytes.
    return data[: ROW_CHARACTERS * 4].decode("utf-8", "backslashreplace")[:ROW_CHARACTERS]


def value_json(value: object) -> str:
    """A value as JSON, cut for a message."""
    return row_json(value)[:VALUE_CHARACTERS]


def record_reject(where: str, expected: str, actual: str, row: str) -> Reject:
    """The reject of a record that could not become a row."""
    return Reject(where=where, rule="record", expected=expected, actual=actual, row=row)


def oversize_reject(where: str, size: int, limit: int, head: bytes = b"") -> Reject:
    """The reject of a record, or of a text outside of all records, that is too large to be read."""
    expected = f"at most {limit:,} bytes (limits.max_record_bytes)"
    return record_reject(where, expected, f"{size:,} bytes", row_text(head))


def find_in_header(contract: Contract, header: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """The position of each declared column in the header of a table, and the names that do not fit.

    Each name must be in the header once; that of an optional column may be missing.
    """
    origins = {column.name: column.origin or column.name for column in contract.columns}
    optional = {column.name for column in contract.columns if column.optional}
    counts = {name: header.count(origin) for name, origin in origins.items()}
    present = [name for name, count in counts.items() if count or name not in optional]
    unfit = [origins[name] for name in present if counts[name] != 1]
    return {} if unfit else {name: header.index(origins[name]) for name in present}, unfit


def field_positions(contract: Contract, fields: Sequence[str], standard: str) -> dict[str, int]:
    """Returns for each column the position of its field in `fields`.

    Raises DeclarationError for columns of other fields.
    """
    origins = {column.name: column.origin or column.name for column in contract.columns}
    choices = ", ".join(sorted(fields))
    problems = [
        Problem(f"contract, column {name}", f"{standard} to offer it ({choices})", origin)
        for name, origin in origins.items()
        if origin not in fields
    ]
    if problems:
        raise DeclarationError(problems)
    return {name: fields.index(origin) for name, origin in origins.items()}
