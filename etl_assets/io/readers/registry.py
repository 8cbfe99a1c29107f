"""Which module reads which format; a module is imported when its format is first read.

A new format is a model in `etl_assets.model.declaration`, a module here and one line below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from etl_assets.io.readers.batch import Batch
from etl_assets.model.declaration import Contract, Format

MODULES = {
    "json": "etl_assets.io.readers.json_document",
    "json_array": "etl_assets.io.readers.json_array",
    "csv": "etl_assets.io.readers.csv_text",
    "geojson": "etl_assets.io.readers.geojson",
    "excel": "etl_assets.io.readers.excel",
    "osv": "etl_assets.io.readers.osv",
    "cve_2_0": "etl_assets.io.readers.cve_2_0",
}

# What a reader is made of besides its module: a change there is a change of the reader.
PARTS = {
    "geojson": ("etl_assets.io.readers.json_records", "etl_assets.model.paths"),
    "json": ("etl_assets.io.readers.json_records", "etl_assets.model.paths"),
    "json_array": (
        "etl_assets.io.readers.json_columns",
        "etl_assets.io.readers.json_elements",
        "etl_assets.io.readers.json_records",
        "etl_assets.model.paths",
    ),
}


def read(path: Path, form: Format, contract: Contract) -> Iterator[Batch]:
    """The rows of a file by the `read` of its declared format's module."""
    reader: Callable[[Path, Format, Contract], Iterator[Batch]]
    reader = import_module(MODULES[form.name]).read
    return reader(path, form, contract)
