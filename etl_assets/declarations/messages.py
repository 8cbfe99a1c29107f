"""Says of a fault in a declaration where it stands, what was expected there and what was found.

Only the translation of pydantic's errors belongs here; which files are read, and the rules that
pydantic does not know, are `etl_assets.declarations.load`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.json_schema import json_schema
from etl_assets.declarations.rules import FieldPath, RuleViolation, nearest
from etl_assets.declarations.yaml_positions import Tree

EXPECTED = {
    "missing": "a value",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "union_tag_not_found": "a value",
    "finite_number": "a finite number",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} character(s)",
    "too_short": "at least {min_length} item(s)",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number not below {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number not above {le:g}",
    "literal_error": "{expected}",
    "union_tag_invalid": "one of {expected_tags}",
}
RENAMED_KEYS = {"told_by": "address_from"}
NOTHING_THERE = frozenset({"missing", "union_tag_not_found"})
SHOWN_CHARACTERS = 60


def derived_fields(model: type[Declaration], tree: Tree) -> Iterator[RuleViolation]:
    """The keys that a declaration may not give, as its folder and file already say them."""
    for name, info in model.model_fields.items():
        if info.exclude and isinstance(tree.data, dict) and name in tree.data:
            expected = "no such key, as folder and file name say it"
            yield RuleViolation((name,), expected, shown(tree.data[name]))


def faults_of(
    error: ValidationError, model: type[Declaration], tree: Tree
) -> Iterator[RuleViolation]:
    """One fault per offending field; where a value fits no branch of a union, all are expected."""
    expected: dict[tuple[FieldPath, str], list[str]] = {}
    for detail in error.errors(include_url=False):
        wanted, found = _sentence(detail, model)
        expected.setdefault((_path(detail, tree), found), []).append(wanted)
    for (path, found), wanted_ones in expected.items():
        yield RuleViolation(path, " or ".join(wanted_ones), found)


def shown(value: object) -> str:
    """A value as its writer knows it, and short."""
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _path(detail: ErrorDetails, tree: Tree) -> FieldPath:
    """The field as written: pydantic's location without the names of a union's branches."""
    path: FieldPath = ()
    for part in detail["loc"]:
        if (*path, part) in tree.lines:
            path = (*path, part)
    if detail["type"] == "missing":
        return (*path, detail["loc"][-1])
    if detail["type"].startswith("union_tag"):
        return (*path, detail["ctx"]["discriminator"].strip("'"))
    return path


def _sentence(detail: ErrorDetails, model: type[Declaration]) -> tuple[str, str]:
    """What was expected, and what was found."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(model, detail["loc"][:-1])
        key = detail["loc"][-1]
        new_name = RENAMED_KEYS.get(str(key))
        if new_name in known:
            return f"{new_name}, the new name of this key", str(key)
        return f"one of {', '.join(known)}{nearest(key, known)}", "an unknown key"
    if kind == "value_error":
        expected, _, found = str(context["error"]).partition(", found ")
        return expected.removeprefix("expected "), found or shown(detail["input"])
    given = context.get("tag", detail["input"])
    expected = EXPECTED.get(kind, "{message}")
    message = detail["msg"].removeprefix("Input should be ")
    wanted = expected.format(message=message, **context)
    if kind in {"literal_error", "union_tag_invalid"}:
        wanted += nearest(given, wanted.split("'")[1::2])
    return wanted, "nothing" if kind in NOTHING_THERE else shown(given)


def _known_keys(model: type[Declaration], location: tuple[str | int, ...]) -> list[str]:
    """The keys of the mapping at a location, as the model's JSON Schema names them."""
    schema = json_schema(model)
    node = schema
    for part in location:
        node = _step(node, part)
        while reference := node.get("$ref"):
            node = schema["$defs"][reference.rpartition("/")[2]]
    return list(node.get("properties", {}))


def _step(node: dict[str, Any], part: str | int) -> dict[str, Any]:
    """The schema one step below: of an item, a union's branch, or a property that may be null."""
    if isinstance(part, int):
        below = node["items"]
    elif "discriminator" in node:
        below = {"$ref": node["discriminator"]["mapping"][part]}
    else:
        below = node["properties"][part]
    branches = [branch for branch in below.get("anyOf", ()) if branch.get("type") != "null"]
    inner: dict[str, Any] = branches[0] if branches else below
    return inner
