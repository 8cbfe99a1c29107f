"""Rules between the fields of a declaration, such as that a key column is a declared column.

They read the data as it was written in YAML, not the validated models: an error in one field must
not hide the errors in others. The type of each field is checked by the models in `source` and
`domain`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args
from urllib.parse import urlsplit

from etl_assets.declarations.contract import NUMERIC, ColumnType
from etl_assets.declarations.json_path import is_absolute, parse_path, resolve_origin

Data = Mapping[str, Any]
FieldPath = tuple[str | int, ...]

COLUMN_TYPES: tuple[str, ...] = get_args(ColumnType)
TEXT_TYPES = ("string", "list[string]")
NUMERIC_TYPES = tuple(sorted(NUMERIC))
TIME_TYPES = ("date", "timestamp")
ORDERED_TYPES = (*NUMERIC_TYPES, *TIME_TYPES, "string")
# The column types on which each optional check of a column makes sense.
TYPES_OF_CHECK = {
    "pattern": TEXT_TYPES,
    "values": TEXT_TYPES,
    "known_values": TEXT_TYPES,
    "case": ("string",),
    "minimum": NUMERIC_TYPES,
    "maximum": NUMERIC_TYPES,
}
FORMAT_WITH_CELLS = "excel"
CELL_OPTIONS = ("merged", "faulty_cells")
DISCARDING_OPTIONS = ("faulty_cells", "invalid_values")
MONTHS = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Of a cron line: the lowest and the highest number of each field, and the names of its numbers.
CRON_FIELDS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "minute": (0, 59, ()),
    "hour": (0, 23, ()),
    "day of month": (1, 31, ()),
    "month": (1, 12, MONTHS),
    "day of week": (0, 7, WEEKDAYS),
}
CRON_ITEM = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/0*[1-9]\d*)?")
# Options of documents that are still read in this version, and what replaces them.
DEPRECATED_OPTIONS = {"purl_distro": "purl_qualifiers: {{distro: {value}}}"}
JINJA = re.compile(r"\{\{|\{%|\{#")


@dataclass(frozen=True, slots=True)
class RuleViolation:
    """One field that breaks a rule."""

    path: FieldPath
    expected: str
    actual: str


def suggest(name: object, choices: Iterable[str]) -> str:
    """Returns `, perhaps 'x'` with the most similar choice, or an empty string."""
    matches = get_close_matches(str(name), list(choices), n=1, cutoff=0.6)
    return f", perhaps {matches[0]!r}" if matches else ""


def template_violations(data: object, path: FieldPath = ()) -> Iterator[RuleViolation]:
    """Yields every text with Jinja markers: dbt renders the descriptions of its sources."""
    if isinstance(data, str) and (marker := JINJA.search(data)):
        yield RuleViolation(path, "plain text without template markers", marker.group())
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from template_violations(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from template_violations(value, (*path, index))


def source_violations(source: Data) -> Iterator[RuleViolation]:
    """Yields every field of a source that contradicts another field or cannot be used."""
    contract = _mapping(source, "contract")
    columns = _mappings(contract, "columns")
    yield from _repeated_names(contract, "columns", "name", parent=("contract",))
    yield from _unknown_columns(source, columns)
    for index, column in columns:
        yield from _column_violations(("contract", "columns", index), column)
    for index, rule in _mappings(contract, "rules"):
        path = ("contract", "rules", index)
        if not rule.get("require") and not rule.get("forbid"):
            yield RuleViolation(path, "columns to require or to forbid values of", "neither")
        for name, pattern in _mapping(rule, "forbid").items():
            yield from _regex_violations((*path, "forbid", name), pattern)
    yield from _duplicate_violations(contract, columns)
    yield from _cell_violations(source, columns)
    yield from _json_path_violations(source, columns)
    yield from _location_violations(source)
    yield from _file_set_violations(source)
    for_each = _mapping(source, "for_each")
    if for_each.get("pages") is not None and for_each.get("chat") is not None:
        yield RuleViolation(("for_each", "pages"), "none, because a chat has one answer", "pages")
    if source.get("enabled") is False and source.get("required") is True:
        yield RuleViolation(("enabled",), "true, because the source is required", "false")


def domain_violations(domain: Data, sources: Sequence[str]) -> Iterator[RuleViolation]:
    """Yields every field of a domain that contradicts another or cannot be used.

    `sources` are the names of the domain's sources.
    """
    if not sources:
        yield RuleViolation((), "at least one source in the same folder", "none")
    schedule = domain.get("schedule")
    if isinstance(schedule, str):
        yield from _schedule_violations(schedule)
    yield from _repeated_names(domain, "documents", "file")
    yield from _repeated_names(domain, "gate", "from")
    for index, document in _mappings(domain, "documents"):
        file = document.get("file")
        if isinstance(file, str) and _leaves_its_folder(file):
            path = ("documents", index, "file")
            yield RuleViolation(path, "a path inside the run's folder", repr(file))
    measured = []
    for index, coverage in _mappings(domain, "coverage"):
        source, name = coverage.get("source"), (coverage.get("from"), coverage.get("column"))
        if isinstance(source, str) and source not in sources:
            expected = f"a source of the domain{suggest(source, sources)}"
            yield RuleViolation(("coverage", index, "source"), expected, repr(source))
        if name in measured:
            actual = f"{name[1]!r} of {name[0]!r} a second time"
            yield RuleViolation(("coverage", index, "column"), "each column once", actual)
        measured.append(name)


def domain_deprecations(domain: Data) -> Iterator[RuleViolation]:
    """Yields every old name that this version still reads, with what replaces it."""
    for index, document in _mappings(domain, "documents"):
        for name, value in _mapping(document, "options").items():
            if replacement := DEPRECATED_OPTIONS.get(name):
                path = ("documents", index, "options", name)
                yield RuleViolation(path, replacement.format(value=value), name)


def _schedule_violations(schedule: str) -> Iterator[RuleViolation]:
    """Dagster would refuse the definitions of the domain for a line that cron does not know."""
    fields = schedule.split()
    if len(fields) != len(CRON_FIELDS):
        expected = f"a cron line of {len(CRON_FIELDS)} fields"
        yield RuleViolation(("schedule",), expected, repr(schedule))
        return
    for (name, (low, high, names)), field in zip(CRON_FIELDS.items(), fields, strict=True):
        numbers = {str(number) for number in range(low, high + 1)} | set(names)
        for item in field.lower().split(","):
            match = CRON_ITEM.fullmatch(item)
            values = (
                [value.lstrip("0") or "0" for value in match.groups() if value] if match else []
            )
            if match is None or not numbers.issuperset(values):
                expected = f"a {name} as cron writes it, from {low} to {high}"
                yield RuleViolation(("schedule",), expected, repr(item))


def _repeated_names(
    data: Data, key: str, field: str, parent: FieldPath = ()
) -> Iterator[RuleViolation]:
    seen = []
    for index, entry in _mappings(data, key):
        name = entry.get(field)
        if name is not None and name in seen:
            path = (*parent, key, index, field)
            yield RuleViolation(path, "each name once", f"{name!r} a second time")
        seen.append(name)


def _unknown_columns(source: Data, columns: list[tuple[int, Data]]) -> Iterator[RuleViolation]:
    types = {str(column.get("name")): column.get("type") for _, column in columns}
    for path, name in _column_references(source):
        if isinstance(name, str) and name not in types:
            expected = f"a column of the contract{suggest(name, types)}"
            yield RuleViolation(path, expected, repr(name))
    content = _mapping(source, "freshness").get("content_column")
    if isinstance(content, str) and content in types and types[content] not in TIME_TYPES:
        expected = f"a column of type {' or '.join(TIME_TYPES)}"
        actual = f"{types[content]} {content!r}"
        yield RuleViolation(("freshness", "content_column"), expected, actual)


def _column_references(source: Data) -> Iterator[tuple[FieldPath, object]]:
    """Yields every place of the declaration that names a column."""
    contract = _mapping(source, "contract")
    for field in ("key", "record_key", "reject_together"):
        for index, name in enumerate(_list(contract, field)):
            yield ("contract", field, index), name
    yield from _rule_references(contract)
    if (content := _mapping(source, "freshness").get("content_column")) is not None:
        yield ("freshness", "content_column"), content
    if (newest_by := contract.get("newest_by")) is not None:
        yield ("contract", "newest_by"), newest_by
    for row_path in _row_paths(source):
        if isinstance(row_path, str):
            for name in re.findall(r"\{(.*?)\}", row_path):
                yield ("format", "rows"), name


def _rule_references(contract: Data) -> Iterator[tuple[FieldPath, object]]:
    for index, rule in _mappings(contract, "rules"):
        path = ("contract", "rules", index)
        for position, name in enumerate(_list(rule, "require")):
            yield (*path, "require", position), name
        for field in ("when", "forbid"):
            for name in _mapping(rule, field):
                yield (*path, field, name), name


def _regex_violations(path: FieldPath, pattern: object) -> Iterator[RuleViolation]:
    if isinstance(pattern, str) and (error := _regex_error(pattern)):
        yield RuleViolation(path, "a regular expression", f"{pattern!r} ({error})")


def _column_violations(path: FieldPath, column: Data) -> Iterator[RuleViolation]:
    kind, pattern = column.get("type"), column.get("pattern")
    yield from _regex_violations((*path, "pattern"), pattern)
    # A column of an unknown type is reported by the model.
    for check, types in TYPES_OF_CHECK.items():
        if column.get(check) is not None and kind in COLUMN_TYPES and kind not in types:
            expected = f"{check} only on columns of type {', '.join(types)}"
            yield RuleViolation((*path, check), expected, f"it on a column of type {kind}")
    low, high = column.get("minimum"), column.get("maximum")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        yield RuleViolation((*path, "minimum"), f"no more than the maximum, {high}", str(low))


def _duplicate_violations(
    contract: Data, columns: list[tuple[int, Data]]
) -> Iterator[RuleViolation]:
    keeps_newest = contract.get("duplicates") == "keep_newest"
    newest_by = contract.get("newest_by")
    path = ("contract", "newest_by")
    if keeps_newest and newest_by is None:
        yield RuleViolation(("contract", "duplicates"), "newest_by with keep_newest", "none")
    if newest_by is not None and not keeps_newest:
        yield RuleViolation(path, "newest_by only with duplicates: keep_newest", repr(newest_by))
    for _, column in columns:
        kind = column.get("type")
        if column.get("name") == newest_by and kind in COLUMN_TYPES and kind not in ORDERED_TYPES:
            expected = f"a column of type {', '.join(ORDERED_TYPES)}"
            yield RuleViolation(path, expected, f"{kind} {newest_by!r}")


def _cell_violations(source: Data, columns: list[tuple[int, Data]]) -> Iterator[RuleViolation]:
    """Options for cells are only for workbooks, and nothing may turn a part of a key into null."""
    form = _mapping(source, "format").get("name")
    has_cells = form == FORMAT_WITH_CELLS or not isinstance(form, str)
    key = _list(_mapping(source, "contract"), "key")
    for index, column in columns:
        path = ("contract", "columns", index)
        for option in CELL_OPTIONS:
            if option in column and not has_cells:
                expected = f"{option} only in a source of the format {FORMAT_WITH_CELLS}"
                yield RuleViolation((*path, option), expected, f"it in one of the format {form}")
        is_needed = column.get("required") is True or column.get("name") in key
        for option in DISCARDING_OPTIONS if is_needed else ():
            if column.get(option) == "discard_value":
                expected = "discard_row, because the column is required or part of the key"
                yield RuleViolation((*path, option), expected, "'discard_value'")


def _json_path_violations(source: Data, columns: list[tuple[int, Data]]) -> Iterator[RuleViolation]:
    row_paths = _row_paths(source)
    if not all(isinstance(row_path, str) for row_path in row_paths):
        return
    if not row_paths:
        yield RuleViolation(("format", "rows"), "at least one path", "none")
    is_array = _mapping(source, "format").get("name") == "json_array"
    for row_path in row_paths:
        if is_array and row_path and not row_path.startswith("[]"):
            yield RuleViolation(("format", "rows"), "a path that begins with []", repr(row_path))
    parsed_paths = [parse_path(row_path) for row_path in row_paths]
    for index, column in columns:
        origin = column.get("from")
        if not isinstance(origin, str) or not is_absolute(origin):
            continue
        if not any(resolve_origin(origin, steps) for steps in parsed_paths):
            expected = f"a field of a record on the path {' or '.join(row_paths) or '[]'}"
            yield RuleViolation(("contract", "columns", index, "from"), expected, repr(origin))


def _row_paths(source: Data) -> list[Any]:
    rows = _mapping(source, "format").get("rows", "")
    return rows if isinstance(rows, list) else [rows]


def _location_violations(source: Data) -> Iterator[RuleViolation]:
    location = _mapping(source, "location")
    for_each = source.get("for_each") is not None
    is_partitioned = source.get("partitions") is not None
    if for_each and not isinstance(location.get("url"), str):
        expected = "a url, because the requests come from a table"
        yield RuleViolation(("location",), expected, "none")
    if for_each and is_partitioned:
        expected = "none, because the requests come from a table"
        yield RuleViolation(("partitions",), expected, "partitions")
    if location.get("address_from") is not None:
        yield from _address_from_violations(location, for_each=for_each)
    # Templates of `for_each` have the columns of a row as placeholders; `names` checks those.
    addresses: dict[FieldPath, object] = {
        ("location", "url"): location.get("url"),
        ("location", "path"): location.get("path"),
        ("location", "digest", "url"): _mapping(location, "digest").get("url"),
        ("location", "address_from", "url"): _mapping(location, "address_from").get("url"),
    }
    for path, text in addresses.items():
        if not isinstance(text, str):
            continue
        if not for_each:
            yield from _placeholder_violations(path, text, is_partitioned=is_partitioned)
        if path[-1] == "url":
            yield from _url_violations(path, text, location)
        elif _leaves_its_folder(text):
            yield RuleViolation(path, "a relative path inside the folder", repr(text))


def _address_from_violations(location: Data, *, for_each: bool) -> Iterator[RuleViolation]:
    """`address_from` gives the address of one file, whose `url` names it in records."""
    path = ("location", "address_from")
    if location.get("url") is None:
        yield RuleViolation(path, "a url too, as the file's name", "none")
    if for_each:
        yield RuleViolation(path, "none, because the requests come from a table", "address_from")


def _placeholder_violations(
    path: FieldPath, text: str, *, is_partitioned: bool
) -> Iterator[RuleViolation]:
    names = set(re.findall(r"\{(.*?)\}", text))
    for name in sorted(names - {"partition"}):
        yield RuleViolation(path, "no placeholder except {partition}", f"{{{name}}}")
    if is_partitioned and "partition" not in names:
        yield RuleViolation(path, "{partition} in it, as partitions are declared", repr(text))
    if not is_partitioned and "partition" in names:
        yield RuleViolation(path, "no {partition}, as no partitions are declared", repr(text))


def _url_violations(path: FieldPath, text: str, location: Data) -> Iterator[RuleViolation]:
    try:
        parts = urlsplit(text)
        is_http = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.fragment
        is_http = is_http and parts.port != 0
    except ValueError:  # such as an opening bracket without an IPv6 address, or port 99999
        is_http = False
    if not is_http:
        yield RuleViolation(path, "a URL, http://host/... or https://host/...", repr(text))
    elif parts.username or parts.password:
        expected = "a URL without credentials; name an environment variable instead"
        yield RuleViolation(path, expected, "credentials in it")
    # Over plain http, everybody on the way can read a secret; a private host is the exception.
    is_open = text.startswith("http://") and location.get("private") is not True
    if is_open and _mapping(location, "credentials"):
        yield RuleViolation(path, "https, because credentials are sent", repr(text))


def _file_set_violations(source: Data) -> Iterator[RuleViolation]:
    """The files of a set are listed from one folder, which only a path can name."""
    partitions, location = _mapping(source, "partitions"), _mapping(source, "location")
    if partitions.get("by") != "file":
        return
    if location.get("url") is not None:
        expected = "a path, because the files are listed from a folder"
        yield RuleViolation(("location", "url"), expected, "a URL")
    path = location.get("path")
    if isinstance(path, str):
        file_name = path.rpartition("/")[2]
        if not path.count("{partition}") == file_name.count("{partition}") == 1:
            expected = "{partition} once, in its last part"
            yield RuleViolation(("location", "path"), expected, repr(path))
    names = partitions.get("names")
    if isinstance(names, str) and (error := _regex_error(names)):
        actual = f"{names!r} ({error})"
        yield RuleViolation(("partitions", "names"), "a regular expression", actual)


def _regex_error(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:  # deep nesting, huge repetitions
        return str(error)
    return None


def _leaves_its_folder(text: str) -> bool:
    parts = re.split(r"[/\\]", text)
    # An empty first part is an absolute path, an empty last one a folder, a colon a drive or URL.
    return parts[0] == "" or parts[-1] == "" or ".." in parts or ":" in parts[0]


# The data is not validated yet: a field of another type than declared counts as empty here.


def _mapping(data: Data, key: str) -> Data:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(data: Data, key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []


def _mappings(data: Data, key: str) -> list[tuple[int, Data]]:
    return [(i, entry) for i, entry in enumerate(_list(data, key)) if isinstance(entry, Mapping)]
