"""Lists of any size: the fast reader and the exact one agree, and no record is cut."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import JsonArrayFormat
from etl_assets.model.errors import ContentError
from etl_assets.tables.contract_check import ContractChecker
from etl_assets.tables.readers import json_array, json_columns, json_elements
from etl_assets.tables.readers.batch import Batch

FRUITS = contract(
    column("id", "uint64", required=True),
    "name",
    column("weight", "float64", **{"from": "size.weight"}),
    column("is_ripe", "boolean"),
    column("picked_at", "timestamp"),
)
FRUIT = {"id": 7, "name": "pear", "size": {"weight": 1.5}, "is_ripe": True, "junk": [{"a": 1}]}
CRATES = contract(
    column("crate", "int64", **{"from": "[].id"}),
    column("shelf", "int64", **{"from": "[].shelves[].id"}),
    "name",
    key=["name"],
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "document"


def read(
    file: Path,
    text: str | bytes,
    declaration: Contract = FRUITS,
    rows: Any = "",
    *,
    fast: bool = True,
) -> list[Batch]:
    """All batches; without `fast`, as the exact reader alone reads them."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    form = JsonArrayFormat(name="json_array", rows=rows)
    batches = list(json_array.read(file, form, declaration))
    return batches if fast else [b.exact() if b.exact else b for b in batches]


def table_of(file: Path, text: str | bytes, **how: Any) -> tuple[list[Any], list[int], list[str]]:
    """Rows, ordinals and the places of rejects, after the contract."""
    checked = [ContractChecker(FRUITS).check(batch) for batch in read(file, text, **how)]
    rows = [row for batch in checked for row in batch.rows.to_pylist()]
    ordinals = [n for batch in checked for n in batch.ordinals]
    return rows, ordinals, [f"{r.where}: {r.rule}" for batch in checked for r in batch.rejects]


def lines(*records: object) -> str:
    return "[\n" + ",\n".join(f"    {json.dumps(record)}" for record in records) + "\n]\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lines(FRUIT, FRUIT | {"id": 8}), id="one a line"),
        pytest.param(json.dumps([FRUIT, FRUIT | {"id": 8}], indent=2), id="indented"),
        pytest.param(json.dumps([FRUIT, FRUIT | {"id": 8}]), id="one line"),
        pytest.param(lines(FRUIT, FRUIT | {"id": 8}).replace("\n", "\r\n"), id="other line ends"),
        pytest.param("\ufeff" + lines(FRUIT, FRUIT | {"id": 8}), id="byte order mark"),
    ],
)
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "exact"])
def test_records_are_read_however_they_are_set(file: Path, text: str, *, fast: bool) -> None:
    rows, ordinals, rejects = table_of(file, text, fast=fast)

    assert [row["id"] for row in rows] == [7, 8]
    assert [row["weight"] for row in rows] == [1.5, 1.5]
    assert (ordinals, rejects) == ([1, 2], [])


def test_plain_records_come_as_whole_columns(file: Path) -> None:
    (batch, _) = read(file, lines(FRUIT)), None

    assert batch[0].exact is not None


def test_ids_above_the_signed_numbers_survive(file: Path) -> None:
    rows, _, _ = table_of(file, lines({"id": 2**64 - 1}, {"id": 2**63}))

    assert [row["id"] for row in rows] == [2**64 - 1, 2**63]


def test_a_packed_file_of_several_members_is_read_to_its_end(file: Path) -> None:
    text = lines(FRUIT, FRUIT | {"id": 8}).encode()

    rows, _, _ = table_of(file, gzip.compress(text[:40]) + gzip.compress(text[40:]))

    assert [row["id"] for row in rows] == [7, 8]


def test_what_is_rejected_is_told_with_its_line(file: Path) -> None:
    text = lines(FRUIT, FRUIT | {"id": None}, FRUIT | {"id": -1}, FRUIT | {"id": 9})

    rows, ordinals, rejects = table_of(file, text)

    assert [row["id"] for row in rows] == [7, 9]
    assert ordinals == [1, 4]
    assert rejects == ["line 3: required", "line 4: type"]


