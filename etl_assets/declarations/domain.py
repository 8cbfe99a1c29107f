"""What `_domain.yaml` declares: documents, gate, report, explain, retention; and attributions.

`Declarations` are all domains as loaded, those with faults beside the others. Sources are
`etl_assets.declarations.source`; rules between fields are `rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from etl_assets.declarations.declaration import COLUMN_NAME, COLUMN_PATH, NAME, Declaration
from etl_assets.declarations.source import Source
from etl_assets.model.display_text import format_count
from etl_assets.model.errors import DeclarationError, Problem

Tone = Literal["good", "neutral", "waiting", "open", "bad"]

# A map takes name, longitude, latitude and size; a graph takes line, both ends and colour.
DRAWN_COLUMNS = {"map": (3, 4), "graph": (3, 4)}


class Document(Declaration):
    """One published file: the model it is written from, and the writer."""

    file: str = Field(min_length=1)
    title: str = Field(min_length=1)
    format: str = Field(pattern=NAME, description="name of the writer, which is its standard")
    # The key is `from` in YAML, which is a keyword in Python.
    model: str = Field(alias="from", pattern=NAME)
    also_from: dict[str, Annotated[str, Field(pattern=NAME)]] = Field(
        default={},
        description="further models that the writer reads, by the name that it gives them",
    )
    made_with: str | None = Field(
        default=None,
        pattern=NAME,
        description="another model whose changes alone rewrite the document; default: all that it"
        " is written from",
    )
    json_schema: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]+\.schema\.json$",
        description="a JSON Schema file in the domain's folder; the gate validates the document",
    )
    options: dict[str, str | bool | int | dict[str, str]] = {}
    enabled: bool = Field(default=True, description="false leaves the document out of the set")

    @property
    def models(self) -> list[str]:
        """The model that the document is written from, then the others that it depends on."""
        names = (self.model, *self.also_from.values(), self.made_with)
        return [name for name in dict.fromkeys(names) if name]

    @property
    def rewritten_by(self) -> list[str]:
        """The models of which a change makes the document again."""
        return [self.made_with] if self.made_with else self.models


class MapLines(Declaration):
    """Lines between the places of a map: two pairs of longitude and latitude, then a colour."""

    model: str = Field(alias="from", pattern=NAME)
    columns: list[str] = Field(min_length=4, max_length=5)


class ReportSection(Declaration):
    """One section of the run report: rows of a model, or counts of its rows by some columns.

    The columns of a map are name, longitude, latitude and whether the place is a large one. Those
    of a graph are the name of the line, the two ends of a segment and a colour (#rrggbb).
    """

    title: str = Field(min_length=1)
    model: str = Field(alias="from", pattern=NAME)
    kind: Literal["table", "bar", "line", "map", "graph"] = "table"
    columns: list[str] = Field(default=[], description="shown unchanged, in the model's row order")
    joined_by: MapLines | None = Field(
        default=None, description="for a map: the lines between its places"
    )
    count_by: list[str] = Field(
        default=[], description="count the rows per combination of these columns, largest first"
    )
    at: str | None = Field(
        default=None, description="a time column: only rows whose time is that of the run"
    )
    only_with: str | None = Field(
        default=None, description="a column: only rows with a value in it; an empty list is none"
    )
    aged_by: str | None = Field(
        default=None,
        description="a date column: only rows with a date, oldest first, with their age in days",
    )
    over_days: int = Field(default=-1, ge=-1, description="with aged_by: only rows older than this")
    defines: list[str] = Field(
        default=[],
        description="columns of terms, such as codes: equal values elsewhere in the report link to"
        " the row, and equal rows are shown once",
    )
    limit: int = Field(
        default=20,
        ge=1,
        description="rows shown, of a line the last ones; the report counts the others",
    )

    @model_validator(mode="after")
    def _columns_fit_the_kind(self) -> Self:
        if bool(self.columns) == bool(self.count_by):
            raise ValueError("give either columns or count_by")
        # With count_by, the number is the count itself.
        if self.kind != "table" and len(self.columns) == 1:
            raise ValueError(
                "a drawn section needs a label and a number; give two columns or count_by"
            )
        if self.kind in DRAWN_COLUMNS and len(self.columns) not in DRAWN_COLUMNS[self.kind]:
            raise ValueError(f"a {self.kind} needs three columns, and takes a fourth")
        if self.joined_by and self.kind != "map":
            raise ValueError("expected joined_by only with kind: map")
        if not set(self.defines) <= set(self.columns):
            raise ValueError("expected defines to name some of the columns")
        return self


class StateLimits(Declaration):
    """How many rows of a model may change their state from one published set to the next."""

    column: str = Field(pattern=COLUMN_NAME)
    decided_by: str | None = Field(
        default=None,
        pattern=COLUMN_PATH,
        description="the column with the source that decided the state; changes by a source that "
        "has rows for the first time are not counted",
    )
    affected: list[str] = Field(min_length=1, description="states that ask the reader to act")
    silent: list[str] = Field(min_length=1, description="states that ask the reader for nothing")
    max_silenced_pct: float = Field(ge=0, le=100, description="from an affected to a silent state")
    max_flipped_pct: float = Field(ge=0, le=100, description="any other change of state")

    @model_validator(mode="after")
    def _no_state_is_affected_and_silent(self) -> Self:
        if both := sorted(set(self.affected) & set(self.silent)):
            raise ValueError(
                f"expected no state to be both affected and silent, found {', '.join(both)}"
            )
        return self


class GateCheck(Declaration):
    """How far a model may differ from its last published rows before the gate refuses it.

    A share is exceeded only if it concerns more than `floor` rows. Rows with one key count as one.
    """

    model: str = Field(alias="from", pattern=NAME)
    key: list[str] = Field(min_length=1)
    ignore_case: bool = Field(
        default=False,
        description="compare key and group in lower case: a row in another spelling is the same",
    )
    only_with: str | None = Field(
        default=None,
        pattern=COLUMN_NAME,
        description="a column: compare only the rows in which it is true",
    )
    floor: int = Field(default=0, ge=0, description="rows that may change whatever their share")
    max_vanished_pct: float = Field(ge=0, le=100)
    group: str | None = Field(
        default=None,
        pattern=COLUMN_NAME,
        description="a column: no large group of its values may vanish completely",
    )
    whole_group_min: int = Field(default=1, ge=1, description="rows of a large group")
    states: StateLimits | None = None


class Coverage(Declaration):
    """The share of a model's rows that a source has enriched, and its two limits.

    While the source is switched off, nothing is measured.
    """

    model: str = Field(alias="from", pattern=NAME)
    key: str = Field(pattern=COLUMN_NAME, description="names a row without a value in messages")
    column: str = Field(pattern=COLUMN_NAME, description="has a value in every enriched row")
    source: str = Field(pattern=NAME, description="the source of the enrichment")
    warn: float = Field(ge=0, le=1, description="a smaller share is a warning")
    floor: float = Field(
        ge=0, le=1, description="a smaller share is refused by the gate unless it is accepted"
    )

    @model_validator(mode="after")
    def _warns_before_it_refuses(self) -> Self:
        if self.floor > self.warn:
            raise ValueError(
                f"expected floor not to exceed warn, found {self.floor:g} and {self.warn:g}"
            )
        return self


class Claims(Declaration):
    """The rows of a model that support or contradict an answer."""

    model: str = Field(alias="from", pattern=NAME)
    order_by: list[str] = Field(min_length=1)
    columns: list[str] = Field(min_length=1, description="shown, in this order")


class Periods(Declaration):
    """The rows of a model with earlier answers and the time from which to which they applied."""

    model: str = Field(alias="from", pattern=NAME)
    since: str = Field(pattern=COLUMN_NAME, description="the time from which the row applies")
    until: str = Field(pattern=COLUMN_NAME, description="the time it ends; null for current rows")
    columns: list[str] = Field(min_length=1, description="shown after the two times")


class Explain(Declaration):
    """How `etl explain` answers for one row of a model, found by its key.

    The models of claims and periods must have the same key columns.
    """

    model: str = Field(alias="from", pattern=NAME)
    key: list[str] = Field(
        min_length=1,
        description="given on the command line in this order; another one is accepted if only that"
        " is of a row",
    )
    named_by: list[str] = Field(
        default=[],
        description="further columns by which a row is found: by their value, or by one of a list",
    )
    answer: list[str] = Field(
        min_length=1, description="the columns of the answer; the first is its summary"
    )
    columns: list[str] = Field(default=[], description="shown in addition to the answer")
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
    """What a run keeps at its end; a raw file beyond either limit is removed if nothing uses it."""

    versions: int = Field(default=10, ge=1, description="raw files kept per source or partition")
    days: int = Field(default=90, ge=1, description="how long a raw file is kept")
    keep_runs: int = Field(
        default=60, ge=1, description="run directories that are kept, and Dagster's run records"
    )
    rehash_megabytes: int = Field(
        default=256,
        ge=0,
        description="what each run hashes again of the files that look as they did when they were"
        " hashed, the oldest first",
    )
    rehash_days: int = Field(
        default=7, ge=1, description="`etl health` names the files that were not hashed for longer"
    )


class BuildKey(Declaration):
    """The key to which the decisions of a domain belong; a change builds the models of its keys.

    Each model below the staging models is tagged `map`, if its rows for some keys follow from its
    parents' rows for those keys and from small inputs, or `reduce`. A staging model says in its
    meta, as `build: {key: COLUMN}`, to which key a row belongs, or as `build: {id: COLUMN}` which
    id it is about.
    """

    key: str = Field(pattern=COLUMN_NAME, description="the column of map models that has the key")
    ids: str | None = Field(
        default=None,
        pattern=NAME,
        description="the map model that lists the ids of each key; a row that has an id and no key"
        " concerns the keys that list it",
    )
    full_after_days: int = Field(
        default=7,
        ge=1,
        description="a run that builds models so long after they were all built whole builds them"
        " whole too, and fails if there is a difference",
    )


class VerifyCommand(Declaration):
    """A program that looks at a candidate before it is published, such as a scanner."""

    command: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1,
        description="the program and its arguments, started in the domain's folder without a shell;"
        " the directory of the candidate is added as the last one, and is the variable"
        " ETL_CANDIDATE. Any exit code but 0 refuses the candidate",
    )
    timeout_seconds: float = Field(
        gt=0, le=86_400, description="a command that takes longer is killed, and refuses"
    )


class Domain(Declaration):
    """What a domain is for and what it publishes."""

    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    owner: str = Field(pattern=r"^team:[a-z0-9_-]+$")
    schedule: str = Field(description="a cron line (UTC) for the full run, with or without sensors")
    probe_interval_minutes: int = Field(
        default=30, ge=1, description="between two evaluations of the sensor"
    )
    history: str | None = Field(
        default=None, description="the model that is built from its own last published rows"
    )
    moments: str | None = Field(
        default=None,
        pattern=NAME,
        description=(
            "a model with a column `moment`: the times ahead at which decisions change although no"
            " source does; the first run after one of them builds the models again"
        ),
    )
    build: BuildKey | None = Field(
        default=None, description="without it a change builds every model that reads it"
    )
    vars: dict[str, str | int | float | list[str]] = {}
    documents: list[Document] = []
    report: list[ReportSection] = []
    tones: dict[str, Tone] = Field(
        default={}, description="values that have the same colour everywhere in the report"
    )
    gate: list[GateCheck] = []
    coverage: list[Coverage] = []
    verify: list[VerifyCommand] = Field(
        default=[], description="commands that each candidate must pass, in this order"
    )
    explain: Explain | None = None
    retention: Retention = Retention()

    # Set by the loader; `exclude` also keeps them out of the schema of the YAML file.
    name: str = Field(default="", exclude=True, description="from the folder's name")
    sources: dict[str, Source] = Field(default={}, exclude=True)
    disabled_sources: dict[str, Source] = Field(
        default={}, exclude=True, description="declared with enabled: false"
    )
    overrides: dict[str, Any] = Field(
        default={}, exclude=True, description="values of the settings file by their dotted paths"
    )

    @field_validator("documents")
    @classmethod
    def _leave_out_disabled(cls, documents: list[Document]) -> list[Document]:
        return [document for document in documents if document.enabled]

    def find_source(self, name: str) -> Source | None:
        """Returns the enabled source of this name, bare or in full (`domain.name`), or None."""
        return self.sources.get(name.removeprefix(f"{self.name}."))


@dataclass(frozen=True, slots=True)
class BrokenDomain:
    """A domain whose declarations have faults: no verb can use it, and the others name it."""

    name: str
    source_names: frozenset[str]
    """The names of its files, which need not be readable."""
    problems: Sequence[Problem]
    faulty: str = "its declarations"
    """What the operator has to correct: these, or the overrides of a settings file."""

    @property
    def error(self) -> DeclarationError:
        """All problems, and what to do next."""
        return DeclarationError(
            self.problems,
            f"{self.name}: correct {self.faulty} and run the command again; "
            "other domains are not affected",
        )

    def __str__(self) -> str:
        faults = format_count(len(self.problems), "fault")
        return (
            f"{self.name} is left out: {faults} in {self.faulty}, first {self.problems[0]}; "
            "`etl sources check` lists all"
        )


@dataclass(frozen=True, slots=True)
class Declarations:
    """The domains that are declared without faults, and the others, by name."""

    domains: Mapping[str, Domain]
    broken: Mapping[str, BrokenDomain]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The attribution that the licence of one source requires, in one line."""

    source: str
    text: str

    @classmethod
    def of(cls, source: Source) -> Self:
        licence = ", ".join(part for part in (source.licence.name, source.licence.url) if part)
        return cls(source.name, f"{source.licence.attribution.rstrip('.')}. Licence: {licence}")


def attribution_texts(attributions: Iterable[Attribution]) -> list[str]:
    """Returns each text once, in order: several files of one producer have the same one."""
    return list(dict.fromkeys(attribution.text for attribution in attributions))
