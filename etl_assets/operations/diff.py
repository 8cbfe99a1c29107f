"""What would be published if a file were another, or if a run were made now; nothing is changed.

The candidate is built in a scratch home beside the published set, and the two are compared.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from etl_assets.declarations.domain import Domain, Explain
from etl_assets.declarations.names import find_part, split_part_name
from etl_assets.declarations.rules import suggest
from etl_assets.declarations.source import Source
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import SourceState
from etl_assets.defs.fetch_plan import FetchPlan, open_fetcher, parts_of_sources
from etl_assets.model.errors import ContentError, NotFoundError, UsageError
from etl_assets.model.records import Part, Table
from etl_assets.model.run_manifest import MARTS, RunManifest
from etl_assets.operations.diff_result import Change, Difference
from etl_assets.operations.scratch_home import ScratchHome, health_in_run, open_scratch_home
from etl_assets.publish import gate, run_directory
from etl_assets.publish.gate import GateFinding
from etl_assets.publish.table_diff import RowChange, diff_tables
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.hashing import hash_file
from etl_assets.tables import tabulate
from etl_assets.validate import validate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SEEDS = "seeds"


@dataclass(frozen=True, slots=True)
class Replacements:
    """What a person puts in the place of something else."""

    files: Mapping[Part, Path]
    seeds: Mapping[str, Path]


def diff(session: DomainSession, replace: Mapping[str, Path]) -> Difference:
    """Which published rows would change with other files in the place of sources' or seeds.

    With none, what a run would change now. Raises UsageError for an unknown name or file,
    ContentError for a file that is not what its source declares, NotFoundError where nothing is
    published.
    """
    project, domain = session.project, session.domain
    return _WhatIf(session, parse_replacements(project, domain, replace)).difference()


def domain_of_changes(project: ProjectContext, names: Collection[str]) -> Domain:
    """The one domain that explains and has all these sources and seeds; UsageError else."""
    able = [
        domain
        for domain in project.domains.values()
        if domain.explain and all(_has(project, domain, name) for name in names)
    ]
    if len(able) != 1:
        known = ", ".join(domain.name for domain in project.domains.values() if domain.explain)
        raise UsageError(f"expected a domain first, one of {known}; found: {', '.join(names)}")
    return able[0]


def parse_replacements(
    project: ProjectContext, domain: Domain, replace: Mapping[str, Path]
) -> Replacements:
    """Tell sources from seeds; UsageError names what is neither."""
    known = seeds(project, domain)
    files: dict[Part, Path] = {}
    chosen: dict[str, Path] = {}
    for name, path in replace.items():
        if not path.is_file():
            raise UsageError(f"--replace {name}: expected a file, found none at {path}")
        if name in known:
            chosen[name] = path
            continue
        source_name, _ = split_part_name(name)
        if domain.find_source(source_name) is None:
            near = suggest(source_name.removeprefix(f"{domain.name}."), [*domain.sources, *known])
            names = ", ".join([*domain.sources, *known])
            raise UsageError(f"--replace: expected one of {names}{near}, found {name!r}")
        files[find_part({domain.name: domain}, name)[1]] = path
    return Replacements(files, chosen)


def _has(project: ProjectContext, domain: Domain, name: str) -> bool:
    source_name, _ = split_part_name(name)
    return name in seeds(project, domain) or domain.find_source(source_name) is not None


def seeds(project: ProjectContext, domain: Domain) -> dict[str, Path]:
    """The seed files of a domain by name, each by its path inside the dbt project."""
    root = project.settings.dbt_dir
    found = sorted((root / SEEDS / domain.name).rglob("*.csv"))
    return {path.stem: path.relative_to(root) for path in found}


class _WhatIf:
    """One candidate that is never published."""

    def __init__(
        self,
        session: DomainSession,
        given: Replacements,
    ) -> None:
        self._session, self._given = session, given
        self._project, self._domain = session.project, session.domain
        self._now = datetime.now(UTC)
        self._faults: list[str] = []
        self._taken: dict[str, str] = {}

    def difference(self) -> Difference:
        if self._domain.explain is None:
            raise UsageError(f"{self._domain.name} declares no explain in its _domain.yaml")
        before = self._published / MARTS
        with open_scratch_home(self._project, self._domain) as apart:
            seeded = self._with_seeds(apart)
            self._lay_tables(seeded)
            self._build(seeded)
            after = apart.home.root / MARTS
            compared = {self._domain.explain.model, *(check.model for check in self._domain.gate)}
            seeded.export([m for m in seeded.graph.marts if m.name in compared], after)
            return self._compared(self._domain.explain, before, after)

    @cached_property
    def _published(self) -> Path:
        found = run_directory.published_directory(self._project.home, self._domain.name)
        if found is None:
            raise NotFoundError(f"{self._domain.name}: nothing is published yet; run it first")
        return found

    @cached_property
    def _manifest(self) -> RunManifest:
        return run_directory.read_manifest(self._published)

    @cached_property
    def _states(self) -> dict[str, SourceState]:
        return self._session.read_sources()

    def _with_seeds(self, apart: ScratchHome) -> ScratchHome:
        """The same scratch home on a copy of the dbt project, where a seed is replaced."""
        if not self._given.seeds:
            return apart
        copy = apart.home.root / "dbt_project"
        shutil.copytree(
            self._project.settings.dbt_dir, copy, ignore=shutil.ignore_patterns("target", "logs")
        )
        known = seeds(self._project, self._domain)
        for name, path in self._given.seeds.items():
            shutil.copyfile(path, copy / known[name])
            self._taken[name] = str(path)
        return ScratchHome(self._project, self._domain, apart.home.root, copy)

    def _lay_tables(self, apart: ScratchHome) -> None:
        if self._given.files or self._given.seeds:
            for source, part in self._parts():
                if path := self._given.files.get(part):
                    self._lay_given(apart, source, part, path)
                else:
                    self._lay(apart, source, part, self._used(part))
            return
        fetched = self._fetched(apart)
        for source, part in self._parts():
            if part in fetched:
                self._lay_fetched(apart, source, part, fetched[part])
            else:
                self._lay(apart, source, part, self._standing_file(part))

    def _parts(self) -> Iterator[tuple[Source, Part]]:
        """Every part that the published set was made from, or that is given."""
        for source in self._domain.sources.values():
            known = dict.fromkeys(
                used.part for used in self._manifest.sources if used.source == source.full_name
            )
            known |= dict.fromkeys(p for p in self._given.files if p.source == source.full_name)
            for part in known or [source.part()]:
                yield source, part

    def _lay_given(self, apart: ScratchHome, source: Source, part: Part, path: Path) -> None:
        sha256 = hash_file(path)
        verdict = validate.validate(source, part, path, sha256=sha256)
        if not verdict.ok:
            raise ContentError(str(verdict))
        apart.tabulate(source, part, path, sha256)
        self._taken[str(part)] = str(path)

    def _lay_fetched(self, apart: ScratchHome, source: Source, part: Part, sha256: str) -> None:
        """A run would take this file, unless its rows speak against it."""
        try:
            apart.tabulate(
                source, part, apart.home.raw_file(sha256), sha256, previous=self._table(part)
            )
            self._taken[str(part)] = sha256
        except ContentError as error:
            self._faults.append(f"{part}: {error}; the last table would stand")
            self._lay(apart, source, part, self._standing_file(part))

    def _lay(self, apart: ScratchHome, source: Source, part: Part, sha256: str) -> None:
        """The table of a stored file: the standing one where it is of that file and this code."""
        table = self._table(part)
        file = self._project.home.root / table.path if table else None
        if (
            table
            and file
            and file.is_file()
            and (table.source_sha256, table.code_version) == (sha256, tabulate.code_version(source))
        ):
            apart.link_table(file)
        else:
            raw = self._project.home.raw_file(sha256) if sha256 else None
            apart.tabulate(source, part, raw, sha256)

    def _table(self, part: Part) -> Table | None:
        found = self._states[part.source.name].tables.get(part.partition)
        return found.table if found else None

    def _used(self, part: Part) -> str:
        """The digest of the file that the published set was made from; empty without one."""
        used = (source for source in self._manifest.sources if source.part == part)
        return next((source.sha256 for source in used if source.sha256), "")

    def _standing_file(self, part: Part) -> str:
        """The digest of the file whose table a run would leave as it is."""
        table = self._table(part)
        return table.source_sha256 if table else ""

    def _fetched(self, apart: ScratchHome) -> dict[Part, str]:
        """What a run would fetch now, kept in the scratch home; what cannot be had is told."""
        sources = [s for s in self._domain.sources.values() if s.for_each is None]
        parts = parts_of_sources(self._project, sources, self._states, self._now)
        found = {}
        with open_fetcher(self._project, now=self._now, home=apart.home) as fetcher:
            plan = fetcher.plan(self._states, parts)
            moved = FetchPlan([job for job in plan.files if job.decision.fetch])
            for fetch in fetcher.fetch(moved):
                if fetch.fault:
                    self._faults.append(f"{fetch.part}: {fetch.fault}; the last file would stand")
                elif fetch.file and apart.home.raw_file(fetch.file.sha256).is_file():
                    found[fetch.part] = fetch.file.sha256
        return found

    def _build(self, apart: ScratchHome) -> None:
        last = self._manifest.as_of
        history = self._domain.history
        file = self._published / MARTS / f"{history}.parquet" if history else None
        apart.build(
            list(apart.graph.models.values()),
            as_of=max(self._now, last + timedelta(microseconds=1)),
            history_sha256=hash_file(file) if file and file.exists() else None,
            health=health_in_run(self._domain, self._manifest),
        )

    def _compared(self, declared: Explain, before: Path, after: Path) -> Difference:
        file = f"{declared.model}.parquet"
        texts = [declared.sentence] if declared.sentence else []
        with connect() as connection:
            pairs = diff_tables(
                connection,
                before / file,
                after / file,
                key=declared.key,
                columns=declared.answer,
                extra_columns=[*texts, *declared.columns],
            )
            findings = list(self._findings(connection, before, after))
        return Difference(
            domain=self._domain.name,
            run=self._published.name,
            given=self._taken,
            rows=run_directory.count_rows(before / file),
            changes=[_change(declared, pair) for pair in pairs],
            refused_by=[str(f) for f in findings if f.refused],
            faults=self._faults,
        )

    def _findings(
        self, connection: DuckDBPyConnection, before: Path, after: Path
    ) -> Iterator[GateFinding]:
        appeared = set(self._domain.sources) - gate.names_with_rows(self._manifest.sources)
        for check in self._domain.gate:
            file = f"{check.model}.parquet"
            yield from gate.compare_model(
                connection, check, before / file, after / file, appeared=appeared
            )


def _change(declared: Explain, pair: RowChange) -> Change:
    before, after = pair.before, pair.after
    return Change(
        key=dict(zip(declared.key, pair.key, strict=True)),
        before={name: before[name] for name in declared.answer} if before else None,
        after={name: after[name] for name in declared.answer} if after else None,
        why=after[declared.sentence] if after and declared.sentence else None,
        details={name: after[name] for name in declared.columns} if after else {},
    )
