"""Check what a run needs from the machine: folders, disk space, dbt project, local files, secrets.

No remote is contacted and nothing is changed. What earlier runs left behind is checked in
`operations.health_checks.leftovers`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Files, Source, Years
from etl_assets.fetch import file_set
from etl_assets.fetch.locations import LocationResolver, is_sample_mirror
from etl_assets.fetch.network_guard import redact_path
from etl_assets.model.display_text import list_some
from etl_assets.model.errors import SettingsError, UsageError
from etl_assets.model.home import Home
from etl_assets.operations.health_checks.result import HealthFinding, Level
from etl_assets.publish.openpgp import load_signing_key
from etl_assets.storage import disk

KEY_EXPIRES_SOON = timedelta(days=30)
MIN_FREE_BYTES = 256 << 20  # for what a run writes besides files: events, dbt's target, a report
# Folders below data/ that every run writes, on whichever host.
RUN_FOLDERS = ("raw", "partial", "tables", "rejects")


def check_folders(
    home: Home, dagster_home: Path, domains: Mapping[str, Domain]
) -> Iterator[HealthFinding]:
    """Check that every folder that a run writes is writable."""
    data = home.root / "data"
    run_folders = [data / name for name in RUN_FOLDERS]
    local = home.local / "data"
    run_folders.append(local / "warehouse")
    sources = (source for domain in domains.values() for source in domain.sources.values())
    if any(source.for_each for source in sources):
        run_folders.append(data / "answers")
    occasional_folders = [data / "quarantine", local / "scratch"]
    # SQLite creates journals next to its databases, so the folders must be writable too.
    storage_folders = [dagster_home / name for name in ("history", "schedules")]
    yield _check_writable("home", [home.root])
    yield _check_writable("data", [data, *run_folders])
    yield _check_writable("data at need", occasional_folders, level=Level.WARN)
    yield _check_writable("outputs", [home.root / "outputs", *map(home.outputs, domains)])
    yield _check_writable("manifests", [home.manifests])
    yield _check_writable("Dagster's storage", [dagster_home, *storage_folders])
    renamed_into = [home.raw, home.partial, data / "quarantine"]
    devices = disk.find_devices(renamed_into)
    yield check_file_system({home.relative(path): devices[path] for path in renamed_into})


def check_file_system(devices: Mapping[str, int]) -> HealthFinding:
    """Check that the folders, given with their device numbers, are on one file system.

    A download becomes a raw file, or a quarantined one, by a rename, which cannot cross devices.
    """
    first, *_ = devices
    others = [name for name in devices if devices[name] != devices[first]]
    if not others:
        return HealthFinding.ok("file system", f"the same for {', '.join(devices)}")
    return HealthFinding.problem(
        Level.ERROR,
        "file system",
        f"{list_some(others)} on another file system than {first}",
        expected="one file system, because files are moved by renaming them",
        advice="replace links and mount points among these folders by plain folders",
    )


def check_space(free_bytes: int, stored_bytes: int) -> HealthFinding:
    """Check that there is room for two more copies of everything that is stored."""
    needed = max(2 * stored_bytes, MIN_FREE_BYTES)
    sizes = f"{free_bytes:,} bytes are free, {stored_bytes:,} are in use by current files"
    if free_bytes >= needed:
        return HealthFinding.ok("disk", sizes)
    return HealthFinding.problem(
        Level.ERROR if free_bytes < MIN_FREE_BYTES else Level.WARN,
        "disk",
        sizes,
        expected=f"{needed:,} free bytes: twice the bytes in use, and at least {MIN_FREE_BYTES:,}",
        advice="free some space; `etl prune` removes files that are no longer needed",
    )


def check_dbt_project(folder: Path) -> HealthFinding:
    file = folder / "dbt_project.yml"
    if file.is_file():
        return HealthFinding.ok("dbt project", str(folder))
    return HealthFinding.problem(
        Level.ERROR,
        "dbt project",
        f"no {file}",
        expected="a dbt project",
        advice="set ETL_DBT_DIR to the folder of one",
    )


def check_mirror(mirror: str | None) -> HealthFinding:
    """Check that a mirror that is a directory has content; a mirror at a URL is not contacted."""
    if mirror is None:
        return HealthFinding.ok("mirror", "none, sources are fetched from their own hosts")
    if "://" in mirror:
        return HealthFinding.ok("mirror", "a URL, not contacted by this check")
    try:
        count = sum(entry.is_dir() for entry in Path(mirror).iterdir())
    except OSError as error:
        return HealthFinding.problem(
            Level.ERROR,
            "mirror",
            f"{mirror}: {error.strerror}",
            expected="a directory",
            advice="set ETL_MIRROR to another one",
        )
    if count and is_sample_mirror(mirror):
        return HealthFinding.problem(
            Level.WARN,
            "mirror",
            f"{mirror} has samples",
            expected="copies of the real feeds",
            advice="set ETL_MIRROR to another one, or unset it, to run on them",
        )
    if count:
        return HealthFinding.ok("mirror", f"{mirror}, {count} folders")
    return HealthFinding.problem(
        Level.WARN,
        "mirror",
        f"{mirror} has no folder",
        expected="one folder for each host",
        advice="fill it",
    )


def check_locations(
    domain: Domain, resolver: LocationResolver, now: datetime, stored_sources: Collection[str]
) -> Iterator[HealthFinding]:
    """Check that sources that are read from this machine have their file or folder.

    A missing one is an error if the source is required and not among `stored_sources`, which have
    a raw file to fall back on.
    """
    count = 0
    errors, warnings = [], []
    for source in domain.sources.values():
        if source.for_each is not None:
            continue
        is_present, fault = _find_local_file(source, resolver, now)
        count += is_present
        if fault and source.required and source.name not in stored_sources:
            errors.append(fault)
        elif fault:
            warnings.append(fault)
    for level, faults in ((Level.ERROR, errors), (Level.WARN, warnings)):
        if faults:
            yield HealthFinding.problem(
                level,
                "locations",
                faults,
                expected="the declared files",
                advice="put them there, or correct ETL_MIRROR or the declaration",
                domain=domain.name,
            )
    if count and not errors and not warnings:
        yield HealthFinding.ok("locations", f"{count} files and folders are there", domain.name)


def _find_local_file(source: Source, resolver: LocationResolver, now: datetime) -> tuple[bool, str]:
    """Return whether the source's file or folder is on this machine, and an error if it should be.

    A source at a URL has neither.
    """
    location = source.location.url or source.location.path or ""
    is_yearly = isinstance(source.partitions, Years)
    try:
        if isinstance(source.partitions, Files):
            fault = _check_file_set(source, source.partitions, resolver)
            return not fault, fault
        path = resolver.resolve_target(location, str(now.year) if is_yearly else None).path
    except UsageError as error:
        return False, f"{source.full_name}: {error}"
    if path is None:
        return False, ""
    # The file of the newest year may not be published yet, so only its folder is required.
    if path.parent.is_dir() if is_yearly else path.is_file():
        return True, ""
    return False, f"{source.full_name}: no {redact_path(str(path))}"


def _check_file_set(source: Source, declared: Files, resolver: LocationResolver) -> str:
    folder = file_set.resolve_folder(source, resolver)
    if not folder.is_dir():
        return f"{source.full_name}: no folder {folder}"
    if not file_set.list_files(source, declared, resolver).partitions:
        return f"{source.full_name}: no file of the set in {folder}"
    return ""


def check_secrets(
    domain: Domain,
    resolver: LocationResolver,
    find_secret: Callable[[str], SecretStr | None],
    stored_sources: Collection[str],
) -> Iterator[HealthFinding]:
    """Check that every environment variable that a declaration names as a secret is set.

    A missing one is an outage of its source: an error if the source is required and not among
    `stored_sources`, which have a raw file to fall back on. Secrets are not sent to a mirror, so
    with a mirror only row requests need them. A source with `for_each` whose secret is not set is
    switched off, which is no error unless the source is required.
    """
    errors: list[str] = []
    warnings: list[str] = []
    others: list[str] = []
    for source in domain.sources.values():
        if source.for_each is None and resolver.mirror is not None:
            continue
        for name in sorted({credential.env for credential in source.location.credentials.values()}):
            state = _secret_state(name, find_secret)
            if state == "set":
                others.append(f"{name} is set, for {source.full_name}")
            elif source.required and source.name not in stored_sources:
                errors.append(f"{name} is {state}, for {source.full_name}")
            elif state == "not set" and source.for_each is not None:
                others.append(f"{name} is not set, so {source.full_name} is off")
            else:
                warnings.append(f"{name} is {state}, for {source.full_name}")
    for level, faults in ((Level.ERROR, errors), (Level.WARN, warnings)):
        if faults:
            yield HealthFinding.problem(
                level,
                "secrets",
                faults,
                expected="a value for each",
                advice="set it in the environment or in .env",
                domain=domain.name,
            )
    if others and not errors and not warnings:
        yield HealthFinding.ok("secrets", list_some(others), domain.name)


def check_signing_key(
    path: Path | None, passphrase: SecretStr | None, now: datetime
) -> Iterator[HealthFinding]:
    """Check that the key that signs published sets can sign, if one is declared."""
    if path is None:
        return
    advice = "renew the key: docs/operations.md says how"
    try:
        key = load_signing_key(path, passphrase)
    except SettingsError as error:
        yield HealthFinding.problem(
            Level.ERROR, "signing key", str(error), expected="a key that can sign", advice=advice
        )
        return
    if key.expires_at is not None and key.expires_at - now < KEY_EXPIRES_SOON:
        yield HealthFinding.problem(
            Level.WARN,
            "signing key",
            f"{key.fingerprint} expires at {key.expires_at.isoformat()}",
            expected=f"a key that is valid for {KEY_EXPIRES_SOON.days} days",
            advice=advice,
        )
        return
    yield HealthFinding.ok("signing key", f"{key.fingerprint} can sign")


def _secret_state(name: str, find_secret: Callable[[str], SecretStr | None]) -> str:
    try:
        return "not set" if find_secret(name) is None else "set"
    except SettingsError:
        return "empty"


def _check_writable(
    what: str, folders: Sequence[Path], *, level: Level = Level.ERROR
) -> HealthFinding:
    reasons = map(disk.reason_not_writable, folders)
    faults = dict.fromkeys(reason for reason in reasons if reason)
    if not faults:
        return HealthFinding.ok(what, f"{folders[0]} is writable")
    return HealthFinding.problem(
        level,
        what,
        list(faults),
        expected="a writable folder",
        advice="make it writable, remove what is in its place, or set another one",
    )
