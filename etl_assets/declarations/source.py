"""What the YAML file of a source declares: location, partitions, limits, format and contract.

`contract`, `formats` and `answers` have the models of those; rules between fields are in `rules`,
reading the files is `load`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from etl_assets.declarations.answers import AnswerShape, Pages
from etl_assets.declarations.contract import Contract
from etl_assets.declarations.declaration import COLUMN_NAME, COLUMN_PATH, NAME, Declaration
from etl_assets.declarations.formats import Format
from etl_assets.model.records import Part, SourceName

# A column of the row in a URL or prompt template. It is not str.format: `{a.b}` and `{a!r}` would
# reach into objects.
PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")
# The shape of a chat's response unless its source declares another.
COMPLETION = AnswerShape(required=["choices[]"], errors=["error", "errors", "choices[].error"])


MAX_RECORD_BYTES = 16_000_000


class PublishedDigest(Declaration):
    """A small file of `name:value` lines that the producer publishes with the SHA-256."""

    url: str
    field: str = "sha256"
    of: Literal["file", "unpacked"] = Field(
        description="whether the digest is of the file or of its unpacked bytes"
    )


class Credential(Declaration):
    """A request header whose value is a secret from an environment variable, read when used.

    It is sent only to the declared host and to the host of `address_from`, never to a mirror.
    """

    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", description="name of an environment variable")
    prefix: str = Field(default="", description="text before the secret, such as 'Bearer '")


class AddressSource(Declaration):
    """A JSON response that contains the current address of the file, such as a signed URL.

    The file's own `url` then only identifies it: in records, and as its path in a mirror.
    """

    url: str
    member: str = Field(
        pattern=COLUMN_PATH, description="path to the address in the response: data.url"
    )


class Location(Declaration):
    """Where the file is: a URL, or a path relative to the mirror or ETL_HOME.

    `{partition}` is replaced by the partition's key. Without `digest`, the HTTP validators (ETag,
    Last-Modified) decide whether the file has changed.
    """

    url: str | None = None
    path: str | None = None
    private: bool = Field(
        default=False,
        description="true if the host name resolves to a private address; not needed for a URL with"
        " an IP address",
    )
    address_from: AddressSource | None = Field(
        default=None, description="requested before each download; ignored with a mirror"
    )
    digest: PublishedDigest | None = None
    credentials: dict[str, Credential] = Field(
        default={}, description="by header name; YAML names the secret and never contains it"
    )

    @model_validator(mode="after")
    def _has_url_or_path(self) -> Self:
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
    def scheme(self) -> str:
        """Text that is equal for all partitioned sources of one domain."""
        return f"by year from {self.start}"


class Files(Declaration):
    """One file per name in a folder; `{partition}` is in the last part of the path.

    A file that is added to the folder is a new partition.
    """

    by: Literal["file"]
    names: str = Field(
        default=r"[A-Za-z0-9._-]+",
        min_length=1,
        description="a regular expression for {partition}; a file that matches only the path is"
        " reported and skipped",
    )

    @property
    def scheme(self) -> str:
        """Text that is equal for all partitioned sources of one domain; `names` may differ."""
        return "by file"


Partitions = Annotated[Years | Files, Field(discriminator="by")]


class MirrorName(Declaration):
    """How to derive the name of a row's file in a mirror from the value of a column."""

    column: str = Field(pattern=COLUMN_NAME)
    remove: str = Field(default="", description="a regular expression of what to remove")
    case: Literal["as_is", "lower", "upper", "title"] = "as_is"
    space: str = Field(default=" ", description="replaces each space")
    spelt: dict[str, str] = Field(
        default={}, description="exceptions: file names for values that do not follow these rules"
    )

    def file_stem(self, value: str) -> str:
        """Returns the name of the file for a value of the column, without its ending."""
        if value in self.spelt:
            return self.spelt[value]
        text = re.sub(self.remove, "", value) if self.remove else value
        # str.title also capitalizes after an apostrophe or a digit; `spelt` lists such exceptions.
        if self.case != "as_is":
            text = {"lower": str.lower, "upper": str.upper, "title": str.title}[self.case](text)
        return text.replace(" ", self.space)


