"""A YAML file of settings, as `--config` and `ETL_CONFIG` name one: its values and their lines.

Which settings there are, and what each may say, is `etl_assets.settings`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from etl_assets.declarations import yaml_positions
from etl_assets.declarations.rules import RuleViolation, suggest
from etl_assets.declarations.yaml_positions import format_value
from etl_assets.model.errors import DeclarationError, Problem, SettingsError


@dataclass(frozen=True, slots=True)
class Keys:
    """The settings that a file may hold, by how they are written there."""

    all: Collection[str]
    flags: Collection[str]
    paths: Collection[str]
    secrets: Collection[str]


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a file says, without what is wrong in it; relative paths start at its folder."""

    tree: yaml_positions.YamlDocument
    values: dict[str, str | bool]
    broken: list[RuleViolation]

    def located(self, more: Iterable[RuleViolation] = ()) -> list[Problem]:
        """What is wrong in the file, and `more` of it, in the order of its lines."""
        return self.tree.problems([*self.broken, *more])


def read(file: Path, keys: Keys) -> SettingsFile:
    """The file's settings; SettingsError where it cannot be read as YAML at all."""
    try:
        tree = yaml_positions.read_yaml(file)
    except OSError as error:
        raise SettingsError(
            f"{file}: expected a YAML file of settings, found: {error.strerror}"
        ) from error
    except DeclarationError as error:
        raise SettingsError(str(error)) from error
    data = {} if tree.data is None else tree.data
    if not isinstance(data, dict):
        not_one = RuleViolation((), "settings, one `key: value` a line", format_value(data))
        return SettingsFile(tree, {}, [*tree.violations, not_one])
    broken = [*tree.violations, *_broken(data, keys)]
    wrong = {fault.path[0] for fault in broken if fault.path}
    values = {key: _rooted(file, key, data[key], keys) for key in data if key not in wrong}
    return SettingsFile(tree, values, broken)


def _broken(data: dict[str, object], keys: Keys) -> Iterator[RuleViolation]:
    for key, value in data.items():
        expected = "true or false" if key in keys.flags else "a text"
        if key not in keys.all:
            wanted = f"one of {', '.join(keys.all)}{suggest(key, keys.all)}"
            yield RuleViolation((key,), wanted, "an unknown key")
        elif not isinstance(value, bool if key in keys.flags else str):
            found = (
                "another value"
                if key in keys.secrets and value is not None
                else format_value(value)
            )
            yield RuleViolation((key,), expected, found)
        elif isinstance(value, str) and not value.strip():
            yield RuleViolation((key,), "a value, or no such line", "an empty text")


def _rooted(file: Path, key: str, value: object, keys: Keys) -> str | bool:
    if isinstance(value, bool):
        return value
    text = str(value)
    is_path = key in keys.paths and "://" not in text
    return str((file.parent / Path(text).expanduser()).resolve()) if is_path else text
