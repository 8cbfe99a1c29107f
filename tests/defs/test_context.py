"""The lock of a domain, runs that are overtaken, and the options that steps take."""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread

import dagster as dg
import pytest
from support.sample_home import AS_OF, DOMAIN, SampleHome

from etl_assets.defs import asset_keys
from etl_assets.defs.context import AS_OF_TAG, ProjectContext, run_options
from etl_assets.defs.definitions import build_defs
from etl_assets.defs.models.assets import MartsConfig
from etl_assets.defs.publish import PublishConfig
from etl_assets.defs.raw import RawConfig
from etl_assets.defs.tables import TablesConfig
from etl_assets.model.run_options import RunOptions
from etl_assets.storage.lock import lock


def launch(sample: SampleHome, echo=lambda _: None, **fields) -> dg.ExecuteInProcessResult:
    project = ProjectContext(sample.settings, {DOMAIN: sample.domain}, echo=echo)
    defs = build_defs(project)
    with sample.instance() as instance:
        job = defs.resolve_job_def(asset_keys.job_name(sample.domain))
        return job.execute_in_process(instance=instance, raise_on_error=False, **fields)


@pytest.mark.long
@pytest.mark.fault("two-runs")
def test_a_step_that_the_ui_launches_waits_for_the_lock(sample: SampleHome) -> None:
    waiting, lines, results = Event(), list[str](), list[dg.ExecuteInProcessResult]()

    def echo(line: str) -> None:
        lines.append(line)
        if "waiting for it to end" in line:
            waiting.set()

    def run() -> None:
        results.append(launch(sample, echo, asset_selection=[dg.AssetKey([DOMAIN, "kev_raw"])]))

    with lock(sample.home.lock(DOMAIN), on_wait=lines.append):
        other = Thread(target=run)
        other.start()
        assert waiting.wait(timeout=300)
        assert results == []
    other.join()

    assert "advisories: raw starts" in lines[0]
    assert results[0].success


@pytest.mark.long
@pytest.mark.fault("two-runs", "clock")
def test_an_overtaken_run_publishes_nothing(sample: SampleHome) -> None:
    before = sample.latest
    earlier = {AS_OF_TAG: (AS_OF - timedelta(days=1)).isoformat()}

    result = launch(sample, tags=earlier, asset_selection=publish_assets(sample))

    assert not result.success
    assert sample.latest == before


def publish_assets(sample: SampleHome) -> list[dg.AssetKey]:
    """Return the assets of the publish step."""
    defs = sample.defs()
    steps = [assets for assets in defs.assets or [] if isinstance(assets, dg.AssetsDefinition)]
    return list(next(a.keys for a in steps if a.op.name == f"{DOMAIN}_publish"))


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (RawConfig, {"force_refresh": False, "skip_existing": False, "max_retries": None}),
        (TablesConfig, {"accept_changes": False}),
        (MartsConfig, {"full": False}),
        (PublishConfig, {"full": False, "accept_changes": False}),
    ],
)
def test_a_step_takes_the_options_that_are_declared_for_its_stage(
    config: type[dg.Config], options: dict[str, object]
) -> None:
    assert config().model_dump() == options
    assert run_options(config()) == RunOptions()


def test_an_option_reaches_its_step_with_its_value() -> None:
    config = RawConfig(max_retries=0, force_refresh=True)

    assert run_options(config) == RunOptions(max_retries=0, force_refresh=True)
