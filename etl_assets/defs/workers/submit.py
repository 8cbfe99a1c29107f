"""Submit the run of a domain to a worker, and follow it to its end.

The worker's side is `etl_assets.defs.workers.run_job`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

# Launching a run of another process has no public API in Dagster 1.13.
from dagster._core.code_pointer import CodePointer, CustomPointer, ModuleCodePointer
from dagster._core.instance import DagsterInstance
from dagster._core.origin import (
    DEFAULT_DAGSTER_ENTRY_POINT,
    JobPythonOrigin,
    RepositoryPythonOrigin,
)
from dagster._daemon.monitoring import RESUME_RUN_LOG_MESSAGE

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import DomainSession
from etl_assets.defs.instance.faults import database_errors
from etl_assets.defs.launch import PACKAGE, job_origin
from etl_assets.defs.workers.run_job import (
    LINE,
    OPTIONS,
    OPTIONS_TYPE,
    PARTITIONS,
    RESULT,
    SUBMITTED_TAG,
    Partitions,
    build_run_job,
    read_line,
)
from etl_assets.model import errors
from etl_assets.model.errors import BuildError, EtlError, RunInterruptedError, UsageError
from etl_assets.model.run_log import Kind
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory

CODE = ModuleCodePointer(f"{PACKAGE.name}.definitions", "submitted_runs", None)
POLL_SECONDS = 0.5
QUIET_SECONDS = 5  # until the operator reads that no worker has begun


def submit(
    session: DomainSession,
    options: RunOptions,
    partitions: Partitions,
    *,
    code: ModuleCodePointer = CODE,
) -> RunManifest:
    """Run a domain on a worker, and return the manifest; raises what the run raises there.

    `code` is the function that the worker calls with the name of the domain, for its job. A signal
    ends the run on the worker, too.
    """
    instance = session.event_log.instance
    with database_errors(session.project.settings.event_log):
        run = _create_run(
            session, options, partitions, CustomPointer(code, [session.domain.name], [])
        )
        instance.launch_run(run.run_id, None)  # type: ignore[arg-type]  # for a launcher of gRPC
        followed = _FollowedRun(session, run.run_id)
        try:
            followed.follow()
        except Exception:
            raise
        except BaseException:  # a signal
            followed.stop()
            raise
        return followed.result()


def _create_run(
    session: DomainSession, options: RunOptions, partitions: Partitions, code: CodePointer
) -> dg.DagsterRun:
    domain = session.domain
    job = build_run_job(domain, session.project, _not_here)
    # The copy is made by the command that submits: its directory may be of this host alone.
    sent = OPTIONS_TYPE.dump_json(replace(options, output_dir=None)).decode()
    config = {OPTIONS: sent, PARTITIONS: list(partitions) if partitions else None}
    return session.event_log.instance.create_run_for_job(
        job,
        run_config={
            "ops": {job.name: {"config": config}},
            # As in `etl_assets.defs.launch`: the lines of the run say what it does.
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        tags={SUBMITTED_TAG: domain.name},
        remote_job_origin=job_origin(job.name),
        job_code_origin=_code_origin(job.name, code),
    )


def _not_here(*_: object) -> RunManifest:
    raise AssertionError


def _code_origin(name: str, code: CodePointer) -> JobPythonOrigin:
    repository = RepositoryPythonOrigin(
        sys.executable, code, entry_point=DEFAULT_DAGSTER_ENTRY_POINT
    )
    return JobPythonOrigin(name, repository)


@dataclass
class _FollowedRun:
    """A submitted run, whose lines are printed as they come."""

    session: DomainSession
    run_id: str
    _cursor: str | None = None
    _has_lines: bool = False
    _result: Mapping[str, Any] | None = None
    _status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTING
    _since: float = field(default_factory=time.monotonic)

    @property
    def _instance(self) -> DagsterInstance:
        return self.session.event_log.instance

    @property
    def _domain(self) -> Domain:
        return self.session.domain

    def follow(self) -> None:
        """Print the lines of the run until it has ended."""
        is_reported = False
        while True:
            # Before the events are read, so that the last of them are not missed.
            run = self._instance.get_run_by_id(self.run_id)
            is_finished = run is None or run.is_finished
            self._read_events()
            if is_finished:
                self._status = run.status if run else dg.DagsterRunStatus.CANCELED
                return
            is_late = time.monotonic() > self._since + QUIET_SECONDS
            if is_late and not (self._has_lines or is_reported):
                self._print("waiting for a worker", Kind.PROGRESS)
                is_reported = True
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ask the worker to end the run, and follow it until it has; a second signal ends that."""
        self._print("the worker is asked to stop", Kind.PROGRESS)
        self._instance.run_launcher.terminate(self.run_id)
        self.follow()

    def result(self) -> RunManifest:
        """Return the manifest of the run, or raise what it raised."""
        name = self._domain.name
        if self._result is None:
            # The worker has lost the database, or its process was killed and nothing took up the
            # run.
            if self._status is dg.DagsterRunStatus.CANCELED:
                raise RunInterruptedError(f"{name}: the run was asked to stop")
            raise BuildError(
                f"{name}: expected the result of run {self.run_id}, found none: its worker ended "
                f"before it; the pages of the run say more (`etl ui`); run again"
            )
        if kind := self._result.get("error"):
            raise _read_error(kind, self._result["message"])
        directory = self.session.home.outputs(name) / self._result["directory"]
        return run_directory.read_manifest(directory)

    def _read_events(self) -> None:
        connection = self._instance.get_records_for_run(
            self.run_id, cursor=self._cursor, of_type=dg.DagsterEventType.ENGINE_EVENT
        )
        self._cursor = connection.cursor
        for record in connection.records:
            event = record.event_log_entry.dagster_event
            metadata = event.engine_event_data.metadata if event else {}
            text = (event.message if event else None) or ""
            if LINE in metadata:
                self.session.project.echo(read_line(text, metadata[LINE].value))  # type: ignore[arg-type]
                self._has_lines = True
            elif RESULT in metadata:
                self._result = metadata[RESULT].value  # type: ignore[assignment]
            elif text == RESUME_RUN_LOG_MESSAGE:
                self._print("the worker was lost, another one takes up the run", Kind.WARNING)

    def _print(self, text: str, kind: Kind) -> None:
        self.session.say(f"{self._domain.name}: run {self.run_id}: {text}", kind)


def _read_error(kind: str, message: str) -> EtlError:
    """Return the error of the worker; one with further arguments becomes the class above it."""
    error = getattr(errors, kind, BuildError)
    if issubclass(error, UsageError):
        return UsageError(message)
    found: EtlError = error(message)
    return found
