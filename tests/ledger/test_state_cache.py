"""The cache of the event log: quick looks at a home say the same as the event log itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_homes import (
    SYSTEMS,
    Galaxy,
    call,
    empty_galaxy,
    packed_galaxy,
)

__all__ = ["empty_galaxy", "packed_galaxy"]

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def galaxy(empty_galaxy: Galaxy, capsys: Shown) -> Galaxy:
    """A home with one run."""
    assert call("run", "galaxy", "-q") == 0
    capsys.readouterr()
    return empty_galaxy


def look(capsys: Shown, verb: str = "status") -> Any:
    """What the verb prints, without the age of content, which grows meanwhile."""
    call(verb, "galaxy", "--json")
    document = json.loads(capsys.readouterr().out)
    for source in document.get("sources", []):
        source["freshness"].pop("age_hours")
    return document


def modules_of(verb: str) -> set[str]:
    """The packages that the command imports in a process of its own."""
    program = (
        "import sys\n"
        "from etl_assets.cli.main import main\n"
        "try: main()\n"
        "finally: print(*{m.split('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, verb, "galaxy"], check=False, capture_output=True, text=True
    )
    return set(process.stderr.split())


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("verb", ["status", "health"])
def test_a_second_look_imports_no_dagster(galaxy: Galaxy, verb: str) -> None:
    assert "dagster" in modules_of(verb)
    assert modules_of(verb) & {"dagster", "sqlalchemy", "pyarrow", "dbt"} == set()


@pytest.mark.parametrize("verb", ["status", "health"])
def test_the_loss_of_the_cache_costs_time_alone(galaxy: Galaxy, capsys: Shown, verb: str) -> None:
    first = look(capsys, verb)
    cached = look(capsys, verb)
    galaxy.home.event_log_cache("galaxy").unlink()
    again = look(capsys, verb)

    for document in (first, cached, again):
        document.pop("checked_at", None), document.pop("free_bytes", None)
        for finding in document.get("findings", []):
            if finding["what"] == "disk":
                finding["found"] = ""
    assert first == cached == again


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("no JSON", encoding="utf-8"),
        lambda path: path.write_text(path.read_text().replace('"rows":60', '"rows":61'), "utf-8"),
        lambda path: path.write_text('{"key": "0", "state": {"health": []}}', encoding="utf-8"),
    ],
    ids=["damaged", "of other rows", "of another key"],
)
def test_a_cache_of_another_state_is_made_again(
    galaxy: Galaxy, capsys: Shown, spoil: Callable[[Path], None]
) -> None:
    before = look(capsys)
    spoil(galaxy.home.event_log_cache("galaxy"))
    call("quarantine", "list")
    os.utime(galaxy.home.dagster / "dagster.yaml")  # a change of the storage's settings
    capsys.readouterr()

    assert look(capsys) == before


@pytest.mark.long
@pytest.mark.ci
def test_what_is_recorded_later_is_shown(galaxy: Galaxy, capsys: Shown) -> None:
    before = look(capsys)
    look(capsys)
    galaxy.change_feed('"name":"Harbour"', '"name":"Harbor"')
    (galaxy.mirror / SYSTEMS).write_text("<html>", encoding="utf-8")
    assert call("run", "galaxy", "-q") == 0
    capsys.readouterr()

    after = look(capsys)

    statuses = {source["source"]: source["status"] for source in after["sources"]}
    assert statuses["systems"] == "outage"
    assert after["sources"] != before["sources"]
    assert look(capsys) == after


@pytest.mark.parametrize("name", ["history/runs.db", "history/runs/index.db"])
def test_a_damaged_event_log_is_reported_in_spite_of_a_cache(
    galaxy: Galaxy, capsys: Shown, name: str
) -> None:
    look(capsys, "health")
    database = galaxy.home.dagster / name
    stat = database.stat()
    database.write_bytes(b"x" * stat.st_size)
    os.utime(database, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    report = look(capsys, "health")

    [finding] = [each for each in report["findings"] if each["what"] == "event log"]
    assert finding["level"] == "error"
