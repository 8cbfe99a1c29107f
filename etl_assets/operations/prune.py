"""Delete what retention no longer keeps and nothing needs: run directories, raw files, run records.

For `etl prune`; a run does the same for its own domain at its end. What a domain keeps is declared
in `retention` of its `_domain.yaml`, and what is old is decided in `etl_assets.defs.retention`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import Field

from etl_assets.defs.context import ProjectSession
from etl_assets.defs.retention import old_files, run_records
from etl_assets.fetch import raw_store
from etl_assets.model.records import Record
from etl_assets.publish import run_directory

OLD_RUN = "an old run"
OLD_SCRATCH = "left by a killed command"


class Removed(Record):
    """A file, directory or run record that was removed, with the bytes that this freed."""

    path: str = Field(description="relative to ETL_HOME; `run <id>` for a run record in Dagster")
    why: str
    size_bytes: int = Field(ge=0, description="0 if other hard links keep the bytes")

    def __str__(self) -> str:
        return f"{self.path}: {self.why}, {self.size_bytes:,} bytes"


def prune(
    session: ProjectSession, names: Sequence[str], *, now: datetime, dry_run: bool
) -> list[Removed]:
    """Remove what the named domains no longer keep; with `dry_run`, only return it.

    With all domains, also removes stored files that no record lists, once they are older than the
    longest declared age. While a domain has faults in its declarations, no raw file is removed, as
    that domain may need it. The caller holds the locks of all domains.
    """
    home, domains = session.project.home, session.project.domains
    runs: list[Path] = []
    scratch: list[Path] = []
    for name in names:
        unfinished = session.event_log.unfinished_directories(name)
        runs += old_files.list_old_runs(home, domains[name], unfinished=unfinished)
        scratch += old_files.list_old_scratch(home, domains[name], now)
    files: dict[Path, str] = {}
    if broken := session.project.broken:
        session.project.echo(f"no raw file is removed, as {', '.join(broken)} may need it")
    else:
        files = old_files.list_old_files(session, names, set(runs), now)
    run_ids: list[str] = []
    digests = {path.name for path in files}
    for name in names:
        old = run_records.list_old_run_records(
            session.event_log,
            home,
            domains[name],
            session.for_domain(name).read_sources(),
            domains=set(names),
            removed_digests=digests,
        )
        run_ids += [run_id for run_id in old if run_id not in run_ids]
    removed = [
        *_describe_paths(session, runs, OLD_RUN),
        *_describe_paths(session, scratch, OLD_SCRATCH),
        *(_removed_file(session, path, reason) for path, reason in sorted(files.items())),
        *(_removed_record(session, run_id) for run_id in run_ids),
    ]
    if not dry_run:
        for name in names:
            run_directory.finish_removals(home, name)
        # In this order: as long as a directory exists, the files that its manifest lists must exist
        # too; as long as a file exists, an event must say whose it is.
        for path in runs:
            run_directory.remove(path)
        for path in scratch:
            shutil.rmtree(path)
        for path in files:
            raw_store.delete_file(home, path)
        for run_id in run_ids:
            run_records.delete_run_record(session.event_log, run_id)
        run_records.finish_deletions(session.event_log)
    return removed


def _describe_paths(session: ProjectSession, paths: Sequence[Path], why: str) -> list[Removed]:
    home = session.project.home
    return [
        Removed(path=home.relative(path), why=why, size_bytes=freed_bytes)
        for path, freed_bytes in run_directory.measure_freed_bytes(paths).items()
    ]


def _removed_file(session: ProjectSession, path: Path, why: str) -> Removed:
    size_bytes = path.stat().st_size
    return Removed(path=session.project.home.relative(path), why=why, size_bytes=size_bytes)


def _removed_record(session: ProjectSession, run_id: str) -> Removed:
    size_bytes = run_records.measure_event_file(session.event_log, run_id)
    return Removed(path=f"run {run_id}", why=OLD_RUN, size_bytes=size_bytes)
