"""The base class of everything that is declared in YAML, and the patterns of its names.

What a source or a domain declares is in `source` and `domain`.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

NAME = r"^[a-z][a-z0-9_]*$"
COLUMN_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
COLUMN_PATH = r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*$"  # a column, or a struct's field


class Declaration(BaseModel):
    """Base of every declaration: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def file_schema(cls) -> dict[str, Any]:
        """Returns the JSON Schema of the YAML file, without the fields that its path implies."""
        schema = cls.model_json_schema()
        for name, info in cls.model_fields.items():
            if info.exclude:
                schema["properties"].pop(name)
        # A removed field may have been the only one that referred to a definition.
        definitions = schema.pop("$defs", {})
        used = _referenced_definitions(schema["properties"], definitions)
        return {
            **schema,
            "$defs": {name: body for name, body in definitions.items() if name in used},
        }


def _referenced_definitions(properties: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """Returns the names of the definitions that the properties refer to, directly or not."""
    used: set[str] = set()
    pending = [properties]
    while pending:
        text = json.dumps(pending.pop())
        for name, body in definitions.items():
            if name not in used and f'"#/$defs/{name}"' in text:
                used.add(name)
                pending.append(body)
    return used
