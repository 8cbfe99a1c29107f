from __future__ import annotations

import io

from rich.console import Console

from etl_assets.cli.output import ProgressDisplay
from etl_assets.model.records import Part

PART = Part(source="weather.rain", partition="2024")


def test_without_a_terminal_there_are_plain_lines_and_no_bars() -> None:
    shown = io.StringIO()

    with ProgressDisplay(Console(file=shown, force_terminal=False, width=40)) as display:
        display.update(PART, 500, 1000)
        display.print_line("weather.rain[2024]: fetched, " + "a long line " * 5)

    assert shown.getvalue() == "weather.rain[2024]: fetched, " + "a long line " * 5 + "\n"


def test_on_a_terminal_a_transfer_has_a_bar() -> None:
    shown = io.StringIO()

    with ProgressDisplay(Console(file=shown, force_terminal=True, width=100)) as display:
        display.update(PART, 500, 1000)
        display.update(PART, 900, 1000)

    assert "weather.rain[2024]" in shown.getvalue()
    assert "0.9/1.0 kB" in shown.getvalue()


def test_markup_in_a_line_is_shown_as_it_is() -> None:
    shown = io.StringIO()

    with ProgressDisplay(Console(file=shown)) as display:
        display.print_line("[bold]not bold[/bold]")

    assert shown.getvalue() == "[bold]not bold[/bold]\n"
