"""Tables of a few rows, with the types that a mart declares for columns of structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

PRODUCTS = pa.list_(
    pa.struct([("name", pa.string()), ("version", pa.string()), ("arch", pa.string())])
)


def table_of(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """The rows as a table; other columns have the types of their values."""
    names = dict.fromkeys(name for row in rows for name in row)
    types = {"products": PRODUCTS}
    return pa.table(
        {name: pa.array([row.get(name) for row in rows], types.get(name)) for name in names}
    )
