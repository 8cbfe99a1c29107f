"""Plain text, one line per row, from a template with column names in braces.

Times are UTC to the second, null is empty, and line breaks in a value become spaces.
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
from etl_assets.publish.writers.output import DocumentContext, open_output, write_license
from etl_assets.publish.writers.rows import Rows

# Not `str.format`: it would evaluate attributes, indexes and format specifications in the braces.
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Options(Declaration):
    """The template of a line."""

    line: str = Field(min_length=1, description="with {column} for the value of a column")

    @field_validator("line")
    @classmethod
    def _allow_only_names_in_braces(cls, line: str) -> str:
        wrong = [name for name in PLACEHOLDER.findall(line) if not re.match(COLUMN_NAME, name)]
        if wrong:
            braces = ", ".join(f"{{{name}}}" for name in wrong)
            raise ValueError(f"expected names of columns alone in braces, found {braces}")
        if set("{}") & set(PLACEHOLDER.sub("", line)):
            raise ValueError(
                "expected names of columns alone in braces, found a brace without its other half"
            )
        return line


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Write the rows to `document.file`, in the model's order.

    Raises BuildError if the template names a column that the model does not have.
    """
    template = Options.model_validate(document.options).line
    unknown = sorted(set(PLACEHOLDER.findall(template)) - set(rows.columns))
    if unknown:
        raise BuildError(
            f"{document.file}: options.line: expected columns of {document.model} in braces"
            f" ({', '.join(rows.columns)}), found {', '.join(unknown)}"
        )
    count = 0
    with open_output(context.directory / document.file) as file:
        for row in rows:
            file.write(f"{_fill_template(template, row)}\n".encode())
            count += 1
    written = file.describe(document.file, document.file, count)
    return [written, *write_license(document, context)]


def count_rows(document: Document, directory: Path) -> int:
    """The number of lines."""
    with (directory / document.file).open("rb") as file:
        return sum(1 for _ in file)


def _fill_template(template: str, row: Mapping[str, object]) -> str:
    texts = {name: _format_value(value) for name, value in row.items()}
    return PLACEHOLDER.sub(lambda match: texts[match[1]], template)


def _format_value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return " ".join(str(value).splitlines())  # a row is one line
