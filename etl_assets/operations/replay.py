"""A run made again from the raw files and the published history that it started from.

Each mart is built for the moment and from the history of the run that had built it, each document
written for that of the run that had written it: a run takes over what did not change.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.defs.candidate import attributions_of
from etl_assets.defs.context import ProjectContext
from etl_assets.marts.graph import Graph, Model
from etl_assets.model.errors import BuildError, NotFound, UsageError
from etl_assets.model.run_manifest import MARTS, DocumentContent, RunManifest, RunMart
from etl_assets.operations.copy_out import require_fresh
from etl_assets.operations.replay_result import Replayed
from etl_assets.operations.scratch import ScratchHome, health_then, scratch
from etl_assets.publish import documents as publish_documents
from etl_assets.publish import run_directory
from etl_assets.publish.writers.output import DocumentContext

REPLAYS = "replays"
Origin = tuple[datetime, str | None]
"""The logical time and the published history that a mart was built from."""


def replay(place: ProjectContext, name: str, *, into: Path | None = None) -> Replayed:
    """Rebuild what a run published into a fresh directory, and compare.

    Raises NotFound for no such run, UsageError where `into` is not fresh, BuildError where other
    code made the run, HomeError where a file that it started from is no longer kept.
    """
    domain, run = _found(place, name)
    manifest = run_directory.read_manifest(run)
    _require_same_code(place, domain, run, manifest)
    target = _fresh(place, domain, run, into)
    with scratch(place, domain) as apart:
        apart.tabulate_stored(manifest)
        marts = _build(apart, domain, manifest, target)
        _write_documents(domain, apart.graph, manifest.contents, marts, target)
        run_directory.write_sums(target)
        return _compared(domain, apart.graph, run, manifest, target)


def _found(place: ProjectContext, name: str) -> tuple[Domain, Path]:
    """The run by its directory's name, its id, or `latest`; after `<domain>/` where needed."""
    wanted, _, short = name.rpartition("/")
    domains = [d for d in place.domains.values() if wanted in {"", d.name}]
    found = [(d, run) for d in domains if (run := _run_of(place, d, short)) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"{domain.name}/{short}" for domain, _ in found)
        raise UsageError(f"several domains have a run {short!r}; say which: {several}")
    known = [
        f"{d.name}/{run.name}"
        for d in domains
        for run in run_directory.list_runs(place.home, d.name)
    ]
    newest = f"; the newest kept: {', '.join(known[:3])}" if known else "; none is kept"
    raise NotFound(f"no run {name!r}{newest}")


def _run_of(place: ProjectContext, domain: Domain, name: str) -> Path | None:
    if name == place.home.latest(domain.name).name:
        return run_directory.published_directory(place.home, domain.name)
    for directory in run_directory.list_runs(place.home, domain.name):
        if name in {directory.name, run_directory.read_manifest(directory).run_id}:
            return directory
    return None


def _require_same_code(
    place: ProjectContext, domain: Domain, run: Path, manifest: RunManifest
) -> None:
    if not manifest.marts:
        raise BuildError(f"{run.name} built no marts: {manifest.note}")
    if (now := place.code_version(domain)) != manifest.code_version:
        raise BuildError(
            f"{run.name} was made by code version {manifest.code_version}, this is {now}: "
            "check out the code of that day, with its declarations and SQL, and replay with it"
        )


def _fresh(place: ProjectContext, domain: Domain, run: Path, into: Path | None) -> Path:
    """A directory that is empty or not there yet."""
    if into is None:
        return place.home.outputs(domain.name) / REPLAYS / f"{run.name}.{secrets.token_hex(4)}"
    return require_fresh(into)


def _build(
    apart: ScratchHome, domain: Domain, manifest: RunManifest, target: Path
) -> Mapping[tuple[str, Origin], Path]:
    """Every mart of the run in `target`, and aside those that its older documents are of.

    Returns the folder of each by model and origin.
    """
    wanted = {(mart.model, _origin(mart)) for mart in manifest.marts}
    older = {(c.mart.model, _origin(c.mart)) for c in manifest.contents} - wanted
    health, folders = health_then(domain, manifest), {}
    models: list[Model] = list(apart.graph.models.values())
    for number, origin in enumerate(sorted({o for _, o in wanted | older}, key=_by_time)):
        names = {name for name, made in wanted | older if made == origin}
        if number:
            models = _dated_above(apart.graph, names)
        as_of, history = origin
        apart.build(models, as_of=as_of, history_sha256=history, health=health)
        for name in names:
            folder = target / MARTS
            if (name, origin) in older:
                folder = apart.home.root / MARTS / str(number)
            apart.export([mart for mart in apart.graph.marts if mart.name == name], folder)
            folders[name, origin] = folder
    return folders


def _dated_above(graph: Graph, names: Iterable[str]) -> list[Model]:
    """Of the models and all above them, those that another moment makes others."""
    wanted = {model.unique_id for name in names if (model := graph.find(name))}
    wanted |= {above for unique_id in set(wanted) for above in graph.ancestors(unique_id)}
    return [m for unique_id, m in graph.models.items() if unique_id in wanted and m.is_dated]


def _origin(mart: RunMart) -> Origin:
    return mart.as_of, mart.history_sha256


def _by_time(origin: Origin) -> tuple[datetime, str]:
    return origin[0], origin[1] or ""


def _write_documents(
    domain: Domain,
    graph: Graph,
    contents: Iterable[DocumentContent],
    marts: Mapping[tuple[str, Origin], Path],
    target: Path,
) -> None:
    documents = {document.file: document for document in domain.documents}
    for content in contents:
        document = documents[content.document]
        attributions = attributions_of(domain, graph, document, content.sources)
        context = DocumentContext(target, content.as_of, attributions)
        publish_documents.write_document(
            document, marts[content.mart.model, _origin(content.mart)], context
        )


def _compared(
    domain: Domain, graph: Graph, run: Path, manifest: RunManifest, target: Path
) -> Replayed:
    """The sources' health is left out: it says how this home came by its files."""
    own = {_file(model.name) for model in graph.marts if model.reads_health}
    before, now = run_directory.read_sums(run), run_directory.read_sums(target)
    original = {_file(mart.model) for mart in manifest.marts}
    original |= {written.file for written in manifest.documents}
    names = sorted((original | set(now)) - own)
    return Replayed(
        domain=domain.name,
        run=run.name,
        directory=str(target),
        equal=[name for name in names if before.get(name) == now.get(name)],
        different=[name for name in names if before.get(name) != now.get(name)],
    )


def _file(model: str) -> str:
    return f"{MARTS}/{model}.parquet"
