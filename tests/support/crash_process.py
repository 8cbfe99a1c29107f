"""A program that runs `etl` in forked children and breaks them on command; see `crashing.py`.

It loads all modules once, then reads one order per line (JSON) and answers each with what became
of the child. A child stops at a write point: an audit event of Python's own file calls below
ETL_HOME. What native code writes between two points (DuckDB, SQLite, Arrow) is stopped by a limit
on file sizes that is set at a point: the kernel then kills or refuses in the middle of a write.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# The argument of each audit event that names the file that comes, changes or goes.
TARGETS = {
    "open": 0,
    "os.rename": 1,
    "os.mkdir": 0,
    "os.link": 1,
    "os.symlink": 1,
    "os.remove": 0,
    "os.rmdir": 0,
    "sqlite3.connect": 0,
}
NEEDS_SPACE = frozenset({"open", "os.mkdir", "os.link", "os.symlink"})
UNCAUGHT = 99
CAPABILITY_VERSION_3 = 0x20080522
MODE_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
PLACES = (
    ("data/partial/", "download"),
    ("data/raw/", "raw file"),
    ("data/quarantine/", "quarantine"),
    ("data/tables/", "table"),
    ("data/rejects/", "rejects"),
    ("data/warehouse/", "warehouse"),
    ("data/", "lock"),
    ("manifests/", "ledger"),
    (".dagster/", "event log"),
)
LOADED = (
    "etl_assets.cli.main",
    "etl_assets.operations.run",
    "etl_assets.defs.definitions",
    "etl_assets.tables.readers.csv_text",
    "etl_assets.tables.readers.json_document",
    "dagster._core.execution.api",
    "dbt.cli.main",
    "dbt.adapters.duckdb",
)


def kind_of(path: str) -> str:
    """What a path below the home is, by the places of `Home`."""
    for prefix, kind in PLACES:
        if path.startswith(prefix):
            return kind
    name = path.rpartition("/")[2].lstrip(".")
    for start, kind in (
        ("latest", "latest"),
        ("manifest.json", "manifest"),
        ("SHA256SUMS", "sums"),
    ):
        if name.startswith(start):
            return kind
    return "run directory"


def takes_space(event: str, args: tuple[Any, ...]) -> bool:
    """Whether the call makes something new, which a full disk refuses."""
    if event not in NEEDS_SPACE:
        return False
    if event == "open" and args[2] & os.O_TRUNC:
        return True
    return not Path(args[TARGETS[event]]).exists()


class Points:
    """The write points of this process, numbered within their kind; one of them is fatal."""

    def __init__(self, home: Path, order: dict[str, Any], log: int) -> None:
        self._home = f"{home}/"
        self._kind, self._number, self._how = order["kind"], order["number"], order["how"]
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._log = log
        self._is_full = False

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        place = TARGETS.get(event)
        if place is None or not isinstance(args[place], str | os.PathLike):
            return
        path = os.fspath(args[place])
        if not path.startswith(self._home) or (event == "open" and not args[2] & WRITES):
            return
        kind = kind_of(path.removeprefix(self._home))
        with self._lock:
            self._seen[kind] += 1
            is_fatal = (kind, self._seen[kind]) == (self._kind, self._number)
        os.write(self._log, f"{kind}\t{event}\t{path}\n".encode())
        if is_fatal:
            STRIKES[self._how](self)
        if self._is_full and takes_space(event, args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def fill(self) -> None:
        """From here on nothing new finds room."""
        self._is_full = True


def limit_files(size: int) -> None:
    """From here on no file grows beyond a size; trying to is refused, or the end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


STRIKES: dict[str, Callable[[Points], None]] = {
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "interrupt": lambda _: os.kill(os.getpid(), signal.SIGINT),
    "terminate": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "fill": Points.fill,
    "kill in the next write": lambda _: limit_files(0),
    "refuse beyond 20 kB": lambda _: limit_files(20_000),
    "kill beyond 100 kB": lambda _: limit_files(100_000),
    "refuse beyond 100 kB": lambda _: limit_files(100_000),
}


def bow_to_modes() -> None:
    """Give up root's right to pass over permissions, so that a read-only directory is one."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of 32 capabilities, twice
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~MODE_OVERRIDES
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def obey(order: dict[str, Any], told: int, log: int) -> None:
    """In the child: the command in its home, with a fault at a point; never returns."""
    from etl_assets.cli.main import main

    home = Path(order["home"])
    os.chdir(home)  # where no ETL_HOME is set, the current directory is the home
    os.dup2(told, 1)
    os.dup2(told, 2)
    bow_to_modes()
    if order["how"].startswith("kill"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, to be told by errno
    sys.addaudithook(Points(home, order, log).hook)
    try:
        main(order["command"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    else:
        code = 0
    end(code)


def end(code: int) -> None:
    """End the child; an error on its way up is told like any that nobody caught."""
    if sys.exc_info()[0]:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    for line in sys.stdin:
        told, log = os.pipe(), os.pipe()  # no files: a limit on their size would silence the child
        child = os.fork()
        if child == 0:
            try:
                obey(json.loads(line), told[1], log[1])
            finally:
                end(UNCAUGHT)
        code, texts = watch(child, [told[0], log[0]])
        for end_of_pipe in (*told, *log):
            os.close(end_of_pipe)
        points = [point.split("\t") for point in texts[1].splitlines()]
        answer = {"code": code, "told": texts[0], "points": points}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def watch(child: int, pipes: list[int]) -> tuple[int, list[str]]:
    """How the child ended, and what came through each pipe until then."""
    found: dict[int, bytes] = dict.fromkeys(pipes, b"")
    status: int | None = None
    while status is None or select.select(pipes, [], [], 0)[0]:
        for ready in select.select(pipes, [], [], 0.02)[0]:
            found[ready] += os.read(ready, 1 << 16)
        if status is None:
            ended, code = os.waitpid(child, os.WNOHANG)
            status = code if ended else None
    return os.waitstatus_to_exitcode(status), [found[p].decode() for p in pipes]


def warm_up() -> None:
    """Load what a run loads. Nothing is done: a child would lack the threads that work leaves."""
    for name in LOADED:
        importlib.import_module(name)


if __name__ == "__main__":
    warm_up()
    serve()
