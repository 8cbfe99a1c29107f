"""The faults of a soak, from which `soak.py` draws at random.

Remotes fail for one request or for a whole run, files have invalid content, the disk becomes full,
and files of the home are deleted or edited.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from support import misbehaving_server as server_faults
from support.crash_process import TARGETS, WRITES, takes_space
from support.damage import flip
from support.misbehaving_server import Fault, Handler
from support.orchard import DOMAIN, Orchard

Rows = list[dict[str, Any]]


# Faults of remotes: what happens to the response with a correct file.


def silent(handler: Handler, _file: object) -> None:
    """No response until the client disconnects."""
    with suppress(OSError):
        handler.connection.recv(1)
    handler.close_connection = True


def stalls(handler: Handler, file: server_faults.File) -> None:
    """Half of the body, then silence until the client disconnects."""
    with suppress(OSError):
        server_faults._half(handler, file)
        handler.connection.recv(1)
    handler.close_connection = True


# One such response, then a correct one: the run accepts the new file.
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
# Such responses for the whole run: the last good file is used.
LASTING: dict[str, Fault] = {
    "503 for ever": server_faults.answers(503),
    "403": server_faults.answers(403),
    "404 for a fetched file": server_faults.answers(404),
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
    """Return a fault of the first GET; later GETs and every HEAD are answered correctly."""
    remaining = [fault]

    def passing(handler: Handler, file: server_faults.File | None) -> None:
        is_faulty = bool(remaining) and handler.command == "GET"
        respond = remaining.pop() if is_faulty else server_faults.serves_well
        respond(handler, file)

    return passing


def rejected_rows(name: str, data: bytes) -> bytes:
    """Add a few rows that break the contract: they are rejected, the others are used."""
    if name == "trees":
        broken = [{"tree_id": "oak", "kind": "pear"}, {"tree_id": "T-1", "kind": "twice"}]
        return _trees(json.loads(gzip.decompress(data))["trees"] + broken)
    if name == "harvests":
        return data + b"T-1,1890,5\nT-2,2025\nT-3,soon,4\n"
    return json.dumps(json.loads(data) | {"oak": {"note": "no such id"}}).encode()


def too_many_rejected(name: str, data: bytes) -> bytes:
    """Add more invalid rows than the declared share: the last table is used."""
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
    """Add text with markup, which is used as it is."""
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


# Faults of the machine.


class Disk:
    """A disk that becomes full after a number of writes, for the file calls of Python."""

    def __init__(self, home: Path) -> None:
        self._home = f"{home}/"
        self._writes_left: int | None = None
        self.refused = 0
        sys.addaudithook(self._hook)

    def fills_after(self, writes: int | None) -> None:
        """Allow this number of writes from now on; None for any number."""
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
    """Return a raw file of the published set; older ones are not read again."""
    manifest = json.loads((orchard.latest / "manifest.json").read_bytes())
    return orchard.home.raw_file(chance.choice(manifest["sources"])["sha256"])


def lose_table(orchard: Orchard, chance: random.Random) -> None:
    chance.choice(sorted(orchard.home.tables(DOMAIN).rglob("*.parquet"))).unlink()


def lose_warehouse(orchard: Orchard, _chance: random.Random) -> None:
    orchard.home.warehouse(DOMAIN).unlink()


def lose_mart(orchard: Orchard, _chance: random.Random) -> None:
    (orchard.latest / "marts" / "mart_trees.parquet").unlink()


def flip_table(orchard: Orchard, chance: random.Random) -> None:
    flip(chance.choice(sorted(orchard.home.tables(DOMAIN).rglob("*.parquet"))))


def flip_published_file(orchard: Orchard, chance: random.Random) -> None:
    flip(chance.choice(sorted(path for path in orchard.latest.rglob("*") if path.is_file())))


def lose_latest(orchard: Orchard, _chance: random.Random) -> None:
    orchard.home.latest(DOMAIN).unlink()


def lose_outputs(orchard: Orchard, _chance: random.Random) -> None:
    shutil.rmtree(orchard.home.outputs(DOMAIN))


def lose_manifests(orchard: Orchard, chance: random.Random) -> None:
    chance.choice(sorted(orchard.home.manifests.glob(f"{DOMAIN}_*"))).unlink()


def lose_event_index(orchard: Orchard, _chance: random.Random) -> None:
    (orchard.home.dagster / "history" / "runs" / "index.db").unlink()


DAMAGE: dict[str, Callable[[Orchard, random.Random], None]] = {
    "stored file edited": damage_raw,
    "stored file deleted": lose_raw,
    "table deleted": lose_table,
    "warehouse deleted": lose_warehouse,
    "published mart deleted": lose_mart,
    "table with another byte": flip_table,
    "published file with another byte": flip_published_file,
    "link to the published set deleted": lose_latest,
    "run directories deleted": lose_outputs,
    "file of the ledger deleted": lose_manifests,
    "index of the event log deleted": lose_event_index,
}


def _trees(rows: Rows) -> bytes:
    return gzip.compress(json.dumps({"trees": rows}).encode(), mtime=0)
