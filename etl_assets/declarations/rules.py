"""What must hold between the fields of a declaration that stand in different places.

The rules work on plain data as it was written, so that a fault in one field hides no fault in
another. The shape of each field alone is `etl_assets.declarations.source`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args
from urllib.parse import urlsplit

from etl_assets.declarations.json_path import begins_at_the_top, origin_along, parse_path
from etl_assets.declarations.source import NUMERIC, ColumnType

Data = Mapping[str, Any]
FieldPath = tuple[str | int, ...]

TYPES: tuple[str, ...] = get_args(ColumnType)
TEXT = ("string", "list[string]")
NUMBERS = tuple(sorted(NUMERIC))
BOUNDS = {
    "pattern": TEXT,
    "values": TEXT,
    "known_values": TEXT,
    "case": ("string",),
    "minimum": NUMBERS,
    "maximum": NUMBERS,
}
ORDERED = (*NUMBERS, "date", "timestamp", "string")
DATED = ("date", "timestamp")
CRON_FIELDS = 5
TEMPLATE = re.compile(r"\{\{|\{%|\{#")


@dataclass(frozen=True, slots=True)
class RuleViolation:
    """One field that breaks a rule."""

    path: FieldPath
    expected: str
    found: str


def templates(data: object, path: FieldPath = ()) -> Iterator[RuleViolation]:
    """Every text with the marks of a template: dbt would run what a description says."""
    if isinstance(data, str) and (mark := TEMPLATE.search(data)):
        yield RuleViolation(path, "plain text, for no template is run", mark.group())
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from templates(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from templates(value, (*path, index))


def source_violations(source: Data) -> Iterator[RuleViolation]:
    """Every field of a source's declaration that contradicts another field or cannot be used."""
    contract = _mapping(source, "contract")
    columns = _mappings(contract, "columns")
    yield from _named_twice(contract, "columns", "name", above=("contract",))
    yield from _names_that_are_no_column(source, columns)
    for index, column in columns:
        yield from _broken_in_column(("contract", "columns", index), column)
    yield from _broken_in_duplicates(contract, columns)
    yield from _broken_in_paths(source, columns)
    yield from _broken_in_location(source)
    yield from _broken_in_file_set(source)
    if source.get("enabled") is False and source.get("required") is True:
        yield RuleViolation(("enabled",), "true, as the source is required", "false")


def domain_violations(domain: Data, sources: int) -> Iterator[RuleViolation]:
    """Every field of a domain's declaration that contradicts another; it has so many `sources`."""
    if not sources:
        yield RuleViolation((), "at least one source beside it", "none")
    schedule = domain.get("schedule")
    if isinstance(schedule, str) and len(schedule.split()) != CRON_FIELDS:
        yield RuleViolation(("schedule",), f"a cron line of {CRON_FIELDS} fields", repr(schedule))
    yield from _named_twice(domain, "documents", "file")
    yield from _named_twice(domain, "gate", "from")
    for index, document in _mappings(domain, "documents"):
        file = document.get("file")
        if isinstance(file, str) and _leaves_its_folder(file):
            yield RuleViolation(
                ("documents", index, "file"), "a path inside the run's folder", repr(file)
            )


def nearest(word: object, known: Iterable[str]) -> str:
    """`, perhaps 'x'` where a known word is near, else nothing."""
    near = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f", perhaps {near[0]!r}" if near else ""


def _named_twice(
    data: Data, key: str, field: str, above: FieldPath = ()
) -> Iterator[RuleViolation]:
    seen = []
    for index, entry in _mappings(data, key):
        name = entry.get(field)
        if name is not None and name in seen:
            yield RuleViolation((*above, key, index, field), "each once", f"{name!r} a second time")
        seen.append(name)


def _names_that_are_no_column(
    source: Data, columns: list[tuple[int, Data]]
) -> Iterator[RuleViolation]:
    types = {str(column.get("name")): column.get("type") for _, column in columns}
    for path, name in _column_references(source):
        if isinstance(name, str) and name not in types:
            yield RuleViolation(path, f"a column of the contract{nearest(name, types)}", repr(name))
    content = _mapping(source, "freshness").get("content_column")
    if isinstance(content, str) and types.get(content, DATED[0]) not in DATED:
        path = ("freshness", "content_column")
        yield RuleViolation(
            path, f"a column of type {' or '.join(DATED)}", f"{types[content]} {content!r}"
        )


