"""Prints what the strict validator of CycloneDX's own library finds wrong in a file, or null."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(
    Path(sys.argv[1]).read_text(encoding="utf-8")
)
json.dump(None if found is None else str(found), sys.stdout)
