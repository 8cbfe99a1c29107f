"""What the steps of a code location work with: settings, declarations, what a launch was told.

Built once by `build_defs`; steps close over it. It decides nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from etl_assets.declarations.domain import Domain
from etl_assets.fetch.download import PartProgress, no_progress
from etl_assets.fetch.http import Client
from etl_assets.fetch.locations import LocationResolver
from etl_assets.marts.dbt import DbtProject
from etl_assets.model.home import Home
from etl_assets.model.records import Part, Probe
from etl_assets.settings import Settings


def _silent(_: str) -> None:
    """Say nothing: a launch from the UI has the event log."""


@dataclass(frozen=True)
class ProjectContext:
    """Settings, domains, and the probes that the launching process has already made."""

    settings: Settings
    domains: Mapping[str, Domain]
    probes: Mapping[Part, Probe] = field(default_factory=dict)
    say: Callable[[str], None] = _silent
    progress: PartProgress = no_progress
    notify: bool = True
    holds_lock: bool = False
    """Whether the launching process holds the lock of the domain that it runs."""

    @cached_property
    def home(self) -> Home:
        return Home(self.settings.home)

    @property
    def resolver(self) -> LocationResolver:
        return LocationResolver(self.settings.home, self.settings.mirror, self.settings.secret)

    def client(self) -> Client:
        """What asks the remotes, through the proxy where one is set."""
        proxy = self.settings.proxy
        return Client(proxy=proxy.get_secret_value() if proxy else None)

    def dbt(self, domain: Domain) -> DbtProject:
        return self._projects[domain.name]

    def code_version(self, domain: Domain) -> str:
        """A digest of all that makes documents of files: package, declarations, SQL."""
        digest = hashlib.sha256(self._package_version.encode())
        digest.update(self.dbt(domain).code_version.encode())
        declared = domain.model_dump_json(by_alias=True, exclude={"retention"})
        digest.update(declared.encode())
        for source in domain.sources.values():
            digest.update(source.model_dump_json(by_alias=True).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def _projects(self) -> Mapping[str, DbtProject]:
        return {
            name: DbtProject(self.settings.dbt_dir, name, self.home, domain.vars)
            for name, domain in self.domains.items()
        }

    @cached_property
    def _package_version(self) -> str:
        package = Path(__file__).parent.parent
        digest = hashlib.sha256()
        for path in sorted(package.rglob("*")):
            if path.suffix in {".py", ".j2"}:
                digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
        return digest.hexdigest()
