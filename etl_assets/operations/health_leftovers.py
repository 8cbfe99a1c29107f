"""Look at what earlier runs have left: locks, half-written files, the last run, what is published.

Nothing is changed, and what the event log knows is handed in. What a run needs of the machine is
`operations.health_machine`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from etl_assets.declarations.domain import Domain
from etl_assets.fetch import raw_store
from etl_assets.ledger import files as ledger_files
from etl_assets.ledger.manifest import Process
from etl_assets.marts import dbt
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import RawFile, RunStatus
from etl_assets.model.run_manifest import MARTS, RunManifest
from etl_assets.operations.health_result import DomainDates, HealthFinding, Level
from etl_assets.publish import run_directory
from etl_assets.storage.lock import find_lock_holder
from etl_assets.validate import quarantine


def findings(
    home: Home, domain: Domain, files: Sequence[RawFile], cut_off: Sequence[str]
) -> Iterator[HealthFinding]:
    """All findings on the domain; `files` and `cut_off` are what the event log says."""
    yield lock(home, domain.name)
    yield stored(home, domain.name, files)
    yield remains(home, domain.name, cut_off)
    yield built(home, domain.name)
    yield last_run(home, domain.name)
    yield published(home, domain.name, domain.history)
    yield waiting(home, domain)
    yield exported(home, domain.name)


def dates(home: Home, domain: Domain) -> DomainDates:
    """When it ran and published last; what cannot be read is left out, for a finding tells it."""
    last, standing = _last(home, domain.name), _published(home, domain.name)
    folders = [home.quarantine(domain.name, source) for source in domain.sources]
    return DomainDates(
        domain=domain.name,
        last_run_at=last.started_at if isinstance(last, RunManifest) else None,
        last_run_status=last.status if isinstance(last, RunManifest) else None,
        last_published_at=standing.finished_at if isinstance(standing, RunManifest) else None,
        quarantined=sum(1 for folder in folders for _ in folder.glob("*.json")),
    )


def lock(home: Home, domain: str) -> HealthFinding:
    """Whether a run would start at once; it waits where another one goes on, which is no fault."""
    path = home.lock(domain)
    try:
        holder = find_lock_holder(path)
    except OSError as error:
        found, advice = f"{path}: {error.strerror}", "move away what is in its place"
        return HealthFinding.of(
            Level.ERROR, "lock", found, "a file that can be opened", advice, domain
        )
    told = f"held by {holder}; a run waits for it" if holder else "held by nobody"
    return HealthFinding.ok("lock", told, domain)


def stored(home: Home, domain: str, files: Sequence[RawFile]) -> HealthFinding:
    """Whether the raw files that stand are there, by their size; hashing them is `etl check`'s."""
    wrong = [f"{file.part}: {fault}" for file in files if (fault := _fault(home, file))]
    if not wrong:
        return HealthFinding.ok("raw files", f"{len(files)} stand, and are there", domain)
    advice = f"`etl run {domain}` fetches them again"
    return HealthFinding.of(Level.WARN, "raw files", wrong, "each as it was stored", advice, domain)


def remains(home: Home, domain: str, cut_off: Sequence[str]) -> HealthFinding:
    """Whether a run was ended from outside; while one goes on, all this is its own."""
    if _is_held(home, domain):
        return HealthFinding.ok("remains", "a run is under way", domain)
    left = [home.relative(path) for path in _half_written(home, domain)]
    left += [f"run {run_id} in the event log" for run_id in cut_off]
    if not left:
        return HealthFinding.ok("remains", "none", domain)
    advice = f"`etl run {domain}` puts it in order"
    expected = "nothing that a run left when it was cut off"
    return HealthFinding.of(Level.WARN, "remains", left, expected, advice, domain)


def built(home: Home, domain: str) -> HealthFinding:
    """Whether the warehouse is what the event log says; one that is not is built anew."""
    if not home.warehouse(domain).exists():
        return HealthFinding.ok("warehouse", "none, the next run builds it", domain)
    if dbt.is_warehouse_complete(home, domain) or _is_held(home, domain):
        return HealthFinding.ok("warehouse", "stands", domain)
    found = f"{home.relative(home.warehouse(domain))} was cut off in a build, or is damaged"
    advice = f"`etl run {domain}` builds every model anew"
    return HealthFinding.of(Level.WARN, "warehouse", found, "a whole one", advice, domain)


