"""From marts to a published set: write what changed, link what did not, check it, move `latest`.

Which models changed and whether the gate has passed is the caller's; formats are the writers'.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from etl_assets.declarations.domain import Attribution, Document
from etl_assets.model.errors import Problem
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import PublishedFile, RunManifest
from etl_assets.publish import document_schemas, run_directory
from etl_assets.publish.writers.registry import Candidate, find_writer
from etl_assets.publish.writers.rows import Rows

logger = logging.getLogger(__name__)


def write_documents(
    documents: Sequence[Document],
    marts: Path,
    run_dir: Path,
    *,
    as_of: datetime,
    previous: Path | None,
    changed: AbstractSet[str],
    attributions: Mapping[str, tuple[Attribution, ...]] = MappingProxyType({}),
) -> list[PublishedFile]:
    """Every document of the candidate: written where its model is in `changed`, else linked.

    `attributions` are those of each document by its file.
    """
    written = []
    for document in documents:
        candidate = Candidate(run_dir, as_of, previous, attributions.get(document.file, ()))
        is_changed = document.models[-1] in changed
        reused = [] if is_changed else reuse_document(document, run_dir, previous=previous)
        written += reused or write_document(document, marts, candidate)
    return written


def write_document(document: Document, marts: Path, candidate: Candidate) -> list[PublishedFile]:
    """The document's files, made from its mart."""
    rows = Rows(marts / f"{document.model}.parquet")
    written = find_writer(document).write(rows, document, candidate)
    logger.info("wrote %s from %d rows of %s", document.file, len(rows), document.model)
    return written


def reuse_document(
    document: Document, run_dir: Path, *, previous: Path | None
) -> list[PublishedFile]:
    """The document's published files, linked into the candidate; empty where there are none."""
    if previous is None:
        return []
    standing = [
        w for w in run_directory.read_manifest(previous).documents if w.document == document.file
    ]
    run_directory.link_unchanged(previous, run_dir, [written.file for written in standing])
    return standing


def find_incomplete_documents(
    documents: Iterable[Document], marts: Path, run_dir: Path, written: Iterable[PublishedFile]
) -> list[Problem]:
    """Documents that do not carry every row of their model, by their structure; none is good."""
    carried: dict[str, int] = {}
    for part in written:
        carried[part.document] = carried.get(part.document, 0) + part.rows
    problems = []
    for document in documents:
        expected = len(Rows(marts / f"{document.model}.parquet"))
        counts = {carried.get(document.file, 0), find_writer(document).held(document, run_dir)}
        if counts != {expected}:
            found = " and ".join(str(count) for count in sorted(counts))
            problems.append(Problem(document.file, f"{expected} rows of {document.model}", found))
    return problems


def check_json_schemas(
    documents: Iterable[Document], run_dir: Path, declared: Path
) -> list[Problem]:
    """What of the documents their own JSON Schemas, which lie in `declared`, do not allow."""
    return [
        problem
        for document in documents
        if document.json_schema
        for problem in document_schemas.broken(
            run_dir / document.file, declared / document.json_schema
        )
    ]


def publish_candidate(home: Home, run_dir: Path, manifest: RunManifest) -> None:
    """Write the manifest and the sums; then, where the manifest says published, move `latest`.

    The set is complete before a reader can see it; a run cut off before leaves `latest` as it was,
    and its manifest is known for one that came too early by the link that was announced before it.
    """
    if not manifest.published:
        _seal(run_dir, manifest)
        return
    with ExitStack() as unless_published:
        unless_published.callback(run_directory.withdraw_publication, run_dir)
        run_directory.announce_publication(home, manifest.domain, run_dir)
        _seal(run_dir, manifest)
        run_directory.publish(home, manifest.domain, run_dir)
        unless_published.pop_all()


def _seal(run_dir: Path, manifest: RunManifest) -> None:
    run_directory.write_manifest(run_dir, manifest)
    run_directory.write_sums(run_dir)
