"""Plain text, one line per row, by a template with the columns' names in braces.

A time is said in UTC to the second; a value that is null is left empty, and one that spans lines
stays on one. A brace holds a name and nothing else: no attribute, index or form is ever looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pydantic import Field, field_validator

from etl_assets.declarations.declaration import COLUMN_NAME, Declaration
from etl_assets.declarations.domain import Document
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.notice import write_notice
from etl_assets.publish.writers.registry import Candidate
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.sink import sink

PLACE = re.compile(r"\{([^{}]*)\}")


class Options(Declaration):
    """What a line says."""

    line: str = Field(min_length=1, description="with {column} where a value stands")

    @field_validator("line")
    @classmethod
    def _names_alone_stand_in_braces(cls, line: str) -> str:
        wrong = [name for name in PLACE.findall(line) if not re.match(COLUMN_NAME, name)]
        if wrong or set("{}") & set(PLACE.sub("", line)):
            found = ", ".join(f"{{{name}}}" for name in wrong) or "a brace without its other half"
            raise ValueError(f"expected names of columns alone in braces, found {found}")
        return line


def write(rows: Rows, document: Document, candidate: Candidate) -> list[PublishedFile]:
    """Write the rows into `document.file` in the model's order."""
    template = Options.model_validate(document.options).line
    carried = 0
    with sink(candidate.directory / document.file) as file:
        for row in rows:
            told = {name: _told(value) for name, value in row.items()}
            file.write((_filled(document, template, told) + "\n").encode())
            carried += 1
    written = file.written(document.file, document.file, carried)
    return [written, *write_notice(document, candidate)]


def held(document: Document, directory: Path) -> int:
    """The number of lines."""
    with (directory / document.file).open("rb") as file:
        return sum(1 for _ in file)


def _filled(document: Document, template: str, told: Mapping[str, str]) -> str:
    if unknown := sorted(set(PLACE.findall(template)) - set(told)):
        raise BuildError(
            f"{document.file}: options.line: expected columns of {document.model} in braces"
            f" ({', '.join(told)}), found {', '.join(unknown)}"
        )
    return PLACE.sub(lambda place: told[place[1]], template)


def _told(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return " ".join(str(value).splitlines())
