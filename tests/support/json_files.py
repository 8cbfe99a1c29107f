"""Files of each JSON format with records that a test writes as text, member by member."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from support.table_declarations import column, contract

from etl_assets.declarations.contract import Contract
from etl_assets.declarations.formats import (
    CveFormat,
    Format,
    GeoJsonFormat,
    JsonArrayFormat,
    JsonFormat,
    OsvFormat,
)

# With fields that no column is from, and a list of objects among them.
FILLER = '"tags": [{"a": 1}, {"a": 2}]'


@dataclass(frozen=True, slots=True)
class JsonKind:
    """A format, a contract, and how a file of it is written.

    `record` makes the text of a record of its id and its other members; `id_column` has the id.
    `read` is a member that a column is from. `nested` is one of which a part is read: what is
    before that part, the part, and what is after it.
    """

    form: Format
    contract: Contract
    id_column: str
    record: Callable[[str, str], str]
    write: Callable[[Sequence[str]], bytes]
    read: str
    nested: tuple[str, str, str]


def _fruit(fruit_id: str, members: str) -> str:
    return f'{{"id": "{fruit_id}", {FILLER}{members and ", "}{members}}}'


def _feature(feature_id: str, members: str) -> str:
    properties = _fruit(feature_id, members)
    return f'{{"type": "Feature", "geometry": null, "properties": {properties}}}'


def _list(records: Sequence[str]) -> bytes:
    return ("[\n" + ",\n".join(records) + "\n]\n").encode()


def _map(records: Sequence[str]) -> bytes:
    entries = [f'"{number}": {{"x": {record}}}' for number, record in enumerate(records)]
    return ("{" + ", ".join(entries) + "}").encode()


def _zip(records: Sequence[str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, record in enumerate(records, start=1):
            archive.writestr(f"{number}.json", record)
    return packed.getvalue()


FRUITS = contract("id", "name", column("weight", "float64", **{"from": "size.weight"}))
FEATURES = contract(
    column("id", **{"from": "properties.id"}),
    column("name", **{"from": "properties.name"}),
    column("weight", "float64", **{"from": "properties.size.weight"}),
)
NAME, SIZE = '"name": "pear"', ('"size": {', '"weight": 1.5', "}")

KINDS = {
    "list in a document": JsonKind(
        JsonFormat(name="json", rows="fruits[]"),
        FRUITS,
        "id",
        _fruit,
        lambda records: b'{"count": 9, "fruits": ' + _list(records) + b"}",
        read=NAME,
        nested=SIZE,
    ),
    "map": JsonKind(
        JsonFormat(name="json", rows="{tree}.{branch}"),
        FRUITS,
        "id",
        _fruit,
        _map,
        read=NAME,
        nested=SIZE,
    ),
    "array": JsonKind(
        JsonArrayFormat(name="json_array"),
        FRUITS,
        "id",
        _fruit,
        _list,
        read=NAME,
        nested=SIZE,
    ),
    "array of lists": JsonKind(
        JsonArrayFormat(name="json_array", rows="[].fruits[]"),
        FRUITS,
        "id",
        _fruit,
        lambda records: _list([f'{{"crate": 1, "fruits": [{record}]}}' for record in records]),
        read=NAME,
        nested=SIZE,
    ),
    "geojson": JsonKind(
        GeoJsonFormat(name="geojson"),
        FEATURES,
        "id",
        _feature,
        lambda records: b'{"type": "FeatureCollection", "features": ' + _list(records) + b"}",
        read=NAME,
        nested=SIZE,
    ),
    "cve": JsonKind(
        CveFormat(name="cve_2_0"),
        contract("cve_id", "vuln_status", column("cvss_score", "float64")),
        "cve_id",
        lambda cve_id, members: f'{{"cve": {_fruit(cve_id, members)}}}',
        lambda records: b'{"format": "NVD_CVE", "vulnerabilities": ' + _list(records) + b"}",
        read='"vulnStatus": "Analyzed"',
        nested=('"metrics": {"cvssMetricV31": [{"cvssData": {', '"baseScore": 1.5', "}}]}"),
    ),
    "osv": JsonKind(
        OsvFormat(name="osv"),
        contract("osv_id", "summary", "package_name"),
        "osv_id",
        _fruit,
        _zip,
        read='"summary": "soft"',
        nested=('"affected": [{"package": {', '"name": "pear"', "}}]"),
    ),
}
