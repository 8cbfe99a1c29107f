"""Explain a row of a published model, now or at an earlier moment, for `etl explain`.

Everything is read from published files and run manifests. Which columns make up the answer is
declared in `explain` of `_domain.yaml`; `publish.published_rows` queries a published file.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from difflib import get_close_matches
from itertools import permutations
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field

from etl_assets.declarations.domain import (
    BrokenDomain,
    Claims,
    Domain,
    Explain,
    GateCheck,
    Periods,
)
from etl_assets.model.display_text import MAX_NAMES, did_you_mean, list_some
from etl_assets.model.errors import DeclarationError, NotFoundError, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import SOURCE_SHA256, Record, Sha256, SourceName
from etl_assets.model.run_manifest import MARTS, RunSource
from etl_assets.publish import run_directory
from etl_assets.publish.published_rows import (
    Row,
    find_named_rows,
    find_rows,
    list_names,
    list_values,
)

MAX_SUGGESTIONS = 5
MANIFEST_FIELDS = {"source", "partition", "url", "etag", "last_modified", "fetched_at"}
RUN_REMOVED = "the run of that time was removed, and its sentence, evidence and claims with it"
FILE = "file"  # column of a claim: SHA-256 of the raw file that it was read from
SHORT_SHA256_CHARS = 12
CHARS_PER_TYPING_ERROR = 8  # of names that are suggested
SIGNIFICANT_DIGITS = 8  # locates a longitude or latitude to about a metre


class FileOrigin(Record):
    """A raw file that evidence was read from, and when and where it was downloaded."""

    sha256: Sha256
    source: SourceName | None = Field(
        default=None, description="None if no kept run lists the file"
    )
    partition: str | None = None
    url: str | None = None
    etag: str | None = None
    last_modified: AwareDatetime | None = None
    fetched_at: AwareDatetime | None = None
    path: str = Field(description="relative to ETL_HOME")
    is_stored: bool

    def lines(self) -> Iterator[str]:
        part = f"[{self.partition}]" if self.partition else ""
        yield f"file {self.sha256}"
        if self.source is None:
            yield "  no kept run lists its origin"
        else:
            yield f"  of {self.source}{part}, fetched {_format(self.fetched_at)} from {self.url}"
            yield f"  ETag {_format(self.etag)}, Last-Modified {_format(self.last_modified)}"
        yield f"  {self.path}" + ("" if self.is_stored else ", no longer stored")


class Explanation(Record):
    """The published answer for one row, with its evidence, claims and history."""

    domain: str
    key: dict[str, str]
    at: AwareDatetime = Field(description="the moment that the answer is for")
    run: str | None = Field(
        default=None, description="directory of the run that published it; None if removed"
    )
    answer: Row = Field(default={}, description="empty if nothing was published at that moment")
    details: Row = {}
    sentence: str | None = None
    flip: str | None = None
    evidence: Row = {}
    files: list[FileOrigin] = []
    claims: list[Row] = []
    history: list[Row] = []
    note: str = ""
    mirror: str = Field(default="", description="what the run read in place of the remotes")

    def lines(self) -> list[str]:
        """Return the text for a terminal."""
        title = f"{' '.join(self.key.values())} ({self.domain}, as of {_format(self.at)}"
        title += f", run {self.run})" if self.run else ")"
        origins = [line for file in self.files for line in file.lines()]
        if origins and self.mirror:
            origins.append(self.mirror)
        # The list of files above has the whole digests.
        claims = [
            claim | {FILE: (claim[FILE] or "")[:SHORT_SHA256_CHARS] or None}
            for claim in self.claims
        ]
        sections = [
            [title],
            [self.note] if self.note else [],
            _format_pairs(self.answer | self.details),
            [text for text in (self.sentence, self.flip) if text],
            _titled("Evidence", [*_format_pairs(self.evidence), *origins]),
            _titled("Claims", _format_table(claims)),
            _titled("History", self.history_lines()),
        ]
        lines: list[str] = []
        for section in filter(None, sections):
            lines += [*section, ""]
        return lines[:-1]

    def history_lines(self) -> list[str]:
        """Return the periods of the row as a table."""
        return _format_table(self.history)


class FoundRows(Record):
    """The published rows with a name that is not unique; each is explained by its key.

    Rows in a state that the gate declares as `affected` come first, in the order of these states.
    """

    domain: str
    name: str
    at: AwareDatetime
    rows: list[Row] = Field(description="key and answer of each row")
    example: str = Field(description="the arguments that explain the first row")

    def lines(self, most: int | None = MAX_NAMES) -> list[str]:
        """Return the text for a terminal: the first rows, or all, and the number of the others."""
        number = len(self.rows) if most is None else most
        table = _format_table([{**row} for row in self.rows])
        lines = [
            f"{self.name}: {len(self.rows):,} rows ({self.domain}, as of {_format(self.at)})",
            "",
            *(f"  {line}" for line in table[: 1 + number]),
        ]
        if len(self.rows) > number:
            lines.append(f"  and {len(self.rows) - number:,} more, with -v")
        return [*lines, "", f"`etl explain {self.example}` explains one of them"]


def _titled(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines)] if lines else []


def _format_pairs(cells: Mapping[str, Any]) -> list[str]:
    width = max(map(len, cells), default=0)
    return [f"{name:{width}}  {_format(value)}" for name, value in cells.items()]


def _format_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of an aligned table, without the columns that are empty in every row."""
    if not rows:
        return []
    columns = []
    for name in rows[0]:
        if any(row[name] is not None for row in rows):  # a domain may not fill every column
            cells = [name, *(_format(row[name]) for row in rows)]
            width = max(map(len, cells))
            columns.append([f"{cell:{width}}" for cell in cells])
    return ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]


