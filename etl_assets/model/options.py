"""What a person says to a run; cheap to import, for the command reads it before anything heavy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """How one run departs from the ordinary one."""

    sources: tuple[str, ...] = ()
    """Only these; empty for all."""
    force_refresh: bool = False
    """Fetch whatever the remotes say."""
    skip_existing: bool = False
    """Ask for nothing of which a file is held."""
    accept_changes: bool = False
    """Take what a limit refused, after a person has looked at it."""
    as_of: datetime | None = None
    """The run's logical time; None for its start."""
    notify: bool = True
    """Tell the targets of `ETL_NOTIFY` where the run is news."""
    max_retries: int | None = None
    """Further attempts at each file in the place of what is declared."""
    wait: bool = True
    """For another run of the domain to end; else refuse to start."""
    output_dir: Path | None = None
    """Where a copy of the published set is to lie, too."""

    def contradictions(self) -> Iterator[str]:
        """What was said that cannot be done together; nothing where all is well."""
        if self.force_refresh and self.skip_existing:
            yield "--force-refresh: expected it or --skip-existing, found both"


ORDINARY = Options()
