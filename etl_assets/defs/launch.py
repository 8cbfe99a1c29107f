"""Dagster's instance in ETL_HOME, and executing a plan's job in this process.

When to launch, and what becomes of the result, is `etl_assets.operations.run`.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml

# A run's origin, and executing a run that exists, have no public API in Dagster 1.13.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.check import CheckError
from sqlalchemy.exc import DatabaseError

from etl_assets.declarations.domain import BrokenDomain, Domain
from etl_assets.declarations.names import NONE_BROKEN
from etl_assets.defs import asset_keys
from etl_assets.defs.context import AS_OF_TAG, DomainSession, ProjectContext, ProjectSession
from etl_assets.defs.event_log import COMMAND_TAG, EventLog
from etl_assets.defs.instance.dagster_yaml import instance_settings, write_dagster_yaml
from etl_assets.defs.instance.faults import database_errors
from etl_assets.defs.models.former_keys import former_check_keys, take_over_renamed_models
from etl_assets.defs.plan import Plan
from etl_assets.fetch.download import PartProgress, no_progress
from etl_assets.model import errors
from etl_assets.model.errors import EventLogError, HomeError
from etl_assets.model.home import Home
from etl_assets.model.run_log import StepProgress, no_step_progress
from etl_assets.model.run_options import RunOptions, step_options
from etl_assets.settings import Settings
from etl_assets.storage.atomic_write import translate_os_errors
from etl_assets.storage.postgres import require_owner

if TYPE_CHECKING:
    # The error of a failed step has no public type.
    from dagster_shared.error import SerializableErrorInfo

SHOWN_CHARACTERS = 200  # of a fault in the settings of Dagster
DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
PACKAGE = Path(__file__).parents[1]
# Messages of SQLite: https://www.sqlite.org/rescode.html#notadb and #corrupt
DAMAGED_DATABASE = (
    "file is not a database",
    "disk image is malformed",
    "malformed database schema",
)
# By name, because Dagster serializes the error of a step with the name of its class.
OWN_ERRORS = frozenset(vars(errors))


@dataclass(frozen=True, slots=True)
class RunResult:
    """How the Dagster run of a plan ended."""

    run_id: str
    success: bool
    interrupted: bool
    error: str
    """The message of the first failed step; empty if no step failed."""


@contextmanager
def open_project(
    settings: Settings,
    domains: Mapping[str, Domain],
    *,
    broken: Mapping[str, BrokenDomain] = NONE_BROKEN,
    echo: Callable[[str], None],
    progress: PartProgress = no_progress,
    advance: StepProgress = no_step_progress,
) -> Iterator[ProjectSession]:
    """Open a project with its event log, which is created on first use."""
    with open_instance(settings) as instance:
        project = ProjectContext(
            settings, domains, broken, echo=echo, progress=progress, advance=advance
        )
        yield ProjectSession(EventLog(instance), project)


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance of DAGSTER_HOME; raises HomeError if it cannot be written or read."""
    home = settings.dagster_home
    with _storage_errors(home), database_errors(settings.event_log):
        home.mkdir(parents=True, exist_ok=True)
        database = settings.event_log_database
        if database:
            require_owner(database, Home(settings.home, settings.scratch))
        write_dagster_yaml(settings)
        # Dagster looks for its settings by a glob pattern, to which a `[` or `*` in the path gives
        # another meaning, without an error: so they are read here and passed, and Dagster reads an
        # empty file. Drop this once Dagster escapes the path.
        declared = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
        with _settings_errors(home / "dagster.yaml"):
            settings_of_instance = declared | instance_settings(declared, settings)
            reference = InstanceRef.from_dir(
                str(home), config_filename=os.devnull, overrides=settings_of_instance
            )
            instance = dg.DagsterInstance.from_ref(reference)
        with instance:
            yield instance


@contextmanager
def _settings_errors(file: Path) -> Iterator[None]:
    """Raise HomeError for settings that Dagster does not accept."""
    try:
        yield
    except (dg.DagsterInvalidConfigError, CheckError) as error:
        faults = getattr(error, "errors", [])  # none for a fault that no schema describes
        messages = [fault.message for fault in faults] or [str(error)]
        found = " | ".join(" ".join(message.split())[:SHOWN_CHARACTERS] for message in messages[:5])
        raise HomeError(
            f"{file}: expected settings of Dagster, found: {found}; correct it, or move it away to"
            " get a new one"
        ) from error


def move_damaged_event_log_aside(settings: Settings) -> Path | None:
    """Rename the folders of the databases if one of them cannot be read, for new ones.

    Returns the folder with the old databases, or None if all of them can be read.
    """
    home = settings.dagster_home
    if settings.event_log or not any(_is_damaged(home / name) for name in DATABASES):
        return None
    target = next(path for number in count(1) if not (path := home / f"damaged_{number}").exists())
    target.mkdir()
    for folder in sorted({Path(name).parts[0] for name in DATABASES}):
        if (home / folder).exists():
            (home / folder).rename(target / folder)
    return target


def _is_damaged(database: Path) -> bool:
    """Return True if SQLite cannot read the tables of a database."""
    if not database.is_file():
        return database.exists()  # something else is in its place
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.OperationalError:
        return False  # it is locked, or there is no permission to read it
    except sqlite3.DatabaseError:
        return True
    return False


