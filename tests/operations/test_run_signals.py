"""Signals to a run whose remote drips: it ends within five seconds, whatever it waits for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import misbehaving_server as faults
from support.misbehaving_server import Fault, MisbehavingServer, run_misbehaving_server
from support.orchard import (
    DOMAIN,
    HOST,
    Files,
    Orchard,
    change_limits,
    create_project,
    declare_address,
)

pytestmark = pytest.mark.long

FILES = Files.create(40).render()
NOTES = "/notes.json"
PATIENT = {  # no limit of the source ends a transfer before the signal does
    "read_timeout_seconds": "600",
    "response_timeout_seconds": "600",
    "min_bytes_per_second": "1",
}
Drip = Callable[[Orchard, MisbehavingServer], None]


@pytest.fixture(scope="module")
def good_server() -> Iterator[MisbehavingServer]:
    """The server of the other sources."""
    with run_misbehaving_server() as server:
        for name, content in FILES.items():
            server.publish(f"/{name}", content)
        yield server


@pytest.fixture
def orchard(good_server: MisbehavingServer, tmp_path: Path) -> Orchard:
    """A home without a mirror; the notes are still declared at their public address."""
    project = create_project(tmp_path / "project")
    change_limits(project, "notes", PATIENT)
    declare_address(project, good_server.url, "trees", "harvests")
    orchard = Orchard(tmp_path / "live", project=project)
    orchard.settings = orchard.settings.model_copy(update={"mirror": None})
    return orchard


def response(fault: Fault) -> Drip:
    def drip(orchard: Orchard, server: MisbehavingServer) -> None:
        declare_address(orchard.project, server.url, "notes")
        orchard.write_env_file()
        server.publish(NOTES, FILES["notes.json"])
        server.always[NOTES] = fault

    return drip


def handshake(orchard: Orchard, server: MisbehavingServer) -> None:
    declare_address(orchard.project, server.url.replace("http:", "https:"), "notes")
    orchard.write_env_file()
    server.drips_handshake = True


def through_proxy(fault: Fault) -> Drip:
    """Let the answer to CONNECT drip, or the tunnel that it opens."""

    def drip(orchard: Orchard, server: MisbehavingServer) -> None:
        orchard.write_env_file(ETL_PROXY=server.url)
        server.always[f"{HOST}:443"] = fault

    return drip


def is_dripping(server: MisbehavingServer) -> bool:
    """True once the server has received what drips; a body and a trailer only drip for GET."""
    if server.always.get(NOTES) in {faults.drips_body, faults.drips_trailer}:
        return bool(server.requests_for(NOTES))
    return bool(server.requests or server.dripped_handshakes)


@pytest.mark.fault("interrupted", "drips")
@pytest.mark.parametrize(
    ("drip", "number", "code"),
    [
        pytest.param(response(faults.drips_header), signal.SIGTERM, 143, id="header, SIGTERM"),
        pytest.param(response(faults.drips_interim), signal.SIGINT, 130, id="1xx, Ctrl-C"),
        pytest.param(response(faults.drips_body), signal.SIGINT, 130, id="body, Ctrl-C"),
        pytest.param(response(faults.drips_trailer), signal.SIGTERM, 143, id="trailer, SIGTERM"),
        pytest.param(response(faults.never_answers), signal.SIGTERM, 143, id="silence, SIGTERM"),
        pytest.param(handshake, signal.SIGTERM, 143, id="TLS handshake, SIGTERM"),
        pytest.param(
            through_proxy(faults.drips_header), signal.SIGTERM, 143, id="CONNECT, SIGTERM"
        ),
        pytest.param(through_proxy(faults.drips_header), signal.SIGINT, 130, id="CONNECT, Ctrl-C"),
        pytest.param(through_proxy(faults.drips_tunnel), signal.SIGTERM, 143, id="tunnel, SIGTERM"),
    ],
)
def test_a_signal_ends_a_dripping_run_within_five_seconds(
    orchard: Orchard, drip: Drip, number: signal.Signals, code: int
) -> None:
    with run_misbehaving_server() as server:
        drip(orchard, server)
        with subprocess.Popen(
            [sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN],
            cwd=orchard.home.root,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while not is_dripping(server):
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
