"""One measured piece of work in a process of its own: `python -m bench.child WORK FROM TARGET`.

Prints the CPU seconds of the work alone, without imports, and its rows, as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

SYSTEMS = 3_000_000

WORKS: dict[str, tuple[str, Callable[..., Callable[[Path, Path], int]]]] = {
    "bare-nvd": ("bench.bare", lambda module: module.nvd),
    "bare-osv": ("bench.bare", lambda module: module.osv),
    "bare-systems": ("bench.bare", lambda module: module.systems),
    "echo": ("bench.ours", lambda m: lambda a, b: m.table("advisories.echo", a, b)),
    "nvd": ("bench.ours", lambda m: lambda a, b: m.table("advisories.nvd", a, b)),
    "nvd-largest": ("bench.ours", lambda m: lambda a, b: m.table("advisories.nvd", a, b, last=1)),
    "lay": ("bench.decisions", lambda module: module.lay),
    "lay-tenfold": ("bench.decisions", lambda m: lambda a, b: m.lay(a, b, copies=10)),
    "decide": ("bench.decisions", lambda module: module.decide),
    "document": ("bench.decisions", lambda module: module.document),
    "dump-1": ("bench.galaxy", lambda m: lambda _, b: m.write(b / m.PLACE, SYSTEMS)),
    "dump-10": ("bench.galaxy", lambda m: lambda _, b: m.write(b / m.PLACE, SYSTEMS // 10)),
    "systems": ("bench.ours", lambda m: lambda a, b: m.tables("galaxy", a, b)),
    "workbooks": ("bench.ours", lambda m: lambda a, b: m.tables("molding", a, b)),
    "osv": ("bench.ours", lambda m: lambda a, b: m.table("advisories.osv", a, b)),
}


def main(work: str, source: str, target: str) -> None:
    """Do the work once and print its cost; `source` is a mirror, or a home that has run."""
    module, choose = WORKS[work]
    do = choose(import_module(module))
    before = time.process_time()
    rows = do(Path(source), Path(target))
    print(json.dumps({"cpu_seconds": time.process_time() - before, "rows": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
