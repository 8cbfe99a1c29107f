"""The PostgreSQL database of an event log: its address, connections, owner, and named faults.

Dagster's own tables are `etl_assets.defs.instance.postgres_storage`, the locks of domains
`etl_assets.storage.postgres_lock`. The driver is imported by need: a home on local disk has none.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import SecretStr

from etl_assets.model.errors import HomeError, SettingsError
from etl_assets.model.home import Home
from etl_assets.storage.atomic_write import write_text

if TYPE_CHECKING:
    from types import ModuleType

    from psycopg2.extensions import connection as Connection  # noqa: N812 - they are classes
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

SCHEME = "postgresql"
# SQLAlchemy 2.1 takes `postgresql` for psycopg 3, with which Dagster's NOTIFY is a syntax error.
DRIVER = "postgresql+psycopg2"
EXAMPLE = "postgresql://user@host:5432/database"
DEFAULT_PORT = 5432
MIN_VERSION = 140000  # older servers do not end idle sessions by themselves
CONNECT_SECONDS = 10
# A peer that does not answer is given up after 30 s, on both ends.
KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT = 15, 5, 3
GIVE_UP_MILLISECONDS = 30_000
CLIENT_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
    "keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
    "keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": GIVE_UP_MILLISECONDS,
}
SERVER_KEEPALIVES = {
    "tcp_keepalives_idle": KEEPALIVE_IDLE_SECONDS,
    "tcp_keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
    "tcp_keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": GIVE_UP_MILLISECONDS,
}
FULL = "its disk is full; free some space there"
NO_CONNECTION = "it has no connection left; close others, or raise max_connections"
STOPPED = "it was stopped; start it, then run again"
STARTING = "it is starting or stopping; run again in a minute"
# What to do, by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
FAULTS = {
    "53100": FULL,
    "53300": NO_CONNECTION,
    "57P01": STOPPED,
    "57P02": STOPPED,
    "57P03": STARTING,
    "42501": "let the user of ETL_EVENT_LOG own the database",
    "25006": "it accepts no changes; name the primary server",
}
# The driver has no code for a connection that was refused: parts of the message.
REFUSALS = {
    "No space left on device": FULL,
    "too many clients": NO_CONNECTION,
    "remaining connection slots": NO_CONNECTION,
    "starting up": STARTING,
    "shutting down": STARTING,
    "not yet accepting connections": STARTING,
    "terminating connection": STOPPED,
    "closed the connection unexpectedly": STOPPED,
    "password": "correct the password in the variable that ETL_EVENT_LOG_PASSWORD_ENV names",
    "no pg_hba.conf entry": "let its pg_hba.conf accept this host and user",
    " does not exist": "create the user or the database that it names",
}
ELSE = "start it, or correct ETL_EVENT_LOG, then run again"

CREATE_OWNER = """\
create table if not exists etl_home (
    is_only boolean primary key default true check (is_only),
    id text not null,
    path text not null,
    host text not null,
    since timestamptz not null default now()
)"""


@dataclass(frozen=True, slots=True)
class Database:
    """The address of a database, and the password of its user."""

    url: str
    """Without the password, so it can be printed."""
    password: SecretStr | None = field(default=None, repr=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a connection, as libpq names them."""
        parts = urlsplit(self.url)
        parameters: dict[str, Any] = {
            "user": unquote(parts.username or ""),
            "host": unquote(parts.hostname or ""),
            "port": parts.port or DEFAULT_PORT,
            "dbname": unquote(parts.path.lstrip("/")),
            "connect_timeout": CONNECT_SECONDS,
            **CLIENT_KEEPALIVES,
            **dict(parse_qsl(parts.query)),
        }
        if self.password:
            parameters["password"] = self.password.get_secret_value()
        return parameters

    def connect(self, application: str) -> Connection:
        """Open a connection in autocommit mode; raises HomeError with the fault and the advice."""
        psycopg2 = import_driver()
        with postgres_errors(self.url):
            connection = psycopg2.connect(**self.parameters, application_name=application)
            connection.autocommit = True
            with connection.cursor() as cursor:
                for name, value in SERVER_KEEPALIVES.items():
                    cursor.execute(f"set {name} = {value}")
        return connection

    @contextmanager
    def cursor(self, application: str = "etl") -> Iterator[Cursor]:
        """Open a connection for the block, each statement of which is a transaction."""
        with (
            closing(self.connect(application)) as connection,
            postgres_errors(self.url),
            connection.cursor() as cursor,
        ):
            yield cursor


