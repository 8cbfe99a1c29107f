"""Writes the two files of a new source: its declaration and its staging model.

The blanks are left for a person; a declaration with blanks does not load, and says which they are.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from etl_assets.declarations.declaration import NAME
from etl_assets.model.errors import UsageError
from etl_assets.storage.atomic_write import atomic_file

DECLARATION = """\
# yaml-language-server: $schema=../../../docs/schemas/source.schema.json
title:
description:
producer:
licence:
  name:
  attribution:
location:
  url:
required: false
freshness:
  warn_after_hours: 48
  fail_after_hours: 168
format:
  name:
contract:
  columns:
    - name:
      type:
      description:
  key: []
"""

STAGING = """\
-- One row per record of the source.
with source as (

    select * from {{ source('@domain', '@source') }}

),

renamed as (

    select
        source_sha256,
        source_row,
    from source

)

select * from renamed
"""


def add_source(domains: Path, dbt_project: Path, full_name: str) -> list[Path]:
    """Writes both files of `<domain>.<source>`, and returns them; UsageError where one exists."""
    domain, _, source = full_name.partition(".")
    known = sorted(file.parent.name for file in domains.glob("*/_domain.yaml"))
    if domain not in known or not re.fullmatch(NAME, source):
        expected = f"<domain>.<source>, where the domain is one of {', '.join(known)}"
        raise UsageError(f"name: expected {expected}, found {full_name!r}")
    texts = {
        domains / domain / f"{source}.yaml": DECLARATION,
        dbt_project / "models" / domain / "staging" / f"stg_{domain}__{source}.sql": STAGING,
    }
    if there := [str(file) for file in texts if file.exists()]:
        raise UsageError(f"{', '.join(there)}: expected no such file yet, found one")
    for file, text in texts.items():
        with atomic_file(file) as temporary:
            filled = text.replace("@domain", domain).replace("@source", source)
            temporary.write_text(filled, encoding="utf-8")
    return list(texts)


def main(domains: str, dbt_project: str, full_name: str) -> int:
    """Writes the files and names them; the exit code."""
    try:
        files = add_source(Path(domains), Path(dbt_project), full_name)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.writelines(f"{file}\n" for file in files)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
