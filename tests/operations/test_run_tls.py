"""Runs over TLS: a certificate or a redirect that is refused is an outage of its source alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import misbehaving_server as faults
from support.certificates import Authority
from support.misbehaving_server import MisbehavingServer, run_misbehaving_server
from support.orchard import DOMAIN, Files, Orchard, create_project, declare_address

from etl_assets.model.records import RunStatus

pytestmark = pytest.mark.long

FILES = Files.create(40)
NOTES = "/notes.json"


@pytest.fixture(scope="module")
def plain_server() -> Iterator[MisbehavingServer]:
    """The server of the sources without a fault."""
    with run_misbehaving_server() as server:
        for name, content in FILES.render().items():
            server.publish(f"/{name}", content)
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def orchard(plain_server: MisbehavingServer, tmp_path: Path) -> Orchard:
    """A home without a mirror; the notes are still declared at their public address."""
    project = create_project(tmp_path / "project")
    declare_address(project, plain_server.url, "trees", "harvests")
    orchard = Orchard(tmp_path / "live", project=project)
    orchard.settings = orchard.settings.model_copy(update={"mirror": None})
    return orchard


def run_with_notes_at(orchard: Orchard, url: str) -> list[str]:
    """Run with the notes at another address, and return the faults of its outages."""
    declare_address(orchard.project, url, "notes")
    changed = Orchard(orchard.folder, project=orchard.project)
    changed.settings = orchard.settings
    manifest = changed.run()
    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert len(changed.rows("mart_trees")) == len(FILES.trees)
    return [f"{outage.source}: {outage.fault}" for outage in manifest.outages]


@pytest.mark.fault("tls")
def test_a_self_signed_certificate_is_an_outage_of_its_source(
    orchard: Orchard, authority: Authority
) -> None:
    with run_misbehaving_server(tls=authority.server_context(is_self_signed=True)) as server:
        [outage] = run_with_notes_at(orchard, server.url)

    assert outage.startswith(f"{DOMAIN}.notes: {server.url}{NOTES}: ConnectError: ")
    assert "self-signed certificate" in outage


@pytest.mark.fault("redirect-scheme")
def test_a_redirect_from_https_to_http_is_an_outage_of_its_source(
    orchard: Orchard,
    plain_server: MisbehavingServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with run_misbehaving_server(tls=authority.server_context()) as server:
        server.always[NOTES] = faults.redirects(plain_server.url + NOTES)
        [outage] = run_with_notes_at(orchard, server.url)

    assert outage.startswith(f"{DOMAIN}.notes: ")
    assert "expected https to stay https" in outage
    assert not [request for request in plain_server.requests if request.path == NOTES]
