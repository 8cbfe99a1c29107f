"""The published assets: documents, the run's report, and the set that readers see.

The gate judges the candidate before a reader can see any of it; documents are written by
`etl_assets.publish`.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import dagster as dg
from dagster_duckdb import DuckDBResource

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys, raw, tables, validated
from etl_assets.defs.asset_keys import Layer
from etl_assets.defs.candidate import Candidate
from etl_assets.defs.context import (
    DomainSession,
    ProjectContext,
    Run,
    current_run,
    domain_lock,
    run_options,
    takes_options,
)
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.export_manifest import export_ledger
from etl_assets.defs.finish_run import run_hooks
from etl_assets.defs.materialize import digest_texts, record_metadata
from etl_assets.defs.models.former_keys import take_over_renamed_checks
from etl_assets.defs.models.state import repair_before_step
from etl_assets.defs.retention.retain import retain
from etl_assets.defs.run_events import run_check
from etl_assets.defs.specs import code_references, escape_tags, freshness
from etl_assets.marts.graph import Graph
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunCheck, RunManifest
from etl_assets.model.run_options import Stage
from etl_assets.publish import chain, gate, run_directory
from etl_assets.publish.documents import WrittenDocuments
from etl_assets.publish.gate import GateFinding, GateVerdict
from etl_assets.report import gather
from etl_assets.storage.duckdb_connection import use_utc

STATUS_TAG = "etl/status"  # of a run: Dagster has no status for a partial success


@takes_options(Stage.PUBLISH)
class PublishConfig(dg.Config):
    """The options of `etl run` that this step takes."""


def build_publish(
    domain: Domain,
    project: ProjectContext,
    graph: Graph,
    model_checks: Mapping[dg.AssetCheckKey, dg.AssetCheckKey],
) -> dg.AssetsDefinition:
    """Return the step from marts to `latest`.

    The gate includes `model_checks`, which have the former key of each.
    """

    @dg.multi_asset(
        hooks=run_hooks(project, domain),
        name=f"{domain.name}_publish",
        backfill_policy=dg.BackfillPolicy.single_run(),
        specs=_asset_specs(domain, project, graph),
        check_specs=_check_specs(domain),
    )
    @domain_lock(project, domain, Stage.PUBLISH)
    def published(
        context: dg.AssetExecutionContext, config: PublishConfig, duckdb: DuckDBResource
    ) -> Iterator[Any]:
        session = DomainSession(EventLog(context.instance), project, domain)
        run = current_run(session, context.run.run_id)
        repair_before_step(session)
        _refuse_if_overtaken(session, run)
        _refuse_undeclared_history(session)
        candidate = Candidate(session, graph, run)
        written = candidate.write_documents(whole=run_options(config).full)
        with duckdb.get_connection() as connection:
            use_utc(connection)
            findings = candidate.compare(connection)
        take_over_renamed_checks(session, model_checks)
        evaluations = session.event_log.latest_checks([*model_checks, *source_checks(domain)])
        checks = {key: run_check(evaluation) for key, evaluation in evaluations.items()}
        commands = candidate.run_commands()
        verdict = candidate.judge(
            [*(check for key, check in checks.items() if key in model_checks), *commands],
            candidate.find_problems(written),
            findings,
            accept=run_options(config).accept_changes,
        )
        # Dagster records what a step has yielded before it fails, so the results come first.
        yield _gate_result(domain, verdict)
        for finding in findings:
            yield _finding_result(domain, finding, verdict)
        for check in commands:
            yield _command_result(domain, check)
        yield from _document_results(domain, run, written)
        manifest = candidate.conclude(written, verdict, list(checks.values()))
        yield _report_result(domain, candidate, manifest)
        directory = session.home.relative(run.directory)
        if not verdict.passed:
            raise dg.Failure(
                f"the gate {verdict}\nthe published set is unchanged; the candidate and its report "
                f"are in {directory}",
                allow_retries=False,
            )
        export_ledger(session, run.started_at)
        yield dg.MaterializeResult(
            asset_key=asset_keys.published_key(domain),
            data_version=dg.DataVersion(candidate.digest),
            metadata={
                "reused": not candidate.changed,
                "accepted_changes": verdict.accepted,
                "open": _link(domain, run, gather.HTML_FILE),
                **record_metadata(candidate.published_set(manifest), {"path": directory}),
            },
        )
        yield _served_result(domain, manifest)
        session.event_log.add_run_tags(run.run_id, {STATUS_TAG: manifest.status.value})
        if not project.holds_lock:  # else the command that launched the run does it at its end
            retain(session, now=datetime.now(UTC))

    return published


def recorded_checks(session: DomainSession) -> list[RunCheck]:
    """Return the last evaluation of the gate and of the checks on sources."""
    domain = session.domain
    gate_check = asset_keys.gate_key(domain)
    evaluations = session.event_log.latest_checks([gate_check, *source_checks(domain)])
    return [run_check(evaluation) for evaluation in evaluations.values()]


def source_checks(domain: Domain) -> list[dg.AssetCheckKey]:
    """Return the checks on each source's files and rows."""
    keys: list[dg.AssetCheckKey] = []
    for source in domain.sources.values():
        keys += [dg.AssetCheckKey(asset_keys.raw_key(source), c.name) for c in raw.CHECKS]
        validated_key = asset_keys.validated_key(source)
        keys += [dg.AssetCheckKey(validated_key, c.name) for c in validated.CHECKS]
        keys += [dg.AssetCheckKey(asset_keys.table_key(source), c.name) for c in tables.CHECKS]
    return keys


