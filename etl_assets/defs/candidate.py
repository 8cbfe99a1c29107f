"""A run's candidate: its marts and documents, compared with the published set and judged.

The step that publishes it, and its Dagster events, are `etl_assets.defs.publish`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from etl_assets.declarations.domain import Attribution, Document, Domain
from etl_assets.defs import asset_keys, finish_run
from etl_assets.defs.context import DomainSession, Run
from etl_assets.defs.materialize import digest_texts
from etl_assets.defs.models.build import provide_marts
from etl_assets.defs.models.state import (
    RESTORE_ADVICE,
    last_warehouse_sha256,
    model_records,
    published_history,
    read_tables,
    unpublishable_models,
)
from etl_assets.defs.run_events import manifest_from_events, note_of, run_sources, status_of
from etl_assets.marts.graph import Graph
from etl_assets.model.display_text import format_count
from etl_assets.model.errors import HomeError, Problem
from etl_assets.model.records import MIXED, FetchStatus, PublishedSet, RunStatus
from etl_assets.model.run_log import Kind
from etl_assets.model.run_manifest import (
    MARTS,
    AcceptedChange,
    DocumentContent,
    PublishedFile,
    RunCheck,
    RunDocument,
    RunManifest,
    RunMart,
    RunSource,
    summarize_files,
)
from etl_assets.model.run_options import Stage
from etl_assets.publish import chain, gate, run_directory, set_index, verify_command
from etl_assets.publish import documents as publish_documents
from etl_assets.publish.documents import PreviousSet, WrittenDocuments
from etl_assets.publish.gate import GateFinding, GateVerdict
from etl_assets.publish.writers.registry import names_signing_key
from etl_assets.storage.hashing import has_sha256, hash_file
from etl_assets.storage.signatures import open_signatures

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SHOWN_SECONDS = 1  # a document that was written in less needs no time beside it
NOT_THE_REFUSED_ONE = (
    "this is not the candidate that was refused in {refused} and looked at, "
    "for a file or the code has changed since; look at this one and say --accept-changes again"
)
REFUSED_WITHOUT_SET = Problem(
    "the published set",
    "the one with which the refused candidate was compared",
    "none; look at the candidate and run again with --accept-changes",
)


def attributions_of(
    domain: Domain, graph: Graph, document: Document, among: Collection[str] | None
) -> tuple[Attribution, ...]:
    """Return those of the sources that the document's model is made of.

    With `among`, only of the sources that it names.
    """
    names = _tables_of(graph, document)
    if among is not None:
        names = names.intersection(among)
    return tuple(Attribution.of(s) for s in domain.sources.values() if s.name in names)


def measure_coverages(
    connection: DuckDBPyConnection,
    domain: Domain,
    marts: Path,
    sources: Sequence[RunSource],
    *,
    published: Collection[str] = (),
) -> list[GateFinding]:
    """Return the declared coverages of the marts in a folder, made from these sources.

    A mart that is `published` with the same bytes is not refused again.
    """
    off = {source.source.name for source in sources if source.status is FetchStatus.OFF}
    enabled = set(domain.sources) - off
    findings = []
    for coverage in domain.coverage:
        file = marts / f"{coverage.model}.parquet"
        is_on = coverage.source in enabled
        finding = gate.measure_coverage(connection, coverage, file, is_on=is_on)
        if coverage.model in published:
            finding = finding.model_copy(update={"refused": False})
        findings.append(finding)
    return findings


class Candidate:
    """A run's directory on its way to being the published set."""

    def __init__(self, session: DomainSession, graph: Graph, run: Run) -> None:
        self.run = run
        self._session, self._domain, self._graph = session, session.domain, graph
        self._previous = session.published_directory()
        self._signatures = session.home.signatures(session.domain.name)
        self._marts = run.directory / MARTS
        if not self._marts.exists():
            # A run of the publish stage alone has no marts of its own yet.
            unchanged = model_records(session, graph)
            provide_marts(session, graph, run.directory, unchanged=unchanged)
        with open_signatures(self._signatures) as signatures:
            files = self._marts.glob("*.parquet")
            self._digests = {path.stem: signatures.digest(path) for path in files}

    @property
    def digest(self) -> str:
        """The SHA-256 over the digests of all marts."""
        return digest_texts(*sorted(self._digests.values()))

    @cached_property
    def changed(self) -> set[str]:
        """The models whose rows, or whose writers, differ from the published set."""
        previous = self._previous_manifest
        if self._previous is None or previous is None:
            return set(self._digests)
        if previous.code_version != self._session.code_version:
            # Another writer may make other documents of the same rows.
            return set(self._digests)
        return set(self._digests) - self._published_marts

    @property
    def _published_digests(self) -> dict[str, str]:
        """The digests of the published marts, as they were recorded."""
        manifest = self._previous_manifest
        return {mart.model: mart.sha256 for mart in manifest.marts} if manifest else {}

    @property
    def _published_marts(self) -> set[str]:
        """The marts that are published with the same bytes."""
        published = self._published_digests
        return {name for name, sha256 in self._digests.items() if published.get(name) == sha256}

    def write_documents(self, *, whole: bool = False) -> WrittenDocuments:
        """Write the documents, or link those that are published and did not change.

        If `whole`, no parts of published documents are taken over.
        """
        with open_signatures(self._signatures) as signatures:
            written = publish_documents.write_documents(
                self._domain.documents,
                self._marts,
                self.run.directory,
                as_of=self.run.as_of,
                previous=self._previous_set(takes_over_parts=not whole),
                changed=self.changed,
                signatures=signatures,
                attributions={
                    document.file: attributions_of(
                        self._domain, self._graph, document, self._sources_with_rows
                    )
                    for document in self._domain.documents
                },
                signing_key=self._session.key_fingerprint,
                tones=self._domain.tones,
                advance=self._session.project.advance,
                log_document=self._log_document,
            )
        if written.linked:
            counts = f"{len(written.linked)} of {len(self._domain.documents)}"
            self._say(f"{counts} documents are unchanged")
        return written

    def _log_document(
        self, document: Document, files: Sequence[PublishedFile], seconds: float
    ) -> None:
        rows = sum(file.rows for file in files)
        text = f"{document.file}: {format_count(rows, 'row')}"
        if len(files) > 1:
            text += f" in {len(files):,} files"
        if seconds >= SHOWN_SECONDS:
            text += f", written in {seconds:.1f} s"
        self._say(
            text,
            decision="written",
            document=document.file,
            format=document.format,
            files=len(files),
            rows=rows,
            milliseconds=round(seconds * 1000),
        )

    def _say(self, text: str, **fields: str | int | None) -> None:
        domain = self._domain.name
        self._session.say(f"{domain}: {text}", Kind.PROGRESS, stage=Stage.PUBLISH.value, **fields)

    def _previous_set(self, *, takes_over_parts: bool) -> PreviousSet | None:
        """Return the set whose files may be linked; None if its index is damaged."""
        manifest = self._previous_manifest
        if self._previous is None or manifest is None:
            return None
        try:
            files = set_index.read_index(self._previous, manifest)
        except HomeError:
            return None
        times = {content.document: content.as_of for content in manifest.contents}
        digests = {
            content.document: content.mart.sha256
            for content in manifest.contents
            if takes_over_parts
            and manifest.code_version == self._session.code_version
            and content.sources == self._content_sources(content.document)
        }
        return PreviousSet(
            self._previous,
            files,
            content_times=times,
            signing_keys={content.document: content.signing_key for content in manifest.contents},
            mart_digests=digests,
            mart_keys={mart.name: mart.key for mart in self._graph.marts},
        )

    def _content_sources(self, document_file: str) -> list[str]:
        """Return the sources that a document names if it is written now."""
        for document in self._domain.documents:
            if document.file == document_file:
                return sorted(self._sources_with_rows & _tables_of(self._graph, document))
        return []

    def find_problems(self, written: WrittenDocuments) -> list[Problem]:
        """Return documents that lack rows or violate their JSON Schema."""
        documents, directory = self._domain.documents, self.run.directory
        schemas = self._session.project.settings.domains_dir / self._domain.name
        new_documents = [each for each in documents if each.file not in written.linked]
        return [
            *publish_documents.find_incomplete_documents(
                documents,
                self._marts,
                directory,
                written,
                advance=self._session.project.advance,
            ),
            *publish_documents.check_json_schemas(new_documents, directory, schemas),
        ]

    def compare(self, connection: DuckDBPyConnection) -> list[GateFinding]:
        """Measure how far the candidate is from the published set."""
        appeared = set(self._domain.sources)
        if self._previous_manifest:
            appeared -= gate.names_with_rows(self._previous_manifest.sources)
        findings: list[GateFinding] = []
        for check in self._domain.gate:
            file = f"{MARTS}/{check.model}.parquet"
            findings += gate.compare_model(
                connection,
                check,
                self._published_mart(check.model),
                self.run.directory / file,
                appeared=appeared,
            )
        return findings + measure_coverages(
            connection, self._domain, self._marts, self._sources, published=self._published_marts
        )

    def run_commands(self) -> list[RunCheck]:
        """Run the declared commands on the candidate; the result of each is a check that blocks."""
        settings = self._session.project.settings
        results = []
        for number, command in enumerate(self._domain.verify, start=1):
            result = verify_command.run_command(
                command,
                self.run.directory.absolute(),
                settings.domains_dir / self._domain.name,
                settings.plain_environment(),
                self._session.home.scratch,
            )
            results.append(
                RunCheck(
                    asset=asset_keys.name_of(asset_keys.published_key(self._domain)),
                    name=asset_keys.verify_check(number),
                    passed=result.passed,
                    severity="error",
                    description=str(result),
                )
            )
        return results

    def judge(
        self,
        checks: Sequence[RunCheck],
        problems: Sequence[Problem],
        findings: Sequence[GateFinding],
        *,
        accept: bool,
    ) -> GateVerdict:
        """Return the gate's verdict; changes are accepted only in the candidate refused before."""
        # Accepting covers what the operator has looked at, and nothing that came in since.
        refused = self._last_refused() if accept else None
        if self._previous is None and not accept and self._was_refused():
            # Without the published set nothing can be compared, and the refusal would be lost.
            problems = [*problems, REFUSED_WITHOUT_SET]
        if refused is None or self._is_made_like(run_directory.read_manifest(refused)):
            return gate.judge_candidate(checks, problems, findings, accept=accept)
        advice = NOT_THE_REFUSED_ONE.format(refused=self._session.home.relative(refused))
        return gate.judge_candidate(checks, problems, findings, advice=advice)

    def conclude(
        self, written: WrittenDocuments, verdict: GateVerdict, earlier_checks: Sequence[RunCheck]
    ) -> RunManifest:
        """Write manifest, report and sums, and publish if the gate has passed."""
        status, note = RunStatus.FAILED, f"the gate {verdict}"
        if verdict.passed:
            status, note = status_of(self._sources), note_of(self._sources)
        manifest = manifest_from_events(
            self._session,
            self.run,
            status=status,
            published=verdict.passed,
            note=note,
            earlier_checks=earlier_checks,
        )
        accepted = [AcceptedChange(what=name, sha256=self.digest) for name in verdict.accepted]
        manifest = manifest.model_copy(
            update={
                "documents": summarize_files(written.files),
                "marts": list(self._run_marts.values()),
                "contents": self._contents(written.files),
                "history_sha256": self._history_sha256(),
                "accepted_changes": [*manifest.accepted_changes, *accepted],
            }
        )
        files = [*written.files, *self._mart_files()]
        return finish_run.finish(self._session, manifest, self.run.directory, files=files)

    def _mart_files(self) -> Iterator[PublishedFile]:
        for name, mart in self._run_marts.items():
            file = f"{MARTS}/{name}.parquet"
            size_bytes = (self.run.directory / file).stat().st_size
            yield PublishedFile(
                document="", file=file, sha256=mart.sha256, size_bytes=size_bytes, rows=mart.rows
            )

    def published_set(self, manifest: RunManifest) -> PublishedSet:
        """Return the record of what a manifest publishes, with which the next plan compares."""
        link = chain.link_of(self.run.directory, manifest, self._domain.history)
        _, tables = read_tables(self._session)
        # A launch of some assets from the UI may publish models that are not current: the next
        # plan has to find that out.
        is_mixed = bool(unpublishable_models(self._session))
        return PublishedSet(
            directory=self.run.directory.name,
            tables=tables,
            code_version=MIXED if is_mixed else self._session.code_version,
            marts=self._digests,
            link=link,
            warehouse_sha256=last_warehouse_sha256(self._session),
            signing_key=manifest.signing.key if manifest.signing else None,
        )

    @cached_property
    def _previous_manifest(self) -> RunManifest | None:
        return run_directory.read_manifest(self._previous) if self._previous else None

    @cached_property
    def _sources(self) -> list[RunSource]:
        return run_sources(self._session)

    @property
    def _sources_with_rows(self) -> set[str]:
        """The names of the sources that have rows; a source that is off or empty has none."""
        return {source.source.name for source in self._sources if source.rows != 0}

    @cached_property
    def _run_marts(self) -> dict[str, RunMart]:
        records = model_records(self._session, self._graph)
        return {
            name: RunMart(
                model=name,
                sha256=sha256,
                rows=run_directory.count_rows(self._marts / f"{name}.parquet"),
                as_of=records[name].as_of,
                history_sha256=records[name].history_sha256,
            )
            for name, sha256 in sorted(self._digests.items())
        }

    def _contents(self, written: Sequence[PublishedFile]) -> list[DocumentContent]:
        """Return what each document was written from; an unchanged one keeps its content."""
        previous_documents: list[RunDocument] = []
        previous_contents: dict[str, DocumentContent] = {}
        if previous := self._previous_manifest:
            previous_documents = previous.documents
            previous_contents = {content.document: content for content in previous.contents}
        documents = {each.document: each for each in summarize_files(written)}
        contents = []
        for document in self._domain.documents:
            content = DocumentContent(
                document=document.file,
                as_of=self.run.as_of,
                mart=self._run_marts[document.model],
                further_marts=[self._run_marts[model] for model in document.also_from.values()],
                sources=self._content_sources(document.file),
                signing_key=(
                    self._session.key_fingerprint if names_signing_key(document) else None
                ),
            )
            # The same bytes were written from other rows, in an earlier run.
            if documents.get(document.file) in previous_documents:
                content = previous_contents.get(document.file, content)
            contents.append(content)
        return contents

    def _last_refused(self) -> Path | None:
        """Return the directory of the last run that reached the gate, if the gate refused it."""
        key = asset_keys.gate_key(self._domain)
        gate_check = (asset_keys.name_of(key.asset_key), key.name)
        for directory in run_directory.list_runs(self._session.home, self._domain.name):
            manifest = run_directory.read_manifest(directory)
            if manifest.is_partial:
                continue  # it stopped before the gate, as requested
            failed = {(check.asset, check.name) for check in manifest.failed_checks}
            return directory if gate_check in failed else None
        return None

    def _was_refused(self) -> bool:
        """Return True if the gate refused the last candidate, by the event log."""
        key = asset_keys.gate_key(self._domain)
        last = self._session.event_log.latest_checks([key]).get(key)
        return last is not None and not last.passed

    def _is_made_like(self, refused: RunManifest) -> bool:
        return gate.is_same_candidate(
            refused,
            code_version=self._session.code_version,
            history_sha256=self._history_sha256(),
            sources=self._sources,
        )

    def _history_sha256(self) -> str | None:
        file = published_history(self._session)
        return hash_file(file) if file else None

    def _published_mart(self, name: str) -> Path | None:
        """Return the rows of a mart as they were published, or None if there are none to compare.

        Raises HomeError if the file is damaged and nothing else has its rows.
        """
        home, domain = self._session.home, self._domain.name
        file = self._published_file(f"{MARTS}/{name}.parquet")
        sha256 = self._published_digests.get(name)
        if sha256 is None or (file and has_sha256(file, sha256)):
            return file
        if self._digests.get(name) == sha256:
            return self._marts / f"{name}.parquet"
        if intact := chain.find_mart(home, domain, name, sha256):
            return intact
        if chain.read_head(home, domain).new_history:
            return None
        raise HomeError(
            f"{self._previous}/{MARTS}/{name}.parquet: expected the published file with SHA-256 "
            f"{sha256}, found it missing or altered, and the candidate cannot be compared with it; "
            f"{RESTORE_ADVICE.format(domain=domain)}"
        )

    def _published_file(self, name: str) -> Path | None:
        """Return a file of the published set, or None."""
        file = self._previous / name if self._previous else None
        return file if file and file.is_file() else None


def _tables_of(graph: Graph, document: Document) -> frozenset[str]:
    """Return the names of the tables that the document's models are made of."""
    models = map(graph.find, (document.model, *document.also_from.values()))
    return frozenset[str]().union(*(model.tables for model in models if model))
