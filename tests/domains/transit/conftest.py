"""Homes after a run of the sample or of the real exits, each with its mirror."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from support.sample_home import SampleHome

from etl_assets.demo import samples
from etl_assets.model.records import RunStatus

DOMAIN = "transit"
AS_OF = datetime(2026, 3, 2, 3, tzinfo=UTC)
EXITS = "data.gov.sg/LTAMRTStationExitGEOJSON.geojson"

Rows = list[dict[str, Any]]


class Transit(SampleHome):
    """A home and its mirror, which tests may change in a copy."""

    name = DOMAIN
    as_of = AS_OF

    @classmethod
    def create(cls, folder: Path) -> Self:
        transit = super().create(folder)
        dbt_dir = transit.settings.dbt_dir
        samples.overlay_seeds(transit.sample_dir, dbt_dir, DOMAIN, folder / "dbt_project")
        return cls(folder)

    def change_features(self, change: Callable[[Rows], Rows]) -> None:
        """Replace the features of the exits in the mirror."""
        path = self.mirror / EXITS
        document = json.loads(path.read_text(encoding="utf-8"))
        document["features"] = change(document["features"])
        path.write_text(json.dumps(document), encoding="utf-8")

    def rows_by(self, mart: str, key: str) -> dict[Any, dict[str, Any]]:
        """Returns the rows of a mart by a column."""
        return {row[key]: row for row in self.rows(mart)}


@pytest.fixture(scope="session")
def first_transit(build_once: Any) -> Transit:
    """The home after a run of the sample; tests that change it take a copy."""
    return Transit(build_once("transit", Transit.create_with_run))


@pytest.fixture
def transit(first_transit: Transit, tmp_path: Path) -> Transit:
    return first_transit.copy_to(tmp_path / "copy")


@pytest.fixture(scope="session")
def real(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Transit:
    """A home after a run of the real exits."""
    transit = Transit(tmp_path_factory.mktemp("real"), mirror_url=str(mirror))
    manifest = transit.run()
    assert manifest.status is RunStatus.SUCCESS, manifest.note
    return transit