def _format(value: object) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.{SIGNIFICANT_DIGITS}g}"
    if isinstance(value, list):
        return ", ".join(map(_format, value))
    return str(value)


def resolve_domain(
    home: Home,
    domains: Mapping[str, Domain],
    arguments: Sequence[str],
    broken: Mapping[str, BrokenDomain],
) -> tuple[Domain, Sequence[str]]:
    """Return the domain and the key or name that the arguments of the command name.

    The domain may be left out if only one domain has a key of that length, or only one has
    published such a row. Raises UsageError if no domain or several domains match, DeclarationError
    if the row may be one of a published domain with faults.
    """
    if arguments and arguments[0] in domains:
        return domains[arguments[0]], arguments[1:]
    if arguments and arguments[0] in broken:
        raise broken[arguments[0]].error
    declared = {name: domain.explain for name, domain in domains.items() if domain.explain}
    matches = [
        name
        for name, explained in declared.items()
        if len(explained.key) == len(arguments) or explained.named_by or len(declared) == 1
    ]
    unreadable = [name for name in broken if run_directory.published_directory(home, name)]
    if len(matches) > 1 or unreadable:
        published = [name for name in matches if run_directory.published_directory(home, name)]
        with_row = [name for name in published if _has_row(home, name, declared[name], arguments)]
        if unreadable and not with_row:
            raise _declared_with_faults([broken[name] for name in unreadable])
        matches = with_row or published
    if len(matches) != 1:
        is_empty = not any(run_directory.published_directory(home, name) for name in declared)
        hint = f"; nothing is published in {home.root}, perhaps ETL_HOME is another" * is_empty
        forms = ", or ".join(" ".join([name, *each.key]) for name, each in declared.items())
        raise UsageError(
            f"expected a domain and its key, {forms or 'none'}; found: {' '.join(arguments)}{hint}"
            + did_you_mean(" ".join(arguments[:1]), domains)
        )
    return domains[matches[0]], arguments


