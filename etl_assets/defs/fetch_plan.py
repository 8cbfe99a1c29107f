"""Probe, decide and download: the one set-up of a fetch, for runs, plans and single commands.

How bytes travel and how a decision is made is `etl_assets.fetch`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from etl_assets.declarations.source import Files, Source, Years
from etl_assets.defs.context import ProjectContext
from etl_assets.defs.event_log import SourceState
from etl_assets.fetch import answer_survey, collect_answers, decide, download, probe, raw_store
from etl_assets.fetch.answer_survey import RequestContext, RequestSurvey
from etl_assets.fetch.download import FetchContext, FetchJob
from etl_assets.fetch.file_set import list_files, sort_partitions
from etl_assets.fetch.locations import LocationResolver
from etl_assets.fetch.rate_limiter import TransferStats
from etl_assets.fetch.row_requests import build_requests
from etl_assets.model.errors import SettingsError
from etl_assets.model.home import Home
from etl_assets.model.records import (
    Decision,
    FetchResult,
    Part,
    Probe,
    RawFile,
    Reason,
    StoredState,
)
from etl_assets.model.run_options import DEFAULT_OPTIONS, RunOptions
from etl_assets.storage.signatures import Signatures
from etl_assets.validate import validate


@dataclass(frozen=True, slots=True)
class RowJob:
    """A source whose requests come from a table, and the decision whether to send them."""

    part: Part
    decision: Decision
    survey: RequestSurvey
    context: RequestContext
    last: FetchResult | None


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """The decision for each partition, and what is needed to carry it out."""

    files: Sequence[FetchJob]
    rows: Sequence[RowJob] = ()

    @property
    def decisions(self) -> list[Decision]:
        files = [job.decision for job in self.files]
        return files + [job.decision for job in self.rows]

    @property
    def probes(self) -> dict[Part, Probe]:
        return {job.part: job.probe for job in self.files if job.probe}


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Plans and runs fetches with one HTTP client."""

    project: ProjectContext
    context: FetchContext

    def plan(
        self,
        states: Mapping[str, SourceState],
        parts: Iterable[tuple[Source, Part]],
        options: RunOptions = DEFAULT_OPTIONS,
    ) -> FetchPlan:
        """Probe the remotes and decide for each partition.

        Probes that the launching process made are used again. With `skip_existing`, a partition
        that has a stored file is not probed.
        """
        skipped: list[FetchJob] = []
        files: list[tuple[Source, Part]] = []
        rows: list[RowJob] = []
        for declared, part in parts:
            source = declared.with_retries(options.max_retries)
            last = states[source.name].fetches.get(part.partition)
            decision = None
            if options.skip_existing:
                decision = decide.decide_without_probe(part, last, stored=self._stored_state(last))
            if decision:
                skipped.append(FetchJob(source, part, decision, last_result=last))
            elif source.for_each:
                rows.append(self._row_job(source, part, last, force=options.force_refresh))
            else:
                files.append((source, part))
        probes = self._probe(files)
        jobs = [
            self._file_job(
                source,
                part,
                states[source.name].fetches.get(part.partition),
                probes[part],
                force=options.force_refresh,
            )
            for source, part in files
        ]
        return FetchPlan([*skipped, *jobs], rows)

    def fetch(self, plan: FetchPlan) -> Iterator[FetchResult]:
        """Carry out a plan: files concurrently, then row requests one source after the other.

        A partition that is not to be fetched yields the result with its stored file.
        """
        yield from download.fetch_all(plan.files, self.context)
        for job in plan.rows:
            # Downloads may take minutes: answers bear the time at which they were requested.
            context = replace(job.context, now=datetime.now(UTC))
            yield collect_answers.collect(job.part, job.survey, job.decision, job.last, context)

    def download(self, source: Source, part: Part) -> RawFile:
        """Download one file without a probe; raises SourceError or ContentError."""
        decision = Decision(part=part, fetch=True, reason=Reason.NO_RECORD)
        return download.download(FetchJob(source, part, decision), self.context, TransferStats())

    def _probe(self, files: Sequence[tuple[Source, Part]]) -> dict[Part, Probe]:
        made = self.project.probes
        probes = {part: made[part] for _, part in files if part in made}
        missing = [(source, part) for source, part in files if part not in made]
        return probes | probe.probe_all(
            missing,
            client=self.context.client,
            resolver=self.project.resolver,
            now=self.context.now,
        )

    def _file_job(
        self, source: Source, part: Part, last: FetchResult | None, probe: Probe, *, force: bool
    ) -> FetchJob:
        decision = decide.decide(
            source,
            part,
            probe,
            last,
            stored=self._stored_state(last),
            force=force,
            code_version=download.CODE_VERSION,
            now=self.context.now,
            # The newest year may not be published yet, which is no outage.
            is_newest=part.partition == str(self.context.now.year),
        )
        return FetchJob(source, part, decision, probe, last)

    def _row_job(
        self, source: Source, part: Part, last: FetchResult | None, *, force: bool
    ) -> RowJob:
        missing, faults = [], []
        for credential in source.location.credentials.values():
            try:
                if self.project.settings.find_secret(credential.env) is None:
                    missing.append(credential.env)
            except SettingsError as error:  # a missing one is a choice, an empty one is a fault
                faults.append(str(error))
        context = RequestContext(
            client=self.context.client,
            home=self.project.home,
            now=self.context.now,
            missing_settings=", ".join(missing),
            settings_fault="; ".join(faults),
            force=force,
            signatures=self.context.signatures,
        )
        table = self.project.home.table_file(
            source.domain, answer_survey.require_for_each(source).table, None
        )
        requests = build_requests(
            source, table, self.project.resolver, with_credentials=not (missing or faults)
        )
        survey = answer_survey.survey_requests(source, requests, context)
        decision = answer_survey.decide(part, survey, last, context)
        return RowJob(part, decision, survey, context, last)

    def _stored_state(self, last: FetchResult | None) -> StoredState:
        if last is None or last.file is None:
            return StoredState.MISSING
        return raw_store.stored_state(self.project.home, last.file, self.context.signatures)


