"""Published JSON held to a JSON Schema that its declaration names.

Standards' own schemas are the writers' business; which documents have one, the declaration says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import msgspec

from etl_assets.model.errors import BuildError, Problem
from etl_assets.tables.readers.batch import DECODE_ERRORS, value_json

TOLD = 20


def broken(document: Path, schema: Path) -> list[Problem]:
    """What of the file the schema does not allow, the first twenty places."""
    validator = jsonschema.Draft202012Validator(_json(schema))
    errors = sorted(validator.iter_errors(_json(document)), key=lambda error: error.json_path)
    return [
        Problem(
            f"{document.name}: {error.json_path}",
            f"{error.validator} {value_json(error.validator_value)}",
            value_json(error.instance),
        )
        for error in errors[:TOLD]
    ]


def _json(path: Path) -> Any:  # noqa: ANN401 - JSON is anything
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, *DECODE_ERRORS) as error:
        raise BuildError(f"{path}: expected JSON, found: {error}") from error
