"""The run directories under `outputs/<domain>/`, and the link `latest` that readers follow.

The content of documents is in `publish.writers`; whether a candidate may be published is decided in
`publish.gate`.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from pathlib import Path
from types import MappingProxyType

import msgspec
from pydantic import ValidationError

from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import PublishedLink
from etl_assets.model.run_manifest import MANIFEST_FILE, RunManifest
from etl_assets.storage import atomic_write
from etl_assets.storage.atomic_write import atomic_file, flush_to_disk
from etl_assets.storage.hashing import hash_file

SUMS_FILE = "SHA256SUMS"
SIGNATURE_SUFFIX = ".asc"
SUMS_SIGNATURE = SUMS_FILE + SIGNATURE_SUFFIX
NOT_SUMMED = frozenset({SUMS_FILE, SUMS_SIGNATURE})
DIRECTORY_NAME = re.compile(r"\d{8}_\d{6}(_\d+)?")
REMOVAL_PREFIX = ".gone-"
PENDING_PREFIX = ".latest."
LINK_AGAIN = ".linked-again"
ALTERED_MANIFEST = "manifest.json.altered"
READ_ONLY = 0o444
MAX_DECODED_PLACES = 1000  # about 0.5 kB each
# The file system has no hard links, or no more for this file, or the files are on two devices.
NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV})


def create(home: Home, domain: str, started_at: datetime) -> Path:
    """Create an empty directory named after the second; `_2`, `_3` if that name exists."""
    stamp = started_at.astimezone(UTC).strftime("%Y%m%d_%H%M%S")
    parent = home.outputs(domain)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            directory = parent / (stamp if number == 1 else f"{stamp}_{number}")
            try:
                directory.mkdir()  # without exist_ok: two processes never get the same directory
            except FileExistsError:
                continue
            break
    except OSError as error:
        raise _home_error(parent, "a directory that can be written", error) from error
    return directory


def rename_beside(run_dir: Path, target: Path) -> Path:
    """Rename a directory to a free name of the same second as `target`, and return it."""
    stamp = "_".join(target.name.split("_")[:2])
    names = (target.with_name(f"{stamp}_{number}") for number in count(2))
    return run_dir.rename(next(path for path in names if not path.exists()))


def list_runs(home: Home, domain: str) -> Iterator[Path]:
    """Directories of runs that ended, newest first, by their sequence and not by the clock.

    A run that was killed has no manifest, or one with a publication that is still pending.
    """
    yield from sorted(_ended_runs(home, domain), key=_run_order, reverse=True)


def list_directories(home: Home, domain: str) -> list[Path]:
    """Directories of all runs, also of killed ones, newest first."""
    return sorted(_run_directories(home, domain), key=_run_order, reverse=True)


def last_sequence(home: Home, domain: str) -> int:
    """The highest position of a run that has a directory; 0 if there is none."""
    places = map(_read_place, _run_directories(home, domain))
    return max((place.sequence for place in places), default=0)


def newest_time(home: Home, domain: str) -> datetime | None:
    """The latest logical time of a set that is or was published; None if there is none.

    A restored set is older than those that it replaced, and no two publications may have one time:
    it is the number of a publication in the feed of changes.
    """
    places = map(_read_place, _run_directories(home, domain))
    return max((time for place in places for time in place.times), default=None)


def read_sequence(run_dir: Path) -> int:
    """The position of a run; 0 if its manifest cannot be read, or an older version wrote it."""
    return _read_place(run_dir).sequence


def last_published_sequence(home: Home, domain: str) -> int:
    """The highest position of a run that was published; 0 if there is none."""
    places = map(_read_place, _ended_runs(home, domain))
    return max((place.sequence for place in places if place.published), default=0)


def list_domains(home: Home) -> list[str]:
    """Every domain that has a run directory in this home, declared or not."""
    return sorted({path.parent.name for path in home.root.glob("outputs/*/*/") if _is_run(path)})


def list_files(directory: Path) -> list[str]:
    """The relative names of all files below a run directory, in order."""
    names = []
    # Not `rglob`: a path object per file takes five times as long.
    for folder, _, files in os.walk(directory):
        prefix = "" if folder == str(directory) else f"{folder[len(str(directory)) + 1 :]}/"
        names += [prefix + file for file in files]
    return sorted(names)


def link_unchanged(published: Path, candidate: Path, files: Iterable[str]) -> None:
    """Link published files into the candidate, so that they keep bytes and modification time.

    Raises HomeError if one is missing.
    """
    for file in files:
        source, target = published / file, candidate / file
        if not source.is_file():
            raise HomeError(
                f"{source}: expected the published file, found none; run again to write it"
            )
        link_file(source, target)


def link_file(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise _home_error(target, "a hard link to the published file", error) from error
        with atomic_file(target) as temporary:
            shutil.copy2(source, temporary)


def copy_run_directory(published: Path, target: Path) -> None:
    """Copy all files of a run; `target` appears when its last file is complete."""
    atomic_write.remove_temporary_files(target.parent, name=target.name)
    with atomic_write.atomic_directory(target) as temporary:
        shutil.copytree(published, temporary, dirs_exist_ok=True)


def write_sums(directory: Path, digests: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Write `SHA256SUMS` of all other files, in the format of `sha256sum --check`.

    `digests` are those that files had when they were written. Only the other files are read: a sum
    of damaged bytes would make them valid.
    """
    target = directory / SUMS_FILE
    names = [name for name in list_files(directory) if name not in NOT_SUMMED]
    sums = {name: digests.get(name) or hash_file(directory / name) for name in names}
    with atomic_file(target) as temporary:
        temporary.write_text(
            "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()), encoding="utf-8"
        )
    return target


