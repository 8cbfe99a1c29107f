"""The settings file: YAML with one setting a line, and overrides of declared values.

Which settings exist, and their valid values, is in `etl_assets.settings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource

from etl_assets.declarations.overrides import KEY as OVERRIDES
from etl_assets.declarations.overrides import read_overrides
from etl_assets.declarations.rules import RuleViolation, suggest
from etl_assets.declarations.yaml_positions import format_value, read_yaml
from etl_assets.model.errors import DeclarationError, SettingsError


def is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


class SettingsFileSource(InitSettingsSource):
    """The values of a settings file; relative paths in it start at its folder.

    The YAML source of pydantic-settings knows no lines. Here `violations` has what is wrong in the
    file, to be reported with the lines of `document`; `__call__` returns the other values.
    """

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        self.path = path
        try:
            self.document = read_yaml(path)
        except OSError as error:
            raise SettingsError(
                f"{path}: expected a YAML file of settings, found: {error.strerror}"
            ) from error
        except DeclarationError as error:
            raise SettingsError(str(error)) from error
        self.violations = list(self.document.violations)
        fields = {name: f for name, f in settings_cls.model_fields.items() if name != "config"}
        data = {} if self.document.data is None else self.document.data
        self.overrides, violations = read_overrides(self.document)
        self.violations += violations
        if isinstance(data, dict):
            data = {key: value for key, value in data.items() if key != OVERRIDES}
            self.violations += _find_violations(data, fields)
        else:
            expected = "settings, one `key: value` a line"
            self.violations.append(RuleViolation((), expected, format_value(data)))
            data = {}
        wrong_keys = {violation.path[0] for violation in self.violations if violation.path}
        values = {key: value for key, value in data.items() if key not in wrong_keys}
        for key, value in values.items():
            is_path = key == "mirror" or "Path" in str(fields[key].annotation)
            if is_path and "://" not in value:
                values[key] = str((path.parent / Path(value).expanduser()).resolve())
        super().__init__(settings_cls, values)


def _find_violations(
    data: dict[str, object], fields: dict[str, FieldInfo]
) -> Iterator[RuleViolation]:
    for key, value in data.items():
        field = fields.get(key)
        if field is None:
            names = [*fields, OVERRIDES]
            expected = f"one of {', '.join(names)}{suggest(key, names)}"
            yield RuleViolation((key,), expected, "an unknown key")
            continue
        is_flag = field.annotation is bool
        if not isinstance(value, bool if is_flag else str):
            is_hidden = is_secret(field) and value is not None
            actual = "another value" if is_hidden else format_value(value)
            yield RuleViolation((key,), "true or false" if is_flag else "text", actual)
        elif isinstance(value, str) and not value.strip():
            yield RuleViolation((key,), "a value, or no such line", "an empty text")
