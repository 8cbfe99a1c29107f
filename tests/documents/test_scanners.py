"""Scanners report what is open and leave out what does not apply, on a system of many packages.

Expected values come from the advisories and from the order of Debian versions, not from documents.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packageurl import PackageURL
from support.indexed_home import publish_with_index
from support.installed_system import System, is_open
from support.published_set import PublishedSet
from support.sample_home import AS_OF, SampleHome
from support.scanners import Syft, Trivy, vex_repository_home

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
    harmless: dict[str, list[tuple[PackageURL, str]]] = {}
    for statement in system.published.json("openvex.json")["statements"]:
        if statement["status"] in {"fixed", "not_affected"}:
            for product in statement["products"]:
                url = PackageURL.from_string(product["@id"])
                pair = (url, statement["vulnerability"]["name"])
                harmless.setdefault(url.name, []).append(pair)

    installed = [PackageURL.from_string(url) for url in syft.package_urls(system.root)]

    assert sorted(url.name for url in installed) == sorted(p.name for p in system.installed)
    assert {
        (url.name, identifier)
        for url in installed
        for stated, identifier in harmless.get(url.name, [])
        if matches(stated, url)
    } == system.findings(system.is_stated_harmless)


def matches(stated: PackageURL, found: PackageURL) -> bool:
    """True if what was found has each part that the statement has."""
    return (
        (stated.type, stated.namespace, stated.name) == (found.type, found.namespace, found.name)
        and stated.version in {None, found.version}
        and stated.qualifiers.items() <= found.qualifiers.items()
    )
