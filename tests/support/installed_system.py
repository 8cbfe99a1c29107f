"""A system with packages of a published set, and what scanners should find on it.

Expected values come from the advisories and from the order of Debian versions, not from documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from domains.advisories.debian_versions import compare, is_rebuild
from support.installed_packages import Installed, choose_installed, choose_sources, write_root
from support.published_set import PublishedSet
from support.scanners import Finding
from support.trivy_database import write_trivy_database

DISTRIBUTION = "echo"
SEED = 20_261_130
SOURCES = 600
# Trivy reads the document of a repository again for each finding: minutes for the largest ones.
MAX_ADVISORIES = 700
DEBIAN_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")

Condition = Callable[[Installed, dict[str, Any]], bool]


@dataclass(frozen=True)
class System:
    """A published set, and a system on which packages of it are installed."""

    published: PublishedSet
    vendor_feed: Mapping[str, Any]
    folder: Path
    published_packages: frozenset[Installed] = frozenset()
    """What the package index has from which the statements were made."""

    @property
    def root(self) -> Path:
        """A root file system with the records of the packages."""
        root = self.folder / "root"
        if not root.exists():
            write_root(root, self.installed, distribution=DISTRIBUTION)
        return root

    def write_feed(self, cache: Path) -> Path:
        """Write the published feed as a database of Trivy."""
        write_trivy_database(cache, DISTRIBUTION, self.published.json("data.json"))
        return cache

    def write_pairs(self, cache: Path) -> Path:
        """Write a database that has each pair, and neither a fix nor that one does not apply."""
        pairs = {
            source: {identifier: dict[str, str]() for identifier in rows}
            for source, rows in self.advisories.items()
        }
        write_trivy_database(cache, DISTRIBUTION, pairs)
        return cache

    @cached_property
    def advisories(self) -> dict[str, dict[str, Any]]:
        """The advisories by source package and id, of packages with a name that dpkg accepts."""
        advisories: dict[str, dict[str, Any]] = {}
        for row in self.published.json("advisory_current.json")["advisories"]:
            if DEBIAN_NAME.fullmatch(row["package_name"]):
                advisories.setdefault(row["package_name"], {})[row["cve_id"]] = row
        return {source: rows for source, rows in advisories.items() if len(rows) <= MAX_ADVISORIES}

    @cached_property
    def features(self) -> dict[str, set[str]]:
        """What is special about each source package."""
        features: dict[str, set[str]] = {}
        for source, rows in self.advisories.items():
            found = features.setdefault(source, set())
            for identifier, row in rows.items():
                found |= {f"state {row['state']}", f"reason {row['reason_code']}"}
                vendor = self.vendor_feed.get(source, {}).get(identifier, {})
                if (sentinel := vendor.get("fixed_version")) in {"0", "1"}:
                    found.add(f"sentinel {sentinel}")
                fix = row["fixed_version"] or ""
                marks = {"epoch": ":" in fix, "tilde": "~" in fix, "rebuild": is_rebuild(fix)}
                found |= {mark for mark, is_there in marks.items() if is_there}
        return features

    @cached_property
    def installed(self) -> list[Installed]:
        sources = choose_sources(self.features, SOURCES, SEED)
        return choose_installed(self.published.json("data.json"), sources, SEED)

    def findings(self, holds: Condition) -> set[Finding]:
        """The pairs of installed package and id for which a condition holds."""
        return {
            (package.name, identifier)
            for package in self.installed
            for identifier, row in self.advisories[package.source].items()
            if holds(package, row)
        }

    @cached_property
    def _published_sources(self) -> set[tuple[str, str]]:
        return {(each.source, each.source_version) for each in self.published_packages}

    def is_stated_harmless(self, package: Installed, row: dict[str, Any]) -> bool:
        """True if a statement says so of the binary package, which an index alone knows of."""
        is_fix = package.name == package.source and package.version == row["fixed_version"]
        if not self.published_packages:
            return is_fix or (package.name == package.source and row["state"] == "not_applicable")
        is_published = package in self.published_packages or (
            # A statement names a source in each version from which a package was published.
            package.name == package.source
            and (package.source, package.source_version) in self._published_sources
        )
        if row["state"] == "not_applicable":
            # The name alone says nothing if another source has it too.
            is_shared = package.name != package.source and package.name in self.advisories
            return is_published or not is_shared
        return is_fix or (row["state"] == "fixed" and is_published and not is_open(package, row))


def is_open(package: Installed, row: dict[str, Any]) -> bool:
    if row["state"] == "fixed":
        return compare(package.source_version, row["fixed_version"]) < 0
    return row["state"] != "not_applicable"
