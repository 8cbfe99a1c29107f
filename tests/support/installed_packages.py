"""A root file system with the records of installed Debian packages, as scanners read it."""

from __future__ import annotations

import lzma
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT_SHARE = 0.7  # of what is installed, an archive still has so much
REBUILD = "+b1"
"""Of a binary package that was built again from the same source."""


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """A binary package, and the source package that it was built from."""

    name: str
    version: str
    source: str
    source_version: str
    arch: str = "amd64"

    def stanza(self, **fields: str) -> str:
        """The record of the package, as in an index or in the status file of dpkg."""
        record = {"Package": self.name, **fields}
        if (self.source, self.source_version) != (self.name, self.version):
            has_version = self.source_version != self.version
            record["Source"] = self.source + (f" ({self.source_version})" if has_version else "")
        record |= {"Version": self.version, "Architecture": self.arch}
        return "".join(f"{field}: {value}\n" for field, value in record.items())


def write_root(folder: Path, packages: Iterable[Installed], *, distribution: str) -> None:
    """Write `/etc/os-release` and the status file of dpkg below the folder."""
    # Syft makes package URLs of distributions that are like Debian alone.
    release = f'ID={distribution}\nID_LIKE=debian\nVERSION_ID="1"\nNAME="{distribution.title()}"\n'
    _write(folder / "etc/os-release", release)
    details = {"Maintainer": "Nobody <nobody@example.org>", "Description": "a package"}
    stanzas = [each.stanza(Status="install ok installed", **details) for each in packages]
    _write(folder / "var/lib/dpkg/status", "\n".join(stanzas))


def choose_installed(
    feed: Mapping[str, Mapping[str, Mapping[str, Any]]], sources: Iterable[str], seed: int
) -> list[Installed]:
    """Two binary packages of each source: one of its name, and a library built again since.

    Their version is a fix of the feed, one just below or above it, or an old one.
    """
    dice = random.Random(seed)
    packages = []
    for source in sorted(sources):
        version = dice.choice([*_versions(feed[source]), "1.0-1"])
        packages += [
            Installed(source, version, source, version),
            Installed(f"lib{source}1", version + REBUILD, source, version, "all"),
        ]
    return packages


def choose_published(installed: Iterable[Installed], seed: int) -> list[Installed]:
    """The packages of an index: most of those installed, and of each one a newer version."""
    dice = random.Random(seed)
    published = []
    for package in installed:
        if dice.random() < KEPT_SHARE:
            published.append(package)
        version = f"{package.source_version}+9"
        suffix = package.version.removeprefix(package.source_version)
        published.append(
            Installed(package.name, version + suffix, package.source, version, package.arch)
        )
    return published


def write_index(file: Path, packages: Iterable[Installed]) -> None:
    """Write an index `Packages.xz`."""
    details = {"Size": "1", "Description": "a package\n that is not described"}
    stanzas = [each.stanza(**details) for each in packages]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(lzma.compress("\n".join(stanzas).encode()))


def choose_sources(features: Mapping[str, Sequence[str]], count: int, seed: int) -> list[str]:
    """Sources that have every feature between them, some with few and most chosen at random."""
    dice = random.Random(seed)
    wanted = {feature for names in features.values() for feature in names}
    shuffled = sorted(features)
    dice.shuffle(shuffled)
    chosen: dict[str, None] = {}
    for feature in sorted(wanted):
        chosen[next(name for name in shuffled if feature in features[name])] = None
    for name in shuffled:
        if len(chosen) >= count:
            break
        chosen[name] = None
    return sorted(chosen)


def _versions(entries: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    fixes = {entry.get("fixed_version") for entry in entries.values()} - {None, "0", "1"}
    for fix in sorted(str(fix) for fix in fixes):
        yield from (fix, f"{fix}~", f"{fix}+1")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
