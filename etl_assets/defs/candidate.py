"""A run's candidate: its marts and documents, compared and judged, on the way to being published.

The step that drives it, and what Dagster hears of it, are `etl_assets.defs.publish`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from etl_assets.declarations.domain import Attribution, Document, Domain
from etl_assets.defs import asset_keys, prerequisites, run_context
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import metadata_of
from etl_assets.defs.marts import provide_marts
from etl_assets.defs.materialize import digest_of
from etl_assets.defs.model_state import model_records
from etl_assets.defs.source_health import read_tables
from etl_assets.marts.graph import Graph
from etl_assets.model.errors import Problem
from etl_assets.model.records import MIXED, PublishedSet, RunStatus
from etl_assets.model.run_manifest import (
    MARTS,
    AcceptedChange,
    DocumentContent,
    PublishedFile,
    RunCheck,
    RunManifest,
    RunMart,
    RunSource,
)
from etl_assets.publish import documents as publish_documents
from etl_assets.publish import gate, run_directory
from etl_assets.publish.gate import GateFinding, GateVerdict
from etl_assets.report import gather
from etl_assets.storage.hashing import hash_file

GATE = "gate"
ANOTHER = (
    "this is not the candidate that was refused in {refused} and looked at, "
    "for a file or the code has changed since; look at this one and say --accept-changes again"
)


def attributions_of(
    domain: Domain, graph: Graph, document: Document, among: Collection[str] | None
) -> tuple[Attribution, ...]:
    """Those of the sources that the document's model is made of; with `among`, only of these."""
    model = graph.find(document.model)
    tables = model.tables if model else frozenset()
    named = tables if among is None else tables.intersection(among)
    return tuple(Attribution.of(s) for s in domain.sources.values() if s.name in named)


