"""Dagster's instance in ETL_HOME, and executing a plan's job in this process.

When to launch, and what becomes of the result, is `etl_assets.operations.run`.
"""

from __future__ import annotations

import json
import os
import re
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
from sqlalchemy.exc import DatabaseError, DBAPIError, SQLAlchemyError

from etl_assets.declarations.domain import BrokenDomain, Domain
from etl_assets.declarations.names import NONE_BROKEN
from etl_assets.defs import asset_keys
from etl_assets.defs.context import AS_OF_TAG, DomainSession, ProjectContext, ProjectSession
from etl_assets.defs.event_log import COMMAND_TAG, EventLog
from etl_assets.defs.model_state import former_check_keys, take_over_renamed_models
from etl_assets.defs.plan import Plan
from etl_assets.fetch.download import PartProgress, no_progress
from etl_assets.model import errors
from etl_assets.model.errors import EventLogError, HomeError, SettingsError
from etl_assets.model.home import Home
from etl_assets.model.run_log import StepProgress, no_step_progress
from etl_assets.model.run_options import RunOptions, step_options
from etl_assets.settings import Settings
from etl_assets.storage.atomic_write import atomic_file, translate_os_errors
from etl_assets.storage.postgres import describe_fault, require_owner

if TYPE_CHECKING:
    # The error of a failed step has no public type.
    from dagster_shared.error import SerializableErrorInfo

DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
# The class keeps its connections open; see `etl_assets.defs.instance.sqlite_storage`.
# Each domain has a pool of one slot for its warehouse: DuckDB refuses a second writer.
# By default Dagster keeps every tick forever, except those of sensors that requested nothing.
SQLITE_STORAGE = """\
storage:
  custom:
    module: etl_assets.defs.instance.sqlite_storage
    class: SqliteStorage
    config:
      base_dir:
        env: DAGSTER_HOME
"""
POSTGRES_STORAGE = """\
storage:
  custom:
    module: etl_assets.defs.instance.postgres_storage
    class: PostgresStorage
    config:
      url: {url}
      password_env: {password_env}
"""
DAGSTER_YAML = f"""\
{SQLITE_STORAGE}telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    default_limit: 1
    granularity: op
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 7
      started: 90
      success: 90
      failure: 90
"""
PACKAGE = Path(__file__).parents[1]
STORAGE_KEYS = ("storage", "run_storage", "event_log_storage", "schedule_storage")
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
    with _storage_errors(settings):
        home.mkdir(parents=True, exist_ok=True)
        database = settings.event_log_database
        if database:
            require_owner(database, Home(settings.home))
        _write_dagster_yaml(settings)
        # Dagster looks for its settings by a glob pattern, to which a `[` or `*` in the path gives
        # another meaning, without an error: so they are read here and passed, and Dagster reads an
        # empty file. Drop this once Dagster escapes the path.
        declared = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
        settings_of_instance = declared | _storage_settings(declared, settings)
        reference = InstanceRef.from_dir(
            str(home), config_filename=os.devnull, overrides=settings_of_instance
        )
        with dg.DagsterInstance.from_ref(reference) as instance:
            yield instance


def _write_dagster_yaml(settings: Settings) -> None:
    """Write the file if there is none, or if it has the other storage of this project.

    Programs of Dagster read it without this module, so it has to name the same event log. Raises
    SettingsError if it names a database, and the settings name none: nothing may start another log.
    """
    path = settings.dagster_home / "dagster.yaml"
    storage = _own_storage(settings)
    text = path.read_text(encoding="utf-8") if path.exists() else DAGSTER_YAML
    declared = (yaml.safe_load(text) or {}).get("storage", {})
    if not settings.event_log and _storage_class(declared) == _storage_class(
        yaml.safe_load(POSTGRES_STORAGE)["storage"]
    ):
        raise SettingsError(
            f"ETL_EVENT_LOG: expected {declared['custom']['config']['url']}, which {path} names, "
            "found no such variable; set it, or move that file away to begin another event log"
        )
    if settings.event_log and declared != yaml.safe_load(storage)["storage"]:
        if _storage_class(declared) not in {
            _storage_class(yaml.safe_load(own)["storage"])
            for own in (SQLITE_STORAGE, POSTGRES_STORAGE)
        }:
            raise SettingsError(
                f"{path}: expected no storage of its own, as ETL_EVENT_LOG is set, found another "
                "one; remove it there, or unset ETL_EVENT_LOG"
            )
        text = _with_storage(text, storage)
    if not path.exists() or text != path.read_text(encoding="utf-8"):
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _own_storage(settings: Settings) -> str:
    """Return the part of `dagster.yaml` that names the event log of the settings."""
    if settings.event_log is None:
        return SQLITE_STORAGE
    return POSTGRES_STORAGE.format(
        url=json.dumps(settings.event_log),  # quoted, as YAML reads it too
        password_env=json.dumps(settings.event_log_password_env),
    )


def _storage_class(storage: Mapping[str, Any]) -> tuple[str, str]:
    """Return module and class of a custom storage; empty for an older home, which names none."""
    if not storage:
        return _storage_class(yaml.safe_load(SQLITE_STORAGE)["storage"])
    custom = storage.get("custom", {})
    return custom.get("module", ""), custom.get("class", "")


def _with_storage(text: str, storage: str) -> str:
    """Return the text with another `storage`, and its other settings as they are."""
    others = re.sub(r"^storage:\n(?:[ #].*\n|\n)*", "", text, flags=re.MULTILINE)
    return storage + others


def _storage_settings(declared: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the storage of the settings, unless `dagster.yaml` declares another one.

    The variable that DAGSTER_YAML names need not be set here, and an older home has no `storage`.
    """
    if settings.event_log:
        return {"storage": yaml.safe_load(_own_storage(settings))["storage"]}
    own = yaml.safe_load(DAGSTER_YAML)["storage"]
    if any(declared.get(key, own) != own for key in STORAGE_KEYS):
        return {}
    base_dir = {"base_dir": str(settings.dagster_home)}
    return {"storage": {"custom": {**own["custom"], "config": base_dir}}}


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
    result = _execute(job, session.event_log.instance, selection, tags=tags, run_config=config)
    return RunResult(result.run_id, result.success, _is_interrupted(result), _first_error(result))


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
        remote_job_origin=_job_origin(job.name),
    )
    # The failure hook writes the manifest, which says what failed.
    return execute_run(InMemoryJob(job), run, instance, raise_on_error=False)


def _job_origin(name: str) -> RemoteJobOrigin:
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
def _storage_errors(settings: Settings) -> Iterator[None]:
    """Turn an event log that cannot be read or written into a HomeError that says what to do."""
    home = settings.dagster_home
    try:
        with translate_os_errors(home):
            yield
    except SQLAlchemyError as error:
        if settings.event_log:
            cause = error.orig if isinstance(error, DBAPIError) else None
            raise HomeError(describe_fault(settings.event_log, cause or error)) from error
        if not isinstance(error, DatabaseError):
            raise
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
