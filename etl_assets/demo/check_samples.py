"""Runs a domain on its samples in a temporary home, for the checks of that run.

Evaluating the checks of the real home is `etl_assets.operations.check`.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from etl_assets.defs.context import DomainSession
from etl_assets.defs.launch import open_project
from etl_assets.demo import samples
from etl_assets.model.run_manifest import RunCheck
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain


def check_samples(session: DomainSession) -> list[RunCheck]:
    """Returns the checks of a run on the domain's samples; its home is removed afterwards."""
    settings, domain = session.project.settings, session.domain
    name = domain.name
    source_folder = settings.samples_dir / name
    with tempfile.TemporaryDirectory() as folder:
        mirror, home = Path(folder) / "mirror", Path(folder) / "home"
        samples.pack(source_folder, mirror, domain, at=datetime.now(UTC))
        dbt_copy = Path(folder) / "dbt_project"
        dbt_dir = samples.overlay_seeds(source_folder, settings.dbt_dir, name, dbt_copy)
        settings = samples.sample_settings(settings, home=home, mirror=str(mirror), dbt_dir=dbt_dir)
        with open_project(settings, {name: domain}, echo=session.project.echo) as sample_session:
            return run_domain(sample_session.for_domain(name), RunOptions()).checks
