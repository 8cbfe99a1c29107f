"""The mark that a domain's warehouse is what the event log says; a build cut off leaves none.

What is built in the warehouse is `etl_assets.io.dbt`'s.
"""

from __future__ import annotations

from etl_assets.io.files import write_text
from etl_assets.model.home import Home


def mark_whole(home: Home, domain: str) -> None:
    write_text(home.whole_marker(domain), "")


def unmark(home: Home, domain: str) -> None:
    home.whole_marker(domain).unlink(missing_ok=True)


def is_whole(home: Home, domain: str) -> bool:
    return home.whole_marker(domain).exists() and home.warehouse(domain).exists()


def discard(home: Home, domain: str) -> None:
    """Remove the warehouse; a build of all models makes it anew."""
    file = home.warehouse(domain)
    for path in (file, file.with_name(f"{file.name}.wal")):
        path.unlink(missing_ok=True)
