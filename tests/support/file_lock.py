"""A team of hosts with file locks in the place of the locks of their database.

The tests of workers must find what goes wrong then. `submitted_runs` is what a worker loads, and
the program submits such a run, as `etl run` does.
"""

from __future__ import annotations

import sys

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer

from etl_assets.declarations.load import load
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.launch import open_project
from etl_assets.defs.workers.run_job import build_run_job
from etl_assets.defs.workers.submit import submit
from etl_assets.model.errors import EtlError
from etl_assets.model.home import Home
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_here
from etl_assets.settings import Settings
from etl_assets.storage.lock import FileLocks

CODE = ModuleCodePointer("support.file_lock", "submitted_runs", None)


def submitted_runs(domain: str) -> dg.Definitions:
    settings = Settings.load()
    locks = FileLocks(Home(settings.home, settings.scratch))
    project = ProjectContext(settings, load(settings.domains_dir), locks=locks)
    return dg.Definitions(jobs=[build_run_job(project.domains[domain], project, run_here)])


def echo(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def submit_run(domain: str) -> int:
    settings = Settings.load()
    with open_project(settings, load(settings.domains_dir), echo=echo) as session:
        try:
            manifest = submit(session.for_domain(domain), RunOptions(), None, code=CODE)
        except EtlError as error:
            echo(str(error))
            return 1
    return 0 if manifest.status != "failed" else 1


if __name__ == "__main__":
    sys.exit(submit_run(sys.argv[1]))
