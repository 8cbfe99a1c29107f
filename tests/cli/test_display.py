"""What a command shows on stderr: lines, cut lists, bars on a terminal, and lines of JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence

import pytest
from rich.console import Console

from etl_assets.cli.display import Display, LogFormat, Output
from etl_assets.model.records import Part
from etl_assets.model.run_log import Kind, LogLine, SummaryLine

PART = Part(source="weather.rain", partition="2024")
KEYS = ["at", "level", "indicator", "kind", "run", "domain", "source", "stage", "decision"]


def fetch(year: int, fault: str | None = None) -> LogLine:
    return LogLine(
        f"weather.rain[{year}]: {fault or 'fetched'}",
        Kind.WARNING if fault else Kind.PROGRESS,
        domain="weather",
        source=f"weather.rain[{year}]",
        stage="raw",
        decision="outage" if fault else "fetched",
        reason=fault,
    )


def show(
    lines: Sequence[str],
    *,
    verbosity: int = 0,
    log_format: LogFormat = LogFormat.TEXT,
    is_terminal: bool = False,
    work: Callable[[Display], None] = lambda _: None,
) -> list[str]:
    """Return what is written for the lines."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=is_terminal, width=100)
    with Display(console, output=Output(verbosity, log_format)) as display:
        for line in lines:
            display.print_line(line)
        work(display)
    return shown.getvalue().splitlines()


def test_without_a_terminal_there_are_plain_lines_and_no_bars() -> None:
    line = "weather.rain[2024]: fetched, " + "a long line " * 12

    assert show([line], work=lambda display: display.update(PART, 500, 1000)) == [line]


def test_markup_in_a_line_is_shown_as_it_is() -> None:
    assert show(["[bold]not bold[/bold]"]) == ["[bold]not bold[/bold]"]


def test_on_a_terminal_a_transfer_has_a_bar() -> None:
    shown = show([], is_terminal=True, work=lambda d: d.update(PART, 9_000_000, 12_000_000))

    assert "weather.rain[2024]" in "".join(shown)
    assert "9.0/12.0 MB" in "".join(shown)


@pytest.mark.parametrize("what", ["tables", "models", "documents"])
def test_on_a_terminal_each_step_has_a_bar(what: str) -> None:
    shown = show([], is_terminal=True, work=lambda display: display.advance(what, 3, 12))

    assert what in "".join(shown)
    assert "3/12" in "".join(shown)


@pytest.mark.parametrize("verbosity", [-1, 0], ids=["quiet", "no terminal"])
def test_there_are_no_bars_where_nobody_looks_at_them(verbosity: int) -> None:
    shown = show(
        [],
        verbosity=verbosity,
        is_terminal=verbosity < 0,
        work=lambda display: display.advance("models", 3, 12),
    )

    assert shown == []


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (4, "fetched"),
        (5, "fetched"),
        (6, "  and 1 more of weather.rain, with -v"),
        (69, "  and 64 more of weather.rain, with -v"),
    ],
    ids=str,
)
def test_a_list_of_files_is_cut_after_five(count: int, last: str) -> None:
    shown = show([fetch(2000 + number) for number in range(count)])

    assert len(shown) == min(count, 6)
    assert shown[-1].endswith(last)


def test_the_same_fault_is_shown_once_and_another_one_too() -> None:
    outages = [fetch(year, f"no answer for rain_{year}.csv") for year in range(2002, 2027)]
    downloads = [fetch(year) for year in range(2030, 2032)]

    shown = show([*outages[:9], *downloads, *outages[9:], fetch(2050, "HTTP 500"), "done"])

    assert shown == [
        "weather.rain[2002]: no answer for rain_2002.csv",
        "weather.rain[2030]: fetched",
        "weather.rain[2031]: fetched",
        "weather.rain[2050]: HTTP 500",
        "  and 24 more of weather.rain, with -v",
        "done",
    ]


def test_with_v_every_line_is_shown() -> None:
    assert len(show([fetch(2000 + number) for number in range(69)], verbosity=1)) == 69


def test_with_q_only_warnings_and_errors_are_shown() -> None:
    lines = [fetch(2024), "a plain line", fetch(2025, "no answer"), LogLine("broken", Kind.ERROR)]

    assert show(lines, verbosity=-1) == ["weather.rain[2025]: no answer", "broken"]


def test_what_the_summary_repeats_is_shown_with_v_only() -> None:
    line = SummaryLine("weather: success", Kind.SUCCESS)

    assert show([line]) == []
    assert show([line], verbosity=1) == ["weather: success"]


@pytest.mark.parametrize(
    ("line", "level", "indicator"),
    [
        (LogLine("starts", Kind.START), "info", "\N{ROCKET}"),
        (fetch(2024), "info", "\N{BAR CHART}"),
        (LogLine("done", Kind.SUCCESS), "info", "\N{WHITE HEAVY CHECK MARK}"),
        (fetch(2024, "no answer"), "warning", "\N{WARNING SIGN}"),
        (LogLine("broken", Kind.ERROR), "error", "\N{CROSS MARK}"),
        (LogLine("sent", Kind.NOTIFICATION), "info", "\N{E-MAIL SYMBOL}"),
        ("a plain line \x1b[2J\nof two", "info", "\N{BAR CHART}"),
    ],
    ids=["start", "progress", "success", "warning", "error", "notification", "plain"],
)
def test_each_line_is_one_json_object_with_level_and_indicator(
    line: str, level: str, indicator: str
) -> None:
    [shown] = show([line], log_format=LogFormat.JSON)

    record = json.loads(shown)
    assert list(record)[: len(KEYS)] == KEYS
    assert (record["level"], record["indicator"]) == (level, indicator)
    assert record["message"] == line
    assert "\x1b" not in shown


def test_json_lists_are_never_cut() -> None:
    lines = [fetch(2000 + number) for number in range(69)]

    shown = show(lines, log_format=LogFormat.JSON, is_terminal=True)

    assert [json.loads(line)["source"] for line in shown] == [
        f"weather.rain[{2000 + number}]" for number in range(69)
    ]
