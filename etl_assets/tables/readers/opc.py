"""The package of a workbook (ISO 29500-2): which part is a sheet, and in which form.

What a part says is read by `spreadsheetml` and `biff12`.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from etl_assets.model.errors import ContentError
from etl_assets.storage.archives import UNREADABLE
from etl_assets.tables.readers import biff12, spreadsheetml
from etl_assets.tables.readers.spreadsheetml import Relationship, SheetFacts

WORKBOOK = "/officeDocument"  # the end of the type; the beginning differs between the editions
DEFAULT_WORKBOOKS = ("xl/workbook.xml", "xl/workbook.bin")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet of a workbook: its part, what that says beside values, and the date system."""

    part: str
    facts: SheetFacts
    is_1904: bool


def read_sheet(path: Path, name: str) -> Sheet:
    """Raises ContentError for a file of another kind, and for a workbook without the sheet."""
    with _open_package(path) as package:
        workbook_part = package.find_workbook()
        standard = biff12 if workbook_part.endswith(".bin") else spreadsheetml
        with package.open(workbook_part) as part:
            workbook = standard.read_workbook(part)
        if name not in workbook.sheets:
            raise ContentError.of("sheets", f"a sheet named {name}", ", ".join(workbook.sheets))
        targets = {r.id: r.target for r in package.relationships(workbook_part)}
        sheet_part = targets.get(workbook.sheets[name], "")
        facts = standard.read_sheet(partial(package.open, sheet_part))
    return Sheet(sheet_part, facts, workbook.is_1904)


def without_error_values(path: Path, sheet: Sheet) -> bytes:
    """A copy of the workbook in which the cells of the sheet with an error are empty."""
    copy = io.BytesIO()
    with _open_package(path) as package, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as new:
        for member in package.archive.infolist():
            data = package.archive.read(member)
            if member.filename == package.member(sheet.part):
                data = b"".join(_pieces_between(data, sheet.facts.error_values))
            new.writestr(member.filename, data)
    return copy.getvalue()


def _pieces_between(data: bytes, spans: list[tuple[int, int]]) -> Iterator[bytes]:
    position = 0
    for start, end in spans:
        yield data[position:start]
        position = end
    yield data[position:]


@contextmanager
def _open_package(path: Path) -> Iterator[_Package]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield _Package(archive)
    except UNREADABLE as error:
        raise ContentError.of("", "a workbook that can be read", str(error)) from error


class _Package:
    """Finds and opens the parts of a zip."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        # Names are compared without case (6.2.2.3). Some programs write them with backslashes.
        self._members = {name.replace("\\", "/").lower(): name for name in archive.namelist()}

    def member(self, part: str) -> str:
        """The name in the zip of a part; raises ContentError if there is none."""
        if part.lower() not in self._members:
            raise ContentError.of("", f"the part {part!r} in the workbook", "none")
        return self._members[part.lower()]

    def open(self, part: str) -> IO[bytes]:
        return self.archive.open(self.member(part))

    def find_workbook(self) -> str:
        """The part of the workbook, which the package names; otherwise the usual one."""
        for relationship in self.relationships(""):
            if relationship.type.endswith(WORKBOOK):
                return relationship.target
        for part in DEFAULT_WORKBOOKS:
            if part in self._members:
                return part
        raise ContentError.of("", "a workbook, xlsx or xlsb", "a zip of something else")

    def relationships(self, part: str) -> list[Relationship]:
        """The relationships of a part, or of the package, with targets from the package's root."""
        folder, name = posixpath.split(part)
        relationships_part = posixpath.join(folder, "_rels", f"{name}.rels")
        if relationships_part.lower() not in self._members:
            return []
        with self.open(relationships_part) as file:
            relationships = spreadsheetml.read_relationships(file)
        return [r._replace(target=_resolve(folder, r.target)) for r in relationships]


def _resolve(folder: str, target: str) -> str:
    """The name of a part from a target, which is relative to a folder."""
    # Some programs write the name from the root, but without the slash at its start.
    if folder and target.startswith(f"{folder}/"):
        target = f"/{target}"
    return posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
