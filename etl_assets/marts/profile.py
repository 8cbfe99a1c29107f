"""The profile of dbt: how connections that write to the warehouse are set up.

dbt reads it for its own connection, this module for those that run compiled SQL, so that both have
the same settings (https://docs.getdbt.com/docs/core/connect-data-platform/duckdb-setup).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from etl_assets.model.errors import BuildError

FILE = "profiles.yml"
PROFILE = "etl"  # the name in `dbt_project.yml`


@dataclass(frozen=True, slots=True)
class DbtProfile:
    """One target of a profiles file; without `target` the one that the file names."""

    directory: Path
    target: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """What `env_var` may read."""

    @property
    def file(self) -> Path:
        return self.directory / FILE

    @property
    def arguments(self) -> list[str]:
        """The options that make dbt use it."""
        target = ["--target", self.target] if self.target else []
        return ["--profiles-dir", str(self.directory), *target]

    def read_settings(self, values: Mapping[str, Any], warehouse: Path) -> dict[str, Any]:
        """Returns the settings of the target for DuckDB, with dbt's vars in them replaced.

        Raises BuildError if the file cannot be read, has no such target, or names another database
        than `warehouse`.
        """
        output = self._read_output(values)
        path = output.get("path")
        if output.get("type") != "duckdb" or path != str(warehouse):
            found = f"the type {output.get('type')!r} and the path {path!r}"
            raise BuildError(
                f"{self.file}: expected the type duckdb and the path "
                f"{{{{ var('warehouse') }}}}, found {found}"
            )
        settings: dict[str, Any] = output.get("settings") or {}
        # Set by `use_utc`, as it needs an extension.
        return {name: value for name, value in settings.items() if name.lower() != "timezone"}

    def _read_output(self, values: Mapping[str, Any]) -> dict[str, Any]:
        try:
            data = yaml.safe_load(self.file.read_bytes())
        except (OSError, yaml.YAMLError) as error:
            raise BuildError(f"{self.file}: expected a readable profile, found: {error}") from error
        profile = data.get(PROFILE) if isinstance(data, dict) else None
        if not isinstance(profile, dict):
            raise BuildError(f"{self.file}: expected the profile {PROFILE}, found none")
        functions = {"var": values.get, "env_var": self.environment.get}
        rendered: dict[str, Any] = _render(profile, functions)
        outputs = rendered.get("outputs") or {}
        target = self.target or rendered.get("target", "default")
        if target not in outputs:
            names = ", ".join(outputs) or "none"
            raise BuildError(f"{self.file}: expected one of the targets {names}, found {target!r}")
        output: dict[str, Any] = outputs[target]
        return output


def _render(value: Any, functions: Mapping[str, object]) -> Any:  # noqa: ANN401 - as YAML has it
    """Replace templates in all texts of a value, as dbt does."""
    if isinstance(value, dict):
        return {key: _render(below, functions) for key, below in value.items()}
    if not isinstance(value, str) or "{{" not in value:
        return value
    from jinja2.nativetypes import NativeEnvironment

    return NativeEnvironment().from_string(value).render(functions)
