"""A home for runs of a domain's sample, with the mirror that it fetches from.

Tests change the mirror, run again and check the result. They work on copies of one first run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import dagster as dg
import pyarrow.parquet as pq

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.load import load
from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession, ProjectContext, ProjectSession
from etl_assets.defs.definitions import build_defs
from etl_assets.defs.launch import open_instance, open_project
from etl_assets.defs.run_events import run_check
from etl_assets.demo import samples
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import RunCheck, RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import plan_run, run_domain
from etl_assets.settings import Settings

DOMAIN = "advisories"
AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEARS = {"dagster/asset_partition_range_start": "2002"}
YEARS |= {"dagster/asset_partition_range_end": str(datetime.now(UTC).year)}


class SampleHome:
    """A home and its mirror in one folder; a subclass sets another domain and logical time."""

    name: ClassVar[str] = DOMAIN
    as_of: ClassVar[datetime] = AS_OF

    def __init__(
        self, folder: Path, *, mirror_url: str | None = None, dbt_dir: Path | None = None
    ) -> None:
        self.folder = folder
        self.mirror = folder / "mirror"
        self.home = Home(folder / "home")
        settings = Settings.load(home=self.home.root, dagster_home=self.home.dagster)
        copied_dbt = folder / "dbt_project"  # exists if the sample has its own seeds
        self.settings = settings.model_copy(
            update={
                "mirror": mirror_url or str(self.mirror),
                "dbt_dir": dbt_dir or (copied_dbt if copied_dbt.exists() else settings.dbt_dir),
            }
        )
        self.domain: Domain = load(self.settings.domains_dir)[self.name]

    @classmethod
    def create(cls, folder: Path) -> Self:
        sample = cls(folder)
        samples.pack(sample.sample_dir, sample.mirror, sample.domain, at=cls.as_of)
        return sample

    @classmethod
    def create_with_run(cls, folder: Path) -> Self:
        """Create a home and run the sample in it once."""
        sample = cls.create(folder)
        manifest = sample.run(RunOptions(as_of=cls.as_of))
        assert manifest.published, manifest.note
        return sample

    def copy_to(self, folder: Path) -> Self:
        """Copy the home and the mirror to another folder."""
        # Another worker may be reading the home, and SQLite creates and removes these meanwhile.
        # The SQL that dbt compiled is a third of all files, and no test reads it.
        ignored = shutil.ignore_patterns("*.db-wal", "*.db-shm", "compiled", "run")
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        return type(self)(folder)

    @property
    def sample_dir(self) -> Path:
        return self.settings.samples_dir / self.name

    def run(
        self, options: RunOptions | None = None, *, domain: Domain | None = None
    ) -> RunManifest:
        with self.session(domain) as session:
            return run_domain(session, options or RunOptions())

    def plan(self, options: RunOptions | None = None) -> list[str]:
        with self.session() as session:
            return plan_run(session, options or RunOptions()).lines()

    @contextmanager
    def project_session(
        self, domain: Domain | None = None, *, echo: Callable[[str], None] = lambda _: None
    ) -> Iterator[ProjectSession]:
        with open_project(self.settings, {self.name: domain or self.domain}, echo=echo) as session:
            yield session

    @contextmanager
    def session(
        self, domain: Domain | None = None, *, echo: Callable[[str], None] = lambda _: None
    ) -> Iterator[DomainSession]:
        with self.project_session(domain, echo=echo) as session:
            yield session.for_domain(self.name)

    def launch_job(self) -> RunManifest:
        """Launch the whole job of the domain as Dagster's UI does, without a probe before it."""
        defs = build_defs(ProjectContext(self.settings, {self.name: self.domain}))
        with open_instance(self.settings) as instance:
            result = defs.resolve_job_def(asset_keys.job_name(self.domain)).execute_in_process(
                instance=instance, tags=YEARS, raise_on_error=False
            )
            assert result.success
        return RunManifest.model_validate_json((self.latest / "manifest.json").read_bytes())

    def instance(self) -> Any:
        return open_instance(self.settings)

    def change(self, file: str, edit: Callable[[str], str]) -> None:
        """Rewrite a text file of the mirror, which also changes its modification time."""
        path = self.mirror / file
        path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")

    @property
    def latest(self) -> Path:
        return self.home.latest(self.name).resolve()

    def rows(self, mart: str) -> list[dict[str, Any]]:
        table = pq.read_table(self.latest / "marts" / f"{mart}.parquet")
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def states(self) -> dict[str, str]:
        return {row["advisory_id"]: row["state"] for row in self.rows("mart_advisory_current")}

    def made_assets(self, manifest: RunManifest) -> set[str]:
        """Return the last part of the key of each asset that the run made and did not reuse."""
        return {a.key.rpartition("/")[2] for a in manifest.assets if a.outcome == "made"}

    def count_runs(self) -> int:
        with self.instance() as instance:
            return len(instance.get_runs())

    def check_description(self, asset: str, check: str) -> str:
        """Return the description of the last evaluation of a check."""
        return self._last_check(asset, check).description

    def failing_rows(self, asset: str, check: str) -> list[str]:
        """Return the rows that the last evaluation of a check shows, each as text."""
        rows = self._last_check(asset, check).rows
        return [", ".join(row) for row in rows.rows] if rows else []

    def _last_check(self, asset: str, check: str) -> RunCheck:
        key = dg.AssetCheckKey(dg.AssetKey([self.name, asset]), check)
        with self.instance() as instance:
            rows = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
        return run_check(rows[key].event.dagster_event.asset_check_evaluation_data)

    def defs(self) -> dg.Definitions:
        return build_defs(ProjectContext(self.settings, load(self.settings.domains_dir)))


def fingerprint(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return the modification time and the bytes of every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
