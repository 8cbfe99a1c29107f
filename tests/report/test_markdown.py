from __future__ import annotations

import pytest
from support.report_runs import a_manifest, a_report, a_report_that_says, a_result, a_section

from etl_assets.report import markdown


@pytest.mark.fault("hostile-text")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("a|b", r"a\|b", id="table cell"),
        pytest.param("[x](javascript:y)", r"\[x\](javascript:y)", id="link"),
        pytest.param("<script>&", "&lt;script&gt;&amp;", id="markup"),
        pytest.param("1. one\n# two", r"1\. one \# two", id="list and heading"),
        pytest.param("- _a_b*c`d", r"\- \_a_b\*c\`d", id="emphasis"),
        pytest.param("a\\", "a\\\\", id="backslash at the end of a cell"),
        pytest.param("\u2028x\x1b[0m", r"x \[0m", id="control characters"),
    ],
)
def test_data_cannot_write_markup(value: str, expected: str) -> None:
    assert markdown.escape(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("a_b<c>*", "`a_b<c>*`", id="an identifier"),
        pytest.param("a`b", r"a\`b", id="its own fence"),
        pytest.param("a|b", r"a\|b", id="a pipe"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_an_identifier_is_code_unless_it_could_break_out(value: str, expected: str) -> None:
    assert markdown.code(value) == expected


@pytest.mark.parametrize("text", ["a|b", "a`|b\\", "\n# a", "| - |\n"])
def test_no_value_adds_a_column_or_a_line(text: str) -> None:
    plain, hostile = (
        markdown.render_markdown(a_report_that_says(value)).splitlines() for value in ("x", text)
    )

    assert len(hostile) == len(plain)
    assert [_columns(line) for line in hostile] == [_columns(line) for line in plain]


def test_a_bar_is_drawn_with_characters_and_a_line_as_numbers() -> None:
    report = a_report(sections=[a_section("bar"), a_section("line")])

    text = markdown.render_markdown(report)

    assert f"| dead | 1 | {'█' * 10} |" in text
    assert "| dead | 1 |\n" in text


def _columns(line: str) -> int:
    """Pipes as GitHub's parser counts them: a backslash escapes the character after it."""
    escaped, pipes = False, 0
    for sign in line:
        pipes += sign == "|" and not escaped
        escaped = sign == "\\" and not escaped
    return pipes


def test_the_phases_are_a_table_with_healing_actions_below() -> None:
    text = markdown.render_markdown(a_report(manifest=a_manifest(result=a_result("ferns: old"))))

    assert "| collect | error | 3 files, 2 of them new; 1,200 records | 00:00:04 |" in text
    assert (
        "| load | success | 2 tables; data validation passed | 00:00:06 |\n\n- ferns: old\n" in text
    )
