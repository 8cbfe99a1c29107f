"""Why a row of a published model says what it says, now or at an earlier moment.

Only published files and the manifests of runs are read. Which columns make an answer is declared;
how it looks is `etl_assets.operations.explanation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from etl_assets.declarations.domain import Claims, Domain, Explain, Periods
from etl_assets.model.errors import NotFound, UsageError
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import MARTS, RunSource
from etl_assets.operations.explanation import FILE, Explanation, FileOrigin
from etl_assets.operations.lookup import Row, keys_named, names_in, rows_where, values_of
from etl_assets.publish import run_directory
from etl_assets.tables.arrow_types import SOURCE_SHA256

NEAREST = 5
FROM_MANIFEST = {"source", "partition", "url", "etag", "last_modified", "fetched_at"}
NOT_KEPT = "the run of that time is no longer kept, and with it its sentence, evidence and claims"


def explain(
    home: Home, domain: Domain, key: Sequence[str], *, at: datetime | None = None
) -> Explanation:
    """The published answer for a key, as it stands, or as it stood at a moment.

    Raises UsageError for a domain or a key of another kind, NotFound for what is not published.
    """
    declared = _declared(domain, key)
    latest = run_directory.published_directory(home, domain.name)
    if latest is None:
        raise NotFound(f"{domain.name}: nothing is published yet; run it first")
    meant = _meant(declared, key, latest / MARTS)
    where = dict(zip(declared.key, meant, strict=True))
    moment = at or run_directory.read_manifest(latest).as_of
    directory = latest if at is None else _published_at(home, domain, at)
    history = _periods(declared.history, latest / MARTS, where, moment)
    common: dict[str, Any] = {"domain": domain.name, "at": moment, "history": history}
    if directory and (row := _row(declared, directory / MARTS, where)):
        return _of_row(home, domain, declared, directory, row, common)
    if declared.history and history:
        kept = "" if directory else NOT_KEPT
        return _of_period(declared, declared.history, where, common, kept)
    raise _unknown(declared, where, latest / MARTS, moment)


def domain_and_key(
    domains: Mapping[str, Domain], words: Sequence[str]
) -> tuple[Domain, Sequence[str]]:
    """The domain that is meant, and the key: it may be left out where one alone has such a key.

    Raises UsageError where none or several could be meant.
    """
    if words and words[0] in domains:
        return domains[words[0]], words[1:]
    able = {name: domain.explain.key for name, domain in domains.items() if domain.explain}
    meant = [name for name, key in able.items() if len(key) == len(words) or len(able) == 1]
    if len(meant) != 1:
        forms = ", or ".join(" ".join([name, *key]) for name, key in able.items()) or "none"
        raise UsageError(f"expected a domain and its key, {forms}; found: {' '.join(words)}")
    return domains[meant[0]], words


def _declared(domain: Domain, key: Sequence[str]) -> Explain:
    if domain.explain is None:
        raise UsageError(f"{domain.name} declares no explain in its _domain.yaml")
    if len(key) != len(domain.explain.key) and not (key and domain.explain.named_by):
        wanted = " and ".join(domain.explain.key)
        raise UsageError(f"{domain.name}: expected {wanted}, found: {' '.join(key) or 'nothing'}")
    return domain.explain


def _meant(declared: Explain, words: Sequence[str], marts: Path) -> Sequence[str]:
    """The key that the words are, or else the key of the one row that they name.

    Raises UsageError where they name several rows, NotFound where they can be no key and name none.
    """
    file, name = marts / f"{declared.model}.parquet", " ".join(words)
    is_key = len(words) == len(declared.key)
    if not declared.named_by or (is_key and _is_published(file, declared, words)):
        return words
    found = keys_named(file, declared.key, declared.named_by, name)
    if len(found) > 1:
        keys = ", ".join(" ".join(key) for key in found)
        raise UsageError(f"expected the name of one row, found {name!r} to be that of {keys}")
    if not found and not is_key:
        near = _nearest(name, names_in(file, declared.named_by))
        raise NotFound(f"{name!r} is not published{near}")
    return found[0] if found else words


def _is_published(file: Path, declared: Explain, key: Sequence[str]) -> bool:
    where = dict(zip(declared.key, key, strict=True))
    return bool(rows_where(file, where, declared.key))


def _published_at(home: Home, domain: Domain, at: datetime) -> Path | None:
    """The directory of the run whose set was the published one at a moment, where it is kept."""
    for directory in run_directory.list_runs(home, domain.name):
        manifest = run_directory.read_manifest(directory)
        if manifest.published and manifest.as_of <= at:
            return directory
    return None


def _row(declared: Explain, marts: Path, where: Mapping[str, str]) -> Row | None:
    special = [name for name in (declared.sentence, declared.flip, declared.evidence) if name]
    columns = dict.fromkeys([*declared.key, *declared.answer, *declared.columns, *special])
    found = rows_where(marts / f"{declared.model}.parquet", where, list(columns))
    return found[0] if found else None


def _of_row(
    home: Home,
    domain: Domain,
    declared: Explain,
    directory: Path,
    row: Row,
    common: dict[str, Any],
) -> Explanation:
    key = {name: str(row[name]) for name in declared.key}
    evidence: Row = (row[declared.evidence] if declared.evidence else None) or {}
    claims = _claims(declared.claims, directory / MARTS, key)
    files = [evidence.get(SOURCE_SHA256), *(claim[FILE] for claim in claims)]
    return Explanation(
        **common,
        key=key,
        run=directory.name,
        answer={name: row[name] for name in declared.answer},
        details={name: row[name] for name in declared.columns},
        sentence=row[declared.sentence] if declared.sentence else None,
        flip=row[declared.flip] if declared.flip else None,
        evidence=evidence,
        files=list(_origins(home, domain, directory, filter(None, files))),
        claims=claims,
    )


def _of_period(
    declared: Explain,
    periods: Periods,
    where: dict[str, str],
    common: dict[str, Any],
    kept: str,
) -> Explanation:
    """What the history alone knows: of a moment whose run is gone, or of a row that is gone."""
    last: Row = common["history"][-1]
    ended = last[periods.until]
    if ended is not None and ended <= common["at"]:
        return Explanation(**common, key=where, note=f"no longer published since {ended}")
    answer = {name: last[name] for name in declared.answer if name in last}
    return Explanation(**common, key=where, answer=answer, note=kept)


def _claims(declared: Claims | None, marts: Path, key: Mapping[str, str]) -> list[Row]:
    if declared is None:
        return []
    file = marts / f"{declared.model}.parquet"
    rows = rows_where(file, key, [*declared.columns, SOURCE_SHA256], declared.order_by)
    return [row | {FILE: row.pop(SOURCE_SHA256)} for row in rows]


def _periods(
    declared: Periods | None, marts: Path, where: Mapping[str, str], at: datetime
) -> list[Row]:
    """The periods that had begun by then; the last of them may have ended since."""
    if declared is None:
        return []
    columns = [declared.since, declared.until, *declared.columns]
    rows = rows_where(marts / f"{declared.model}.parquet", where, columns, [declared.since])
    return [row for row in rows if row[declared.since] <= at]


def _origins(
    home: Home, domain: Domain, directory: Path, digests: Iterable[str]
) -> Iterator[FileOrigin]:
    """Each file once, the deciding one first; an older run is asked where this one is silent."""
    wanted = dict.fromkeys(digests)
    known = _files(directory)
    older = run_directory.list_runs(home, domain.name)
    for sha256 in wanted:
        while sha256 not in known and (run := next(older, None)):
            known = _files(run) | known
        file = home.raw_file(sha256)
        found = known.get(sha256)
        yield FileOrigin(
            sha256=sha256,
            **found.model_dump(include=FROM_MANIFEST) if found else {},
            path=home.relative(file),
            is_stored=file.is_file(),
        )


def _files(directory: Path) -> dict[str, RunSource]:
    sources = run_directory.read_manifest(directory).sources
    return {source.sha256: source for source in sources if source.sha256}


def _unknown(declared: Explain, where: Mapping[str, str], marts: Path, at: datetime) -> NotFound:
    """Says which part of the key is not there, and what is like it."""
    file = marts / f"{declared.model}.parquet"
    known: dict[str, str] = {}
    for name, value in where.items():
        values = values_of(file, name, known)
        if value.lower() not in {other.lower() for other in values}:
            names = names_in(file, declared.named_by) if declared.named_by else []
            return NotFound(
                f"{' '.join(known.values())} {name} {value!r} is not published".strip()
                + _nearest(value, [*values, *names])
                + _elsewhere(file, declared, name, value)
            )
        known[name] = value
    return NotFound(f"{' '.join(where.values())} was not yet published at {at.isoformat()}")


def _nearest(value: str, values: Sequence[str]) -> str:
    by_case = {other.lower(): other for other in values}
    near = get_close_matches(value.lower(), by_case, n=NEAREST)
    return f"; nearest: {', '.join(by_case[name] for name in near)}" if near else ""


def _elsewhere(file: Path, declared: Explain, name: str, value: str) -> str:
    """Where the value does occur, of a key whose first part is another."""
    first = declared.key[0]
    others = values_of(file, first, {name: value}) if name != first else []
    more = f" and {len(others) - NEAREST} more" if len(others) > NEAREST else ""
    return f"; it is published for {', '.join(others[:NEAREST])}{more}" if others else ""