@contextmanager
def open_fetcher(
    project: ProjectContext,
    *,
    now: datetime,
    home: Home | None = None,
    validated: bool = True,
    signatures: Signatures | None = None,
) -> Iterator[Fetcher]:
    """Open a fetcher that stores files in `home`, by default the project's.

    `signatures` save reading stored files that did not change. With `validated`, a file that is not
    what its source declares goes to quarantine; without, it is stored, so that `etl sample` can
    show what is wrong with it.
    """
    with project.client() as client:
        context = FetchContext(
            client=client,
            resolver=project.resolver,
            home=home or project.home,
            now=now,
            check=validate.validate if validated else None,
            progress=project.progress,
            signatures=signatures or Signatures(),
        )
        yield Fetcher(project, context)


def all_parts(
    resolver: LocationResolver,
    source: Source,
    now: datetime,
    *,
    known_partitions: Iterable[str | None] = (),
) -> list[Part]:
    """Return every partition that a source has at a moment, the newest last.

    Of a file set, the `known_partitions` count too: a file that has vanished is an outage.
    """
    partitions: Sequence[str | None] = [None]
    match source.partitions:
        case Years(start=start):
            partitions = [str(year) for year in range(start, now.year + 1)]
        case Files() as files:
            listed = list_files(source, files, resolver).partitions
            partitions = sort_partitions([*listed, *filter(None, known_partitions)])
    return [source.part(partition) for partition in partitions]


def parts_of_sources(
    project: ProjectContext,
    sources: Iterable[Source],
    states: Mapping[str, SourceState],
    now: datetime,
) -> list[tuple[Source, Part]]:
    """Return every partition of every source, in order."""
    parts: list[tuple[Source, Part]] = []
    for source in sources:
        fetches = states[source.name].fetches
        own = all_parts(project.resolver, source, now, known_partitions=fetches)
        parts += [(source, part) for part in own]
    return parts


def unrecognized_files(project: ProjectContext, source: Source) -> list[str]:
    """Return a sentence for each file in a file set's folder that belongs to no partition."""
    files = source.partitions
    return (
        list_files(source, files, project.resolver).misnamed_files
        if isinstance(files, Files)
        else []
    )
