from __future__ import annotations

import io
import json
import logging

import pytest
from rich.console import Console

from etl_assets.cli.display import Display, EscapingFormatter
from etl_assets.cli.output import print_result, print_text
from etl_assets.model.display_text import escape_control

HOSTILE = {
    "\x1b]0;title\x07": r"\u001b]0;title\u0007",
    "over\rwritten\b": r"over\u000dwritten\u0008",
    "c1 \x9b31m del \x7f": r"c1 \u009b31m del \u007f",
    "right \u202e to left \u2066": r"right \u202e to left \u2066",
    "lone \udcff": r"lone \udcff",
}


@pytest.mark.fault("control-characters")
@pytest.mark.parametrize(("text", "shown"), HOSTILE.items(), ids=ascii)
def test_control_characters_of_data_never_reach_a_terminal(
    capsys: pytest.CaptureFixture[str], text: str, shown: str
) -> None:
    console = io.StringIO()

    with Display(Console(file=console)) as display:
        display.print_line(text)
    print_text(text)
    print_text(text, to_stderr=True)
    print_result([text], {}, as_json=False)
    record = logging.LogRecord("etl", logging.WARNING, "", 1, "%s", (text,), None)

    output = capsys.readouterr()
    assert output.out == f"{shown}\n{shown}\n"
    assert output.err == f"{shown}\n"
    assert console.getvalue() == f"{shown}\n"
    assert EscapingFormatter("%(message)s").format(record) == shown


@pytest.mark.fault("control-characters")
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_json_document_stays_json(text: str) -> None:
    document = json.dumps({"name": text}, ensure_ascii=False)

    assert json.loads(escape_control(document)) == {"name": text}


def test_line_breaks_tabs_and_letters_are_printed() -> None:
    assert escape_control("a\tü\n字 🎉") == "a\tü\n字 🎉"
