"""What steps and operations work with: settings, declarations, the event log, the current run.

`build_defs` makes one ProjectContext, and steps close over it. Nothing is decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, cast, get_type_hints

import dagster as dg
from pydantic import create_model

from etl_assets.declarations.domain import BrokenDomain, Domain
from etl_assets.declarations.names import find_domain, find_part, find_source
from etl_assets.declarations.source import Source
from etl_assets.defs.event_log import DIRECTORY_TAG_PREFIX, EventLog, SourceState
from etl_assets.defs.instance.faults import database_errors
from etl_assets.fetch.download import PartProgress, no_progress
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver, kind_of_mirror
from etl_assets.marts.dbt import DbtProject
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Probe
from etl_assets.model.run_log import (
    Kind,
    LogLine,
    RunLog,
    StepProgress,
    as_line,
    no_step_progress,
)
from etl_assets.model.run_options import RunOptions, Stage, step_options
from etl_assets.publish import run_directory
from etl_assets.publish.openpgp import SigningKey, load_signing_key
from etl_assets.settings import Settings
from etl_assets.storage.lock import Locks, domain_locks
from etl_assets.storage.postgres import require_owner
from etl_assets.storage.postgres_turns import PostgresTurns

P = ParamSpec("P")
C = TypeVar("C", bound=dg.Config)
Step = Callable[P, Iterator[Any]]

AS_OF_TAG = "etl/as_of"


def _no_echo(_: str) -> None:
    """Print nothing: a run that Dagster launches has the event log."""


@dataclass(frozen=True)
class ProjectContext:
    """Settings, domains, and what the launching process hands to the steps of a run."""

    settings: Settings
    domains: Mapping[str, Domain]
    broken: Mapping[str, BrokenDomain] = field(default_factory=dict)
    """The domains that are left out because of faults in their declarations."""
    probes: Mapping[Part, Probe] = field(default_factory=dict)
    """Answers of remotes that the launching process has already."""
    echo: Callable[[str], None] = _no_echo
    """Prints a line for the operator; see `say`."""
    progress: PartProgress = no_progress
    advance: StepProgress = no_step_progress
    log: RunLog = field(default_factory=RunLog)
    notify: bool = True
    holds_lock: bool = False
    """True if the launching process holds the lock of the domain that it runs."""
    locks: Locks = field(default=cast("Locks", None))
    """Those of the settings by default; a context that replaces another one keeps its locks."""

    def __post_init__(self) -> None:
        if vars(self)["locks"] is None:
            locks = domain_locks(self.home, self.settings.event_log_database)
            object.__setattr__(self, "locks", locks)

    @cached_property
    def home(self) -> Home:
        return Home(self.settings.home, self.settings.scratch)

    def say(self, text: str) -> None:
        """Print a line, and keep it for the log in the run's directory."""
        line = as_line(text)
        line.fields.setdefault("run", self.log.run)
        self.log.add(line)
        self.echo(line)

    def find_source(self, name: str) -> Source:
        """Return a source by name; raises UsageError if there is none or more than one."""
        return find_source(self.domains, name, self.broken)

    def find_part(self, text: str) -> tuple[Source, Part]:
        """Return a source, and the part of it, that are named `source[partition]`."""
        return find_part(self.domains, text, self.broken)

    @property
    def resolver(self) -> LocationResolver:
        return LocationResolver(self.settings.home, self.settings.mirror, self.settings.secret)

    @property
    def mirror_kind(self) -> Literal["mirror", "samples"] | None:
        return kind_of_mirror(self.settings.mirror)

    @cached_property
    def signing_key(self) -> SigningKey | None:
        """The key that signs published sets; raises SettingsError if it cannot sign."""
        settings = self.settings
        if settings.signing_key is None:
            return None
        return load_signing_key(settings.signing_key, settings.signing_passphrase)

    def client(self) -> Client:
        """Return an HTTP client that uses the proxy of the settings."""
        proxy = self.settings.proxy
        database = self.settings.event_log_database
        return Client(
            proxy=proxy.get_secret_value() if proxy else None,
            turns=PostgresTurns(database) if database else None,
        )

    def dbt(self, domain: Domain) -> DbtProject:
        return self._dbt_projects[domain.name]

    def code_version(self, domain: Domain) -> str:
        """Return a digest of what turns files into documents: package, declarations, SQL."""
        digest = hashlib.sha256(self._package_version.encode())
        digest.update(self.dbt(domain).code_version.encode())
        # Retention deletes files and changes no document.
        declaration = domain.model_dump_json(by_alias=True, exclude={"retention"})
        digest.update(declaration.encode())
        for source in domain.sources.values():
            digest.update(source.model_dump_json(by_alias=True).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def _dbt_projects(self) -> Mapping[str, DbtProject]:
        settings = self.settings
        return {
            name: DbtProject(settings.dbt_dir, name, self.home, domain.vars, settings.dbt_profile)
            for name, domain in self.domains.items()
        }

    @cached_property
    def _package_version(self) -> str:
        package = Path(__file__).parent.parent
        digest = hashlib.sha256()
        # Sorted, as file systems list a folder in different orders.
        for path in sorted(package.rglob("*")):
            if path.suffix in {".py", ".j2", ".css", ".js"}:
                digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class DomainSession:
    """One domain of a project, with the event log that is open."""

    event_log: EventLog
    project: ProjectContext
    domain: Domain

    @property
    def home(self) -> Home:
        return self.project.home

    @property
    def dbt(self) -> DbtProject:
        return self.project.dbt(self.domain)

    @property
    def code_version(self) -> str:
        return self.project.code_version(self.domain)

    @property
    def key_fingerprint(self) -> str | None:
        """Of the key that signs published sets, or None."""
        key = self.project.signing_key
        return key.fingerprint if key else None

    def say(self, text: str, kind: Kind = Kind.PROGRESS, **fields: str | int | None) -> None:
        """Print a line about the domain; see `ProjectContext.say`."""
        self.project.say(LogLine(text, kind, domain=self.domain.name, **fields))

    def read_sources(self) -> dict[str, SourceState]:
        """Return the state of every source of the domain, by name."""
        return self.event_log.read_sources(self.domain.sources.values())

    def published_directory(self, *, fresh: bool = False) -> Path | None:
        """Return the run directory of the newest published set, or None.

        Another host may see `latest` later than it moved; a database of the locks is up to date.
        For `fresh`, see `Locks.read_head`.
        """
        newest = self.project.locks.read_head(self.domain.name, fresh=fresh)
        return run_directory.published_directory(self.home, self.domain.name, newest)


@dataclass(frozen=True)
class ProjectSession:
    """A project with the event log that is open."""

    event_log: EventLog
    project: ProjectContext

    def for_domain(self, name: str) -> DomainSession:
        """Return the session of one domain.

        Raises UsageError if none has this name, DeclarationError if its declarations have faults.
        """
        domain = find_domain(self.project.domains, name, self.project.broken)
        return DomainSession(self.event_log, self.project, domain)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of one domain: its logical time, and the directory that it writes."""

    run_id: str
    as_of: datetime
    started_at: datetime
    directory: Path


def directory_tag(domain: Domain) -> str:
    return f"{DIRECTORY_TAG_PREFIX}{domain.name}"


def current_run(session: DomainSession, run_id: str) -> Run:
    """Return the run from the tags of the Dagster run, so that every step finds the same one.

    The first step that calls this creates the directory and sets the tags.
    """
    event_log, home, domain = session.event_log, session.home, session.domain
    # Steps of a run that Dagster's UI launches share nothing but the run itself.
    tags = event_log.run_tags(run_id)
    started_at = event_log.run_started_at(run_id) or datetime.now(UTC)
    name = tags.get(directory_tag(domain))
    if name is None:
        name = run_directory.create(home, domain.name, started_at).name
        event_log.add_run_tags(run_id, {directory_tag(domain): name})
        tags = {AS_OF_TAG: _next_as_of(session, started_at).isoformat(), **tags}
        event_log.add_run_tags(run_id, {AS_OF_TAG: tags[AS_OF_TAG]})
    as_of = tags.get(AS_OF_TAG)
    session.project.log.run = name
    return Run(
        run_id=run_id,
        as_of=datetime.fromisoformat(as_of) if as_of else started_at,
        started_at=started_at,
        directory=home.outputs(domain.name) / name,
    )


def _next_as_of(session: DomainSession, started_at: datetime) -> datetime:
    """Return the start of the run, or just after every set that was published if that is later."""
    newest = run_directory.newest_time(session.home, session.domain.name)
    return max(started_at, newest + timedelta(microseconds=1)) if newest else started_at


def takes_options(stage: Stage) -> Callable[[type[C]], type[C]]:
    """Add the options of `etl run` that RunOptions assigns to a stage to its step's config."""

    def decorate(config: type[C]) -> type[C]:
        # `Field.type` is a string, because the module postpones the evaluation of annotations.
        types = get_type_hints(RunOptions)
        options: dict[str, Any] = {o.name: (types[o.name], o.default) for o in step_options(stage)}
        return create_model(
            config.__name__,
            __base__=config,
            __doc__=config.__doc__,
            __module__=config.__module__,
            **options,
        )

    return decorate


def run_options(config: dg.Config) -> RunOptions:
    """Return the options that a step's config holds, for steps with `takes_options`."""
    return RunOptions(**config.model_dump())


def domain_lock(
    project: ProjectContext, domain: Domain, stage: Stage
) -> Callable[[Step[P]], Step[P]]:
    """Run a step under its domain's lock, so that a domain has one writer.

    A command holds the lock for its whole run. A step that Dagster's UI or daemon launches takes
    the lock itself, and waits for it. A run that may have lost the lock records nothing more.
    """

    def decorate(step: Step[P]) -> Step[P]:
        @wraps(step)
        def locked_step(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            text = f"{domain.name}: {stage} starts"
            project.say(LogLine(text, Kind.START, domain=domain.name, stage=stage.value))
            with ExitStack() as stack:
                stack.enter_context(database_errors(project.settings.event_log))
                if not project.holds_lock:
                    if database := project.settings.event_log_database:
                        require_owner(database, project.home)
                    stack.enter_context(project.locks.take(domain.name, on_wait=project.say))
                for event in step(*args, **kwargs):
                    project.locks.require(domain.name)
                    yield event

        return locked_step

    return decorate
