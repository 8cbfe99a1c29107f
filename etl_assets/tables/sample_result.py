"""The first records of a file as its declaration reads them, for whoever writes a declaration.

Only the shape of the answer belongs here; reading is `etl_assets.tables.sample`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import AwareDatetime, Field

from etl_assets.model.records import Part, Record, Reject, Sha256

SHOWN_CHARACTERS = 100  # of a value in the text; JSON has all of it


class SampleRow(Record):
    """One row that holds under the contract."""

    record: int = Field(description="the record's place in the file, from 1")
    values: dict[str, Any] = Field(description="typed; dates and times as ISO texts")


class SampleResult(Record):
    """What the declaration makes of the first records; keys and whole-file limits are not asked."""

    part: Part
    path: str = Field(description="the file that was read; of a fetched one, its URL")
    sha256: Sha256 | None = Field(default=None, description="None for a file read where it lies")
    fetched_at: AwareDatetime | None = None
    types: dict[str, str] = Field(description="column: its declared type")
    records: int = Field(ge=0, description="records read, of which `rows` and `rejects` are some")
    held: int = Field(ge=0, description="rows that hold, of the records read")
    refused: int = Field(ge=0, description="rows and records refused, of those read")
    is_whole: bool = Field(description="whether these are all records of the file")
    rows: list[SampleRow]
    rejects: list[Reject]
    unknown_fields: list[str] = []
    unknown_values: dict[str, dict[str, int]] = {}
    fault: str | None = Field(default=None, description="why no more of the file could be read")

    def lines(self) -> list[str]:
        """The file, the rows one value to a line, what was refused and why."""
        return [*self._headline(), *self._rows(), *self._refused(), *self._notes()]

    def _headline(self) -> Iterator[str]:
        since = f", fetched {self.fetched_at:%Y-%m-%d %H:%M} UTC" if self.fetched_at else ""
        of = "all" if self.is_whole else "the first"
        yield f"{self.part}: {self.path}{since}"
        yield f"of {of} {self.records:,} records, {self.held:,} rows hold, {self.refused:,} refused"

    def _rows(self) -> Iterator[str]:
        width = max(map(len, self.types))
        for row in self.rows:
            yield f"record {row.record}"
            for column, value in row.values.items():
                shown = json.dumps(value, ensure_ascii=False)
                yield f"  {column:{width}}  {self.types[column]:12}  {_cut(shown)}"

    def _refused(self) -> Iterator[str]:
        for reject in self.rejects:
            column = f", {reject.column}" if reject.column else ""
            told = f"expected {reject.expected}, found {reject.found}"
            yield f"refused: {reject.where}{column}: {told} ({reject.rule})"
            yield f"  {_cut(reject.row)}"

    def _notes(self) -> Iterator[str]:
        if self.unknown_fields:
            yield f"fields that no column names: {', '.join(self.unknown_fields)}"
        for column, values in self.unknown_values.items():
            named = ", ".join(f"{value!r} ({count})" for value, count in values.items())
            yield f"values of {column} that are not among the known: {named}"
        if self.fault:
            yield f"no more could be read: {self.fault}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
