"""Check what earlier runs of a domain left: its lock, raw files, warehouse, published set, ledger.

Nothing is changed, and what the event log says is passed in. What a run needs from the machine is
checked in `operations.health_machine`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from etl_assets.declarations.domain import Domain
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import Process, load_manifest
from etl_assets.marts import dbt
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import QuarantinedFile, RawFile, RunStatus
from etl_assets.model.run_manifest import MARTS, RunManifest
from etl_assets.operations.health_result import DomainDates, HealthFinding, Level
from etl_assets.publish import run_directory
from etl_assets.storage.lock import find_lock_holder
from etl_assets.validate import quarantine


def check_leftovers(
    home: Home, domain: Domain, files: Sequence[RawFile], dead_runs: Sequence[str]
) -> Iterator[HealthFinding]:
    """Yield all findings on the domain.

    `files` are its current raw files, and `dead_runs` the ids of its runs that are in progress,
    both according to the event log.
    """
    yield check_lock(home, domain.name)
    yield check_raw_files(home, domain.name, files)
    yield check_remains(home, domain.name, dead_runs)
    yield check_warehouse(home, domain.name)
    yield check_last_run(home, domain.name)
    yield check_published(home, domain.name, domain.history)
    yield check_quarantine(home, domain)
    yield check_ledger(home, domain.name)


def read_dates(home: Home, domain: Domain) -> DomainDates:
    """Return when the domain last ran and published.

    A manifest that cannot be read leaves its date out; `check_leftovers` reports it.
    """
    last_run = _read_last_run(home, domain.name)
    published = _read_published(home, domain.name)
    folders = [home.quarantine(domain.name, source) for source in domain.sources]
    return DomainDates(
        domain=domain.name,
        last_run_at=last_run.started_at if isinstance(last_run, RunManifest) else None,
        last_run_status=last_run.status if isinstance(last_run, RunManifest) else None,
        last_published_at=published.finished_at if isinstance(published, RunManifest) else None,
        quarantined=sum(len(list(folder.glob("*.json"))) for folder in folders),
    )


def check_lock(home: Home, domain: str) -> HealthFinding:
    """Check that the lock can be opened; a run in progress is not a problem."""
    path = home.lock(domain)
    try:
        holder = find_lock_holder(path)
    except OSError as error:
        return HealthFinding.problem(
            Level.ERROR,
            "lock",
            f"{path}: {error.strerror}",
            expected="a file that can be opened",
            advice="remove what is in its place",
            domain=domain,
        )
    if holder:
        return HealthFinding.ok("lock", f"held by {holder}; a run waits for it", domain)
    return HealthFinding.ok("lock", "free", domain)


def check_raw_files(home: Home, domain: str, files: Sequence[RawFile]) -> HealthFinding:
    """Check that the current raw files are there, by their size; `etl check` hashes them."""
    faults = []
    for file in files:
        try:
            size = (home.root / file.path).stat().st_size
        except OSError as error:
            faults.append(f"{file.part}: {file.path}: {error.strerror}")
            continue
        if size != file.size_bytes:
            sizes = f"{size:,} of {file.size_bytes:,} bytes"
            faults.append(f"{file.part}: {file.path} has {sizes}")
    if not faults:
        return HealthFinding.ok("raw files", f"all {len(files)} are stored", domain)
    return HealthFinding.problem(
        Level.WARN,
        "raw files",
        faults,
        expected="each as it was stored",
        advice=f"`etl run {domain}` fetches them again",
        domain=domain,
    )


def check_remains(home: Home, domain: str, dead_runs: Sequence[str]) -> HealthFinding:
    """Check that no run was interrupted and left temporary files or an open run record."""
    if _is_running(home, domain):  # its files look the same
        return HealthFinding.ok("remains", "a run is in progress", domain)
    paths = raw_store.partial_files(home, domain)
    for kind in ("quarantine", "tables", "rejects"):
        paths += sorted((home.root / "data" / kind / domain).glob("*/.*.tmp"))
    paths += run_directory.list_interrupted(home, domain)
    remains = [home.relative(path) for path in paths]
    remains += [f"run {run_id} in the event log" for run_id in dead_runs]
    if not remains:
        return HealthFinding.ok("remains", "none", domain)
    return HealthFinding.problem(
        Level.WARN,
        "remains",
        remains,
        expected="nothing left by an interrupted run",
        advice=f"`etl run {domain}` cleans up",
        domain=domain,
    )


def check_warehouse(home: Home, domain: str) -> HealthFinding:
    if not home.warehouse(domain).exists():
        return HealthFinding.ok("warehouse", "none, the next run builds it", domain)
    if dbt.is_warehouse_complete(home, domain) or _is_running(home, domain):
        return HealthFinding.ok("warehouse", "complete", domain)
    return HealthFinding.problem(
        Level.WARN,
        "warehouse",
        f"{home.relative(home.warehouse(domain))} is damaged, or its last build was interrupted",
        expected="a complete one",
        advice=f"`etl run {domain}` rebuilds every model",
        domain=domain,
    )


def check_last_run(home: Home, domain: str) -> HealthFinding:
    last_run = _read_last_run(home, domain)
    if last_run is None:
        return HealthFinding.ok("last run", "never", domain)
    if isinstance(last_run, HomeError):
        actual, expected, actions = str(last_run), "its manifest", []
    else:
        actual = f"{last_run.started_at:%Y-%m-%d %H:%M} UTC, {last_run.status}"
        if last_run.status is RunStatus.SUCCESS:
            return HealthFinding.ok("last run", actual, domain)
        if last_run.note:
            actual += f": {last_run.note}"
        expected, actions = "success", last_run.next_actions
    return HealthFinding.problem(
        Level.WARN,
        "last run",
        actual,
        expected=expected,
        advice="; ".join(actions) or f"`etl status {domain}` says more",
        domain=domain,
    )


def check_published(home: Home, domain: str, history: str | None) -> HealthFinding:
    """Check that readers find a published set, and that the next run can read its history."""
    published = _read_published(home, domain)
    if isinstance(published, RunManifest) and history:
        file = home.latest(domain) / MARTS / f"{history}.parquet"
        published = _find_history_fault(file) or published
    if isinstance(published, HomeError):
        return HealthFinding.problem(
            Level.ERROR,
            "published",
            str(published),
            expected="a set with its manifest",
            advice="put it back from a copy, or link an earlier run with its history",
            domain=domain,
        )
    if published is not None:
        summary = f"{published.finished_at:%Y-%m-%d %H:%M} UTC, {published.status}"
        return HealthFinding.ok("published", summary, domain)
    if next(run_directory.list_runs(home, domain), None) is None:
        return HealthFinding.ok("published", "never, and it never ran", domain)
    return HealthFinding.problem(
        Level.WARN,
        "published",
        "nothing, though it ran",
        expected="a published set",
        advice=f"`etl run {domain}`",
        domain=domain,
    )


def check_quarantine(home: Home, domain: Domain) -> HealthFinding:
    files: list[QuarantinedFile] = []
    try:
        for source in domain.sources.values():
            files += quarantine.list_quarantined(home, source)
    except HomeError as error:
        return HealthFinding.problem(
            Level.WARN,
            "quarantine",
            str(error),
            expected="a reason next to each file",
            advice="correct it",
            domain=domain.name,
        )
    if not files:
        return HealthFinding.ok("quarantine", "empty", domain.name)
    return HealthFinding.problem(
        Level.WARN,
        "quarantine",
        [f"{file.part} {file.sha256[:12]}" for file in files],
        expected="no file",
        advice="`etl quarantine list` gives the reasons; release or purge them",
        domain=domain.name,
    )


def check_ledger(home: Home, domain: str) -> HealthFinding:
    """Check that the exported ledger can be read, because a run updates it."""
    try:
        manifests = [load_manifest(home, domain, process) for process in Process]
    except HomeError as error:
        return HealthFinding.problem(
            Level.ERROR,
            "ledger",
            str(error),
            expected="a complete manifest",
            advice="move it away; the next run writes it again",
            domain=domain,
        )
    count = sum(manifest is not None for manifest in manifests)
    return HealthFinding.ok(
        "ledger", f"{count} manifests can be read" if count else "not exported yet", domain
    )


def _read_last_run(home: Home, domain: str) -> RunManifest | HomeError | None:
    directory = next(run_directory.list_runs(home, domain), None)
    try:
        return run_directory.read_manifest(directory) if directory else None
    except HomeError as error:
        return error


def _read_published(home: Home, domain: str) -> RunManifest | HomeError | None:
    try:
        directory = run_directory.published_directory(home, domain)
        return run_directory.read_manifest(directory) if directory else None
    except HomeError as error:
        return error


def _find_history_fault(file: Path) -> HomeError | None:
    try:
        run_directory.count_rows(file)
    except FileNotFoundError:  # not built yet, or the next run starts a new history
        return None
    except (OSError, pa.ArrowInvalid) as error:
        return HomeError(f"{file}: {error}")
    return None


def _is_running(home: Home, domain: str) -> bool:
    try:
        return find_lock_holder(home.lock(domain)) is not None
    except OSError:
        return False
