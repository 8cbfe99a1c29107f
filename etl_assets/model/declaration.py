"""What a person declares: sources, contracts, domains.

Only shapes belong here; a message says what was expected and what was found. Rules between fields
that stand apart are `etl_assets.model.declaration_rules`, reading YAML and reporting lines is
`etl_assets.io.declarations`; what a format's reader does with its options is the reader's.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from etl_assets.model.declared import COLUMN_NAME, NAME, Declared
from etl_assets.model.for_each import ForEach

__all__ = ["COLUMN_NAME", "NAME", "Declared"]  # and the models of this module
COLUMN_PATH = r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*$"  # also a field of a struct

ColumnType = Literal[
    "string", "int64", "uint64", "float64", "boolean", "date", "timestamp", "list[string]"
]
NUMERIC: frozenset[str] = frozenset({"int64", "uint64", "float64"})


class Column(Declared):
    """One column of a table: what it holds and what makes a value of it acceptable."""

    name: str = Field(pattern=COLUMN_NAME)
    type: ColumnType
    description: str = Field(min_length=1)
    unit: str | None = Field(default=None, description="required for numbers; '1' is dimensionless")
    origin: str | None = Field(
        default=None,
        alias="from",
        description="the field's path in the record; default: the name. A path with [] or {} begins"
        " at the top, as `rows` does, and leads to a record above: [].id64",
    )
    required: bool = Field(default=False, description="a row whose value is null is rejected")
    case: Literal["upper", "lower"] | None = Field(
        default=None, description="texts are turned into it before anything is asked of them"
    )
    pattern: str | None = Field(default=None, description="a regular expression for the whole text")
    values: list[str] | None = Field(default=None, description="the only values allowed")
    known_values: list[str] | None = Field(
        default=None, description="the values expected; another one is kept, counted and warned of"
    )
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _numbers_state_their_unit(self) -> Self:
        if self.type in NUMERIC and not self.unit:
            raise ValueError("expected a unit for a number, '1' where it has none, found none")
        return self


class RowRule(Declared):
    """A rule over several columns: where `when` holds, every column of `require` must be filled."""

    name: str = Field(pattern=NAME)
    when: dict[str, str] = Field(description="column: value pairs that must all hold")
    require: list[str] = Field(min_length=1)


class Contract(Declared):
    """The table that a source becomes: its columns, its key and what happens to bad rows."""

    columns: list[Column] = Field(min_length=1)
    key: list[str] = Field(
        min_length=1, description="a null in a key column is a value like others"
    )
    null_words: list[str] = Field(
        default=[], description="texts that mean no value, in small letters and without blanks"
    )
    duplicates: Literal["reject", "keep_last", "keep_newest"] = Field(
        default="reject",
        description="of rows with one key: reject the later ones, or keep the last, or the newest",
    )
    newest_by: str | None = Field(
        default=None,
        description="the column that tells the newest row; of equal ones the last, null is oldest",
    )
    unknown_fields: Literal["evolve", "discard_value", "freeze"] = Field(
        default="discard_value",
        description="a field no column names: warn of it, leave it aside, or refuse the file",
    )
    rules: list[RowRule] = []
    max_rejected_pct: float = Field(
        default=5.0, ge=0, le=100, description="a larger share of rejected rows refuses the file"
    )


class JsonFormat(Declared):
    """A JSON document; `rows` is the path to its records, or several paths, one after the other.

    `{column}` takes a map's keys into a column, `[]` walks a list, a plain name descends:
    `{package_name}.{cve_id}`, `vulnerabilities[]`, `{package}.{id}.releases.{release}`.
    An empty path is a top-level list.
    """

    name: Literal["json"]
    rows: str | list[str] = ""


class JsonArrayFormat(Declared):
    """A JSON document that is one list, read as a stream whatever its size.

    `rows` as for json; a path begins with `[]`, and an empty one is the list's own elements. Of
    several paths, the rows of one element stand together, path after path.
    """

    name: Literal["json_array"]
    rows: str | list[str] = ""


class CsvFormat(Declared):
    """Delimited text with a header line."""

    name: Literal["csv"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    comment: str | None = Field(
        default=None, description="leading lines that start so are left out"
    )


class GeoJsonFormat(Declared):
    """A collection of GeoJSON features (RFC 7946), one row each.

    A column comes from `properties.<name>`, `id`, `geometry.type`, `geometry.longitude` or
    `geometry.latitude`.
    """

    name: Literal["geojson"]


class ExcelFormat(Declared):
    """One sheet of a workbook, xlsx or xlsb; the first row that has cells is its header."""

    name: Literal["excel"]
    sheet: str = Field(min_length=1)


class OsvFormat(Declared):
    """A zip of OSV records (https://ossf.github.io/osv-schema/), one row per affected interval."""

    name: Literal["osv"]


class CveFormat(Declared):
    """CVE records in the schema of the CVE API 2.0 (https://nvd.nist.gov/developers/vulnerabilities)."""

    name: Literal["cve_2_0"]


Format = Annotated[
    JsonFormat | JsonArrayFormat | CsvFormat | ExcelFormat | GeoJsonFormat | OsvFormat | CveFormat,
    Field(discriminator="name"),
]


class PublishedDigest(Declared):
    """A small file beside the source, of `name:value` lines, that states the content's SHA-256."""

    url: str
    field: str = "sha256"
    of: Literal["file", "unpacked"] = Field(
        description="whether the digest is of the unpacked bytes"
    )


class Credential(Declared):
    """A request's header whose value is a secret: the variable that holds it, read when it is used.

    It is sent to the declared host alone, and to no mirror.
    """

    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", description="an environment variable's name")
    prefix: str = Field(default="", description="stands before the secret: 'Bearer '")


class Location(Declared):
    """Where the file is: a URL, or a path relative to the mirror or ETL_HOME.

    `{partition}` stands for the partition's key. Without `digest`, the answer's validators decide.
    """

    url: str | None = None
    path: str | None = None
    private: bool = Field(
        default=False,
        description="the host's name may stand for a private address; an address says so by itself",
    )
    digest: PublishedDigest | None = None
    credentials: dict[str, Credential] = Field(
        default={}, description="by the header's name; secrets are named here and never written"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.url is None) == (self.path is None):
            raise ValueError(
                f"expected either url or path, found {'both' if self.url else 'neither'}"
            )
        return self


class Years(Declared):
    """One file per calendar year, from `start` to the current one."""

    by: Literal["year"]
    start: int = Field(ge=1970)


class Files(Declared):
    """One file per name in a folder; `{partition}` in the path's last part tells them apart.

    A file that comes into the folder is one more partition.
    """

    by: Literal["file"]
    names: str = Field(
        default=r"[A-Za-z0-9._-]+",
        min_length=1,
        description="a regular expression for what stands for {partition}; a file whose name is of"
        " the path's form and not of this one is told and left alone",
    )


Partitions = Annotated[Years | Files, Field(discriminator="by")]


class Limits(Declared):
    """How far a transfer may go before it is given up; defaults suit a file of some megabytes."""

    connect_timeout_seconds: float = Field(default=10, gt=0, description="for each address")
    read_timeout_seconds: float = Field(default=60, gt=0, description="without a byte")
    attempts: int = Field(default=4, ge=1, description="of each file in one run")
    backoff_seconds: float = Field(
        default=1, ge=0, description="first wait; doubles, with full jitter"
    )
    max_backoff_seconds: float = Field(default=60, ge=0, description="also caps Retry-After")
    max_redirects: int = Field(
        default=5, ge=0, description="never from https to http, to a file, to a private host"
    )
    max_bytes: int = Field(default=2_000_000_000, gt=0, description="of the file as transferred")
    max_unpacked_bytes: int = Field(default=20_000_000_000, gt=0, description="of gzip and zip")
    min_bytes_per_second: int = Field(default=1_000, ge=0, description="averaged over 30 seconds")
    requests_per_second: float = Field(default=10, gt=0, description="per host")
    connections: int = Field(default=4, ge=1, description="per host")
    failures_before_pause: int = Field(
        default=8, ge=1, description="in a row, per host; then it is not asked for a while"
    )
    pause_seconds: float = Field(
        default=300, ge=0, description="for which a failing host is left alone"
    )
    min_interval_minutes: float = Field(
        default=60, ge=0, description="between downloads of a file that has no validator at all"
    )
    max_shrink_pct: float = Field(
        default=10, ge=0, le=100, description="of the rows of the last good file"
    )
    max_shrink_rows: int = Field(
        default=20, ge=0, description="a feed that loses more than both shrink limits is an outage"
    )

    def is_shrunk(self, before: int, now: int) -> bool:
        """Whether more rows were lost than both shrink limits allow."""
        lost = before - now
        return lost > self.max_shrink_rows and lost * 100 > self.max_shrink_pct * before


class Expectation(Declared):
    """What a file must look like before anybody reads its rows."""

    compression: Literal["none", "gzip", "zip"] = "none"
    min_bytes: int = Field(default=1, ge=1)
    min_rows: int = Field(default=1, ge=0)


class Freshness(Declared):
    """How old a contact and a content may be, in hours, before a check warns or fails."""

    warn_after_hours: float = Field(gt=0)
    fail_after_hours: float = Field(gt=0)
    content_column: str | None = Field(
        default=None,
        description="the column whose greatest value dates the content; else Last-Modified",
    )

    @model_validator(mode="after")
    def _warns_first(self) -> Self:
        if self.warn_after_hours > self.fail_after_hours:
            raise ValueError(
                f"expected warn_after_hours not to exceed fail_after_hours, found "
                f"{self.warn_after_hours:g} and {self.fail_after_hours:g}"
            )
        return self


class Licence(Declared):
    """Under what terms the data may be used, and whom to name."""

    name: str = Field(min_length=1)
    url: str | None = None
    attribution: str = Field(min_length=1)


class Source(Declared):
    """One published file (or one per partition) and the table that it becomes."""

    title: str = Field(min_length=1)
    description: str = Field(
        min_length=1, description="what it says, and what is absent on purpose"
    )
    producer: str = Field(min_length=1)
    licence: Licence
    location: Location
    partitions: Partitions | None = None
    for_each: ForEach | None = Field(
        default=None, description="the requests come from a table; the file is made of the answers"
    )
    required: bool = Field(
        description="a run without it fails; an optional one yields an empty table"
    )
    enabled: bool = Field(
        default=True, description="false: neither asked nor fetched; models read it as empty"
    )
    expect: Expectation = Expectation()
    limits: Limits = Limits()
    freshness: Freshness
    format: Format
    contract: Contract

    domain: str = Field(default="", exclude=True, description="from the folder's name")
    name: str = Field(default="", exclude=True, description="from the file's name")

    def with_retries(self, retries: int | None) -> Self:
        """The same source, tried again so often; None leaves what is declared."""
        if retries is None:
            return self
        limits = self.limits.model_copy(update={"attempts": retries + 1})
        return self.model_copy(update={"limits": limits})

    @property
    def full_name(self) -> str:
        return f"{self.domain}.{self.name}"


class Document(Declared):
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


class Strokes(Declared):
    """Lines between the places of a map: two pairs of longitude and latitude, then a colour."""

    model: str = Field(alias="from", pattern=NAME)
    columns: list[str] = Field(min_length=4, max_length=5)


class Chart(Declared):
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


class GatedStates(Declared):
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


class GateCheck(Declared):
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


class Claims(Declared):
    """The rows of a model that speak for or against an answer."""

    model: str = Field(alias="from", pattern=NAME)
    order_by: list[str] = Field(min_length=1)
    columns: list[str] = Field(min_length=1, description="shown, in this order")


class Periods(Declared):
    """The rows of a model that say what the answer was, and from when to when."""

    model: str = Field(alias="from", pattern=NAME)
    since: str = Field(pattern=COLUMN_NAME, description="a time: from it on the row holds")
    until: str = Field(pattern=COLUMN_NAME, description="a time; null while the row holds")
    columns: list[str] = Field(min_length=1, description="shown beside the two times")


class Explain(Declared):
    """How `etl explain` answers for one row of a model, found by its key.

    The models of claims and periods have the key's columns too.
    """

    model: str = Field(alias="from", pattern=NAME)
    key: list[str] = Field(min_length=1, description="what a person names, in this order")
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


class Retention(Declared):
    """What `etl prune` leaves of what is no longer in use; beyond either bound a raw file goes."""

    versions: int = Field(default=10, ge=1, description="raw files kept of each part of a source")
    days: int = Field(default=90, ge=1, description="for which a raw file is kept")
    keep_runs: int = Field(default=60, ge=1, description="directories of runs that are kept")


class Domain(Declared):
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
