"""Launching a domain from a command: probe, launch what moved and what is below it, conclude.

The same steps run from Dagster's pages without this module; it adds the probe before the launch.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy.exc import DatabaseError
from yaml import YAMLError

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order, find_domain, find_source
from etl_assets.declarations.source import Source
from etl_assets.defs import asset_keys, notify, partial_runs, prerequisites, run_context
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.plan import Plan, make_plan
from etl_assets.fetch.download import PartProgress, no_progress
from etl_assets.model import errors
from etl_assets.model.errors import BuildError, HomeError, RunInterruptedError, UsageError
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions, Stage
from etl_assets.operations import copy_out, recovery
from etl_assets.operations.status import DomainStatus, domain_status
from etl_assets.publish import run_directory
from etl_assets.settings import Settings
from etl_assets.storage.atomic_write import atomic_file, translate_os_errors
from etl_assets.storage.lock import lock

DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    default_limit: 1
    granularity: op
"""
OWN_ERRORS = frozenset(name for name in vars(errors))


@dataclass(frozen=True)
class Launcher:
    """One process that launches runs: a Dagster instance and a workplace."""

    instance: dg.DagsterInstance
    place: ProjectContext

    @classmethod
    @contextmanager
    def open(
        cls,
        settings: Settings,
        domains: Mapping[str, Domain],
        *,
        say: Callable[[str], None],
        progress: PartProgress = no_progress,
    ) -> Iterator[Launcher]:
        """Open the event log of ETL_HOME; it is made on first use."""
        with open_instance(settings) as instance:
            yield cls(instance, ProjectContext(settings, domains, say=say, progress=progress))

    def domain(self, name: str) -> Domain:
        return find_domain(self.place.domains, name)

    def plan(self, name: str, options: RunOptions) -> Plan:
        """What a run would fetch and make, and why; nothing is fetched or made."""
        domain = self.domain(name)
        sources = _sources(domain, options.sources)
        prerequisites.require(self.instance, self.place, domain, sources, options.stages)
        return make_plan(
            self.instance,
            self.place,
            domain,
            sources,
            now=datetime.now(UTC),
            options=options,
        )

    def status(self, name: str) -> DomainStatus:
        return domain_status(self.instance, self.place, self.domain(name))

    def run(self, name: str, options: RunOptions) -> RunManifest:
        """Run one domain under its lock; the manifest tells how it ended."""
        return self._run(self.domain(name), options)

    def backfill(self, name: str, start: str, end: str, options: RunOptions) -> RunManifest:
        """Run the partitions `start` to `end` of one source, and what is below what moved there."""
        source = self._partitioned(name)
        options = replace(options, sources=(source.name,))
        return self._run(self.domain(source.domain), options, within=(start, end))

    def _run(
        self, domain: Domain, options: RunOptions, *, within: tuple[str, str] | None = None
    ) -> RunManifest:
        place, copy = replace(self.place, notify=options.notify), options.output_dir
        copy = copy and copy_out.require_place(place, domain, copy)
        with lock(place.home.lock(domain.name), on_wait=place.say, wait=options.wait):
            try:
                manifest = self._run_alone(place, domain, options, within)
            except (HomeError, BuildError) as error:
                notify.notify_error(self.instance, place, domain, error)
                raise
            if copy:
                copy_out.deliver(place, domain, copy, published=manifest.published)
            return manifest

    def _run_alone(
        self,
        place: ProjectContext,
        domain: Domain,
        options: RunOptions,
        within: tuple[str, str] | None,
    ) -> RunManifest:
        recovery.recover(self.instance, place, domain)
        started_at = datetime.now(UTC)
        plan = self.plan(domain.name, options)
        as_of = self._as_of(domain, options)
        plan = plan.within(*within) if within else plan
        for line in plan.news():
            place.say(line)
        plan.observe(self.instance, domain)
        if not plan.needs_run:
            return self._leave_unmoved(place, domain, options, as_of, started_at)
        return self._launch(place, domain, plan, as_of, options)

    def _leave_unmoved(
        self,
        place: ProjectContext,
        domain: Domain,
        options: RunOptions,
        as_of: datetime | None,
        started_at: datetime,
    ) -> RunManifest:
        """What a run leaves for which there is nothing to do."""
        if options.stages.publishes:
            return run_context.repeat(
                self.instance, place, domain, as_of=as_of, started_at=started_at
            )
        return partial_runs.leave_unmoved(
            self.instance, place, domain, options.stages, as_of=as_of, started_at=started_at
        )

    def _launch(
        self,
        place: ProjectContext,
        domain: Domain,
        plan: Plan,
        as_of: datetime | None,
        options: RunOptions,
    ) -> RunManifest:
        from etl_assets.defs.definitions import build_defs, job_name

        defs = build_defs(
            place.settings,
            domains={domain.name: domain},
            probes=plan.probes,
            say=place.say,
            progress=place.progress,
            notify=place.notify,
            holds_lock=True,
        )
        plan.register(self.instance, domain)
        job = defs.resolve_job_def(job_name(domain))
        selected = plan.select(defs.resolve_asset_graph(), domain)
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=selected,
            tags={
                recovery.COMMAND_TAG: domain.name,
                **plan.range_tags,
                **({run_context.AS_OF_TAG: as_of.isoformat()} if as_of else {}),
            },
            run_config=_run_config(domain, options, selected),
            raise_on_error=False,
        )
        return self._outcome(place, domain, result, options)

    def _outcome(
        self,
        place: ProjectContext,
        domain: Domain,
        result: dg.ExecuteInProcessResult,
        options: RunOptions,
    ) -> RunManifest:
        run = run_context.current(self.instance, result.run_id, place, domain)
        note = "interrupted" if was_interrupted(result) else "the run ended before it published"
        if result.success and not options.stages.publishes:
            partial_runs.leave(self.instance, place, domain, run)
        run_context.leave_failed(self.instance, place, domain, run, note)
        if was_interrupted(result):
            raise RunInterruptedError(f"{domain.name}: the run was asked to stop")
        manifest = run_directory.read_manifest(run.directory)
        if manifest.published and not result.success:
            raise BuildError(
                f"{domain.name}: {run.directory.name} is published, but a step failed after that: "
                f"{_root(result)}; the event log of run {result.run_id} says more; run again"
            )
        return manifest

    def _as_of(self, domain: Domain, options: RunOptions) -> datetime | None:
        """The run's logical time where it is not simply the start: history never goes back.

        Marts that were built to be published are published for the moment they were built for.
        """
        given, published = (
            options.as_of,
            run_directory.published_directory(self.place.home, domain.name),
        )
        last = run_directory.read_manifest(published).as_of if published else None
        if options.stages.first is Stage.PUBLISH:
            built = prerequisites.built_at(self.instance, self.place, domain)
            if built and (last is None or built > last):
                return _only(built, given)
        if last is None:
            return given
        if given is not None and given <= last:
            raise UsageError(
                f"--as-of: expected a time after the published set's, {last.isoformat()}, "
                f"found {given.isoformat()}"
            )
        if given is None and datetime.now(UTC) <= last:
            return last + timedelta(microseconds=1)
        return given

    def _partitioned(self, name: str) -> Source:
        source = find_source(self.place.domains, name)
        if source.partitions is None:
            raise UsageError(f"{source.full_name} has no partitions to backfill")
        return source


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of DAGSTER_HOME, with telemetry off and one writer to the warehouse."""
    home = settings.dagster_home
    with _refusals_of_storage_told(home):
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").exists():
            with atomic_file(home / "dagster.yaml") as temporary:
                temporary.write_text(DAGSTER_YAML, encoding="utf-8")
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance


@contextmanager
def _refusals_of_storage_told(home: Path) -> Iterator[None]:
    """Turn what the disk refuses the event log into a HomeError that says what to do."""
    try:
        with translate_os_errors(home):
            yield
    except DatabaseError as error:
        raise HomeError(
            f"{home}: expected an event log that can be written, found: {error.orig}; "
            "free some space or make it writable, then run again"
        ) from error
    except YAMLError as error:
        raise HomeError(
            f"{home / 'dagster.yaml'}: expected YAML, found: {' '.join(str(error).split())}; "
            "mend it, or move it away and run again to have a new one"
        ) from error


def was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether a signal ended the run: in a step, as its error, or between two, as canceled."""
    return any(
        event.event_type is dg.DagsterEventType.PIPELINE_CANCELED
        or (event.is_step_failure and _is_interrupt(event.step_failure_data.error))
        for event in result.all_events
    )


