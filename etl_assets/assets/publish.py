"""The published assets: documents, the run's report, and the set that readers see.

The gate weighs the candidate before anything of it can be read; the writing is `stages.publish`.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import dagster as dg

from etl_assets.assets import keys, runs, specs
from etl_assets.assets.health import read_tables
from etl_assets.assets.ledger import export_ledger
from etl_assets.assets.marts import model_records, provide_marts
from etl_assets.assets.outcomes import digest_of
from etl_assets.assets.state import latest_checks, metadata_of
from etl_assets.assets.workplace import Workplace
from etl_assets.io import outputs
from etl_assets.model.attribution import Attribution
from etl_assets.model.declaration import Document, Domain
from etl_assets.model.graph import Graph
from etl_assets.model.records import Published, RunStatus
from etl_assets.model.run import MARTS, RunManifest, Written
from etl_assets.stages import gate, publish, report

GATE = "gate"


def build_publish(
    domain: Domain, place: Workplace, graph: Graph, model_checks: Sequence[dg.AssetCheckKey]
) -> dg.AssetsDefinition:
    """One step from marts to `latest`; `model_checks` are the checks that the gate weighs."""

    @dg.multi_asset(
        hooks={runs.failure_hook(place, domain)},
        name=f"{domain.name}_publish",
        specs=_specs(domain, place, graph),
        check_specs=[
            specs.check_spec(
                GATE,
                keys.published_key(domain),
                "No blocking check speaks against the candidate, and no document loses a row.",
            )
        ],
    )
    def published(context: dg.AssetExecutionContext) -> Iterator[Any]:
        run = runs.current(context.instance, context.run.run_id, place, domain)
        candidate = _Candidate(context.instance, place, domain, graph, run)
        written = candidate.write_documents()
        verdict = gate.judge(
            (runs.check_of(e) for e in latest_checks(context.instance, model_checks).values()),
            candidate.incomplete(written),
        )
        yield _gate_result(domain, verdict)
        yield from _document_results(domain, candidate, written)
        manifest = candidate.conclude(written, verdict)
        yield _report_result(domain, candidate, manifest)
        if not verdict.passed:
            raise dg.Failure(
                f"the gate {verdict}\nwhat is published stays; the candidate and its report are in "
                f"{place.home.relative(run.directory)}",
                allow_retries=False,
            )
        export_ledger(context.instance, place, domain, run.started_at)
        yield candidate.published()

    return published


class _Candidate:
    """A run's directory on its way to being the published set."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        place: Workplace,
        domain: Domain,
        graph: Graph,
        run: runs.Run,
    ) -> None:
        self._instance, self._place, self._domain, self.run = instance, place, domain, run
        self._graph = graph
        self._previous = outputs.published(place.home, domain.name)
        self._marts = run.directory / MARTS
        if not self._marts.exists():
            kept = model_records(instance, domain, graph)
            provide_marts(place.home, domain, graph, run.directory, kept=kept)
        self._files = {path.stem: outputs.sha256_of(path) for path in self._marts.glob("*.parquet")}

    def write_documents(self) -> list[Written]:
        return publish.write_documents(
            self._domain.documents,
            self._marts,
            self.run.directory,
            as_of=self.run.as_of,
            previous=self._previous,
            changed=self.changed,
            attributions={d.file: self._attributions(d) for d in self._domain.documents},
        )

    def incomplete(self, written: list[Written]) -> list[Any]:
        return publish.incomplete(self._domain.documents, self._marts, self.run.directory, written)

    def conclude(self, written: list[Written], verdict: gate.GateVerdict) -> RunManifest:
        sources = runs.sources_of(self._instance, self._domain)
        manifest = runs.manifest(
            self._instance,
            self._place,
            self._domain,
            self.run,
            status=runs.status_of(sources) if verdict.passed else RunStatus.FAILED,
            published=verdict.passed,
            note=runs.note_of(sources) if verdict.passed else f"the gate {verdict}",
            documents=written,
            history_sha256=self._history_sha256(),
        )
        report.write_report(self._domain, manifest, self._marts, self.run.directory)
        publish.conclude(self._place.home, self.run.directory, manifest)
        return manifest

    def published(self) -> dg.MaterializeResult[Any]:
        _, tables = read_tables(self._instance, self._domain)
        record = Published(
            directory=self.run.directory.name,
            tables=tables,
            code_version=self._place.code_version(self._domain),
            marts=self._files,
        )
        return dg.MaterializeResult(
            asset_key=keys.published_key(self._domain),
            data_version=dg.DataVersion(digest_of(*sorted(self._files.values()))),
            metadata={
                "reused": not self.changed,
                **metadata_of(record, {"path": self._place.home.relative(self.run.directory)}),
            },
        )

    def is_linked(self, file: str) -> bool:
        """Whether a file of the candidate is the very one that is published."""
        before = self._previous / file if self._previous else None
        return before is not None and before.exists() and before.samefile(self.run.directory / file)

    def _attributions(self, document: Document) -> tuple[Attribution, ...]:
        """Those of the sources that the document's model is made of."""
        model = self._graph.named(document.model)
        sources = self._domain.sources.values()
        return tuple(Attribution.of(s) for s in sources if model and s.name in model.tables)

    @cached_property
    def changed(self) -> set[str]:
        """Models whose rows or whose writers are not those of the published set."""
        if self._previous is None:
            return set(self._files)
        manifest = outputs.read_manifest(self._previous)
        if manifest.code_version != self._place.code_version(self._domain):
            return set(self._files)
        before = {p.stem: outputs.sha256_of(p) for p in (self._previous / MARTS).glob("*.parquet")}
        return {name for name, sha256 in self._files.items() if before.get(name) != sha256}

    def _history_sha256(self) -> str | None:
        if self._previous is None or self._domain.history is None:
            return None
        file = self._previous / MARTS / f"{self._domain.history}.parquet"
        return outputs.sha256_of(file) if file.exists() else None