class ChatRequest(Declaration):
    """A completion by an OpenAI-compatible chat endpoint, whose answer is JSON.

    An answer that does not match the schema is requested again, up to `attempts` times; then it is
    refused and the same question is not asked again, so that it is not paid for twice.
    """

    model: str = Field(min_length=1)
    system: str = Field(min_length=1)
    prompt: str = Field(min_length=1, description="{column} is replaced by the row's value")
    temperature: float = Field(default=0.1, ge=0, le=2)
    max_tokens: int = Field(default=4000, ge=1, description="of the answer")
    max_prompt_characters: int = Field(
        default=150_000, ge=1, description="a longer prompt is cut off at this length"
    )
    usd_per_million_prompt_tokens: float = Field(default=0, ge=0)
    usd_per_million_completion_tokens: float = Field(default=0, ge=0)
    attempts: int = Field(
        default=3, ge=1, description="requests made, and paid for, until an answer is valid"
    )
    repeats: dict[str, str] = Field(
        default={}, description="member of the answer: the column whose value it must repeat"
    )
    answer: dict[str, Any] = Field(description="the JSON Schema of an answer")


class ForEach(Declaration):
    """One request for each distinct row of another source's table: a search, a page, a chat.

    If the location declares a credential that is not set, the source is skipped. A timestamp in a
    request is in UTC, whatever the time zone of the machine is.
    """

    table: str = Field(pattern=NAME, description="a source of the same domain")
    columns: list[str] = Field(
        min_length=1, description="identify a row; stored together with its answer"
    )
    keep_days: int | None = Field(
        default=None, ge=1, description="repeat the request after so many days; default: never"
    )
    batch_size: int = Field(default=20, ge=1, description="requests between two delays")
    delay_seconds: float = Field(default=0, ge=0, description="after each batch")
    daily_limit: int | None = Field(default=None, ge=1, description="requests per day (UTC)")
    max_cost_usd_per_day: float | None = Field(default=None, ge=0)
    mirror_name: MirrorName | None = None
    shape: AnswerShape | None = Field(
        default=None,
        description="of a good answer; default: no error or errors, and choices[] of a chat",
    )
    pages: Pages | None = Field(
        default=None, description="how further pages of an answer are requested; default: never"
    )
    chat: ChatRequest | None = None

    @property
    def answer_shape(self) -> AnswerShape:
        return self.shape or (COMPLETION if self.chat else AnswerShape())

    def required_columns(self, url: str) -> list[str]:
        """Returns the columns that a request needs: those of the row's key and of the templates."""
        columns = list(self.columns)
        columns += PLACEHOLDER.findall(url)
        if self.chat:
            columns += PLACEHOLDER.findall(self.chat.prompt)
        if self.mirror_name:
            columns.append(self.mirror_name.column)
        if self.chat:
            columns += self.chat.repeats.values()
        return list(dict.fromkeys(columns))


class Limits(Declaration):
    """Limits of a transfer and of a shrinking file; the defaults suit a file of a few megabytes."""

    connect_timeout_seconds: float = Field(default=10, gt=0, description="for each address")
    read_timeout_seconds: float = Field(default=60, gt=0, description="without a byte received")
    response_timeout_seconds: float = Field(
        default=30,
        gt=0,
        description="for connecting, redirects and the header together; an endpoint that computes"
        " its response needs more",
    )
    attempts: int = Field(default=4, ge=1, description="for each file in one run")
    backoff_seconds: float = Field(
        default=1, ge=0, description="the first wait; doubles each time, with full jitter"
    )
    max_backoff_seconds: float = Field(default=60, ge=0, description="also caps Retry-After")
    max_redirects: int = Field(
        default=5,
        ge=0,
        description="never from https to http, to a file or to a private host",
    )
    max_bytes: int = Field(default=2_000_000_000, gt=0, description="of the file as transferred")
    max_unpacked_bytes: int = Field(default=20_000_000_000, gt=0, description="of gzip, xz, zip")
    max_members: int = Field(
        default=1_000,
        ge=1,
        description="of a zip archive; 1,000,000 suits an archive with one file per record",
    )
    max_record_bytes: int = Field(
        default=MAX_RECORD_BYTES,
        gt=0,
        description="of one record of a JSON file (of an array: one element) or stanza of deb822,"
        " and of a text outside of records; a larger one is rejected, the others are read",
    )
    min_bytes_per_second: int = Field(
        default=1_000,
        ge=0,
        description="averaged over 30 seconds; the whole body has max_bytes divided by this rate",
    )
    requests_per_second: float = Field(default=10, gt=0, description="per host")
    connections: int = Field(default=4, ge=1, description="per host")
    failures_before_pause: int = Field(
        default=8, ge=1, description="consecutive failures after which a host is paused"
    )
    pause_seconds: float = Field(
        default=300, ge=0, description="how long no requests are sent to a paused host"
    )
    min_interval_minutes: float = Field(
        default=60, ge=0, description="between downloads of a file without any validator"
    )
    max_shrink_pct: float = Field(
        default=10, ge=0, le=100, description="of the rows of the last good file"
    )
    max_shrink_rows: int = Field(
        default=20,
        ge=0,
        description="a file that loses more than both shrink limits is treated as an outage",
    )

    def is_shrunk(self, before: int, now: int) -> bool:
        """True if the number of rows dropped by more than both shrink limits allow."""
        # Both limits must be exceeded: a percentage alone refuses small files for a few rows, a
        # number alone refuses large ones for their usual changes.
        lost = before - now
        return lost > self.max_shrink_rows and lost * 100 > self.max_shrink_pct * before