def protect(directory: Path) -> None:
    """Make all files of a run read-only."""
    for name in list_files(directory):
        path = directory / name
        if path.stat().st_mode & 0o222:
            path.chmod(READ_ONLY)


def read_sums(directory: Path) -> dict[str, str]:
    """The digests in `SHA256SUMS` by file; raises HomeError if it is missing or damaged."""
    path = directory / SUMS_FILE
    sums = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            digest, name = line.split("  ", 1)
            sums[name] = digest
    except OSError as error:
        raise _home_error(path, "the sums of a run", error) from error
    except ValueError as error:
        raise HomeError(f"{path}: expected lines of a digest and a name, found another") from error
    return sums


def write_manifest(run_dir: Path, manifest: RunManifest) -> Path:
    target = run_dir / MANIFEST_FILE
    with atomic_file(target) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return target


def read_manifest(run_dir: Path) -> RunManifest:
    """The run's manifest; raises HomeError if it is missing or damaged."""
    path = run_dir / MANIFEST_FILE
    try:
        return RunManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _home_error(path, "the manifest of a run", error) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"]) or "the whole file"
        raise HomeError(
            f"{path}: {field}: {first['msg']}, in a manifest of {error.error_count()} faults"
        ) from error


def set_manifest_aside(run_dir: Path) -> None:
    """Rename a manifest that was altered, so that no command reads it."""
    path = run_dir / MANIFEST_FILE
    if path.exists():
        path.rename(run_dir / ALTERED_MANIFEST)


def is_unfinished(run_dir: Path) -> bool:
    """True if the run is in progress, or was killed before it wrote its manifest."""
    return not any((run_dir / name).exists() for name in (MANIFEST_FILE, ALTERED_MANIFEST))


def count_rows(path: Path) -> int:
    """The number of rows of a parquet file; raises HomeError if it cannot be read."""
    # Imported by need: most that use this module read no parquet, and pyarrow takes 0.15 s.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise HomeError(
            f"{path}: expected a parquet file, found: {error}; run again to make it again"
        ) from error


