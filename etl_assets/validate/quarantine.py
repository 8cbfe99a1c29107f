"""The quarantine: refused files, each with the reason in a JSON file of the same name.

Whether a file is refused is decided by `etl_assets.validate.validate` and the stages.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from etl_assets.declarations.source import Source
from etl_assets.model.errors import HomeError, Problem
from etl_assets.model.home import Home
from etl_assets.model.records import Part, QuarantinedFile
from etl_assets.storage.atomic_write import atomic_file, translate_os_errors, write_text
from etl_assets.storage.hashing import hash_file

REASON_SUFFIX = ".json"


def quarantine_file(
    home: Home,
    source: Source,
    part: Part,
    path: Path,
    problem: Problem,
    *,
    url: str,
    at: datetime,
    keep_original: bool = False,
) -> QuarantinedFile:
    """Move a refused file to quarantine and write the reason; equal bytes are kept once.

    With `keep_original` the file is copied: the record of another source points at the original.
    """
    sha256 = hash_file(path)
    target = home.quarantine(source.domain, source.name) / sha256
    record = QuarantinedFile(
        part=part,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        path=home.relative(target),
        url=url,
        where=problem.where,
        expected=problem.expected,
        actual=problem.actual,
        quarantined_at=at,
    )
    # The reason goes first: after a crash there may be a reason without a file, never the reverse.
    write_text(_reason_path(target), record.model_dump_json(indent=2) + "\n")
    if keep_original:
        with atomic_file(target) as temporary:
            shutil.copyfile(path, temporary)
    else:
        with translate_os_errors(target):
            os.replace(path, target)
    return record


def list_quarantined(home: Home, source: Source) -> list[QuarantinedFile]:
    """Returns the quarantined files of a source, the newest first.

    Raises HomeError if a reason file is damaged.
    """
    folder = home.quarantine(source.domain, source.name)
    records = [_read_reason(path) for path in sorted(folder.glob(f"*{REASON_SUFFIX}"))]
    return sorted(records, key=lambda record: record.quarantined_at, reverse=True)


def list_all_quarantined(home: Home) -> list[QuarantinedFile]:
    """Returns the quarantined files of all sources, declared or not."""
    paths = home.root.glob(f"{home.relative(home.quarantine('*', '*'))}/*{REASON_SUFFIX}")
    return [_read_reason(path) for path in sorted(paths)]


def delete_quarantined(home: Home, record: QuarantinedFile) -> int:
    """Delete a file and its reason; returns the bytes freed."""
    path = home.root / record.path
    freed = path.stat().st_size if path.exists() else 0
    with translate_os_errors(path):
        path.unlink(missing_ok=True)
        _reason_path(path).unlink(missing_ok=True)
    return freed


def _reason_path(path: Path) -> Path:
    return path.with_name(path.name + REASON_SUFFIX)


def _read_reason(path: Path) -> QuarantinedFile:
    try:
        return QuarantinedFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"]) or "the whole file"
        raise HomeError(
            f"{path}: {field}: {first['msg']}; repair it, or remove it and its file"
        ) from error
