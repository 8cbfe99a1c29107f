"""A PostgreSQL server for tests: Debian's programs, run on loopback as an ordinary user."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from etl_assets.storage.postgres import Database

USER, PASSWORD = "etl", "green@house:1/2"  # characters that a URL has to quote
START_SECONDS = 60
# https://www.postgresql.org/docs/current/server-shutdown.html
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT


def find_programs() -> Path | None:
    """The folder with `initdb` and `postgres` of the newest version, or None."""
    on_path = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    folders += [Path(on_path).parent] if on_path else []
    found = [f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()]
    return found[-1] if found else None


class PostgresServer:
    """One cluster in a folder of its own, which a test may stop and start again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._names = count(1)
        self.port = _free_port()
        # The programs refuse to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._initialize()
        self.start()

    def start(self, *, max_file_bytes: int | None = None, **settings: object) -> None:
        """Start it; a file that would grow beyond the limit is to it what a full disk is."""

        def limit_files() -> None:
            if max_file_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

        options = {"max_connections": 60, **settings}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *arguments],
                user=self._user,
                group=self._group,
                extra_groups=[] if self._user else None,
                cwd=self._folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=limit_files,  # noqa: PLW1509 - it only makes a system call
            )
        _wait_for(self.database("postgres"), self._process)

    def stop(self, mode: signal.Signals = FAST) -> None:
        if self._process:
            self._process.send_signal(mode)
            self._process.wait()
        self._process = None

    def restart(self, mode: signal.Signals = IMMEDIATE) -> None:
        self.stop(mode)
        self.start()

    def create_database(self) -> Database:
        name = f"plants_{next(self._names)}"
        with self.database("postgres").cursor() as cursor:
            cursor.execute(f"create database {name}")
        return self.database(name)

    def database(self, name: str) -> Database:
        url = f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"
        return Database(url, SecretStr(PASSWORD))

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _group(self) -> int | None:
        return pwd.getpwnam(self._user).pw_gid if self._user else None

    def _initialize(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if self._user:
            shutil.chown(password, self._user)
        subprocess.run(
            [
                *(self._programs / "initdb", "-D", self._data, "-U", USER, "-E", "UTF8"),
                *("--locale=C", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"),
            ],
            user=self._user,
            group=self._group,
            extra_groups=[] if self._user else None,
            cwd=self._folder,
            check=True,
            capture_output=True,
        )
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nfsync = off\n"
                f"unix_socket_directories = '{self._folder}'\nshared_buffers = '16MB'\n"
            )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _wait_for(database: Database, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers; fails if its process ends before."""
    deadline = time.monotonic() + START_SECONDS
    while not _answers(database):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _answers(database: Database) -> bool:
    try:
        psycopg2.connect(**database.parameters).close()
    except psycopg2.OperationalError:
        return False
    return True


@contextmanager
def pooler(server: PostgresServer, database: Database, mode: str) -> Iterator[Database]:
    """Run PgBouncer in front of the server; yields the database at its address."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("needs PgBouncer, found none; on Debian: apt-get install pgbouncer")
    with tempfile.TemporaryDirectory(prefix="etl-pool-", dir="/tmp") as folder:
        port = _free_port()
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={server.port} user={USER} password='{PASSWORD}'",
            "[pgbouncer]",
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
            f"auth_type = any\npool_mode = {mode}\nlogfile = {folder}/log",
        ]
        (Path(folder) / "pgbouncer.ini").write_text("\n".join([*lines, ""]), encoding="utf-8")
        user = "nobody" if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        with subprocess.Popen(
            [program, "-q", "pgbouncer.ini"],
            user=user,
            extra_groups=[] if user else None,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                pooled = Database(database.url.replace(f":{server.port}/", f":{port}/"))
                _wait_for(pooled, process)
                yield pooled
            finally:
                process.terminate()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of this process; a test that stops it starts it again."""
    programs = find_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL, found no initdb; on Debian: apt-get install postgresql")
    # Not in the folder of the tests, which other users cannot enter.
    with tempfile.TemporaryDirectory(prefix="etl-pg-", dir="/tmp") as folder:
        server = PostgresServer(programs, Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def database(postgres_server: PostgresServer) -> Database:
    """An empty database."""
    return postgres_server.create_database()
