"""The code location that Dagster loads, and nothing else."""

from __future__ import annotations

import dagster as dg

from etl_assets.declarations.load import load
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_defs
from etl_assets.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of every declared domain, with the settings of the environment."""
    settings = Settings.load()
    return build_defs(ProjectContext(settings, load(settings.domains_dir)))
