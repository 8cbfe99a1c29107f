"""YAML text as plain data that remembers the line of every field.

Only the part of YAML that a declaration needs is read: no anchors, aliases, tags, merge keys or
second documents, and no key twice. What the data must say is `etl_assets.declarations.load`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from etl_assets.declarations.rules import FieldPath, RuleViolation
from etl_assets.model.errors import DeclarationError, Problem

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp")
)
MAX_DEPTH = 20
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Tree:
    """One file's data, the line on which each field stands, and what could not become data."""

    file: Path
    data: object
    lines: dict[FieldPath, int]
    faults: list[RuleViolation]

    def line(self, path: FieldPath) -> int:
        """The field's line; the nearest parent's where the field is missing."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def located(self, broken: Iterable[RuleViolation]) -> list[Problem]:
        """The faults as `file:line: field`, in the order of the file."""
        ordered = sorted(broken, key=lambda one: self.line(one.path))
        return [
            Problem(
                f"{self.file}:{self.line(one.path)}: {dotted(one.path)}", one.expected, one.found
            )
            for one in ordered
        ]


def dotted(path: FieldPath) -> str:
    """A path as a person writes it: `contract.columns[2].unit`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "document"


def read(file: Path) -> Tree:
    """The file's tree; raises DeclarationError where it is not the YAML that declarations are."""
    try:
        text = file.read_text(encoding="utf-8")
        if problems := _forbidden_events(file, text):
            raise DeclarationError(problems)
        node = yaml.compose(text, Loader)
    except UnicodeDecodeError as error:
        raise DeclarationError([_problem(file, 1, "UTF-8 text", str(error))]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DeclarationError(
            [_problem(file, line, "well-formed YAML", f"a fault: {error.problem}")]
        ) from error
    except yaml.YAMLError as error:
        raise DeclarationError(
            [_problem(file, 1, "well-formed YAML", f"a fault: {error!s:.80}")]
        ) from error
    walk = _Walk()
    data = None if node is None else walk.value(node, ())
    return Tree(file, data, walk.lines, walk.faults)


def _problem(file: Path, line: int, expected: str, found: str) -> Problem:
    return Problem(f"{file}:{line}: document", expected, found)


def _forbidden_events(file: Path, text: str) -> list[Problem]:
    """Anchors, aliases and tags; and a nesting so deep that composing it would not end well."""
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
class _Walk:
    """Turns nodes into data, and keeps lines and faults on the way."""

    lines: dict[FieldPath, int] = field(default_factory=dict)
    faults: list[RuleViolation] = field(default_factory=list)

    def value(self, node: yaml.Node, path: FieldPath) -> object:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: FieldPath) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            # A key is taken as written: `on` and `no` are booleans to YAML 1.1 alone.
            key = str(key_node.value)[:SHOWN_CHARACTERS]
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in PLAIN_TAGS:
                self.faults.append(RuleViolation(path, "a plain key", repr(key)))
            elif key in data:
                line = key_node.start_mark.line + 1
                self.faults.append(
                    RuleViolation((*path, key), "each key once", f"it again in line {line}")
                )
            else:
                self.lines[*path, key] = key_node.start_mark.line + 1
                data[key] = self.value(value_node, (*path, key))
        return data

    def _scalar(self, node: yaml.Node, path: FieldPath) -> object:
        if node.tag.endswith((":str", ":timestamp")):
            return node.value
        try:
            return _SCALARS.construct_object(node)
        except (ValueError, yaml.YAMLError):
            shown = repr(str(node.value)[:SHOWN_CHARACTERS])
            self.faults.append(RuleViolation(path, "a plain value", shown))
            return None


_SCALARS: Any = yaml.SafeLoader("")
