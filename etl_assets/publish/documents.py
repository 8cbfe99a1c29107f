"""Write the documents of a candidate, check them, and publish the set.

A document is written if its model changed, else its published files are linked. Which models
changed and whether the gate passed is decided by the caller; formats are in `publish.writers`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

import jsonschema
import msgspec

from etl_assets.declarations.domain import Attribution, Document, Tone
from etl_assets.model.display_text import list_some
from etl_assets.model.errors import BuildError, LockLostError, Problem
from etl_assets.model.home import Home
from etl_assets.model.run_log import StepProgress, no_step_progress
from etl_assets.model.run_manifest import (
    INDEX_FILE,
    MANIFEST_FILE,
    MARTS,
    PUBLIC_KEY_FILE,
    PublishedFile,
    RunManifest,
    SetSigning,
)
from etl_assets.publish import openpgp, run_directory, set_index
from etl_assets.publish.openpgp import SigningKey
from etl_assets.publish.run_directory import SIGNATURE_SUFFIX, SUMS_FILE, SUMS_SIGNATURE
from etl_assets.publish.writers.output import DocumentContext, PublishedDocument
from etl_assets.publish.writers.registry import (
    count_rows,
    find_writer,
    links_files,
    names_signing_key,
)
from etl_assets.publish.writers.rows import Rows
from etl_assets.storage.hashing import has_sha256
from etl_assets.storage.signatures import Signatures
from etl_assets.tables.readers.batch import DECODE_ERRORS, value_json

logger = logging.getLogger(__name__)

MAX_SCHEMA_PROBLEMS = 20


@dataclass(frozen=True)
class PreviousSet:
    """The published set whose files a candidate may link, and whose parts it may take over."""

    directory: Path
    files: Sequence[PublishedFile]
    content_times: Mapping[str, datetime]
    """The logical time for which each document was written."""
    mart_digests: Mapping[str, str] = field(default_factory=dict)
    """The digest of the mart that each document was written from, if the same code would write the
    same rows in the same way."""
    mart_keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The key columns of each mart."""
    signing_keys: Mapping[str, str | None] = field(default_factory=dict)
    """The fingerprint that each document names."""

    def files_of(self, document: Document) -> list[PublishedFile]:
        return [file for file in self.files if file.document == document.file]

    def published_document(
        self, document: Document, signatures: Signatures
    ) -> PublishedDocument | None:
        """What a writer may take over parts from, or None if anything of it is not as recorded."""
        files = self.files_of(document)
        mart = mart_file(self.directory / MARTS, document.model)
        mart_sha256 = self.mart_digests.get(document.file)
        if mart_sha256 is None or not files:
            return None
        by_name = {file.file: file for file in files}
        # What is read gets a new digest, so its bytes are hashed; a link keeps the recorded one.
        is_read = document.file in by_name
        for file in files:
            path = self.directory / file.file
            if not (has_sha256 if is_read else signatures.has_digest)(path, file.sha256):
                return None
        if not has_sha256(mart, mart_sha256):
            return None
        return PublishedDocument(self.directory, by_name, mart, self.mart_keys[document.model])


READING_BACK = "reading documents back"  # of progress

DocumentLog = Callable[[Document, Sequence[PublishedFile], float], None]
"""Is called with a document, its files, and the seconds that writing them took."""


def _log_nothing(document: Document, files: Sequence[PublishedFile], seconds: float) -> None:
    """Log no document."""


@dataclass(frozen=True)
class WrittenDocuments:
    """The files of all documents of a candidate."""

    files: list[PublishedFile]
    linked: set[str]
    """The documents whose files are links to the published ones."""
    published: Mapping[str, PublishedDocument] = field(default_factory=dict)
    """What the others have taken over parts of, by the document's file."""


