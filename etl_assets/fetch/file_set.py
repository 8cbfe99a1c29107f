"""The files of a declared file set: which files its folder has, and which partition each is.

No file is opened here. What follows for a file that is new, changed or deleted is decided by
`etl_assets.fetch.decide` and the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from etl_assets.declarations.source import Files, Source
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import UsageError

PLACEHOLDER = "{partition}"
NO_FILE = "no-file"
"""The partition of a set whose folder has no file, so that the set has an asset partition."""


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files of one source in its folder."""

    partitions: list[str]
    misnamed_files: list[str]
    """A message for each file whose name almost matches the declared form."""


def list_files(source: Source, declared: Files, resolver: LocationResolver) -> FileSet:
    """Returns the files of a set in order; none if the folder cannot be read.

    Raises UsageError if the mirror is a URL, which has no folder to list.
    """
    folder = resolve_folder(source, resolver)
    form = (source.location.path or "").rpartition("/")[2]
    prefix, _, suffix = form.partition(PLACEHOLDER)
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        names = []  # each file that was stored before is then reported as missing by its probe
    partitions, misnamed = [], []
    for name in names:
        if not (name.startswith(prefix) and name.endswith(suffix)):
            continue
        partition = name[len(prefix) : len(name) - len(suffix)]
        if partition != NO_FILE and re.fullmatch(declared.names, partition):
            partitions.append(partition)
        else:
            misnamed.append(
                f"{source.full_name}: {name!r} is ignored: expected {form} with {declared.names}"
            )
    return FileSet(partitions, misnamed)


def resolve_folder(source: Source, resolver: LocationResolver) -> Path:
    """Returns the folder of a set; raises UsageError if the mirror is a URL."""
    file = resolver.resolve_target(source.location.path or "", NO_FILE)
    if file.path is None:
        raise UsageError(
            f"{source.full_name}: expected ETL_MIRROR to be a directory, as a file set needs a"
            f" folder to list, found {file}"
        )
    return file.path.parent


def sort_partitions(partitions: Iterable[str]) -> list[str]:
    """Returns the distinct partitions in order, and `NO_FILE` only if there is no other."""
    return sorted(set(partitions) - {NO_FILE}) or [NO_FILE]
