"""The Python API: run domains and read what they published, from another program.

`docs/python.md` shows it in use. The command does the same with options and texts for a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl_assets.declarations.load import load_each
from etl_assets.model.errors import NotFoundError
from etl_assets.model.home import Home
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions
from etl_assets.publish import run_directory
from etl_assets.settings import Settings

if TYPE_CHECKING:
    from etl_assets.defs.context import DomainSession


class Launcher:
    """Runs the domains of one home.

    Arguments are settings by their names, such as `home` and `mirror` (docs/settings.md); those
    that are not given come from the environment. `say` gets what the command prints while it works.
    Raises SettingsError with every wrong value.
    """

    def __init__(self, *, say: Callable[[str], None] = lambda _: None, **settings: Any) -> None:
        self.settings = Settings.load(**settings)
        self._say = say

    @property
    def domains(self) -> list[str]:
        """The names of all declared domains; raises DeclarationError if there are none."""
        declared = load_each(self.settings.domains_dir, self.settings.overrides)
        return sorted([*declared.domains, *declared.broken])

    def run(self, domain: str, options: RunOptions | None = None, **changes: Any) -> RunManifest:
        """Run a domain and return the manifest, which says how the run ended.

        `changes` replace fields of the options: `run("orchard", force_refresh=True)`. A run that
        fails returns a manifest with the status `failed`. Raises UsageError if the domain is
        unknown or options contradict each other, DeclarationError if its declarations have faults,
        HomeError if the home cannot be used.
        """
        from etl_assets.operations.run import run_domain

        options = replace(options or RunOptions(), **changes)
        options.require_consistent()
        with self._open(domain) as session:
            return run_domain(session, options)

    def published(self, domain: str) -> Path:
        """The directory of the published set; raises NotFoundError if nothing is published."""
        directory = run_directory.published_directory(Home(self.settings.home), domain)
        if directory is None:
            raise NotFoundError(f"{domain}: expected a published set, found none; run it first")
        return directory

    @contextmanager
    def _open(self, domain: str) -> Iterator[DomainSession]:
        from etl_assets.defs.launch import open_project
        from etl_assets.publish.writers.registry import document_violations

        settings = self.settings
        declared = load_each(
            settings.domains_dir,
            settings.overrides,
            dbt_dir=settings.dbt_dir,
            document_rules=document_violations,
        )
        with open_project(
            self.settings, declared.domains, broken=declared.broken, echo=self._say
        ) as session:
            yield session.for_domain(domain)