def check_url(url: str) -> str:
    """Return the URL of a database; raises ValueError if it is none, or has a password."""
    parts = urlsplit(url)
    shown = url if parts.password is None else url.replace(f":{parts.password}@", ":***@")
    if parts.password is not None:
        raise ValueError(
            "expected no password, but the name of its variable in ETL_EVENT_LOG_PASSWORD_ENV,"
            f" found {shown!r}"
        )
    try:
        is_complete = parts.username and parts.hostname and (parts.port or DEFAULT_PORT)
    except ValueError:  # the port is no number
        is_complete = False
    if parts.scheme != SCHEME or not is_complete or parts.path.count("/") != 1 or parts.path == "/":
        raise ValueError(f"expected an address such as {EXAMPLE}, found {shown!r}")
    return url


def import_driver() -> ModuleType:
    try:
        return import_module("psycopg2")
    except ImportError as error:
        raise SettingsError(
            "ETL_EVENT_LOG: expected the extra `postgres`, found that it is not installed: "
            f"{error}; install `etl-assets[postgres]`"
        ) from error


@contextmanager
def postgres_errors(url: str) -> Iterator[None]:
    """Turn an error of the driver into a HomeError that names the fault and what to do."""
    psycopg2 = import_driver()
    try:
        yield
    except psycopg2.Error as error:
        raise HomeError(describe_fault(url, error)) from error


def describe_fault(url: str, error: Exception) -> str:
    """Return the message for an error of the driver."""
    code = getattr(error, "pgcode", None)
    text = " ".join(str(error).split()) or "no message"
    if code:
        advice = FAULTS.get(code, ELSE)
    else:
        advice = next((each for part, each in REFUSALS.items() if part in text), ELSE)
    return f"{url}: expected a database that can be used, found: {text}; {advice}"


def require_owner(database: Database, home: Home) -> None:
    """Record that the event log belongs to this home; raises HomeError if it is another one's."""
    with database.cursor() as cursor:
        cursor.execute("select to_regclass('etl_home') is not null")
        if not cursor.fetchone()[0]:
            _create(cursor, CREATE_OWNER)
        cursor.execute("select id, path, host, since from etl_home")
        owner, own = cursor.fetchone(), read_home_id(home)
        if owner is None:
            own = own or _create_home_id(home)
            cursor.execute(
                "insert into etl_home (id, path, host) values (%s, %s, %s) on conflict do nothing",
                (own, str(home.root), socket.gethostname()),
            )
            cursor.execute("select id, path, host, since from etl_home")
            owner = cursor.fetchone()
    owner_id, path, host, since = owner
    if owner_id != own:
        raise HomeError(
            f"{database.url}: expected the event log of the home {home.root}, found that of the "
            f"home {path} on {host} since {since:%Y-%m-%d %H:%M}; name another database in "
            f"ETL_EVENT_LOG, or, if this is the same home, write {owner_id} to "
            f"{home.relative(home.identity)}"
        )


def _create(cursor: Cursor, statement: str) -> None:
    """Create a table; another process may create it at the same time."""
    psycopg2 = import_driver()
    try:
        cursor.execute(statement)
    except (psycopg2.errors.UniqueViolation, psycopg2.errors.DuplicateTable):
        cursor.execute(statement)


def read_home_id(home: Home) -> str | None:
    try:
        return str(json.loads(home.identity.read_bytes())["id"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HomeError(
            f"{home.identity}: expected the identity of the home, found: {error}; put it back from "
            "a copy"
        ) from error


def _create_home_id(home: Home) -> str | None:
    """Write an identity unless another host does so at the same time, and return what is there."""
    new = home.identity.with_name(f".{home.identity.name}.{secrets.token_hex(8)}.tmp")
    write_text(new, json.dumps({"id": secrets.token_hex(16)}) + "\n")
    try:
        home.identity.hardlink_to(new)  # unlike a rename, it replaces nothing
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        shutil.copyfile(new, home.identity)
    new.unlink()
    return read_home_id(home)


def has_event_log(database: Database) -> bool:
    """Return True if Dagster's tables exist; nothing is created."""
    with database.cursor() as cursor:
        cursor.execute("select to_regclass('event_logs') is not null")
        return bool(cursor.fetchone()[0])


def sqlalchemy_url(database: Database) -> str:
    """Return the URL with the password, for SQLAlchemy."""
    parameters = database.parameters
    user, password = quote(parameters.pop("user"), safe=""), parameters.pop("password", None)
    secret = f":{quote(password, safe='')}" if password else ""
    host, port, name = (parameters.pop(key) for key in ("host", "port", "dbname"))
    host = f"[{host}]" if ":" in host else host
    query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in parameters.items())
    return f"{DRIVER}://{user}{secret}@{host}:{port}/{quote(name, safe='')}?{query}"
