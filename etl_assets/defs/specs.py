"""How a declaration looks to Dagster: descriptions, groups, kinds, owners, freshness, schemas.

Only specs are made here; the steps that materialize them are in `raw`, `validated`, `tables`,
`marts` and `publish` of this package.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import PrivateAttr

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Files, Source, Years
from etl_assets.defs import asset_keys
from etl_assets.defs.asset_keys import Layer
from etl_assets.report import markdown
from etl_assets.storage.duckdb_connection import CONFIG, connect, use_utc

# Code references and backfill policies are in beta in Dagster 1.13: one warning for each asset.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

PREVIEW_ROWS = 5
MAX_CELL_LENGTH = 60


def partitions_of(source: Source) -> dg.PartitionsDefinition[str] | None:
    """Return one partition for each declared file, the current year included."""
    match source.partitions:
        case None:
            return None
        case Years(start=start):
            return dg.TimeWindowPartitionsDefinition(
                cron_schedule="0 0 1 1 *",
                fmt="%Y",
                start=str(start),
                end_offset=1,  # a year has its partition before it ends
            )
        case Files():
            return file_partitions(source.domain)


def file_partitions(domain: str) -> dg.DynamicPartitionsDefinition:
    """Return the partitions of all file sets of a domain, since a run has one definition only."""
    return dg.DynamicPartitionsDefinition(name=asset_keys.file_partitions_name(domain))


def raw_spec(domain: Domain, source: Source, code_version: str, domains_dir: Path) -> dg.AssetSpec:
    """Return the spec of the download, whose data version is the SHA-256 of its content."""
    return _spec(
        domain,
        source,
        asset_keys.raw_key(source),
        Layer.RAW,
        f"{source.title}: the file as {source.producer} serves it.",
        kinds={"http" if source.location.url else "file"},
        code_version=code_version,
        domains_dir=domains_dir,
        freshness_policy=dg.FreshnessPolicy.time_window(
            warn_window=timedelta(hours=source.freshness.warn_after_hours),
            fail_window=timedelta(hours=source.freshness.fail_after_hours),
        ),
        deps=[asset_keys.sibling_key(source, source.for_each.table)] if source.for_each else None,
        metadata={"dagster/uri": source.location.url or source.location.path or ""},
    )


def validated_spec(
    domain: Domain, source: Source, code_version: str, domains_dir: Path
) -> dg.AssetSpec:
    """Return the spec of the newest download that is what its declaration says."""
    return _spec(
        domain,
        source,
        asset_keys.validated_key(source),
        Layer.VALIDATED,
        f"{source.title}: the newest file that is complete and of the declared format.",
        kinds={"file"},
        code_version=code_version,
        domains_dir=domains_dir,
        deps=[asset_keys.raw_key(source)],
    )


def table_spec(
    domain: Domain, source: Source, code_version: str, domains_dir: Path
) -> dg.AssetSpec:
    """Return the spec of the rows that satisfy the contract."""
    return _spec(
        domain,
        source,
        asset_keys.table_key(source),
        Layer.TABLE,
        f"{source.title}: {source.description}",
        kinds={"parquet", "table"},
        code_version=code_version,
        domains_dir=domains_dir,
        deps=[asset_keys.validated_key(source)],
        metadata={"dagster/column_schema": column_schema(source.contract)},
    )


def disabled_spec(domain: Domain, source: Source) -> dg.AssetSpec:
    """Return the spec of the table of a source that is switched off, which models read as empty."""
    return dg.AssetSpec(
        asset_keys.table_key(source),
        description=escape_tags(
            f"{source.title}: switched off by `enabled: false` in its declaration; models read it"
            " without rows."
        ),
        group_name=asset_keys.group_name(domain, Layer.TABLE),
        owners=[domain.owner],
        kinds={"table"},
        tags=asset_keys.layer_tag(Layer.TABLE),
    )


def column_schema(contract: Contract) -> dg.TableSchema:
    """Return the contract's columns with their units and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                escape_tags(
                    f"{column.description} [{column.unit}]" if column.unit else column.description
                ),
                constraints=dg.TableColumnConstraints(nullable=not column.required),
            )
            for column in contract.columns
        ]
    )


