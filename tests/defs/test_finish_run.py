"""Notifications: one for each change of state, however a run is launched."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from support.notification_servers import TOKEN, WebhookServer
from support.sample_home import AS_OF, DOMAIN, SampleHome

from etl_assets.defs.finish_run import last_sent
from etl_assets.demo import samples
from etl_assets.model.errors import HomeError
from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions, Stage, StageRange
from etl_assets.operations.run import run_domain

FEED = "advisory.echohq.com/data.json"
PAGE = "<!doctype html><title>Sign in</title>"


def with_webhook(sample: SampleHome, webhook: WebhookServer) -> SampleHome:
    notify = SecretStr(webhook.target)
    sample.settings = sample.settings.model_copy(update={"notify": notify})
    return sample


@pytest.fixture
def failing_home(tmp_path: Path, webhook: WebhookServer) -> SampleHome:
    """A new home without a required feed, so that a run fails within two seconds."""
    sample = SampleHome.create(tmp_path)
    (sample.mirror / FEED).unlink()
    return with_webhook(sample, webhook)


@pytest.mark.long
def test_a_failure_is_sent_once_and_not_with_no_notify(
    failing_home: SampleHome, webhook: WebhookServer
) -> None:
    failing_home.run(RunOptions(notify=False))
    failing_home.run()
    failing_home.run()

    [message] = webhook.messages
    assert message["title"] == "advisories: failed"
    assert "advisories.echo" in message["message"]


@pytest.mark.long
def test_a_run_that_publishes_nothing_is_no_recovery(
    failing_home: SampleHome, webhook: WebhookServer
) -> None:
    failing_home.run()
    samples.pack(failing_home.sample_dir, failing_home.mirror, failing_home.domain, at=AS_OF)

    fetched = failing_home.run(RunOptions(stages=StageRange(Stage.RAW, Stage.RAW)))

    assert fetched.status is RunStatus.SUCCESS
    assert webhook.titles == ["advisories: failed"]


@pytest.mark.long
@pytest.mark.fault("unheard")
def test_an_unreachable_target_is_reported_and_tried_again(
    failing_home: SampleHome, webhook: WebhookServer
) -> None:
    lines: list[str] = []
    webhook.status = 500

    with failing_home.session(echo=lines.append) as session:
        manifest = run_domain(session, RunOptions())
        sent = last_sent(session)
        webhook.status = 200
        run_domain(session, RunOptions())
        sent_again = last_sent(session)

    assert manifest.status is RunStatus.FAILED
    assert sent
    assert [line for line in lines if line.startswith("not notified: target 1")]
    assert "not notified" in str(sent.unsent[0])
    assert (sent.sent_count, sent.failed_count) == (0, 1)
    assert sent_again
    assert (sent_again.sent_count, sent_again.failed_count) == (1, 1)
    assert TOKEN not in "".join(lines)
    assert webhook.titles == ["advisories: failed"]


def test_an_unusable_home_is_notified(sample: SampleHome, webhook: WebhookServer) -> None:
    with_webhook(sample, webhook)
    (sample.latest / "marts" / f"{sample.domain.history}.parquet").unlink()
    sample.home.history_copy(DOMAIN).unlink()
    sample.home.warehouse(DOMAIN).unlink()

    with pytest.raises(HomeError):
        sample.run()

    assert webhook.titles == ["advisories: failed"]


@pytest.mark.long
def test_an_outage_and_its_end_are_sent_once_each(
    sample: SampleHome, webhook: WebhookServer
) -> None:
    with_webhook(sample, webhook)
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
def test_a_run_that_the_ui_launches_is_notified_too(
    sample: SampleHome, webhook: WebhookServer
) -> None:
    with_webhook(sample, webhook)
    (sample.mirror / FEED).unlink()

    sample.launch_job()

    assert webhook.titles == ["advisories: partial_success"]
