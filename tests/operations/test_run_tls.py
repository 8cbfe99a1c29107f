"""Runs over TLS and through a proxy: a fault of one source never stops another, nor a signal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import misbehaving_server as faults
from support.certificates import Authority
from support.misbehaving_server import MisbehavingServer, run_misbehaving_server
from support.orchard import DOMAIN, HOST, Files, Orchard, create_project, declare_address

from etl_assets.model.records import RunStatus

pytestmark = pytest.mark.long

FILES = Files.create(40)
NOTES = "/notes.json"
PATIENT = {  # no limit of the source ends a transfer before the signal does
    "read_timeout_seconds: 0.3": "read_timeout_seconds: 600",
    "response_timeout_seconds: 2": "response_timeout_seconds: 600",
}


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


def drip_handshake(orchard: Orchard, server: MisbehavingServer) -> None:
    server.drips_handshake = True
    declare_address(orchard.project, server.url.replace("http:", "https:"), "notes")
    orchard.write_env_file()


def drip_connect(orchard: Orchard, server: MisbehavingServer) -> None:
    server.always[f"{HOST}:443"] = faults.drips_header
    orchard.write_env_file(ETL_PROXY=server.url)


def drip_tunnel(orchard: Orchard, server: MisbehavingServer) -> None:
    server.always[f"{HOST}:443"] = faults.drips_tunnel
    orchard.write_env_file(ETL_PROXY=server.url)


@pytest.mark.fault("interrupted", "drips")
@pytest.mark.parametrize(
    ("drip", "number", "code"),
    [
        pytest.param(drip_handshake, signal.SIGTERM, 143, id="TLS handshake, SIGTERM"),
        pytest.param(drip_connect, signal.SIGTERM, 143, id="CONNECT, SIGTERM"),
        pytest.param(drip_connect, signal.SIGINT, 130, id="CONNECT, Ctrl-C"),
        pytest.param(drip_tunnel, signal.SIGTERM, 143, id="handshake in a tunnel, SIGTERM"),
    ],
)
def test_a_signal_ends_a_run_whose_connection_drips_within_five_seconds(
    orchard: Orchard,
    drip: Callable[[Orchard, MisbehavingServer], None],
    number: signal.Signals,
    code: int,
) -> None:
    notes = orchard.project / "domains" / DOMAIN / "notes.yaml"
    for short, long in PATIENT.items():
        notes.write_text(notes.read_text(encoding="utf-8").replace(short, long), encoding="utf-8")
    with run_misbehaving_server() as server:
        drip(orchard, server)
        with subprocess.Popen(
            [sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN],
            cwd=orchard.home.root,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while not (server.requests or server.dripped_handshakes):
                assert process.poll() is None
                time.sleep(0.1)
            time.sleep(0.5)
            sent = time.monotonic()
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            elapsed = time.monotonic() - sent

    assert process.returncode == code
    assert "run the same command again" in errors
    assert elapsed < 5
