"""Rebuild what a run published from its raw files and its history, for `etl replay`.

A run keeps marts and documents that did not change, so those of one run may come from several:
each mart is rebuilt for the logical time and from the history that it was first built with.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import Field

from etl_assets.declarations.domain import Document, Domain
from etl_assets.defs.candidate import attributions_of
from etl_assets.defs.context import ProjectContext
from etl_assets.marts.graph import Graph, Model
from etl_assets.model.errors import BuildError, NotFoundError, UsageError
from etl_assets.model.records import Record
from etl_assets.model.run_manifest import (
    MARTS,
    DocumentContent,
    PublishedFile,
    RunManifest,
    RunMart,
)
from etl_assets.operations.run import require_empty
from etl_assets.operations.scratch_home import ScratchHome, health_in_run, open_scratch_home
from etl_assets.publish import documents as publish_documents
from etl_assets.publish import run_directory, set_index
from etl_assets.publish.documents import mart_file
from etl_assets.publish.writers.output import DocumentContext

REPLAYS = "replays"
Origin = tuple[datetime, str | None]
"""The logical time, and the SHA-256 of the published history, that a mart was built from."""


class ReplayResult(Record):
    """The files of a replayed run, compared with the original ones."""

    domain: str
    run: str = Field(description="directory name of the original run")
    directory: str = Field(description="where the replay was written")
    equal: list[str] = Field(description="files with the same bytes as the original")
    different: list[str] = []

    @property
    def is_equal(self) -> bool:
        return not self.different

    def lines(self) -> list[str]:
        result = "byte for byte" if self.is_equal else "not byte for byte"
        count = f"{len(self.equal)} of {len(self.equal) + len(self.different)}"
        summary = f"{count} files are equal, in {self.directory}"
        return [
            f"{self.domain}: {self.run} replayed {result}: {summary}",
            *(f"  differs: {file}" for file in self.different),
        ]


def replay(project: ProjectContext, name: str, *, into: Path | None = None) -> ReplayResult:
    """Rebuild what a run published into a new directory, and compare it with the original.

    Raises NotFoundError if there is no such run, UsageError if `into` is not empty, BuildError if
    the run was made by other code, HomeError if a file that it started from is no longer stored.
    """
    domain, run = _find_run(project, name)
    manifest = run_directory.read_manifest(run)
    if manifest.published_set:  # the run had nothing to do: replay the set that it left in place
        run = run.with_name(manifest.published_set)
        manifest = run_directory.read_manifest(run)
    _require_same_code(project, domain, run, manifest)
    if into is None:
        target = project.home.outputs(domain.name) / REPLAYS / f"{run.name}.{secrets.token_hex(4)}"
    else:
        target = require_empty(into)
    with open_scratch_home(project, domain) as scratch:
        scratch.tabulate_stored(manifest)
        mart_folders = _build_marts(scratch, domain, manifest, target)
        _write_documents(domain, scratch.graph, manifest.contents, mart_folders, target)
        run_directory.write_sums(target)
        return _compare(domain, scratch.graph, run, manifest, target)


def _find_run(project: ProjectContext, name: str) -> tuple[Domain, Path]:
    """Return the run with this directory name or id, or `latest`, each optionally `<domain>/...`.

    Raises UsageError if several domains have one, NotFoundError if none has.
    """
    domain_name, _, run_name = name.rpartition("/")
    if domain_name in project.broken:
        raise project.broken[domain_name].error
    domains = [domain for domain in project.domains.values() if domain_name in {"", domain.name}]
    matches = []
    for domain in domains:
        directory = _find_run_of_domain(project, domain, run_name)
        if directory is not None:
            matches.append((domain, directory))
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(f"{domain.name}/{run_name}" for domain, _ in matches)
        raise UsageError(f"several domains have a run {run_name!r}; give one of: {names}")
    kept_runs: list[str] = []
    for domain in domains or project.domains.values():
        runs = run_directory.list_runs(project.home, domain.name)
        kept_runs += [f"{domain.name}/{run.name}" for run in runs]
    newest = f"the newest kept: {', '.join(kept_runs[:3])}" if kept_runs else "none is kept"
    raise NotFoundError(f"no run {name!r}; {newest}")


def _find_run_of_domain(project: ProjectContext, domain: Domain, name: str) -> Path | None:
    if name == project.home.latest(domain.name).name:
        return run_directory.published_directory(project.home, domain.name)
    for directory in run_directory.list_runs(project.home, domain.name):
        if name in {directory.name, run_directory.read_manifest(directory).run_id}:
            return directory
    return None


def _require_same_code(
    project: ProjectContext, domain: Domain, run: Path, manifest: RunManifest
) -> None:
    if not manifest.marts:
        raise BuildError(f"{run.name} built no marts: {manifest.note}")
    code_version = project.code_version(domain)
    if code_version != manifest.code_version:
        raise BuildError(
            f"{run.name} was made by code version {manifest.code_version}, this is {code_version}: "
            "check out the code of that day, with its declarations and SQL, and replay with it"
        )


def _build_marts(
    scratch: ScratchHome, domain: Domain, manifest: RunManifest, target: Path
) -> dict[tuple[str, Origin], Path]:
    """Build the marts of the run, and older ones that its unchanged documents were written from.

    The marts of the run are written to `target`, the older ones to the scratch home. Returns the
    folder of each by model and origin.
    """
    run_marts = {(mart.model, _origin_of(mart)) for mart in manifest.marts}
    document_marts = {
        (mart.model, _origin_of(mart)) for made in manifest.contents for mart in made.marts
    }
    names_by_origin: dict[Origin, set[str]] = {}
    for name, origin in run_marts | document_marts:
        names_by_origin.setdefault(origin, set()).add(name)
    health = health_in_run(domain, manifest)
    models: list[Model] = list(scratch.graph.models.values())
    folders = {}
    origins = sorted(names_by_origin, key=lambda origin: (origin[0], origin[1] or ""))
    for number, origin in enumerate(origins):
        names = names_by_origin[origin]
        if number > 0:  # only dated models differ from those built for the first origin
            models = _dated_models(scratch.graph, names)
        as_of, history_sha256 = origin
        scratch.build(models, as_of=as_of, history_sha256=history_sha256, health=health)
        for name in names:
            is_of_run = (name, origin) in run_marts
            folder = target / MARTS if is_of_run else scratch.home.root / MARTS / str(number)
            scratch.export([mart for mart in scratch.graph.marts if mart.name == name], folder)
            folders[name, origin] = folder
    return folders


def _dated_models(graph: Graph, names: Iterable[str]) -> list[Model]:
    """Return the models and ancestors of them that depend on the logical time."""
    needed: set[str] = set()
    for name in names:
        model = graph.find(name)
        if model is not None:
            needed |= {model.unique_id, *graph.ancestors(model.unique_id)}
    return [
        model for unique_id, model in graph.models.items() if unique_id in needed and model.is_dated
    ]


def _origin_of(mart: RunMart) -> Origin:
    return mart.as_of, mart.history_sha256


def _write_documents(
    domain: Domain,
    graph: Graph,
    contents: Iterable[DocumentContent],
    mart_folders: Mapping[tuple[str, Origin], Path],
    target: Path,
) -> None:
    documents = {document.file: document for document in domain.documents}
    files_before: list[tuple[Document, Sequence[PublishedFile]]] = []
    for content in contents:
        document = documents[content.document]
        marts = {
            mart.model: mart_file(mart_folders[mart.model, _origin_of(mart)], mart.model)
            for mart in content.marts
        }
        context = DocumentContext(
            target,
            content.as_of,
            attributions_of(domain, graph, document, content.sources),
            signing_key=content.signing_key,
            marts={name: marts[model] for name, model in document.also_from.items()},
            files_before=tuple(files_before),
            tones=domain.tones,
        )
        files = publish_documents.write_document(document, marts[document.model], context)
        files_before.append((document, files))


def _compare(
    domain: Domain, graph: Graph, run: Path, manifest: RunManifest, target: Path
) -> ReplayResult:
    original, replayed = run_directory.read_sums(run), run_directory.read_sums(target)
    files = {_file_of(mart.model) for mart in manifest.marts}
    files |= {file.file for file in set_index.read_index(run, manifest)}
    files |= set(replayed)
    # Source health depends on when this home fetched each file, which a replay does not repeat.
    files -= {_file_of(model.name) for model in graph.marts if model.reads_health}
    equal = [file for file in sorted(files) if original.get(file) == replayed.get(file)]
    return ReplayResult(
        domain=domain.name,
        run=run.name,
        directory=str(target),
        equal=equal,
        different=sorted(files - set(equal)),
    )


def _file_of(model: str) -> str:
    return f"{MARTS}/{model}.parquet"
