"""The published assets: documents, the run's report, and the set that readers see.

The gate weighs the candidate before anything of it can be read; the writing is `publish.documents`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys, raw, run_context, specs, tables, validated
from etl_assets.defs.candidate import GATE, Candidate
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.domain_lock import domain_lock
from etl_assets.defs.event_log import latest_checks
from etl_assets.defs.export_manifest import export_ledger
from etl_assets.defs.materialize import digest_of
from etl_assets.defs.run_events import check_of
from etl_assets.marts.graph import Graph
from etl_assets.model.run_manifest import PublishedFile, RunCheck, RunManifest
from etl_assets.publish import gate
from etl_assets.publish.gate import GateFinding, GateVerdict
from etl_assets.report import gather


class PublishConfig(dg.Config):
    """What a person may say to this step at launch."""

    accept_changes: bool = False


def build_publish(
    domain: Domain, place: ProjectContext, graph: Graph, model_checks: Sequence[dg.AssetCheckKey]
) -> dg.AssetsDefinition:
    """One step from marts to `latest`; `model_checks` are the checks that the gate weighs."""

    @dg.multi_asset(
        hooks={run_context.failure_hook(place, domain), run_context.success_hook(place, domain)},
        name=f"{domain.name}_publish",
        backfill_policy=dg.BackfillPolicy.single_run(),
        specs=_specs(domain, place, graph),
        check_specs=_check_specs(domain),
    )
    @domain_lock(place, domain)
    def published(context: dg.AssetExecutionContext, config: PublishConfig) -> Iterator[Any]:
        run = run_context.current(context.instance, context.run.run_id, place, domain)
        run_context.refuse_overtaken(place, domain, run)
        candidate = Candidate(context.instance, place, domain, graph, run)
        written = candidate.write_documents()
        findings = candidate.compare()
        standing = _standing(context.instance, domain, model_checks)
        verdict = candidate.judge(
            [check for key, check in standing.items() if key in model_checks],
            candidate.incomplete(written),
            findings,
            accept=config.accept_changes,
        )
        yield _gate_result(domain, verdict)
        yield from (_finding_result(domain, finding, verdict) for finding in findings)
        yield from _document_results(domain, candidate, written)
        manifest = candidate.conclude(written, verdict, list(standing.values()))
        yield _report_result(domain, candidate, manifest)
        if not verdict.passed:
            raise _refused(verdict, place.home.relative(run.directory))
        export_ledger(context.instance, place, domain, run.started_at)
        yield candidate.published(verdict)

    return published


def _refused(verdict: GateVerdict, directory: str) -> dg.Failure:
    stays = f"what is published stays; the candidate and its report are in {directory}"
    return dg.Failure(f"the gate {verdict}\n{stays}", allow_retries=False)


def _standing(
    instance: dg.DagsterInstance, domain: Domain, model_checks: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, RunCheck]:
    """The last verdict of every check on models and sources, whichever run gave it."""
    wanted = [*model_checks, *source_checks(domain)]
    return {key: check_of(e) for key, e in latest_checks(instance, wanted).items()}


def source_checks(domain: Domain) -> list[dg.AssetCheckKey]:
    """The checks on each source's files and rows."""
    return [
        dg.AssetCheckKey(key(source), check)
        for source in domain.sources.values()
        for key, check in (
            (asset_keys.raw_key, raw.CHECK),
            (asset_keys.validated_key, validated.CHECK),
            (asset_keys.table_key, tables.CHECK),
        )
    ]


def _check_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """The gate's word, and each of its measures."""
    key = asset_keys.published_key(domain)
    passed = "No blocking check speaks against the candidate, and no document loses a row."
    return [
        specs.check_spec(GATE, key, passed),
        *(
            specs.check_spec(name, key, f"Expected: {limit}.")
            for check in domain.gate
            for name, limit in gate.describe_limits(check).items()
        ),
    ]


def _specs(domain: Domain, place: ProjectContext, graph: Graph) -> list[dg.AssetSpec]:
    common: dict[str, Any] = {"group_name": domain.name, "owners": [domain.owner]}
    models = {model.name for model in graph.models.values()}
    code_version = place.code_version(domain)
    documents = [
        dg.AssetSpec(
            asset_keys.document_key(domain, document),
            deps=[
                asset_keys.model_key(domain.name, name)
                for name in document.models
                if name in models
            ],
            description=f"{document.file}: {document.title}",
            kinds={"file"},
            code_version=code_version,
            **common,
        )
        for document in domain.documents
    ]
    marts = [asset_keys.model_key(domain.name, mart.name) for mart in graph.marts]
    return [
        *documents,
        dg.AssetSpec(
            asset_keys.report_key(domain),
            deps=marts,
            description="What the run did, for people: outcome, distributions, checks, sources.",
            kinds={"markdown", "html"},
            **common,
        ),
        dg.AssetSpec(
            asset_keys.published_key(domain),
            deps=[*(spec.key for spec in documents), *marts],
            description=f"outputs/{domain.name}/latest: what readers see, moved by one rename.",
            kinds={"file"},
            **common,
        ),
    ]


def _gate_result(domain: Domain, verdict: GateVerdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_keys.published_key(domain),
        check_name=GATE,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=str(verdict),
        metadata={
            "warnings": dg.MetadataValue.json(verdict.warned_by),
            "accepted": dg.MetadataValue.json(verdict.accepted),
        },
    )


def _finding_result(
    domain: Domain, finding: GateFinding, verdict: GateVerdict
) -> dg.AssetCheckResult:
    """One measure; one that a person has accepted stays red and no longer blocks."""
    accepted = finding.check in verdict.accepted
    return dg.AssetCheckResult(
        asset_key=asset_keys.published_key(domain),
        check_name=finding.check,
        passed=not finding.refused,
        severity=dg.AssetCheckSeverity.WARN if accepted else dg.AssetCheckSeverity.ERROR,
        description=str(finding) if finding.refused else None,
        metadata={
            "found": finding.found,
            "count": finding.count,
            "of": finding.of,
            "offenders": dg.MetadataValue.json(finding.offenders),
        },
    )


def _document_results(
    domain: Domain, candidate: Candidate, written: Sequence[PublishedFile]
) -> Iterator[dg.MaterializeResult[Any]]:
    for document in domain.documents:
        files = [part for part in written if part.document == document.file]
        yield dg.MaterializeResult(
            asset_key=asset_keys.document_key(domain, document),
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
    domain: Domain, candidate: Candidate, manifest: RunManifest
) -> dg.MaterializeResult[Any]:
    text = (candidate.run.directory / gather.MARKDOWN_FILE).read_text(encoding="utf-8")
    return dg.MaterializeResult(
        asset_key=asset_keys.report_key(domain),
        metadata={
            "reused": not candidate.changed,
            "report": dg.MetadataValue.md(text),
            "page": dg.MetadataValue.path(candidate.run.directory / gather.HTML_FILE),
            "status": manifest.status.value,
        },
    )
