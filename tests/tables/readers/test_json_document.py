"""Records at the end of the declared paths, and values that are not records."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import JsonFormat
from etl_assets.model.errors import ContentError, DeclarationError
from etl_assets.tables.readers.batch import Batch, Refusal
from etl_assets.tables.readers.json_document import read

PAIRS = contract("package", "id", "version", key=["package", "id"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "document"


def batch_of(file: Path, text: str | bytes, rows: str, declaration: Contract = PAIRS) -> Batch:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (batch,) = read(file, JsonFormat(name="json", rows=rows), declaration)
    return batch


def test_map_keys_become_columns(file: Path) -> None:
    text = '{"pear": {"CVE-1": {"version": "1.0"}, "CVE-2": {}}, "plum": {"CVE-1": {}}}'

    batch = batch_of(file, text, "{package}.{id}")

    assert batch.columns == {
        "package": ["pear", "pear", "plum"],
        "id": ["CVE-1", "CVE-2", "CVE-1"],
        "version": ["1.0", None, None],
    }
    assert batch.ordinals == [1, 2, 3]


def test_a_path_descends_between_maps(file: Path) -> None:
    declaration = contract("package", "release", "status")
    text = '{"pear": {"releases": {"oak": {"status": "open"}, "elm": {"status": "shut"}}}}'

    batch = batch_of(file, text, "{package}.releases.{release}", declaration)

    assert batch.columns["release"] == ["oak", "elm"]
    assert batch.columns["status"] == ["open", "shut"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        pytest.param('[{"package": "pear"}]', "", id="top level"),
        pytest.param('{"count": 1, "fruits": [{"package": "pear"}]}', "fruits[]", id="in a field"),
        pytest.param('{"a": {"b": [{"package": "pear"}]}}', "a.b[]", id="two fields down"),
        pytest.param('[[{"package": "pear"}]]', "[][]", id="list in a list"),
        pytest.param('{"x": [{"package": "pear"}]}', "{key}[]", id="list in a map"),
    ],
)
def test_lists_are_walked(file: Path, text: str, rows: str) -> None:
    batch = batch_of(file, text, rows)

    assert batch.columns["package"] == ["pear"]


def test_a_column_may_come_from_deep_in_the_record(file: Path) -> None:
    declaration = contract("package", column("colour", **{"from": "skin.colour"}))
    text = '[{"package": "pear", "skin": {"colour": "green"}}, {"package": "plum", "skin": null}]'

    batch = batch_of(file, text, "", declaration)

    assert batch.columns["colour"] == ["green", None]


def test_what_stands_in_the_way_of_a_column_is_a_reject(file: Path) -> None:
    declaration = contract("package", column("colour", **{"from": "skin.colour"}))

    batch = batch_of(
        file, '[{"package": "pear", "skin": "green"}, {"package": "plum"}]', "", declaration
    )

    assert batch.columns["package"] == ["plum"]
    assert batch.ordinals == [2]
    assert [str(reject.where) for reject in batch.rejects] == ["record 1, skin"]


def test_a_list_where_an_object_belongs_rejects_that_place_only(file: Path) -> None:
    text = '{"pear": {"releases": []}, "plum": {"releases": {"oak": {}}}}'

    batch = batch_of(file, text, "{package}.releases.{release}", contract("package", "release"))

    (reject,) = batch.rejects
    assert (reject.where, reject.expected, reject.actual) == (
        "pear.releases",
        "an object",
        "a list",
    )
    assert batch.columns["package"] == ["plum"]
    assert batch.records == 2


@pytest.mark.parametrize(
    ("entry", "actual"),
    [
        pytest.param("[]", "a list", id="list"),
        pytest.param('"1.0"', "a text", id="text"),
        pytest.param("null", "null", id="null"),
        pytest.param("7", "a number", id="number"),
        pytest.param("true", "a boolean", id="boolean"),
    ],
)
def test_a_record_that_is_no_object_is_a_reject(file: Path, entry: str, actual: str) -> None:
    batch = batch_of(file, f'{{"pear": {{"CVE-1": {entry}}}}}', "{package}.{id}")

    assert [(r.where, r.actual) for r in batch.rejects] == [("pear.CVE-1", actual)]


KEPT = contract(
    "package", "id", "version", column("urgency", **{"from": "team.urgency"}),
    key=["package", "id"], invalid_values="discard_value",
)  # fmt: skip


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize("entry", ["[]", '"1.0"', "null", "7", "true"])
@pytest.mark.parametrize("is_large", [False, True])
def test_an_entry_of_a_map_keeps_its_key_where_invalid_values_are_null(
    file: Path, entry: str, is_large: bool
) -> None:
    text = f'{{"pear": {{"CVE-1": {entry}, "CVE-2": {{"version": "2"}}}}}}'
    file.write_text(text)

    rows = JsonFormat(name="json", rows="{package}.{id}")
    (batch,) = read(file, rows, KEPT, len(text) - 1 if is_large else len(text))

    assert batch.rejects == []
    assert batch.columns == {
        "package": ["pear", "pear"],
        "id": ["CVE-1", "CVE-2"],
        "version": [None, "2"],
        "urgency": [None, None],
    }
    assert batch.refusals == [Refusal(0, "version", "an object", entry)]


@pytest.mark.parametrize(
    ("declaration", "rows", "text"),
    [
        pytest.param(
            contract("id", "version", key=["id"], invalid_values="discard_value"),
            "[]",
            '[null, {"id": "CVE-1"}]',
            id="the key is in the record",
        ),
        pytest.param(
            contract("id", column("version", required=True), invalid_values="discard_value"),
            "{id}",
            '{"CVE-1": null, "CVE-2": {"version": "1"}}',
            id="a value is required",
        ),
        pytest.param(
            contract("id", column("at", invalid_values="discard_row"), "version"),
            "{id}",
            '{"CVE-1": 7, "CVE-2": {}}',
            id="a value must be valid",
        ),
    ],
)
def test_an_entry_is_a_reject_where_a_row_needs_its_values(
    file: Path, declaration: Contract, rows: str, text: str
) -> None:
    batch = batch_of(file, text, rows, declaration)

    assert len(batch.rejects) == len(batch.ordinals) == 1


@pytest.mark.fault("json-utf8")
def test_a_record_that_is_no_utf8_costs_no_other(file: Path) -> None:
    batch = batch_of(file, b'[{"package": "p\xe4r"}, {"package": "plum"}]', "")

    assert batch.columns["package"] == ["plum"]
    assert batch.rejects[0].where == "[1]"


def test_unknown_fields_are_named_where_the_contract_asks(file: Path) -> None:
    declaration = contract("package", unknown_fields="evolve")

    batch = batch_of(file, '[{"package": "pear", "taste": 1}, {"weight": 2}]', "", declaration)

    assert batch.unknown_fields == {"taste", "weight"}


def test_unknown_fields_are_left_aside_by_default(file: Path) -> None:
    batch = batch_of(file, '[{"package": "pear", "taste": 1}]', "")

    assert batch.unknown_fields == frozenset()


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"pear": {"A": {}}, "plum": {}, "pear": {"B": {}}}', id="outer map"),
        pytest.param('{"pear": {"A": {}, "B": {}}, "plum": {}}', id="no key twice"),
        pytest.param('{"pear" : {"A": {"version": ": no key"}, "B":{}}}', id="colon in a text"),
    ],
)
def test_entries_of_a_key_that_stands_twice_are_all_kept(file: Path, text: str) -> None:
    batch = batch_of(file, text, "{package}.{id}")

    assert batch.columns["package"] == ["pear", "pear"]
    assert batch.columns["id"] == ["A", "B"]


def test_a_pair_that_stands_twice_arrives_twice(file: Path) -> None:
    batch = batch_of(file, '{"pear": {"A": {"version": "1"}, "A": {}}}', "{package}.{id}")

    assert batch.columns["version"] == ["1", None]


@pytest.mark.fault("json-twice")
def test_a_record_with_a_field_twice_is_a_reject(file: Path) -> None:
    batch = batch_of(file, '{"pear": {"A": {"version": "1", "version": "2"}}}', "{package}.{id}")

    (reject,) = batch.rejects
    assert (reject.where, reject.expected) == ("pear.A", "each field once")
    assert '"2"' in reject.row


@pytest.mark.fault("json-twice")
@pytest.mark.parametrize("limit", [1_000, 10], ids=["small", "larger than a record may be"])
def test_a_field_twice_on_the_way_to_the_records_is_refused(file: Path, limit: int) -> None:
    file.write_text('{"fruits": [{"id": 1}], "count": 1, "fruits": []}')

    with pytest.raises(ContentError, match="expected each field once, found fruits more than once"):
        list(read(file, JsonFormat(name="json", rows="fruits[]"), PAIRS, limit))


@pytest.mark.fault("json-twice")
def test_what_is_on_the_way_to_a_column_twice_is_named(file: Path) -> None:
    declaration = contract("package", column("colour", **{"from": "skin.colour"}))
    text = '[{"package": "pear", "skin": {"colour": "green", "colour": "red"}}]'

    batch = batch_of(file, text, "", declaration)

    (reject,) = batch.rejects
    assert (reject.where, reject.expected) == ("record 1, skin", "an object")
    assert reject.actual == "an object with colour more than once"


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize("skin", ["green", 5, ["green"], True])
@pytest.mark.parametrize("origin", ["skin.colour", "skin.colour.name"])
def test_another_value_on_the_way_to_an_optional_column_is_refused(
    file: Path, skin: object, origin: str
) -> None:
    declaration = contract(
        "package", column("colour", **{"from": origin}), invalid_values="discard_value"
    )
    text = json.dumps([{"package": "pear", "skin": skin}, {"package": "plum", "skin": None}])

    batch = batch_of(file, text, "", declaration)

    assert batch.rejects == []
    assert batch.columns == {"package": ["pear", "plum"], "colour": [None, None]}
    assert batch.refusals == [Refusal(0, "colour", "an object at skin", json.dumps(skin))]


def test_another_value_on_the_way_to_a_required_column_is_a_reject(file: Path) -> None:
    declaration = contract(
        "package",
        column("colour", required=True, **{"from": "skin.colour"}),
        invalid_values="discard_value",
    )

    batch = batch_of(file, '[{"package": "pear", "skin": 5}]', "", declaration)

    assert [reject.where for reject in batch.rejects] == ["record 1, skin"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "id", "c.d"]), inner, max_size=4)
    ),
    max_leaves=25,
)
RECORDS = st.dictionaries(st.sampled_from(["a", "b", "id"]), JSON_VALUES, max_size=3)


@given(
    document=st.dictionaries(st.sampled_from(["a", "b", "fruits"]), RECORDS | JSON_VALUES)
    | st.lists(RECORDS | JSON_VALUES, max_size=4),
    rows=st.sampled_from(
        ["", "{package}", "{package}.{id}", "fruits[]", "fruits.{package}", "[].a[]", "{package}[]"]
    ),
    indent=st.sampled_from([None, 1]),
)
def test_a_large_document_has_the_same_rows_as_a_small_one(
    tmp_path_factory: pytest.TempPathFactory, document: Any, rows: str, indent: int | None
) -> None:
    file = tmp_path_factory.mktemp("size") / "document"
    text = json.dumps(document, indent=indent)
    file.write_text(text)
    form = JsonFormat(name="json", rows=rows)

    def outcome(limit: int) -> object:
        try:
            batches = list(read(file, form, PAIRS, limit))
        except ContentError:
            return "refused"
        return [(batch.columns, batch.ordinals, batch.rejects) for batch in batches]

    # The document is one byte too large to be decoded whole, and no entry in it is.
    assert outcome(len(text)) == outcome(len(text) - 1)


@pytest.mark.fault("json-trailing", "json-nan", "json-depth", "json-top", "json-utf8")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="wrong top type"),
        pytest.param(b'{"pear": {}} x', id="trailing bytes"),
        pytest.param(b'{"pear": {}}{}', id="two documents"),
        pytest.param(b'{"pear": {', id="cut off"),
        pytest.param(b'{"pear": ' * 100_000, id="depth bomb, open"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="depth bomb, closed"),
        pytest.param(b"<!doctype html><html></html>", id="page"),
        pytest.param(b'{"pear": NaN}', id="NaN"),
        pytest.param(b'{"p\xe4r": {}}', id="Latin-1 key"),
        pytest.param(b"\x1f\x8b\x08", id="gzip cut off"),
    ],
)
def test_what_is_no_such_document_is_refused(file: Path, text: bytes) -> None:
    with pytest.raises(ContentError, match="expected"):
        batch_of(file, text, "{package}.{id}")


@pytest.mark.fault("json-depth")
def test_a_depth_bomb_below_a_record_is_a_reject(file: Path) -> None:
    deep = '{"a": ' * 600 + "1" + "}" * 600

    batch = batch_of(file, f'[{{"package": "pear"}}, {{"package": {deep}}}]', "")

    assert len(batch.rejects) + len(batch.ordinals) == 2


def test_a_path_that_ends_in_one_object_is_a_wrong_declaration(file: Path) -> None:
    with pytest.raises(DeclarationError, match="format, rows: expected a path into a map"):
        batch_of(file, '{"fruits": {}}', "fruits")


@pytest.mark.parametrize("value", ["9" * 5_000, '{"a": 1}'], ids=["endless digits", "no list"])
def test_what_cannot_be_walked_below_an_entry_is_a_reject(file: Path, value: str) -> None:
    text = f'{{"pear": {{"A": {value}, "A": 1}}, "plum": {{"A": [{{}}]}}}}'

    batch = batch_of(file, text, "{package}.{id}[]")

    assert batch.columns["package"] == ["plum"]
    assert {reject.where.split(".")[0] for reject in batch.rejects} == {"pear"}


def test_a_missing_list_is_named_with_what_is_there(file: Path) -> None:
    with pytest.raises(ContentError, match=r"with 'fruits', found \[\"error\"\]"):
        batch_of(file, '{"error": "try later"}', "fruits[]")


@pytest.mark.fault("bom")
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_byte_order_mark_is_accepted(file: Path, *, packed: bool) -> None:
    text = b'\xef\xbb\xbf[{"package": "pear"}]'

    batch = batch_of(file, gzip.compress(text) if packed else text, "")

    assert batch.columns["package"] == ["pear"]


def test_large_documents_come_in_batches_with_running_ordinals(file: Path) -> None:
    file.write_text(json.dumps([{"package": str(number)} for number in range(12_000)]))

    batches = list(read(file, JsonFormat(name="json"), PAIRS))

    assert [len(batch.ordinals) for batch in batches] == [5_000, 5_000, 2_000]
    assert batches[-1].ordinals[-1] == 12_000
    assert sum(batch.records for batch in batches) == 12_000
