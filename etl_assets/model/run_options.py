"""What a person says to a run; cheap to import, for the command reads it before anything heavy."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from etl_assets.model.stage import OF_SOURCES, WHOLE, Stage, StageRange


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How one run departs from the ordinary one."""

    sources: tuple[str, ...] = ()
    """Only these; empty for all."""
    stages: StageRange = WHOLE
    """The stages that take part; what is before them is taken as it stands."""
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
        if self.sources and self.stages.first not in OF_SOURCES:
            yield f"--source: expected one of the stages {_named(OF_SOURCES)}, found {self.stages}"
        if self.accept_changes and not REFUSING & set(self.stages):
            yield f"--accept-changes: expected {_named(REFUSING)}, found {self.stages}"
        if self.output_dir and not self.stages.publishes:
            yield f"--output-dir: expected a run that publishes, found {self.stages}"
        asking = {
            "--force-refresh": self.force_refresh,
            "--skip-existing": self.skip_existing,
            "--max-retries": self.max_retries is not None,
        }
        for word in (word for word, is_said in asking.items() if is_said):
            if not self.stages.asks:
                yield f"{word}: expected a run that asks the remotes, found {self.stages}"


ORDINARY = RunOptions()
REFUSING = frozenset({Stage.TABLE, Stage.PUBLISH})  # they have limits that a person may overrule


def _named(stages: AbstractSet[Stage]) -> str:
    return ", ".join(stage for stage in Stage if stage in stages)
