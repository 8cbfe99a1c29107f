"""What a run needs of the machine, where no command can bring it about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.table_declarations import contract, source

from etl_assets.declarations.domain import Domain
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import SettingsError
from etl_assets.operations.health_machine import (
    MIN_FREE_BYTES,
    locations,
    one_file_system,
    secrets,
    space,
)
from etl_assets.operations.health_result import Level

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GIGABYTES = 1 << 30


@pytest.mark.parametrize(
    ("free", "held", "level"),
    [
        (20 * GIGABYTES, 10 * GIGABYTES, Level.OK),
        (20 * GIGABYTES - 1, 10 * GIGABYTES, Level.WARN),
        (MIN_FREE_BYTES, 0, Level.OK),
        (MIN_FREE_BYTES - 1, 0, Level.ERROR),
    ],
    ids=["twice as much", "less than twice", "the least", "less than the least"],
)
def test_there_is_room_for_twice_what_stands(free: int, held: int, level: Level) -> None:
    assert space(free, held).level is level


def test_a_folder_on_another_file_system_is_named() -> None:
    found = one_file_system({"data/raw": 1, "data/partial": 1, "data/quarantine": 2})

    assert found.level is Level.ERROR
    assert found.found == "data/quarantine on another one than data/raw"


def domain_with(**fields: Any) -> Domain:
    return Domain(
        title="Orchard",
        description="Fruits.",
        owner="team:orchard",
        schedule="0 5 * * *",
        name="orchard",
        sources={"fruits": source(contract("name"), {"name": "csv"}, **fields)},
    )


SET = {"location": {"path": "fruits/{partition}.csv"}, "partitions": {"by": "file"}}
YEARLY = {"location": {"path": "by/{partition}.csv"}, "partitions": {"by": "year", "start": 2020}}


@pytest.mark.parametrize(
    ("fields", "there", "held", "told"),
    [
        ({}, "fruits", [], "ok    orchard: locations: 1 files and folders are there"),
        ({"required": True}, "", [], "ERROR orchard: locations: orchard.fruits: no "),
        ({"required": True}, "", ["fruits"], "WARN  orchard: locations: orchard.fruits: no "),
        ({"required": False}, "", [], "WARN  orchard: locations: orchard.fruits: no "),
        (SET, "fruits/pear.csv", [], "ok    orchard: locations: 1 files and folders"),
        (
            SET,
            "fruits/pear.txt",
            [],
            "WARN  orchard: locations: orchard.fruits: no file of the set",
        ),
        (SET, "", [], "WARN  orchard: locations: orchard.fruits: no folder "),
        (YEARLY, "by/2024.csv", [], "ok    orchard: locations: 1 files and folders"),
        (YEARLY, "", [], "WARN  orchard: locations: orchard.fruits: no "),
    ],
    ids=[
        *("there", "required", "required and held", "optional"),
        *("set", "set without a file", "set without its folder", "yearly", "yearly without any"),
    ],
)
def test_a_file_of_this_machine_is_looked_for(
    tmp_path: Path, fields: dict[str, Any], there: str, held: list[str], told: str
) -> None:
    if there:
        (tmp_path / there).parent.mkdir(exist_ok=True)
        (tmp_path / there).touch()

    [found] = locations(domain_with(**fields), LocationResolver(tmp_path), NOW, held)

    assert str(found).startswith(told)


def test_a_set_of_files_wants_a_directory_for_a_mirror(tmp_path: Path) -> None:
    resolver = LocationResolver(tmp_path, "https://mirror.example")

    [found] = locations(domain_with(**SET), resolver, NOW, [])

    assert "expected ETL_MIRROR to be a directory" in found.found


def unset(_: str) -> SecretStr | None:
    return None


def empty(name: str) -> SecretStr | None:
    raise SettingsError(f"{name}: expected a secret, found an empty text")


def a_secret(_: str) -> SecretStr | None:
    return SecretStr("s3cret")


@pytest.mark.fault("secrets")
@pytest.mark.parametrize(
    ("find", "mirror", "told"),
    [
        (unset, None, ["ERROR orchard: secrets: FRUIT_KEY is not set, for orchard.fruits; "]),
        (empty, None, ["ERROR orchard: secrets: FRUIT_KEY is empty, for orchard.fruits; "]),
        (a_secret, None, ["ok    orchard: secrets: FRUIT_KEY is set, for orchard.fruits"]),
        (unset, "https://mirror.example", []),
    ],
    ids=["missing", "empty", "set", "not asked for by a mirror"],
)
def test_a_secret_is_looked_for_where_a_run_needs_it(
    tmp_path: Path,
    find: Callable[[str], SecretStr | None],
    mirror: str | None,
    told: list[str],
) -> None:
    location: dict[str, Any] = {
        "url": "https://orchard.example/fruits",
        "credentials": {"X-Key": {"env": "FRUIT_KEY"}},
    }
    orchard = domain_with(location=location)

    found = [str(finding) for finding in secrets(orchard, LocationResolver(tmp_path, mirror), find)]

    assert [line[: len(start)] for line, start in zip(found, told, strict=True)] == told
