"""Which columns a query's columns are made of, by DuckDB's rules for names."""

from __future__ import annotations

import duckdb
import pytest

from etl_assets.marts.column_lineage import Relation, UnknownLineageError, trace_columns

TABLES = {
    "trees": ["id", "kind", "height", "tags", "place"],
    "fruit": ["id", "tree_id", "kind", "grams"],
    "data/rows/*.parquet": ["id", "kind"],
}
RELATIONS = [Relation(name, name, columns) for name, columns in TABLES.items()]
CREATE = """
create table trees (
    id bigint, kind varchar, height double, tags varchar[], place struct(row bigint, plot varchar)
);
create table fruit (id bigint, tree_id bigint, kind varchar, grams double);
"""


def trace(sql: str) -> dict[str, list[str]]:
    return {
        column: sorted(f"{table}.{name}" for table, name in refs)
        for column, refs in trace_columns(sql, RELATIONS).items()
    }


CASES = {
    "a column under another name": (
        "select id as tree_id from trees",
        {"tree_id": ["trees.id"]},
    ),
    "several columns in one expression": (
        "select coalesce(fruit.kind, trees.kind) as k from trees join fruit on tree_id = trees.id",
        {"k": ["fruit.kind", "trees.kind"]},
    ),
    "a filter and a join are not followed": (
        "select grams from fruit semi join trees on tree_id = trees.id where kind = 'pear'",
        {"grams": ["fruit.grams"]},
    ),
    "a star with other columns": (
        "select * exclude (tags, place) replace (upper(kind) as kind) from trees",
        {"id": ["trees.id"], "kind": ["trees.kind"], "height": ["trees.height"]},
    ),
    "a star that renames": (
        "select * exclude (grams, kind) rename (id as fruit_id) from fruit",
        {"fruit_id": ["fruit.id"], "tree_id": ["fruit.tree_id"]},
    ),
    "the star of one table": (
        (
            "select fruit.* exclude (fruit.kind), trees.kind"
            " from fruit join trees on tree_id = trees.id"
        ),
        {
            "id": ["fruit.id"],
            "tree_id": ["fruit.tree_id"],
            "grams": ["fruit.grams"],
            "kind": ["trees.kind"],
        },
    ),
    "a union by position": (
        "select id, kind from trees union all select tree_id, kind from fruit",
        {"id": ["fruit.tree_id", "trees.id"], "kind": ["fruit.kind", "trees.kind"]},
    ),
    "a union by name": (
        "select id, kind from trees union all by name select kind, grams from fruit",
        {"id": ["trees.id"], "kind": ["fruit.kind", "trees.kind"], "grams": ["fruit.grams"]},
    ),
    "a union by name of a star": (
        "select id from trees union all by name select * from fruit",
        {
            "id": ["fruit.id", "trees.id"],
            "tree_id": ["fruit.tree_id"],
            "kind": ["fruit.kind"],
            "grams": ["fruit.grams"],
        },
    ),
    "rows that are removed": (
        "select id from trees except select tree_id from fruit",
        {"id": ["trees.id"]},
    ),
    "a field of a struct": (
        "select place.plot as plot, trees.place.row as row_number from trees",
        {"plot": ["trees.place"], "row_number": ["trees.place"]},
    ),
    "a field of a struct that the query packs": (
        (
            "with packed as (select struct_pack(a := id, b := height) as pair from trees)"
            " select pair.a as a from packed"
        ),
        {"a": ["trees.height", "trees.id"]},
    ),
    "a whole row": (
        "select fruit::varchar as text from fruit",
        {"text": ["fruit.grams", "fruit.id", "fruit.kind", "fruit.tree_id"]},
    ),
    "an alias of the same select": (
        "select height * 2 as doubled, doubled > 3 as is_high from trees",
        {"doubled": ["trees.height"], "is_high": ["trees.height"]},
    ),
    "a column before an alias of its name": (
        "select id as kind, upper(kind) as other from fruit",
        {"kind": ["fruit.id"], "other": ["fruit.kind"]},
    ),
    "a lambda with the name of a column": (
        "select list_transform(tags, lambda kind: upper(kind) || height) as texts from trees",
        {"texts": ["trees.height", "trees.tags"]},
    ),
    "a list comprehension": (
        "select [upper(id) || kind for id in tags] as texts from trees",
        {"texts": ["trees.kind", "trees.tags"]},
    ),
    "a list comprehension over a list of its name": (
        "select [upper(tags) for tags in tags] as texts from trees",
        {"texts": ["trees.tags"]},
    ),
    "an aggregate with its order and its filter": (
        (
            "select list(id order by height) filter (where kind = 'pear') as ids, count(*) as n"
            " from trees"
        ),
        {"ids": ["trees.height", "trees.id", "trees.kind"], "n": []},
    ),
    "a window": (
        "select row_number() over (partition by kind order by grams) as n from fruit",
        {"n": ["fruit.grams", "fruit.kind"]},
    ),
    "a window with a name": (
        "select sum(grams) over w as total from fruit window w as (partition by tree_id)",
        {"total": ["fruit.grams", "fruit.tree_id"]},
    ),
    "a subquery": (
        "select (select max(grams) from fruit where tree_id = trees.id) as heaviest from trees",
        {"heaviest": ["fruit.grams"]},
    ),
    "a subquery that reads the row": (
        "select (select max(grams + height) from fruit) as sum from trees",
        {"sum": ["fruit.grams", "trees.height"]},
    ),
    "a value in a subquery": (
        "select id in (select f.tree_id from fruit as f) as has_fruit from trees",
        {"has_fruit": ["fruit.tree_id", "trees.id"]},
    ),
    "a condition of exists": (
        "select exists (select 1 from fruit where tree_id = trees.id) as has_fruit from trees",
        {"has_fruit": ["fruit.tree_id", "trees.id"]},
    ),
    "rows of a list": (
        "select id, unnest(tags) as tag from trees",
        {"id": ["trees.id"], "tag": ["trees.tags"]},
    ),
    "fields of unnested structs": (
        (
            "select unnest([struct_pack(a := id, b := 1), struct_pack(a := grams, b := 2)],"
            " recursive := true) from fruit"
        ),
        {"a": ["fruit.grams", "fruit.id"], "b": []},
    ),
    "an unpivot of all columns": (
        (
            "with sides as (unpivot (select sum(id) as i, sum(grams) as g from fruit) on columns(*)"
            " into name side value total) select * from sides"
        ),
        {"side": [], "total": ["fruit.grams", "fruit.id"]},
    ),
    "names of a subquery's columns": (
        "select a, b from (select id, kind from trees) as t (a, b)",
        {"a": ["trees.id"], "b": ["trees.kind"]},
    ),
    "an inner query with the name of a table": (
        "with trees as (select id as tree, kind as id from trees) select id, tree from trees",
        {"id": ["trees.kind"], "tree": ["trees.id"]},
    ),
}


