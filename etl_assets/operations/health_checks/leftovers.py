"""Check what earlier runs of a domain left: its lock, raw files, warehouse, published set, ledger.

Nothing is changed, and what the event log says is passed in. What a run needs from the machine is
checked in `operations.health_checks.machine`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.fetch import raw_store
from etl_assets.ledger.manifest import Process, load_manifest
from etl_assets.ledger.state_cache import DomainState
from etl_assets.marts import dbt
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Part,
    PublishedLink,
    QuarantinedFile,
    RunStatus,
)
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import MAX_AHEAD
from etl_assets.operations.health_checks.result import DomainDates, HealthFinding, Level
from etl_assets.publish import chain, run_directory, set_index
from etl_assets.storage.lock import Locks
from etl_assets.storage.signatures import Signatures
from etl_assets.validate import quarantine


def check_leftovers(
    home: Home, locks: Locks, domain: Domain, recorded: DomainState, now: datetime
) -> Iterator[HealthFinding]:
    """Yield all findings on the domain."""
    signatures = Signatures.load(home.signatures(domain.name))
    finding, is_running = check_lock(locks, domain.name)
    yield finding
    raw_files = {file.path: (file.part, file.sha256) for file in recorded.raw_files}
    yield check_files(home, domain.name, "raw files", raw_files, signatures)
    tables = {
        path: (table.part, sha256)
        for table in recorded.tables
        for path, sha256 in table.files.items()
    }
    yield check_files(home, domain.name, "tables", tables, signatures)
    yield check_remains(home, domain.name, recorded.unfinished_runs, is_running=is_running)
    yield check_warehouse(home, domain.name, is_running=is_running)
    yield check_last_run(home, domain.name)
    invisible = None if is_running else find_invisible(home, locks, domain.name)
    yield check_published(home, domain, recorded.link, signatures, invisible=invisible)
    yield check_clock(home, domain.name, now)
    yield check_hashes(domain, signatures, now)
    yield check_quarantine(home, domain)
    yield check_ledger(home, domain.name, recorded)


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


def check_lock(locks: Locks, domain: str) -> tuple[HealthFinding, bool]:
    """Check that the lock can be used, and if a run is in progress, which is not a problem."""
    try:
        holder = locks.find_holder(domain)
    except HomeError as error:
        finding = HealthFinding.problem(
            Level.ERROR,
            "lock",
            str(error),
            expected="a lock that can be taken",
            advice="correct it; nothing can run without a lock",
            domain=domain,
        )
        return finding, False
    if holder:
        text = f"held by {holder}; a run waits for it"
        return HealthFinding.ok("lock", text, domain), True
    return HealthFinding.ok("lock", "free", domain), False


def check_files(
    home: Home,
    domain: str,
    what: str,
    files: Mapping[str, tuple[Part, str]],
    signatures: Signatures,
) -> HealthFinding:
    """Check that the current raw files, or tables with their rejects, did not change.

    `files` has the part and the SHA-256 of each, by its path.
    """
    messages = [
        f"{part}: {path}: {fault}"
        for path, (part, sha256) in files.items()
        if (fault := _find_fault(home.root / path, sha256, signatures))
    ]
    if not messages:
        return HealthFinding.ok(what, f"all {len(files)} are stored", domain)
    return HealthFinding.problem(
        Level.WARN,
        what,
        messages,
        expected="each as it was stored",
        advice=f"`etl run {domain}` fetches raw files again, and makes tables again",
        domain=domain,
    )


def _find_fault(path: Path, sha256: str, signatures: Signatures) -> str:
    """Return how a file differs from its record; empty if it does not."""
    try:
        digest = signatures.digest(path)
    except OSError as error:
        return error.strerror or str(error)
    return "" if digest == sha256 else "its bytes are not those of its record"


def check_hashes(domain: Domain, signatures: Signatures, now: datetime) -> HealthFinding:
    """Check that every file was hashed again within the declared time."""
    days = domain.retention.rehash_days
    old = signatures.list_hashed_before(now - timedelta(days=days))
    if not old:
        return HealthFinding.ok("hashes", f"none is older than {days} days", domain.name)
    return HealthFinding.problem(
        Level.WARN,
        "hashes",
        [str(path) for path in old],
        expected=f"every file hashed within {days} days",
        advice=f"`etl manifest verify {domain.name}` hashes all files; a higher "
        "retention.rehash_megabytes hashes more of them in each run",
        domain=domain.name,
    )


def check_clock(home: Home, domain: str, now: datetime) -> HealthFinding:
    """Check that no run is from the future: the clock, or `--as-of`, was ahead."""
    published = _read_published(home, domain)
    if not isinstance(published, RunManifest) or published.as_of <= now + MAX_AHEAD:
        return HealthFinding.ok("clock", "the published set is not from the future", domain)
    return HealthFinding.problem(
        Level.WARN,
        "clock",
        f"the published set is as of {published.as_of:%Y-%m-%d %H:%M} UTC",
        expected=f"at most {MAX_AHEAD.days} day ahead of the clock, {now:%Y-%m-%d %H:%M} UTC",
        advice=f"`etl restore {domain} --run RUN` publishes an earlier set again",
        domain=domain,
    )


def check_remains(
    home: Home, domain: str, dead_runs: Sequence[str], *, is_running: bool
) -> HealthFinding:
    """Check that no run was interrupted and left temporary files or an open run record."""
    if is_running:  # its files look the same
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


def check_warehouse(home: Home, domain: str, *, is_running: bool) -> HealthFinding:
    if not home.warehouse(domain).exists():
        return HealthFinding.ok("warehouse", "none, the next run builds it", domain)
    if dbt.is_warehouse_complete(home, domain) or is_running:
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


def find_invisible(home: Home, locks: Locks, domain: str) -> Path | None:
    """Return the set that is recorded as published and that readers do not see yet.

    None too if the database of the locks cannot be read, which the finding on the lock says.
    """
    try:
        newest = locks.read_head(domain)
    except HomeError:
        return None
    return chain.find_pending(home, domain, newest) if newest else None


def check_published(
    home: Home,
    declared: Domain,
    recorded: PublishedLink | None,
    signatures: Signatures,
    *,
    invisible: Path | None = None,
) -> HealthFinding:
    """Check that readers find the set that was published last, with the files that it had.

    `invisible` is one whose process was killed after it was recorded, before `latest` moved.
    """
    domain, history = declared.name, declared.history
    state = chain.examine(home, domain, history, recorded)
    problems = list(state.problems)
    if invisible:
        problems.append(f"{invisible.name} is recorded as published, and readers do not see it yet")
    published = _read_published(home, domain)
    if isinstance(published, HomeError):
        problems.append(str(published))
    elif published and state.directory:
        problems += set_index.compare_with_index(state.directory, published, signatures.digest)
        problems += _find_altered_reports(state.directory, signatures)
    sha256 = state.history_sha256
    if history and sha256 and not signatures.has_digest(home.history_copy(domain), sha256):
        problems.append(f"{home.history_copy(domain)}: is not the published history")
    if problems:
        is_built = dbt.is_warehouse_complete(home, domain)  # it may have the history
        is_stored = bool(sha256 and chain.find_mart(home, domain, history or "", sha256))
        is_lost = sha256 is not None and not (is_built or is_stored)
        return HealthFinding.problem(
            Level.ERROR if is_lost else Level.WARN,
            "published",
            problems,
            expected="the set that was published last, as it was written",
            advice=f"`etl restore {domain}` publishes the newest complete set again"
            if is_lost
            else f"`etl run {domain}` repairs it",
            domain=domain,
        )
    if isinstance(published, RunManifest):
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


def check_ledger(home: Home, domain: str, recorded: DomainState) -> HealthFinding:
    """Check that the exported ledger can be read, and has nothing that the event log lacks."""
    try:
        manifests = [load_manifest(home, domain, process) for process in Process]
    except HomeError as error:
        return HealthFinding.problem(
            Level.WARN if recorded.raw_files else Level.ERROR,
            "ledger",
            str(error),
            expected="a complete manifest",
            advice=f"`etl run {domain}` exports it again"
            if recorded.raw_files
            else "put it back from a copy, as the event log has no records",
            domain=domain,
        )
    if recorded.lost:
        return HealthFinding.problem(
            Level.WARN,
            "ledger",
            [f"{part}: not in the event log" for part in recorded.lost],
            expected="the same records in both",
            advice=f"`etl run {domain}` restores them in the event log",
            domain=domain,
        )
    count = sum(manifest is not None for manifest in manifests)
    has_run = next(run_directory.list_runs(home, domain), None) is not None
    if has_run and not count and not recorded.raw_files:
        return HealthFinding.problem(
            Level.WARN,
            "ledger",
            "neither manifests nor records in the event log, though it ran: decisions of the "
            "operator are lost",
            expected="the records of earlier runs",
            advice=f"put .dagster or manifests back from a copy; `etl run {domain}` restores the "
            "pins of the last run, and knows of no released or forgotten file",
            domain=domain,
        )
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


def _find_altered_reports(directory: Path, signatures: Signatures) -> Iterator[str]:
    """Yield the files that differ from the sums of the set, but those that its index lists."""
    try:
        sums = run_directory.read_sums(directory)
    except HomeError as error:
        yield str(error)
        return
    for name, sha256 in sums.items():
        if name.startswith(set_index.REPORT_PREFIX):
            path = directory / name
            if fault := _find_fault(path, sha256, signatures):
                yield f"{path}: {fault}"
