"""Print the first error of the strict validator of cyclonedx-python-lib, or null."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(
    Path(sys.argv[1]).read_text(encoding="utf-8")
)
json.dump(None if fault is None else str(fault), sys.stdout)
