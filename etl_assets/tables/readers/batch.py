"""What every reader yields: rows in columns as they were read, and the records it could not read.

Nothing is judged here: types, keys and patterns are `etl_assets.tables.contract_check`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
import pyarrow as pa

from etl_assets.declarations.contract import Contract
from etl_assets.model.errors import DeclarationError, Problem
from etl_assets.model.records import Reject

ROWS_PER_BATCH = 5_000  # some megabytes of text; bounds what a reader holds at once
ROW_CHARACTERS = 2_000  # of a rejected row's JSON
FOUND_CHARACTERS = 200  # of a value quoted in a reject
# msgspec passes Python's own errors on for text that is no UTF-8 and for nesting without end
DECODE_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)


Values: TypeAlias = list[Any] | pa.Array


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file: the declared columns with as many values each, and what was refused.

    A column that is an array has its declared type already, or is the texts of one. `exact` reads
    the same records again, slowly and with their lines: for a batch in which something is wrong.
    """

    columns: Mapping[str, Values]
    ordinals: Sequence[int]
    records: int
    rejects: list[Reject] = field(default_factory=list)
    unknown_fields: frozenset[str] = frozenset()
    lines: list[int] | None = None
    line_word: str = "line"
    exact: Callable[[], Batch] | None = None

    def where(self, row: int) -> str:
        """The place of a row in its file, for a person who looks for it."""
        return (
            f"{self.line_word} {self.lines[row]}" if self.lines else f"record {self.ordinals[row]}"
        )


class BatchBuilder:
    """Rows and rejects on their way into batches, for readers that go record by record.

    `fields` maps a column to the place of its value in the tuples that are added.
    """

    def __init__(self, fields: dict[str, int]) -> None:
        self._fields = fields
        self.records = 0
        self._taken = 0
        self._rows: list[Sequence[Any]] = []
        self._ordinals: list[int] = []
        self._lines: list[int] = []
        self._rejects: list[Reject] = []
        self.unknown: set[str] = set()

    def add(self, row: Sequence[Any], line: int | None = None) -> None:
        """A row of the record that was counted last, and its line where the file has lines."""
        self._rows.append(row)
        self._ordinals.append(self.records)
        if line is not None:
            self._lines.append(line)

    def refuse(self, where: str, expected: str, found: str, row: str) -> None:
        self._rejects.append(record_reject(where, expected, found, row))

    def full(self) -> bool:
        return len(self._rows) + len(self._rejects) >= ROWS_PER_BATCH

    def take(self) -> Batch:
        """What was gathered since the last time."""
        values = list(zip(*self._rows, strict=True))
        batch = Batch(
            columns={n: list(values[i]) if values else [] for n, i in self._fields.items()},
            ordinals=self._ordinals,
            records=self.records - self._taken,
            rejects=self._rejects,
            unknown_fields=frozenset(self.unknown),
            lines=self._lines or None,
        )
        self._rows, self._ordinals, self._lines, self._rejects = [], [], [], []
        self._taken = self.records
        return batch


def row_json(value: object) -> str:
    """A value as JSON, cut to what a reject may hold; text that is no Unicode is escaped."""
    try:
        text = msgspec.json.encode(value).decode()
    except (UnicodeError, TypeError):
        text = json.dumps(value, default=str)
    except RecursionError:
        text = "(nested too deeply to be shown)"
    return text[:ROW_CHARACTERS]


def row_text(data: bytes) -> str:
    """The first characters of a record that could not be decoded."""
    return data[: ROW_CHARACTERS * 4].decode("utf-8", "backslashreplace")[:ROW_CHARACTERS]


def value_json(value: object) -> str:
    """A value for the `found` of a reject: as JSON, short."""
    return row_json(value)[:FOUND_CHARACTERS]


def record_reject(where: str, expected: str, found: str, row: str) -> Reject:
    """The reject of a record that never became a row."""
    return Reject(where=where, rule="record", expected=expected, found=found, row=row)


def field_positions(contract: Contract, offered: Sequence[str], standard: str) -> dict[str, int]:
    """Column -> place of its field in `offered`; a field that is not there is refused."""
    wanted = {column.name: column.origin or column.name for column in contract.columns}
    listed = ", ".join(sorted(offered))
    problems = [
        Problem(f"contract, column {name}", f"{standard} to offer it ({listed})", origin)
        for name, origin in wanted.items()
        if origin not in offered
    ]
    if problems:
        raise DeclarationError(problems)
    return {name: offered.index(origin) for name, origin in wanted.items()}