def _declared_with_faults(domains: Sequence[BrokenDomain]) -> DeclarationError:
    """Return the error for a row that a published domain with faults may have."""
    problems = [problem for domain in domains for problem in domain.problems]
    names = ", ".join(domain.name for domain in domains)
    return DeclarationError(
        problems,
        f"no other domain has published such a row; {names}: the set is published, but cannot be "
        "read with these faults; correct them and run the command again",
    )


def _has_row(home: Home, domain: str, declared: Explain, arguments: Sequence[str]) -> bool:
    """Return True if a row is published under that key or name."""
    file = home.latest(domain) / MARTS / f"{declared.model}.parquet"
    if len(arguments) == len(declared.key):
        # A value of its first column: the verb says which of the others is wrong.
        first = declared.key[0]
        if any(list_values(file, first, {first: value}) for value in arguments):
            return True
    name = " ".join(arguments)
    return bool(declared.named_by and find_named_rows(file, declared.named_by, name, declared.key))


def explain(
    home: Home, domain: Domain, key: Sequence[str], *, at: datetime | None = None
) -> Explanation | FoundRows:
    """Return the published answer for a key, current or as it was at a moment.

    The values of `key` may have another order than its columns. `key` may also be a name of rows:
    of several rows, each is returned with its answer. Raises UsageError if the
    domain declares no `explain` or the key has another length, and NotFoundError if no such row is
    published.
    """
    declared = _require_explain(domain, key)
    latest = run_directory.published_directory(home, domain.name)
    if latest is None:
        raise NotFoundError(f"{domain.name}: nothing is published yet; run it first")
    as_of = run_directory.read_manifest(latest).as_of
    key = _order_key(declared, key, latest / MARTS)
    rows = _find_by_name(declared, key, latest / MARTS)
    if len(rows) > 1:
        rows = _put_affected_first(domain.gate, declared.model, rows)
        first = shlex.join(str(rows[0][name]) for name in declared.key)
        name = " ".join(key)
        return FoundRows(domain=domain.name, name=name, at=as_of, rows=rows, example=first)
    values = [str(rows[0][name]) for name in declared.key] if rows else key
    row_key = dict(zip(declared.key, values, strict=True))
    moment = at or as_of
    directory = latest if at is None else _run_published_at(home, domain, at)
    # The history of the latest set has the periods of all earlier moments too.
    history = _find_history(declared.history, latest / MARTS, row_key, moment)
    base = Explanation(domain=domain.name, key=row_key, at=moment, history=history)
    if directory and (row := _find_row(declared, directory / MARTS, row_key)):
        return _add_row(base, home, domain, declared, directory, row)
    if declared.history and history:
        return _add_last_period(base, declared, declared.history, is_run_kept=directory is not None)
    raise _not_published(declared, row_key, latest / MARTS, moment)


def _require_explain(domain: Domain, key: Sequence[str]) -> Explain:
    if domain.explain is None:
        raise UsageError(f"{domain.name} declares no explain in its _domain.yaml")
    # A row may also be given by one of its names, which may have several words.
    if len(key) != len(domain.explain.key) and not (key and domain.explain.named_by):
        columns = " and ".join(domain.explain.key)
        raise UsageError(f"{domain.name}: expected {columns}, found: {' '.join(key) or 'nothing'}")
    return domain.explain


def _order_key(declared: Explain, values: Sequence[str], marts: Path) -> Sequence[str]:
    """Return the values in the order of the key's columns, if only one order is of a row.

    A row that is no longer published is found in the history. Values of no row, or of another
    number than the columns, are returned as they are.
    """
    if len(values) != len(declared.key):
        return values
    models = [declared.model, *([declared.history.model] if declared.history else [])]
    for model in models:
        file = marts / f"{model}.parquet"
        orders = [
            order
            for order in dict.fromkeys(permutations(values))
            if find_rows(file, dict(zip(declared.key, order, strict=True)), declared.key)
        ]
        if tuple(values) in orders:
            return values
        if len(orders) == 1:
            return orders[0]
    return values