def write_documents(  # noqa: PLR0913 - each is an input of some document
    documents: Sequence[Document],
    marts: Path,
    run_dir: Path,
    *,
    as_of: datetime,
    previous: PreviousSet | None,
    changed: AbstractSet[str],
    signatures: Signatures,
    attributions: Mapping[str, tuple[Attribution, ...]] = MappingProxyType({}),
    signing_key: str | None = None,
    tones: Mapping[str, Tone] = MappingProxyType({}),
    advance: StepProgress = no_step_progress,
    log_document: DocumentLog = _log_nothing,
) -> WrittenDocuments:
    """Write or link every document of the candidate.

    `previous` is the published set, `changed` names the models that differ from it, `signatures`
    are of the published files, `attributions` belong to a document by its file, `signing_key` is
    the fingerprint of the key that signs the set. `log_document` is called once one is written.
    """
    files_before: list[tuple[Document, Sequence[PublishedFile]]] = []
    linked: set[str] = set()
    published: dict[str, PublishedDocument] = {}
    advance("documents", 0, len(documents))
    for document in documents:
        files: list[PublishedFile] = []
        document_as_of = as_of
        named_key = signing_key if names_signing_key(document) else None
        if (
            previous
            and changed.isdisjoint(document.rewritten_by)
            and previous.signing_keys.get(document.file) == named_key
            and _has_same_links(document, files_before, previous)
        ):
            files = reuse_document(document, run_dir, previous=previous, signatures=signatures)
            # One that is made again because a file was damaged keeps the time of its content.
            document_as_of = previous.content_times.get(document.file, as_of)
        if files:
            linked.add(document.file)
        else:
            if previous and (earlier := previous.published_document(document, signatures)):
                published[document.file] = earlier
            context = DocumentContext(
                run_dir,
                document_as_of,
                attributions.get(document.file, ()),
                published.get(document.file),
                named_key,
                {name: mart_file(marts, model) for name, model in document.also_from.items()},
                tuple(files_before),
                tones,
            )
            started = monotonic()
            advance(f"writing {document.file}", 0, 1)
            files = write_document(document, mart_file(marts, document.model), context)
            advance(f"writing {document.file}", 1, 1)
            log_document(document, files, monotonic() - started)
        files_before.append((document, files))
        advance("documents", len(files_before), len(documents))
    all_files = [file for _, document_files in files_before for file in document_files]
    return WrittenDocuments(all_files, linked, published)


def _has_same_links(
    document: Document,
    files_before: Iterable[tuple[Document, Sequence[PublishedFile]]],
    previous: PreviousSet,
) -> bool:
    """True if the files that the document links have the names that they had."""
    if not links_files(document):
        return True
    return all(
        {file.file for file in files} == {file.file for file in previous.files_of(other)}
        for other, files in files_before
    )


def mart_file(marts: Path, model: str) -> Path:
    """The file of a model in a folder of marts."""
    return marts / f"{model}.parquet"


def write_document(document: Document, mart: Path, context: DocumentContext) -> list[PublishedFile]:
    """Write the document's files from its mart; returns a record of each."""
    rows = Rows(mart)
    written = find_writer(document).write(rows, document, context)
    logger.info("wrote %s from %d rows of %s", document.file, len(rows), document.model)
    return written


def reuse_document(
    document: Document, run_dir: Path, *, previous: PreviousSet, signatures: Signatures
) -> list[PublishedFile]:
    """Link the document's published files into the candidate, and return them.

    If one of them is missing, or not what was written, nothing is linked or returned.
    """
    published = previous.directory
    reused = previous.files_of(document)
    if not all(signatures.has_digest(published / file.file, file.sha256) for file in reused):
        return []
    run_directory.link_unchanged(published, run_dir, [file.file for file in reused])
    return reused


def find_incomplete_documents(
    documents: Sequence[Document],
    marts: Path,
    run_dir: Path,
    written: WrittenDocuments,
    *,
    advance: StepProgress = no_step_progress,
) -> list[Problem]:
    """Documents that do not contain every row of their model, or contain too many.

    Rows are counted twice, by the writer and by reading the files back. Those of linked files, and
    of parts that were taken over, were counted when they were written.
    """
    written_rows: dict[str, int] = {}
    for file in written.files:
        written_rows[file.document] = written_rows.get(file.document, 0) + file.rows
    problems = []
    for number, document in enumerate(documents, start=1):
        advance(READING_BACK, number - 1, len(documents))
        expected = len(Rows(mart_file(marts, document.model)))
        counts = {written_rows.get(document.file, 0)}
        if document.file not in written.linked:
            published = written.published.get(document.file)
            counts.add(count_rows(document, run_dir, published))
        if counts != {expected}:
            found = " and ".join(str(count) for count in sorted(counts))
            problems.append(Problem(document.file, f"{expected} rows of {document.model}", found))
        advance(READING_BACK, number, len(documents))
    return problems


def check_json_schemas(
    documents: Iterable[Document], run_dir: Path, declarations: Path
) -> list[Problem]:
    """Violations of the JSON Schemas that documents declare; `declarations` is their folder."""
    problems = []
    for document in documents:
        if document.json_schema:
            problems += validate_json(run_dir / document.file, declarations / document.json_schema)
    return problems