@pytest.mark.fault("json-nan", "bad-value")
@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        pytest.param("null", "record", id="null"),
        pytest.param("5", "record", id="number"),
        pytest.param('"a,]"', "record", id="text"),
        pytest.param("[1, {}]", "record", id="list"),
        pytest.param('{"id": 1.5}', "type", id="fraction"),
        pytest.param('{"id": true}', "type", id="boolean for a number"),
        pytest.param('{"id": 1, "name": 5}', "type", id="number for a text"),
        pytest.param('{"id": 1, "is_ripe": 1}', "type", id="number for a boolean"),
        pytest.param('{"id": 1, "size": 5}', "record", id="number for an object"),
        pytest.param('{"id": 1, "size": {"weight": NaN}}', "type", id="not a number"),
        pytest.param('{"id": 1, "size": {"weight": 1e400}}', "type", id="beyond all numbers"),
        pytest.param('{"id": 1, "name": "a\tb"}', "record", id="control character"),
        pytest.param('{"id": 1, "name": "\\ud800"}', "type", id="half a character"),
        pytest.param('{"id": 1, "a": [1}]}', None, id="brackets crossed"),
        pytest.param('{"id": 1, "name": "cut', None, id="text cut off"),
        pytest.param('{"id": 1}}', None, id="one bracket too many"),
        pytest.param('{"id": 1},', None, id="one comma too many"),
        pytest.param('{"id": 1} {"id": 2}', "record", id="no comma between"),
    ],
)
def test_a_bad_record_costs_no_other_and_a_broken_list_is_refused(
    file: Path, bad: str, rule: str | None
) -> None:
    text = f'[\n{{"id": 1}},\n{bad},\n{{"id": 2}}\n]'

    if rule is None:
        with pytest.raises(ContentError, match="line"):
            table_of(file, text)
    else:
        rows, ordinals, rejects = table_of(file, text)
        assert [row["id"] for row in rows] == [1, 2]
        assert ordinals == [1, 3]
        assert [reject.split(",")[0] for reject in rejects] in (
            [f"line 3: {rule}"],
            ["line 3"],  # the message may name the path of a column
        )


@pytest.mark.fault("json-top", "json-trailing", "json-depth")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{}", id="an object"),
        pytest.param("<html></html>", id="page"),
        pytest.param('[{"id": 1}', id="no end"),
        pytest.param('[{"id": 1},]', id="comma at the end"),
        pytest.param('[,{"id": 1}]', id="comma at the start"),
        pytest.param('[{"id": 1}] x', id="goes on"),
        pytest.param('[{"id": 1}][{"id": 2}]', id="two lists"),
        pytest.param('[{"id": 1}}', id="wrong end"),
        pytest.param("[" * 5_000, id="depth bomb, open"),
    ],
)
def test_what_is_no_such_list_is_refused(file: Path, text: str) -> None:
    with pytest.raises(ContentError, match="expected"):
        table_of(file, text)


def test_a_packed_file_that_breaks_off_is_refused(file: Path) -> None:
    with pytest.raises(ContentError, match="whole gzip"):
        table_of(file, gzip.compress(lines(FRUIT, FRUIT).encode())[:-9])


def test_an_empty_list_has_no_records(file: Path) -> None:
    assert sum(batch.records for batch in read(file, " [ \n ] ")) == 0


def test_records_longer_than_any_buffer_are_whole(file: Path) -> None:
    long = FRUIT | {"name": "x" * (3 << 20)}

    rows, _, rejects = table_of(file, lines(FRUIT, long, FRUIT | {"id": 9}))

    assert [len(row["name"]) for row in rows] == [4, 3 << 20, 4]
    assert rejects == []


@pytest.mark.fault("json-endless")
def test_a_record_without_end_is_given_up(file: Path) -> None:
    file.write_text('[\n{"id": "' + "x" * (4 << 20))

    with pytest.raises(ContentError, match=r"line 2: expected a value that ends"):
        list(json_elements.ElementReader(file, json.loads, max_element_bytes=1 << 10))


def test_the_exact_way_goes_on_where_the_fast_one_ends(file: Path) -> None:
    count, bad = json_columns.ROWS_AT_ONCE * 3 // 2, json_columns.ROWS_AT_ONCE + 500
    records = [{"id": n, "name": f"n{n}"} for n in range(count)]
    records[bad] = {"id": bad, "size": []}  # no object: its window is read again

    rows, ordinals, rejects = table_of(file, lines(*records))

    assert len(rows) == count - 1
    assert ordinals == [n + 1 for n in range(count) if n != bad]
    assert [reject.split(",")[0] for reject in rejects] == [f"line {bad + 2}"]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"indent": 1}, id="indented"),
        pytest.param({}, id="one line"),
        pytest.param({"separators": (",", ":")}, id="one line, without spaces"),
    ],
)
def test_no_window_ends_within_a_record(file: Path, how: dict[str, Any]) -> None:
    nested = {"junk": [{"a": "},{"}, {"a": 1}, {"a": [{"b": 2}, {"b": 3}]}]}
    records = [{**FRUIT, **nested, "id": n} for n in range(6_000)]

    batches = read(file, json.dumps(records, **how))

    assert len(batches) == 1
    assert batches[0].exact is not None
    assert batches[0].columns["id"].to_pylist() == list(range(6_000))