@contextmanager
def open_event_log(settings: Settings) -> Iterator[EventLog]:
    with open_instance(settings) as instance:
        yield EventLog(instance)


def launch(
    session: DomainSession, plan: Plan, options: RunOptions, *, as_of: datetime | None
) -> RunResult:
    """Execute the assets that a plan selects, as one Dagster run in this process.

    The caller holds the domain's lock.
    """
    # This imports dagster-dbt, which a run that finds nothing to do does not need.
    from etl_assets.defs.definitions import build_defs

    domain = session.domain
    project = replace(
        session.project, domains={domain.name: domain}, probes=plan.probes, holds_lock=True
    )
    defs = build_defs(project)
    plan.add_new_files(session)
    graph = defs.resolve_asset_graph()
    checks = former_check_keys(map(graph.get_check_spec, graph.asset_check_keys))
    take_over_renamed_models(session, checks)
    selection = plan.select(graph, domain)
    tags = {COMMAND_TAG: domain.name, **plan.range_tags}
    if as_of:
        tags[AS_OF_TAG] = as_of.isoformat()
    job = defs.resolve_job_def(asset_keys.job_name(domain))
    config = _run_config(domain, options, selection)
    with database_errors(session.project.settings.event_log):
        result = _execute(job, session.event_log.instance, selection, tags=tags, run_config=config)
    run = session.event_log.instance.get_run_by_id(result.run_id)
    is_canceled = run is not None and run.status is dg.DagsterRunStatus.CANCELED
    return RunResult(
        result.run_id,
        result.success,
        is_canceled or _is_interrupted(result),
        _first_error(result),
    )


def _execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    selection: Sequence[dg.AssetKey],
    *,
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
) -> dg.JobExecutionResult:
    """Execute a part of a job in this process, as a run of the code location.

    `execute_in_process` makes a run without origin, which the pages show on no page of a job.
    """
    subset = InMemoryJob(job).get_subset(asset_selection=frozenset(selection))
    run = instance.create_run_for_job(
        subset.get_definition(),
        run_config=run_config,
        tags=tags,
        asset_selection=frozenset(selection),
        remote_job_origin=job_origin(job.name),
    )
    try:
        # The failure hook writes the manifest, which says what failed.
        return execute_run(InMemoryJob(job), run, instance, raise_on_error=False)
    finally:
        # Dagster leaves a run that a signal interrupts for its run monitoring, which never takes up
        # one of a command.
        current = instance.get_run_by_id(run.run_id)
        if current is not None and not current.is_finished:
            instance.report_run_canceled(current)


def job_origin(name: str) -> RemoteJobOrigin:
    """Return the origin of a job in the code location of `workspace.yaml`."""
    target = LoadableTargetOrigin(
        executable_path=sys.executable, module_name=f"{PACKAGE.name}.definitions"
    )
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, PACKAGE.name)
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(name)


def _run_config(
    domain: Domain, options: RunOptions, selection: Sequence[dg.AssetKey]
) -> dict[str, Any]:
    """Return the options as config of the steps that take them; Dagster refuses any other."""
    stages = asset_keys.steps_of(domain)
    ops: dict[str, Any] = {}
    for step in {asset_keys.step_of(domain, key) for key in selection}:
        config = {
            option.name: getattr(options, option.name) for option in step_options(stages[step])
        }
        if config:
            ops[step] = {"config": config}
    # Dagster would print every event; the steps print one line a file by themselves.
    return {"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def _storage_errors(home: Path) -> Iterator[None]:
    """Turn an event log that cannot be read or written into a HomeError that says what to do."""
    try:
        with translate_os_errors(home):
            yield
    except DatabaseError as error:
        if any(text in str(error.orig) for text in DAMAGED_DATABASE):
            raise EventLogError(
                f"{home}: expected an event log that can be read, found: {error.orig}; `etl run` "
                "moves it aside and restores its records from the exported manifests"
            ) from error
        raise HomeError(
            f"{home}: expected an event log that can be written, found: {error.orig}; "
            "free some space or make it writable, then run again"
        ) from error
    except yaml.YAMLError as error:
        raise HomeError(
            f"{home / 'dagster.yaml'}: expected YAML, found: {' '.join(str(error).split())}; "
            "correct it, or move it away and run again to get a new one"
        ) from error


def _is_interrupted(result: dg.JobExecutionResult) -> bool:
    """Return True if a signal ended the run: inside a step, or between two as canceled."""
    if any(
        event.event_type is dg.DagsterEventType.PIPELINE_CANCELED for event in result.all_events
    ):
        return True
    for step_error in _step_errors(result):
        error: SerializableErrorInfo | None = step_error
        while error is not None:
            if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
                return True
            error = error.cause
    return False


def _first_error(result: dg.JobExecutionResult) -> str:
    """Return the message of the first failed step: our own error, or else the first cause."""
    error = next(_step_errors(result), None)
    if error is None:
        return ""
    while error.cause is not None and error.cls_name not in OWN_ERRORS:
        error = error.cause
    if error.cls_name in OWN_ERRORS:
        # Dagster puts the name of the class before the message.
        return error.message.partition(": ")[2].strip()
    return error.message.strip()


def _step_errors(result: dg.JobExecutionResult) -> Iterator[SerializableErrorInfo]:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            yield event.step_failure_data.error
