"""The job of a submitted run: the command of `etl run`, executed by a worker.

The worker makes the Dagster run of the domain in its own process, as a command on this host does.
What it prints, and how it ends, are events of the submitted run, which
`etl_assets.defs.workers.submit` reads.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg

# An event with a text of our own has no public API in Dagster 1.13.
from dagster._core.events import EngineEventData
from pydantic import TypeAdapter

from etl_assets.declarations.domain import Domain
from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession, ProjectContext
from etl_assets.defs.event_log import EventLog
from etl_assets.model.errors import EtlError, RunInterruptedError
from etl_assets.model.run_log import Kind, LogLine, RunLog, SummaryLine, as_line
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions

Partitions = tuple[str, str] | None
RunDomain = Callable[[DomainSession, RunOptions, Partitions], RunManifest]

SUBMITTED_TAG = "etl/submitted"  # its value is the domain
OPTIONS, PARTITIONS = "options", "partitions"
LINE, RESULT = "line", "result"  # the metadata entries of events
OPTIONS_TYPE = TypeAdapter(RunOptions)


def build_run_job(
    domain: Domain, project: ProjectContext, run_domain: RunDomain
) -> dg.JobDefinition:
    """Return the job that runs a domain as its command does; `run_domain` is that command."""

    @dg.op(
        name=asset_keys.submitted_job_name(domain),
        config_schema={OPTIONS: str, PARTITIONS: dg.Noneable([str])},
    )
    def run_command(context: dg.OpExecutionContext) -> None:
        instance, run = context.instance, context.dagster_run
        session = DomainSession(
            EventLog(instance),
            replace(project, echo=partial(_report_line, instance, run), log=RunLog()),
            domain,
        )
        options = OPTIONS_TYPE.validate_json(context.op_config[OPTIONS])
        partitions = context.op_config[PARTITIONS]
        try:
            manifest = run_domain(session, options, tuple(partitions) if partitions else None)
        except (RunInterruptedError, dg.DagsterExecutionInterruptedError):
            raise dg.DagsterExecutionInterruptedError from None
        except EtlError as error:
            report_error(instance, run, error)
            raise dg.Failure(str(error), allow_retries=False) from error
        _report_result(instance, run, {"directory": manifest.directory})
        if manifest.status == "failed":
            raise dg.Failure(manifest.note or None, allow_retries=False)

    @dg.job(
        name=asset_keys.submitted_job_name(domain),
        description=f"{domain.title}: what `etl run {domain.name}` submits to a worker.",
        executor_def=dg.in_process_executor,
    )
    def submitted() -> None:
        run_command()

    return submitted


def _report_line(instance: dg.DagsterInstance, run: dg.DagsterRun, text: str) -> None:
    line = as_line(text)
    value = {
        "kind": line.kind.value,
        "fields": line.fields,
        "is_summary": isinstance(line, SummaryLine),
    }
    data = EngineEventData({LINE: dg.MetadataValue.json(value)})
    instance.report_engine_event(str(line), run, data)


def report_error(instance: dg.DagsterInstance, run: dg.DagsterRun, error: EtlError) -> None:
    """Record the error that the command which submitted the run raises."""
    _report_result(instance, run, {"error": type(error).__name__, "message": str(error)})


def _report_result(instance: dg.DagsterInstance, run: dg.DagsterRun, value: dict[str, Any]) -> None:
    worker = f"process {os.getpid()} on {socket.gethostname()}"
    data = EngineEventData({RESULT: dg.MetadataValue.json(value)})
    instance.report_engine_event(f"the run ended in {worker}", run, data)


def read_line(text: str, value: dict[str, Any]) -> LogLine:
    """Return a line that the worker has recorded."""
    kind = SummaryLine if value["is_summary"] else LogLine
    return kind(text, Kind(value["kind"]), **value["fields"])
