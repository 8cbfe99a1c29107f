"""dbt's tests as asset checks: their specs, and the results of a build."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.materialize import ROWS
from etl_assets.defs.models.former_keys import DBT_TEST
from etl_assets.defs.specs import escape_tags
from etl_assets.marts.graph import Graph
from etl_assets.marts.node_result import NodeResult
from etl_assets.model.check_names import short_check_names

UNIQUE_ID = "dagster_dbt/unique_id"
# The description of a test names the fault, and the pages show it for a check that passed too.
FAILS_IF = "Fails if: "


def check_specs(
    domain: Domain,
    manifest: Mapping[str, Any],
    graph: Graph,
    specs: Sequence[dg.AssetCheckSpec],
) -> dict[str, dg.AssetCheckSpec]:
    """Return the checks by the unique id of their test, under short names."""
    models = {asset_keys.model_key(domain.name, m.name): m.name for m in graph.models.values()}
    tests: dict[dg.AssetKey, list[str]] = {}
    for spec in specs:
        tests.setdefault(spec.asset_key, []).append(spec.name)
    names = {key: short_check_names(tests[key], domain.name, models[key]) for key in tests}
    checks: dict[str, dg.AssetCheckSpec] = {}
    for spec in specs:
        unique_id = spec.metadata[UNIQUE_ID]
        description = manifest["nodes"][unique_id].get("description") or ""
        checks[unique_id] = spec._replace(
            name=names[spec.asset_key][spec.name],
            # A blocking check would end the run before the gate weighs all failed tests together
            # and the report is written.
            blocking=False,
            description=f"{FAILS_IF}{escape_tags(description)}" if description else None,
            metadata={**spec.metadata, DBT_TEST: spec.name},
        )
    return checks


def check_results(
    context: dg.AssetExecutionContext,
    checks: Mapping[str, dg.AssetCheckSpec],
    results: list[NodeResult],
) -> Iterator[dg.AssetCheckResult]:
    for result in results:
        spec = checks.get(result.unique_id)
        if spec is None or spec.key not in context.selected_asset_check_keys:
            continue
        is_warning = result.status == "warn"
        yield dg.AssetCheckResult(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=result.status == "pass",
            severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
            description=describe_result(result, (spec.description or "").removeprefix(FAILS_IF)),
            metadata={
                "failures": result.failures or 0,
                "seconds": round(result.seconds, 3),
                **_rows_metadata(result),
            },
        )


def _rows_metadata(result: NodeResult) -> dict[str, dg.TableMetadataValue]:
    """Return the failing rows as a table of Dagster's pages, from which the manifest reads them."""
    rows = result.failing_rows
    if rows is None:
        return {}
    columns = [dg.TableColumn(name) for name in rows.columns]
    records = [dg.TableRecord(dict(zip(rows.columns, row, strict=True))) for row in rows.rows]
    return {ROWS: dg.MetadataValue.table(records, dg.TableSchema(columns))}


def describe_result(result: NodeResult, description: str) -> str | None:
    """Return the description of a failed test with its number of rows and the first of them."""
    if result.status == "pass":
        return None
    if not result.failures:
        return result.message or None
    rows = result.failing_rows
    sentence = description or f"Rows that fail the test {result.unique_id.split('.')[2]}."
    lines = [f"{result.failures:,} found: {sentence}", *(rows.lines() if rows else [])]
    more = result.failures - len(rows.rows) if rows else 0
    if more > 0:
        lines.append(f"and {more:,} more")
    return "\n".join(lines)