def _find_by_name(declared: Explain, arguments: Sequence[str], marts: Path) -> list[Row]:
    """Return the rows, as key and answer, that have the arguments as their name.

    Returns none if the arguments are a key. Raises NotFoundError if they are neither.
    """
    file, name = marts / f"{declared.model}.parquet", " ".join(arguments)
    is_key = len(arguments) == len(declared.key)
    if not declared.named_by:
        return []
    if is_key and find_rows(file, dict(zip(declared.key, arguments, strict=True)), declared.key):
        return []
    columns = list(dict.fromkeys([*declared.key, *declared.answer]))
    rows = find_named_rows(file, declared.named_by, name, columns)
    if not rows and not is_key:
        suggestions = _suggest(name, list_names(file, declared.named_by))
        hint = suggestions or _example(declared, file)
        raise NotFoundError(f"{name!r} is not published{hint}")
    return rows


def _put_affected_first(gate: Iterable[GateCheck], model: str, rows: list[Row]) -> list[Row]:
    """Return the rows with those in an affected state first; rows of one state keep their order.

    Without a check of the gate on a state of this model that the rows have, the order is kept.
    """
    for check in gate:
        states = check.states
        if check.model == model and states and states.column in rows[0]:
            ranks = {state: rank for rank, state in enumerate(states.affected)}
            return sorted(rows, key=lambda row: ranks.get(row[states.column], len(ranks)))
    return rows


def _run_published_at(home: Home, domain: Domain, at: datetime) -> Path | None:
    """Return the directory of the run that was the published one at a moment, if it is kept."""
    for directory in run_directory.list_runs(home, domain.name):
        manifest = run_directory.read_manifest(directory)
        if manifest.published and manifest.as_of <= at:
            return directory
    return None


def _find_row(declared: Explain, marts: Path, key: Mapping[str, str]) -> Row | None:
    special = [name for name in (declared.sentence, declared.flip, declared.evidence) if name]
    columns = dict.fromkeys([*declared.key, *declared.answer, *declared.columns, *special])
    rows = find_rows(marts / f"{declared.model}.parquet", key, list(columns))
    return rows[0] if rows else None


def _add_row(
    base: Explanation, home: Home, domain: Domain, declared: Explain, directory: Path, row: Row
) -> Explanation:
    """Return the explanation with the content of the published row."""
    key = {name: str(row[name]) for name in declared.key}  # in the published spelling
    # A domain need not declare a column for evidence, sentence and flip.
    evidence: Row = row.get(declared.evidence or "") or {}
    claims = _find_claims(declared.claims, directory / MARTS, key)
    digests = [evidence.get(SOURCE_SHA256), *(claim[FILE] for claim in claims)]
    return base.model_copy(
        update={
            "key": key,
            "run": directory.name,
            "mirror": run_directory.read_manifest(directory).mirror_note,
            "answer": {name: row[name] for name in declared.answer},
            "details": {name: row[name] for name in declared.columns},
            "sentence": row.get(declared.sentence or ""),
            "flip": row.get(declared.flip or ""),
            "evidence": evidence,
            "files": list(_find_origins(home, domain, directory, filter(None, digests))),
            "claims": claims,
        }
    )


def _add_last_period(
    base: Explanation, declared: Explain, periods: Periods, *, is_run_kept: bool
) -> Explanation:
    """Return the explanation with the answer of the row's last period in the history.

    Used if the run of that moment was removed, or if the row is no longer published.
    """
    last = base.history[-1]
    ended_at = last[periods.until]
    if ended_at is not None and ended_at <= base.at:
        return base.model_copy(update={"note": f"no longer published since {ended_at}"})
    answer = {name: last[name] for name in declared.answer if name in last}
    return base.model_copy(update={"answer": answer, "note": "" if is_run_kept else RUN_REMOVED})


def _find_claims(declared: Claims | None, marts: Path, key: Mapping[str, str]) -> list[Row]:
    if declared is None:
        return []
    file = marts / f"{declared.model}.parquet"
    rows = find_rows(file, key, [*declared.columns, SOURCE_SHA256], declared.order_by)
    return [row | {FILE: row.pop(SOURCE_SHA256)} for row in rows]


