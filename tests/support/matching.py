"""Clients that match installed packages with published documents as their standards say."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from domains.advisories.debian_versions import compare
from packageurl import PackageURL
from support.installed_packages import Installed
from support.published_set import PublishedSet
from support.scanners import Finding

HARMLESS = frozenset({"fixed", "not_affected"})
BEFORE_ALL = "0"

Compare = Callable[[str, str], int]


def match_statements(published: PublishedSet, package_urls: Iterable[str]) -> set[Finding]:
    """The packages of a bill of materials with the ids that OpenVEX says are harmless there."""
    harmless: dict[str, list[tuple[PackageURL, str]]] = {}
    for statement in published.json("openvex.json")["statements"]:
        if statement["status"] in HARMLESS:
            for product in statement["products"]:
                url = PackageURL.from_string(product["@id"])
                pair = (url, statement["vulnerability"]["name"])
                harmless.setdefault(url.name, []).append(pair)
    return {
        (found.name, identifier)
        for found in map(PackageURL.from_string, package_urls)
        for stated, identifier in harmless.get(found.name, [])
        if _matches(stated, found)
    }


def _matches(stated: PackageURL, found: PackageURL) -> bool:
    """True if what was found has each part that the statement has."""
    return (
        (stated.type, stated.namespace, stated.name) == (found.type, found.namespace, found.name)
        and stated.version in {None, found.version}
        and stated.qualifiers.items() <= found.qualifiers.items()
    )


class OsvClient:
    """A client of an OSV export: the list of changes, the archive, and the schema's evaluation.

    https://ossf.github.io/osv-schema/#evaluation
    """

    def __init__(self, folder: Path, ecosystem: str) -> None:
        self._ecosystem = ecosystem
        self._affected: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        for record in self._read_records(folder):
            if "withdrawn" in record:
                continue
            for affected in record.get("affected", []):
                package = affected["package"]
                if package["ecosystem"] == ecosystem:
                    names = self._affected.setdefault(package["name"], [])
                    names += [(name, affected) for name in record["upstream"]]

    def find(self, packages: Iterable[Installed]) -> set[Finding]:
        """The installed packages that are affected, by the versions of their sources."""
        return {
            (package.name, identifier)
            for package in packages
            for identifier, affected in self._affected.get(package.source, [])
            if is_affected(package.source_version, affected, compare)
        }

    def _read_records(self, folder: Path) -> Iterator[dict[str, Any]]:
        """The records that the list of changes names, from the archive."""
        lines = csv.reader(io.StringIO((folder / "modified_id.csv").read_text(encoding="utf-8")))
        with zipfile.ZipFile(folder / "all.zip") as archive:
            for modified, identifier in lines:
                record = json.loads(archive.read(f"{identifier}.json"))
                assert record["modified"] == modified, identifier
                yield record


def is_affected(version: str, affected: Mapping[str, Any], compare: Compare) -> bool:
    """The schema's `IsVulnerable` for one package of a record."""
    if version in affected.get("versions", []):
        return True
    return any(
        _is_before_limits(version, each["events"], compare)
        and _is_in_range(version, each["events"], compare)
        for each in affected.get("ranges", [])
        if each["type"] == "ECOSYSTEM"
    )


def _is_before_limits(version: str, events: Iterable[Mapping[str, str]], compare: Compare) -> bool:
    limits = [event["limit"] for event in events if "limit" in event]
    return not limits or any(limit == "*" or compare(version, limit) < 0 for limit in limits)


def _is_in_range(version: str, events: Iterable[Mapping[str, str]], compare: Compare) -> bool:
    """True if the last event at or below the version opens the range."""
    is_vulnerable = False
    for event in _sort_events(events, compare):
        [(kind, at)] = event.items()
        order = 1 if at == BEFORE_ALL else compare(version, at)
        if kind == "introduced" and order >= 0:
            is_vulnerable = True
        elif (kind == "fixed" and order >= 0) or (kind == "last_affected" and order > 0):
            is_vulnerable = False
    return is_vulnerable


def _sort_events(events: Iterable[Mapping[str, str]], compare: Compare) -> list[Mapping[str, str]]:
    ordered: list[Mapping[str, str]] = []
    for event in events:
        [at] = event.values()
        place = len(ordered)
        while place and _is_below(at, next(iter(ordered[place - 1].values())), compare):
            place -= 1
        ordered.insert(place, event)
    return ordered


def _is_below(at: str, other: str, compare: Compare) -> bool:
    if BEFORE_ALL in {at, other}:
        return at == BEFORE_ALL != other
    return compare(at, other) < 0
