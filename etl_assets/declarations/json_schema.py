"""The JSON Schemas of what a person declares, for editors and for error messages.

Only what pydantic's models say is written here; run as a module, it writes the files of `docs/`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.storage.atomic_write import atomic_file

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILES: dict[str, type[Declaration]] = {
    "source.schema.json": Source,
    "domain.schema.json": Domain,
}


def json_schema(model: type[Declaration]) -> dict[str, Any]:
    """The schema of what may be written: without the fields that folder and file name say."""
    schema = model.model_json_schema()
    for name, info in model.model_fields.items():
        if info.exclude:
            schema["properties"].pop(name)
    definitions = schema.pop("$defs", {})
    used = _used_definitions(schema["properties"], definitions)
    kept = {name: part for name, part in definitions.items() if name in used}
    return {"$schema": DIALECT, **schema, "$defs": kept}


def render(model: type[Declaration]) -> str:
    """The schema as text; the same for the same model."""
    return json.dumps(json_schema(model), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> list[Path]:
    """Writes every schema into the folder, and returns the files."""
    for name, model in FILES.items():
        with atomic_file(folder / name) as temporary:
            temporary.write_text(render(model), encoding="utf-8")
    return [folder / name for name in FILES]


def _used_definitions(properties: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """Names of the definitions that are reached from the properties."""
    used: set[str] = set()
    ahead = [properties]
    while ahead:
        text = json.dumps(ahead.pop())
        for name, part in definitions.items():
            if name not in used and f'"#/$defs/{name}"' in text:
                used.add(name)
                ahead.append(part)
    return used


if __name__ == "__main__":
    for file in write(Path(sys.argv[1])):
        sys.stdout.write(f"{file}\n")