def _find_history(
    declared: Periods | None, marts: Path, key: Mapping[str, str], at: datetime
) -> list[Row]:
    """Return the periods of the row that started by `at`; the last one may have ended since."""
    if declared is None:
        return []
    columns = [declared.since, declared.until, *declared.columns]
    rows = find_rows(marts / f"{declared.model}.parquet", key, columns, [declared.since])
    return [row for row in rows if row[declared.since] <= at]


def _find_origins(
    home: Home, domain: Domain, directory: Path, digests: Iterable[str]
) -> Iterator[FileOrigin]:
    """Yield the origin of each distinct file, in order.

    Manifests of older runs are read only as far as needed for the files that this run reused.
    """
    origins = _list_files(directory)
    older_runs = run_directory.list_runs(home, domain.name)
    for sha256 in dict.fromkeys(digests):
        while sha256 not in origins and (run := next(older_runs, None)):
            origins = _list_files(run) | origins
        file = home.raw_file(sha256)
        source = origins.get(sha256)
        yield FileOrigin(
            sha256=sha256,
            **source.model_dump(include=MANIFEST_FIELDS) if source else {},
            path=home.relative(file),
            is_stored=file.is_file(),
        )


def _list_files(directory: Path) -> dict[str, RunSource]:
    sources = run_directory.read_manifest(directory).sources
    return {source.sha256: source for source in sources if source.sha256}


def _not_published(
    declared: Explain, key: Mapping[str, str], marts: Path, at: datetime
) -> NotFoundError:
    """Return the error that names the first column without such a value, and similar values."""
    file = marts / f"{declared.model}.parquet"
    matched: dict[str, str] = {}
    for column, value in key.items():
        if not list_values(file, column, {**matched, column: value}):
            values = list_values(file, column, matched)
            names = list_names(file, declared.named_by) if declared.named_by else []
            return NotFoundError(
                f"{' '.join(matched.values())} {column} {value!r} is not published".strip()
                + (
                    _suggest(value, values)
                    or _suggest(value, names)
                    or _list_other_rows(file, declared, column, value)
                    or _example(declared, file)
                )
            )
        matched[column] = value
    return NotFoundError(f"{' '.join(key.values())} was not yet published at {at.isoformat()}")


def _suggest(value: str, candidates: Sequence[str]) -> str:
    text = value.lower()
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    near = [candidate for candidate in by_lower_case if _is_as_long(text, candidate)]
    matches = get_close_matches(text, near, n=MAX_SUGGESTIONS)
    if not matches:
        return ""
    return f"; nearest: {', '.join(by_lower_case[match] for match in matches)}"


def _is_as_long(text: str, other: str) -> bool:
    """Return True if one text contains the other, or a few typing errors can be between them.

    Names of one scheme share most of their characters, whatever was meant.
    """
    typing_errors = max(len(text), len(other)) // CHARS_PER_TYPING_ERROR
    return abs(len(text) - len(other)) <= max(1, typing_errors) or text in other or other in text


def _example(declared: Explain, file: Path) -> str:
    """Return what a key and a name look like: those of the first row."""
    rows = find_rows(file, {}, declared.key, declared.key, limit=1)
    if not rows:
        return ""
    key = shlex.join(str(rows[0][name]) for name in declared.key)
    names = f", or its {' or '.join(declared.named_by)}" * bool(declared.named_by)
    return f"; expected {' and '.join(declared.key)}, such as {key}{names}"


def _list_other_rows(file: Path, declared: Explain, column: str, value: str) -> str:
    """Return which values of the key's first column have this value in a later column."""
    first = declared.key[0]
    others = list_values(file, first, {column: value}) if column != first else []
    if not others:
        return ""
    return f"; it is published for {list_some(others, most=MAX_SUGGESTIONS)}"
