"""A temporary home below `data/scratch`, in which a domain is built apart from its real home.

Tables are linked from the real home or made from its raw files; its warehouse, event log and
outputs are not touched. What is built, and compared with what, is decided by diff and replay.
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
from etl_assets.defs.models.checks import describe_result
from etl_assets.fetch import raw_store
from etl_assets.marts import build
from etl_assets.marts.dbt import DbtProject
from etl_assets.marts.graph import Graph, Model
from etl_assets.marts.source_status import SourceHealth
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import Part, StoredState, Table
from etl_assets.model.run_manifest import RunManifest
from etl_assets.publish import chain
from etl_assets.tables import tabulate


class ScratchHome:
    """One domain in a temporary home."""

    def __init__(
        self, project: ProjectContext, domain: Domain, folder: Path, dbt_dir: Path
    ) -> None:
        self._real_home, self._domain = project.home, domain
        self.home = Home(folder)
        profile = project.settings.dbt_profile
        self._dbt = DbtProject(dbt_dir, domain.name, self.home, domain.vars, profile)

    @cached_property
    def graph(self) -> Graph:
        return Graph.from_manifest(self._dbt.manifest)

    def tabulate(
        self,
        source: Source,
        part: Part,
        raw: Path | None,
        sha256: str,
        *,
        previous: Table | None = None,
    ) -> None:
        """Write the part's table from a raw file, or an empty table if there is none.

        Raises ContentError if the file breaks the contract, or lost too many rows since `previous`.
        """
        version = tabulate.code_version(source)
        if raw is None:
            tabulate.empty_table(self.home, source, part, code_version=version)
        else:
            tabulate.tabulate(
                self.home, source, part, raw, sha256, code_version=version, previous=previous
            )

    def tabulate_stored(self, manifest: RunManifest) -> None:
        """Write every table of the domain from the raw files that a run used.

        Raises HomeError with all files that are missing or damaged.
        """
        self._require_stored(manifest)
        for source in self._domain.sources.values():
            files = {
                used.partition: used.sha256
                for used in manifest.sources
                if used.source == source.full_name
            }
            for partition, sha256 in (files or {None: None}).items():
                raw = self._real_home.raw_file(sha256) if sha256 else None
                part = source.part(partition)
                self.tabulate(source, part, raw, sha256 or "")

    def link_table(self, file: Path) -> None:
        """Link a table of the real home into this one."""
        link = self.home.root / self._real_home.relative(file)
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
        """Build models from the tables of this home and a published history of the real one."""
        history_model = self._domain.history
        history = None
        if history_model is not None and history_sha256 is not None:
            history = self._find_history(history_model, history_sha256)
        build.build_models(
            self._dbt,
            models,
            as_of=as_of,
            health=health,
            history=history,
            history_model=self.graph.find(history_model) if history_model else None,
            tests=False,
        )

    def list_failed_tests(self) -> list[str]:
        """Return a line for each data test of severity ERROR that fails for what is built."""
        nodes = self._dbt.manifest["nodes"]
        lines = []
        for result in self._dbt.test():
            if result.kind == "test" and not result.is_ok:
                description = nodes[result.unique_id].get("description")
                text = describe_result(result, description) or result.status
                lines.append(f"{result.unique_id.split('.')[2]}: {text.partition(chr(10))[0]}")
        return lines

    def export(self, models: Sequence[Model], target: Path) -> None:
        """Write marts to a folder as parquet, each sorted by its key."""
        self._dbt.export({model.name: model.key for model in models}, target)

    def _find_history(self, model: str, sha256: str) -> Path:
        file = chain.find_mart(self._real_home, self._domain.name, model, sha256)
        if file is None:
            raise HomeError(
                f"{self._domain.name}: expected the {model} with SHA-256 {sha256} in a run "
                "directory, found it in no kept run"
            )
        return file

    def _require_stored(self, manifest: RunManifest) -> None:
        home = self._real_home
        faults = []
        for used in manifest.sources:
            if used.sha256:
                state = raw_store.verify(home, used.sha256)
                if state is not StoredState.PRESENT:
                    path = home.relative(home.raw_file(used.sha256))
                    faults.append(f"{used.name}: {path} is {state}")
        if faults:
            raise HomeError("expected the raw files of the run, found:\n" + "\n".join(faults))


@contextmanager
def open_scratch_home(project: ProjectContext, domain: Domain) -> Iterator[ScratchHome]:
    """Open a scratch home for the block; it is removed afterwards."""
    project.home.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{domain.name}.", dir=project.home.scratch) as folder:
        yield ScratchHome(project, domain, Path(folder), project.settings.dbt_dir)


def health_in_run(domain: Domain, manifest: RunManifest) -> list[SourceHealth]:
    """Return the health of the sources in a run, as far as its manifest has it."""
    health = []
    for source in domain.sources.values():
        parts = [part for part in manifest.sources if part.source == source.full_name]
        fetched_at = max((part.fetched_at for part in parts if part.fetched_at), default=None)
        content_at = max((part.content_at for part in parts if part.content_at), default=None)
        health.append(
            SourceHealth(
                source=source.name,
                title=source.title,
                status="ok",
                fetched_at=fetched_at,
                content_at=content_at,
                rows=sum(part.rows or 0 for part in parts),
                rejected=sum(part.rejected or 0 for part in parts),
                last_good_at=fetched_at,
                source_sha256=" ".join(part.sha256 for part in parts if part.sha256),
            )
        )
    return health