def announce_publication(home: Home, domain: str, run_dir: Path) -> None:
    """Create the pending link: the one that `publish` renames to `latest`.

    As long as it exists, the run is not published, even if its manifest says so.
    """
    parent = home.outputs(domain)
    if run_dir.parent != parent or not run_dir.is_dir():
        raise HomeError(f"{run_dir}: expected a run's directory below {parent}")
    try:
        _pending_link(run_dir).symlink_to(run_dir.name, target_is_directory=True)
    except OSError as error:
        raise _home_error(home.latest(domain), "a symbolic link next to it", error) from error


def publish(home: Home, domain: str, run_dir: Path) -> None:
    """Rename the pending link to `latest`; readers see the old set or the new one, never none."""
    if not is_publication_pending(run_dir):
        announce_publication(home, domain, run_dir)
    _move_to_latest(home, domain, _pending_link(run_dir))


def link_again(home: Home, domain: str, run_dir: Path) -> None:
    """Let `latest` link to a set that was published before."""
    # Not a pending link: if this is interrupted, the set stays published.
    link = home.outputs(domain) / LINK_AGAIN
    link.unlink(missing_ok=True)
    link.symlink_to(run_dir.name, target_is_directory=True)
    _move_to_latest(home, domain, link)


def _move_to_latest(home: Home, domain: str, link: Path) -> None:
    latest = home.latest(domain)
    try:
        if latest.is_dir() and not latest.is_symlink():
            atomic_write.set_aside(latest)
        # A rename is atomic, but only the flush makes it survive a power cut.
        link.replace(latest)
        flush_to_disk(home.outputs(domain))
    except OSError as error:
        raise _home_error(latest, "a symbolic link that can be replaced", error) from error


def is_publication_pending(run_dir: Path) -> bool:
    """True if the run is about to be published, or was killed at that point."""
    return _pending_link(run_dir).is_symlink()


def withdraw_publication(run_dir: Path) -> None:
    """Remove a pending link, and with it the manifest and checksums that say published."""
    if not is_publication_pending(run_dir):
        return
    # The link goes last: without it, a manifest that is still there would count as published.
    for file in (SUMS_SIGNATURE, SUMS_FILE, MANIFEST_FILE):
        (run_dir / file).unlink(missing_ok=True)
    _pending_link(run_dir).unlink(missing_ok=True)


def published_directory(
    home: Home, domain: str, newest: PublishedLink | None = None
) -> Path | None:
    """The directory of the published set, or None before the first publication.

    That is the one of `newest`, which a database has, if it exists; else that of `latest`. Raises
    HomeError if `latest` is not a link, or is a link to nothing.
    """
    if newest and (directory := home.outputs(domain) / newest.directory).is_dir():
        return directory
    latest = home.latest(domain)
    if not latest.is_symlink():
        if latest.exists():
            raise HomeError(
                f"{latest}: expected a symbolic link, found a file or directory; move it away"
            )
        return None
    target = latest.parent / latest.readlink()
    if not target.is_dir():
        raise HomeError(
            f"{latest}: expected the published directory {target}, found nothing there; "
            "put it back from a copy"
        )
    return target


def list_interrupted(home: Home, domain: str) -> list[Path]:
    """Leftovers of killed runs: removals, pending links, and directories without a manifest."""
    parent = home.outputs(domain)
    unfinished = [path for path in list_directories(home, domain) if is_unfinished(path)]
    links = parent.glob(f"{PENDING_PREFIX}*")
    return sorted([*parent.glob(f"{REMOVAL_PREFIX}*"), *links, *unfinished])


def clean_up_interrupted(home: Home, domain: str) -> None:
    """Remove pending links and temporary files of killed runs; needs the domain's lock."""
    for link in home.outputs(domain).glob(f"{PENDING_PREFIX}*"):
        withdraw_publication(link.with_name(link.name.removeprefix(PENDING_PREFIX)))
        link.unlink(missing_ok=True)
    for directory in _run_directories(home, domain):
        # The checksums are written last, so a directory with them has no temporary files.
        if not (directory / SUMS_FILE).exists():
            for folder in (directory, *directory.glob("**/")):
                atomic_write.remove_temporary_files(folder)


