"""Dagster's launcher of runs on Celery workers, with this project's settings and locks.

`dagster.yaml` of a home names this module and its class: neither may be renamed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher import (
    CheckRunHealthResult,
    LaunchRunContext,
    ResumeRunContext,
    WorkerStatus,
)
from dagster._grpc.types import ResumeRunArgs
from dagster._serdes import ConfigurableClassData, pack_value
from dagster_celery.config import TASK_RESUME_JOB_NAME
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_resume_job_task
from kombu.exceptions import OperationalError

from etl_assets.defs.event_log import COMMAND_TAG
from etl_assets.model.errors import HomeError, SettingsError
from etl_assets.settings import Settings
from etl_assets.storage.lock import domain_locks, run_lock_name

QUEUE = "dagster"  # Dagster's own name
QUEUED_AT_TAG = "etl/queued_at"
CANCELED_TAG = "etl/canceled"  # unlike the status, it survives the start of a run on a worker
MAX_QUEUED_SECONDS = 3600  # of a run that is taken up again
CELERY_SETTINGS = {
    # A worker executes one run at a time, each in a process of its own, and takes no further one.
    "worker_concurrency": 1,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_max_tasks_per_child": 1,
    # The process of each run is a copy of the worker, and has these modules from it.
    "imports": ["etl_assets.definitions"],
    # If a worker is lost before its run begins, the broker gives the run to another one; Dagster
    # ignores a second worker of a run that has begun.
    "task_acks_late": True,
    "broker_transport_options": {"visibility_timeout": 3600, "max_retries": 3},
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "task_default_queue": QUEUE,
    "result_expires": 7 * 24 * 3600,
    "result_backend_transport_options": {"retry_policy": {"max_retries": 3, "timeout": 5.0}},
}


def celery_arguments(settings: Settings) -> dict[str, Any]:
    """Return the arguments of the Celery application, for those who submit and for workers."""
    if settings.broker is None:
        raise SettingsError(
            "ETL_BROKER: expected the address of the message broker, such as redis://host:6379/0, "
            "as ETL_LAUNCHER is celery, found no such variable"
        )
    broker = settings.broker.get_secret_value()
    return {"broker": broker, "backend": broker, "config_source": dict(CELERY_SETTINGS)}


class CeleryLauncher(CeleryRunLauncher):
    """Launches each run as one task of Celery, and asks the run's lock if its worker is alive."""

    def __init__(self, home: str | None, inst_data: ConfigurableClassData | None = None) -> None:
        settings = Settings.load(home=home)
        # A broker that does not answer is one error of ours, and no line for each attempt.
        logging.getLogger("celery.backends.redis").setLevel(logging.CRITICAL)
        self._locks = domain_locks(settings.home_paths, settings.event_log_database)
        super().__init__(QUEUE, inst_data=inst_data, **celery_arguments(settings))

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"home": dg.Field(dg.Noneable(str), default_value=None, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> CeleryLauncher:
        return cls(config_value["home"], inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        try:
            super().launch_run(context)
        except (OperationalError, RuntimeError) as error:  # of the broker, and of its results
            raise HomeError(
                f"ETL_BROKER: expected a message broker that answers, found: {error}; start it, or "
                "correct ETL_BROKER, then run again"
            ) from error

    def resume_run(self, context: ResumeRunContext) -> None:
        """Let another worker take up a run.

        dagster-celery 0.29 sends the task an argument that it does not have; drop what is not about
        the tag once that is corrected.
        """
        run = context.dagster_run
        if run.job_code_origin is None:
            raise dg.DagsterInvariantViolationError(f"{run.run_id}: expected an origin of its code")
        arguments = ResumeRunArgs(
            job_origin=run.job_code_origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        )
        task = create_resume_job_task(self.celery)
        self._launch_celery_task_run(
            run=run,
            task_signature=task.si(resume_job_args_packed=pack_value(arguments)),
            routing_key=TASK_RESUME_JOB_NAME,
        )
        self._instance.add_run_tags(run.run_id, {QUEUED_AT_TAG: str(int(time.time()))})

    def terminate(self, run_id: str) -> bool:
        """Ask the worker to stop, which looks every few seconds; a run that waits never begins."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or COMMAND_TAG in run.tags:
            return False
        self._instance.add_run_tags(run_id, {CANCELED_TAG: "true"})
        if run.status in {dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING}:
            self._instance.report_run_canceled(run)
        else:
            self._instance.report_run_canceling(run)
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        # A command executes this one, and the lock of its domain says if it is alive.
        if COMMAND_TAG in run.tags or self._locks.find_holder(run_lock_name(run.run_id)):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        # Celery keeps the state of a task whose host is lost as it was.
        status = super().check_run_worker_health(run)
        queued_at = int(run.tags.get(QUEUED_AT_TAG, 0))
        if status.status is WorkerStatus.UNKNOWN and time.time() < queued_at + MAX_QUEUED_SECONDS:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "no worker has the lock of the run")
