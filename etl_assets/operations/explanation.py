"""Why a row says what it says: the answer, its evidence down to files, claims, periods.

Gathering it is `etl_assets.operations.explain`; only its shape and its text for a terminal are
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from pydantic import AwareDatetime, Field

from etl_assets.model.records import Record, Sha256

Cells = dict[str, Any]
FILE = "file"  # of a claim: the raw file that it was read from, by its SHA-256
SHORT = 12
FIGURES = 8  # of a measured number: a place on the map to about a metre


class FileOrigin(Record):
    """A raw file that evidence was read from: where it came from, when, and whether it is kept."""

    sha256: Sha256
    source: str | None = Field(default=None, description="None: no run that is kept names it")
    partition: str | None = None
    url: str | None = None
    etag: str | None = None
    last_modified: AwareDatetime | None = None
    fetched_at: AwareDatetime | None = None
    path: str = Field(description="relative to ETL_HOME")
    is_stored: bool

    def lines(self) -> Iterator[str]:
        part = f"[{self.partition}]" if self.partition else ""
        yield f"file {self.sha256}"
        if self.source is None:
            yield "  no run that is kept names its origin"
        else:
            yield f"  of {self.source}{part}, fetched {_shown(self.fetched_at)} from {self.url}"
            yield f"  ETag {_shown(self.etag)}, Last-Modified {_shown(self.last_modified)}"
        yield f"  {self.path}" + ("" if self.is_stored else ", no longer stored")


class Explanation(Record):
    """One row's answer and everything that it rests on."""

    domain: str
    key: dict[str, str]
    at: AwareDatetime = Field(description="the moment that is asked about")
    run: str | None = Field(
        default=None, description="directory of the run that had said so then; None: not kept"
    )
    answer: Cells = Field(default={}, description="empty where nothing was published at that time")
    details: Cells = {}
    sentence: str | None = None
    flip: str | None = None
    evidence: Cells = {}
    files: list[FileOrigin] = []
    claims: list[Cells] = []
    history: list[Cells] = []
    note: str = ""

    def lines(self) -> list[str]:
        """The whole as text for a terminal."""
        named = f"{self.domain}, as of {_shown(self.at)}" + (
            f", run {self.run}" if self.run else ""
        )
        parts = [
            [f"{' '.join(self.key.values())} ({named})"],
            [self.note] if self.note else [],
            _pairs(self.answer | self.details),
            [text for text in (self.sentence, self.flip) if text],
            _titled("Evidence", [*_pairs(self.evidence), *self._origins()]),
            _titled("Claims", _table([_shortened(claim) for claim in self.claims])),
            _titled("History", _table(self.history)),
        ]
        return [line for part in parts if part for line in (*part, "")][:-1]

    def _origins(self) -> list[str]:
        return [line for file in self.files for line in file.lines()]


def _shortened(claim: Cells) -> Cells:
    """The claim with its file named as briefly as the files above still tell."""
    return claim | {FILE: (claim[FILE] or "")[:SHORT] or None}


def _titled(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines)] if lines else []


def _pairs(cells: Mapping[str, Any]) -> list[str]:
    width = max(map(len, cells), default=0)
    return [f"{name:{width}}  {_shown(value)}" for name, value in cells.items()]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns side by side; one that is empty in every row is left out."""
    names = [
        name for name in (rows[0] if rows else ()) if any(row[name] is not None for row in rows)
    ]
    texts = [names, *([_shown(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[place]) for line in texts) for place in range(len(names))]
    return [
        "  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in texts
        if names
    ]


def _shown(value: object) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.{FIGURES}g}"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)