def measure_freed_bytes(directories: Iterable[Path]) -> dict[Path, int]:
    """The bytes that removing each directory frees, if they are removed in this order.

    A hard-linked file is freed with the last directory that links it.
    """
    remaining_links: dict[tuple[int, int], int] = {}
    freed = {}
    for directory in directories:
        freed[directory] = 0
        for path in directory.rglob("*"):
            if path.is_dir():
                continue
            status = path.lstat()
            inode = (status.st_dev, status.st_ino)
            remaining_links[inode] = remaining_links.get(inode, status.st_nlink) - 1
            if remaining_links[inode] == 0:
                freed[directory] += status.st_size
    return freed


def remove(directory: Path) -> None:
    """Remove a run directory; renamed first, so that no reader sees half of it."""
    renamed = directory.with_name(f"{REMOVAL_PREFIX}{directory.name}")
    try:
        directory.rename(renamed)
        shutil.rmtree(renamed)
    except OSError as error:
        raise _home_error(directory, "a directory that can be removed", error) from error


def finish_removals(home: Home, domain: str) -> None:
    """Remove what an interrupted `remove` left."""
    for directory in home.outputs(domain).glob(f"{REMOVAL_PREFIX}*"):
        shutil.rmtree(directory)


def _pending_link(run_dir: Path) -> Path:
    return run_dir.with_name(f"{PENDING_PREFIX}{run_dir.name}")


def _run_directories(home: Home, domain: str) -> Iterator[Path]:
    return (path for path in home.outputs(domain).glob("*/") if _is_run(path))


def _ended_runs(home: Home, domain: str) -> Iterator[Path]:
    directories = (path.parent for path in home.outputs(domain).glob(f"*/{MANIFEST_FILE}"))
    return (path for path in directories if _is_run(path) and not is_publication_pending(path))


def _is_run(directory: Path) -> bool:
    return bool(DIRECTORY_NAME.fullmatch(directory.name)) and not directory.is_symlink()


def _start_order(directory: Path) -> tuple[str, int]:
    """Sort key: by number within a second, so that `_10` follows `_9`."""
    day, clock, *number = directory.name.split("_")
    return f"{day}_{clock}", int(number[0]) if number else 1


def _run_order(directory: Path) -> tuple[bool, int, str, int]:
    """Sort key: by sequence, a run without an end last; by name for runs of older versions."""
    return is_unfinished(directory), _read_place(directory).sequence, *_start_order(directory)


class _Link(msgspec.Struct, frozen=True):
    """The logical time of the set that a set replaced."""

    as_of: datetime | None = None


class _Place(msgspec.Struct, frozen=True):
    """Where a run is in the order of runs, and whether and when it published."""

    sequence: int = 0
    published: bool = False
    as_of: datetime | None = None
    previous: _Link | None = None

    @property
    def times(self) -> list[datetime]:
        """The logical times of the published sets that the run knows."""
        times = [self.as_of, self.previous and self.previous.as_of] if self.published else []
        return [time for time in times if time]


def _read_place(directory: Path) -> _Place:
    path = directory / MANIFEST_FILE
    try:
        status = path.stat()
        return _decode_place(path, status.st_mtime_ns, status.st_size, status.st_ino)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return _Place()


# A run puts its kept runs in order about ten times. A manifest that is written again is a new file.
@lru_cache(MAX_DECODED_PLACES)
def _decode_place(path: Path, *_signature: int) -> _Place:
    # Without the rest of the manifest, as this is read of every run that is kept.
    return msgspec.json.decode(path.read_bytes(), type=_Place)


def _home_error(path: Path, expected: str, error: OSError) -> HomeError:
    return HomeError(f"{path}: expected {expected}, found: {error.strerror or error}")
