"""The directories of runs under `outputs/<domain>/` and the name `latest` that readers follow.

What stands in a document is a writer's; whether a candidate may be published is decided elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import ValidationError

from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import MANIFEST_FILE, MARTS, RunManifest
from etl_assets.storage import atomic_write
from etl_assets.storage.atomic_write import atomic_file, flush_directory
from etl_assets.storage.hashing import hash_file

SUMS_FILE = "SHA256SUMS"
STAMP = re.compile(r"\d{8}_\d{6}(_\d+)?")
GONE = ".gone-"
COMING = ".latest."
NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV})


def create(home: Home, domain: str, started_at: datetime) -> Path:
    """A new, empty directory named after the moment; `_2`, `_3` where that second has one."""
    stamp = started_at.astimezone(UTC).strftime("%Y%m%d_%H%M%S")
    parent = home.outputs(domain)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            directory = parent / (stamp if number == 1 else f"{stamp}_{number}")
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            break
    except OSError as error:
        raise _unusable(parent, "a directory that can be written", error) from error
    return directory


def link_unchanged(standing: Path, candidate: Path, files: Iterable[str]) -> None:
    """Give the candidate the standing files by name: same bytes, same modification time."""
    for file in files:
        source, target = standing / file, candidate / file
        if not source.is_file():
            raise HomeError(
                f"{source}: expected the published file, found none; "
                f"remove {standing.parent / 'latest'} and run again to make it anew"
            )
        link_file(source, target)


def link_file(source: Path, target: Path) -> None:
    """Give a file a second name; a copy where the file system knows no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise _unusable(target, "a hard link to the published file", error) from error
        with atomic_file(target) as temporary:
            shutil.copy2(source, temporary)


def copy_run_directory(published: Path, target: Path) -> None:
    """A copy of all files of a run at `target`: there with its last byte, or not at all."""
    atomic_write.remove_temporary_files(target.parent, name=target.name)
    with atomic_write.atomic_directory(target) as temporary:
        shutil.copytree(published, temporary, dirs_exist_ok=True)


def list_files(directory: Path) -> list[str]:
    """The names of all files below a run's directory, in order."""
    return sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    )


def write_sums(directory: Path) -> Path:
    """`SHA256SUMS` over every other file of the directory, as `sha256sum --check` reads it."""
    target = directory / SUMS_FILE
    names = [name for name in list_files(directory) if name != SUMS_FILE]
    with atomic_file(target) as temporary:
        temporary.write_text(
            "".join(f"{hash_file(directory / name)}  {name}\n" for name in names), encoding="utf-8"
        )
    return target


def read_sums(directory: Path) -> dict[str, str]:
    """The digests that `SHA256SUMS` states, by file; HomeError where it is missing or damaged."""
    path = directory / SUMS_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except OSError as error:
        raise _unusable(path, "the sums of a run", error) from error
    except ValueError as error:
        raise HomeError(f"{path}: expected lines of a digest and a name, found another") from error


def find_history(home: Home, domain: str, model: str, sha256: str) -> Path | None:
    """The file of a history model with this digest, in whichever run's directory it is kept."""
    for directory in list_runs(home, domain):
        file = directory / MARTS / f"{model}.parquet"
        if file.is_file() and hash_file(file) == sha256:
            return file
    return None


def count_rows(path: Path) -> int:
    """The number of rows of a parquet file."""
    return int(pq.read_metadata(path).num_rows)


def announce_publication(home: Home, domain: str, run_dir: Path) -> None:
    """Lay the link beside `latest` that is to become it.

    While the link is there the run is not published, whatever its manifest says.
    """
    parent = home.outputs(domain)
    if run_dir.parent != parent or not run_dir.is_dir():
        raise HomeError(f"{run_dir}: expected a run's directory below {parent}")
    try:
        _coming(run_dir).symlink_to(run_dir.name, target_is_directory=True)
    except OSError as error:
        raise _unusable(home.latest(domain), "a symbolic link beside it", error) from error


def publish(home: Home, domain: str, run_dir: Path) -> None:
    """Let the announced link be `latest`; readers see the old set or the new, never none."""
    if not is_publication_pending(run_dir):
        announce_publication(home, domain, run_dir)
    try:
        _coming(run_dir).replace(home.latest(domain))
        flush_directory(home.outputs(domain))
    except OSError as error:
        raise _unusable(
            home.latest(domain), "a symbolic link that can be replaced", error
        ) from error


def is_publication_pending(run_dir: Path) -> bool:
    """Whether the run is about to be published, or was ended on the way."""
    return _coming(run_dir).is_symlink()


