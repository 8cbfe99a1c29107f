"""Scanners report what is open and leave out what does not apply, on a system of many packages.

Expected values come from the advisories and from the order of Debian versions, not from documents.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from domains.advisories.debian_versions import compare
from packageurl import PackageURL
from support.indexed_home import publish_with_index
from support.installed_packages import write_root
from support.installed_system import DISTRIBUTION, System, is_open
from support.matching import OsvClient, is_affected, match_statements
from support.published_set import PublishedSet
from support.sample_home import AS_OF, SampleHome
from support.scanners import Syft, Trivy, vex_repository_home

from etl_assets.declarations.domain import VerifyCommand
from etl_assets.publish.verify_command import run_command

pytestmark = pytest.mark.long


SYSTEMS = [
    pytest.param("sample", marks=pytest.mark.ci),
    pytest.param("sample with index", marks=pytest.mark.ci),
    "real",
    "real with index",
]


@pytest.fixture(scope="module", params=SYSTEMS)
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, repo_root: Path
) -> System:
    name, _, with_index = request.param.partition(" ")
    if name == "sample":
        run: SampleHome = request.getfixturevalue("first_run")
        published, mirror, as_of = PublishedSet(run.latest), run.mirror, AS_OF
    else:
        published, mirror = (request.getfixturevalue(each) for each in ("real", "mirror"))
        as_of = datetime.now(UTC)
    feed = json.loads((mirror / "advisory.echohq.com/data.json").read_bytes())
    folder = tmp_path_factory.mktemp(name)
    plain = System(published, feed, folder)
    return publish_with_index(plain, mirror, repo_root, as_of) if with_index else plain


@pytest.fixture(scope="session")
def trivy_program(tmp_path_factory: pytest.TempPathFactory) -> Trivy:
    folder = tmp_path_factory.mktemp("trivy")
    return Trivy.install(folder, folder / "cache")


@pytest.fixture(scope="module")
def trivy(system: System, trivy_program: Trivy) -> Trivy:
    """Trivy with the published feed as its database."""
    return trivy_program.with_cache(system.write_feed(system.folder / "feed"))


@pytest.fixture(scope="module")
def ignorant_trivy(system: System, trivy_program: Trivy) -> Trivy:
    """Trivy with a database that knows each pair, and neither a fix nor that one does not apply."""
    return trivy_program.with_cache(system.write_pairs(system.folder / "pairs"))


def test_the_system_covers_each_state_reason_sentinel_and_kind_of_version(system: System) -> None:
    sources = {package.source for package in system.installed}

    covered = set().union(*(system.features[source] for source in sources))

    assert covered == set().union(*system.features.values())
    assert {"sentinel 1", "epoch", "tilde", "rebuild"} <= covered
    assert {feature.split()[0] for feature in covered} >= {"state", "reason"}


def test_trivy_reports_what_is_open_by_the_feed(system: System, trivy: Trivy) -> None:
    scan = trivy.scan(system.root)

    assert scan.reported == system.findings(is_open)


def test_without_statements_trivy_reports_every_pair(system: System, ignorant_trivy: Trivy) -> None:
    scan = ignorant_trivy.scan(system.root)

    assert scan.reported == system.findings(lambda *_: True)
    assert not scan.suppressed


def test_trivy_leaves_out_what_openvex_says_is_harmless(
    system: System, ignorant_trivy: Trivy
) -> None:
    scan = ignorant_trivy.scan(system.root, vex=[system.published.directory / "openvex.json"])

    assert scan.suppressed == system.findings(system.is_stated_harmless)
    assert scan.reported == system.findings(lambda *pair: not system.is_stated_harmless(*pair))


@pytest.mark.parametrize("is_refused", [False, True])
def test_trivy_refuses_a_candidate_as_the_documentation_shows(
    system: System, ignorant_trivy: Trivy, is_refused: bool, tmp_path: Path
) -> None:
    """The reference system has the packages that the statements say are harmless, or all."""
    harmful = {name for name, _ in system.findings(lambda *p: not system.is_stated_harmless(*p))}
    packages = [each for each in system.installed if is_refused or each.name not in harmful]
    write_root(tmp_path / "root", packages, distribution=DISTRIBUTION)
    script = f'"{ignorant_trivy.program}" rootfs --skip-db-update --offline-scan --scanners vuln'
    script += f' --cache-dir "{ignorant_trivy.cache}" --exit-code 1'
    script += f' --vex "$1/openvex.json" "{tmp_path / "root"}"'
    command = VerifyCommand(command=["sh", "-c", script, "verify"], timeout_seconds=600)
    environment = {"PATH": os.defpath, "HOME": str(tmp_path)}

    result = run_command(command, system.published.directory, tmp_path, environment, tmp_path)

    assert packages
    assert result.passed != is_refused, result


def test_trivy_leaves_out_what_the_vex_repository_says_is_harmless(
    system: System, ignorant_trivy: Trivy, tmp_path: Path
) -> None:
    with vex_repository_home(system.published.directory, tmp_path) as home:
        scan = ignorant_trivy.scan(system.root, vex=["repo"], home=home)

    assert scan.suppressed == system.findings(system.is_stated_harmless)
    assert scan.reported == system.findings(lambda *pair: not system.is_stated_harmless(*pair))


def test_trivy_leaves_out_the_cves_that_csaf_says_are_harmless(
    system: System, ignorant_trivy: Trivy
) -> None:
    sources = {package.source for package in system.installed}

    scan = ignorant_trivy.scan(system.root, vex=system.published.csaf_files_of(sources))

    # Trivy compares the member `cve` alone, and passes over other ids.
    expected = system.findings(system.is_stated_harmless)
    assert scan.suppressed == {each for each in expected if each[1].startswith("CVE-")}


def test_statements_match_the_package_urls_of_syft(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> None:
    syft = Syft.install(tmp_path_factory.mktemp("syft"))

    urls = syft.package_urls(system.root)

    installed = [PackageURL.from_string(url).name for url in urls]
    assert sorted(installed) == sorted(p.name for p in system.installed)
    expected = system.findings(system.is_stated_harmless)
    assert match_statements(system.published, urls) == expected


def test_a_client_of_osv_finds_what_is_open(system: System) -> None:
    client = OsvClient(system.published.directory / "osv", "Echo")

    assert client.find(system.installed) == system.findings(is_open)


@pytest.mark.parametrize(
    ("events", "affected"),
    [
        ([("introduced", "0")], ["0~1", "1", "2~rc1", "2", "9"]),
        ([("introduced", "0"), ("fixed", "2")], ["0~1", "1", "2~rc1"]),
        ([("fixed", "2"), ("introduced", "0")], ["0~1", "1", "2~rc1"]),
        ([("introduced", "1"), ("last_affected", "2")], ["1", "2~rc1", "2"]),
        ([("introduced", "0"), ("fixed", "1"), ("introduced", "2")], ["0~1", "2", "9"]),
        ([("introduced", "0"), ("limit", "2")], ["0~1", "1", "2~rc1"]),
        ([("introduced", "0"), ("fixed", "1:0")], ["0~1", "1", "2~rc1", "2", "9"]),
    ],
)
def test_the_client_evaluates_ranges_as_the_schema_says(
    events: list[tuple[str, str]], affected: list[str]
) -> None:
    ranges = [{"type": "ECOSYSTEM", "events": [{kind: at} for kind, at in events]}]

    found = [
        version
        for version in ("0~1", "1", "2~rc1", "2", "9", "1:1")
        if is_affected(version, {"ranges": ranges}, compare)
    ]

    assert [version for version in found if version != "1:1"] == affected
    assert is_affected("3", {"versions": ["3"]}, compare)
