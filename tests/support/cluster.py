"""A cluster for tests on loopback: PostgreSQL, Redis, Celery workers and Dagster's daemon.

Each worker has its own mount, process and host name space where the system permits it, its own
folder for scratch, and a private file in the place of the lock of the home. So nothing but the
database and the files of the home is shared.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg2
import pytest
from support.orchard import Orchard
from support.postgres import PASSWORD, PostgresServer
from support.sample_home import SampleHome

from etl_assets.storage.postgres import Database

VARIABLE = "ORCHARD_EVENTS_PASSWORD"
START_SECONDS = 120
APPLICATION = "etl_assets.defs.workers.celery_app"
SPACES = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]


def wait_until(condition: Callable[[], object], *, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


class RedisServer:
    """A Redis that keeps its queue on disk, and that a test may stop and start again."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count()
        self.port = free_port()
        self.start()

    def create_queue(self) -> str:
        """Return the address of an empty database of the sixteen that there are."""
        return f"redis://127.0.0.1:{self.port}/{next(self._numbers)}"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self._process = subprocess.Popen(
            [self._program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith(b"+PONG")
        except OSError:
            return False


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs Redis, found none; on Debian: apt-get install redis-server")
    with TemporaryDirectory(prefix="etl-redis-", dir="/tmp") as folder:
        server = RedisServer(program, Path(folder))
        try:
            yield server
        finally:
            server.stop()


def has_name_spaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*SPACES, "true"], check=False, capture_output=True).returncode == 0


@dataclass
class Process:
    """A program of the cluster with all its children, and the file that has what it prints."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        for pid in reversed(list_tree(self.process.pid)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def end(self) -> None:
        if self.process.poll() is None:
            self.kill()


def list_tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    pids = [pid]
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return pids
    for child in children:
        pids += list_tree(int(child))
    return pids


@dataclass
class Cluster:
    """A home whose runs are executed by workers."""

    folder: Path
    orchard: Orchard | SampleHome
    database: Database
    redis: RedisServer
    postgres: PostgresServer
    broker: str
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def environment(self) -> dict[str, str]:
        settings = self.orchard.settings
        own = {
            "ETL_HOME": settings.home,
            "ETL_MIRROR": settings.mirror,
            "ETL_DOMAINS_DIR": settings.domains_dir,
            "ETL_DBT_DIR": settings.dbt_dir,
            "ETL_EVENT_LOG": self.database.url,
            "ETL_EVENT_LOG_PASSWORD_ENV": VARIABLE,
            "ETL_LAUNCHER": "celery",
            "ETL_BROKER": self.broker,
            "ETL_SCRATCH": self.folder / "scratch",
            VARIABLE: PASSWORD,
            "PYTHONUNBUFFERED": "1",
        }
        variables = {name: str(value) for name, value in own.items()}
        return {**os.environ, **variables}  # noqa: TID251 - of children

    def start(
        self,
        name: str,
        arguments: list[str],
        *,
        environment: Mapping[str, str] | None = None,
        prefix: list[str] | None = None,
    ) -> Process:
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [*(prefix or []), *arguments],
                env={**self.environment, **(environment or {})},
                cwd=self.folder,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        started = Process(process, log)
        self._stack.callback(started.end)
        return started

    def start_worker(self, name: str, **environment: str) -> Process:
        """Start a worker, and wait until it takes runs."""
        scratch = self.folder / f"scratch-{name}"
        own = {"ETL_SCRATCH": str(scratch), **environment}
        celery = [sys.executable, "-m", "celery", "-A", APPLICATION, "worker", "-l", "INFO"]
        celery += ["-n", f"{name}@%h"]
        prefix: list[str] = []
        if has_name_spaces():
            lock, private = (
                self.orchard.home.lock(self.orchard.domain.name),
                self.folder / f"{name}.lock",
            )
            for file in (lock, private):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            script = f'hostname {name} && mount --bind {private} {lock} && exec "$@"'
            prefix = [*SPACES, "sh", "-c", script, "sh"]
        worker = self.start(name, celery, environment=own, prefix=prefix)
        wait_until(lambda: f"{name}@" in worker.text() and " ready." in worker.text())
        return worker

    def start_daemon(self) -> Process:
        arguments = [sys.executable, "-m", "dagster._daemon", "run"]
        home = {"DAGSTER_HOME": str(self.orchard.settings.dagster_home)}
        module = ["-m", "etl_assets.definitions"]
        return self.start("daemon", arguments + module, environment=home)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "etl_assets.cli.main"]

    def start_command(self, *arguments: str, name: str = "command") -> Process:
        return self.start(name, [*self.command, *arguments])

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
        )

    def query(self, statement: str) -> list[tuple[object, ...]]:
        try:
            with self.database.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        except psycopg2.Error:
            return []

    def close(self) -> None:
        self._stack.close()


@contextmanager
def open_cluster(
    folder: Path, home: Orchard | SampleHome, postgres: PostgresServer, redis: RedisServer
) -> Iterator[Cluster]:
    database = postgres.create_database()
    cluster = Cluster(folder, home, database, redis, postgres, redis.create_queue())
    try:
        yield cluster
    finally:
        cluster.close()