def test_only_the_records_beside_a_bad_one_are_read_again(file: Path) -> None:
    records: list[Any] = [FRUIT | {"id": n} for n in range(40_000)]
    records[20_000] = None

    batches = read(file, lines(*records))

    exact = [batch for batch in batches if batch.exact is None]
    assert len(exact) == 1
    assert exact[0].records < 5_000
    assert [reject.where for reject in exact[0].rejects] == ["line 20002"]
    assert [n for batch in batches for n in batch.ordinals] == [
        n for n in range(1, 40_001) if n != 20_001
    ]


def test_whole_lines_are_passed_over_at_once_and_others_one_by_one(file: Path) -> None:
    numbers = list(range(400))
    file.write_text(lines(*numbers[:300])[:-3] + ", " + json.dumps(numbers[300:], indent=1)[1:])

    elements = json_elements.ElementReader(file, json.loads, max_element_bytes=1 << 20)
    elements.skip_elements(250)
    first = next(iter(elements))
    elements.skip_elements(100)

    assert (first.value, first.line) == (250, 252)
    assert [element.value for element in elements] == numbers[351:]


TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=8)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXTS,
    st.sampled_from(
        ["2026-01-02", "2026-01-02T03:04:05+01:00", "1.5", "7", "true", "[", '"', "\\"]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["weight", "x"]), st.floats() | st.integers(), max_size=2),
)
RECORDS = st.dictionaries(
    st.sampled_from(["id", "name", "size", "is_ripe", "picked_at", "junk"]), VALUES
)


@given(
    records=st.lists(RECORDS | VALUES, max_size=6),
    indent=st.sampled_from([None, 1]),
    escaped=st.booleans(),
)
def test_both_ways_agree_on_every_list(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], indent: int | None, escaped: bool
) -> None:
    file = tmp_path_factory.mktemp("agree") / "document"
    text = json.dumps(records, indent=indent, ensure_ascii=escaped)

    fast = table_of(file, text)
    exact = table_of(file, text, fast=False)

    assert fast == exact


MEMBERS = st.tuples(
    st.sampled_from(['"id"', '"n\\u0061me"', '"name"', '"size"', '"junk"', '"\\"" ']),
    st.sampled_from(["1", '"a"', '": b"', "null", '{"weight": 1}', '{"weight": 1, "weight": 1}']),
)


@given(records=st.lists(st.lists(MEMBERS, max_size=4), min_size=1, max_size=5))
def test_both_ways_find_the_same_repeated_fields(
    tmp_path_factory: pytest.TempPathFactory, records: list[list[tuple[str, str]]]
) -> None:
    file = tmp_path_factory.mktemp("repeated") / "document"
    texts = ["{" + ", ".join(f"{key}:{value}" for key, value in record) + "}" for record in records]
    text = "[\n" + ",\n".join(texts) + "\n]"
    unique = [len({json.loads(key) for key, _ in record}) == len(record) for record in records]

    fast = table_of(file, text)

    assert fast == table_of(file, text, fast=False)
    assert set(fast[1]) <= {number for number, is_unique in enumerate(unique, start=1) if is_unique}


def test_rows_below_an_element_know_the_records_above(file: Path) -> None:
    crates = [
        {"id": 1, "fruits": [{"name": "pear"}], "shelves": []},
        {"id": 2, "shelves": [{"id": 5, "fruits": [{"name": "fig"}, {"name": "plum"}]}]},
        {"id": 3},
    ]

    (batch,) = read(file, lines(*crates), CRATES, ["[].fruits[]", "[].shelves[].fruits[]"])

    assert batch.columns == {
        "crate": [1, 2, 2],
        "shelf": [None, 5, 5],
        "name": ["pear", "fig", "plum"],
    }
    assert (batch.ordinals, batch.lines) == ([1, 2, 3], [2, 3, 3])


def test_what_is_not_where_the_path_leads_is_a_reject_with_line_and_place(file: Path) -> None:
    crates = [{"id": 1, "fruits": [{"name": "pear"}, 5]}, {"id": 2, "fruits": {}}]

    (batch,) = read(file, lines(*crates), CRATES, "[].fruits[]")

    assert [reject.where for reject in batch.rejects] == ["line 2, fruits[2]", "line 3, fruits"]
    assert batch.columns["name"] == ["pear"]


def test_fields_that_are_not_declared_are_named_where_the_contract_asks(file: Path) -> None:
    declaration = contract("name", unknown_fields="evolve")

    (batch,) = read(file, lines({"name": "pear", "taste": 1}), declaration)

    assert batch.unknown_fields == {"taste"}


def test_numbers_are_the_same_to_the_last_bit(file: Path) -> None:
    numbers = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123456789]

    rows, _, _ = table_of(file, lines(*({"id": 1, "size": {"weight": n}} for n in numbers)))

    assert [(row["weight"], math.copysign(1, row["weight"])) for row in rows] == [
        (number, math.copysign(1, number)) for number in numbers
    ]