def withdraw_publication(run_dir: Path) -> None:
    """Take back what was announced, and the manifest that may say that it was published."""
    if not is_publication_pending(run_dir):
        return
    for file in (SUMS_FILE, MANIFEST_FILE):
        (run_dir / file).unlink(missing_ok=True)
    _coming(run_dir).unlink(missing_ok=True)


def published_directory(home: Home, domain: str) -> Path | None:
    """The published set's directory; None before the first, HomeError for a link to nothing."""
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
            "put it back, or remove the link and run again"
        )
    return target


def write_manifest(run_dir: Path, manifest: RunManifest) -> Path:
    target = run_dir / MANIFEST_FILE
    with atomic_file(target) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return target


def read_manifest(run_dir: Path) -> RunManifest:
    """The run's manifest; raises HomeError where it is missing or damaged."""
    path = run_dir / MANIFEST_FILE
    try:
        return RunManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _unusable(path, "the manifest of a run", error) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"]) or "the whole file"
        raise HomeError(
            f"{path}: {field}: {first['msg']}, in a manifest of {error.error_count()} faults"
        ) from error


def list_runs(home: Home, domain: str) -> Iterator[Path]:
    """Directories of runs, the newest first, without those that were cut off.

    Such a one has no manifest, or one that was never followed by `latest`.
    """
    found = [path.parent for path in home.outputs(domain).glob(f"*/{MANIFEST_FILE}")]
    ended = (path for path in found if _stamp(path) and not is_publication_pending(path))
    yield from sorted(ended, key=_in_order_of_start, reverse=True)


def list_domains(home: Home) -> list[str]:
    """Every domain that ever left a run in this home, declared or not."""
    return sorted({path.parent.name for path in home.root.glob("outputs/*/*/") if _stamp(path)})


def list_directories(home: Home, domain: str) -> list[Path]:
    """Every run's directory, one cut off too, the newest first."""
    found = [path for path in home.outputs(domain).glob("*/") if _stamp(path)]
    return sorted(found, key=_in_order_of_start, reverse=True)


def list_interrupted(home: Home, domain: str) -> list[Path]:
    """What a killed run has left: half a removal, half a publication, directories without an end.

    Only directories that are newer than every run that ended: what is older, pruning takes away.
    """
    parent = home.outputs(domain)
    last = next(list_runs(home, domain), None)
    newer = [
        path
        for path in list_directories(home, domain)
        if last is None or _in_order_of_start(path) > _in_order_of_start(last)
    ]
    return sorted([*parent.glob(f"{GONE}*"), *parent.glob(f"{COMING}*"), *newer])


def measure_freed_bytes(directories: Iterable[Path]) -> dict[Path, int]:
    """The bytes that are free after each directory, when they go one after the other.

    A file that other directories link too costs nothing until the last of them is gone.
    """
    left: dict[tuple[int, int], int] = {}
    freed = {}
    for directory in directories:
        freed[directory] = 0
        for path in directory.rglob("*"):
            about = path.lstat()
            if not path.is_dir():
                name = (about.st_dev, about.st_ino)
                left[name] = left.get(name, about.st_nlink) - 1
                freed[directory] += about.st_size if left[name] == 0 else 0
    return freed


def remove(directory: Path) -> None:
    """Take a run's directory away; one half removed is never seen under its name."""
    gone = directory.with_name(f"{GONE}{directory.name}")
    try:
        directory.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise _unusable(directory, "a directory that can be removed", error) from error


def finish_removals(home: Home, domain: str) -> None:
    """Finish removals that were cut off."""
    for gone in home.outputs(domain).glob(f"{GONE}*"):
        shutil.rmtree(gone)


def clean_up_interrupted(home: Home, domain: str) -> None:
    """Remove what a killed run has left half-written; for the one writer of the domain only."""
    for left in home.outputs(domain).glob(f"{COMING}*"):
        withdraw_publication(left.with_name(left.name.removeprefix(COMING)))
        left.unlink(missing_ok=True)
    for directory in list_directories(home, domain):
        if not (directory / SUMS_FILE).exists():
            for folder in (directory, *directory.glob("**/")):
                atomic_write.remove_temporary_files(folder)


def _coming(run_dir: Path) -> Path:
    return run_dir.with_name(f"{COMING}{run_dir.name}")


def _stamp(directory: Path) -> bool:
    return bool(STAMP.fullmatch(directory.name)) and not directory.is_symlink()


def _in_order_of_start(directory: Path) -> tuple[str, int]:
    day, clock, *number = directory.name.split("_")
    return f"{day}_{clock}", int(number[0]) if number else 1


def _unusable(path: Path, expected: str, error: OSError) -> HomeError:
    return HomeError(f"{path}: expected {expected}, found: {error.strerror or error}")
