"""The options of one run, and the stages that it can be limited to.

The command reads this module before anything heavy, so it imports nothing heavy itself.
Which asset belongs to which stage is in `defs.asset_keys`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import Field, dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from etl_assets.model.errors import UsageError


class Stage(StrEnum):
    """One stage of a run, in the order of the data: each reads what the one before it made."""

    RAW = "raw"
    VALIDATED = "validated"
    TABLE = "table"
    MARTS = "marts"
    PUBLISH = "publish"


MAX_AHEAD = timedelta(days=1)  # of a logical time before the clock
STAGES = tuple(Stage)
SOURCE_STAGES = frozenset({Stage.RAW, Stage.VALIDATED, Stage.TABLE})
STAGES_WITH_LIMITS = frozenset({Stage.TABLE, Stage.PUBLISH})  # `--accept-changes` overrides them


@dataclass(frozen=True, slots=True)
class StageRange:
    """The stages from `first` to `last`, both included; all of them by default."""

    first: Stage = Stage.RAW
    last: Stage = Stage.PUBLISH

    @classmethod
    def spanning(cls, stages: Iterable[Stage]) -> StageRange:
        """Returns the shortest range that includes all of the stages, of which there is one."""
        in_order = sorted(stages, key=STAGES.index)
        return cls(in_order[0], in_order[-1])

    def __iter__(self) -> Iterator[Stage]:
        return iter(STAGES[STAGES.index(self.first) : STAGES.index(self.last) + 1])

    def __str__(self) -> str:
        return f"stage {self.first}" if self.is_single else f"stages {self.first} to {self.last}"

    @property
    def is_single(self) -> bool:
        return self.first is self.last

    @property
    def contacts_remotes(self) -> bool:
        return Stage.RAW in self

    @property
    def publishes(self) -> bool:
        return Stage.PUBLISH in self


ALL_STAGES = StageRange()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How one run differs from the default one.

    The metadata `stages` names the stages whose steps take the option as their config.
    """

    sources: tuple[str, ...] = ()
    """Run these sources only; empty for all."""
    stages: StageRange = ALL_STAGES
    """Run these stages only; the results of earlier stages are used as they are."""
    force_refresh: bool = field(default=False, metadata={"stages": {Stage.RAW}})
    """Download every file, even if the remote reports no change."""
    skip_existing: bool = field(default=False, metadata={"stages": {Stage.RAW}})
    """Do not probe a part that already has a stored file."""
    full: bool = field(default=False, metadata={"stages": {Stage.MARTS, Stage.PUBLISH}})
    """Build every model whole, compare with what builds for changed keys have made, and take over
    no parts of published documents."""
    accept_changes: bool = field(default=False, metadata={"stages": STAGES_WITH_LIMITS})
    """Accept what a limit refused, once the operator has looked at it."""
    as_of: datetime | None = None
    """The run's logical time; None for its start."""
    notify: bool = True
    """Notify the targets of `ETL_NOTIFY` if the state of the domain changed."""
    max_retries: int | None = field(default=None, metadata={"stages": {Stage.RAW}})
    """Retries for each file, instead of the declared number."""
    wait: bool = True
    """Wait for another run of the domain to end; if False, refuse to start."""
    output_dir: Path | None = None
    """Copy the published set to this directory too."""
    new_history: bool = False
    """Begin a new history instead of continuing the published one."""
    why: str = ""
    """The operator's reason for it."""

    def conflicts(self) -> Iterator[str]:
        """Yields a message for each option that contradicts another one."""
        if self.force_refresh and self.skip_existing:
            yield "--force-refresh: expected it or --skip-existing, found both"
        if self.sources and self.stages.first not in SOURCE_STAGES:
            expected = _format_stages(SOURCE_STAGES)
            yield f"--source: expected one of the stages {expected}, found {self.stages}"
        if self.accept_changes and not STAGES_WITH_LIMITS & set(self.stages):
            expected = _format_stages(STAGES_WITH_LIMITS)
            yield f"--accept-changes: expected {expected}, found {self.stages}"
        if self.new_history != bool(self.why.strip()):
            yield "--new-history: expected it together with --why TEXT, found one of them"
        publish_options = {
            "--full": self.full,
            "--new-history": self.new_history,
            "--output-dir": self.output_dir,
        }
        for option, is_set in publish_options.items():
            if is_set and not self.stages.publishes:
                yield f"{option}: expected a run that publishes, found {self.stages}"
        if not self.stages.contacts_remotes:
            fetch_options = {
                "--force-refresh": self.force_refresh,
                "--skip-existing": self.skip_existing,
                "--max-retries": self.max_retries is not None,
            }
            for option, is_set in fetch_options.items():
                if is_set:
                    yield f"{option}: expected a run that contacts remotes, found {self.stages}"

    def require_consistent(self) -> None:
        """Raise UsageError with every option that contradicts another one."""
        if conflicts := list(self.conflicts()):
            raise UsageError("\n".join(conflicts))


DEFAULT_OPTIONS = RunOptions()


def step_options(stage: Stage) -> list[Field[Any]]:
    """Returns the options that the steps of a stage take as config."""
    return [option for option in fields(RunOptions) if stage in option.metadata.get("stages", ())]


def _format_stages(stages: AbstractSet[Stage]) -> str:
    return ", ".join(stage for stage in STAGES if stage in stages)
