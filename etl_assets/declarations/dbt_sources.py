"""What dbt must be told of the declared sources, derived from their declarations.

Run as a module, it writes one `_sources.yml` per domain. What reads those tables is SQL.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.declarations.source import ColumnType, Source
from etl_assets.storage.atomic_write import atomic_file

HEAD = """\
# Written by make schemas from the declarations; a change by hand is lost.
version: 2

sources:
  - name: {domain}
    description: The tables of the declared sources, one parquet file per table or partition.
    config:
      meta:
        external_location: "read_parquet('{{{{ var(\\"tables\\") }}}}/{{name}}/*.parquet')"
    tables:
"""
DATA_TYPES: dict[ColumnType, str] = {
    "string": "varchar",
    "int64": "bigint",
    "uint64": "ubigint",
    "float64": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "list[string]": "varchar[]",
}
EVIDENCE = (
    ("source_sha256", "SHA-256 of the raw file that the row was read from", "varchar"),
    ("source_row", "ordinal of the record in that file, from 1", "bigint"),
)
WIDTH = 100


def render(domain: Domain) -> str:
    """The domain's sources as dbt declares them; the same for the same declarations."""
    declared = domain.sources | domain.switched_off
    tables = (_table(source) for _, source in sorted(declared.items()))
    return HEAD.format(domain=domain.name) + "".join(tables)


def write(domains: Path, dbt_project: Path) -> list[Path]:
    """Writes every domain's file into its staging folder, and returns the files."""
    files = []
    for domain in load(domains).values():
        file = dbt_project / "models" / domain.name / "staging" / "_sources.yml"
        with atomic_file(file) as temporary:
            temporary.write_text(render(domain), encoding="utf-8")
        files.append(file)
    return files


def _table(source: Source) -> str:
    declared = [(c.name, c.description, DATA_TYPES[c.type]) for c in source.contract.columns]
    lines = [f"      - name: {source.name}", *_folded(8, source.description)]
    lines += [] if source.enabled else _nowhere((*declared, *EVIDENCE))
    lines += ["        columns:"]
    for name, description, data_type in (*declared, *EVIDENCE):
        lines += [f"          - name: {name}", *_folded(12, description)]
        lines += [f"            data_type: {data_type}"]
    return "\n".join(lines) + "\n"


def _nowhere(columns: Iterable[tuple[str, str, str]]) -> list[str]:
    """In place of a file: no rows of the columns, for a source that is switched off."""
    nulls = ", ".join(f"null::{data_type} as {name}" for name, _, data_type in columns)
    pad = " " * 8
    return [
        f"{pad}config:",
        f"{pad}  meta:",
        f"{pad}    external_location: >-",
        *(
            f"{pad}      {line}"
            for line in textwrap.wrap(f"(select {nulls} where false)", WIDTH - 14)
        ),
    ]


def _folded(indent: int, text: str) -> list[str]:
    """A description as a folded block, which needs no quotes whatever the text holds."""
    pad = " " * indent
    wrapped = textwrap.wrap(text, WIDTH - indent - 2, break_on_hyphens=False)
    return [f"{pad}description: >-", *(f"{pad}  {line}" for line in wrapped)]


if __name__ == "__main__":
    for file in write(Path(sys.argv[1]), Path(sys.argv[2])):
        sys.stdout.write(f"{file}\n")
