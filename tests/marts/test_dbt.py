"""dbt's own files may be half written; what is read of them is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.orchard import DOMAIN, assemble

from etl_assets.marts.dbt import DbtProject
from etl_assets.model.home import Home


@pytest.mark.long
@pytest.mark.fault("killed", "disk-full")
def test_a_manifest_that_a_killed_build_left_half_written_is_not_read(tmp_path: Path) -> None:
    directory = assemble(tmp_path / "project") / "dbt_project"
    project = DbtProject(directory, DOMAIN, Home(tmp_path / "home"))
    parsed = project.manifest
    (project.target / "manifest.json").write_text('{"nodes": {"mod', encoding="utf-8")

    again = DbtProject(directory, DOMAIN, Home(tmp_path / "home")).manifest

    assert again == parsed
    assert again["nodes"]