def _specs(domain: Domain, place: Workplace, graph: Graph) -> list[dg.AssetSpec]:
    common: dict[str, Any] = {"group_name": domain.name, "owners": [domain.owner]}
    models = {model.name for model in graph.models.values()}
    documents = [
        dg.AssetSpec(
            keys.document_key(domain, document),
            deps=[
                keys.model_key(domain.name, model)
                for model in sorted({document.model, document.made_with} & models)
            ],
            description=f"{document.file}: {document.title}",
            kinds={"file"},
            code_version=place.code_version(domain),
            **common,
        )
        for document in domain.documents
    ]
    marts = [keys.model_key(domain.name, mart.name) for mart in graph.marts]
    return [
        *documents,
        dg.AssetSpec(
            keys.report_key(domain),
            deps=marts,
            description="What the run did, for people: outcome, distributions, checks, sources.",
            kinds={"markdown"},
            **common,
        ),
        dg.AssetSpec(
            keys.published_key(domain),
            deps=[*(spec.key for spec in documents), *marts],
            description=f"outputs/{domain.name}/latest: what readers see, moved by one rename.",
            kinds={"file"},
            **common,
        ),
    ]


def _gate_result(domain: Domain, verdict: gate.GateVerdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=keys.published_key(domain),
        check_name=GATE,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=str(verdict),
        metadata={"warnings": dg.MetadataValue.json(verdict.warned_by)},
    )


def _document_results(
    domain: Domain, candidate: _Candidate, written: Sequence[Written]
) -> Iterator[dg.MaterializeResult[Any]]:
    for document in domain.documents:
        files = [part for part in written if part.document == document.file]
        yield dg.MaterializeResult(
            asset_key=keys.document_key(domain, document),
            data_version=dg.DataVersion(digest_of(*(part.sha256 for part in files))),
            metadata={
                "reused": all(candidate.is_linked(part.file) for part in files),
                "dagster/row_count": sum(part.rows for part in files),
                "files": len(files),
                "size_bytes": sum(part.size_bytes for part in files),
                "sha256": files[0].sha256 if len(files) == 1 else "",
            },
        )


def _report_result(
    domain: Domain, candidate: _Candidate, manifest: RunManifest
) -> dg.MaterializeResult[Any]:
    text = (candidate.run.directory / report.REPORT_FILE).read_text(encoding="utf-8")
    return dg.MaterializeResult(
        asset_key=keys.report_key(domain),
        metadata={
            "reused": not candidate.changed,
            "report": dg.MetadataValue.md(text),
            "status": manifest.status.value,
        },
    )
