"""One JSON object with a time, a count, the attributions and the rows of a model, one per line.

The members' names come from the document's options, the keys of a row from the model's columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
from pydantic import Field

from etl_assets.declarations.domain import Document, attribution_texts
from etl_assets.model.errors import BuildError
from etl_assets.model.run_manifest import PublishedFile
from etl_assets.publish.writers.json_stream import (
    HEADER,
    decode_part,
    read_list,
    read_object,
    write_object,
)
from etl_assets.publish.writers.output import (
    DocumentContext,
    FormatVersion,
    PublishedDocument,
    open_output,
)
from etl_assets.publish.writers.rows import Rows
from etl_assets.publish.writers.unchanged import merge_elements


class Options(FormatVersion):
    """Names of the members, and the version."""

    time: str = Field(default="generated_at", min_length=1)
    count: str = Field(default="count", min_length=1)
    attributions: str = Field(default="attributions", min_length=1)
    rows: str = Field(default="rows", min_length=1)
    once: str = Field(
        default="",
        description="a column with the same value in every row, written once as a member",
    )


def write(rows: Rows, document: Document, context: DocumentContext) -> list[PublishedFile]:
    """Stream the rows into `document.file`."""
    options = Options.model_validate(document.options)
    header: dict[str, Any] = {**options.member, options.time: context.as_of}
    header[options.count] = len(rows)
    if context.attributions:
        header[options.attributions] = attribution_texts(context.attributions)
    if options.once:
        header[options.once] = next((row.get(options.once) for row in rows), None)
    encoder = msgspec.json.Encoder(decimal_format="number")  # the default is a string

    def encode_rows(rows: Rows) -> Iterator[bytes]:
        for number, row in enumerate(rows, start=1):
            if options.once and row.pop(options.once, None) != header[options.once]:
                raise BuildError(
                    f"{rows.path}: row {number}: expected {options.once} as in the first row"
                )
            yield encoder.encode(row)

    elements = merge_elements(rows, document, context, options.rows, encode_rows)
    with open_output(context.directory / document.file) as file:
        count = write_object(file, encoder.encode(header), [(options.rows, elements)])
    return [file.describe(document.file, document.file, count)]


def count_rows(document: Document, directory: Path) -> int:
    """The number of rows; raises BuildError if the file is invalid or states another number."""
    return _count_rows(document, directory, frozenset())


def count_rows_beside(document: Document, directory: Path, published: PublishedDocument) -> int:
    """As `count_rows`; rows of the published document are not decoded again."""
    options = Options.model_validate(document.options)
    known = frozenset(read_list(published.directory / document.file, options.rows))
    return _count_rows(document, directory, known)


def _count_rows(document: Document, directory: Path, known: Collection[bytes]) -> int:
    options = Options.model_validate(document.options)
    path = directory / document.file
    envelope = msgspec.defstruct(
        "Envelope",
        [
            ("time", str),
            ("count", int),
            ("attributions", tuple[str, ...], ()),
            ("once", Any, None),
            ("format_version", int | None, None),
        ],
        rename={
            "time": options.time,
            "count": options.count,
            "attributions": options.attributions,
            "once": options.once or "once",
        },
        forbid_unknown_fields=True,
    )
    headers: msgspec.json.Decoder[Any] = msgspec.json.Decoder(envelope)
    elements = msgspec.json.Decoder(dict[str, msgspec.Raw])
    stated, count = 0, 0
    for name, data in read_object(path):
        if name == HEADER:
            stated = decode_part(path, data, headers, "an envelope of rows").count
        elif name == options.rows:
            if data not in known:
                decode_part(path, data, elements, "a row")
            count += 1
        else:
            raise BuildError(f"{path}: expected the member {options.rows}, found {name}")
    if stated != count:
        raise BuildError(f"{path}: {options.count} says {stated}, found {count} rows")
    return count
