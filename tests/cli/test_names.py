"""Names of domains and sources in a command: checked first, completed, and near ones proposed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_homes import Galaxy, call, empty_galaxy, packed_galaxy

__all__ = ["empty_galaxy", "packed_galaxy"]

Shown = pytest.CaptureFixture[str]
HEAVY = {"dagster", "dbt", "duckdb", "httpx", "pyarrow"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "galxy"],
        ["run", "molding", "galxy"],
        ["probe", "Galaxys"],
        ["diff", "galxy"],
        ["prune", "galaxi"],
        ["restore", "galxy"],
        ["demo", "galxy"],
        ["manifest", "verify", "galxy"],
    ],
    ids=" ".join,
)
def test_a_wrong_domain_is_refused_with_the_nearest_one(
    empty_galaxy: Galaxy, capsys: Shown, arguments: list[str]
) -> None:
    assert call(*arguments) == 2

    assert "did you mean galaxy?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "restore"])
def test_a_missing_domain_is_reported_with_the_declared_ones(
    empty_galaxy: Galaxy, capsys: Shown, verb: str
) -> None:
    assert call(verb) == 2

    errors = capsys.readouterr().err
    assert "Missing argument 'DOMAIN" in errors
    assert re.search(r"Declared are: (\w+, )*galaxy\b", errors)


@pytest.mark.parametrize("verb", ["status", "run", "health", "stats"])
def test_a_wrong_domain_is_refused_before_anything_heavy_is_imported(
    empty_galaxy: Galaxy, verb: str
) -> None:
    program = (
        "import sys\n"
        "from etl_assets.cli.main import main\n"
        "try: main()\n"
        "finally: print(*{m.split('.')[0] for m in sys.modules})"
    )

    refused = subprocess.run(
        [sys.executable, "-c", program, verb, "galxy"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert refused.returncode == 2
    assert set(refused.stdout.split()) & HEAVY == set()


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["run", "galaxy", "--source", "sistems"], "systems"),
        (["rollback", "sistems", "--why", "x"], "systems"),
        (["sample", "galaxy.sistems"], "galaxy.systems"),
    ],
    ids=["option", "bare", "full"],
)
def test_a_wrong_source_is_refused_with_the_nearest_one(
    empty_galaxy: Galaxy, capsys: Shown, arguments: list[str], nearest: str
) -> None:
    assert call(*arguments) == 2

    assert f"did you mean {nearest}" in capsys.readouterr().err


def test_a_long_list_of_names_is_cut_and_says_where_the_others_are(
    empty_galaxy: Galaxy, capsys: Shown
) -> None:
    assert call("rollback", "xyz", "--why", "x") == 2

    message = capsys.readouterr().err
    assert message.count("advisories.") == 5
    assert " more; `etl sources list` lists them all" in message


@pytest.mark.parametrize("verb", ["status", "probe"])
def test_a_verb_that_only_looks_takes_all_domains(
    empty_galaxy: Galaxy, capsys: Shown, verb: str
) -> None:
    assert call(verb, "--json") in {0, 1}  # the mirror has the files of one domain only

    assert len(json.loads(capsys.readouterr().out)) > 1


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("etl status ga", {"galaxy"}),
        ("etl run mol", {"molding"}),
        ("etl rollback galaxy.sys", {"galaxy.systems"}),
        ("etl sam", {"sample"}),
    ],
    ids=["domain", "domains", "source", "verb"],
)
def test_the_shell_completes_names(
    empty_galaxy: Galaxy, monkeypatch: pytest.MonkeyPatch, words: str, completed: set[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    monkeypatch.setenv("_ETL_COMPLETE", "complete_bash")

    answer = subprocess.run(
        [str(Path(sys.executable).parent / "etl")], check=True, capture_output=True, text=True
    )

    assert set(answer.stdout.split()) == completed
