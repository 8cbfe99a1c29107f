"""Look at what a run needs of the machine: folders, space, SQL, a mirror, files, secrets.

No remote is asked and nothing is changed. What earlier runs have left is
`operations.health_leftovers`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Files, Source, Years
from etl_assets.fetch import file_set
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import SettingsError, UsageError
from etl_assets.model.home import Home
from etl_assets.operations.health_result import HealthFinding, Level, first_of
from etl_assets.storage import disk

MIN_FREE_BYTES = 256 << 20  # what a run writes beside its files: events, dbt's target, a report
EVERY_RUN = ("raw", "partial", "tables", "rejects", "warehouse")
AT_NEED = ("quarantine", "scratch")  # for a bad file, or a verb that builds apart
FindSecret = Callable[[str], SecretStr | None]


def folders(
    home: Home, dagster_home: Path, domains: Mapping[str, Domain]
) -> Iterator[HealthFinding]:
    """Whether files can be written wherever a run writes them."""
    data, outs = home.root / "data", home.root / "outputs"
    storage = [dagster_home / name for name in ("history", "schedules")]
    sources = [source for domain in domains.values() for source in domain.sources.values()]
    names = [*EVERY_RUN, *(["answers"] if any(source.for_each for source in sources) else [])]
    yield _writable("home", [home.root])
    yield _writable("data", [data, *(data / name for name in names)])
    yield _writable("data at need", [data / name for name in AT_NEED], level=Level.WARN)
    yield _writable("outputs", [outs, *map(home.outputs, domains)])
    yield _writable("manifests", [home.manifests])
    yield _writable("Dagster's storage", [dagster_home, *storage])
    kept = [home.raw, home.partial, data / "quarantine"]
    devices = disk.find_devices(kept)
    yield one_file_system({home.relative(path): devices[path] for path in kept})


def one_file_system(devices: Mapping[str, int]) -> HealthFinding:
    """Whether a download becomes a raw file, or goes to quarantine, by a rename."""
    first, *_ = devices
    if others := [name for name in devices if devices[name] != devices[first]]:
        return HealthFinding.of(
            Level.ERROR,
            "file system",
            f"{first_of(others)} on another one than {first}",
            "one, as a file comes into its place by a rename",
            "let none of them be a link to another file system, or the place of one",
        )
    return HealthFinding.ok("file system", f"one for {', '.join(devices)}")


def space(free_bytes: int, held_bytes: int) -> HealthFinding:
    """Whether all that stands could be written twice more."""
    needed = max(2 * held_bytes, MIN_FREE_BYTES)
    found = f"{free_bytes:,} bytes are free, {held_bytes:,} are what stands"
    if free_bytes >= needed:
        return HealthFinding.ok("disk", found)
    return HealthFinding.of(
        Level.ERROR if free_bytes < MIN_FREE_BYTES else Level.WARN,
        "disk",
        found,
        f"{needed:,}, which is twice what stands and {MIN_FREE_BYTES:,} at the least",
        "free some space; `etl prune` removes what nothing needs",
    )


def dbt_project(folder: Path) -> HealthFinding:
    """Whether there is SQL to build from."""
    file = folder / "dbt_project.yml"
    if file.is_file():
        return HealthFinding.ok("dbt project", str(folder))
    return HealthFinding.of(
        Level.ERROR, "dbt project", f"no {file}", "a dbt project", "set ETL_DBT_DIR to one"
    )


def mirror(named: str | None) -> HealthFinding:
    """Whether a mirror that is a directory holds anything."""
    if named is None or "://" in named:
        told = "none, the remotes themselves are asked" if named is None else "a URL, not asked now"
        return HealthFinding.ok("mirror", told)
    try:
        count = sum(entry.is_dir() for entry in Path(named).iterdir())
    except OSError as error:
        found = f"{named}: {error.strerror}"
        return HealthFinding.of(
            Level.ERROR, "mirror", found, "a directory", "set ETL_MIRROR to another one"
        )
    if count:
        return HealthFinding.ok("mirror", f"{named}, {count} folders")
    return HealthFinding.of(
        Level.WARN, "mirror", f"{named} holds no folder", "one for each host", "fill it"
    )


def locations(
    domain: Domain, resolver: LocationResolver, now: datetime, held: Collection[str]
) -> Iterator[HealthFinding]:
    """Whether the files of this machine are there; `held` names sources with a file that stands.

    Without that, a required source fails its run.
    """
    looked_at = [
        (source, *_location(source, resolver, now))
        for source in domain.sources.values()
        if source.for_each is None
    ]
    for level in (Level.ERROR, Level.WARN):
        faults = [
            fault
            for source, _, fault in looked_at
            if fault and (source.required and source.name not in held) is (level is Level.ERROR)
        ]
        if faults:
            yield HealthFinding.of(
                level,
                "locations",
                faults,
                "what is declared",
                "put it there, or mend ETL_MIRROR or the declaration",
                domain.name,
            )
    count = sum(is_there for _, is_there, _ in looked_at)
    if count and not any(fault for *_, fault in looked_at):
        yield HealthFinding.ok("locations", f"{count} files and folders are there", domain.name)


def secrets(
    domain: Domain, resolver: LocationResolver, find: FindSecret
) -> Iterator[HealthFinding]:
    """Whether each variable is set that a declaration names; a mirror is sent none of them.

    Where requests come from a table, a source without its secret is off, and that is no fault.
    """
    missing, told = list[str](), list[str]()
    for source in domain.sources.values():
        if source.for_each is None and resolver.mirror is not None:
            continue
        for name in sorted({each.env for each in source.location.credentials.values()}):
            state = _secret(name, find)
            is_off = source.for_each is not None and state == "not set"
            fine = state == "set" or is_off
            switched = f", so {source.full_name} is off" if is_off else f", for {source.full_name}"
            (told if fine else missing).append(f"{name} is {state}{switched}")
    if missing:
        yield HealthFinding.of(
            Level.ERROR,
            "secrets",
            missing,
            "a value of each",
            "set it in the environment or in .env",
            domain.name,
        )
    elif told:
        yield HealthFinding.ok("secrets", first_of(told), domain.name)


def _secret(name: str, find: FindSecret) -> str:
    try:
        return "not set" if find(name) is None else "set"
    except SettingsError:
        return "empty"


def _writable(what: str, paths: Sequence[Path], *, level: Level = Level.ERROR) -> HealthFinding:
    faults = dict.fromkeys(fault for path in paths if (fault := disk.reason_not_writable(path)))
    if not faults:
        return HealthFinding.ok(what, f"{paths[0]} can be written")
    return HealthFinding.of(
        level,
        what,
        list(faults),
        "a folder that can be written",
        "make it writable, move away what is in its place, or set another one",
    )


def _location(source: Source, resolver: LocationResolver, now: datetime) -> tuple[bool, str]:
    """Whether the file or folder is one of this machine and there, and what is wrong with it."""
    text = source.location.url or source.location.path or ""
    try:
        if isinstance(source.partitions, Files):
            return _folder(source, source.partitions, resolver)
        is_yearly = isinstance(source.partitions, Years)
        path = resolver.resolve_target(text, str(now.year) if is_yearly else None).path
    except UsageError as error:
        return False, f"{source.full_name}: {error}"
    if path is None:
        return False, ""
    # The newest year may not be published yet: its folder stands for all of them.
    is_there = path.parent.is_dir() if is_yearly else path.is_file()
    return is_there, "" if is_there else f"{source.full_name}: no {path}"


def _folder(source: Source, declared: Files, resolver: LocationResolver) -> tuple[bool, str]:
    folder = file_set.resolve_folder(source, resolver)
    if not folder.is_dir():
        return False, f"{source.full_name}: no folder {folder}"
    if not file_set.list_files(source, declared, resolver).partitions:
        return False, f"{source.full_name}: no file of the set in {folder}"
    return True, ""
