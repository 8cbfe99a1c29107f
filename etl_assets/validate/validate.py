"""Judge a stored file: whether it is, from first byte to last, what its source declares.

The verdict, and setting a bad file aside, belong here. The rules themselves are `validate.content`;
rows are judged when they are tabulated.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from etl_assets.declarations.formats import Format, JsonArrayFormat, JsonFormat
from etl_assets.declarations.json_path import row_paths
from etl_assets.declarations.source import Source
from etl_assets.model.errors import ContentError, Problem
from etl_assets.model.home import Home
from etl_assets.model.records import Part, QuarantinedFile, Verdict
from etl_assets.storage.archives import Gunzip, check_zip
from etl_assets.storage.sniff import BOM, HEAD_BYTES, describe, sniff
from etl_assets.validate.quarantine import quarantine_file

CODE_VERSION = "1"


def validate(source: Source, part: Part, path: Path, *, sha256: str) -> Verdict:
    """The word on one file: whether it may be read, and what was found where it may not."""
    expected = expected_content(source)
    try:
        content = inspect_content(source, path)
    except ContentError as error:
        problem = error.problem or Problem("", expected, str(error))
        return Verdict(
            part=part,
            sha256=sha256,
            ok=False,
            where=problem.where,
            expected=problem.expected,
            found=problem.found,
            code_version=CODE_VERSION,
        )
    return Verdict(
        part=part,
        sha256=sha256,
        ok=True,
        expected=expected,
        found=content.kind,
        unpacked_bytes=content.unpacked_bytes,
        code_version=CODE_VERSION,
    )


def expected_content(source: Source) -> str:
    """What the declaration asks of the file, in words."""
    packed = source.expect.compression
    return source.format.name if packed == "none" else f"{source.format.name} in {packed}"


def quarantine(
    home: Home,
    source: Source,
    part: Part,
    path: Path,
    verdict: Verdict,
    now: datetime,
    *,
    url: str,
    keep_original: bool = False,
) -> QuarantinedFile:
    """Set a refused file aside with its reason, so that the next run fetches it again.

    It stays in the raw store too where `keep_original` says that another source's record names it.
    """
    problem = Problem(verdict.where, verdict.expected, verdict.found)
    return quarantine_file(
        home, source, part, path, problem, url=url, at=now, keep_original=keep_original
    )


# What the unpacked bytes of a format look like; a format that is not named is not looked at.
KINDS = {
    "json": "json",
    "json_array": "json",
    "geojson": "json",
    "cve_2_0": "json",
    "csv": "text",
    "excel": "zip",
}
WORKBOOKS = frozenset({"xl/workbook.xml", "xl/workbook.bin"})
READ_BYTES = 1 << 16
TAIL_BYTES = 64
CLOSING = {b"{": b"}", b"[": b"]"}
NO_RECORDS = (b"{}", b"[]")


@dataclass(frozen=True, slots=True)
class Content:
    """What was found in a good file."""

    kind: str
    unpacked_bytes: int


@dataclass(slots=True)
class _Ends:
    """The first and the last bytes of a stream, and its length."""

    head: bytes = b""
    tail: bytes = b""
    size: int = 0

    def see(self, piece: bytes) -> None:
        if len(self.head) < HEAD_BYTES:
            self.head += piece[: HEAD_BYTES - len(self.head)]
        self.tail = (self.tail + piece[-TAIL_BYTES:])[-TAIL_BYTES:]
        self.size += len(piece)


def inspect_content(source: Source, path: Path) -> Content:
    """What the file holds; raises ContentError with its problem where it is not as declared."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if size < source.expect.min_bytes:
        found = "an empty file" if size == 0 else f"{size:,} bytes, {describe(head)}"
        raise ContentError.of("", f"at least {source.expect.min_bytes:,} bytes", found)
    match source.expect.compression:
        case "zip":
            _require("zip", head)
            unpacked = check_zip(path, max_unpacked_bytes=source.limits.max_unpacked_bytes)
            return Content(kind="zip", unpacked_bytes=unpacked)
        case "gzip":
            _require("gzip", head)
            ends = _ends(_unpacked(path, source.limits.max_unpacked_bytes))
        case _:
            if source.format.name == "excel":
                return _examine_workbook(source, path, head)
            ends = _ends(_pieces(path))
    return _examine_unpacked(source, ends)


def _examine_workbook(source: Source, path: Path, head: bytes) -> Content:
    """A workbook is a zip; one under a password, or of before 2007, is none."""
    _require(KINDS["excel"], head)
    unpacked = check_zip(path, max_unpacked_bytes=source.limits.max_unpacked_bytes)
    with zipfile.ZipFile(path) as archive:
        books = WORKBOOKS & set(archive.namelist())
    if not books:
        raise ContentError.of("", "a workbook, xlsx or xlsb", "a zip of something else")
    kind = "xlsx" if "xl/workbook.xml" in books else "xlsb"
    return Content(kind=kind, unpacked_bytes=unpacked)


def _examine_unpacked(source: Source, ends: _Ends) -> Content:
    kind = KINDS.get(source.format.name)
    is_empty_text = kind == "text" and source.expect.min_rows == 0 and sniff(ends.head) == "blank"
    if kind is not None and not is_empty_text:
        _require(kind, ends.head)
    if kind == "json":
        _check_json(source.format, ends, min_rows=source.expect.min_rows)
    return Content(kind=kind or sniff(ends.head), unpacked_bytes=ends.size)


def _check_json(declared: Format, ends: _Ends, *, min_rows: int) -> None:
    text = ends.head.removeprefix(BOM).strip()
    opening, last = text[:1], ends.tail.rstrip()[-1:]
    expected = _opening(declared)
    if expected is not None and opening != expected:
        raise ContentError.of("", f"JSON that starts with {expected.decode()}", opening.decode())
    if last != CLOSING[opening]:
        found = f"{last.decode('utf-8', 'replace')!r}: the file is cut off or goes on after its end"
        raise ContentError.of("last byte", f"{CLOSING[opening].decode()!r}", found)
    if min_rows and ends.size <= HEAD_BYTES and b"".join(text.split()) in NO_RECORDS:
        raise ContentError.of("", f"at least {min_rows} records", text.decode())


def _opening(declared: Format) -> bytes | None:
    if not isinstance(declared, JsonFormat | JsonArrayFormat):
        return b"{"
    return b"[" if row_paths(declared)[0][0].kind == "items" else b"{"


def _require(expected: str, head: bytes) -> None:
    found = sniff(head)
    if found != expected:
        raise ContentError.of("first bytes", expected, describe(head))


def _ends(pieces: Iterator[bytes]) -> _Ends:
    ends = _Ends()
    for piece in pieces:
        ends.see(piece)
    return ends


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece


def _unpacked(path: Path, max_bytes: int) -> Iterator[bytes]:
    gunzip = Gunzip(max_bytes)
    for piece in _pieces(path):
        yield from gunzip.feed(piece)
    gunzip.finish()
