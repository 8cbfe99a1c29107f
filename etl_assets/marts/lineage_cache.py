"""The column lineage of a domain's models, kept for the builds of the same code.

The file is a cache: if it is lost, the next build that materializes models makes it again, in a
tenth of a second for sixty models. SQL is followed in `marts.column_lineage`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from etl_assets.storage.atomic_write import write_text
from etl_assets.storage.sql_quoting import quote_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from etl_assets.marts.column_lineage import Relation

FOLLOWER = "etl_assets.marts.column_lineage"
FILE_NAME = "column_lineage.json"


class ModelLineage(BaseModel, frozen=True):
    """The columns of a model, each with the columns of its parents that it is made of."""

    columns: dict[str, list[tuple[str, str]]] = {}
    """By name; unique id of the parent, and its column."""
    fault: str | None = None
    """Why there are no columns, if the SQL cannot be followed."""


class ColumnLineage(BaseModel, frozen=True):
    """The content of the file."""

    made_from: str
    """The code, the vars, and the code that follows the SQL."""
    models: dict[str, ModelLineage] = {}


def lineage_version(parsed_from: str) -> str:
    """Return all on which the lineage of compiled SQL depends."""
    spec = find_spec(FOLLOWER)
    code = Path(spec.origin).read_bytes() if spec and spec.origin else b""
    return f"{parsed_from} sqlglot {version('sqlglot')} {hashlib.sha256(code).hexdigest()[:16]}"


def read_lineage(file: Path, made_from: str) -> ColumnLineage:
    """Return what a file has; nothing if it is missing, damaged, or made from something else."""
    try:
        lineage = ColumnLineage.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return ColumnLineage(made_from=made_from)
    return lineage if lineage.made_from == made_from else ColumnLineage(made_from=made_from)


def keep_lineage(file: Path, lineage: ColumnLineage) -> None:
    write_text(file, lineage.model_dump_json(exclude_defaults=True))


def trace_models(
    connection: DuckDBPyConnection, manifest: Mapping[str, Any], compiled: Mapping[str, str]
) -> dict[str, ModelLineage]:
    """Return the lineage of models by unique id, from their compiled SQL and the warehouse.

    Models that the warehouse does not have yet, or whose parents it does not have, are left out.
    """
    relations = dict(_relations(connection, manifest, compiled))
    lineage: dict[str, ModelLineage] = {}
    for unique_id, sql in compiled.items():
        parents = [relations[key] for key in manifest["nodes"][unique_id]["depends_on"]["nodes"]]
        model = relations[unique_id]
        if all(relation.columns for relation in (model, *parents)):
            lineage[unique_id] = _trace_model(sql, model, parents)
    return lineage


def _trace_model(sql: str, model: Relation, parents: Sequence[Relation]) -> ModelLineage:
    from etl_assets.marts.column_lineage import UnknownLineageError, trace_columns

    try:
        columns = trace_columns(sql, parents)
    except UnknownLineageError as error:
        return ModelLineage(fault=str(error))
    if [name.lower() for name in columns] != [name.lower() for name in model.columns]:
        expected, found = ", ".join(model.columns), ", ".join(columns)
        return ModelLineage(fault=f"expected the columns {expected}, found {found}")
    return ModelLineage(columns={name: sorted(refs) for name, refs in columns.items()})


def _relations(
    connection: DuckDBPyConnection, manifest: Mapping[str, Any], compiled: Iterable[str]
) -> Iterator[tuple[str, Relation]]:
    """Yield the models and all that they read, by unique id."""
    from etl_assets.marts.column_lineage import Relation

    nodes, sources = manifest["nodes"], manifest["sources"]
    for unique_id in {*compiled}.union(*(nodes[key]["depends_on"]["nodes"] for key in compiled)):
        if unique_id in nodes:
            name = nodes[unique_id]["name"]
            text = quote_name(name)
        else:
            text = sources[unique_id]["relation_name"]
            name = text.removeprefix("read_parquet('").removesuffix("')")
        yield unique_id, Relation(unique_id, name, _column_names(connection, text))


def _column_names(connection: DuckDBPyConnection, relation: str) -> list[str]:
    """Return the columns of a relation; none if it does not exist, as one that was not built."""
    import duckdb

    try:
        rows = connection.execute(f"describe select * from {relation}").fetchall()  # noqa: S608 - of dbt
    except duckdb.Error:
        return []
    return [row[0] for row in rows]
