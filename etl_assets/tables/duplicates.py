"""Find the rows or records of a table that share a key, and choose the one of each that stays.

Removing and counting the other rows is done by `etl_assets.tables.tabulate`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from etl_assets.declarations.contract import Contract
from etl_assets.storage.atomic_write import ADVICE, translate_os_errors
from etl_assets.storage.duckdb_connection import connect
from etl_assets.storage.sql_quoting import quote_text
from etl_assets.tables.arrow_types import SOURCE_ROW
from etl_assets.tables.contract_check import row_keys

if TYPE_CHECKING:
    import duckdb

# Starting DuckDB takes 30 ms, which is what Python needs for so many keys. Most tables are smaller.
MAX_HASHED_ROWS = 100_000
# A large table is read once for each 3 million of its rows, of which the hashes take 24 MB twice.
ROWS_PER_PASS = 3_000_000
# For sorting the rows that repeat, which are few in a sound file; what needs more is spilled.
MEMORY_LIMIT = "1GB"
# The first row of a key in this order stays. Of equally new rows the last one does.
ROW_ORDERS = {
    "reject": "position",
    "keep_last": "position desc",
    "keep_newest": "{newest_by} desc nulls last, position desc",
}

Integers = npt.NDArray[np.int64]
NO_ROWS: Integers = np.empty(0, np.int64)


class KeyHashes:
    """The hashes of a table's keys, collected while it is written and as long as it is small."""

    def __init__(self, contract: Contract) -> None:
        self._key = contract.key
        self._has_records = bool(contract.record_key)
        self._row_count = 0
        self._hashes: list[Integers] = []

    def add(self, rows: pa.RecordBatch) -> None:
        self._row_count += rows.num_rows
        if self._row_count > MAX_HASHED_ROWS:
            self._hashes = []
            return
        hashes = map(hash, row_keys(rows, self._key))
        self._hashes.append(np.fromiter(hashes, np.int64, rows.num_rows))

    def all_differ(self) -> bool:
        """True only if no key repeats; False also for a large table, or if two hashes are equal.

        Rows of one record share its key, so that these hashes say nothing about a key of records.
        """
        if self._row_count > MAX_HASHED_ROWS or self._has_records:
            return False
        return self._row_count == len(np.unique(np.concatenate([*self._hashes, NO_ROWS])))


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The positions of rows to remove, ascending from 0, and the record of the row kept for each.

    A record is the value of `source_row`.
    """

    positions: Integers
    kept_records: Integers


def find_duplicates(
    path: Path,
    contract: Contract,
    *,
    of_records: bool = False,
    rows_per_pass: int = ROWS_PER_PASS,
    memory_limit: str = MEMORY_LIMIT,
) -> Duplicates:
    """Returns the rows that give way to another row of the same key, as the contract declares.

    With `of_records` they are the rows of each record that gives way to another one of the same
    record key. A null in a key equals another null. Raises HomeError if there is no room to spill.
    """
    # DuckDB does not tell `a` from `A`, so every column gets a name of its own by its position.
    schema = pq.read_schema(path)
    columns = [f"column_{number}" for number in range(len(schema))]
    names = dict(zip(schema.names, columns, strict=True))
    key = ", ".join(
        names[column] for column in (contract.record_key if of_records else contract.key)
    )
    record = names[SOURCE_ROW]
    order = ROW_ORDERS[contract.duplicates].format(newest_by=names.get(contract.newest_by or ""))
    passes = pq.read_metadata(path).num_rows // rows_per_pass + 1
    with (
        _translate_spill_errors(path.parent),
        connect(
            memory_limit=memory_limit,
            threads=1,  # a second one took 45 % more CPU and no less time
            preserve_insertion_order=False,
            # The name is a temporary one of the table, so that recovery removes it after a crash.
            temp_directory=str(path.with_name(f"{path.name}.spill.tmp")),
        ) as connection,
    ):
        connection.execute(
            f"""
            create view table_rows ({", ".join(columns)}, position) as
            from read_parquet({quote_text(path.as_posix())}, file_row_number = true)
            """
        )
        connection.execute(
            f"""
            create view key_hashes as
            select {f"distinct {record}," if of_records else ""} hash({key}) as key_hash
            from table_rows
            """  # noqa: S608 - the names are made here
        )
        repeated = np.concatenate(
            [_find_repeated_hashes(connection, passes, number) for number in range(passes)]
        )
        if not len(repeated):
            return Duplicates(NO_ROWS, NO_ROWS)
        connection.register("repeated_hashes", pa.table({"key_hash": repeated}))
        # Different keys may share a hash, so these rows are compared by their keys.
        gives_way = f"{record} != kept_record" if of_records else "row_number() over same_key > 1"
        duplicates = connection.execute(
            f"""
            select
                position,
                first_value({record}) over same_key as kept_record
            from table_rows
            where hash({key}) in (from repeated_hashes)
            window same_key as (partition by {key} order by {order})
            qualify {gives_way}
            order by position
            """  # noqa: S608 - the names are made here
        ).fetchnumpy()
    return Duplicates(duplicates["position"], duplicates["kept_record"])


def _find_repeated_hashes(
    connection: duckdb.DuckDBPyConnection, passes: int, number: int
) -> npt.NDArray[np.uint64]:
    """Returns the hashes that several rows, or records, of one pass share, each once.

    Sorting hashes takes a third less time than grouping them in DuckDB, and than grouping the keys
    half of it or less.
    """
    hashes: npt.NDArray[np.uint64] = connection.execute(
        f"select key_hash from key_hashes where key_hash % {passes} = {number}"  # noqa: S608 - numbers
    ).fetchnumpy()["key_hash"]
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


@contextmanager
def _translate_spill_errors(folder: Path) -> Iterator[None]:
    """Raises HomeError for a disk that is full or refuses, as for every other file."""
    import duckdb

    with translate_os_errors(folder):
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            # DuckDB spills no more than the disk had room for when it was started.
            if "max_temp_directory_size" not in str(error):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        except duckdb.IOException as error:
            # The exception has no errno, only the system's text for it.
            for code in ADVICE:
                if os.strerror(code) in str(error):
                    raise OSError(code, os.strerror(code), str(folder)) from error
            raise
