"""Which keys' rows changed since the last build, found by a digest of each key's rows.

The digests are of the rows of staging models, in the order of the file and without the file's own
digest and lines, so that a new file of the same rows changes no key. They are kept in the
warehouse, beside the models that were built from those rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, cast

from etl_assets.marts.graph import Graph, Model, RowKeys
from etl_assets.model.records import SOURCE_SHA256
from etl_assets.storage.sql_quoting import quote_name, quote_text
from etl_assets.tables.arrow_types import SOURCE_ROW

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCHEMA = "build_state"
STATE_TABLES = ("digests", "inputs", "full_build")
DIGESTS, INPUTS, FULL_BUILD = (f"{SCHEMA}.{name}" for name in STATE_TABLES)
PLACE_COLUMNS = (SOURCE_SHA256, SOURCE_ROW)


def begin_state(connection: DuckDBPyConnection) -> None:
    """Create empty tables for the digests and for the versions of what was read."""
    discard_state(connection)
    for statement in (
        f"create schema {SCHEMA}",
        f"create table {DIGESTS} (model varchar, key varchar, id varchar, digest varchar)",
        f"create table {INPUTS} (name varchar, version varchar)",
        f"create table {FULL_BUILD} (as_of timestamptz)",
    ):
        connection.execute(statement).fetchall()


def discard_state(connection: DuckDBPyConnection) -> None:
    connection.execute(f"drop schema if exists {SCHEMA} cascade").fetchall()


def read_input_versions(connection: DuckDBPyConnection) -> dict[str, str]:
    """The versions of what the models were built from by name; none if they are not kept."""
    tables = connection.execute(
        "select table_name from duckdb_tables() where schema_name = ?", [SCHEMA]
    ).fetchall()
    if len(tables) < len(STATE_TABLES):
        return {}
    rows = connection.execute(f"select name, version from {INPUTS}").fetchall()  # noqa: S608 - a constant
    return dict(rows)


def keep_input_versions(connection: DuckDBPyConnection, versions: Mapping[str, str]) -> None:
    connection.execute(f"delete from {INPUTS}").fetchall()  # noqa: S608 - a constant
    connection.executemany(f"insert into {INPUTS} values (?, ?)", [*versions.items()])  # noqa: S608 - a constant


def keep_full_build(connection: DuckDBPyConnection, as_of: datetime) -> None:
    connection.execute(f"insert into {FULL_BUILD} values (?)", [as_of])  # noqa: S608 - a constant


def read_full_build(connection: DuckDBPyConnection) -> datetime:
    """The logical time of the last build of everything; the state must have been kept."""
    ((as_of,),) = connection.execute(f"select as_of from {FULL_BUILD}").fetchall()  # noqa: S608 - a constant
    return cast(datetime, as_of)


def digested_models(graph: Graph, tables: Iterable[str]) -> list[Model]:
    """The models with row keys that read one of the tables themselves, and no other model."""
    names = frozenset(tables)
    return [
        model
        for model in graph.models.values()
        if model.row_keys and not model.parents and names & model.tables
    ]


def keep_digests(connection: DuckDBPyConnection, models: Iterable[Model]) -> None:
    """Replace the digests of these models by those of their present rows."""
    for model in models:
        name = quote_text(model.name)
        connection.execute(f"delete from {DIGESTS} where model = {name}").fetchall()  # noqa: S608 - quoted
        query = _digest_query(connection, model)
        connection.execute(f"insert into {DIGESTS} select {name}, * from ({query})").fetchall()  # noqa: S608 - quoted


def find_changed_keys(
    connection: DuckDBPyConnection, models: Iterable[Model], ids: str | None, target: str
) -> None:
    """Put the keys that concern changed rows of these models into the table `target`.

    The digests are replaced by those of the present rows. `ids` is a query of (key, id column): the
    ids that each key lists.
    """
    for model in models:
        name = quote_text(model.name)
        connection.execute(
            "create or replace temp table old_digests as"  # noqa: S608 - quoted
            f" select key, id, digest from {DIGESTS} where model = {name}"
        ).fetchall()
        keep_digests(connection, [model])
        connection.execute(
            "create or replace temp table changed_rows as"  # noqa: S608 - quoted
            " select distinct coalesce(new.key, old.key) as key, coalesce(new.id, old.id) as id"
            f" from (select * from {DIGESTS} where model = {name}) as new"
            " full outer join old_digests as old"
            " on new.key is not distinct from old.key and new.id is not distinct from old.id"
            " where new.digest is distinct from old.digest"
        ).fetchall()
        connection.execute(
            f"insert into {target} select key from changed_rows where key is not null"  # noqa: S608 - a name
        ).fetchall()
        id_column = model.row_keys.id_column if model.row_keys else None
        if ids and id_column:
            connection.execute(
                f"insert into {target} select listed.key from ({ids}) as listed"  # noqa: S608 - quoted
                f" inner join changed_rows on listed.{quote_name(id_column)} = changed_rows.id"
            ).fetchall()


def _digest_query(connection: DuckDBPyConnection, model: Model) -> str:
    """A query of (key, id, digest), of which the id is null where there is a key.

    MD5 of JSON texts is the same in every version of DuckDB as long as its JSON is; where that
    changes, keys are built again that need not be.
    """
    row_keys = model.row_keys or RowKeys(None, None)
    columns = [row[0] for row in connection.execute(f"describe {model.relation}").fetchall()]
    key = row_keys.key or "null::varchar"
    id_column = row_keys.id_column
    row_id = f"case when {key} is null then {quote_name(id_column)} end" if id_column else "null"
    places = ", ".join(quote_name(name) for name in PLACE_COLUMNS if name in columns)
    fields = ", ".join(
        f"{quote_name(name)} := {quote_name(name)}" for name in columns if name not in PLACE_COLUMNS
    )
    content = f"md5(to_json(struct_pack({fields}))) as row_digest"
    rows = f"select {key} as row_key, {row_id} as row_id, {content}, * from {model.relation}"  # noqa: S608 - quoted
    order = f"{places}, row_digest" if places else "row_digest"
    return (
        f"select row_key, row_id, md5(string_agg(row_digest, '' order by {order}))"  # noqa: S608 - quoted
        f" from ({rows}) group by all"
    )