class Candidate:
    """A run's directory on its way to being the published set."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        place: ProjectContext,
        domain: Domain,
        graph: Graph,
        run: run_context.Run,
    ) -> None:
        self._instance, self._place, self._domain, self.run = instance, place, domain, run
        self._graph = graph
        self._previous = run_directory.published_directory(place.home, domain.name)
        self._marts = run.directory / MARTS
        if not self._marts.exists():
            kept = model_records(instance, domain, graph)
            provide_marts(place.dbt(domain), graph, run.directory, kept=kept)
        self._files = {path.stem: hash_file(path) for path in self._marts.glob("*.parquet")}

    def write_documents(self) -> list[PublishedFile]:
        return publish_documents.write_documents(
            self._domain.documents,
            self._marts,
            self.run.directory,
            as_of=self.run.as_of,
            previous=self._previous,
            changed=self.changed,
            attributions={
                d.file: attributions_of(self._domain, self._graph, d, self._speaking)
                for d in self._domain.documents
            },
        )

    def incomplete(self, written: list[PublishedFile]) -> list[Any]:
        declared = self._place.settings.domains_dir / self._domain.name
        documents = self._domain.documents
        return [
            *publish_documents.find_incomplete_documents(
                documents, self._marts, self.run.directory, written
            ),
            *publish_documents.check_json_schemas(documents, self.run.directory, declared),
        ]

    def compare(self) -> list[GateFinding]:
        """How far the candidate is from what is published."""
        known = self._published_manifest.sources if self._published_manifest else []
        appeared = set(self._domain.sources) - gate.names_with_rows(known)
        before = self._previous / MARTS if self._previous else None
        return [
            finding
            for check in self._domain.gate
            for finding in gate.compare_model(
                check,
                before / f"{check.model}.parquet" if before else None,
                self._marts / f"{check.model}.parquet",
                appeared=appeared,
            )
        ]

    def judge(
        self,
        checks: Sequence[RunCheck],
        incomplete: Sequence[Problem],
        findings: Sequence[GateFinding],
        *,
        accept: bool,
    ) -> GateVerdict:
        """The gate's word; what a person accepts is the candidate that was refused before."""
        refused = self._refused_before() if accept else None
        if refused is None or self._is_made_like(run_directory.read_manifest(refused)):
            return gate.judge_candidate(checks, incomplete, findings, accept=accept)
        advice = ANOTHER.format(refused=self._place.home.relative(refused))
        return gate.judge_candidate(checks, incomplete, findings, advice=advice)

    def conclude(
        self, written: list[PublishedFile], verdict: GateVerdict, standing: Sequence[RunCheck]
    ) -> RunManifest:
        """Leave manifest, report and sums; where the gate has passed, move `latest`."""
        sources = self._sources
        told = run_context.manifest(
            self._instance,
            self._place,
            self._domain,
            self.run,
            status=run_context.status_of(sources) if verdict.passed else RunStatus.FAILED,
            published=verdict.passed,
            note=run_context.note_of(sources) if verdict.passed else f"the gate {verdict}",
            standing=standing,
        )
        made = {
            "documents": written,
            "marts": list(self._built.values()),
            "contents": self._contents(written),
            "history_sha256": self._history_sha256(),
            "accepted_changes": [
                *told.accepted_changes,
                *(AcceptedChange(what=check, sha256=self.digest) for check in verdict.accepted),
            ],
        }
        manifest = run_context.advised(
            self._place, self._domain, told.model_copy(update=made), self.run.directory
        )
        gather.write_report(self._domain, manifest, self._marts, self.run.directory)
        publish_documents.publish_candidate(self._place.home, self.run.directory, manifest)
        return manifest

    @property
    def digest(self) -> str:
        """Over the bytes of all marts."""
        return digest_of(*sorted(self._files.values()))

    def published(self, verdict: GateVerdict) -> dg.MaterializeResult[Any]:
        _, tables = read_tables(self._instance, self._domain)
        # A launch of some assets may publish models that it left old: the next run is to see that.
        is_mixed = bool(prerequisites.unfit_models(self._instance, self._place, self._domain))
        record = PublishedSet(
            directory=self.run.directory.name,
            tables=tables,
            code_version=MIXED if is_mixed else self._place.code_version(self._domain),
            marts=self._files,
        )
        return dg.MaterializeResult(
            asset_key=asset_keys.published_key(self._domain),
            data_version=dg.DataVersion(self.digest),
            metadata={
                "reused": not self.changed,
                "accepted_changes": verdict.accepted,
                **metadata_of(record, {"path": self._place.home.relative(self.run.directory)}),
            },
        )

    def is_linked(self, file: str) -> bool:
        """Whether a file of the candidate is the very one that is published."""
        before = self._previous / file if self._previous else None
        return before is not None and before.exists() and before.samefile(self.run.directory / file)

    @cached_property
    def _built(self) -> dict[str, RunMart]:
        """The marts by name, each with the run that built it."""
        found = model_records(self._instance, self._domain, self._graph)
        return {
            name: RunMart(
                model=name,
                sha256=sha256,
                rows=run_directory.count_rows(self._marts / f"{name}.parquet"),
                as_of=found[name].as_of,
                history_sha256=found[name].history_sha256,
            )
            for name, sha256 in sorted(self._files.items())
        }

    def _contents(self, written: Sequence[PublishedFile]) -> list[DocumentContent]:
        """What each document was written from; one with its old bytes, from what it was then."""
        before = self._published_manifest
        standing = {c.document: c for c in before.contents} if before else {}
        contents = []
        for document in self._domain.documents:
            old = [w for w in before.documents if w.document == document.file] if before else []
            is_old = old == [w for w in written if w.document == document.file]
            model = self._graph.find(document.model)
            made = DocumentContent(
                document=document.file,
                as_of=self.run.as_of,
                mart=self._built[document.model],
                sources=sorted(self._speaking & (model.tables if model else frozenset())),
            )
            contents.append(standing.get(document.file, made) if is_old else made)
        return contents

    @cached_property
    def _sources(self) -> list[RunSource]:
        return run_context.sources_of(self._instance, self._domain)

    @property
    def _speaking(self) -> set[str]:
        """The sources that have rows: nothing is made of one that is off or empty."""
        return {source.source.name for source in self._sources if source.rows != 0}

    @cached_property
    def changed(self) -> set[str]:
        """Models whose rows or whose writers are not those of the published set."""
        if self._previous is None or self._published_manifest is None:
            return set(self._files)
        if self._published_manifest.code_version != self._place.code_version(self._domain):
            return set(self._files)
        before = {p.stem: hash_file(p) for p in (self._previous / MARTS).glob("*.parquet")}
        return {name for name, sha256 in self._files.items() if before.get(name) != sha256}

    @cached_property
    def _published_manifest(self) -> RunManifest | None:
        return run_directory.read_manifest(self._previous) if self._previous else None

    def _refused_before(self) -> Path | None:
        """The directory of the last run that came to the gate, where it was refused there."""
        told = ((run, run_directory.read_manifest(run)) for run in self._runs())
        last, manifest = next(((run, m) for run, m in told if not m.is_partial), (None, None))
        failed = manifest.failed_checks if manifest else []
        gate_of = (asset_keys.name_of(asset_keys.published_key(self._domain)), GATE)
        return last if any((check.asset, check.name) == gate_of for check in failed) else None

    def _runs(self) -> Iterator[Path]:
        return run_directory.list_runs(self._place.home, self._domain.name)

    def _is_made_like(self, refused: RunManifest) -> bool:
        return gate.is_same_candidate(
            refused,
            code_version=self._place.code_version(self._domain),
            history_sha256=self._history_sha256(),
            sources=self._sources,
        )

    def _history_sha256(self) -> str | None:
        if self._previous is None or self._domain.history is None:
            return None
        file = self._previous / MARTS / f"{self._domain.history}.parquet"
        return hash_file(file) if file.exists() else None
