"""Runs against a server at the edges of HTTP: a fault of one source never stops another."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from support import misbehaving_server as faults
from support.misbehaving_server import Fault, MisbehavingServer, run_misbehaving_server
from support.orchard import (
    DOMAIN,
    FIRST,
    HOST,
    Files,
    Orchard,
    change_limits,
    create_project,
)

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions

TREES, HARVESTS, NOTES = (f"/{HOST}/{n}" for n in ("trees.json.gz", "harvests.csv", "notes.json"))
FILES = Files.create(40)
QUICK = {  # the deadlines of a header and of a body end after half a second
    "attempts": "2",
    "response_timeout_seconds": "0.5",
    "min_bytes_per_second": "200_000",
}


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    with run_misbehaving_server() as running:
        for name, content in FILES.render().items():
            running.publish(f"/{HOST}/{name}", content)
        yield running


@pytest.fixture(scope="module")
def orchard(server: MisbehavingServer, tmp_path_factory: pytest.TempPathFactory) -> Orchard:
    folder = tmp_path_factory.mktemp("edges")
    project = create_project(folder / "project")
    change_limits(project, "notes", QUICK)
    made = Orchard(folder / "live", project=project, mirror_url=server.url)
    assert made.run(RunOptions(as_of=FIRST)).status is RunStatus.SUCCESS
    return made


def run_with(
    server: MisbehavingServer, orchard: Orchard, misbehaviours: dict[str, Fault]
) -> RunManifest:
    server.always = misbehaviours
    manifest = orchard.run(RunOptions(force_refresh=True))
    server.always = {}
    return manifest


@pytest.mark.long
@pytest.mark.fault("head-refused", "incredible-date", "malformed-header", "content-encoding")
@pytest.mark.parametrize(
    "misbehaviours",
    [
        pytest.param(
            {
                TREES: faults.refuses_head_with(403),
                HARVESTS: faults.refuses_head_with(404),
                NOTES: faults.refuses_head_with(501),
            },
            id="HEAD refused",
        ),
        pytest.param(
            {
                TREES: faults.serves_with(Last_Modified="Thu, 01 Jan 1970 00:00:00 GMT"),
                HARVESTS: faults.serves_with(Last_Modified="Tue, 01 Jan 1980 00:00:00 GMT"),
                NOTES: faults.serves_with(Last_Modified="Fri, 31 Dec 9999 23:59:59 GMT"),
            },
            id="incredible dates",
        ),
        pytest.param(
            {
                TREES: faults.serves_with(Last_Modified="Fri, 31 Dec 9999 23:59:59 -1400"),
                HARVESTS: faults.serves_with(Content_Range="bytes ²-x/" + "9" * 5000),
                NOTES: faults.serves_with(Location="http://[::1", Retry_After="soon", ETag='"é"'),
            },
            id="malformed headers",
        ),
        pytest.param(
            {
                TREES: faults.states_encoding(FILES.render()["trees.json.gz"]),
                HARVESTS: faults.encodes("raw"),
                NOTES: faults.encodes("deflate, gzip"),
            },
            id="encoded",
        ),
        pytest.param(
            {
                TREES: faults.states_encoding(gzip.compress(FILES.render()["trees.json.gz"])),
                HARVESTS: faults.encodes("x-gzip"),
                NOTES: faults.encodes("identity"),
            },
            id="encoded once more",
        ),
    ],
)
def test_an_unusual_response_is_no_fault(
    server: MisbehavingServer, orchard: Orchard, misbehaviours: dict[str, Fault]
) -> None:
    before = orchard.rows("mart_trees")

    manifest = run_with(server, orchard, misbehaviours)

    assert (manifest.status, manifest.note) == (RunStatus.SUCCESS, "")
    assert orchard.rows("mart_trees") == before


@pytest.mark.long
@pytest.mark.fault("malformed-header", "content-encoding", "drips")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.encodes("br"), "found 'br'"),
        (faults.states_encoding(b"{}", "gzip"), "a whole gzip file"),
        (faults.redirects("http://[::1/a"), "Invalid URL in location header"),
        (faults.redirects("http://.a..b/"), ".a..b: encoding with"),
        (faults.serves_with(206, Content_Range="bytes 5-x/²"), "a part that does not fit"),
        (faults.answers(503, Retry_After="Mon, 99 Foo 0001"), "answered 503"),
        (faults.answers_raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "SWITCH_UPGRADE"),
        (faults.answers_raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "RemoteProtocol"),
        (faults.drips_header, "no complete header within 0.5 s"),
        (faults.drips_interim, "no complete header within 0.5 s"),
        (faults.drips_body, "expected the body within 0.5 s"),
        (faults.drips_chunk_extension, "expected the body within 0.5 s"),
        (faults.drips_trailer, "expected the body within 0.5 s"),
    ],
)
def test_a_response_that_cannot_be_read_is_an_outage_of_its_source(
    server: MisbehavingServer, orchard: Orchard, fault: Fault, expected: str
) -> None:
    before = orchard.rows("mart_trees")

    manifest = run_with(server, orchard, {NOTES: fault})

    [outage] = manifest.outages
    assert str(outage.source) == f"{DOMAIN}.notes"
    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert expected in manifest.note
    assert orchard.rows("mart_trees") == before
