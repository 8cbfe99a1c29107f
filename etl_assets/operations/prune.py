"""Delete what retention no longer keeps and nothing needs: run directories, raw files, run records.

For `etl prune`; a run does the same for its own domain at its end. What a domain keeps is declared
in `retention` of its `_domain.yaml`, and what is old is decided in `etl_assets.defs.retention`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import Field

from etl_assets.defs.context import DomainSession, ProjectSession
from etl_assets.defs.retention import old_files, run_records
from etl_assets.fetch import raw_store
from etl_assets.model.records import Record
from etl_assets.operations.verify import find_damaged_runs
from etl_assets.publish import run_directory

OLD_RUN = "an old run"
DAMAGED_RUN = "a file of it is missing or altered"
OLD_SCRATCH = "left by a killed command"


class Removed(Record):
    """A file, directory or run record that was removed, with the bytes that this freed."""

    path: str = Field(description="relative to ETL_HOME; `run <id>` for a run record in Dagster")
    why: str
    size_bytes: int = Field(ge=0, description="0 if other hard links keep the bytes")

    def __str__(self) -> str:
        return f"{self.path}: {self.why}, {self.size_bytes:,} bytes"


def prune(
    session: ProjectSession,
    names: Sequence[str],
    *,
    now: datetime,
    dry_run: bool,
    damaged: bool = False,
) -> list[Removed]:
    """Remove what the named domains no longer keep; with `dry_run`, only return it.

    With `damaged`, also removes run directories with a file that is missing or altered: only the
    published set is ever made again. With all domains, also removes stored files that no record
    lists, once they are older than the longest declared age. While a domain has faults in its
    declarations, no raw file is removed, as that domain may need it. The caller holds the locks of
    all domains.
    """
    home, domains = session.project.home, session.project.domains
    runs: dict[Path, str] = {}
    scratch: list[Path] = []
    for name in names:
        runs |= _find_runs(session.for_domain(name), damaged=damaged)
        scratch += old_files.list_old_scratch(home, domains[name], now)
    files: dict[Path, str] = {}
    if broken := session.project.broken:
        session.project.say(f"no raw file is removed, as {', '.join(broken)} may need it")
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
        *_describe_paths(session, runs),
        *_describe_paths(session, dict.fromkeys(scratch, OLD_SCRATCH)),
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


def _find_runs(session: DomainSession, *, damaged: bool) -> dict[Path, str]:
    """Return the run directories to remove, with the reasons."""
    unfinished = session.event_log.unfinished_directories(session.domain.name)
    old_runs = old_files.list_old_runs(
        session.home, session.domain, session.published_directory(), unfinished=unfinished
    )
    runs = dict.fromkeys(old_runs, OLD_RUN)
    for path in find_damaged_runs(session) if damaged else ():
        if path.name not in unfinished:
            runs.setdefault(path, DAMAGED_RUN)
    return runs


def _describe_paths(session: ProjectSession, reasons: Mapping[Path, str]) -> list[Removed]:
    home = session.project.home
    freed = run_directory.measure_freed_bytes(reasons)
    return [
        Removed(path=home.relative(path), why=why, size_bytes=freed[path])
        for path, why in reasons.items()
    ]


def _removed_file(session: ProjectSession, path: Path, why: str) -> Removed:
    size_bytes = path.stat().st_size
    return Removed(path=session.project.home.relative(path), why=why, size_bytes=size_bytes)


def _removed_record(session: ProjectSession, run_id: str) -> Removed:
    size_bytes = run_records.measure_event_file(session.event_log, run_id)
    return Removed(path=f"run {run_id}", why=OLD_RUN, size_bytes=size_bytes)
