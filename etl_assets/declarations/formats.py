"""The file formats that a source may have, and their options.

Reading a format is a module of `etl_assets.tables.readers`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from etl_assets.declarations.declaration import Declaration


class JsonFormat(Declaration):
    """A JSON document; `rows` is the path to its records, or a list of paths.

    `{column}` turns the keys of a map into a column, `[]` iterates over a list, a plain name
    descends into a field: `{package_name}.{cve_id}`, `vulnerabilities[]`,
    `{package}.{id}.releases.{release}`. An empty path is a top-level list.
    """

    name: Literal["json"]
    rows: str | list[str] = ""


class JsonArrayFormat(Declaration):
    """A JSON document that is a single list, read as a stream.

    `rows` is as for json, but a path begins with `[]`; an empty path is the elements of the list.
    With several paths, the rows of one element follow each other, path by path.
    """

    name: Literal["json_array"]
    rows: str | list[str] = ""


class CsvFormat(Declaration):
    """Delimited text with a header line."""

    name: Literal["csv"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    comment: str | None = Field(
        default=None, description="skip leading lines that start with this text"
    )


class GeoJsonFormat(Declaration):
    """A collection of GeoJSON features (RFC 7946), one row each.

    A column comes from `properties.<name>`, `id`, `geometry.type`, `geometry.longitude` or
    `geometry.latitude`.
    """

    name: Literal["geojson"]


class ExcelFormat(Declaration):
    """One sheet of a workbook, xlsx or xlsb; the first row that is not empty is its header."""

    name: Literal["excel"]
    sheet: str = Field(min_length=1)


class OsvFormat(Declaration):
    """A zip of OSV records (https://ossf.github.io/osv-schema/), one row per affected interval."""

    name: Literal["osv"]


class CveFormat(Declaration):
    """CVE records in the schema of the CVE API 2.0 (https://nvd.nist.gov/developers/vulnerabilities)."""

    name: Literal["cve_2_0"]


class Deb822Format(Declaration):
    """Stanzas of fields, as in the index `Packages` of a distribution (deb822(5)), one row each.

    A column comes from a field, whose name may be in any case. `Source.name` and `Source.version`
    are the source package and its version, which deb-control(5) derives from Package and Version
    where the field `Source` does not name them.
    """

    name: Literal["deb822"]


Format = Annotated[
    JsonFormat
    | JsonArrayFormat
    | CsvFormat
    | ExcelFormat
    | GeoJsonFormat
    | OsvFormat
    | CveFormat
    | Deb822Format,
    Field(discriminator="name"),
]
