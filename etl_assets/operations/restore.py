"""Publish an earlier set again, for `etl restore`.

A restored set is a new link of the chain, so that runs keep their order. The event log is restored
by `etl_assets.operations.manifest`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from etl_assets.declarations.domain import Document
from etl_assets.defs import finish_run
from etl_assets.defs.candidate import attributions_of
from etl_assets.defs.context import DomainSession
from etl_assets.defs.models.state import newest_link, recorded_set
from etl_assets.marts.graph import Graph
from etl_assets.model.display_text import list_some
from etl_assets.model.errors import HomeError, NotFoundError
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import (
    MARTS,
    DocumentContent,
    PublishedFile,
    RunManifest,
    summarize_files,
)
from etl_assets.publish import chain, documents, run_directory, set_index
from etl_assets.publish.writers.output import DocumentContext
from etl_assets.publish.writers.registry import names_signing_key
from etl_assets.storage.atomic_write import set_aside
from etl_assets.storage.hashing import has_sha256
from etl_assets.storage.signatures import open_signatures

MAX_NAMES = 5  # files that an error names; the rest are counted


def restore_set(session: DomainSession, run: str | None) -> tuple[str, RunManifest | None]:
    """Publish the files of an earlier run again, and return its name and the new manifest.

    Without a run, it is the newest one with all of its files; the manifest is None if that is the
    published set itself. A damaged file is taken from another run that has the same one. Documents
    that name another signing key than the current one are written again. The caller holds the
    domain's lock. Raises NotFoundError if there is no such published run, HomeError if files of it
    are lost.
    """
    home, domain = session.home, session.domain
    name = domain.name
    link = newest_link(session, recorded_set(session))
    with open_signatures(home.signatures(name)) as signatures:
        chain.repair(home, name, domain.history, link, signatures)
    runs = _published_runs(home, name)
    if run is not None:
        if run not in runs:
            kept = ", ".join(list(runs)[:MAX_NAMES]) or "none"
            raise NotFoundError(f"{name}: no published run {run!r}; the newest kept: {kept}")
        runs = {run: runs[run]}
    problems = []
    head = chain.read_head(home, name)
    current = home.outputs(name) / head.link.directory if head.link else None
    for directory_name, manifest in runs.items():
        directory = home.outputs(name) / directory_name
        try:
            files = set_index.read_index(directory, manifest)
            intact = _find_intact(home, name, domain.history, directory, files)
        except HomeError as error:
            problems.append(str(error))
            continue
        if run is None and directory == current and _is_complete(directory, intact):
            return directory_name, None
        return directory_name, _publish(session, directory_name, manifest, files, intact)
    raise HomeError(
        "\n".join(problems or [f"{home.outputs(name)}: expected a published run, found none"])
        + f"\n`etl run {name} --new-history --why TEXT` begins a new history"
    )


def _published_runs(home: Home, domain: str) -> dict[str, RunManifest]:
    """Return the manifests of the published runs by directory name, newest first."""
    runs = {}
    for directory in run_directory.list_runs(home, domain):
        try:
            manifest = run_directory.read_manifest(directory)
        except HomeError:
            continue  # damage of one run does not keep another from being published
        if manifest.published:
            runs[directory.name] = manifest
    return runs


def _find_intact(
    home: Home,
    domain: str,
    history: str | None,
    directory: Path,
    files: Sequence[PublishedFile],
) -> dict[str, Path]:
    """Return an intact copy of each file, from any run; raises HomeError if one is lost."""
    directories = [directory, *run_directory.list_directories(home, domain)]
    intact: dict[str, Path] = {}
    lost = []
    for file in files:
        copies = [each / file.file for each in directories]
        if file.file == f"{MARTS}/{history}.parquet":
            copies.append(home.history_copy(domain))
        # All bytes are read: a file that was damaged keeps its time when a disk fails.
        intact_copy = next((copy for copy in copies if has_sha256(copy, file.sha256)), None)
        if intact_copy is None:
            lost.append(file.file)
        else:
            intact[file.file] = intact_copy
    if lost:
        raise HomeError(
            f"{directory}: expected the files of its index, found no run that has {list_some(lost)}"
        )
    return intact


def _is_complete(directory: Path, intact: Mapping[str, Path]) -> bool:
    return all(path == directory / file for file, path in intact.items())


def _publish(
    session: DomainSession,
    name: str,
    manifest: RunManifest,
    files: Sequence[PublishedFile],
    intact: Mapping[str, Path],
) -> RunManifest:
    started_at = datetime.now(UTC)
    home, domain = session.home, session.domain.name
    if chain.read_head(home, domain).newer_history_sha256:
        set_aside(home.history_copy(domain))  # no set has this history
    directory = run_directory.create(session.home, session.domain.name, started_at)
    other_key = [content for content in manifest.contents if _names_other_key(session, content)]
    renewed = {content.document for content in other_key}
    for file in files:
        if file.document not in renewed:
            run_directory.link_file(intact[file.file], directory / file.file)
    files = [file for file in files if file.document not in renewed]
    files += _write_again(session, other_key, directory, files)
    restored = manifest.model_copy(
        update={
            "run_id": directory.name,
            "started_at": started_at,
            "finished_at": datetime.now(UTC),
            "note": f"restored from {name}",
            "phases": [],
            "documents": summarize_files(file for file in files if file.document),
            "contents": [
                content.model_copy(update={"signing_key": session.key_fingerprint})
                if content.document in renewed
                else content
                for content in manifest.contents
            ],
        }
    )
    return finish_run.finish_restored(session, restored, directory, files)


def _names_other_key(session: DomainSession, content: DocumentContent) -> bool:
    """Return True if the document's files name another key than the one that signs now."""
    document = _find_document(session, content)
    return (
        document is not None
        and names_signing_key(document)
        and content.signing_key != session.key_fingerprint
    )


def _find_document(session: DomainSession, content: DocumentContent) -> Document | None:
    declared = session.domain.documents
    return next((each for each in declared if each.file == content.document), None)


def _write_again(
    session: DomainSession,
    contents: Sequence[DocumentContent],
    directory: Path,
    files: Sequence[PublishedFile],
) -> list[PublishedFile]:
    """Write documents from the marts of the set, so that they name the key that signs it.

    Raises BuildError if the code of today cannot write them from these marts.
    """
    if not contents:
        return []
    graph = Graph.from_manifest(session.dbt.manifest)
    folder = directory / MARTS
    files_before = [
        (document, [file for file in files if file.document == document.file])
        for document in session.domain.documents
    ]
    written: list[PublishedFile] = []
    for content in contents:
        document = _find_document(session, content)
        if document is None:
            continue
        context = DocumentContext(
            directory,
            content.as_of,
            attributions_of(session.domain, graph, document, content.sources),
            signing_key=session.key_fingerprint,
            marts={
                name: documents.mart_file(folder, model)
                for name, model in document.also_from.items()
            },
            files_before=files_before,
            tones=session.domain.tones,
        )
        mart = documents.mart_file(folder, document.model)
        written += documents.write_document(document, mart, context)
    return written
