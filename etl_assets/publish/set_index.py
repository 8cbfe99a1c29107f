"""The index of a set, `index.jsonl`: the path, SHA-256 and size of each document file and mart.

`manifest.json` has the digest of the index, and so does not grow with the number of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from etl_assets.model.errors import HomeError
from etl_assets.model.run_manifest import (
    INDEX_FILE,
    MANIFEST_FILE,
    PublishedFile,
    RunManifest,
    summarize_files,
)
from etl_assets.publish import run_directory
from etl_assets.storage.atomic_write import atomic_file

REPORT_PREFIX = "run_report."


def write_index(directory: Path, files: Sequence[PublishedFile]) -> str:
    """Write the index of a run's directory, and return its SHA-256."""
    lines = [file.model_dump_json() for file in sorted(files, key=lambda file: file.file)]
    data = "".join(f"{line}\n" for line in lines).encode()
    with atomic_file(directory / INDEX_FILE) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read_index(directory: Path, manifest: RunManifest) -> list[PublishedFile]:
    """The files of the set, as its manifest recorded them.

    Raises HomeError if the index is missing or is not the one that the manifest names.
    """
    if manifest.index_sha256 is None:
        return list(_files_from_sums(directory))
    path = directory / INDEX_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HomeError(f"{path}: expected the index of the set, found: {error}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != manifest.index_sha256:
        raise HomeError(
            f"{path}: expected the index with SHA-256 {manifest.index_sha256}, found {sha256}"
        )
    try:
        return [PublishedFile.model_validate_json(line) for line in data.splitlines()]
    except ValidationError as error:
        raise HomeError(f"{path}: expected one file per line, found: {error}") from error


def compare_with_index(
    directory: Path, manifest: RunManifest, digest: Callable[[Path], str]
) -> Iterator[str]:
    """Yield how a set differs from its index: other files, documents or marts, or no index.

    `digest` returns the SHA-256 of a file, or raises OSError.
    """
    try:
        files = read_index(directory, manifest)
    except HomeError as error:
        yield str(error)
        return
    for file in files:
        path = directory / file.file
        try:
            is_same = digest(path) == file.sha256
        except OSError as error:
            yield f"{path}: {error.strerror or error}"
        else:
            if not is_same:
                yield f"{path}: is not the file that {INDEX_FILE} lists"
    if manifest.index_sha256 is not None:
        yield from _compare_with_manifest(manifest, files)


def _compare_with_manifest(manifest: RunManifest, files: Sequence[PublishedFile]) -> Iterator[str]:
    """Yield the documents that have other files or rows in the manifest, and other marts."""
    indexed = {d.document: d for d in summarize_files(file for file in files if file.document)}
    listed = {document.document: document for document in manifest.documents}
    for name in sorted(indexed.keys() | listed.keys()):
        expected, actual = listed.get(name), indexed.get(name)
        if expected is None or actual is None:
            where = MANIFEST_FILE if actual is None else INDEX_FILE
            yield f"{name}: is listed in {where} alone"
        elif (expected.files, expected.rows, expected.sha256) != (
            actual.files,
            actual.rows,
            actual.sha256,
        ):
            yield (
                f"{name}: expected {expected.files} files with {expected.rows:,} rows, found "
                f"{actual.files} with {actual.rows:,} rows in {INDEX_FILE}"
            )
    marts = {mart.model: mart.sha256 for mart in manifest.marts}
    indexed_marts = {Path(file.file).stem: file.sha256 for file in files if not file.document}
    if marts != indexed_marts:
        yield f"{MANIFEST_FILE}: lists other marts than {INDEX_FILE}"


def _files_from_sums(directory: Path) -> Iterable[PublishedFile]:
    """The files of a set of an older version, which has no index; their rows are not known."""
    for name, sha256 in run_directory.read_sums(directory).items():
        path = directory / name
        if name != MANIFEST_FILE and not name.startswith(REPORT_PREFIX):
            size = path.stat().st_size if path.exists() else 0
            yield PublishedFile(document="", file=name, sha256=sha256, size_bytes=size, rows=0)
