"""The mark that a domain's warehouse is what the event log says; a build cut off leaves none.

What is built in the warehouse is `etl_assets.marts.dbt`'s.
"""

from __future__ import annotations

from pathlib import Path

from etl_assets.model.home import Home
from etl_assets.storage.atomic_write import write_text

MAGIC = slice(8, 12)


def mark_complete(home: Home, domain: str) -> None:
    write_text(home.whole_marker(domain), "")


def unmark(home: Home, domain: str) -> None:
    home.whole_marker(domain).unlink(missing_ok=True)


def is_complete(home: Home, domain: str) -> bool:
    """Whether it is marked, and a database by its first bytes: another file is built over."""
    return home.whole_marker(domain).exists() and _is_database(home.warehouse(domain))


def _is_database(path: Path) -> bool:
    """By the magic bytes of https://duckdb.org/docs/stable/internals/storage."""
    try:
        with path.open("rb") as file:
            return file.read(MAGIC.stop)[MAGIC] == b"DUCK"
    except OSError:
        return False


def discard(home: Home, domain: str) -> None:
    """Remove the warehouse; a build of all models makes it anew."""
    file = home.warehouse(domain)
    for path in (file, file.with_name(f"{file.name}.wal")):
        path.unlink(missing_ok=True)
