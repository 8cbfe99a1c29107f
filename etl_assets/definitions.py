"""The code locations: what Dagster loads, and what a worker loads for a submitted run."""

from __future__ import annotations

import dagster as dg

from etl_assets.declarations.load import load_each
from etl_assets.declarations.names import find_domain
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.definitions import build_code_location
from etl_assets.defs.workers.run_job import build_run_job
from etl_assets.operations.run import run_here
from etl_assets.publish.writers.registry import document_violations
from etl_assets.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the domains without faults, for the settings of this process."""
    project = _load_project()
    definitions = build_code_location(project)
    if project.settings.launcher == "local":
        return definitions
    jobs = [build_run_job(each, project, run_here) for each in project.domains.values()]
    return dg.Definitions.merge(definitions, dg.Definitions(jobs=jobs))


def submitted_runs(domain: str) -> dg.Definitions:
    """Return the one job of a domain's submitted runs.

    Its step builds the assets of the domain if the plan of the run needs them. Those of all
    domains, which `defs` has, would be built for each run again.
    """
    project = _load_project()
    declared = find_domain(project.domains, domain, project.broken)
    return dg.Definitions(jobs=[build_run_job(declared, project, run_here)])


def _load_project() -> ProjectContext:
    settings = Settings.load()
    declarations = load_each(
        settings.domains_dir,
        settings.overrides,
        dbt_dir=settings.dbt_dir,
        document_rules=document_violations,
    )
    return ProjectContext(settings, declarations.domains, declarations.broken)
