"""Stanzas of fields as deb822(5) defines them, one row each, as in a distribution's `Packages`.

A field that is missing is null; the contract says which columns are required. The limit on a record
bounds memory: a stanza above it is passed over up to the next empty line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import Deb822Format
from etl_assets.declarations.source import MAX_RECORD_BYTES
from etl_assets.tables.readers.batch import (
    Batch,
    BatchBuilder,
    oversize_reject,
    row_text,
)
from etl_assets.tables.readers.raw_bytes import BYTE_ORDER_MARK, read_chunks

# Printable US-ASCII without the colon; no hyphen or number sign at the start.
FIELD = re.compile(r"(?P<name>[!-9;-~]+):(?P<value>.*)", re.DOTALL)
NO_START = ("-", "#")
NO_TEXT = {"\0": "NUL character", "\r": "carriage return within the line"}
SOURCE = re.compile(r"(?P<name>[^\s()]+)(?:\s*\((?P<version>\S+)\))?")
SOURCE_NAME, SOURCE_VERSION = "source.name", "source.version"
BLANKS = b" \t\r"
SHOWN_BYTES = 8_000


class StanzaError(ValueError):
    """A stanza that cannot become a row: where, what was expected, what was found."""

    def __init__(self, line: int, expected: str, actual: str) -> None:
        self.line, self.expected, self.actual = line, expected, actual
        super().__init__(f"line {line}: expected {expected}, found {actual}")


@dataclass(slots=True)
class _Stanza:
    """The lines of a stanza, of one that is too large the first ones."""

    line: int
    size: int = 0
    lines: list[bytes] = field(default_factory=list)


def read(
    path: Path,
    form: Deb822Format,  # noqa: ARG001 - it has no options; all readers take it
    contract: Contract,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Batch]:
    """The declared fields of every stanza."""
    origins = {column.name: (column.origin or column.name).lower() for column in contract.columns}
    read_fields = list(dict.fromkeys(origins.values()))
    builder = BatchBuilder({name: read_fields.index(origin) for name, origin in origins.items()})
    # What the columns of the source package are derived from is known too.
    known = {*read_fields}
    if known & {SOURCE_NAME, SOURCE_VERSION}:
        known.add("source")
    for stanza in _read_stanzas(path, max_record_bytes):
        builder.records += 1
        where = f"line {stanza.line}"
        if stanza.size > max_record_bytes:
            head = b"\n".join(stanza.lines)
            builder.add_reject(oversize_reject(where, stanza.size, max_record_bytes, head))
        else:
            try:
                fields = parse_stanza(stanza.lines, stanza.line)
            except StanzaError as error:
                row = row_text(b"\n".join(stanza.lines)[:SHOWN_BYTES])
                builder.reject(f"line {error.line}", error.expected, error.actual, row)
            else:
                if contract.unknown_fields != "discard_value":
                    builder.unknown_fields |= fields.keys() - known - {SOURCE_NAME, SOURCE_VERSION}
                builder.add([fields.get(name) or None for name in read_fields], stanza.line)
        if builder.is_full():
            yield builder.build()
    yield builder.build()


def parse_stanza(lines: list[bytes], line: int) -> dict[str, str]:
    """The values by field name in lower case, and the source package that they name.

    Raises StanzaError for what is no field, and for a field that the stanza has twice.
    """
    fields: dict[str, str] = {}
    name = ""
    for number, data in enumerate(lines, start=line):
        text = _decode(data, number)
        if text[0] in " \t":
            if not name:
                raise StanzaError(number, "a field before its continuation", repr(text[:80]))
            # A full stop alone is an empty line of the value.
            rest = text[1:].rstrip()
            fields[name] += "\n" + ("" if rest == "." else rest)
            continue
        match = FIELD.fullmatch(text)
        if match is None or text.startswith(NO_START):
            raise StanzaError(number, "a field, `Name: value`", repr(text[:80]))
        name = match["name"].lower()
        if name in fields:
            raise StanzaError(number, "each field once", f"{match['name']} a second time")
        fields[name] = match["value"].strip()
    return fields | _derive_source(fields, line)


def _derive_source(fields: dict[str, str], line: int) -> dict[str, str]:
    """The source package and its version, as deb-control(5) derives them."""
    source = fields.get("source")
    name, version = fields.get("package", ""), fields.get("version", "")
    if source:
        match = SOURCE.fullmatch(source)
        if match is None:
            raise StanzaError(line, "Source as `name` or `name (version)`", repr(source[:80]))
        name, version = match["name"], match["version"] or version
    return {SOURCE_NAME: name, SOURCE_VERSION: version}


def _decode(data: bytes, line: int) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        byte = f"the byte 0x{data[error.start]:02x} at position {error.start + 1}"
        raise StanzaError(line, "UTF-8 text", byte) from error
    for character, name in NO_TEXT.items():
        if character in text:
            raise StanzaError(line, "text", f"a {name}")
    return text


def _read_stanzas(path: Path, max_bytes: int) -> Iterator[_Stanza]:
    """Runs of lines that are not blank; `size` is that of the whole stanza."""
    stanza: _Stanza | None = None
    for number, (line, size) in enumerate(_read_lines(path, max_bytes), start=1):
        text = line.rstrip(BLANKS)
        if not text:
            if stanza:
                yield stanza
            stanza = None
            continue
        if stanza is None:
            stanza = _Stanza(number)
        stanza.size += size
        # Of an oversized stanza the first lines are shown in its reject.
        if stanza.size <= max_bytes or not stanza.lines:
            stanza.lines.append(line.rstrip(b"\r"))
    if stanza:
        yield stanza


def _read_lines(path: Path, max_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Each line, cut off above the limit, and its size with its end."""
    rest, dropped = bytearray(), 0
    is_first = True
    for chunk in read_chunks(path):
        rest += chunk
        if is_first and len(rest) >= len(BYTE_ORDER_MARK):
            rest = rest.removeprefix(BYTE_ORDER_MARK)
            is_first = False
        if b"\n" in chunk:
            *lines, last = bytes(rest).split(b"\n")
            for line in lines:
                yield line, len(line) + 1 + dropped
                dropped = 0
            rest = bytearray(last)
        if len(rest) > max_bytes:
            dropped += max(0, len(rest) - SHOWN_BYTES)
            del rest[SHOWN_BYTES:]
    if rest:
        yield bytes(rest), len(rest) + dropped