def _column_references(source: Data) -> Iterator[tuple[FieldPath, object]]:
    contract = _mapping(source, "contract")
    for index, name in enumerate(_list(contract, "key")):
        yield ("contract", "key", index), name
    for index, rule in _mappings(contract, "rules"):
        path = ("contract", "rules", index)
        for name in _mapping(rule, "when"):
            yield (*path, "when", name), name
        for place, name in enumerate(_list(rule, "require")):
            yield (*path, "require", place), name
    if (content := _mapping(source, "freshness").get("content_column")) is not None:
        yield ("freshness", "content_column"), content
    if (newest_by := contract.get("newest_by")) is not None:
        yield ("contract", "newest_by"), newest_by
    rows = _mapping(source, "format").get("rows")
    paths = rows if isinstance(rows, list) else [rows]
    for name in re.findall(r"\{(.*?)\}", " ".join(p for p in paths if isinstance(p, str))):
        yield ("format", "rows"), name


def _broken_in_duplicates(
    contract: Data, columns: list[tuple[int, Data]]
) -> Iterator[RuleViolation]:
    wanted = contract.get("duplicates") == "keep_newest"
    newest_by = contract.get("newest_by")
    if wanted and newest_by is None:
        yield RuleViolation(("contract", "duplicates"), "newest_by beside keep_newest", "none")
    if newest_by is not None and not wanted:
        path = ("contract", "newest_by")
        yield RuleViolation(path, "it with duplicates: keep_newest only", repr(newest_by))
    for _, column in columns:
        kind = column.get("type")
        if column.get("name") == newest_by and kind in TYPES and kind not in ORDERED:
            path = ("contract", "newest_by")
            yield RuleViolation(
                path, f"a column of type {', '.join(ORDERED)}", f"{kind} {newest_by!r}"
            )


def _broken_in_paths(source: Data, columns: list[tuple[int, Data]]) -> Iterator[RuleViolation]:
    form = _mapping(source, "format")
    rows = form.get("rows", "")
    paths = rows if isinstance(rows, list) else [rows]
    if not all(isinstance(path, str) for path in paths):
        return
    if not paths:
        yield RuleViolation(("format", "rows"), "at least one path", "none")
    for path in paths:
        if form.get("name") == "json_array" and path and not path.startswith("[]"):
            yield RuleViolation(("format", "rows"), "a path that begins with []", repr(path))
    ways = [parse_path(path) for path in paths]
    for index, column in columns:
        origin = column.get("from")
        if not isinstance(origin, str) or not begins_at_the_top(origin):
            continue
        if not any(origin_along(origin, way) for way in ways):
            expected = f"a field of a record that {' or '.join(paths) or '[]'} passes"
            yield RuleViolation(("contract", "columns", index, "from"), expected, repr(origin))


def _broken_in_column(path: FieldPath, column: Data) -> Iterator[RuleViolation]:
    kind, pattern = column.get("type"), column.get("pattern")
    if isinstance(pattern, str) and (fault := _fault_of_pattern(pattern)):
        yield RuleViolation((*path, "pattern"), "a regular expression", f"{pattern!r} ({fault})")
    for bound, kinds in BOUNDS.items():
        if column.get(bound) is not None and kind in TYPES and kind not in kinds:
            expected = f"it on columns of type {', '.join(kinds)} only"
            yield RuleViolation((*path, bound), expected, f"a column of type {kind}")
    low, high = column.get("minimum"), column.get("maximum")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        yield RuleViolation((*path, "minimum"), f"no more than the maximum, {high}", str(low))


