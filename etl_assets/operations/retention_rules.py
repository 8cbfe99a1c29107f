"""What retention lets go: versions of a part, and directories of runs.

Only choosing belongs here, from what is known of each; who needs a file whatever its age, the
caller knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from pathlib import Path

from etl_assets.declarations.domain import Retention
from etl_assets.model.records import RawFile


def versions_to_remove(
    versions: Sequence[RawFile], retention: Retention, now: datetime
) -> Iterator[tuple[RawFile, str]]:
    """Versions beyond the declared count or age, with why; they come in newest first.

    A version's age counts from the day on which the next one took its place.
    """
    for number, version in enumerate(versions[1:], start=1):
        replaced_at = versions[number - 1].fetched_at
        if number >= retention.versions:
            yield version, f"beyond {retention.versions} versions"
        elif (now - replaced_at).days >= retention.days:
            yield version, f"replaced {(now - replaced_at).days} days ago"


def runs_to_remove(
    directories: Sequence[Path], retention: Retention, needed: AbstractSet[Path]
) -> list[Path]:
    """Directories beyond the declared count that nobody needs; they come in newest first."""
    return [path for path in directories[retention.keep_runs :] if path not in needed]
