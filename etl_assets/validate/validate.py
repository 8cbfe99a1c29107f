"""Validation of a stored file: whether it is, from first byte to last, what its source declares.

Compression, kind, size and outer shape are checked here. Rows and fields are checked when the file
is tabulated; keeping a refused file is `etl_assets.validate.quarantine`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etl_assets.declarations.formats import Format, JsonArrayFormat, JsonFormat
from etl_assets.declarations.json_path import row_paths
from etl_assets.declarations.source import Source
from etl_assets.model.errors import ContentError, Problem
from etl_assets.model.records import Part, Verdict
from etl_assets.storage.archives import Unpacker, check_zip, unpacker_of
from etl_assets.storage.sniff import BOM, HEAD_BYTES, describe, sniff

CODE_VERSION = "1"

# The kind of a format's unpacked bytes; the first bytes of other formats are not checked.
KINDS = {
    "json": "json",
    "json_array": "json",
    "geojson": "json",
    "cve_2_0": "json",
    "csv": "text",
    "deb822": "text",
    "excel": "zip",
}
WORKBOOK_MEMBERS = frozenset({"xl/workbook.xml", "xl/workbook.bin"})
READ_BYTES = 1 << 16
TAIL_BYTES = 64  # white space may follow the last bracket
CLOSING = {b"{": b"}", b"[": b"]"}
NO_RECORDS = (b"{}", b"[]")


@dataclass(frozen=True, slots=True)
class Content:
    """The kind and size of a file that is as declared."""

    kind: str
    unpacked_bytes: int


def validate(source: Source, part: Part, path: Path, *, sha256: str) -> Verdict:
    """Returns the verdict on one file: good, or what was expected and found instead."""
    expected: str = source.format.name
    if source.expect.compression != "none":
        expected += f" in {source.expect.compression}"
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
            actual=problem.actual,
            code_version=CODE_VERSION,
        )
    return Verdict(
        part=part,
        sha256=sha256,
        ok=True,
        expected=expected,
        actual=content.kind,
        unpacked_bytes=content.unpacked_bytes,
        code_version=CODE_VERSION,
    )


def inspect_content(source: Source, path: Path) -> Content:
    """Returns the content of a file; raises ContentError if it is not as declared."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if size < source.expect.min_bytes:
        actual = "an empty file" if size == 0 else f"{size:,} bytes, {describe(head)}"
        raise ContentError.of("", f"at least {source.expect.min_bytes:,} bytes", actual)
    match source.expect.compression:
        case "zip":
            _require_kind("zip", head)
            unpacked = _check_zip(source, path)
            return Content(kind="zip", unpacked_bytes=unpacked)
        case "gzip" | "xz" as kind:
            _require_kind(kind, head)
            unpacker = unpacker_of(head, source.limits.max_unpacked_bytes)
            pieces = _unpack(path, unpacker) if unpacker else _read(path)
        case _:
            # A workbook is a zip by its format, so no compression is declared for it.
            if source.format.name == "excel":
                return _inspect_workbook(source, path, head)
            pieces = _read(path)
    return _inspect_unpacked(source, _Ends.of(pieces))


@dataclass(slots=True)
class _Ends:
    """The first and the last bytes of a stream, and its length."""

    head: bytes = b""
    tail: bytes = b""
    size: int = 0

    @classmethod
    def of(cls, pieces: Iterator[bytes]) -> _Ends:
        ends = cls()
        for piece in pieces:
            if len(ends.head) < HEAD_BYTES:
                ends.head += piece[: HEAD_BYTES - len(ends.head)]
            ends.tail = (ends.tail + piece[-TAIL_BYTES:])[-TAIL_BYTES:]
            ends.size += len(piece)
        return ends


def _check_zip(source: Source, path: Path) -> int:
    limits = source.limits
    return check_zip(
        path, max_unpacked_bytes=limits.max_unpacked_bytes, max_members=limits.max_members
    )


def _inspect_workbook(source: Source, path: Path, head: bytes) -> Content:
    # A workbook with a password, or older than 2007, is an OLE file and no zip.
    _require_kind(KINDS["excel"], head)
    unpacked = _check_zip(source, path)
    with zipfile.ZipFile(path) as archive:
        workbooks = WORKBOOK_MEMBERS & set(archive.namelist())
    if not workbooks:
        raise ContentError.of("", "a workbook, xlsx or xlsb", "a zip of something else")
    kind = "xlsx" if "xl/workbook.xml" in workbooks else "xlsb"
    return Content(kind=kind, unpacked_bytes=unpacked)


def _inspect_unpacked(source: Source, ends: _Ends) -> Content:
    kind = KINDS.get(source.format.name)
    is_empty_text = kind == "text" and source.expect.min_rows == 0 and sniff(ends.head) == "blank"
    if kind is not None and not is_empty_text:
        _require_kind(kind, ends.head)
    if kind == "json":
        _check_json(source.format, ends, min_rows=source.expect.min_rows)
    return Content(kind=kind or sniff(ends.head), unpacked_bytes=ends.size)


def _check_json(declared: Format, ends: _Ends, *, min_rows: int) -> None:
    """Compare the first and the last bracket; parsing the document is the reader's."""
    text = ends.head.removeprefix(BOM).strip()
    opening, last = text[:1], ends.tail.rstrip()[-1:]
    if isinstance(declared, JsonFormat | JsonArrayFormat):
        is_list = row_paths(declared)[0][0].kind == "items"
    else:
        is_list = False
    expected = b"[" if is_list else b"{"
    if opening != expected:
        raise ContentError.of("", f"JSON that starts with {expected.decode()}", opening.decode())
    if last != CLOSING[opening]:
        actual = (
            f"{last.decode('utf-8', 'replace')!r}: the file is cut off or goes on after its end"
        )
        raise ContentError.of("last byte", f"{CLOSING[opening].decode()!r}", actual)
    # A short document that is empty; rows of a longer one are counted when it is tabulated.
    if min_rows and ends.size <= HEAD_BYTES and b"".join(text.split()) in NO_RECORDS:
        raise ContentError.of("", f"at least {min_rows} records", text.decode())


def _require_kind(expected: str, head: bytes) -> None:
    if sniff(head) != expected:
        raise ContentError.of("first bytes", expected, describe(head))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece


def _unpack(path: Path, unpacker: Unpacker) -> Iterator[bytes]:
    for piece in _read(path):
        yield from unpacker.feed(piece)
    unpacker.finish()
