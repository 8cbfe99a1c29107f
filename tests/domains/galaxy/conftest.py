"""Homes after a run of the sample, each with its own copy of the mirror."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.sample_home import SampleHome

from etl_assets.defs.launch import open_instance

DOMAIN = "galaxy"
AS_OF = datetime(2026, 3, 1, 9, tzinfo=UTC)
HOST = "downloads.spansh.co.uk"

Records = list[dict[str, Any]]


class Galaxy(SampleHome):
    """A home and its mirror, which tests may change in a copy."""

    name = DOMAIN
    as_of = AS_OF

    def change_dump(self, change: Callable[[Records], Records], name: str = "systems_1day") -> None:
        """Replace a dump of the mirror by a changed one, with one object per line as upstream."""
        path = self.mirror / HOST / f"{name}.json.gz"
        records = change(json.loads(gzip.decompress(path.read_bytes())))
        text = "[\n" + ",\n".join(f"    {json.dumps(record)}" for record in records) + "\n]\n"
        path.write_bytes(gzip.compress(text.encode()))

    def table(self, source: str) -> Records:
        file = self.home.table_file(DOMAIN, source, None)
        rows: Records = pq.read_table(file).to_pylist()
        return rows

    def rejects(self, source: str) -> Records:
        file = self.home.rejects_file(DOMAIN, source, None)
        rows: Records = pq.read_table(file).to_pylist()
        return rows

    def asset_keys(self) -> list[str]:
        with open_instance(self.settings) as instance:
            return [key.to_user_string() for key in instance.all_asset_keys()]


@pytest.fixture(scope="session")
def first_galaxy(build_once: Any) -> Galaxy:
    """The home after a run of the sample; tests that change it take a copy."""
    return Galaxy(build_once("galaxy", Galaxy.create_with_run))


@pytest.fixture
def galaxy(first_galaxy: Galaxy, tmp_path: Path) -> Galaxy:
    return first_galaxy.copy_to(tmp_path / "copy")
