"""Compare the published set with a candidate that is built apart, for `etl diff`.

The candidate is made from replaced files and seeds, or from what a run would fetch now. It is
built in a scratch home, so nothing in the home changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from etl_assets.declarations.domain import Domain, Explain
from etl_assets.declarations.names import find_part, split_part_name
from etl_assets.declarations.rules import suggest
from etl_assets.declarations.source import Source
from etl_assets.defs.candidate import measure_coverages
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.fetch_plan import FetchPlan, open_fetcher, parts_of_sources
from etl_assets.model.display_text import did_you_mean, format_count
from etl_assets.model.errors import ContentError, NotFoundError, UsageError
from etl_assets.model.records import Part, Record, Table
from etl_assets.model.run_manifest import MARTS
from etl_assets.operations.scratch_home import ScratchHome, health_in_run, open_scratch_home
from etl_assets.publish import gate, run_directory
from etl_assets.publish.table_diff import RowChange, diff_tables
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.hashing import hash_file
from etl_assets.tables import tabulate
from etl_assets.validate import validate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SEEDS = "seeds"
Cells = dict[str, Any]


class Change(Record):
    """One row whose answer would change."""

    key: dict[str, str]
    before: Cells | None = Field(default=None, description="None if the row is new")
    after: Cells | None = Field(default=None, description="None if the row is removed")
    why: str | None = Field(default=None, description="the sentence that explains the new answer")
    details: Cells = Field(default={}, description="further columns of the new row")

    @property
    def kind(self) -> str:
        """The change of the first column of the answer, or the columns that change beside it."""
        before, after = _first_value(self.before), _first_value(self.after)
        if self.before is None or self.after is None or before != after:
            return f"{before} -> {after}"
        columns = [name for name, value in self.after.items() if self.before[name] != value]
        return f"{after}, another {' and '.join(columns)}"

    def line(self) -> str:
        line = f"{' '.join(self.key.values())}: {_format_change(self.before, self.after)}"
        return f"{line}\n    {self.why}" if self.why else line


class Difference(Record):
    """The published set compared with a candidate."""

    domain: str
    run: str = Field(description="directory name of the published set")
    replaced: dict[str, str] = Field(
        alias="given",
        description="sources and seeds with another file, and its path or SHA-256",
    )
    rows: int = Field(ge=0, description="published rows")
    changes: list[Change]
    refused_by: list[str] = Field(default=[], description="exceeded limits of the gate")
    failed_checks: list[str] = Field(default=[], description="data tests that would block a run")
    faults: list[str] = Field(default=[], description="files that a run would not use, and why")

    def lines(self, limit: int | None = None) -> list[str]:
        """The text for a terminal, with at most `limit` changes of each kind."""
        kinds: dict[str, list[Change]] = {}
        for change in self.changes:
            kinds.setdefault(change.kind, []).append(change)
        count = format_count(len(self.changes), "change")
        lines = [f"{self.domain}: {count} to the {self.rows:,} rows of {self.run}"]
        lines += [f"  {len(changes):,} {kind}" for kind, changes in sorted(kinds.items())]
        for kind, changes in sorted(kinds.items()):
            shown = changes[:limit]
            lines += [change.line() for change in shown]
            if more := len(changes) - len(shown):
                lines.append(f"and {more:,} more {kind}, with -v")
        lines += self.faults
        if self.refused_by:
            lines.append("the gate would refuse this:")
            lines += [f"  {finding}" for finding in self.refused_by]
        if self.failed_checks:
            lines.append("these checks would fail, and a run would publish nothing:")
            lines += [f"  {check}" for check in self.failed_checks]
        return lines


def _first_value(cells: Cells | None) -> str:
    return "(none)" if cells is None else str(next(iter(cells.values())))


def _format_change(before: Cells | None, after: Cells | None) -> str:
    """Return the columns that differ; the first column of an answer needs no name."""
    if before is None or after is None:
        return f"{_format_cells(before)} -> {_format_cells(after)}"
    changes = []
    for number, (name, value) in enumerate(after.items()):
        if before[name] != value:
            change = f"{before[name]} -> {value}"
            changes.append(change if number == 0 else f"{name} {change}")
    return ", ".join(changes)


def _format_cells(cells: Cells | None) -> str:
    if cells is None:
        return "(none)"
    return ", ".join(str(value) for value in cells.values() if value is not None)


@dataclass(frozen=True, slots=True)
class Replacements:
    """The files that replace those of sources and seeds."""

    files: Mapping[Part, Path]
    seeds: Mapping[str, Path]


def diff(session: DomainSession, replace: Mapping[str, Path]) -> Difference:
    """Return the published rows that would change with other files for some sources or seeds.

    With no file, return what a run would change now. Raises UsageError for an unknown name or
    file, ContentError for a file that is not valid for its source, NotFoundError if nothing is
    published.
    """
    domain = session.domain
    replacements = parse_replacements(session.project, domain, replace)
    if domain.explain is None:
        raise UsageError(f"{domain.name} declares no explain in its _domain.yaml")
    published = session.published_directory()
    if published is None:
        raise NotFoundError(f"{domain.name}: nothing is published yet; run it first")
    with open_scratch_home(session.project, domain) as scratch:
        candidate = _Candidate(session, published, replacements, scratch)
        marts = scratch.home.root / MARTS
        candidate.build(marts)
        return candidate.compare(domain.explain, published / MARTS, marts)


def find_domain_of(project: ProjectContext, names: Collection[str]) -> Domain:
    """Return the only domain that declares explain and has all these sources and seeds.

    Raises UsageError if there is none or more than one, DeclarationError for a full name of a
    domain with faults.
    """
    for name in names:
        if broken := project.broken.get(name.partition(".")[0]):
            raise broken.error
    candidates = [domain for domain in project.domains.values() if domain.explain]
    matches = [
        domain for domain in candidates if all(_has_name(project, domain, name) for name in names)
    ]
    if len(matches) == 1:
        return matches[0]
    if not names:
        raise UsageError(_describe_missing_domain(project, candidates))
    if matches:
        found = " and ".join(domain.name for domain in matches)
        raise UsageError(
            f"--replace: expected sources and seeds of one domain, found {', '.join(names)} in"
            f" {found}; name the domain first: `etl diff {matches[0].name} --replace ...`"
        )
    raise UsageError("\n".join(_describe_unmatched_names(project, candidates, names)))


def _describe_missing_domain(project: ProjectContext, candidates: Sequence[Domain]) -> str:
    """Return which domains can be compared, and why the others cannot."""
    expected = ", ".join(domain.name for domain in candidates) or "none that declares explain"
    others = [
        f"{domain.name} declares no explain in its _domain.yaml"
        for domain in project.domains.values()
        if not domain.explain
    ]
    others += [f"the declarations of {name} have faults" for name in project.broken]
    return "; ".join([f"DOMAIN: expected one of {expected}, found none", *others])


def _describe_unmatched_names(
    project: ProjectContext, candidates: Sequence[Domain], names: Collection[str]
) -> Iterator[str]:
    """Yield a line for each name that no domain has; if all are known, one with their domains."""
    choices: list[str] = []
    for domain in candidates:
        choices += [*domain.sources, *list_seeds(project, domain)]
    owners = {
        name: [domain.name for domain in candidates if _has_name(project, domain, name)]
        for name in names
    }
    unknown = [name for name, domains in owners.items() if not domains]
    for name in unknown:
        source_name, _ = split_part_name(name)
        similar = did_you_mean(source_name.rpartition(".")[2], choices)
        yield (
            f"--replace: expected a source or seed, found {name!r}{similar}; `etl sources list`"
            " lists the sources, dbt_project/seeds has the seeds"
        )
    if not unknown:
        found = ", ".join(f"{name} ({' or '.join(domains)})" for name, domains in owners.items())
        yield f"--replace: expected sources and seeds of one domain, found {found}"


def parse_replacements(
    project: ProjectContext, domain: Domain, replace: Mapping[str, Path]
) -> Replacements:
    """Split the replacements by sources and seeds; raises UsageError for any other name."""
    seeds = list_seeds(project, domain)
    files: dict[Part, Path] = {}
    seed_files: dict[str, Path] = {}
    for name, path in replace.items():
        if not path.is_file():
            raise UsageError(f"--replace {name}: expected a file, found none at {path}")
        if name in seeds:
            seed_files[name] = path
            continue
        source_name, _ = split_part_name(name)
        if domain.find_source(source_name) is None:
            names = [*domain.sources, *seeds]
            suggestion = suggest(source_name.removeprefix(f"{domain.name}."), names)
            raise UsageError(
                f"--replace: expected one of {', '.join(names)}{suggestion}, found {name!r}"
            )
        _, part = find_part({domain.name: domain}, name)
        files[part] = path
    return Replacements(files, seed_files)


def list_seeds(project: ProjectContext, domain: Domain) -> dict[str, Path]:
    """Return the path of each seed of a domain inside the dbt project, by its name."""
    root = project.settings.dbt_dir
    paths = sorted((root / SEEDS / domain.name).rglob("*.csv"))
    return {path.stem: path.relative_to(root) for path in paths}


def _has_name(project: ProjectContext, domain: Domain, name: str) -> bool:
    source_name, _ = split_part_name(name)
    return name in list_seeds(project, domain) or domain.find_source(source_name) is not None


class _Candidate:
    """Builds a candidate in a scratch home, and compares it with the published set."""

    def __init__(
        self,
        session: DomainSession,
        published: Path,
        replacements: Replacements,
        scratch: ScratchHome,
    ) -> None:
        self._project, self._domain, self._home = session.project, session.domain, session.home
        self._published = published
        self._manifest = run_directory.read_manifest(published)
        self._states = session.read_sources()
        self._replacements = replacements
        self._now = datetime.now(UTC)
        self._faults: list[str] = []
        self._replaced: dict[str, str] = {}
        self._scratch = self._replace_seeds(scratch)

    def build(self, target: Path) -> None:
        """Build the marts, and write those that are compared to `target`."""
        scratch, history = self._scratch, self._domain.history
        if self._replacements.files or self._replacements.seeds:
            self._write_replaced_tables()
        else:
            self._write_fetched_tables()
        # A domain without a history, or whose history is not built yet, has no such file.
        history_file = self._published / MARTS / f"{history}.parquet"
        history_sha256 = hash_file(history_file) if history_file.exists() else None
        scratch.build(
            list(scratch.graph.models.values()),
            # A history takes no logical time at or before its last one.
            as_of=max(self._now, self._manifest.as_of + timedelta(microseconds=1)),
            history_sha256=history_sha256,
            health=health_in_run(self._domain, self._manifest),
        )
        compared_models = {check.model for check in self._domain.gate}
        compared_models |= {coverage.model for coverage in self._domain.coverage}
        if self._domain.explain:
            compared_models.add(self._domain.explain.model)
        marts = [mart for mart in scratch.graph.marts if mart.name in compared_models]
        scratch.export(marts, target)

    def compare(self, declared: Explain, before: Path, after: Path) -> Difference:
        file = f"{declared.model}.parquet"
        sentence = [declared.sentence] if declared.sentence else []
        with connect() as connection:
            changes = diff_tables(
                connection,
                before / file,
                after / file,
                key=declared.key,
                columns=declared.answer,
                extra_columns=[*sentence, *declared.columns],
            )
            refusals = self._list_refusals(connection, before, after)
        return Difference(
            domain=self._domain.name,
            run=self._published.name,
            replaced=self._replaced,
            rows=run_directory.count_rows(before / file),
            changes=[_to_change(declared, change) for change in changes],
            refused_by=refusals,
            failed_checks=self._scratch.list_failed_tests(),
            faults=self._faults,
        )

    def _replace_seeds(self, scratch: ScratchHome) -> ScratchHome:
        """Return the scratch home, on a copy of the dbt project if a seed is replaced."""
        if not self._replacements.seeds:
            return scratch
        copy = scratch.home.root / "dbt_project"
        ignored = shutil.ignore_patterns("target", "logs")  # written by dbt, and large
        shutil.copytree(self._project.settings.dbt_dir, copy, ignore=ignored)
        seeds = list_seeds(self._project, self._domain)
        for name, path in self._replacements.seeds.items():
            shutil.copyfile(path, copy / seeds[name])
            self._replaced[name] = str(path)
        return ScratchHome(self._project, self._domain, scratch.home.root, copy)

    def _write_replaced_tables(self) -> None:
        """Write tables from the replacements, and from the files of the published set."""
        published_files = {used.part: used.sha256 or "" for used in self._manifest.sources}
        for source, part in self._list_parts():
            path = self._replacements.files.get(part)
            if path is None:
                self._write_stored_table(source, part, published_files.get(part, ""))
                continue
            self._write_replaced_table(source, part, path)

    def _write_replaced_table(self, source: Source, part: Part, path: Path) -> None:
        sha256 = hash_file(path)
        verdict = validate.validate(source, part, path, sha256=sha256)
        if not verdict.ok:
            raise _wrong_replacement(part, path, verdict.problem_text)
        try:
            self._scratch.tabulate(source, part, path, sha256)
        except ContentError as error:
            raise _wrong_replacement(part, path, str(error)) from error
        self._replaced[str(part)] = str(path)

    def _write_fetched_tables(self) -> None:
        """Write tables from what a run would fetch now, and from the files of the last tables."""
        fetched_files = self._fetch_changed_files()
        for source, part in self._list_parts():
            # A run keeps the last table if the new file breaks the contract or lost rows.
            table = self._last_table(part)
            sha256 = fetched_files.get(part)
            if sha256 is not None:
                path = self._scratch.home.raw_file(sha256)
                try:
                    self._scratch.tabulate(source, part, path, sha256, previous=table)
                except ContentError as error:
                    self._faults.append(f"{part}: {error}; the last table would be used")
                else:
                    self._replaced[str(part)] = sha256
                    continue
            self._write_stored_table(source, part, table.source_sha256 if table else "")

    def _list_parts(self) -> Iterator[tuple[Source, Part]]:
        """Yield every part that the published set was made from, or that is replaced."""
        for source in self._domain.sources.values():
            parts = [used.part for used in self._manifest.sources]
            parts += self._replacements.files
            own_parts = dict.fromkeys(part for part in parts if part.source == source.full_name)
            for part in own_parts or [source.part()]:
                yield source, part

    def _write_stored_table(self, source: Source, part: Part, sha256: str) -> None:
        """Link the last table if it was made from this file by this code, else write it again."""
        table = self._last_table(part)
        if table:
            path = self._home.root / table.path
            is_current = (table.source_sha256, table.code_version) == (
                sha256,
                tabulate.code_version(source),
            )
            if is_current and path.is_file():
                self._scratch.link_table(path)
                return
        raw = self._home.raw_file(sha256) if sha256 else None
        self._scratch.tabulate(source, part, raw, sha256)

    def _last_table(self, part: Part) -> Table | None:
        result = self._states[part.source.name].tables.get(part.partition)
        return result.table if result else None

    def _fetch_changed_files(self) -> dict[Part, str]:
        """Fetch what a run would fetch now into the scratch home; return the SHA-256 by part."""
        # Requests from rows are not made, because they may cost money.
        sources = [s for s in self._domain.sources.values() if s.for_each is None]
        parts = parts_of_sources(self._project, sources, self._states, self._now)
        home = self._scratch.home
        fetched_files = {}
        with open_fetcher(self._project, now=self._now, home=home) as fetcher:
            plan = fetcher.plan(self._states, parts)
            changed = FetchPlan([job for job in plan.files if job.decision.fetch])
            for fetch in fetcher.fetch(changed):
                if fetch.fault:
                    self._faults.append(f"{fetch.part}: {fetch.fault}; the last file would be used")
                elif fetch.file and home.raw_file(fetch.file.sha256).is_file():
                    fetched_files[fetch.part] = fetch.file.sha256
        return fetched_files

    def _list_refusals(
        self, connection: DuckDBPyConnection, before: Path, after: Path
    ) -> list[str]:
        """Return the findings by which the gate would refuse the candidate."""
        appeared = set(self._domain.sources) - gate.names_with_rows(self._manifest.sources)
        refusals = []
        for check in self._domain.gate:
            file = f"{check.model}.parquet"
            findings = gate.compare_model(
                connection, check, before / file, after / file, appeared=appeared
            )
            refusals += [str(finding) for finding in findings if finding.refused]
        coverages = measure_coverages(connection, self._domain, after, self._manifest.sources)
        return refusals + [str(finding) for finding in coverages if finding.refused]


def _wrong_replacement(part: Part, path: Path, problem: str) -> ContentError:
    return ContentError(
        f"--replace {part}: {path}: {problem}; correct the file and run the command again"
    )


def _to_change(declared: Explain, change: RowChange) -> Change:
    before, after = change.before, change.after
    return Change(
        key=dict(zip(declared.key, change.key, strict=True)),
        before=_select(before, declared.answer),
        after=_select(after, declared.answer),
        why=after[declared.sentence] if after and declared.sentence else None,
        details=_select(after, declared.columns) or {},
    )


def _select(values: Mapping[str, Any] | None, columns: Sequence[str]) -> Cells | None:
    return {name: values[name] for name in columns} if values else None
