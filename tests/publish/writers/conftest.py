"""Marts of a few rows, as input of a writer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.mart_tables import table_of

from etl_assets.declarations.domain import Attribution
from etl_assets.publish.writers.output import DocumentContext
from etl_assets.publish.writers.rows import Rows

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
GARDEN = Attribution("garden", "Garden list. Licence: CC0-1.0")

Lay = Callable[..., Rows]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """A mart of the given rows, in their order."""

    def _lay(*rows: dict[str, Any]) -> Rows:
        path = tmp_path / "mart.parquet"
        pq.write_table(table_of(rows), path)
        return Rows(path)

    return _lay


@pytest.fixture
def context(tmp_path: Path) -> DocumentContext:
    return DocumentContext(tmp_path / "run", AS_OF, attributions=(GARDEN,))