def _refuse_if_overtaken(session: DomainSession, run: Run) -> None:
    """Fail a run that was launched beside another one, which has published meanwhile."""
    published = session.published_directory(fresh=True)
    if published is None or published == run.directory:
        return
    last = run_directory.read_manifest(published).as_of
    if run.as_of <= last:
        raise dg.Failure(
            f"expected a candidate later than the published set, {published.name} as of"
            f" {last.isoformat()}, found one as of {run.as_of.isoformat()}; run again",
            allow_retries=False,
        )


def _refuse_undeclared_history(session: DomainSession) -> None:
    """Fail a run of a domain that has published a history and declares none any more."""
    home, domain = session.home, session.domain
    is_kept = domain.history is None and home.history_copy(domain.name).exists()
    if is_kept and chain.read_head(home, domain.name).new_history is None:
        raise dg.Failure(
            f"expected `history` in the declarations of {domain.name}, as its published set has"
            " one that would be lost, found none; declare it, or let it end:"
            f" `etl run {domain.name} --new-history --why TEXT`",
            allow_retries=False,
        )


def _check_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """Return the gate's verdict, and each of its measures, as checks."""
    key = asset_keys.published_key(domain)
    descriptions = {
        asset_keys.gate_key(domain).name: (
            "No blocking check fails for the candidate, and no document loses a row. If not,"
            " nothing is published: correct what the failed checks name, or accept a limit."
        )
    }
    accept = (
        f"If not, look at the report, and accept it by `etl run {domain.name} --accept-changes`."
    )
    for check in domain.gate:
        for name, limit in gate.describe_limits(check).items():
            descriptions[name] = f"Expected: {limit}. {accept}"
    for coverage in domain.coverage:
        descriptions[gate.coverage_name(coverage)] = (
            f"Expected: {gate.describe_coverage(coverage)}. {accept}"
        )
    for number, command in enumerate(domain.verify, start=1):
        descriptions[asset_keys.verify_check(number)] = (
            f"Expected: {shlex.join(command.command)} ends with 0."
        )
    # They are the gate: what they refuse is not published.
    specs = [
        dg.AssetCheckSpec(name, asset=key, description=description, blocking=True)
        for name, description in descriptions.items()
    ]
    served = asset_keys.served_key(domain)
    description = (
        "Every source was served by its remote. If not, what is published has the last good file of"
        " those that are named, or none of an optional one; see their checks."
    )
    return [*specs, dg.AssetCheckSpec(served.name, asset=key, description=description)]


def _asset_specs(domain: Domain, project: ProjectContext, graph: Graph) -> list[dg.AssetSpec]:
    freshness_policy = freshness(domain.sources.values())
    declaration = code_references(project.settings.domains_dir / domain.name / "_domain.yaml")

    def common(layer: Layer) -> dict[str, Any]:
        return {
            "group_name": asset_keys.group_name(domain, layer),
            "owners": [domain.owner],
            "tags": asset_keys.layer_tag(layer),
            "metadata": declaration,
        }

    models = {model.name for model in graph.models.values()}
    code_version = project.code_version(domain)
    documents = [
        dg.AssetSpec(
            asset_keys.document_key(domain, document),
            deps=[
                asset_keys.model_key(domain.name, name)
                for name in document.models
                if name in models
            ],
            description=escape_tags(f"{document.file}: {document.title}"),
            kinds={"file"},
            code_version=code_version,
            freshness_policy=freshness_policy,
            **common(Layer.DOCUMENT),
        )
        for document in domain.documents
    ]
    marts = [asset_keys.model_key(domain.name, mart.name) for mart in graph.marts]
    # Pages that launch several runs publish after the last of them only if all are upstream.
    read = frozenset[str]().union(*(model.tables for model in graph.models.values()))
    unread = [asset_keys.table_key(s) for s in domain.sources.values() if s.name not in read]
    return [
        *documents,
        dg.AssetSpec(
            asset_keys.report_key(domain),
            deps=marts,
            description="What the run did: outcome, distributions, checks, sources.",
            kinds={"markdown", "html"},
            **common(Layer.STATUS),
        ),
        dg.AssetSpec(
            asset_keys.published_key(domain),
            deps=[*(spec.key for spec in documents), *marts, *unread],
            description=f"outputs/{domain.name}/latest: what readers see, moved by one rename.",
            kinds={"file"},
            freshness_policy=freshness_policy,
            **common(Layer.PUBLISHED),
        ),
    ]


