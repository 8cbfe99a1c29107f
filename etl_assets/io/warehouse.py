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
    return home.whole_marker(domain).exists()
