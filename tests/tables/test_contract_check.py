"""Which rows satisfy a contract, and the rejects of the others."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.model.errors import DeclarationError
from etl_assets.tables.contract_check import CheckedBatch, ContractChecker
from etl_assets.tables.readers.batch import ROW_CHARACTERS, Batch, record_reject

DAYS = [date(2026, 3, 29), date(2026, 3, 30)]


def checked(declaration: Contract, **columns: list[Any]) -> CheckedBatch:
    count = len(next(iter(columns.values())))
    return ContractChecker(declaration).check(Batch(columns, list(range(1, count + 1)), count))


@pytest.mark.fault("bad-value", "null-key")
@pytest.mark.parametrize(
    ("declared", "bad", "rule", "expected", "actual"),
    [
        pytest.param(column("x", "int64"), "a", "type", "a whole number", '"a"', id="type"),
        pytest.param(
            column("x", required=True), None, "required", "a value", "null", id="required"
        ),
        pytest.param(
            column("x", pattern="[a-c]+"), "bad", "pattern", "text like", '"bad"', id="pattern"
        ),
        pytest.param(
            column("x", pattern="b|ba"), "bac", "pattern", "b|ba", '"bac"', id="whole match"
        ),
        pytest.param(
            column("x", pattern=r"\d"), "\u0661", "pattern", r"\d", '"\u0661"', id="ASCII digits"
        ),
        pytest.param(
            column("x", values=["a", "b"]), "c", "values", "one of a, b", '"c"', id="values"
        ),
        pytest.param(
            column("x", "float64", minimum=0), -0.5, "minimum", "at least 0", "-0.5", id="min"
        ),
        pytest.param(column("x", "int64", maximum=9), "10", "maximum", "at most 9", "10", id="max"),
        pytest.param(
            column("x", "list[string]", pattern="a"),
            ["a", "b"],
            "pattern",
            "text like a",
            '"b"',
            id="list",
        ),
    ],
)
def test_a_row_is_rejected_with_column_rule_expected_and_found(
    declared: dict[str, Any], bad: object, rule: str, expected: str, actual: str
) -> None:
    declaration = contract("name", declared)

    result = checked(
        declaration, name=["pear", "plum"], x=[bad, None if rule != "required" else "a"]
    )

    (reject,) = result.rejects
    assert (reject.where, reject.column, reject.rule) == ("record 1", "x", rule)
    assert expected in reject.expected
    assert reject.actual == actual
    assert json.loads(reject.row) == {"name": "pear", "x": bad}
    assert result.rows.column("name").to_pylist() == ["plum"]
    assert result.ordinals == [2]


def test_bounds_belong_to_the_range() -> None:
    declaration = contract(column("x", "int64", minimum=0, maximum=9))

    assert checked(declaration, x=[0, 9]).rejects == []


def test_a_row_is_rejected_once_for_its_first_faulty_column() -> None:
    declaration = contract(column("a", "int64"), column("b", required=True))

    (reject,) = checked(declaration, a=["x"], b=[None]).rejects

    assert reject.column == "a"


def test_a_null_passes_every_rule_but_required() -> None:
    declaration = contract(
        "name", column("x", "float64", minimum=0), column("y", pattern="a", values=["a"])
    )

    assert checked(declaration, name=["pear"], x=[None], y=[None]).rejects == []


RULE = {"name": "cut_names_a_knife", "when": {"state": "cut", "ripe": "true"}, "require": ["knife"]}


@pytest.mark.parametrize(
    ("state", "ripe", "knife", "holds"),
    [
        pytest.param("cut", True, "small", True, id="filled"),
        pytest.param("cut", True, None, False, id="missing"),
        pytest.param("whole", True, None, True, id="other state"),
        pytest.param("cut", False, None, True, id="one of two conditions"),
        pytest.param(None, True, None, True, id="null state"),
    ],
)
def test_a_row_rule_requires_where_its_condition_holds(
    state: str | None, ripe: bool, knife: str | None, holds: bool
) -> None:
    declaration = contract("name", "state", column("ripe", "boolean"), "knife", rules=[RULE])

    result = checked(declaration, name=["pear"], state=[state], ripe=[ripe], knife=[knife])

    assert [reject.rule for reject in result.rejects] == ([] if holds else ["cut_names_a_knife"])


FORBIDDEN = {"name": "cut_by_a_knife", "when": {"state": "cut"}, "forbid": {"knife": "0+|none"}}


@pytest.mark.parametrize(
    ("state", "knife", "holds"),
    [
        pytest.param("cut", "small", True, id="another value"),
        pytest.param("cut", "00", False, id="forbidden"),
        pytest.param("cut", "none", False, id="the other alternative"),
        pytest.param("cut", "none of them", True, id="only a part of it"),
        pytest.param("cut", None, True, id="null"),
        pytest.param("whole", "0", True, id="other state"),
    ],
)
def test_a_row_rule_forbids_values_where_its_condition_holds(
    state: str, knife: str | None, holds: bool
) -> None:
    declaration = contract("name", "state", "knife", rules=[FORBIDDEN])

    result = checked(declaration, name=["pear"], state=[state], knife=[knife])

    found = [(reject.rule, reject.column, reject.actual) for reject in result.rejects]
    assert found == ([] if holds else [("cut_by_a_knife", "knife", f'"{knife}"')])


def test_a_rule_on_a_list_is_a_wrong_declaration() -> None:
    rule = {"name": "tagged", "when": {"tags": "a"}, "require": ["name"]}

    with pytest.raises(DeclarationError, match="rule tagged: expected a column of one value"):
        ContractChecker(contract("name", column("tags", "list[string]"), rules=[rule]))


def test_what_the_reader_refused_stays_refused() -> None:
    refused = record_reject("line 3", "2 cells", "1 cells", "[]")

    result = ContractChecker(contract("name")).check(Batch({"name": ["pear"]}, [1], 2, [refused]))

    assert result.rejects == [refused]


def test_a_row_is_told_by_its_line_where_the_file_has_lines() -> None:
    declaration = contract(column("x", "int64"))

    (reject,) = ContractChecker(declaration).check(Batch({"x": ["a"]}, [1], 1, lines=[7])).rejects

    assert reject.where == "line 7"


def test_a_rejected_row_is_shown_cut() -> None:
    (reject,) = checked(contract("name", column("x", "int64")), name=["p" * 9_000], x=["a"]).rejects

    assert len(reject.row) == ROW_CHARACTERS


def test_text_that_is_no_unicode_is_rejected_and_shown_escaped() -> None:
    (reject,) = checked(contract("name"), name=["p\udce4r"]).rejects

    assert reject.rule == "type"
    assert reject.actual == r'"p\udce4r"'


def test_values_that_are_not_known_are_kept_and_counted() -> None:
    declaration = contract("name", column("colour", known_values=["green", "blue"]))

    result = checked(declaration, name=list("abcd"), colour=["green", "red", None, "red"])

    assert result.rows.num_rows == 4
    assert result.unknown_values == {"colour": {"red": 2}}


def test_each_text_of_a_list_is_looked_up_among_the_known_values() -> None:
    declaration = contract("name", column("tags", "list[string]", known_values=["ripe"]))

    result = checked(declaration, name=["a", "b"], tags=[["ripe", "soft"], None])

    assert result.unknown_values == {"tags": {"soft": 1}}


def test_a_rejected_row_has_no_unknown_values() -> None:
    declaration = contract(column("name", required=True), column("colour", known_values=["green"]))

    assert checked(declaration, name=[None], colour=["red"]).unknown_values == {}


def test_columns_that_come_as_arrays_are_judged_like_lists() -> None:
    declaration = contract("name", column("x", "int64", minimum=0), column("at", "timestamp"))
    columns = {
        "name": pa.array(["pear", "plum"]),
        "x": pa.array([1, -1]),
        "at": pa.array(["2026-01-02", "2026-01-02T03:04:05Z"]),
    }

    result = ContractChecker(declaration).check(Batch(columns, range(1, 3), 2))

    assert result.rows.column("at").to_pylist() == [datetime(2026, 1, 2, tzinfo=UTC)]
    assert [(r.where, r.rule, r.actual) for r in result.rejects] == [("record 2", "minimum", "-1")]


def test_a_batch_with_a_fault_is_read_again_where_it_can_be() -> None:
    declaration = contract(column("name", required=True))
    again = Batch({"name": ["pear", None]}, [1, 2], 2, lines=[7, 9])
    first = Batch({"name": pa.array(["pear", None])}, range(1, 3), 2, exact=lambda: again)

    (reject,) = ContractChecker(declaration).check(first).rejects

    assert reject.where == "line 9"


def test_an_empty_batch_is_an_empty_table() -> None:
    result = checked(contract("name", column("x", "list[string]")), name=[], x=[])

    assert result.rows.num_rows == 0


VERSION = column("version", version_scheme="deb")


@pytest.mark.fault("word-as-version")
@pytest.mark.parametrize(
    "word",
    [
        *("N/A", "TBD", "<unfixed>", "<not-affected>", "1.2-3 or later", "None", " ", "v1.2"),
        *("-1", "1:", "1:2-3:4", "1.2:3", "9999999999:1", "1_2", "1.0--", "\u0661.0"),
    ],
)
def test_a_word_in_place_of_a_version_is_null_and_shown_with_its_row(word: str) -> None:
    result = checked(contract("name", VERSION), name=["a", "b"], version=["1.0-1", word])

    assert result.rows.column("version").to_pylist() == ["1.0-1", None]
    assert result.rejects == []
    (refused,) = result.refused_values
    assert (refused.where, refused.column, refused.read_as) == ("record 2", "version", None)
    assert str(refused).startswith("record 2, version: expected a Debian version, found ")


@pytest.mark.parametrize(
    "version",
    [
        *("0", "1", "0:0", "1.0", "1:1.0~rc1+dfsg-2+deb12u1", "1.0-1-e2", "2147483647:1"),
        *("1:2:3-4", "3.8.20-4.", "1.0-1+e1~deb12u1"),
    ],
)
def test_a_version_of_the_scheme_is_kept(version: str) -> None:
    result = checked(contract(VERSION, key=["version"]), version=[version, None, ""])

    assert result.rows.column("version").to_pylist() == [version, None, None]
    assert result.refused_values == []


@pytest.mark.parametrize("version", ["1:0.23.0+dfsg-", "1.0-1-", "7-"])
def test_an_empty_revision_is_read_as_none_with_a_warning(version: str) -> None:
    result = checked(contract(VERSION, key=["version"]), version=[version])

    assert result.rows.column("version").to_pylist() == [version[:-1]]
    (refused,) = result.refused_values
    assert str(refused).endswith(f"which is read as {version[:-1]}")


@pytest.mark.parametrize("value", [0, 1, 1.1, True, [], ["1.0"], {}, {"a": "1"}])
def test_another_value_than_a_text_is_no_version_and_no_reject(value: object) -> None:
    result = checked(contract(VERSION, "name"), name=["pear", "plum"], version=[value, "1.0"])

    assert result.rejects == []
    assert result.rows.column("version").to_pylist() == [None, "1.0"]
    (refused,) = result.refused_values
    assert refused.where == "record 1"
    assert str(refused).endswith("which is read as null")


def test_a_row_that_needs_a_version_is_rejected_for_a_word() -> None:
    rule = {"name": "fixed", "when": {"status": "fixed"}, "require": ["version"]}
    declared = contract("status", VERSION, rules=[rule])

    result = checked(declared, status=["fixed", "open"], version=["N/A", "N/A"])

    assert [reject.rule for reject in result.rejects] == ["fixed"]
    assert [refused.where for refused in result.refused_values] == ["record 2"]


@pytest.mark.parametrize("text", [" a", "a ", "\ta\u00a0", "a\r\n"])
def test_blanks_around_a_text_are_removed_before_it_is_checked(text: str) -> None:
    declared = contract(column("x", values=["a"]), column("ids", "list[string]"))

    result = checked(declared, x=[text, "a"], ids=[["a", text], None])

    assert result.rejects == []
    assert result.rows.to_pydict() == {"x": ["a", "a"], "ids": [["a", "a"], None]}


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize(
    ("kind", "texts", "values"),
    [
        pytest.param("int64", [" 5", "\u00a06\t", " "], [5, 6, None], id="int64"),
        pytest.param("uint64", ["5 ", "6", "\r"], [5, 6, None], id="uint64"),
        pytest.param("float64", [" 5.5 ", "-1e3\n", "\u3000"], [5.5, -1000, None], id="float64"),
        pytest.param("boolean", [" true", "0 ", "  "], [True, False, None], id="boolean"),
        pytest.param("date", [" 2026-03-29", "2026-03-30 ", " "], [*DAYS, None], id="date"),
        pytest.param(
            "timestamp",
            ["2026-03-29T02:30:00+02:00 ", " 2026-03-30", "\t"],
            [datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC), None],
            id="timestamp",
        ),
    ],
)
@pytest.mark.parametrize("is_array", [False, True])
def test_blanks_around_a_value_of_another_type_are_removed(
    kind: str, texts: list[str], values: list[Any], is_array: bool
) -> None:
    declared = contract("name", column("x", kind))
    columns = {"name": ["a", "b", "c"], "x": pa.array(texts) if is_array else texts}

    result = ContractChecker(declared).check(Batch(columns, [1, 2, 3], 3))

    assert result.rejects == []
    assert result.rows.column("x").to_pylist() == values


@pytest.mark.parametrize("text", ["", " ", " 5", "5 6", "\u200b5"])
def test_a_number_has_no_blanks_where_the_column_keeps_them(text: str) -> None:
    result = checked(contract("name", column("x", "int64", trim=False)), name=["a"], x=[text])

    assert [reject.column for reject in result.rejects] == ["x"]


def test_a_blank_text_is_null_and_an_empty_one_stays() -> None:
    result = checked(contract("x"), x=[" ", "", "\u00a0\t"])

    assert result.rows.column("x").to_pylist() == [None, "", None]


def test_blanks_stay_where_the_column_says_so() -> None:
    result = checked(contract(column("x", trim=False)), x=[" a ", " "])

    assert result.rows.column("x").to_pylist() == [" a ", " "]


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        pytest.param(column("x", "date"), "soon", "a date", id="word as date"),
        pytest.param(column("x", "date"), "2024-02-30", "a date", id="no day"),
        pytest.param(column("x"), 7, "a text", id="number as text"),
        pytest.param(column("x"), ["high"], "a text", id="list as text"),
        pytest.param(column("x"), {"level": "high"}, "a text", id="object as text"),
        pytest.param(column("x"), False, "a text", id="boolean as text"),
        pytest.param(column("x", "float64", maximum=10), 10.5, "at most 10", id="too large"),
        pytest.param(column("x", "float64"), "7,5", "a finite number", id="text as number"),
        pytest.param(column("x", "boolean"), "maybe", "true or false", id="word as boolean"),
        pytest.param(column("x", pattern="[a-c]+"), "bad", "text like", id="pattern"),
        pytest.param(column("x", values=["a", "b"]), "c", "one of a, b", id="values"),
        pytest.param(column("x", "list[string]"), ["a", 1], "a list of texts", id="list"),
    ],
)
def test_an_invalid_value_is_null_and_shown_where_the_contract_keeps_the_row(
    declared: dict[str, Any], value: object, expected: str
) -> None:
    declaration = contract("name", declared, invalid_values="discard_value")

    result = checked(declaration, name=["pear", "plum"], x=[None, value])

    assert result.rejects == []
    assert result.rows.to_pydict() == {"name": ["pear", "plum"], "x": [None, None]}
    (refused,) = result.refused_values
    assert str(refused).startswith(f"record 2, x: expected {expected}")
    assert str(refused).endswith("which is read as null")


@pytest.mark.parametrize(
    "declared",
    [
        pytest.param(column("x", "int64", required=True), id="required"),
        pytest.param(column("x", "int64", invalid_values="discard_row"), id="declared"),
    ],
)
def test_a_row_is_rejected_for_a_value_that_it_needs(declared: dict[str, Any]) -> None:
    declaration = contract("name", declared, "note", invalid_values="discard_value")

    result = checked(declaration, name=["pear", "plum"], x=["a", 1], note=["ripe", 5])

    assert [reject.column for reject in result.rejects] == ["x"]
    assert [refused.where for refused in result.refused_values] == ["record 2"]


def test_a_row_is_rejected_for_a_part_of_its_key() -> None:
    declaration = contract("name", column("x", "int64"), key=["x"], invalid_values="discard_value")

    (reject,) = checked(declaration, name=["pear"], x=["a"]).rejects

    assert reject.column == "x"


def test_a_column_may_keep_the_row_by_itself() -> None:
    declaration = contract(
        "name", column("x", "int64", invalid_values="discard_value"), column("y", "int64")
    )

    result = checked(declaration, name=["pear", "plum"], x=["a", "b"], y=[1, "c"])

    assert [reject.column for reject in result.rejects] == ["y"]
    assert result.rows.to_pydict() == {"name": ["pear"], "x": [None], "y": [1]}


@pytest.mark.parametrize("other", ["\udcff", "pe\udce9ar", "none \ud800"])
def test_a_text_that_is_not_unicode_changes_nothing_for_the_other_rows(other: str) -> None:
    declaration = contract(column("x", case="upper"), null_words=["none"])

    result = checked(declaration, x=["pear", other, " None", "fig", None])

    assert result.rows.column("x").to_pylist() == ["PEAR", None, "FIG", None]
    assert [reject.where for reject in result.rejects] == ["record 2"]


@pytest.mark.fault("invisible-blank")
@pytest.mark.parametrize("blank", ["\u200b", "\ufeff", "\u2060", "\u00a0", "\u2003", " \u200b\t"])
def test_characters_without_a_width_around_a_text_are_blanks(blank: str) -> None:
    declared = contract("name", column("tags", "list[string]"), column("weight", "int64"))

    result = checked(
        declared,
        name=[f"{blank}pear{blank}", f"pe{blank}ar", blank],
        tags=[[f"ripe{blank}"], None, []],
        weight=[f"{blank}7", "8", None],
    )

    assert result.rejects == []
    assert result.rows.to_pylist() == [
        {"name": "pear", "tags": ["ripe"], "weight": 7},
        {"name": f"pe{blank}ar", "tags": None, "weight": 8},
        {"name": None, "tags": [], "weight": None},
    ]


@pytest.mark.fault("odd-value")
@pytest.mark.parametrize("odd", [7, ["x"], {"a": 1}, True, "\ud800"])
def test_one_value_of_another_type_leaves_the_case_of_the_others_to_convert(odd: object) -> None:
    declared = contract(
        column("name", case="lower", invalid_values="discard_value"),
        key=["id"],
        null_words=["n/a"],
    ).model_copy(update={"key": []})

    result = checked(declared, name=["PEAR", odd, "N/A"])

    assert result.rows.column("name").to_pylist() == ["pear", None, None]