def _gate_result(domain: Domain, verdict: GateVerdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_keys.published_key(domain),
        check_name=asset_keys.gate_key(domain).name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=str(verdict),
        metadata={
            "warnings": dg.MetadataValue.json(verdict.warned_by),
            "accepted": dg.MetadataValue.json(verdict.accepted),
        },
    )


def _served_result(domain: Domain, manifest: RunManifest) -> dg.AssetCheckResult:
    """Return the check that shows a partial success; it comes after the manifest, which says so."""
    return dg.AssetCheckResult(
        asset_key=asset_keys.published_key(domain),
        check_name=asset_keys.served_key(domain).name,
        passed=manifest.status is RunStatus.SUCCESS,
        severity=dg.AssetCheckSeverity.WARN,
        description=manifest.note or None,
    )


def _finding_result(
    domain: Domain, finding: GateFinding, verdict: GateVerdict
) -> dg.AssetCheckResult:
    """Return one measure; one that the operator accepted still fails, as a warning."""
    check = finding_check(domain, finding, accepted=verdict.accepted)
    is_warning = check.severity == "warn"
    return dg.AssetCheckResult(
        asset_key=asset_keys.published_key(domain),
        check_name=finding.check,
        passed=check.passed,
        severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
        description=check.description or None,
        metadata={
            "found": finding.found,
            "count": finding.count,
            "of": finding.of,
            "offenders": dg.MetadataValue.json(finding.offenders),
        },
    )


def _command_result(domain: Domain, check: RunCheck) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_keys.published_key(domain),
        check_name=check.name,
        passed=check.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=check.description or None,
    )


def finding_check(domain: Domain, finding: GateFinding, *, accepted: Collection[str]) -> RunCheck:
    """Return a measure of the gate as a check; `accepted` are those that the operator accepted."""
    is_warning = finding.check in accepted or not finding.refused
    passed = not (finding.refused or finding.warned)
    return RunCheck(
        asset=asset_keys.name_of(asset_keys.published_key(domain)),
        name=finding.check,
        passed=passed,
        severity="warn" if is_warning and not passed else "error",
        description=finding.note if passed else str(finding),
    )


def _document_results(
    domain: Domain, run: Run, written: WrittenDocuments
) -> Iterator[dg.MaterializeResult[Any]]:
    for document in domain.documents:
        files = [part for part in written.files if part.document == document.file]
        yield dg.MaterializeResult(
            asset_key=asset_keys.document_key(domain, document),
            data_version=dg.DataVersion(digest_texts(*(part.sha256 for part in files))),
            metadata={
                "reused": document.file in written.linked,
                "dagster/row_count": sum(part.rows for part in files),
                "files": len(files),
                "size_bytes": sum(part.size_bytes for part in files),
                "sha256": files[0].sha256 if len(files) == 1 else "",
                "open": _link(domain, run, _entry_page([part.file for part in files])),
            },
        )


def _link(domain: Domain, run: Run, file: str) -> dg.UrlMetadataValue:
    """Return a link that `etl ui` answers with a file of the run; without a file, its folder."""
    return dg.MetadataValue.url(quote(f"/outputs/{domain.name}/{run.directory.name}/{file}"))


def _entry_page(files: Sequence[str]) -> str:
    """Return the file of a document with which a reader begins; empty if there is none."""
    pages = [file for file in files if file.endswith("index.html")]
    return min(pages or files, key=lambda file: (file.count("/"), file), default="")


def _report_result(
    domain: Domain, candidate: Candidate, manifest: RunManifest
) -> dg.MaterializeResult[Any]:
    text = (candidate.run.directory / gather.MARKDOWN_FILE).read_text(encoding="utf-8")
    return dg.MaterializeResult(
        asset_key=asset_keys.report_key(domain),
        metadata={
            "reused": not candidate.changed,
            "report": dg.MetadataValue.md(text),
            "open": _link(domain, candidate.run, gather.HTML_FILE),
            "status": manifest.status.value,
        },
    )
