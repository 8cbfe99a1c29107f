"""The ledger's files under `manifests/`: load, and export where something changed.

What a record holds is `etl_assets.ledger.manifest`. A damaged manifest raises with file and line;
it is never replaced by an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from etl_assets.ledger.manifest import (
    MANIFESTS,
    Manifest,
    ManifestMetadata,
    ManifestRecord,
    Process,
)
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.storage.atomic_write import atomic_file

Ledger = Manifest[ManifestRecord]


def manifest_file(home: Home, domain: str, process: Process) -> Path:
    return home.manifests / f"{domain}_{process}.manifest.json"


def load_manifest(home: Home, domain: str, process: Process) -> Ledger | None:
    """The manifest as it stands, None where there is none; raises HomeError where it is damaged."""
    path = manifest_file(home, domain, process)
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        ledger: Ledger = MANIFESTS[process].model_validate(json.loads(text))
    except UnicodeDecodeError as error:
        raise _damaged(path, 1, "UTF-8 text", str(error)) from error
    except json.JSONDecodeError as error:
        raise _damaged(path, error.lineno, "JSON", error.msg) from error
    except ValidationError as error:
        raise _invalid(path, text, error) from error
    if ledger.metadata.process is not process:
        raise _damaged(path, 1, f"the process {process}", f"{ledger.metadata.process}")
    return ledger


def load_all(home: Home) -> Iterator[tuple[str, Path, Ledger]]:
    """Every manifest that is there, with its domain, declared or not; HomeError for damage."""
    for process in Process:
        for path in sorted(home.manifests.glob(f"*_{process}.manifest.json")):
            domain = path.name.removesuffix(f"_{process}.manifest.json")
            ledger = load_manifest(home, domain, process)
            if ledger is not None:
                yield domain, path, ledger


def export(
    home: Home,
    domain: str,
    process: Process,
    records: Iterable[ManifestRecord],
    *,
    etl_version: str,
    at: datetime,
) -> bool:
    """Write the manifest where its records or version changed; returns whether it was written."""
    by_key = {record.key: record for record in sorted(records, key=lambda r: r.key)}
    standing = load_manifest(home, domain, process)
    if standing and standing.records == by_key and standing.metadata.etl_version == etl_version:
        return False
    metadata = ManifestMetadata(
        process=process,
        etl_version=etl_version,
        total_records=len(by_key),
        ts_created=standing.metadata.ts_created if standing else at,
        ts_updated=at,
    )
    _save(manifest_file(home, domain, process), metadata, by_key)
    return True


def _save(path: Path, metadata: ManifestMetadata, records: dict[str, ManifestRecord]) -> None:
    document = {
        "metadata": metadata.model_dump(mode="json"),
        "records": {key: record.model_dump(mode="json") for key, record in records.items()},
    }
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _invalid(path: Path, text: str, error: ValidationError) -> HomeError:
    lines = []
    for problem in error.errors():
        field = ".".join(str(step) for step in problem["loc"]) or "the manifest"
        line = _line_of(text, problem["loc"])
        lines.append(
            f"{path}:{line}: {field}: {problem['msg']}, found {str(problem['input'])[:80]!r}"
        )
    return HomeError("\n".join([*lines, _ADVICE]))


def _line_of(text: str, steps: Sequence[int | str]) -> int:
    """The line of a field, found by its keys one after the other; the last one found decides."""
    position = 0
    for step in steps:
        found = text.find(f"{json.dumps(str(step))}:", position)
        if found < 0:
            break
        position = found
    return text.count("\n", 0, position) + 1


def _damaged(path: Path, line: int, expected: str, found: str) -> HomeError:
    return HomeError(f"{path}:{line}: expected {expected}, found {found}\n{_ADVICE}")


_ADVICE = (
    "Put the file back from a backup, or move it away and run again: "
    "it is then exported anew from the event log."
)
