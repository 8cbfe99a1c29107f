"""How often a download is tried: as declared, or as the operator asks for one run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.misbehaving_server import MisbehavingServer, answers
from support.sample_home import SampleHome

from etl_assets.model.run_options import RunOptions

FEED = "/advisory.echohq.com/data.json"


@pytest.mark.long
@pytest.mark.fault("backoff")
def test_the_operator_can_ask_for_no_retries(tmp_path: Path, server: MisbehavingServer) -> None:
    sample = SampleHome(tmp_path, mirror_url=server.url)
    server.always[FEED] = answers(500)

    manifest = sample.run(RunOptions(max_retries=0))

    requests = server.requests_for(FEED, "HEAD"), server.requests_for(FEED)
    echo = next(source for source in manifest.sources if source.source.name == "echo")
    assert [len(sent) for sent in requests] == [1, 1]
    assert "answered 500" in (echo.fault or "")