def validate_json(document: Path, schema: Path) -> list[Problem]:
    """The first twenty violations of a JSON Schema (draft 2020-12), in the order of their paths."""
    validator = jsonschema.Draft202012Validator(_read_json(schema))
    errors = sorted(validator.iter_errors(_read_json(document)), key=lambda error: error.json_path)
    return [
        Problem(
            f"{document.name}: {error.json_path}",
            f"{error.validator} {value_json(error.validator_value)}",
            value_json(error.instance),
        )
        for error in errors[:MAX_SCHEMA_PROBLEMS]
    ]


def _read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is anything
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, *DECODE_ERRORS) as error:
        raise BuildError(f"{path}: expected JSON, found: {error}") from error


def publish_candidate(
    home: Home,
    run_dir: Path,
    manifest: RunManifest,
    files: Sequence[PublishedFile],
    *,
    key: SigningKey | None = None,
    signed_files: Sequence[str] = (),
    record: Callable[[RunManifest], bool] = lambda _: False,
) -> RunManifest:
    """Write index, manifest and checksums; if the manifest says published, sign, move `latest`.

    `files` are those of documents and marts, `signed_files` those that `key` signs beside the
    checksums. `record` is called when the set is complete, before readers see it, and returns True
    if it has recorded the set as published. Returns the manifest with the digest of the index, and
    the key.

    The set is complete before readers can see it. A run that is killed before `latest` moves leaves
    `latest` as it was. Its manifest says published, but the pending link shows that it is not,
    unless it was recorded.
    """
    with ExitStack() as on_error:
        if manifest.published:
            on_error.callback(run_directory.withdraw_publication, run_dir)
            run_directory.announce_publication(home, manifest.domain, run_dir)
        index_sha256 = set_index.write_index(run_dir, files)
        signing = None
        if key and manifest.published:
            signing = SetSigning(key=key.fingerprint, files=len(signed_files))
        update = {"index_sha256": index_sha256, "signing": signing}
        manifest = manifest.model_copy(update=update)
        run_directory.write_manifest(run_dir, manifest)
        digests = {file.file: file.sha256 for file in files}
        if key and manifest.published:
            previous = run_directory.published_directory(home, manifest.domain)
            digests |= openpgp.sign_files(run_dir, signed_files, digests, key, previous)
        run_directory.write_sums(run_dir, digests)
        if key and manifest.published:
            openpgp.sign_sums(run_dir, key)
        if manifest.published:
            _require_complete(run_dir, files, signed_files if key else None)
        run_directory.protect(run_dir)
        if manifest.published:
            _record_and_publish(home, run_dir, manifest, record, on_error)
        on_error.pop_all()
    return manifest


def _record_and_publish(
    home: Home,
    run_dir: Path,
    manifest: RunManifest,
    record: Callable[[RunManifest], bool],
    on_error: ExitStack,
) -> None:
    """Record the set, then let readers see it; a set that may be recorded is not withdrawn."""
    # Once this has begun, whether the set is recorded is unknown; the next run asks.
    withdrawal = on_error.pop_all()
    try:
        is_recorded = record(manifest)
    except LockLostError:
        withdrawal.close()
        raise
    if not is_recorded:
        on_error.push(withdrawal)
    # If this process was stopped here, the next one has let readers see it, and may have published
    # another set since.
    if run_directory.is_publication_pending(run_dir):
        run_directory.publish(home, manifest.domain, run_dir)


def _require_complete(
    run_dir: Path, files: Sequence[PublishedFile], signed_files: Sequence[str] | None
) -> None:
    """Raise BuildError if a set lacks a file or a signature, or has one that is not its own.

    `signed_files` is None if the set is not signed.
    """
    expected = {MANIFEST_FILE, INDEX_FILE, SUMS_FILE, *(file.file for file in files)}
    if signed_files is not None:
        expected |= {PUBLIC_KEY_FILE, SUMS_SIGNATURE}
        expected |= {name + SIGNATURE_SUFFIX for name in signed_files}
    names = {
        name
        for name in run_directory.list_files(run_dir)
        if not name.startswith(set_index.REPORT_PREFIX)
    }
    faults = [f"{name} is missing" for name in sorted(expected - names)]
    faults += [f"{name} does not belong to it" for name in sorted(names - expected)]
    if faults:
        raise BuildError(
            f"{run_dir}: expected the complete set, found: {list_some(faults, separator='; ')};"
            " nothing is published, run again"
        )
