"""A home of `advisories` with the package index, which is off in the declarations."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from support.enabled_sources import enable_sources
from support.installed_packages import choose_published, write_index
from support.installed_system import SEED, System
from support.published_set import PublishedSet
from support.sample_home import SampleHome

from etl_assets.declarations.load import load
from etl_assets.model.run_options import RunOptions


def publish_with_index(system: System, mirror: Path, repo_root: Path, as_of: datetime) -> System:
    """The same system, and statements made with an index of packages."""
    packages = choose_published(system.installed, SEED)
    folder = system.folder / "indexed"
    copy = shutil.copytree(mirror, folder / "mirror")
    write_index(copy / "packages/Packages.xz", packages)
    home = IndexedHome(folder, repo_root)
    manifest = home.run(RunOptions(as_of=as_of))
    assert manifest.published, manifest.note
    return replace(
        system, published=PublishedSet(home.latest), published_packages=frozenset(packages)
    )


class IndexedHome(SampleHome):
    """A home of declarations in which the package index is enabled."""

    def __init__(self, folder: Path, repo_root: Path) -> None:
        project = enable_sources(repo_root, folder / "project", self.name, "packages")
        super().__init__(folder, dbt_dir=project.dbt)
        self.settings = self.settings.model_copy(update={"domains_dir": project.domains})
        self.domain = load(project.domains)[self.name]
