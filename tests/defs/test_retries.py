"""How often a file is tried: as declared, or as a person says for one run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.misbehaving_server import MisbehavingServer, answers
from support.sample_home import SampleHome

from etl_assets.model.run_options import RunOptions

FEED = "/advisory.echohq.com/data.json"


@pytest.mark.long
@pytest.mark.fault("backoff")
def test_a_person_may_ask_for_no_further_attempt(tmp_path: Path, server: MisbehavingServer) -> None:
    sample = SampleHome(tmp_path, mirror_url=server.url)
    server.always[FEED] = answers(500)

    manifest = sample.run(RunOptions(max_retries=0))

    asked = server.requests_for(FEED, "HEAD"), server.requests_for(FEED)
    echo = next(source for source in manifest.sources if source.source.name == "echo")
    assert [len(requests) for requests in asked] == [1, 1]
    assert "answered 500" in (echo.fault or "")
