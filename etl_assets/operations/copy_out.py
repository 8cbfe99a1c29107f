"""The copy of a published set that a person asks for: fresh place first, whole copy last.

Readers of the home read `latest`; nothing in the home knows of a copy, and no run starts from one.
"""

from __future__ import annotations

from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import ProjectContext
from etl_assets.model.errors import HomeError, UsageError
from etl_assets.publish import run_directory
from etl_assets.storage import disk

WANTED = "--output-dir: expected an empty directory or none"


def require_fresh(target: Path) -> Path:
    """The place as an absolute path; UsageError where something is there already."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"{WANTED}, found {target}, a file")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{WANTED}, found {target}, which is not empty")
    return target.resolve()


def require_place(project: ProjectContext, domain: Domain, target: Path) -> Path:
    """The same for a copy that comes by one rename and lies apart from the runs."""
    wanted = require_fresh(target)
    above = next(path for path in wanted.parents if path.exists())
    runs = project.home.outputs(domain.name)
    if wanted.is_mount():
        raise UsageError(f"{WANTED}, found {target}, a mount point; name a directory inside it")
    if runs.is_relative_to(wanted) or wanted.parent == runs:
        raise UsageError(f"{WANTED}, found {target}, where the runs of {domain.name} lie")
    if not disk.can_create_folder(above):
        raise UsageError(f"{WANTED}, found {target}, which cannot be made in {above}")
    return wanted


def deliver(project: ProjectContext, domain: Domain, target: Path, *, published: bool) -> None:
    """Copy the published set where this run has published; else say that there is no copy."""
    directory = run_directory.published_directory(project.home, domain.name) if published else None
    if directory is None:
        project.echo(f"{target}: not written, for this run of {domain.name} published nothing")
        return
    try:
        run_directory.copy_run_directory(directory, target)
    except (OSError, HomeError) as error:
        raise HomeError(
            f"{target}: expected to put a copy there, found: {error}; the run is published "
            f"all the same, in {project.home.relative(directory)}; run again with a free place"
        ) from error
    project.echo(f"{target}: a copy of {project.home.relative(directory)}")
