"""The database of an event log: its address, its owner, and its faults by name."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.postgres import PASSWORD, PostgresServer, database, postgres_server

from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.storage.postgres import (
    Database,
    check_url,
    has_event_log,
    require_owner,
    sqlalchemy_url,
)

__all__ = ["database", "postgres_server"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://etl@db.example/events",
        "postgresql://etl@[::1]:6432/events",
        "postgresql://e%40tl@127.0.0.1/events?sslmode=verify-full",
    ],
)
def test_an_address_without_a_password_is_accepted(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgres://etl@db.example/events", "expected an address such as postgresql://"),
        ("postgresql+psycopg2://etl@db.example/events", "expected an address such as"),
        ("postgresql://db.example/events", "expected an address such as"),
        ("postgresql://etl@db.example", "expected an address such as"),
        ("postgresql://etl@db.example/", "expected an address such as"),
        ("postgresql://etl@db.example:port/events", "expected an address such as"),
        ("postgresql://etl:green@db.example/events", "expected no password, but the name of"),
    ],
)
def test_another_address_is_refused_without_its_password(url: str, found: str) -> None:
    with pytest.raises(ValueError, match=found) as raised:
        check_url(url)

    assert "green" not in str(raised.value)


def test_the_address_for_sqlalchemy_names_the_driver_and_quotes_the_password() -> None:
    url = sqlalchemy_url(Database("postgresql://etl@db.example/events", SecretStr("a/b:c@d")))

    assert url.startswith("postgresql+psycopg2://etl:a%2Fb%3Ac%40d@db.example:5432/events?")
    assert "keepalives_idle=15" in url


@pytest.mark.parametrize("secret", ["a/b:c@d", "green"])
def test_an_address_is_printed_without_the_password(secret: str) -> None:
    assert secret not in repr(Database("postgresql://etl@db.example/events", SecretStr(secret)))


@pytest.mark.fault("second-home")
def test_an_event_log_belongs_to_the_home_that_used_it_first(
    database: Database, tmp_path: Path
) -> None:
    first, second = Home(tmp_path / "first"), Home(tmp_path / "second")

    for _ in range(2):
        require_owner(database, first)

    with pytest.raises(HomeError, match=f"that of the home {first.root} on"):
        require_owner(database, second)
    assert not second.identity.exists()


@pytest.mark.fault("second-home")
def test_a_home_that_uses_another_event_log_is_refused_too(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    first, second = Home(tmp_path / "first"), Home(tmp_path / "second")
    databases = [postgres_server.create_database() for _ in range(2)]
    require_owner(databases[0], first)
    require_owner(databases[1], second)

    with pytest.raises(HomeError, match=f"that of the home {second.root} on"):
        require_owner(databases[1], first)


def test_a_home_that_was_moved_is_the_same_home(database: Database, tmp_path: Path) -> None:
    require_owner(database, Home(tmp_path / "first"))

    (tmp_path / "first").rename(tmp_path / "moved")

    require_owner(database, Home(tmp_path / "moved"))


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"name": "first"})])
def test_a_damaged_identity_is_named(database: Database, tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    require_owner(database, home)
    home.identity.write_text(text, encoding="utf-8")

    with pytest.raises(HomeError, match=r"home\.json: expected the identity of the home"):
        require_owner(database, home)


def test_looking_for_an_event_log_creates_nothing(database: Database) -> None:
    assert not has_event_log(database)

    with database.cursor() as cursor:
        cursor.execute("select count(*) from pg_tables where schemaname = 'public'")
        assert cursor.fetchone() == (0,)


def refusal(database: Database) -> str:
    with pytest.raises(HomeError) as raised:
        database.connect("test")
    return str(raised.value)


@pytest.mark.fault("database-stopped")
def test_a_database_that_is_stopped_is_named(
    database: Database, postgres_server: PostgresServer
) -> None:
    postgres_server.stop()
    try:
        message = refusal(database)
    finally:
        postgres_server.start()

    assert message.startswith(f"{database.url}: expected a database that can be used, found: ")
    assert message.endswith("start it, or correct ETL_EVENT_LOG, then run again")


@pytest.mark.parametrize(
    ("url_end", "password", "advice"),
    [
        ("/nowhere", PASSWORD, "create the user or the database that it names"),
        (None, "wrong", "correct the password in the variable that ETL_EVENT_LOG_PASSWORD_ENV"),
        (None, None, "correct the password in the variable that ETL_EVENT_LOG_PASSWORD_ENV"),
    ],
    ids=["no database", "another password", "no password"],
)
def test_a_database_that_refuses_says_why(
    database: Database, url_end: str | None, password: str | None, advice: str
) -> None:
    url = database.url.rpartition("/")[0] + url_end if url_end else database.url

    message = refusal(Database(url, SecretStr(password) if password else None))

    assert advice in message
    assert PASSWORD not in message


@pytest.mark.fault("database-full")
def test_a_database_whose_disk_is_full_is_named(
    database: Database, postgres_server: PostgresServer
) -> None:
    postgres_server.stop()
    # Not a multiple of a page: a page that fits in part is what the server takes for a full disk.
    postgres_server.start(max_file_bytes=(20 << 20) + 4096)
    try:
        with pytest.raises(HomeError) as raised, database.cursor() as cursor:
            cursor.execute(
                "create table filler as select repeat(md5(i::text), 60) as text"
                " from generate_series(1, 20000) i"
            )
    finally:
        postgres_server.restart()

    assert str(raised.value).endswith("its disk is full; free some space there")


@pytest.mark.fault("database-connections")
def test_a_database_without_a_free_connection_is_named(
    database: Database, postgres_server: PostgresServer
) -> None:
    postgres_server.stop()
    postgres_server.start(max_connections=5, superuser_reserved_connections=0, max_wal_senders=0)
    try:
        with ExitStack() as stack:
            for _ in range(5):
                stack.callback(database.connect("test").close)
            message = refusal(database)
    finally:
        postgres_server.stop()
        postgres_server.start()

    assert message.endswith("close others, or raise max_connections")
