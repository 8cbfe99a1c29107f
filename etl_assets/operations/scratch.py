"""A home below the home, in which a domain is built beside what stands, and which goes away again.

Its tables are linked or made from raw files; the warehouse, the event log and the outputs of the
real home are not touched. Why something is built apart is `replay`'s and `whatif`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Source
from etl_assets.defs.context import ProjectContext
from etl_assets.fetch import raw_store
from etl_assets.marts import build
from etl_assets.marts.dbt import DbtProject
from etl_assets.marts.graph import Graph, Model
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import Part, StoredState, Table
from etl_assets.model.run_manifest import RunManifest
from etl_assets.publish import run_directory
from etl_assets.tables import tabulate


class ScratchHome:
    """One domain in a home of its own."""

    def __init__(self, place: ProjectContext, domain: Domain, folder: Path, dbt_dir: Path) -> None:
        self._place, self._domain = place, domain
        self.home = Home(folder)
        self._project = DbtProject(dbt_dir, domain.name, self.home, domain.vars)

    @cached_property
    def graph(self) -> Graph:
        return Graph.from_manifest(self._project.manifest)

    def tabulate(
        self,
        source: Source,
        part: Part,
        raw: Path | None,
        sha256: str,
        *,
        previous: Table | None = None,
    ) -> None:
        """The part's table from a raw file; an empty one without.

        Raises ContentError where it may not become one, also for what it lost since `previous`.
        """
        version = tabulate.code_version(source)
        if raw is None:
            tabulate.empty_table(self.home, source, part, code_version=version)
        else:
            tabulate.tabulate(
                self.home, source, part, raw, sha256, code_version=version, previous=previous
            )

    def tabulate_stored(self, manifest: RunManifest) -> None:
        """Every table of the domain, from the raw files that a run used.

        Raises HomeError with all files that are no longer stored as they were.
        """
        self._require_stored(manifest)
        for source in self._domain.sources.values():
            used = [s for s in manifest.sources if s.source == source.full_name]
            parts = [(s.partition, s.sha256) for s in used] or [(None, None)]
            for partition, sha256 in parts:
                raw = self._place.home.raw_file(sha256) if sha256 else None
                part = source.part(partition)
                self.tabulate(source, part, raw, sha256 or "")

    def link_table(self, file: Path) -> None:
        """A table of the real home, seen here too."""
        link = self.home.root / self._place.home.relative(file)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)

    def build(
        self,
        models: Sequence[Model],
        *,
        as_of: datetime,
        history_sha256: str | None,
        health: Sequence[SourceHealth],
    ) -> None:
        """Build models from the tables here and a history that was once published."""
        declared = self._domain.history
        build.build_models(
            self._project,
            models,
            as_of=as_of,
            health=health,
            history=self._history(declared, history_sha256),
            history_model=self.graph.find(declared) if declared else None,
            tests=False,
        )

    def export(self, models: Sequence[Model], target: Path) -> None:
        """Copy marts out, each in the order of its key."""
        self._project.export({m.name: m.key for m in models}, target)

    def _history(self, model: str | None, sha256: str | None) -> Path | None:
        if model is None or sha256 is None:
            return None
        found = run_directory.find_history(self._place.home, self._domain.name, model, sha256)
        if found is None:
            raise HomeError(
                f"{self._domain.name}: expected the {model} with SHA-256 {sha256} in a run's "
                "directory, found it in none that is kept"
            )
        return found

    def _require_stored(self, manifest: RunManifest) -> None:
        home = self._place.home
        faults = [
            f"{source.name}: {home.relative(home.raw_file(source.sha256))} is {found}"
            for source in manifest.sources
            if source.sha256
            and (found := raw_store.verify(home, source.sha256)) is not StoredState.PRESENT
        ]
        if faults:
            raise HomeError("expected the raw files of the run, found:\n" + "\n".join(faults))


@contextmanager
def scratch(
    place: ProjectContext, domain: Domain, *, dbt_dir: Path | None = None
) -> Iterator[ScratchHome]:
    """A scratch home for the block; `dbt_dir` is another dbt project than the one that is set."""
    place.home.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{domain.name}.", dir=place.home.scratch) as folder:
        yield ScratchHome(place, domain, Path(folder), dbt_dir or place.settings.dbt_dir)


def health_then(domain: Domain, manifest: RunManifest) -> list[SourceHealth]:
    """How the sources stood in a run, as far as its manifest tells."""
    found = []
    for source in domain.sources.values():
        parts = [part for part in manifest.sources if part.source == source.full_name]
        fetched = [part.fetched_at for part in parts if part.fetched_at]
        dated = [part.content_at for part in parts if part.content_at]
        found.append(
            SourceHealth(
                source=source.name,
                title=source.title,
                status="ok",
                fetched_at=max(fetched, default=None),
                content_at=max(dated, default=None),
                rows=sum(part.rows or 0 for part in parts),
                rejected=sum(part.rejected or 0 for part in parts),
                last_good_at=max(fetched, default=None),
                source_sha256=" ".join(part.sha256 for part in parts if part.sha256),
            )
        )
    return found