class Expectation(Declaration):
    """What is checked about a file before its rows are read."""

    compression: Literal["none", "gzip", "xz", "zip"] = "none"
    min_bytes: int = Field(default=1, ge=1)
    min_rows: int = Field(default=1, ge=0)


AgeVerdict = Literal["fresh", "ageing", "stale", "unknown"]


class Freshness(Declaration):
    """How old the last contact and the content may be, in hours, before a check warns or fails."""

    warn_after_hours: float = Field(gt=0)
    fail_after_hours: float = Field(gt=0)
    if_older: Literal["warn", "refuse"] = Field(
        default="warn",
        description="what becomes of another file whose Last-Modified is before that of the last"
        " one, as from a mirror that lags behind; a refused file is an outage and can be released",
    )
    content_column: str | None = Field(
        default=None,
        description="the column whose greatest value dates the content; default: Last-Modified",
    )

    @model_validator(mode="after")
    def _warns_before_it_fails(self) -> Self:
        if self.warn_after_hours > self.fail_after_hours:
            raise ValueError(
                f"expected warn_after_hours not to exceed fail_after_hours, found "
                f"{self.warn_after_hours:g} and {self.fail_after_hours:g}"
            )
        return self

    def judge(self, hours: float | None) -> AgeVerdict:
        """Returns what the limits say of an age; None is an age that is not known."""
        if hours is None:
            return "unknown"
        if hours > self.fail_after_hours:
            return "stale"
        return "ageing" if hours > self.warn_after_hours else "fresh"


class Licence(Declaration):
    """The terms under which the data may be used, and the attribution they require."""

    name: str = Field(min_length=1)
    url: str | None = None
    attribution: str = Field(min_length=1)


class Source(Declaration):
    """One published file (or one per partition) and the table that it becomes."""

    title: str = Field(min_length=1)
    description: str = Field(
        min_length=1, description="what the file contains, and what it omits on purpose"
    )
    producer: str = Field(min_length=1)
    licence: Licence
    location: Location
    partitions: Partitions | None = None
    for_each: ForEach | None = Field(
        default=None, description="one request per row of a table; the file consists of the answers"
    )
    required: bool = Field(
        description="a run fails without a required source; an optional one becomes an empty table"
    )
    enabled: bool = Field(
        default=True, description="false: never fetched; models read an empty table"
    )
    expect: Expectation = Expectation()
    limits: Limits = Limits()
    freshness: Freshness
    format: Format
    contract: Contract

    # Set by the loader; `exclude` also keeps them out of the schema of the YAML file.
    domain: str = Field(default="", exclude=True, description="from the folder's name")
    name: str = Field(default="", exclude=True, description="from the file's name")

    def with_retries(self, retries: int | None) -> Self:
        """Returns a copy with so many further attempts; None keeps the declared limit."""
        if retries is None:
            return self
        limits = self.limits.model_copy(update={"attempts": retries + 1})
        return self.model_copy(update={"limits": limits})

    @property
    def full_name(self) -> SourceName:
        return SourceName(self.domain, self.name)

    def part(self, partition: str | None = None) -> Part:
        """Returns the part for a partition, or the only part of an unpartitioned source."""
        return Part(source=self.full_name, partition=partition)
