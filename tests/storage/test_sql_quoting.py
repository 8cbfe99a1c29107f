"""Names and text in SQL are quoted, so that none of their characters is SQL."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from etl_assets.storage import sql_quoting


@pytest.mark.fault("hostile-sql")
def test_a_quote_in_a_name_is_doubled() -> None:
    assert sql_quoting.quote_name('a"b') == '"a""b"'


def test_a_path_is_quoted_name_by_name() -> None:
    assert sql_quoting.quote_path('by.so"urce') == '"by"."so""urce"'


@pytest.mark.fault("hostile-sql")
def test_a_quote_in_text_is_doubled() -> None:
    assert sql_quoting.quote_text("it's") == "'it''s'"


def folded(*texts: str) -> list[str]:
    with duckdb.connect() as connection:
        rows = [
            connection.execute(f"select {sql_quoting.fold_case('?')}", [text]).fetchall()
            for text in texts
        ]
    return [key for [(key,)] in rows]


@pytest.mark.fault("folded-names")
@pytest.mark.parametrize(
    "spellings",
    [
        pytest.param(["Pear-2", "PEAR-2", "pear-2"], id="ASCII"),
        pytest.param(["straße", "STRASSE", "Strasse", "STRAẞE"], id="sharp s"),
        pytest.param(["ΟΔΟΣ", "οδος", "οδοσ", "Οδος"], id="final sigma"),
        pytest.param(
            ["İZMİR", "izmir", "IZMIR", "i\u0307zmi\u0307r", "\u0131zm\u0131r"], id="Turkish i"
        ),
        pytest.param(["ÉTÉ", "été", "Été"], id="accents"),
        pytest.param(["caf\u00e9", "cafe\u0301", "CAFE\u0301"], id="accent after its letter"),
        pytest.param(["\u1ea5", "\u00e2\u0301", "a\u0302\u0301"], id="two accents"),
        pytest.param(["\uac00", "\u1100\u1161"], id="Hangul"),
        pytest.param(["\u212bngstrom", "a\u030angstrom", "\u00e5ngstrom"], id="Angstrom sign"),
    ],
)
def test_every_spelling_of_a_name_has_one_key(spellings: list[str]) -> None:
    others = [text.upper() for text in spellings] + [text.lower() for text in spellings]

    assert len({*folded(*spellings, *others)}) == 1


def test_names_that_differ_by_more_than_case_have_different_keys() -> None:
    names = ["pear", "péar", "pea", "pear ", "peär", "bear"]

    assert len({*folded(*names)}) == len(names)


def test_only_letters_of_several_capitals_have_a_key_of_their_own() -> None:
    letters = [chr(n) for n in range(0x110000) if chr(n).isalpha()]
    table = pa.table(
        {
            "letter": letters,
            "capital": [letter.upper() for letter in letters],
            "small": [letter.lower() for letter in letters],
        }
    )
    fold = sql_quoting.fold_case
    with duckdb.connect() as connection:
        connection.register("letters", table)
        rows = connection.execute(
            f"select letter from letters where {fold('letter')} != {fold('small')}"
            f" or {fold('letter')} != {fold('capital')}"
        ).fetchall()

    apart = {letter for (letter,) in rows}
    assert [letter for letter in apart if len(letter.lower().upper()) == 1] == []
    assert apart.isdisjoint("ßẞİIi\u0131Σ\u03c3ς")


@pytest.mark.fault("folded-names")
def test_a_letter_has_one_key_in_every_canonical_form() -> None:
    letters = [chr(n) for n in range(0x110000) if chr(n).isalpha()]
    table = pa.table(
        {
            "letter": letters,
            "composed": [unicodedata.normalize("NFC", letter) for letter in letters],
            "decomposed": [unicodedata.normalize("NFD", letter) for letter in letters],
        }
    )
    fold = sql_quoting.fold_case
    with duckdb.connect() as connection:
        connection.register("letters", table)
        rows = connection.execute(
            f"select letter from letters where {fold('letter')} != {fold('composed')}"
            f" or {fold('letter')} != {fold('decomposed')}"
        ).fetchall()

    assert rows == []


def test_the_macro_of_the_models_is_the_same_sql() -> None:
    macro = (Path(__file__).parents[2] / "dbt_project/macros/shared/fold_case.sql").read_text(
        "utf-8"
    )

    body = re.search(r"macro fold_case\(text\) -%}\s*(.*?)\s*{%- endmacro", macro, re.DOTALL)

    assert body
    assert body[1].replace("{{ text }}", "name") == sql_quoting.fold_case("name")
