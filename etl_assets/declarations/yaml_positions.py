"""Reads YAML as plain data that knows the line of each field, and words what is wrong with it.

Only the part of YAML that a declaration needs is accepted: no anchors, aliases, tags, merge keys,
repeated keys or second documents. The rules between fields are `etl_assets.declarations.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from etl_assets.declarations.declaration import Declaration
from etl_assets.declarations.rules import FieldPath, RuleViolation, suggest
from etl_assets.model.errors import DeclarationError, Problem

# The C parser is much faster, but PyYAML may be built without it.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp")
)
MAX_DEPTH = 20
MAX_SHOWN_CHARACTERS = 60

# What is expected, by the type of pydantic's error (https://docs.pydantic.dev/latest/errors/validation_errors/).
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
MISSING_VALUE_ERRORS = frozenset({"missing", "union_tag_not_found"})


class Place(NamedTuple):
    """Where a field is written."""

    file: Path
    line: int
    override: str = ""
    """Of a value that replaces a declared one: its key in the settings file."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def locate(self, path: FieldPath) -> str:
        """Returns `file:line: field`, with the override that the field is in."""
        field = format_path(path)
        if not self.override or self.override.endswith(f".{field}"):
            return f"{self}: {self.override or field}"
        return f"{self}: {self.override}: {field}"


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The data of one file, the place of each field, and the values that are not plain data."""

    file: Path
    data: object
    places: dict[FieldPath, Place]
    """A field that another file overrides has its place there."""
    violations: list[RuleViolation]

    def place_of(self, path: FieldPath) -> Place:
        """Returns the place of the field, or of the nearest parent if the field is missing."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.file, 1))

    def problems(self, violations: Iterable[RuleViolation]) -> list[Problem]:
        """Returns the violations as `file:line: field`, in the order of the lines."""
        problems = []
        for each in sorted(violations, key=lambda violation: self.place_of(violation.path)):
            where = self.place_of(each.path).locate(each.path)
            problems.append(Problem(where, each.expected, each.actual))
        return problems


def read_yaml(file: Path) -> YamlDocument:
    """Returns the document; raises DeclarationError for invalid or unsupported YAML."""
    try:
        text = file.read_text(encoding="utf-8")
        if problems := _unsupported_syntax(file, text):
            raise DeclarationError(problems)
        node = yaml.compose(text, Loader)
    except UnicodeDecodeError as error:
        raise DeclarationError([_problem(file, 1, "UTF-8 text", str(error))]) from error
    except yaml.YAMLError as error:
        mark, message = None, str(error)[:80]
        if isinstance(error, yaml.MarkedYAMLError):
            mark, message = error.problem_mark or error.context_mark, str(error.problem)
        line = mark.line + 1 if mark else 1
        problem = _problem(file, line, "well-formed YAML", f"an error: {message}")
        raise DeclarationError([problem]) from error
    converter = _Converter()
    data = None if node is None else converter.value(node, ())
    places = {path: Place(file, line) for path, line in converter.lines.items()}
    return YamlDocument(file, data, places, converter.violations)


def validation_violations(
    error: ValidationError, model: type[Declaration], document: YamlDocument
) -> Iterator[RuleViolation]:
    """Yields one violation per field; for a union, every branch is named as expected."""
    expectations: dict[tuple[FieldPath, str], list[str]] = {}
    for detail in error.errors(include_url=False):
        expected, actual = _describe(detail, model)
        expectations.setdefault((_field_path(detail, document), actual), []).append(expected)
    for (path, actual), branches in expectations.items():
        yield RuleViolation(path, " or ".join(branches), actual)


def implied_key_violations(
    model: type[Declaration], document: YamlDocument
) -> Iterator[RuleViolation]:
    """Yields the keys that must not be written, because the path of the file implies them."""
    for name, info in model.model_fields.items():
        if info.exclude and isinstance(document.data, dict) and name in document.data:
            expected = "no such key, as the folder and file name imply it"
            yield RuleViolation((name,), expected, format_value(document.data[name]))


