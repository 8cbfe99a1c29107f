"""Checks of the machine that cannot be provoked through the command."""

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
from etl_assets.operations.health_checks.machine import (
    MIN_FREE_BYTES,
    check_file_system,
    check_locations,
    check_secrets,
    check_space,
)
from etl_assets.operations.health_checks.result import Level

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GIGABYTES = 1 << 30
SECRETS = "orchard: secrets: FRUIT_KEY"


@pytest.mark.parametrize(
    ("free", "stored", "level"),
    [
        (20 * GIGABYTES, 10 * GIGABYTES, Level.OK),
        (20 * GIGABYTES - 1, 10 * GIGABYTES, Level.WARN),
        (MIN_FREE_BYTES, 0, Level.OK),
        (MIN_FREE_BYTES - 1, 0, Level.ERROR),
    ],
    ids=["twice as much", "less than twice", "the least", "less than the least"],
)
def test_there_must_be_room_for_twice_the_stored_bytes(
    free: int, stored: int, level: Level
) -> None:
    assert check_space(free, stored).level is level


def test_a_folder_on_another_file_system_is_named() -> None:
    finding = check_file_system({"data/raw": 1, "data/partial": 1, "data/quarantine": 2})

    assert finding.level is Level.ERROR
    assert finding.actual == "data/quarantine on another file system than data/raw"


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
    ("fields", "present", "stored", "message"),
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
        *("there", "required", "required and stored", "optional"),
        *("set", "set without a file", "set without its folder", "yearly", "yearly without any"),
    ],
)
def test_a_local_file_must_exist(
    tmp_path: Path, fields: dict[str, Any], present: str, stored: list[str], message: str
) -> None:
    if present:
        (tmp_path / present).parent.mkdir(exist_ok=True)
        (tmp_path / present).touch()

    [finding] = check_locations(domain_with(**fields), LocationResolver(tmp_path), NOW, stored)

    assert str(finding).startswith(message)


def test_a_set_of_files_needs_a_mirror_that_is_a_directory(tmp_path: Path) -> None:
    resolver = LocationResolver(tmp_path, "https://mirror.example")

    [finding] = check_locations(domain_with(**SET), resolver, NOW, [])

    assert "expected ETL_MIRROR to be a directory" in finding.actual


def unset(_: str) -> SecretStr | None:
    return None


def empty(name: str) -> SecretStr | None:
    raise SettingsError(f"{name}: expected a secret, found an empty text")


def a_secret(_: str) -> SecretStr | None:
    return SecretStr("s3cret")


@pytest.mark.fault("secrets")
@pytest.mark.parametrize(
    ("find_secret", "mirror", "is_required", "stored", "messages"),
    [
        (unset, None, True, [], [f"ERROR {SECRETS} is not set, for orchard.fruits; "]),
        (empty, None, True, [], [f"ERROR {SECRETS} is empty, for orchard.fruits; "]),
        (unset, None, True, ["fruits"], [f"WARN  {SECRETS} is not set, for orchard.fruits; "]),
        (unset, None, False, [], [f"WARN  {SECRETS} is not set, for orchard.fruits; "]),
        (empty, None, False, [], [f"WARN  {SECRETS} is empty, for orchard.fruits; "]),
        (a_secret, None, True, [], [f"ok    {SECRETS} is set, for orchard.fruits"]),
        (unset, "https://mirror.example", True, [], []),
    ],
    ids=["missing", "empty", "stored", "optional", "optional, empty", "set", "mirror"],
)
def test_a_secret_must_be_set_if_a_run_needs_it(
    tmp_path: Path,
    find_secret: Callable[[str], SecretStr | None],
    mirror: str | None,
    is_required: bool,
    stored: list[str],
    messages: list[str],
) -> None:
    location: dict[str, Any] = {
        "url": "https://orchard.example/fruits",
        "credentials": {"X-Key": {"env": "FRUIT_KEY"}},
    }
    orchard = domain_with(location=location, required=is_required)
    resolver = LocationResolver(tmp_path, mirror)

    lines = [str(each) for each in check_secrets(orchard, resolver, find_secret, stored)]

    assert [line[: len(m)] for line, m in zip(lines, messages, strict=True)] == messages


@pytest.mark.fault("missing-secret")
@pytest.mark.parametrize(
    ("is_required", "stored", "message"),
    [
        (False, [], f"ok    {SECRETS} is not set, so orchard.fruits is off"),
        (True, ["fruits"], f"ok    {SECRETS} is not set, so orchard.fruits is off"),
        (True, [], f"ERROR {SECRETS} is not set, for orchard.fruits; "),
    ],
    ids=["optional", "stored", "required"],
)
def test_requests_of_rows_are_off_without_their_secret(
    tmp_path: Path, is_required: bool, stored: list[str], message: str
) -> None:
    location: dict[str, Any] = {
        "url": "https://orchard.example/{name}",
        "credentials": {"X-Key": {"env": "FRUIT_KEY"}},
    }
    for_each = {"table": "trees", "columns": ["name"]}
    orchard = domain_with(location=location, required=is_required, for_each=for_each)

    [finding] = check_secrets(orchard, LocationResolver(tmp_path), unset, stored)

    assert str(finding).startswith(message)
