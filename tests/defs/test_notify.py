"""Who hears of a run: once per change of state, whatever launched it, and never at its cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from support.notification_servers import TOKEN, WebhookServer
from support.sample_home import AS_OF, SampleHome

from etl_assets.defs.finish_run import last_sent
from etl_assets.demo import samples
from etl_assets.model.errors import HomeError
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions, Stage, StageRange
from etl_assets.operations.run import run_domain

FEED = "advisory.echohq.com/data.json"
PAGE = "<!doctype html><title>Sign in</title>"


def heard_by(sample: SampleHome, webhook: WebhookServer) -> SampleHome:
    notify = SecretStr(webhook.target)
    sample.settings = sample.settings.model_copy(update={"notify": notify})
    return sample


@pytest.fixture
def never_there(tmp_path: Path, webhook: WebhookServer) -> SampleHome:
    """A home in which nothing was run yet, without a required feed: a run fails in two seconds."""
    sample = SampleHome.create(tmp_path)
    (sample.mirror / FEED).unlink()
    return heard_by(sample, webhook)


@pytest.mark.long
def test_a_failure_is_told_once_and_by_no_run_that_shall_not(
    never_there: SampleHome, webhook: WebhookServer
) -> None:
    never_there.run(RunOptions(notify=False))
    never_there.run()
    never_there.run()

    [message] = webhook.messages
    assert message["title"] == "advisories: failed"
    assert "advisories.echo" in message["message"]


@pytest.mark.long
def test_a_run_that_publishes_nothing_is_no_recovery(
    never_there: SampleHome, webhook: WebhookServer
) -> None:
    never_there.run()
    samples.pack(never_there.sample_dir, never_there.mirror, never_there.domain, at=AS_OF)

    fetched = never_there.run(RunOptions(stages=StageRange(Stage.RAW, Stage.RAW)))

    assert fetched.status is RunStatus.SUCCESS
    assert webhook.titles == ["advisories: failed"]


@pytest.mark.long
@pytest.mark.fault("unheard")
def test_a_target_that_cannot_be_reached_is_reported_and_asked_again(
    never_there: SampleHome, webhook: WebhookServer
) -> None:
    said: list[str] = []
    webhook.status = 500

    with never_there.session(echo=said.append) as session:
        manifest = run_domain(session, RunOptions())
        told = last_sent(session)
        webhook.status = 200
        run_domain(session, RunOptions())

    assert manifest.status is RunStatus.FAILED
    assert told
    assert [line for line in said if line.startswith("not notified: target 1")]
    assert "not notified" in str(told.unsent[0])
    assert TOKEN not in "".join(said)
    assert webhook.titles == ["advisories: failed"]


def test_a_home_that_cannot_be_used_is_told(sample: SampleHome, webhook: WebhookServer) -> None:
    heard_by(sample, webhook)
    (sample.latest / "manifest.json").write_text("{", encoding="utf-8")

    with pytest.raises(HomeError):
        sample.run()

    assert webhook.titles == ["advisories: failed"]


@pytest.mark.long
def test_an_outage_and_its_end_are_told_once_each(
    sample: SampleHome, webhook: WebhookServer
) -> None:
    heard_by(sample, webhook)
    good = (sample.mirror / FEED).read_text(encoding="utf-8")
    sample.change(FEED, lambda _: PAGE)
    sample.run()
    sample.run()
    sample.change(FEED, lambda _: good)
    sample.run()
    sample.run()

    assert webhook.titles == ["advisories: partial_success", "advisories: recovered"]
    assert "etl quarantine release advisories.echo" in webhook.messages[0]["message"]


@pytest.mark.long
def test_a_launch_from_dagsters_pages_is_told_too(
    sample: SampleHome, webhook: WebhookServer
) -> None:
    heard_by(sample, webhook)
    (sample.mirror / FEED).unlink()

    sample.launch_job()

    assert webhook.titles == ["advisories: partial_success"]