def last_run(home: Home, domain: str) -> HealthFinding:
    """How the last run ended."""
    last = _last(home, domain)
    advice = f"`etl status {domain}` says more"
    if last is None:
        return HealthFinding.ok("last run", "never", domain)
    if isinstance(last, HomeError):
        return HealthFinding.of(Level.WARN, "last run", str(last), "its manifest", advice, domain)
    told = f"{last.started_at:%Y-%m-%d %H:%M} UTC, {last.status}"
    if last.status is RunStatus.SUCCESS:
        return HealthFinding.ok("last run", told, domain)
    found = f"{told}: {last.note}" if last.note else told
    advice = "; ".join(last.answers) or advice
    return HealthFinding.of(Level.WARN, "last run", found, "success", advice, domain)


def published(home: Home, domain: str, history: str | None) -> HealthFinding:
    """Whether readers find a published set, and the next run the history in it."""
    standing = _published(home, domain)
    if standing and not isinstance(standing, HomeError) and history:
        standing = _history_fault(home.latest(domain) / MARTS / f"{history}.parquet") or standing
    if isinstance(standing, HomeError):
        advice = "put it back; else remove `latest`, and the next run begins anew"
        found = str(standing)
        return HealthFinding.of(
            Level.ERROR, "published", found, "a set with its manifest", advice, domain
        )
    if standing is not None:
        told = f"{standing.finished_at:%Y-%m-%d %H:%M} UTC, {standing.status}"
        return HealthFinding.ok("published", told, domain)
    if next(run_directory.list_runs(home, domain), None) is None:
        return HealthFinding.ok("published", "never, and it never ran", domain)
    advice = f"`etl run {domain}`"
    return HealthFinding.of(
        Level.WARN, "published", "nothing, though it ran", "a published set", advice, domain
    )


def waiting(home: Home, domain: Domain) -> HealthFinding:
    """Whether refused files wait for a person."""
    try:
        found = [
            f
            for source in domain.sources.values()
            for f in quarantine.list_quarantined(home, source)
        ]
    except HomeError as error:
        expected, advice = "a reason beside each file", "mend it"
        return HealthFinding.of(Level.WARN, "quarantine", str(error), expected, advice, domain.name)
    if not found:
        return HealthFinding.ok("quarantine", "empty", domain.name)
    names = [f"{file.part} {file.sha256[:12]}" for file in found]
    advice = "`etl quarantine list` says why; release or purge them"
    return HealthFinding.of(Level.WARN, "quarantine", names, "none that waits", advice, domain.name)


def exported(home: Home, domain: str) -> HealthFinding:
    """Whether the exported ledger can be read, on which a run writes."""
    try:
        count = sum(
            ledger_files.load_manifest(home, domain, process) is not None for process in Process
        )
    except HomeError as error:
        advice = "move it away; the next run writes it anew"
        return HealthFinding.of(
            Level.ERROR, "ledger", str(error), "a whole manifest", advice, domain
        )
    told = f"{count} manifests can be read" if count else "not exported yet"
    return HealthFinding.ok("ledger", told, domain)


def _last(home: Home, domain: str) -> RunManifest | HomeError | None:
    directory = next(run_directory.list_runs(home, domain), None)
    try:
        return run_directory.read_manifest(directory) if directory else None
    except HomeError as error:
        return error


def _published(home: Home, domain: str) -> RunManifest | HomeError | None:
    try:
        directory = run_directory.published_directory(home, domain)
        return run_directory.read_manifest(directory) if directory else None
    except HomeError as error:
        return error


def _history_fault(file: Path) -> HomeError | None:
    try:
        run_directory.count_rows(file)
    except FileNotFoundError:  # it was not built yet, or is built from nothing
        return None
    except (OSError, pa.ArrowInvalid) as error:
        return HomeError(f"{file}: {error}")
    return None


def _fault(home: Home, file: RawFile) -> str:
    try:
        size = (home.root / file.path).stat().st_size
    except OSError as error:
        return f"{file.path}: {error.strerror}"
    return (
        "" if size == file.size_bytes else f"{file.path} has {size:,} of {file.size_bytes:,} bytes"
    )


def _is_held(home: Home, domain: str) -> bool:
    try:
        return find_lock_holder(home.lock(domain)) is not None
    except OSError:
        return False


def _half_written(home: Home, domain: str) -> Iterator[Path]:
    """What bears a temporary name, and directories of runs later than the last that ended."""
    yield from raw_store.partial_files(home, domain)
    for kind in ("quarantine", "tables", "rejects"):
        yield from sorted((home.root / "data" / kind / domain).glob("*/.*.tmp"))
    yield from run_directory.list_interrupted(home, domain)
