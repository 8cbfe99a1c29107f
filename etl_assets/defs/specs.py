"""How a declaration looks to Dagster: descriptions, groups, kinds, owners, freshness, schemas.

Only specs are made here; the steps that materialize them are in the stages' modules.
"""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Files, Source, Years
from etl_assets.defs import asset_keys


def partitions_of(source: Source) -> dg.PartitionsDefinition[str] | None:
    """One partition per declared file; the current year is one of them."""
    match source.partitions:
        case None:
            return None
        case Years(start=start):
            return dg.TimeWindowPartitionsDefinition(
                cron_schedule="0 0 1 1 *", fmt="%Y", start=str(start), end_offset=1
            )
        case Files():
            return file_partitions(source.domain)


def file_partitions(domain: str) -> dg.DynamicPartitionsDefinition:
    """The partitions of all file sets of a domain: one job can carry one definition only."""
    return dg.DynamicPartitionsDefinition(name=f"{domain}_files")


def raw_spec(domain: Domain, source: Source, code_version: str) -> dg.AssetSpec:
    """The download: its content's SHA-256 is its version."""
    return _spec(
        domain,
        source,
        asset_keys.raw_key(source),
        f"{source.title}: the file as {source.producer} serves it.",
        kinds={"http" if source.location.url else "file"},
        code_version=code_version,
        freshness_policy=dg.FreshnessPolicy.time_window(
            warn_window=timedelta(hours=source.freshness.warn_after_hours),
            fail_window=timedelta(hours=source.freshness.fail_after_hours),
        ),
        deps=[asset_keys.sibling_key(source, source.for_each.table)] if source.for_each else None,
        metadata={"dagster/uri": source.location.url or source.location.path or ""},
    )


def validated_spec(domain: Domain, source: Source, code_version: str) -> dg.AssetSpec:
    """The download that was found to be what is declared, or the last one that was."""
    return _spec(
        domain,
        source,
        asset_keys.validated_key(source),
        f"{source.title}: the newest file that is whole and of the declared format.",
        kinds={"file"},
        code_version=code_version,
        deps=[asset_keys.raw_key(source)],
    )


def table_spec(domain: Domain, source: Source, code_version: str) -> dg.AssetSpec:
    """Rows that hold under the contract."""
    return _spec(
        domain,
        source,
        asset_keys.table_key(source),
        f"{source.title}: {source.description}",
        kinds={"parquet", "table"},
        code_version=code_version,
        deps=[asset_keys.validated_key(source)],
        metadata={"dagster/column_schema": column_schema(source.contract)},
    )


def column_schema(contract: Contract) -> dg.TableSchema:
    """The contract's columns with unit, and the constraints that rows are held to."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                f"{column.description} [{column.unit}]" if column.unit else column.description,
                constraints=dg.TableColumnConstraints(nullable=not column.required),
            )
            for column in contract.columns
        ]
    )


def check_spec(
    name: str, key: dg.AssetKey, description: str, *, blocking: bool = False
) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=key, description=description, blocking=blocking)


def _spec(
    domain: Domain,
    source: Source,
    key: dg.AssetKey,
    description: str,
    *,
    kinds: set[str],
    code_version: str,
    deps: list[dg.AssetKey] | None = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
    metadata: dict[str, object] | None = None,
) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=deps,
        description=description,
        group_name=domain.name,
        owners=[domain.owner],
        kinds=kinds,
        tags={"etl/source": source.name, "etl/required": str(source.required).lower()},
        code_version=code_version,
        partitions_def=partitions_of(source),
        freshness_policy=freshness_policy,
        metadata=metadata or {},
    )
