"""`make consumers`: what scanners do with the documents of the real feeds, as a table.

Writes the table into docs/documents.md. Each line is a run of the scanner, compared with what the
advisories and the order of Debian versions say of a system of installed packages.
"""

from __future__ import annotations

import json
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from support.environments import Environment
from support.indexed_home import publish_with_index
from support.installed_system import System, is_open
from support.matching import OsvClient, match_statements
from support.published_set import PublishedSet
from support.sample_home import SampleHome
from support.scanners import Finding, Scan, Syft, Trivy, vex_repository_home

from etl_assets.demo.server import serving
from etl_assets.model.run_options import RunOptions

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "documents.md"
BEGIN, END = "<!-- consumers: written by `make consumers` -->", "<!-- end of consumers -->"
PAGE_WIDTH = 150
FEED = "advisory.echohq.com/data.json"
ECOSYSTEM = "Echo"
VUNNEL = "0.44.0"  # the last for Python 3.11


@dataclass(frozen=True, slots=True)
class Tried:
    """One line of the table."""

    consumer: str
    document: str
    tried: str
    did: str

    def __str__(self) -> str:
        return f"| {self.consumer} | {self.document} | {self.tried} | {self.did} |"


def main(mirror: Path) -> None:
    """Publish the real feeds, with and without an index, run the scanners, write the table."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        home = SampleHome(folder / "home", mirror_url=str(mirror))
        manifest = home.run(RunOptions())
        assert manifest.published, manifest.note
        vendor_feed = json.loads((mirror / FEED).read_bytes())
        (folder / "system").mkdir()
        plain = System(PublishedSet(home.latest), vendor_feed, folder / "system")
        indexed = publish_with_index(plain, mirror, ROOT, datetime.now(UTC))
        trivy = Trivy.install(_made(folder / "trivy"), folder / "trivy" / "cache")
        syft = Syft.install(_made(folder / "syft"))
        lines = [*_try_vunnel(plain, folder), *_try_trivy_feed(plain, trivy), _try_osv(plain)]
        for system, index in ((plain, "no package index"), (indexed, "a package index")):
            lines += [*_try_trivy_statements(system, trivy, index), _try_syft(system, syft, index)]
        _write(describe(plain), lines)


def describe(system: System) -> str:
    """What is installed, and how much of it is harmless."""
    sources = {package.source for package in system.installed}
    pairs = system.findings(lambda *_: True)
    harmless = system.findings(lambda *pair: not is_open(*pair))
    text = (
        "Made by `make consumers` from the real feeds."
        f" The system has {len(system.installed):,} binary packages of {len(sources):,} sources."
        f" Of their {len(pairs):,} pairs with an id {len(harmless):,} are harmless: not applicable,"
        " or fixed in the installed version. A line compares with those that the statements can"
        " name; the index has 70 % of the installed packages, and a newer version of each. For"
        " statements, Trivy's database has each pair, and no fix."
    )
    return "\n".join(textwrap.wrap(text, PAGE_WIDTH))


def _try_vunnel(system: System, folder: Path) -> Iterator[Tried]:
    environment = Environment.create(_made(folder / "vunnel"), f"vunnel=={VUNNEL}")
    script = ROOT / "tests" / "documents" / "vunnel_echo.py"
    with serving(system.published.directory) as server:
        fixes = environment.run_script(script, f"{server.url}/data.json", folder / "vunnel" / "w")
    read = {(package.lower(), identifier): version for identifier, package, version in fixes}
    expected = {
        pair: entry.get("fixed_version") or ""
        for pair, entry in system.published.feed().items()
        if not pair[1].startswith("TEMP-")
    }
    right = sum(read.get(pair) == version for pair, version in expected.items())
    did = f"reads {right:,} of {len(expected):,} CVEs of packages with their version"
    yield Tried(f"vunnel {VUNNEL}", "`data.json`", "provider `echo`", did)


def _try_trivy_feed(system: System, trivy: Trivy) -> Iterator[Tried]:
    scan = trivy.with_cache(system.write_feed(system.folder / "feed")).scan(system.root)
    expected = system.findings(is_open)
    did = f"reports {_compare(scan.reported, expected)}"
    yield Tried(f"Trivy {trivy.version}", "`data.json`", "as its database", did)


def _try_trivy_statements(system: System, trivy: Trivy, index: str) -> Iterator[Tried]:
    ignorant = trivy.with_cache(system.write_pairs(system.folder / f"pairs of {index}"))
    directory = system.published.directory
    harmless = system.findings(system.is_stated_harmless)
    sources = {package.source for package in system.installed}
    csaf = system.published.csaf_files_of(sources)

    def scan_repository() -> Scan:
        with vex_repository_home(directory, system.folder / f"served with {index}") as home:
            return ignorant.scan(system.root, vex=["repo"], home=home)

    runs: dict[str, tuple[str, Callable[[], Scan]]] = {
        "`openvex.json`": (
            "`--vex openvex.json`",
            lambda: ignorant.scan(system.root, vex=[directory / "openvex.json"]),
        ),
        "`vex-repository.zip`": ("`--vex repo` from a server", scan_repository),
        f"`csaf/`, {len(csaf)} files": (
            "`--vex` for each file",
            lambda: ignorant.scan(system.root, vex=csaf),
        ),
    }
    for document, (tried, run) in runs.items():
        did = f"leaves out {_compare(run().suppressed, harmless)}"
        yield Tried(f"Trivy {trivy.version}", document, f"{tried}; {index}", did)


def _try_syft(system: System, syft: Syft, index: str) -> Tried:
    matched = match_statements(system.published, syft.package_urls(system.root))
    did = f"matches {_compare(matched, system.findings(system.is_stated_harmless))}"
    tried = f"package URLs of its SBOM against statements; {index}"
    return Tried(f"syft {syft.version}", "`openvex.json`", tried, did)


def _try_osv(system: System) -> Tried:
    client = OsvClient(system.published.directory / "osv", ECOSYSTEM)
    did = f"finds {_compare(client.find(system.installed), system.findings(is_open))}"
    tried = "the records of `modified_id.csv`, evaluated as the schema says"
    return Tried("client of OSV 1.7.5, by the schema", "`osv/all.zip`", tried, did)


def _compare(found: AbstractSet[Finding], expected: set[Finding]) -> str:
    """How many of the expected findings it is, and how many others."""
    others = len(found - expected)
    return f"{len(found & expected):,} of {len(expected):,}, and {others:,} others"


def _write(description: str, lines: list[Tried]) -> None:
    """Replace the table between the two marks of the page."""
    head = ["| consumer | document | what was tried | what it did |", "|---|---|---|---|"]
    table = ["", description, "", *head, *map(str, lines), ""]
    text = PAGE.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text("\n".join([text[:start], *table, text[end:]]), encoding="utf-8")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
