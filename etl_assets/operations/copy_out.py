"""`--output-dir`: a copy of the published set in a directory that the operator names.

The home keeps no record of a copy, and no run reads one.
"""

from __future__ import annotations

from pathlib import Path

from etl_assets.defs.context import DomainSession
from etl_assets.model.errors import HomeError, UsageError
from etl_assets.publish import run_directory
from etl_assets.storage import disk

EXPECTED = "--output-dir: expected an empty directory or none"


def require_empty(target: Path) -> Path:
    """Return the absolute path; raises UsageError unless it is an empty directory, or nothing."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"{EXPECTED}, found {target}, a file")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{EXPECTED}, found {target}, which is not empty")
    return target.resolve()


def require_copy_target(session: DomainSession, target: Path) -> Path:
    """Do the same for a copy, which replaces its target by one rename."""
    path, name = require_empty(target), session.domain.name
    parent = next(folder for folder in path.parents if folder.exists())
    runs = session.home.outputs(name)
    if path.is_mount():
        raise UsageError(f"{EXPECTED}, found {target}, a mount point; name a directory inside it")
    if runs.is_relative_to(path) or path.parent == runs:
        raise UsageError(f"{EXPECTED}, found {target}, among the run directories of {name}")
    if not disk.can_create_folder(parent):
        raise UsageError(f"{EXPECTED}, found {target}, which cannot be created in {parent}")
    return path


def copy_published(session: DomainSession, target: Path, *, published: bool) -> None:
    """Copy the published set, or report that this run published nothing to copy."""
    echo, home = session.project.echo, session.home
    directory = session.published_directory() if published else None
    if directory is None:
        echo(f"{target}: not written, as this run of {session.domain.name} published nothing")
        return
    try:
        run_directory.copy_run_directory(directory, target)
    except (OSError, HomeError) as error:
        raise HomeError(
            f"{target}: expected to write a copy, found: {error}; the run is published "
            f"all the same, in {home.relative(directory)}; run again with another directory"
        ) from error
    echo(f"{target}: a copy of {home.relative(directory)}")
