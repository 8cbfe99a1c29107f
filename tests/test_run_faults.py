"""`etl run` against a server that misbehaves: the last good set stands, and the run says why.

One home for all faults: after each, what is published must be what it was, whatever came before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import misbehaving_server as faults
import pytest
from misbehaving_server import Fault, Misbehaving, misbehaving
from sampled import AS_OF, DOMAIN, Sampled

from etl_assets.io import outputs
from etl_assets.model.options import Options
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run import RunManifest

FEED = "/advisory.echohq.com/data.json"
IMPATIENT = {"read_timeout_seconds": 0.3, "backoff_seconds": 0.01, "max_redirects": 2}


@dataclass(frozen=True)
class Served:
    """The sample behind a server, run once, and what is published of it."""

    sampled: Sampled
    server: Misbehaving

    def run(self, *, retries: int = 1) -> RunManifest:
        return self.sampled.run(Options(max_retries=retries), domain=self.sampled.domain)

    def published(self) -> dict[str, str]:
        return outputs_of(self.sampled)


def outputs_of(sampled: Sampled) -> dict[str, str]:
    """Digests of the published marts; the one on the sources' health tells of the outage."""
    marts = {p.stem: outputs.sha256_of(p) for p in (sampled.latest / "marts").glob("*.parquet")}
    return {name: sha256 for name, sha256 in marts.items() if name != "mart_source_health"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    packed = Sampled.packed(tmp_path_factory.mktemp("served"))
    with misbehaving() as server:
        for file in (path for path in packed.mirror.rglob("*") if path.is_file()):
            path = f"/{file.relative_to(packed.mirror).as_posix()}"
            server.publish(path, file.read_bytes())
        sampled = Sampled(packed.folder, mirror_url=server.url)
        echo = sampled.domain.sources["echo"]
        limits = echo.limits.model_copy(update=IMPATIENT)
        impatient = {**sampled.domain.sources, "echo": echo.model_copy(update={"limits": limits})}
        sampled.domain = sampled.domain.model_copy(update={"sources": impatient})
        served = Served(sampled, server)
        manifest = sampled.run(Options(as_of=AS_OF))
        assert manifest.published, manifest.note
        yield served


@pytest.mark.fault(
    "outage", "reset", "silence", "truncated-gzip", "error-page", "empty-answer", "redirect-scheme"
)
@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param(faults.resets_midway, "broke off", id="reset in mid-body"),
        pytest.param(faults.never_answers, "ReadTimeout", id="read timeout"),
        pytest.param(faults.cuts_off, "the file is cut off", id="cut off"),
        pytest.param(faults.asks_for_login, "an HTML page titled 'Sign in'", id="login page"),
        pytest.param(faults.sends_nothing, "an empty file", id="empty body"),
        pytest.param(faults.answers(503), "answered 503", id="503"),
        pytest.param(faults.redirects("file:///etc/hosts"), "an http or https", id="to a file"),
    ],
)
def test_whatever_is_served_the_last_good_set_stands(
    served: Served, fault: Fault, told: str
) -> None:
    before = served.published()
    served.server.always[FEED] = fault

    manifest = served.run()

    [outage] = manifest.outages
    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert (outage.source, outage.status) == (f"{DOMAIN}.echo", FetchStatus.OUTAGE)
    assert told in manifest.note
    assert served.published() == before
    assert not list(served.sampled.home.partial.iterdir())
