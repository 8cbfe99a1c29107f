"""The code location that Dagster loads, and nothing else."""

from __future__ import annotations

import dagster as dg

from etl_assets.defs.definitions import build_defs
from etl_assets.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """Every declared domain, as the environment's settings say."""
    return build_defs(Settings.load())
