"""From a validated file to the table under its contract, or to a refusal that changes nothing."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.table_declarations import column, contract, source

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.source import Source
from etl_assets.model.errors import ContentError, HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Table
from etl_assets.tables.tabulate import code_version, empty_table, tabulate

PART = Part(source="orchard.fruits")
CSV = {"name": "csv"}
FRUITS = contract("name", column("weight", "int64", minimum=0), column("picked_on", "date"))
SHA = "a" * 64


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def made(home: Home, raw: Path, text: str, declared: Source | None = None, **options: Any) -> Table:
    raw.write_text(text, encoding="utf-8")
    declared = declared or source(FRUITS, CSV)
    return tabulate(
        home, declared, options.pop("part", PART), raw, SHA, code_version="1", **options
    )


def lenient(declaration: Contract = FRUITS, **fields: Any) -> Source:
    return source(declaration.model_copy(update={"max_rejected_pct": 100.0}), CSV, **fields)


def rows(home: Home, table: Table) -> list[dict[str, Any]]:
    return pq.read_table(home.root / table.path).to_pylist()


def rejects(home: Home, table: Table) -> list[dict[str, Any]]:
    assert table.rejects_path is not None
    return pq.read_table(home.root / table.rejects_path).to_pylist()


def names(home: Home, table: Table) -> list[str]:
    return [row["name"] for row in rows(home, table)]


def test_rows_arrive_typed_and_say_whence_they_came(home: Home, raw: Path) -> None:
    table = made(home, raw, "name,weight,picked_on\npear,3,2024-01-02\nplum,,\n")

    day = datetime(2024, 1, 2, tzinfo=UTC).date()
    assert rows(home, table) == [
        {"name": "pear", "weight": 3, "picked_on": day, "source_sha256": SHA, "source_row": 1},
        {"name": "plum", "weight": None, "picked_on": None, "source_sha256": SHA, "source_row": 2},
    ]


def test_the_record_tells_what_came_of_the_file(home: Home, raw: Path) -> None:
    table = made(home, raw, "name,weight,picked_on\npear,3,\nplum,-1,\nfig\n", lenient())

    assert table.path == "data/tables/orchard/fruits/fruits.parquet"
    assert table.sha256 == hashlib.sha256((home.root / table.path).read_bytes()).hexdigest()
    assert (table.records, table.rows, table.rejected) == (3, 1, 2)
    assert table.rejects_by_rule == {"minimum": 1, "record": 1}
    assert "line 3, weight: expected at least 0, found -1" in table.first_rejects
    assert table.rejects_path == "data/rejects/orchard/fruits/fruits.parquet"
    assert table.files == {
        path: hashlib.sha256((home.root / path).read_bytes()).hexdigest()
        for path in (table.path, table.rejects_path)
    }


def test_rejects_are_kept_with_place_and_reason(home: Home, raw: Path) -> None:
    table = made(home, raw, "name,weight,picked_on\npear,3,\nplum,heavy,\n", lenient())

    (reject,) = rejects(home, table)
    assert (reject["where"], reject["column"], reject["found"]) == ("line 3", "weight", '"heavy"')
    assert reject["source_sha256"] == SHA


def test_a_partition_is_a_file_of_its_own(home: Home, raw: Path) -> None:
    part = Part(source="orchard.fruits", partition="2024")

    table = made(home, raw, "name,weight,picked_on\npear,3,\n", part=part)

    assert table.path == "data/tables/orchard/fruits/2024.parquet"


def test_the_same_file_makes_the_same_bytes(home: Home, raw: Path, tmp_path: Path) -> None:
    text = "name,weight,picked_on\npear,3,2024-01-02\nplum,x,\npear,3,\n"

    first = made(home, raw, text, lenient())
    second = made(Home(tmp_path / "other"), raw, text, lenient())

    assert first == second


def test_a_better_file_takes_the_old_rejects_away(home: Home, raw: Path) -> None:
    old = made(home, raw, "name,weight,picked_on\npear,x,\nplum,1,\n", lenient())

    new = made(home, raw, "name,weight,picked_on\npear,1,\nplum,1,\n", lenient())

    assert (new.rejects_path, new.rejects_sha256) == (None, None)
    assert not (home.root / str(old.rejects_path)).exists()


@pytest.mark.fault("duplicate-key")
def test_a_later_row_of_the_same_key_is_rejected(home: Home, raw: Path) -> None:
    table = made(home, raw, "name,weight,picked_on\npear,1,\nplum,2,\npear,3,\n", lenient())

    (reject,) = rejects(home, table)
    assert [row["weight"] for row in rows(home, table)] == [1, 2]
    assert (reject["where"], reject["rule"]) == ("record 3", "key")
    assert reject["found"] == "the key of record 1"
    assert '"weight":3' in reject["row"]


def test_of_rows_with_one_key_the_last_is_kept_where_declared(home: Home, raw: Path) -> None:
    declaration = contract(
        "name", column("weight", "int64"), key=["name", "weight"], duplicates="keep_last"
    )

    table = made(home, raw, "name,weight\npear,\nplum,1\npear,\npear,1\n", source(declaration, CSV))

    assert [row["source_row"] for row in rows(home, table)] == [2, 3, 4]
    assert (table.records, table.rows, table.duplicates, table.rejected) == (4, 3, 1, 0)


PARTS = contract(
    column("id", required=True),
    column("at", "int64", required=True),
    "part",
    key=["id", "part"],
    record_key=["id"],
    duplicates="keep_newest",
    newest_by="at",
    max_rejected_pct=50,
)


def test_of_records_with_one_id_the_newest_is_kept_whole_and_the_others_are_shown(
    home: Home, raw: Path
) -> None:
    lines = "A,2,x\nB,1,x\nA,3,y\nA,3,z\nA,no,x\n"

    table = made(home, raw, f"id,at,part\n{lines}", source(PARTS, CSV))

    assert [(row["id"], row["part"]) for row in rows(home, table)] == [("B", "x"), ("A", "z")]
    assert (table.rows, table.duplicates, table.rejected) == (2, 2, 1)
    assert table.first_duplicates == [
        'record 1: a duplicate by id "A"; record 4 counts',
        'record 3: a duplicate by id "A"; record 4 counts',
    ]


def test_a_rejected_row_does_not_take_a_key(home: Home, raw: Path) -> None:
    table = made(home, raw, "name,weight,picked_on\npear,x,\npear,3,\n", lenient())

    assert [row["weight"] for row in rows(home, table)] == [3]


def test_duplicates_are_found_across_batches(home: Home, raw: Path) -> None:
    lines = "".join(f"pear{number},1,\n" for number in range(25_000))

    table = made(home, raw, f"name,weight,picked_on\n{lines}pear0,2,\npear24999,2,\n", lenient())

    assert (table.rows, table.rejected) == (25_000, 2)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("date", datetime(2024, 3, 1, tzinfo=UTC), id="date"),
        pytest.param("timestamp", datetime(2024, 3, 1, tzinfo=UTC), id="timestamp"),
    ],
)
def test_the_content_is_as_old_as_its_newest_row(
    home: Home, raw: Path, kind: str, expected: datetime
) -> None:
    declaration = contract("name", column("picked_on", kind))
    freshness = {"warn_after_hours": 1, "fail_after_hours": 2, "content_column": "picked_on"}
    lines = "a,2024-03-01\nb,2024-01-01\nc,\n"

    table = made(
        home, raw, f"name,picked_on\n{lines}", source(declaration, CSV, freshness=freshness)
    )

    assert table.content_at == expected


@pytest.mark.fault("unknown-field")
def test_unknown_fields_are_told_where_the_contract_evolves(home: Home, raw: Path) -> None:
    declaration = contract("name", unknown_fields="evolve")

    table = made(home, raw, "name,taste\npear,sweet\n", source(declaration, CSV))

    assert table.unknown_fields == ["taste"]


GOOD = "name,weight,picked_on\n" + "".join(f"pear{number},1,\n" for number in range(100))


@pytest.mark.fault("too-many-rejects", "unknown-field")
@pytest.mark.parametrize(
    ("text", "declared", "message"),
    [
        pytest.param(
            "name,weight,picked_on\npear,x,\nfig,y,\nplum,1,\n",
            source(FRUITS, CSV),
            r"at most 5 % of rows rejected, or 1, and not all, found 2 of 3 \(2 by type\), first: "
            "line 2",
            id="rejects",
        ),
        pytest.param(
            "name,weight,picked_on\n", source(FRUITS, CSV), "at least 1 rows, found 0", id="no rows"
        ),
        pytest.param(
            "name,taste\npear,sweet\n",
            source(contract("name", unknown_fields="freeze"), CSV),
            r"\(freeze\), found taste",
            id="frozen",
        ),
        pytest.param("<html>", source(FRUITS, CSV), "expected a header", id="page"),
        pytest.param(
            "name,weight,picked_on\n" + "pear,x,\n" * 30_000,
            source(FRUITS, CSV),
            "found 30,000 of 30,000",
            id="rejects in several batches",
        ),
    ],
)
def test_a_refused_file_leaves_the_last_table_and_its_rejects(
    home: Home, raw: Path, text: str, declared: Source, message: str
) -> None:
    made(home, raw, GOOD + "plum,x,\n", lenient())
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files(home)}

    with pytest.raises(ContentError, match=message):
        made(home, raw, text, declared)

    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files(home)} == before


@pytest.mark.fault("odd-row")
@pytest.mark.parametrize(
    ("good", "bad", "limits", "is_refused"),
    [
        pytest.param(10, 1, {}, False, id="one of eleven"),
        pytest.param(1, 1, {}, False, id="one of two"),
        pytest.param(10, 2, {}, True, id="two of twelve"),
        pytest.param(98, 2, {}, False, id="within the share"),
        pytest.param(10, 3, {"max_rejected_rows": 3}, False, id="within a declared floor"),
        pytest.param(10, 1, {"max_rejected_rows": 0}, True, id="no floor"),
        pytest.param(0, 1, {}, True, id="the only row"),
        pytest.param(0, 3, {"max_rejected_rows": 9}, True, id="all rows within the floor"),
    ],
)
def test_one_odd_row_does_not_stop_the_others_of_a_small_file(
    home: Home, raw: Path, good: int, bad: int, limits: dict[str, int], is_refused: bool
) -> None:
    lines = [f"pear{number},1," for number in range(good)]
    lines += [f"plum{number},heavy," for number in range(bad)]
    text = "\n".join(["name,weight,picked_on", *lines, ""])
    # An empty table is allowed, so that only the rejects can refuse the file.
    declared = source(FRUITS.model_copy(update=limits), CSV, expect={"min_rows": 0})

    if is_refused:
        with pytest.raises(ContentError, match=f"rejected, .* found {bad} of {good + bad} "):
            made(home, raw, text, declared)
    else:
        table = made(home, raw, text, declared)
        assert (table.rows, table.rejected) == (good, bad)


def files(home: Home) -> list[Path]:
    return sorted(path for path in home.root.rglob("*") if path.is_file())


@pytest.mark.fault("csv-latin-1")
def test_a_row_that_is_no_utf8_is_rejected_by_its_line(home: Home, raw: Path) -> None:
    raw.write_bytes(GOOD.encode() + "p\xe4r,1,\n".encode("latin-1"))

    table = tabulate(home, lenient(), PART, raw, SHA, code_version="1")

    assert (table.rows, table.rejected) == (100, 1)
    assert [reject["where"] for reject in rejects(home, table)] == ["line 102"]


@pytest.mark.fault("formula", "hostile-text")
def test_a_cell_that_looks_like_a_formula_or_markup_is_text(home: Home, raw: Path) -> None:
    cells = ["=1+1", "+x", "-x", "@x", "<b>", "a;b", "../x", "x\x1by"]
    text = "name,weight,picked_on\n" + "".join(f"{cell},1,\n" for cell in cells)

    table = made(home, raw, text)

    assert names(home, table) == cells


def test_all_that_is_against_a_file_is_told_at_once(home: Home, raw: Path) -> None:
    declared = source(FRUITS, CSV, expect={"min_rows": 9})

    with pytest.raises(ContentError, match=r"rows rejected.*; expected at least 9 rows, found 0"):
        made(home, raw, "name,weight,picked_on\npear,x,\n", declared)


@pytest.mark.fault("shrinking")
@pytest.mark.parametrize(
    ("limits", "is_refused"),
    [
        pytest.param({"max_shrink_pct": 10, "max_shrink_rows": 20}, True, id="beyond both"),
        pytest.param({"max_shrink_pct": 60, "max_shrink_rows": 20}, False, id="within the share"),
        pytest.param({"max_shrink_pct": 10, "max_shrink_rows": 50}, False, id="within the floor"),
    ],
)
def test_a_feed_that_shrinks_beyond_both_limits_is_refused(
    home: Home, raw: Path, limits: dict[str, int], is_refused: bool
) -> None:
    declared = source(FRUITS, CSV, limits=limits)
    previous = made(home, raw, GOOD, declared)
    half = "".join(GOOD.splitlines(keepends=True)[:51])

    if is_refused:
        with pytest.raises(ContentError, match="about 100 rows as last time, found 50"):
            made(home, raw, half, declared, previous=previous)
    else:
        assert made(home, raw, half, declared, previous=previous).rows == 50


def test_a_shrunken_feed_that_a_person_accepted_passes(home: Home, raw: Path) -> None:
    previous = made(home, raw, GOOD)

    table = made(
        home, raw, "name,weight,picked_on\nfig,1,\n", previous=previous, accept_shrink=True
    )

    assert names(home, table) == ["fig"]


def test_a_missing_file_is_the_homes_fault(home: Home, tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="expected a stored file"):
        tabulate(home, source(FRUITS, CSV), PART, tmp_path / "gone", SHA, code_version="1")


def test_a_source_without_a_file_has_an_empty_typed_table(home: Home, raw: Path) -> None:
    declared = lenient()
    full = made(home, raw, "name,weight,picked_on\npear,x,\nplum,1,\n", declared)

    table = empty_table(home, declared, PART, code_version="1")

    assert (table.path, table.rows, table.source_sha256) == (full.path, 0, "")
    assert pq.read_schema(home.root / table.path).names[:3] == ["name", "weight", "picked_on"]
    assert not (home.root / str(full.rejects_path)).exists()


@pytest.mark.fault("json-large")
def test_the_declared_size_of_a_record_is_the_limit(home: Home, raw: Path) -> None:
    declaration = contract("name", max_rejected_pct=100)
    declared = source(declaration, {"name": "json_array"}, limits={"max_record_bytes": 50})

    table = made(home, raw, f'[{{"name": "pear"}},\n{{"name": "{"fig" * 20}"}}]', declared)

    assert names(home, table) == ["pear"]
    (reject,) = rejects(home, table)
    assert (reject["where"], reject["rule"]) == ("line 2", "record")
    assert reject["expected"] == "at most 50 bytes (limits.max_record_bytes)"
    assert reject["found"] == "72 bytes"


def test_the_code_version_is_the_same_for_the_same_declaration() -> None:
    assert code_version(source(FRUITS, CSV)) == code_version(source(FRUITS, CSV, title="Figs"))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(source(contract("name"), CSV), id="contract"),
        pytest.param(source(FRUITS, {"name": "csv", "delimiter": ";"}), id="format"),
        pytest.param(source(FRUITS, {"name": "json"}), id="reader"),
        pytest.param(source(FRUITS, CSV, expect={"min_rows": 2}), id="expectation"),
        pytest.param(source(FRUITS, CSV, limits={"max_shrink_rows": 2}), id="limits"),
    ],
)
def test_the_code_version_tells_declarations_apart(other: Source) -> None:
    assert code_version(other) != code_version(source(FRUITS, CSV))


OPTIONAL = contract("name", column("weight", "int64", optional=True), column("by", optional=True))


@pytest.mark.fault("lost-column")
@pytest.mark.parametrize(
    ("texts", "lost"),
    [
        pytest.param(["name,weight\npear,3\n", "name\npear\n"], ["weight"], id="gone"),
        pytest.param(
            ["name,weight,by\npear,3,Ada\n", "name\npear\n"], ["weight", "by"], id="both gone"
        ),
        pytest.param(
            ["name,by\npear,Ada\n", "name\npear\n", "name\nplum\n"], ["by"], id="gone for long"
        ),
        pytest.param(
            ["name,by\npear,Ada\n", "name\npear\n", "name,by\nplum,\n"], [], id="there again"
        ),
        pytest.param(["name,by\npear,Ada\n", "name,by\npear,\n"], [], id="without a value"),
        pytest.param(["name,by\npear,\n", "name\npear\n"], [], id="never with a value"),
        pytest.param(["name\npear\n"], [], id="the first file"),
    ],
)
def test_an_optional_column_that_vanishes_with_its_values_is_named(
    home: Home, raw: Path, texts: list[str], lost: list[str]
) -> None:
    declared = source(OPTIONAL, CSV)
    table = None

    for text in texts:
        table = made(home, raw, text, declared, previous=table)

    assert table is not None
    assert table.lost_columns == lost
