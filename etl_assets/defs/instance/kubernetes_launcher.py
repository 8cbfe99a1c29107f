"""Dagster's launcher of runs as Kubernetes jobs, beside runs that a command executes itself.

`dagster.yaml` of a home names this module and its class: neither may be renamed.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher

from etl_assets.defs.event_log import COMMAND_TAG


class KubernetesLauncher(K8sRunLauncher):
    """Launches each run as a job of its own; its settings are those of Dagster's class."""

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if COMMAND_TAG in run.tags:  # it has no job, and would be taken up again
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        result: CheckRunHealthResult = super().check_run_worker_health(run)
        return result

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or COMMAND_TAG in run.tags:
            return False
        return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
