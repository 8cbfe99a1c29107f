"""The contract of a source: its columns, its key, and what happens to rows that break a rule.

Checking rows against it is `etl_assets.tables.contract_check`.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from etl_assets.declarations.declaration import COLUMN_NAME, NAME, Declaration

# The types that Arrow, Parquet and DuckDB have in common.
ColumnType = Literal[
    "string", "int64", "uint64", "float64", "boolean", "date", "timestamp", "list[string]"
]
VersionScheme = Literal["deb"]
InvalidValues = Literal["discard_row", "discard_value"]
NUMERIC: frozenset[str] = frozenset({"int64", "uint64", "float64"})


class Column(Declaration):
    """One column of a table: its type, its meaning, and which values are accepted."""

    name: str = Field(pattern=COLUMN_NAME)
    type: ColumnType
    description: str = Field(min_length=1)
    unit: str | None = Field(
        default=None, description="required for numbers; '1' for dimensionless ones"
    )
    origin: str | None = Field(
        default=None,
        alias="from",
        description="path of the field in the record; default: the column's name. A path with [] or"
        " {} starts at the top of the document, as `rows` does, and reads from an enclosing record:"
        " [].id64",
    )
    required: bool = Field(default=False, description="reject a row whose value is null")
    optional: bool = Field(
        default=False,
        description="a table of a workbook or a CSV file may lack the column; its values are null",
    )
    trim: bool = Field(
        default=True,
        description="remove blanks around texts, also those without a width (U+200B, U+2060,"
        " U+FEFF); a text of blanks alone is null",
    )
    merged: Literal["fill"] | None = Field(
        default=None,
        description="fill: a cell of a workbook that is merged over several rows has its value in"
        " each of them; default: in the first one only, and null in the others",
    )
    faulty_cells: Literal["discard_row", "discard_value"] = Field(
        default="discard_row",
        description="for a cell of a workbook with an error, or with a formula that was saved"
        " without its value: reject the row, or read null with a warning",
    )
    invalid_values: InvalidValues | None = Field(
        default=None,
        description="for a value that is not of the type or breaks another check of the column:"
        " reject the row, or read null with a warning; default: what the contract declares",
    )
    version_scheme: VersionScheme | None = Field(
        default=None,
        description="the texts are versions of this scheme; any other text is read as null, with a"
        " warning",
    )
    case: Literal["upper", "lower"] | None = Field(
        default=None, description="convert texts to this case before any other check"
    )
    pattern: str | None = Field(
        default=None, description="a regular expression that must match the whole text"
    )
    values: list[str] | None = Field(default=None, description="the only values allowed")
    known_values: list[str] | None = Field(
        default=None, description="the expected values; other values are kept with a warning"
    )
    minimum: float | None = None
    maximum: float | None = None

    # A number without a unit is the usual cause of a wrong comparison between two sources.
    @model_validator(mode="after")
    def _numbers_have_a_unit(self) -> Self:
        if self.type in NUMERIC and not self.unit:
            raise ValueError("expected a unit for a number ('1' if dimensionless), found none")
        return self

    @model_validator(mode="after")
    def _required_columns_exist(self) -> Self:
        if self.optional and self.required:
            raise ValueError("expected optional or required, found both")
        return self

    @model_validator(mode="after")
    def _versions_are_texts(self) -> Self:
        if self.version_scheme and self.type != "string":
            raise ValueError(f"expected the type string for a version, found {self.type}")
        return self


class RowRule(Declaration):
    """A rule over several columns, for the rows that `when` matches."""

    name: str = Field(pattern=NAME)
    when: dict[str, str] = Field(description="column: value pairs that must all match")
    require: list[str] = Field(default=[], description="columns that must have a value")
    forbid: dict[str, str] = Field(
        default={}, description="column: regular expression, which the whole value must not match"
    )


class Contract(Declaration):
    """The table that a source becomes: its columns, its key and the handling of bad rows."""

    columns: list[Column] = Field(min_length=1)
    key: list[str] = Field(min_length=1, description="two nulls in a key column count as equal")
    record_key: list[str] = Field(
        default=[],
        description="identifies a record that becomes several rows: of several records with equal"
        " values in these columns the rows of one are kept, as `duplicates` declares; a record with"
        " a rejected row is rejected whole",
    )
    reject_together: list[str] = Field(
        default=[],
        description="of rows with equal values in these columns all are rejected if one of them is:"
        " they are one statement, which counts whole or not at all",
    )
    null_words: list[str] = Field(
        default=[],
        description="texts that mean null, in lower case and without surrounding spaces",
    )
    duplicates: Literal["reject", "keep_last", "keep_newest"] = Field(
        default="reject",
        description="for rows with the same key: reject all but the first, or keep the last one, or"
        " the newest one; the others are counted and shown",
    )
    newest_by: str | None = Field(
        default=None,
        description="for keep_newest, the column to compare: the last of equal rows wins, null is"
        " the oldest",
    )
    unknown_fields: Literal["evolve", "discard_value", "freeze"] = Field(
        default="discard_value",
        description="for a field without a column: warn about it, ignore it, or refuse the file",
    )
    invalid_values: InvalidValues = Field(
        default="discard_row",
        description="for columns that declare none of their own; a row is always rejected for an"
        " invalid value in its key, or in a column that is required",
    )
    rules: list[RowRule] = []
    max_rejected_pct: float = Field(default=5.0, ge=0, le=100, description="of the rows of a file")
    max_rejected_rows: int = Field(
        default=1,
        ge=0,
        description="a file that rejects more than both limits is refused, and so is one that"
        " rejects all of its rows",
    )

    def keeps_row(self, column: Column) -> bool:
        """True if an invalid value of the column is read as null, and its row is kept."""
        if column.required or column.name in self.key:
            return False
        return (column.invalid_values or self.invalid_values) == "discard_value"

    def has_too_many_rejects(self, rejected: int, total: int) -> bool:
        """True if so many rejected rows of all rows refuse the file."""
        # Both limits must be exceeded: a percentage alone refuses a table of ten rows for one odd
        # row. A file without a valid row is another one than declared, whatever its size is.
        if rejected == total:
            return rejected > 0 and self.max_rejected_pct < 100
        return rejected > self.max_rejected_rows and rejected * 100 > self.max_rejected_pct * total
