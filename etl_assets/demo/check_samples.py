"""Run a domain on its own samples in a temporary home, and return the checks of that run.

Evaluating the checks of the real home is `etl_assets.operations.check`.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from etl_assets.demo import samples
from etl_assets.model.run_manifest import RunCheck
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import Launcher


def check_samples(launcher: Launcher, name: str) -> list[RunCheck]:
    """Return the checks of a run over the domain's samples; its home is removed afterwards."""
    settings = launcher.place.settings
    domain = launcher.domain(name)
    with tempfile.TemporaryDirectory() as folder:
        mirror, home = Path(folder) / "mirror", Path(folder) / "home"
        sample = settings.samples_dir / name
        samples.pack(sample, mirror, domain, at=datetime.now(UTC))
        dbt = samples.lay_seeds(sample, settings.dbt_dir, name, Path(folder) / "dbt_project")
        sample_settings = settings.model_copy(
            update={
                "home": home,
                "dagster_home": home / ".dagster",
                "mirror": str(mirror),
                "notify": None,
                "dbt_dir": dbt,
            }
        )
        with Launcher.open(sample_settings, {name: domain}, say=launcher.place.say) as sample_run:
            return sample_run.run(name, RunOptions()).checks
