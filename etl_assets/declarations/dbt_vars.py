"""The vars that the SQL of a domain reads, and whether a declared value is of their kind.

The default in the SQL says the kind: `var('site_changes', 500) | int` would read `many` as 0.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from etl_assets.declarations.rules import Data, RuleViolation, suggest
from etl_assets.declarations.yaml_positions import format_value

FOLDERS = ("models", "macros", "tests")
VAR = re.compile(r"""\bvar\(\s*\\?['"](?P<name>\w+)\\?['"]\s*(?:,\s*(?P<default>[^()]*?)\s*)?\)""")
# A run gives them their values.
RESERVED = frozenset({"domain", "home", "warehouse", "tables", "inputs", "memory_limit"})


def find_vars(dbt_dir: Path, domain: str) -> dict[str, list[object]]:
    """Returns the vars that the SQL of a domain, or the SQL of all domains, reads.

    For each the defaults there, as far as they are literals.
    """
    found: dict[str, list[object]] = {}
    for folder in (dbt_dir / name / owner for name in FOLDERS for owner in ("shared", domain)):
        for file in sorted(path for path in folder.rglob("*") if path.suffix in {".sql", ".yml"}):
            for match in VAR.finditer(file.read_text(encoding="utf-8", errors="replace")):
                defaults = found.setdefault(match["name"], [])
                if match["default"]:
                    defaults += _read_literal(match["default"])
    return {name: found[name] for name in sorted(found.keys() - RESERVED)}


def _read_literal(text: str) -> list[object]:
    try:
        return [ast.literal_eval(text)]
    except (ValueError, SyntaxError):  # an expression
        return []


def var_violations(domain: Data, defaults: Mapping[str, list[object]]) -> Iterator[RuleViolation]:
    """Yields each var of a domain that no SQL reads, or that is not of the kind of its default."""
    declared = domain.get("vars")
    if not isinstance(declared, Mapping):
        return
    for name, value in declared.items():
        path = ("vars", name)
        if name not in defaults:
            names = ", ".join(defaults) or "none"
            yield RuleViolation(
                path, f"a var that the SQL reads: {names}{suggest(name, defaults)}", "another"
            )
            continue
        for default in defaults[name][:1]:
            expected = _describe_kind(default)
            if not _is_like(value, default):
                yield RuleViolation(
                    path, f"{expected}, as its default {default!r}", format_value(value)
                )


def _describe_kind(default: object) -> str:
    if isinstance(default, list):
        return "a list of texts with at least one"
    if isinstance(default, str):
        return "text"
    return "a whole number not below 0" if isinstance(default, int) else "a number not below 0"


def _is_like(value: object, default: object) -> bool:
    if isinstance(default, list):
        return isinstance(value, list) and bool(value)
    if isinstance(default, str):
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value >= 0 and isinstance(value, int | type(default))
