"""What a person says to a run; cheap to import, for the command reads it before anything heavy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Options:
    """How one run departs from the ordinary one."""

    sources: tuple[str, ...] = ()
    """Only these; empty for all."""
    force_refresh: bool = False
    """Fetch whatever the remotes say."""
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
