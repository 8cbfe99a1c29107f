"""What a domain declares in its `_domain.yaml`: documents, gate, report, history, retention.

Only shapes belong here. What a source declares is `etl_assets.declarations.source`, rules between
fields that stand apart are `etl_assets.declarations.rules`.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from etl_assets.declarations.declaration import COLUMN_NAME, NAME, Declaration
from etl_assets.declarations.source import COLUMN_PATH, Source


class Document(Declaration):
    """One published file: which writer makes it from which model."""

    file: str = Field(min_length=1)
    title: str = Field(min_length=1)
    format: str = Field(pattern=NAME, description="the writer's standard")
    model: str = Field(alias="from", pattern=NAME)
    made_with: str | None = Field(
        default=None,
        pattern=NAME,
        description="the model whose change makes the document anew; default: the one it is from",
    )
    json_schema: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]+\.schema\.json$",
        description="a JSON Schema beside the declaration; the gate holds the file to it",
    )
    options: dict[str, str] = {}

    @property
    def models(self) -> list[str]:
        """It is made from the first; a change of the last makes it anew."""
        return [name for name in (self.model, self.made_with) if name]


SHAPED = {"map": (3, 4), "graph": (3, 4)}
Tone = Literal["good", "neutral", "waiting", "open", "bad"]


class Strokes(Declaration):
    """Lines between the places of a map: two pairs of longitude and latitude, then a colour."""

    model: str = Field(alias="from", pattern=NAME)
    columns: list[str] = Field(min_length=4, max_length=5)


class Chart(Declaration):
    """One section of the run report: a model's rows, or counted by some of its columns.

    A map shows places: name, longitude, latitude, and whether it is one of the large ones. A graph
    shows lines, stretch by stretch: name of the line, both ends, and a colour (#rrggbb).
    """

    title: str = Field(min_length=1)
    model: str = Field(alias="from", pattern=NAME)
    kind: Literal["table", "bar", "line", "map", "graph"] = "table"
    columns: list[str] = Field(default=[], description="shown as they are, in the model's order")
    joined_by: Strokes | None = Field(default=None, description="of a map: what joins its places")
    count_by: list[str] = Field(
        default=[], description="rows are counted per combination of these, the largest count first"
    )
    at: str | None = Field(
        default=None, description="a time column: only rows whose time is the run's own count"
    )
    only_with: str | None = Field(
        default=None, description="a column: only rows with a value there; an empty list is none"
    )
    aged_by: str | None = Field(
        default=None,
        description="a date: only rows that have one, the oldest first, each with its age in days",
    )
    over_days: int = Field(default=-1, ge=-1, description="with aged_by: only rows older than this")
    limit: int = Field(
        default=20, ge=1, description="rows shown, of a line the last ones; the rest is counted"
    )

    @model_validator(mode="after")
    def _shows_or_counts(self) -> Self:
        if bool(self.columns) == bool(self.count_by):
            raise ValueError("give either columns or count_by")
        if self.kind != "table" and len(self.columns) == 1:
            raise ValueError(
                "a drawn section needs a label and a number; give two columns or count_by"
            )
        if self.kind in SHAPED and len(self.columns) not in SHAPED[self.kind]:
            raise ValueError(f"a {self.kind} needs three columns, and takes a fourth")
        if self.joined_by and self.kind != "map":
            raise ValueError("expected joined_by beside kind: map only")
        return self


class GatedStates(Declaration):
    """How many rows of a model may change their state from one published set to the next."""

    column: str = Field(pattern=COLUMN_NAME)
    decided_by: str | None = Field(
        default=None,
        pattern=COLUMN_PATH,
        description="the column with the source that decided the state; what a source changes "
        "when it first has rows is not counted",
    )
    affected: list[str] = Field(min_length=1, description="states that tell a reader to act")
    silent: list[str] = Field(min_length=1, description="states that tell a reader all is well")
    max_silenced_pct: float = Field(ge=0, le=100, description="from affected to silent")
    max_flipped_pct: float = Field(ge=0, le=100, description="from any state to another otherwise")

    @model_validator(mode="after")
    def _states_are_of_one_kind(self) -> Self:
        if both := sorted(set(self.affected) & set(self.silent)):
            raise ValueError(
                f"expected no state to be both affected and silent, found {', '.join(both)}"
            )
        return self


class GateCheck(Declaration):
    """How far a model may move from its last published rows without a person's look at it.

    A share is exceeded only where more than `floor` rows are concerned too.
    """

    model: str = Field(alias="from", pattern=NAME)
    key: list[str] = Field(min_length=1)
    floor: int = Field(default=0, ge=0, description="so many rows may do it whatever their share")
    max_vanished_pct: float = Field(ge=0, le=100)
    group: str | None = Field(
        default=None, pattern=COLUMN_NAME, description="no large group of rows may vanish whole"
    )
    whole_group_min: int = Field(default=1, ge=1, description="rows that make a group a large one")
    states: GatedStates | None = None


class Claims(Declaration):
    """The rows of a model that speak for or against an answer."""

    model: str = Field(alias="from", pattern=NAME)
    order_by: list[str] = Field(min_length=1)
    columns: list[str] = Field(min_length=1, description="shown, in this order")


class Periods(Declaration):
    """The rows of a model that say what the answer was, and from when to when."""

    model: str = Field(alias="from", pattern=NAME)
    since: str = Field(pattern=COLUMN_NAME, description="a time: from it on the row holds")
    until: str = Field(pattern=COLUMN_NAME, description="a time; null while the row holds")
    columns: list[str] = Field(min_length=1, description="shown beside the two times")


class Explain(Declaration):
    """How `etl explain` answers for one row of a model, found by its key.

    The models of claims and periods have the key's columns too.
    """

    model: str = Field(alias="from", pattern=NAME)
    key: list[str] = Field(min_length=1, description="what a person names, in this order")
    named_by: list[str] = Field(
        default=[],
        description="columns by whose value, or by one of a list there, a row is found too",
    )
    answer: list[str] = Field(
        min_length=1, description="the columns that are the answer; the first sums it up"
    )
    columns: list[str] = Field(default=[], description="shown beside the answer")
    sentence: str | None = Field(default=None, pattern=COLUMN_NAME)
    flip: str | None = Field(
        default=None, pattern=COLUMN_NAME, description="says what would change the answer"
    )
    evidence: str | None = Field(
        default=None, pattern=COLUMN_NAME, description="a struct that names the deciding record"
    )
    claims: Claims | None = None
    history: Periods | None = None


class Retention(Declaration):
    """What `etl prune` leaves of what is no longer in use; beyond either bound a raw file goes."""

    versions: int = Field(default=10, ge=1, description="raw files kept of each part of a source")
    days: int = Field(default=90, ge=1, description="for which a raw file is kept")
    keep_runs: int = Field(default=60, ge=1, description="directories of runs that are kept")


class Domain(Declaration):
    """What a domain is for and what it publishes."""

    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    owner: str = Field(pattern=r"^team:[a-z0-9_-]+$")
    schedule: str = Field(description="cron, UTC: the full run that is right without any sensor")
    probe_interval_minutes: int = Field(
        default=30, ge=1, description="between two ticks of the sensor"
    )
    history: str | None = Field(
        default=None, description="the model that is built from its own last published rows"
    )
    vars: dict[str, str | int | float | list[str]] = {}
    documents: list[Document] = []
    report: list[Chart] = []
    tones: dict[str, Tone] = Field(
        default={}, description="values that keep one colour wherever the report shows them"
    )
    gate: list[GateCheck] = []
    explain: Explain | None = None
    retention: Retention = Retention()

    name: str = Field(default="", exclude=True, description="from the folder's name")
    sources: dict[str, Source] = Field(default={}, exclude=True)
    switched_off: dict[str, Source] = Field(
        default={}, exclude=True, description="the sources that are declared and not enabled"
    )

    def find_source(self, name: str) -> Source | None:
        """The enabled source of this name, either bare or in full (`domain.name`), or None."""
        return self.sources.get(name.removeprefix(f"{self.name}."))
