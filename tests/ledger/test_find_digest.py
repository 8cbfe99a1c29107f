"""`etl manifest find`: what a digest is of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_homes import SYSTEMS, Galaxy, call, empty_galaxy, packed_galaxy

__all__ = ["empty_galaxy", "packed_galaxy"]

Shown = pytest.CaptureFixture[str]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    ("file", "kind", "name"),
    [
        (lambda galaxy: galaxy.mirror / SYSTEMS, "raw", "galaxy.systems"),
        (lambda g: g.latest / "manifest.json", "published", "manifest.json of galaxy"),
        (
            lambda g: g.latest / "marts/mart_systems.parquet",
            "published",
            "marts/mart_systems.parquet of galaxy",
        ),
    ],
    ids=["raw", "manifest", "mart"],
)
def test_a_digest_names_its_file_and_runs(
    empty_galaxy: Galaxy, capsys: Shown, file: Callable[[Galaxy], Path], kind: str, name: str
) -> None:
    assert call("run", "galaxy", "-q") == 0
    sha256 = digest(file(empty_galaxy))
    capsys.readouterr()

    assert call("manifest", "find", sha256[:12].upper()) == 0

    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == [sha256, f"  {kind} file: {name}"]
    assert shown[-1] == f"  in 1 run: {empty_galaxy.latest.name}"


@pytest.mark.long
@pytest.mark.ci
def test_a_refused_file_is_found_with_the_reason(empty_galaxy: Galaxy, capsys: Shown) -> None:
    assert call("run", "galaxy", "-q") == 0
    (empty_galaxy.mirror / SYSTEMS).write_text("<html>", encoding="utf-8")
    sha256 = digest(empty_galaxy.mirror / SYSTEMS)
    assert call("run", "galaxy", "-q") == 0
    capsys.readouterr()

    assert call("manifest", "find", sha256, "--json") == 0

    [found] = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["name"]) == ("quarantined", "galaxy.systems")
    assert "expected" in found["reason"]


@pytest.mark.parametrize(
    ("digits", "code", "message"),
    [
        ("abc", 2, "expected 6 to 64 hexadecimal digits, found 'abc'"),
        ("latest", 2, "expected 6 to 64 hexadecimal digits, found 'latest'"),
        ("a" * 65, 2, "expected 6 to 64 hexadecimal digits, found 65 digits"),
        ("", 2, "expected 6 to 64 hexadecimal digits, found ''"),
        ("0" * 64, 1, "no file with SHA-256 0000"),
    ],
    ids=["short", "no digits", "65", "empty", "unknown"],
)
def test_a_digest_that_nothing_has_is_an_error(
    empty_galaxy: Galaxy, capsys: Shown, digits: str, code: int, message: str
) -> None:
    assert call("manifest", "find", digits) == code

    assert message in capsys.readouterr().err
