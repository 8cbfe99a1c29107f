"""The code location that Dagster loads, and nothing else."""

from __future__ import annotations

import dagster as dg

from etl_assets.declarations.load import load_each
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_code_location
from etl_assets.defs.workers.run_job import build_run_job
from etl_assets.operations.run import run_here
from etl_assets.publish.writers.registry import document_violations
from etl_assets.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the domains without faults, for the settings of this process."""
    settings = Settings.load()
    declarations = load_each(
        settings.domains_dir,
        settings.overrides,
        dbt_dir=settings.dbt_dir,
        document_rules=document_violations,
    )
    project = ProjectContext(settings, declarations.domains, declarations.broken)
    definitions = build_code_location(project)
    if settings.launcher == "local":
        return definitions
    jobs = [build_run_job(each, project, run_here) for each in project.domains.values()]
    return dg.Definitions.merge(definitions, dg.Definitions(jobs=jobs))
