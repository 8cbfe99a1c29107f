"""The Celery application of a worker: `celery -A etl_assets.defs.workers.celery_app worker`.

It executes the runs that commands submit, and those that pages, schedules and sensors launch.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import dagster as dg
from celery import Task  # type: ignore[import-untyped]
from dagster._grpc.types import ExecuteRunArgs, ResumeRunArgs
from dagster._serdes import unpack_value
from dagster._utils.interrupts import capture_interrupts
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from etl_assets.defs.instance.celery_launcher import CANCELED_TAG, celery_arguments
from etl_assets.defs.launch import open_instance
from etl_assets.defs.workers.run_job import report_error
from etl_assets.model.errors import EtlError, SettingsError
from etl_assets.settings import Settings
from etl_assets.storage.lock import run_lock_name
from etl_assets.storage.postgres_lock import PostgresLocks

log = logging.getLogger(__name__)

POLL_SECONDS = 2
CANCELED = {dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED}


class RunTask(Task):  # type: ignore[misc]  # it has no types
    """A task of Dagster's, executed under the lock of its run."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as Celery declares it
        run_id = _find_run_id(kwargs)
        settings = Settings.load()
        settings.export_dagster_home()  # Dagster opens its own instance
        # A signal that comes between two steps is kept for the next one.
        with (
            capture_interrupts(),
            _failures_end(settings, run_id),
            execute_alone(settings, run_id) as is_canceled,
        ):
            if is_canceled:
                log.warning("did not start run %s, which was canceled", run_id)
                return None
            return super().__call__(*args, **kwargs)


@contextmanager
def execute_alone(settings: Settings, run_id: str) -> Iterator[bool]:
    """Lock a run for the block, and send SIGINT to this process once if the run is canceled.

    Yields True, and sends nothing, if it was canceled before. The lock says that this worker is
    alive. A worker that takes up the run again waits for it.
    """
    database = settings.event_log_database
    if database is None:
        raise SettingsError(
            "ETL_EVENT_LOG: expected a PostgreSQL database, which workers need, found no such "
            "variable"
        )
    locks, ended = PostgresLocks(database), threading.Event()
    name = run_lock_name(run_id)
    with locks.take(name, on_wait=lambda _: None), open_instance(settings) as instance:

        def watch() -> None:
            while not ended.wait(POLL_SECONDS):
                if _is_canceled(instance.get_run_by_id(run_id)):
                    os.kill(os.getpid(), signal.SIGINT)
                    return

        run = instance.get_run_by_id(run_id)
        if _is_canceled(run):
            if not run.is_finished:  # its first worker was lost before it ended the run
                instance.report_run_canceled(run)
            yield True
            return
        thread = threading.Thread(target=watch, name=f"watch {run_id}", daemon=True)
        thread.start()
        try:
            yield False
        finally:
            ended.set()
            thread.join()


def _is_canceled(run: dg.DagsterRun | None) -> TypeGuard[dg.DagsterRun]:
    return run is not None and (run.status in CANCELED or CANCELED_TAG in run.tags)


def _find_run_id(arguments: dict[str, Any]) -> str:
    """Return the run of a task, whose one argument is packed by Dagster."""
    (packed,) = arguments.values()
    unpacked = unpack_value(packed)
    assert isinstance(unpacked, ExecuteRunArgs | ResumeRunArgs)  # noqa: S101 - of these tasks
    return str(unpacked.run_id)


@contextmanager
def _failures_end(settings: Settings, run_id: str) -> Iterator[None]:
    """End the run if this worker cannot execute it, so that nobody waits for it."""
    try:
        yield
    except EtlError as error:
        with open_instance(settings) as instance:
            run = instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                report_error(instance, run, error)
                instance.report_run_failed(run, str(error))
        raise


app = make_app(celery_arguments(Settings.load()))  # type: ignore[no-untyped-call]
# Their further arguments are options of Celery, whatever their type says.
execute_job = create_execute_job_task(app, base=RunTask)  # type: ignore[arg-type]
resume_job = create_resume_job_task(app, base=RunTask)  # type: ignore[arg-type]
