"""Which module reads which format. A module is imported when its format is first read.

A new format is a model in `etl_assets.declarations.formats`, a module here and one line below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import Format
from etl_assets.declarations.source import MAX_RECORD_BYTES
from etl_assets.tables.readers.batch import Batch

READER_MODULES = {
    "json": "etl_assets.tables.readers.json_document",
    "json_array": "etl_assets.tables.readers.json_array",
    "csv": "etl_assets.tables.readers.csv_text",
    "geojson": "etl_assets.tables.readers.geojson",
    "excel": "etl_assets.tables.readers.excel",
    "osv": "etl_assets.tables.readers.osv",
    "cve_2_0": "etl_assets.tables.readers.cve_2_0",
    "deb822": "etl_assets.tables.readers.deb822",
}

# Further modules of a reader: a change of one makes the tables of the format again.
READER_PARTS = {
    "excel": (
        "etl_assets.tables.readers.opc",
        "etl_assets.tables.readers.spreadsheetml",
        "etl_assets.tables.readers.biff12",
    ),
    "geojson": (
        "etl_assets.tables.readers.json_keys",
        "etl_assets.tables.readers.json_records",
        "etl_assets.tables.readers.json_stream",
        "etl_assets.declarations.json_path",
    ),
    "json": (
        "etl_assets.tables.readers.json_keys",
        "etl_assets.tables.readers.json_large",
        "etl_assets.tables.readers.json_records",
        "etl_assets.tables.readers.json_stream",
        "etl_assets.declarations.json_path",
    ),
    "json_array": (
        "etl_assets.tables.readers.json_columns",
        "etl_assets.tables.readers.json_elements",
        "etl_assets.tables.readers.json_keys",
        "etl_assets.tables.readers.json_records",
        "etl_assets.tables.readers.json_structs",
        "etl_assets.tables.readers.json_stream",
        "etl_assets.declarations.json_path",
    ),
    "osv": (
        "etl_assets.tables.readers.json_keys",
        "etl_assets.tables.readers.json_structs",
    ),
    "cve_2_0": (
        "etl_assets.tables.readers.json_elements",
        "etl_assets.tables.readers.json_keys",
        "etl_assets.tables.readers.json_structs",
        "etl_assets.tables.readers.json_stream",
    ),
}
# Formats whose readers take a limit on the size of a record.
LIMITED_FORMATS = frozenset({"json", "json_array", "geojson", "osv", "cve_2_0", "deb822"})


def read(
    path: Path, form: Format, contract: Contract, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Batch]:
    """The rows of a file, from the function `read` of its format's module."""
    reader: Callable[..., Iterator[Batch]] = import_module(READER_MODULES[form.name]).read
    limit = {"max_record_bytes": max_record_bytes} if form.name in LIMITED_FORMATS else {}
    return reader(path, form, contract, **limit)
