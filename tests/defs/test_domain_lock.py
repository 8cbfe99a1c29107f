"""Two launches of one domain: a step from elsewhere waits, one overtaken publishes nothing."""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread

import dagster as dg
import pytest
from support.sample_home import AS_OF, DOMAIN, SampleHome

from etl_assets.defs.context import AS_OF_TAG, ProjectContext
from etl_assets.defs.definitions import build_defs, job_name
from etl_assets.storage.lock import lock


def launch(sample: SampleHome, echo=lambda _: None, **fields) -> dg.ExecuteInProcessResult:
    project = ProjectContext(sample.settings, {DOMAIN: sample.domain}, echo=echo)
    defs = build_defs(project)
    with sample.instance() as instance:
        job = defs.resolve_job_def(job_name(sample.domain))
        return job.execute_in_process(instance=instance, raise_on_error=False, **fields)


@pytest.mark.long
@pytest.mark.fault("two-runs")
def test_a_step_from_dagsters_pages_waits_for_the_writer(sample: SampleHome) -> None:
    heard, said, results = Event(), list[str](), list[dg.ExecuteInProcessResult]()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    def run() -> None:
        results.append(launch(sample, say, asset_selection=[dg.AssetKey([DOMAIN, "kev_raw"])]))

    with lock(sample.home.lock(DOMAIN), on_wait=said.append):
        other = Thread(target=run)
        other.start()
        assert heard.wait(timeout=300)
        assert results == []
    other.join()

    assert "waiting for it to end" in said[0]
    assert results[0].success


@pytest.mark.long
@pytest.mark.fault("two-runs", "clock")
def test_a_run_that_was_overtaken_publishes_nothing(sample: SampleHome) -> None:
    before = sample.latest
    earlier = {AS_OF_TAG: (AS_OF - timedelta(days=1)).isoformat()}

    result = launch(sample, tags=earlier, asset_selection=published_with(sample))

    assert not result.success
    assert sample.latest == before


def published_with(sample: SampleHome) -> list[dg.AssetKey]:
    """The assets of the step that publishes."""
    defs = sample.defs()
    made = [assets for assets in defs.assets or [] if isinstance(assets, dg.AssetsDefinition)]
    return list(next(a.keys for a in made if a.op.name == f"{DOMAIN}_publish"))
