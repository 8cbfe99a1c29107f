"""The entry of each advisory in each published document, read without the code of the writers.

A document is read as a consumer of the standard would read it.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Pair = tuple[str, str]
"""The package name in lower case, as in a package URL, and the vulnerability id."""


@dataclass(frozen=True)
class PublishedSet:
    """The documents in one directory."""

    directory: Path

    def json(self, name: str) -> Any:
        return json.loads((self.directory / name).read_bytes())

    def osv_records(self) -> list[dict[str, Any]]:
        with zipfile.ZipFile(self.directory / "osv/all.zip") as archive:
            return [json.loads(archive.read(name)) for name in archive.namelist()]

    def csaf_documents(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted(self.csaf_files())]

    def csaf_files(self) -> list[Path]:
        return sorted((self.directory / "csaf").glob("*/*.json"))

    def csaf_files_of(self, packages: Collection[str]) -> list[Path]:
        """Return the files of these source packages, which their titles name."""
        titles = {f"Vulnerabilities and their states in {package}" for package in packages}
        return [
            path
            for path in self.csaf_files()
            if json.loads(path.read_bytes())["document"]["title"] in titles
        ]

    def envelope(self) -> dict[Pair, Any]:
        rows = self.json("advisory_current.json")["advisories"]
        return {(row["package_name"].lower(), row["cve_id"]): row for row in rows}

    def feed(self) -> dict[Pair, Any]:
        packages = self.json("data.json").items()
        return {
            (package.lower(), cve): entry for package, ids in packages for cve, entry in ids.items()
        }

    def osv(self) -> dict[Pair, Any]:
        """Return the entry of each package in the records that are not withdrawn."""
        return _require_unique(
            (entry["package"]["name"].lower(), record["upstream"][0], entry)
            for record in self.osv_records()
            if "withdrawn" not in record
            for entry in (
                *record.get("affected", []),
                *record["database_specific"].get("not_applicable", []),
            )
        )

    def openvex(self) -> dict[Pair, Any]:
        return _require_unique(
            (
                _package_of(statement["products"][0]["@id"]),
                statement["vulnerability"]["name"],
                statement,
            )
            for statement in self.json("openvex.json")["statements"]
        )

    def csaf(self) -> dict[Pair, Any]:
        return _require_unique(
            (_package_of(product), entry.get("cve") or entry["ids"][0]["text"], entry)
            for document in self.csaf_documents()
            for entry in document["vulnerabilities"]
            for product in {
                ids[0] for status, ids in entry["product_status"].items() if status != "first_fixed"
            }
        )

    def vex_repository(self) -> dict[Pair, Any]:
        """Return the statements that a client finds, which looks up the package in the index."""
        with zipfile.ZipFile(self.directory / "vex-repository.zip") as archive:
            entries = json.loads(archive.read("index.json"))["packages"]
            documents = {e["id"]: json.loads(archive.read(e["location"])) for e in entries}
        return _require_unique(
            (_package_of(package), statement["vulnerability"]["name"], statement)
            for package, document in documents.items()
            for statement in document["statements"]
            if any(p["@id"].partition("@")[0] == package for p in statement["products"])
        )

    def cyclonedx(self) -> dict[Pair, Any]:
        return _require_unique(
            (_package_of(entry["affects"][0]["ref"]), entry["id"], entry)
            for entry in self.json("cyclonedx.vex.json")["vulnerabilities"]
        )


def _package_of(purl: str) -> str:
    return unquote(purl.partition("?")[0].split("/")[-1].partition("@")[0])


def _require_unique(triples: Iterator[tuple[str, str, Any]]) -> dict[Pair, Any]:
    entries = [((package, cve), entry) for package, cve, entry in triples]
    duplicates = [pair for pair, count in Counter(pair for pair, _ in entries).items() if count > 1]
    assert not duplicates
    return dict(entries)