class InMemoryDuckDB(DuckDBResource):
    """The DuckDB with which the assets and checks of one run query parquet files.

    It is opened on first use, as it takes 30 ms, and closed with the run.
    """

    _connection: duckdb.DuckDBPyConnection | None = PrivateAttr(default=None)

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if self._connection is None:
            self._connection = connect(**self.connection_config)
        with closing(self._connection.cursor()) as session:
            use_utc(session)  # a setting of a session
            yield session

    def teardown_after_execution(self, _: dg.InitResourceContext) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def in_memory_duckdb() -> DuckDBResource:
    """Return the resource with which assets and checks query parquet files.

    The database file belongs to dbt: DuckDB refuses a second process while it is open.
    """
    # A later step may read another file of the same name.
    config = {**CONFIG, "enable_external_file_cache": False}
    return InMemoryDuckDB(database=":memory:", connection_config=config)


def preview(duckdb: DuckDBResource, file: Path) -> dg.MarkdownMetadataValue:
    """Return the first rows of a parquet file as a table for the UI, long texts cut."""
    with duckdb.get_connection() as connection:
        relation = connection.read_parquet(file.as_posix()).limit(PREVIEW_ROWS)
        columns, rows = relation.columns, relation.fetchall()
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    lines += [f"| {' | '.join(map(_markdown_cell, row))} |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def _markdown_cell(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    if len(text) > MAX_CELL_LENGTH:
        text = f"{text[: MAX_CELL_LENGTH - 1]}…"
    # Cells are data of others: the UI must not render what is in them.
    return markdown.escape(text)


def _spec(
    domain: Domain,
    source: Source,
    key: dg.AssetKey,
    layer: Layer,
    description: str,
    *,
    domains_dir: Path,
    metadata: dict[str, object] | None = None,
    **attributes: Any,
) -> dg.AssetSpec:
    declaration = domains_dir / source.domain / f"{source.name}.yaml"
    return dg.AssetSpec(
        key,
        description=escape_tags(description),
        group_name=asset_keys.group_name(domain, layer),
        owners=[domain.owner],
        tags={
            **asset_keys.layer_tag(layer),
            "etl/source": source.name,
            "etl/required": str(source.required).lower(),
        },
        partitions_def=partitions_of(source),
        metadata={**(metadata or {}), **code_references(declaration)},
        **attributes,
    )


def code_references(*files: Path) -> dict[str, dg.CodeReferencesMetadataValue]:
    """Return the metadata by which the pages open the files that an asset is declared in."""
    references: list[dg.LocalFileCodeReference | dg.UrlCodeReference] = [
        dg.LocalFileCodeReference(file_path=str(file), label=file.name) for file in files
    ]
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=references)}


def freshness(sources: Iterable[Source]) -> dg.FreshnessPolicy | None:
    """Return the policy of what is made of the sources: that of the one that changes most often.

    Optional sources count only if no source is required.
    """
    sources = list(sources)
    limits = [each.freshness for each in sources if each.required] or [s.freshness for s in sources]
    if not limits:
        return None
    return dg.FreshnessPolicy.time_window(
        warn_window=timedelta(hours=min(limit.warn_after_hours for limit in limits)),
        fail_window=timedelta(hours=min(limit.fail_after_hours for limit in limits)),
    )


def escape_tags(text: str) -> str:
    """Return a declared text so that the pages, which read it as Markdown, show `<` as it is."""
    parts = text.split("`")
    # The odd ones are code, which is shown as it is.
    return "`".join(part if n % 2 else part.replace("<", "\\<") for n, part in enumerate(parts))
