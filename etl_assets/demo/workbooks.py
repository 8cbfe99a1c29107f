"""Small workbooks made of text tables: what a sample of a spreadsheet is packed into.

xlsx as ISO 29500 has it, xlsb as [MS-XLSB] has it, each with no more than a reader needs. Reading
workbooks is `etl_assets.tables.readers.excel`.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from io import BytesIO
from xml.sax.saxutils import escape, quoteattr

Cells = Sequence[Sequence[str]]
Value = str | float | date | None

EPOCH = date(1899, 12, 30)
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DATE_STYLE = 1

XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
TYPES_RELS = "application/vnd.openxmlformats-package.relationships+xml"
TYPES_XML = "application/vnd.openxmlformats-officedocument.spreadsheetml.{}+xml"
TYPES_BIN = "application/vnd.ms-excel.{}"
STYLES = (
    f'<styleSheet xmlns="{MAIN}"><fonts count="1"><font/></fonts><fills count="1"><fill/></fills>'
    '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="2"><xf/><xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>'
)


def xlsx(sheets: Mapping[str, Cells]) -> bytes:
    """A workbook whose sheets hold the cells, each as `value_of` takes it."""
    names = list(sheets)
    parts = {
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>'
        + "".join(
            f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="rId{n}"/>'
            for n, name in enumerate(names, start=1)
        )
        + "</sheets></workbook>",
        "xl/styles.xml": STYLES,
        **{f"xl/worksheets/sheet{n}.xml": _sheet_xml(sheets[name]) for n, name in _told(names)},
    }
    relations = [("styles", "styles.xml")]
    return _package("xml", names, {k: (XML + v).encode() for k, v in parts.items()}, relations)


def xlsb(sheets: Mapping[str, Cells]) -> bytes:
    """The same in binary; dates are bare serial numbers, as there are no styles."""
    names = list(sheets)
    bundle = b"".join(
        _record(156, struct.pack("<II", 0, n) + _wide(f"rId{n}") + _wide(name))
        for n, name in _told(names)
    )
    book = _record(131) + _record(143) + bundle + _record(144) + _record(132)
    parts = {"xl/workbook.bin": book}
    parts |= {f"xl/worksheets/sheet{n}.bin": _sheet_bin(sheets[name]) for n, name in _told(names)}
    return _package("bin", names, parts, [])


def value_of(text: str) -> Value:
    """What a cell of a text table means: a day, a number, or a text, also behind an apostrophe."""
    if not text:
        return None
    if text.startswith("'"):
        return text[1:]
    if DAY.fullmatch(text):
        return date.fromisoformat(text)
    return float(text) if NUMBER.fullmatch(text) else text


def _told(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    return enumerate(names, start=1)


def _package(
    kind: str, names: Sequence[str], parts: Mapping[str, bytes], relations: list[tuple[str, str]]
) -> bytes:
    """The zip with what names its parts; the same for the same cells on any day."""
    book = f"xl/workbook.{kind}"
    sheets = [(f"rId{n}", "worksheet", f"worksheets/sheet{n}.{kind}") for n, _ in _told(names)]
    others = [(f"rIdO{n}", of, target) for n, (of, target) in enumerate(relations)]
    files = {
        "[Content_Types].xml": _content_types(kind, parts).encode(),
        "_rels/.rels": _relations([("rId1", "officeDocument", book)]).encode(),
        f"xl/_rels/workbook.{kind}.rels": _relations([*sheets, *others]).encode(),
        **parts,
    }
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _content_types(kind: str, parts: Mapping[str, bytes]) -> str:
    forms = TYPES_XML if kind == "xml" else TYPES_BIN
    main = "sheet.main" if kind == "xml" else "sheet.binary.macroEnabled.main"
    told = {"xl/workbook": forms.format(main), "xl/styles": forms.format("styles")}
    overrides = "".join(
        f'<Override PartName="/{part}" '
        f'ContentType="{told.get(part.partition(".")[0], forms.format("worksheet"))}"/>'
        for part in parts
    )
    return (
        f'{XML}<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" '
        f'ContentType="{TYPES_RELS}"/>{overrides}</Types>'
    )


def _relations(targets: Sequence[tuple[str, str, str]]) -> str:
    lines = "".join(
        f'<Relationship Id="{key}" Type="{OFFICE}/{of}" Target="{target}"/>'
        for key, of, target in targets
    )
    return f'{XML}<Relationships xmlns="{PACKAGE}/relationships">{lines}</Relationships>'


def _sheet_xml(cells: Cells) -> str:
    rows = "".join(
        f'<row r="{number}">{"".join(_cell_xml(number, *cell) for cell in enumerate(row))}</row>'
        for number, row in enumerate(cells, start=1)
    )
    return f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def _cell_xml(row: int, column: int, text: str) -> str:
    at = f'r="{_letters(column)}{row}"'
    match value_of(text):
        case None:
            return ""
        case date() as day:
            return f'<c {at} s="{DATE_STYLE}"><v>{(day - EPOCH).days}</v></c>'
        case float() as number:
            return f"<c {at}><v>{number!r}</v></c>"
        case value:
            held = escape(str(value))
            return f'<c {at} t="inlineStr"><is><t xml:space="preserve">{held}</t></is></c>'


def _letters(column: int) -> str:
    name, left = "", column + 1
    while left:
        left, letter = divmod(left - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def _sheet_bin(cells: Cells) -> bytes:
    width = max((len(row) for row in cells), default=1)
    size = struct.pack("<IIII", 0, max(len(cells) - 1, 0), 0, max(width - 1, 0))
    rows = b"".join(
        _record(0, struct.pack("<IIHHBI", number, 0, 0x12C, 0, 0, 0)) + _row_bin(row)
        for number, row in enumerate(cells)
    )
    return _record(129) + _record(148, size) + _record(145) + rows + _record(146) + _record(130)


def _row_bin(row: Sequence[str]) -> bytes:
    found = b""
    for column, text in enumerate(row):
        value, place = value_of(text), struct.pack("<II", column, 0)
        if isinstance(value, date):
            value = float((value - EPOCH).days)
        if isinstance(value, float):
            found += _record(5, place + struct.pack("<d", value))
        elif value is not None:
            found += _record(6, place + _wide(value))
    return found


def _record(kind: int, data: bytes = b"") -> bytes:
    """A record of [MS-XLSB] 2.1.4: its type and its size in seven bits a byte, then its data."""
    number = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size, left = b"", len(data)
    while True:
        size += bytes([left & 0x7F | (0x80 if left > 0x7F else 0)])
        left >>= 7
        if not left:
            return number + size + data


def _wide(text: str) -> bytes:
    data = text.encode("utf-16-le")
    return struct.pack("<I", len(data) // 2) + data
