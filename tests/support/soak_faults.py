"""What goes wrong in a soak: lines of the table of faults, drawn at random by `soak.py`.

Remotes misbehave for one request or for a whole run, files hold what they should not, the disk is
full from some write on, and somebody deletes or edits what lies in the home.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from support import misbehaving_server as server_faults
from support.crash_process import TARGETS, WRITES, takes_space
from support.misbehaving_server import Fault, Handler
from support.orchard import DOMAIN, Orchard

Rows = list[dict[str, Any]]


# What remotes do. Each line of a table: its name, and what becomes of one well-made file.


def silent(handler: Handler, _file: object) -> None:
    """No answer until the client goes away."""
    with suppress(OSError):
        handler.connection.recv(1)
    handler.close_connection = True


def stalls(handler: Handler, file: server_faults.File) -> None:
    """Half of the body, then silence until the client goes away."""
    with suppress(OSError):
        server_faults._half(handler, file)
        handler.connection.recv(1)
    handler.close_connection = True


# One such answer, and then the file is served well: the run takes the new file.
PASSING: dict[str, Fault] = {
    "reset in mid-body": server_faults.resets_midway,
    "body shorter than promised": server_faults.closes_early,
    "body longer than promised": server_faults.sends_more,
    "no answer": silent,
    "silence in mid-body": stalls,
    "500": server_faults.answers(500),
    "503": server_faults.answers(503),
    "429, try at once": server_faults.answers(429, Retry_After="0"),
}
# Such answers for as long as the run lasts: the last good file stands in.
LASTING: dict[str, Fault] = {
    "503 for ever": server_faults.answers(503),
    "403": server_faults.answers(403),
    "404 of what was held": server_faults.answers(404),
    "410": server_faults.answers(410),
    "always shorter than promised": server_faults.closes_early,
    "no answer at all": silent,
    "login page": server_faults.asks_for_login,
    "empty body": server_faults.sends_nothing,
    "half a file as if whole": server_faults.cuts_off,
    "redirect to a file": server_faults.redirects("file:///etc/hostname"),
    "redirect to nowhere": server_faults.redirects("/nowhere"),
}


def once_at_get(fault: Fault) -> Fault:
    """The fault at the first GET; after it, and at every HEAD, the file is served well."""
    left = [fault]

    def passing(handler: Handler, file: server_faults.File | None) -> None:
        chosen = left.pop() if left and handler.command == "GET" else server_faults.serves_well
        chosen(handler, file)

    return passing


def rejected_rows(name: str, data: bytes) -> bytes:
    """A few rows that break the contract: they are set aside and the rest stands."""
    if name == "trees":
        broken = [{"tree_id": "oak", "kind": "pear"}, {"tree_id": "T-1", "kind": "twice"}]
        return _trees(json.loads(gzip.decompress(data))["trees"] + broken)
    if name == "harvests":
        return data + b"T-1,1890,5\nT-2,2025\nT-3,soon,4\n"
    return json.dumps(json.loads(data) | {"oak": {"note": "no such id"}}).encode()


def too_many_rejected(name: str, data: bytes) -> bytes:
    """More than the declared share of rows breaks the contract: the last table stands."""
    if name == "trees":
        rows = json.loads(gzip.decompress(data))["trees"]
        return _trees(
            [row | {"tree_id": f"oak{n}"} if n % 2 else row for n, row in enumerate(rows)]
        )
    if name == "harvests":
        lines = data.decode().splitlines()
        return "\n".join([*lines, *["T-1,-1,-1"] * len(lines), ""]).encode()
    notes = json.loads(data)
    return json.dumps(notes | {f"oak{n}": {"note": "x"} for n in range(len(notes) + 1)}).encode()


def truncated(_name: str, data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def no_records(name: str, _data: bytes) -> bytes:
    return gzip.compress(b'{"trees": []}', mtime=0) if name == "trees" else b"{}"


def too_large(_name: str, data: bytes) -> bytes:
    return data + b" " * 120_000


def with_markup(name: str, data: bytes) -> bytes:
    """Text that is opaque to all but those who render it: taken as it is."""
    if name == "trees":
        rows = json.loads(gzip.decompress(data))["trees"]
        return _trees([*rows, {"tree_id": "T-7777", "kind": "<script>'; drop table x --\u202e"}])
    if name == "harvests":
        return data + b"T-7777,2024,3\n"
    return json.dumps(json.loads(data) | {"T-1": {"note": '=cmd|"../../etc"'}}).encode()


CONTENT: dict[str, tuple[Callable[[str, bytes], bytes], bool]] = {
    "some bad rows": (rejected_rows, True),
    "markup and quotes": (with_markup, True),
    "too many bad rows": (too_many_rejected, False),
    "truncated file": (truncated, False),
    "no records": (no_records, False),
    "larger than the limit": (too_large, False),
}
ALL_FAULTS = sorted([*PASSING, *LASTING, *CONTENT])


# What the machine does.


class Disk:
    """A disk that is full from some write on, once it is told so; as far as Python's calls see."""

    def __init__(self, home: Path) -> None:
        self._home = f"{home}/"
        self._writes_left: int | None = None
        self.refused = 0
        sys.addaudithook(self._hook)

    def fills_after(self, writes: int | None) -> None:
        """So many writes find room from now on; None for any number."""
        self._writes_left, self.refused = writes, 0

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self._writes_left is None or event not in TARGETS:
            return
        path = args[TARGETS[event]]
        is_ours = isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._home)
        if not is_ours or (event == "open" and not args[2] & WRITES):
            return
        if not takes_space(event, args):
            return
        self._writes_left -= 1
        if self._writes_left < 0:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))


def damage_raw(orchard: Orchard, chance: random.Random) -> None:
    file = _current_raw(orchard, chance)
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[::-1])


def lose_raw(orchard: Orchard, chance: random.Random) -> None:
    _current_raw(orchard, chance).unlink()


def _current_raw(orchard: Orchard, chance: random.Random) -> Path:
    """A stored file that the published set was made of; older ones are asked for by nobody."""
    manifest = json.loads((orchard.latest / "manifest.json").read_bytes())
    return orchard.home.raw_file(chance.choice(manifest["sources"])["sha256"])


def lose_table(orchard: Orchard, chance: random.Random) -> None:
    chance.choice(sorted(orchard.home.tables(DOMAIN).rglob("*.parquet"))).unlink()


def lose_warehouse(orchard: Orchard, _chance: random.Random) -> None:
    orchard.home.warehouse(DOMAIN).unlink()


def lose_mart(orchard: Orchard, _chance: random.Random) -> None:
    (orchard.latest / "marts" / "mart_trees.parquet").unlink()


HARM: dict[str, Callable[[Orchard, random.Random], None]] = {
    "stored file edited": damage_raw,
    "stored file deleted": lose_raw,
    "table deleted": lose_table,
    "warehouse deleted": lose_warehouse,
    "published mart deleted": lose_mart,
}


def _trees(rows: Rows) -> bytes:
    return gzip.compress(json.dumps({"trees": rows}).encode(), mtime=0)