def format_path(path: FieldPath) -> str:
    """Returns a path in the usual notation: `contract.columns[2].unit`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "document"


def format_value(value: object) -> str:
    """Returns a value as it looks in YAML, shortened; of a mapping or list only its kind."""
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    is_short = len(text) <= MAX_SHOWN_CHARACTERS
    return text if is_short else f"{text[:MAX_SHOWN_CHARACTERS]}..."


def _problem(file: Path, line: int, expected: str, actual: str) -> Problem:
    return Problem(f"{file}:{line}: document", expected, actual)


def _unsupported_syntax(file: Path, text: str) -> list[Problem]:
    """Returns anchors, aliases, tags and deep nesting.

    They are searched in the events of the parser, before `yaml.compose` resolves aliases and
    recurses into collections, so that neither can exhaust memory or the stack.
    """
    problems: list[Problem] = []
    depth = 0
    for event in yaml.parse(text, Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return [_problem(file, line, f"at most {MAX_DEPTH} levels", "more")]
        if isinstance(event, yaml.AliasEvent):
            problems.append(_problem(file, line, "no alias", f"*{event.anchor}"))
        elif isinstance(event, yaml.NodeEvent) and event.anchor:
            problems.append(_problem(file, line, "no anchor", f"&{event.anchor}"))
        if (tag := getattr(event, "tag", None)) is not None:
            problems.append(_problem(file, line, "no tag", str(tag)))
    return problems


@dataclass(slots=True)
class _Converter:
    """Converts YAML nodes into data and records the line of each field."""

    lines: dict[FieldPath, int] = field(default_factory=dict)
    violations: list[RuleViolation] = field(default_factory=list)

    def value(self, node: yaml.Node, path: FieldPath) -> object:
        # A field already has the line of its key, which may be above the line of its value.
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: FieldPath) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            # Take the key as written: YAML 1.1 reads keys such as `on` and `no` as booleans.
            key = str(key_node.value)[:MAX_SHOWN_CHARACTERS]
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in PLAIN_TAGS:
                self.violations.append(RuleViolation(path, "a plain key", repr(key)))
            elif key in data:
                actual = f"it again in line {key_node.start_mark.line + 1}"
                self.violations.append(RuleViolation((*path, key), "each key once", actual))
            else:
                self.lines[*path, key] = key_node.start_mark.line + 1
                data[key] = self.value(value_node, (*path, key))
        return data

    def _scalar(self, node: yaml.Node, path: FieldPath) -> object:
        # Dates stay text: the models decide what a value means.
        if node.tag.endswith((":str", ":timestamp")):
            return node.value
        try:
            return _SCALARS.construct_object(node)
        except (ValueError, yaml.YAMLError):  # such as an integer of more than 4,300 digits
            text = repr(str(node.value)[:MAX_SHOWN_CHARACTERS])
            self.violations.append(RuleViolation(path, "a plain value", text))
            return None


# Only its scalar constructors are used; they do not depend on the text of the loader.
_SCALARS: Any = yaml.SafeLoader("")


def _field_path(detail: ErrorDetails, document: YamlDocument) -> FieldPath:
    """Returns the path as written: pydantic's location also has the names of union branches."""
    # Whatever is not a field of the document is the name of a branch.
    path: FieldPath = ()
    for part in detail["loc"]:
        if (*path, part) in document.places:
            path = (*path, part)
    if detail["type"] == "missing":
        return (*path, detail["loc"][-1])
    if detail["type"].startswith("union_tag"):
        return (*path, detail["ctx"]["discriminator"].strip("'"))
    return path


def _describe(detail: ErrorDetails, model: type[Declaration]) -> tuple[str, str]:
    """Returns what was expected, and what the field has instead."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _describe_unknown_key(detail, model)
    if kind == "value_error":
        # Our own validators raise "expected x, found y".
        expected, _, actual = str(context["error"]).partition(", found ")
        return expected.removeprefix("expected "), actual or format_value(detail["input"])
    value = context.get("tag", detail["input"])
    message = detail["msg"].removeprefix("Input should be ")
    expected = EXPECTED.get(kind, "{message}").format(message=message, **context)
    if kind in {"literal_error", "union_tag_invalid"}:
        # pydantic lists the choices in quotes: 'a', 'b' or 'c'.
        choices = expected.split("'")[1::2]
        expected += suggest(value, choices)
    return expected, "nothing" if kind in MISSING_VALUE_ERRORS else format_value(value)


def _describe_unknown_key(detail: ErrorDetails, model: type[Declaration]) -> tuple[str, str]:
    keys = _declared_keys(model, detail["loc"][:-1])
    key = str(detail["loc"][-1])
    if (new_name := RENAMED_KEYS.get(key)) in keys:
        return f"{new_name}, the new name of this key", key
    return f"one of {', '.join(keys)}{suggest(key, keys)}", "an unknown key"


def _declared_keys(model: type[Declaration], location: tuple[str | int, ...]) -> list[str]:
    """Returns the keys that the mapping at a location of pydantic's may have."""
    schema = model.file_schema()
    node = schema
    for part in location:
        node = _subschema(node, part)
        while reference := node.get("$ref"):
            node = schema["$defs"][reference.rpartition("/")[2]]
    return list(node.get("properties", {}))


def _subschema(node: dict[str, Any], part: str | int) -> dict[str, Any]:
    """Returns the schema one step below: of an item, of a union's branch, or of a property."""
    if isinstance(part, int):
        below = node["items"]
    elif "discriminator" in node:
        below = {"$ref": node["discriminator"]["mapping"][part]}
    else:
        below = node["properties"][part]
    # An optional property is `anyOf` its schema and null.
    branches = [branch for branch in below.get("anyOf", ()) if branch.get("type") != "null"]
    inner: dict[str, Any] = branches[0] if branches else below
    return inner