@pytest.mark.parametrize(("sql", "expected"), CASES.values(), ids=CASES)
def test_a_column_is_made_of_the_columns_that_its_expression_names(
    sql: str, expected: dict[str, list[str]]
) -> None:
    with duckdb.connect() as connection:
        connection.execute(CREATE)
        names = [column[0] for column in connection.execute(sql).description]

    found = trace(sql)

    assert found == expected
    assert [*found] == names


def test_the_path_of_a_file_is_made_of_no_column() -> None:
    found = trace("select kind, filename as file from read_parquet('data/rows/*.parquet')")

    assert found == {"kind": ["data/rows/*.parquet.kind"], "file": []}


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("select * from trees natural join fruit", id="natural join"),
        pytest.param("select * from trees join fruit using (id)", id="join by using"),
        pytest.param("select id, id from trees", id="one name twice"),
        pytest.param("select id + 1 from trees", id="no name"),
        pytest.param("select kind as k from trees, fruit", id="ambiguous column"),
        pytest.param("select colour as c from trees", id="unknown column"),
        pytest.param("select filename as f from trees", id="no file"),
        pytest.param("select * from shrubs", id="unknown table"),
        pytest.param("select #1 as c from trees", id="column by position"),
        pytest.param("select $1 as c from trees", id="parameter"),
        pytest.param("select max(columns(*)) from trees", id="columns by pattern"),
        pytest.param("select max(columns('i.*')) as c from trees", id="columns by their names"),
        pytest.param("select coalesce(kind -> '$.a', 'x') as c from trees", id="arrow of JSON"),
        pytest.param("pivot fruit on kind using sum(grams)", id="pivot"),
        pytest.param("select * from fruit pivot (sum(grams) for kind in ('a'))", id="from pivot"),
        pytest.param(
            "with recursive n as (select 1 as i union all select i + 1 from n) select i from n",
            id="recursive query",
        ),
        pytest.param("select u.v as v from trees, unnest(tags) as u (v)", id="unnest in from"),
        pytest.param("select a from (select id from trees) as t (a, b)", id="alias too wide"),
        pytest.param("select id as i from trees union all select id, kind from fruit", id="widths"),
        pytest.param("selekt", id="no SQL"),
    ],
)
def test_sql_without_a_rule_has_no_lineage(sql: str) -> None:
    with pytest.raises(UnknownLineageError):
        trace_columns(sql, RELATIONS)