def _root(result: dg.ExecuteInProcessResult) -> str:
    """What the first failed step ran into: our own error with its advice, or the first cause."""
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        if error is not None:
            while error.cause is not None and error.cls_name not in OWN_ERRORS:
                error = error.cause
            is_own = error.cls_name in OWN_ERRORS
            return (error.message.partition(": ")[2] if is_own else error.message).strip()
    return "no step says why"


def _is_interrupt(error: SerializableErrorInfo | None) -> bool:
    while error is not None:
        if error.cls_name == DagsterExecutionInterruptedError.__name__:
            return True
        error = error.cause
    return False


def serve_ui(settings: Settings, port: int) -> int:
    """Run Dagster's webserver and daemon on loopback until they end; returns their exit code."""
    with open_instance(settings):
        pass
    root = Path(__file__).parents[2]
    command = ["dg", "dev", "--host", "127.0.0.1", "--port", str(port)]
    program = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    environment = settings.child_environment()
    return subprocess.call(program, cwd=root, env=environment)  # noqa: S603 - our own program


def _only(built: datetime, given: datetime | None) -> datetime:
    if given not in {None, built}:
        raise UsageError(
            f"--as-of: expected {built.isoformat()}, for which the marts were built, or no time at "
            f"all, found {given}"
        )
    return built


def _sources(domain: Domain, names: tuple[str, ...]) -> list[Source]:
    requested = {name: domain.find_source(name) for name in names}
    if unknown := sorted(name for name, source in requested.items() if source is None):
        declared = ", ".join(sorted(domain.sources))
        raise UsageError(
            f"no source {', '.join(unknown)} in {domain.name}; declared are: {declared}"
        )
    if not names:
        return list(domain.sources.values())
    return [source for source in domain.sources.values() if source in requested.values()]


def _run_config(
    domain: Domain, options: RunOptions, selected: Sequence[dg.AssetKey]
) -> dict[str, Any]:
    """Config for the steps that take part; Dagster refuses config for any other."""
    told: dict[str, Any] = {}
    for wave, sources in enumerate(fetch_order(domain.sources)):
        if any(asset_keys.raw_key(source) in selected for source in sources):
            told[asset_keys.step_name(domain, "raw", wave)] = {
                "force_refresh": options.force_refresh,
                "skip_existing": options.skip_existing,
                "max_retries": options.max_retries,
            }
        if any(asset_keys.table_key(source) in selected for source in sources):
            step = asset_keys.step_name(domain, "tables", wave)
            told[step] = {"accept_changes": options.accept_changes}
    if asset_keys.published_key(domain) in selected:
        told[f"{domain.name}_publish"] = {"accept_changes": options.accept_changes}
    return {
        "ops": {name: {"config": config} for name, config in told.items()},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