def _fault_of_pattern(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return None


def _broken_in_location(source: Data) -> Iterator[RuleViolation]:
    location = _mapping(source, "location")
    partitioned = source.get("partitions") is not None
    if source.get("for_each") is not None:
        if not isinstance(location.get("url"), str):
            yield RuleViolation(("location",), "a url, as requests come from a table", "none")
        if partitioned:
            yield RuleViolation(
                ("partitions",), "none, as requests come from a table", "partitions"
            )
    texts = {
        ("location", "url"): location.get("url"),
        ("location", "path"): location.get("path"),
        ("location", "digest", "url"): _mapping(location, "digest").get("url"),
        ("location", "address_from", "url"): _mapping(location, "address_from").get("url"),
    }
    if location.get("address_from") is not None:
        yield from _broken_in_address_from(source, location)
    for path, text in texts.items():
        if not isinstance(text, str):
            continue
        if source.get("for_each") is None:
            yield from _broken_in_placeholders(path, text, partitioned=partitioned)
        if path[-1] == "url":
            yield from _broken_in_url(path, text)
            yield from _broken_in_credentials(path, text, location)
        elif _leaves_its_folder(text):
            yield RuleViolation(path, "a relative path that stays inside", repr(text))


def _broken_in_address_from(source: Data, location: Data) -> Iterator[RuleViolation]:
    """`address_from` gives the address of one file, whose `url` names it in records."""
    if location.get("url") is None:
        yield RuleViolation(("location", "address_from"), "a url too, as the file's name", "none")
    if source.get("for_each") is not None:
        yield RuleViolation(
            ("location", "address_from"), "none, as requests come from a table", "address_from"
        )


def _broken_in_file_set(source: Data) -> Iterator[RuleViolation]:
    """A set of files is found in one folder, which only a path can name."""
    partitions, location = _mapping(source, "partitions"), _mapping(source, "location")
    if partitions.get("by") != "file":
        return
    if location.get("url") is not None:
        yield RuleViolation(("location", "url"), "a path, as a folder is looked into", "a URL")
    path = location.get("path")
    if isinstance(path, str) and not (
        path.count("{partition}") == path.rpartition("/")[2].count("{partition}") == 1
    ):
        yield RuleViolation(("location", "path"), "{partition} once, in its last part", repr(path))
    names = partitions.get("names")
    if isinstance(names, str) and (fault := _fault_of_pattern(names)):
        yield RuleViolation(("partitions", "names"), "a regular expression", f"{names!r} ({fault})")


def _broken_in_placeholders(
    path: FieldPath, text: str, *, partitioned: bool
) -> Iterator[RuleViolation]:
    names = set(re.findall(r"\{(.*?)\}", text))
    for name in sorted(names - {"partition"}):
        yield RuleViolation(path, "no placeholder but {partition}", f"{{{name}}}")
    if partitioned and "partition" not in names:
        yield RuleViolation(path, "{partition} in it, as partitions are declared", repr(text))
    if not partitioned and "partition" in names:
        yield RuleViolation(path, "no {partition}, as no partitions are declared", repr(text))


def _broken_in_url(path: FieldPath, text: str) -> Iterator[RuleViolation]:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.fragment
    except ValueError:
        sound = False
    if not sound:
        yield RuleViolation(path, "a URL, http://host/... or https://host/...", repr(text))
    elif parts.username or parts.password:
        yield RuleViolation(
            path, "a URL without credentials; name a variable instead", "credentials in it"
        )


def _broken_in_credentials(path: FieldPath, text: str, location: Data) -> Iterator[RuleViolation]:
    """A secret goes over an open line to nobody but a host of one's own."""
    is_open = text.startswith("http://") and location.get("private") is not True
    if _mapping(location, "credentials") and is_open:
        yield RuleViolation(path, "https, as credentials are sent there", repr(text))


def _leaves_its_folder(text: str) -> bool:
    parts = re.split(r"[/\\]", text)
    return parts[0] == "" or parts[-1] == "" or ".." in parts or ":" in parts[0]


def _mapping(data: Data, key: str) -> Data:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(data: Data, key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []


def _mappings(data: Data, key: str) -> list[tuple[int, Data]]:
    return [(i, entry) for i, entry in enumerate(_list(data, key)) if isinstance(entry, Mapping)]
