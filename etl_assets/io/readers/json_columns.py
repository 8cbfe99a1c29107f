"""The flat columns of a JSON array by DuckDB, where every value is plainly of its declared kind.

A fast way that never decides: what is not plain is told as such, and the caller reads those records
again element by element. Both ways give the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from etl_assets.io.arrow import TYPES
from etl_assets.io.readers.stored import GZIP_MAGIC
from etl_assets.model.declaration import ColumnType, Contract
from etl_assets.model.paths import Step, origin_of

ROWS_AT_ONCE = 20_480
MAX_OBJECT_BYTES = 1 << 20  # a longer record is read element by element
CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "memory_limit": "128MB"}
TOP_LEVEL = [Step("items")]

Names = tuple[str, ...]
Plain = dict[str, pa.Array]


class NotTaken(Exception):
    """The fast way ends here; the records already yielded stand."""


def ways_of(contract: Contract, paths: Sequence[list[Step]]) -> dict[str, Names] | None:
    """Column -> the fields that lead to it; None where a contract is not flat enough."""
    if list(paths) != [TOP_LEVEL] or contract.unknown_fields != "discard_value":
        return None
    ways = {}
    for column in contract.columns:
        origin = origin_of(column, TOP_LEVEL)
        if origin is None or column.type not in CONVERTERS:
            return None
        ways[column.name] = origin.names
    leaves = set(ways.values())
    folded = {tuple(name.lower() for name in names) for names in leaves}
    nested = {names[:depth] for names in leaves for depth in range(1, len(names))}
    return ways if len(folded) == len(leaves) and not nested & leaves else None


def read_columns(
    path: Path, contract: Contract, ways: dict[str, Names] | None
) -> Iterator[tuple[int, Plain | None]]:
    """Row counts with the columns of so many records, None where they are not plain.

    Raises NotTaken where DuckDB does not take the file, or takes it no further.
    """
    if ways is None:
        raise NotTaken
    kinds = {column.name: column.type for column in contract.columns}
    with duckdb.connect(config=CONFIG) as connection:
        is_empty = True
        for texts in _texts(connection, path, ways):
            is_empty = False
            yield texts.num_rows, _plain(texts, kinds)
    if is_empty:
        raise NotTaken  # a file of nothing is taken for a list of nothing


def _texts(
    connection: duckdb.DuckDBPyConnection, path: Path, ways: dict[str, Names]
) -> Iterator[pa.RecordBatch]:
    """Each column as the JSON text of its values; a null and a field left out look alike."""
    with path.open("rb") as file:
        is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    wanted = [".".join(map(_quoted, names)) + f" as {_quoted(c)}" for c, names in ways.items()]
    try:
        relation = connection.read_json(
            str(path),
            columns=_columns(_tree(ways.values())),
            format="array",
            compression="gzip" if is_packed else "none",
            maximum_object_size=MAX_OBJECT_BYTES,
        )
        yield from relation.project(", ".join(wanted)).to_arrow_reader(ROWS_AT_ONCE)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise NotTaken from error


def _tree(ways: Iterable[Names]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for names in ways:
        branch = tree
        for name in names:
            branch = branch.setdefault(name, {})
    return tree


def _columns(tree: dict[str, Any]) -> dict[str, str]:
    return {name: _type(branch) for name, branch in tree.items()}


def _type(tree: dict[str, Any]) -> str:
    fields = ", ".join(f"{_quoted(name)} {_type(branch)}" for name, branch in tree.items())
    return f"struct({fields})" if fields else "json"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(texts: pa.RecordBatch, kinds: dict[str, ColumnType]) -> Plain | None:
    """The columns in their types; None where one value is not plainly of its kind.

    A row without any value may have been a null in place of a record, which is none.
    """
    if all(column.null_count for column in texts.columns) and _any_empty(texts):
        return None
    columns = {}
    for name, kind in kinds.items():
        column = CONVERTERS[kind](texts.column(name), kind)
        if column is None:
            return None
        columns[name] = column
    return columns


def _any_empty(texts: pa.RecordBatch) -> bool:
    empty = texts.columns[0].is_null()
    for column in texts.columns[1:]:
        empty = pc.and_(empty, column.is_null())
    return bool(pc.any(empty).as_py())


def _all(mask: pa.Array) -> bool:
    return pc.all(mask).as_py() is not False


def _strings(texts: pa.Array, _: ColumnType) -> pa.Array | None:
    if not _all(pc.starts_with(texts, '"')):
        return None
    if _holds(texts, b"\\"):
        decode = msgspec.json.Decoder(str).decode
        return pa.array([t and decode(t) for t in texts.to_pylist()], pa.string())
    return pc.ascii_trim(texts, '"')


def _holds(texts: pa.Array, part: bytes) -> bool:
    """Whether a text may hold this part; a slice is taken for the whole that it is cut from."""
    data = texts.buffers()[-1]
    return data is not None and part in data.to_pybytes()


def _floats(texts: pa.Array, kind: ColumnType) -> pa.Array | None:
    numbers = _cast(texts, kind)
    return numbers if numbers is not None and _all(pc.is_finite(numbers)) else None


def _booleans(texts: pa.Array, _: ColumnType) -> pa.Array | None:
    true = pc.equal(texts, "true")
    return true if _all(pc.or_(true, pc.equal(texts, "false"))) else None


def _cast(texts: pa.Array, kind: ColumnType) -> pa.Array | None:
    """A number with a fraction is no whole number here, and a text in its quotes none at all."""
    try:
        return pc.cast(texts, TYPES[kind])
    except pa.ArrowInvalid:
        return None


# Times stay texts, which the contract's own cast reads.
CONVERTERS: dict[ColumnType, Callable[[pa.Array, ColumnType], pa.Array | None]] = {
    "string": _strings,
    "date": _strings,
    "timestamp": _strings,
    "int64": _cast,
    "uint64": _cast,
    "float64": _floats,
    "boolean": _booleans,
}
