"""What a person declares of a source: where it lies, its format, its contract, its limits.

Only shapes belong here; a message says what was expected and what was found. Rules between fields
that stand apart are `etl_assets.declarations.rules`, reading YAML and reporting lines is
`etl_assets.declarations.load`; what a format's reader does with its options is the reader's; what a
domain declares beside its sources is `etl_assets.declarations.domain`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from etl_assets.declarations.declaration import COLUMN_NAME, NAME, Declaration
from etl_assets.declarations.for_each import ForEach
from etl_assets.model.records import Part, SourceName

COLUMN_PATH = r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*$"  # also a field of a struct

ColumnType = Literal[
    "string", "int64", "uint64", "float64", "boolean", "date", "timestamp", "list[string]"
]
NUMERIC: frozenset[str] = frozenset({"int64", "uint64", "float64"})


class Column(Declaration):
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


class RowRule(Declaration):
    """A rule over several columns: where `when` holds, every column of `require` must be filled."""

    name: str = Field(pattern=NAME)
    when: dict[str, str] = Field(description="column: value pairs that must all hold")
    require: list[str] = Field(min_length=1)


class Contract(Declaration):
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


class JsonFormat(Declaration):
    """A JSON document; `rows` is the path to its records, or several paths, one after the other.

    `{column}` takes a map's keys into a column, `[]` walks a list, a plain name descends:
    `{package_name}.{cve_id}`, `vulnerabilities[]`, `{package}.{id}.releases.{release}`.
    An empty path is a top-level list.
    """

    name: Literal["json"]
    rows: str | list[str] = ""


class JsonArrayFormat(Declaration):
    """A JSON document that is one list, read as a stream whatever its size.

    `rows` as for json; a path begins with `[]`, and an empty one is the list's own elements. Of
    several paths, the rows of one element stand together, path after path.
    """

    name: Literal["json_array"]
    rows: str | list[str] = ""


class CsvFormat(Declaration):
    """Delimited text with a header line."""

    name: Literal["csv"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    comment: str | None = Field(
        default=None, description="leading lines that start so are left out"
    )


class GeoJsonFormat(Declaration):
    """A collection of GeoJSON features (RFC 7946), one row each.

    A column comes from `properties.<name>`, `id`, `geometry.type`, `geometry.longitude` or
    `geometry.latitude`.
    """

    name: Literal["geojson"]


class ExcelFormat(Declaration):
    """One sheet of a workbook, xlsx or xlsb; the first row that has cells is its header."""

    name: Literal["excel"]
    sheet: str = Field(min_length=1)


class OsvFormat(Declaration):
    """A zip of OSV records (https://ossf.github.io/osv-schema/), one row per affected interval."""

    name: Literal["osv"]


class CveFormat(Declaration):
    """CVE records in the schema of the CVE API 2.0 (https://nvd.nist.gov/developers/vulnerabilities)."""

    name: Literal["cve_2_0"]


Format = Annotated[
    JsonFormat | JsonArrayFormat | CsvFormat | ExcelFormat | GeoJsonFormat | OsvFormat | CveFormat,
    Field(discriminator="name"),
]


class PublishedDigest(Declaration):
    """A small file beside the source, of `name:value` lines, that states the content's SHA-256."""

    url: str
    field: str = "sha256"
    of: Literal["file", "unpacked"] = Field(
        description="whether the digest is of the unpacked bytes"
    )


class Credential(Declaration):
    """A request's header whose value is a secret: the variable that holds it, read when it is used.

    It is sent to the declared host alone, and to no mirror; also to the host of `address_from`.
    """

    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", description="an environment variable's name")
    prefix: str = Field(default="", description="stands before the secret: 'Bearer '")


class AddressSource(Declaration):
    """A JSON endpoint that returns the current address of the file, such as a signed URL.

    The `url` of the location then only names the file: in records, and in a mirror.
    """

    url: str
    member: str = Field(
        pattern=COLUMN_PATH, description="of the answer, from the outermost object: data.url"
    )


class Location(Declaration):
    """Where the file is: a URL, or a path relative to the mirror or ETL_HOME.

    `{partition}` stands for the partition's key. Without `digest`, the answer's validators decide.
    """

    url: str | None = None
    path: str | None = None
    private: bool = Field(
        default=False,
        description="the host's name may stand for a private address; an address says so by itself",
    )
    address_from: AddressSource | None = Field(
        default=None, description="requested before each download; not used with a mirror"
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


class Years(Declaration):
    """One file per calendar year, from `start` to the current one."""

    by: Literal["year"]
    start: int = Field(ge=1970)

    @property
    def of_a_run(self) -> str:
        """What all sources of a domain that have partitions share."""
        return f"by year from {self.start}"


class Files(Declaration):
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

    @property
    def of_a_run(self) -> str:
        """What all sources of a domain that have partitions share; their names may differ."""
        return "by file"


Partitions = Annotated[Years | Files, Field(discriminator="by")]


class Limits(Declaration):
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


class Expectation(Declaration):
    """What a file must look like before anybody reads its rows."""

    compression: Literal["none", "gzip", "zip"] = "none"
    min_bytes: int = Field(default=1, ge=1)
    min_rows: int = Field(default=1, ge=0)


class Freshness(Declaration):
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


class Licence(Declaration):
    """Under what terms the data may be used, and whom to name."""

    name: str = Field(min_length=1)
    url: str | None = None
    attribution: str = Field(min_length=1)


class Source(Declaration):
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
    def full_name(self) -> SourceName:
        return SourceName(self.domain, self.name)

    def part(self, partition: str | None = None) -> Part:
        """The file of one partition, or the only file of a source without partitions."""
        return Part(source=self.full_name, partition=partition)
