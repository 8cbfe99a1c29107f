"""A program that runs `etl` in forked children and crashes them on command; see `crashes.py`.

It loads all modules once, reads one JSON order per line, and answers each with the result of the
child. An action is taken at a write point: an audit event of a file call in Python below ETL_HOME.
Native code (DuckDB, SQLite, Arrow) raises no audit events. Its writes are interrupted by a limit on
file sizes that is set at a write point: the kernel then kills the child, or refuses the write.
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
# Index of the argument of each audit event that is the created, changed or removed file.
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
KINDS_BY_PREFIX = (
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
MODULES = (
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
    """Return the kind of a path relative to the home."""
    for prefix, kind in KINDS_BY_PREFIX:
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
    """True if the call creates a file or folder, which fails on a full disk."""
    if event not in NEEDS_SPACE:
        return False
    if event == "open" and args[2] & os.O_TRUNC:
        return True
    return not Path(args[TARGETS[event]]).exists()


class WritePoints:
    """The write points of this process, numbered within their kind; one triggers the action."""

    def __init__(self, home: Path, order: dict[str, Any], log: int) -> None:
        self._home = f"{home}/"
        self._kind, self._number, self._action = order["kind"], order["number"], order["action"]
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._log = log
        self._is_full = False

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        target = TARGETS.get(event)
        if target is None or not isinstance(args[target], str | os.PathLike):
            return
        path = os.fspath(args[target])
        if not path.startswith(self._home) or (event == "open" and not args[2] & WRITES):
            return
        kind = kind_of(path.removeprefix(self._home))
        with self._lock:
            self._seen[kind] += 1
            is_crash_point = (kind, self._seen[kind]) == (self._kind, self._number)
        os.write(self._log, f"{kind}\t{event}\t{path}\n".encode())
        if is_crash_point:
            ACTIONS[self._action](self)
        if self._is_full and takes_space(event, args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def fill(self) -> None:
        """Refuse to create files from now on."""
        self._is_full = True


def limit_files(size: int) -> None:
    """Limit the size of files from now on; a larger write is refused or kills the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


ACTIONS: dict[str, Callable[[WritePoints], None]] = {
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "interrupt": lambda _: os.kill(os.getpid(), signal.SIGINT),
    "terminate": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "fill": WritePoints.fill,
    "kill in the next write": lambda _: limit_files(0),
    "refuse beyond 20 kB": lambda _: limit_files(20_000),
    "kill beyond 100 kB": lambda _: limit_files(100_000),
    "refuse beyond 100 kB": lambda _: limit_files(100_000),
}


def drop_mode_override() -> None:
    """Drop the capabilities by which root ignores file modes, so that read-only applies to root."""
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


def run_order(order: dict[str, Any], output: int, log: int) -> None:
    """Run the command in the child, with an action at its crash point; never returns."""
    from etl_assets.cli.main import main

    home = Path(order["home"])
    os.chdir(home)  # where no ETL_HOME is set, the current directory is the home
    os.dup2(output, 1)
    os.dup2(output, 2)
    drop_mode_override()
    if order["action"].startswith("kill"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it by default
    sys.addaudithook(WritePoints(home, order, log).hook)
    try:
        main(order["command"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    else:
        code = 0
    exit_child(code)


def exit_child(code: int) -> None:
    """Exit the child, after printing the traceback of an exception that is being raised."""
    if sys.exc_info()[0]:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    for line in sys.stdin:
        output, log = os.pipe(), os.pipe()  # files would be subject to the limit on their size
        child = os.fork()
        if child == 0:
            try:
                run_order(json.loads(line), output[1], log[1])
            finally:
                exit_child(UNCAUGHT)
        code, texts = wait_for(child, [output[0], log[0]])
        for descriptor in (*output, *log):
            os.close(descriptor)
        points = [point.split("\t") for point in texts[1].splitlines()]
        answer = {"code": code, "output": texts[0], "points": points}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def wait_for(child: int, pipes: list[int]) -> tuple[int, list[str]]:
    """Return the exit code of the child, and the text that each pipe received."""
    received: dict[int, bytes] = dict.fromkeys(pipes, b"")
    status: int | None = None
    while status is None or select.select(pipes, [], [], 0)[0]:
        for ready in select.select(pipes, [], [], 0.02)[0]:
            received[ready] += os.read(ready, 1 << 16)
        if status is None:
            pid, code = os.waitpid(child, os.WNOHANG)
            status = code if pid else None
    return os.waitstatus_to_exitcode(status), [received[p].decode() for p in pipes]


def warm_up() -> None:
    """Import the modules of a run. Nothing is executed: threads would be missing in a child."""
    for name in MODULES:
        importlib.import_module(name)


if __name__ == "__main__":
    warm_up()
    serve()
