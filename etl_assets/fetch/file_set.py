"""The files of a declared set as they lie in its folder: what tells them apart, and strangers.

Nothing is opened here; what becomes of a file that is new, changed or gone is decided elsewhere.
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
"""The partition that stands for the set while its folder holds nothing of it."""


@dataclass(frozen=True, slots=True)
class FileSet:
    """What was found of one source."""

    partitions: list[str]
    misnamed_files: list[str]
    """Files whose name is nearly of the set's form, each as a sentence."""


def list_files(source: Source, declared: Files, resolver: LocationResolver) -> FileSet:
    """The set's partitions in order; a folder that cannot be read is an empty one.

    Raises UsageError where the mirror is a URL: a folder is what is looked into.
    """
    folder = resolve_folder(source, resolver)
    prefix, _, suffix = (source.location.path or "").rpartition("/")[2].partition(PLACEHOLDER)
    found, strangers = [], []
    for name in sorted(_names(folder)):
        if not (name.startswith(prefix) and name.endswith(suffix)):
            continue
        partition = name[len(prefix) : len(name) - len(suffix)]
        if partition != NO_FILE and re.fullmatch(declared.names, partition):
            found.append(partition)
        else:
            strangers.append(_stranger(source, declared, name))
    return FileSet(found, strangers)


def resolve_folder(source: Source, resolver: LocationResolver) -> Path:
    """The folder in which the set's files lie."""
    file = resolver.resolve(source.location, NO_FILE).file
    if file.path is None:
        raise UsageError(
            f"{source.full_name}: expected ETL_MIRROR to be a directory, as the files of a set are"
            f" found in a folder, found {file}"
        )
    return file.path.parent


def sort_partitions(partitions: Iterable[str]) -> list[str]:
    """Without the one that stands for none, where there are others; itself where there are none."""
    return sorted(set(partitions) - {NO_FILE}) or [NO_FILE]


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:  # each file that is known then tells by itself that it cannot be had
        return []


def _stranger(source: Source, declared: Files, name: str) -> str:
    form = (source.location.path or "").rpartition("/")[2]
    return f"{source.full_name}: {name!r} is left alone: expected {form} with {declared.names}"
