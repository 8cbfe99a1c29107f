"""Runs of a home whose workers share nothing but its files and the database, on loopback.

`make test-cluster` plays all of it; CI plays what is marked `ci`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import RedisServer, redis_server, wait_until
from support.orchard import DOMAIN, FIRST, Orchard, digest_content, list_faults
from support.postgres import PostgresServer, postgres_server
from support.team import (
    HELD,
    STAGE_LINES,
    TAKEOVER_SECONDS,
    Team,
    launch_twice,
    open_team,
    wake_after_takeover,
)

from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain
from etl_assets.publish import run_directory

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")

__all__ = ["postgres_server", "redis_server"]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def team(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
) -> Iterator[Team]:
    with open_team(tmp_path_factory.mktemp("cluster"), postgres_server, redis_server) as team:
        yield team


@pytest.mark.ci
def test_a_run_on_a_worker_is_like_one_on_this_host(team: Team) -> None:
    as_of = ["--as-of", FIRST.replace(tzinfo=None).isoformat()]

    submitted = team.cluster.call("run", DOMAIN, *as_of)

    assert submitted.returncode == 0, submitted.stderr
    lines: list[str] = []
    with team.plain.session(echo=lines.append) as session:
        assert run_domain(session, RunOptions(as_of=FIRST)).published
    printed = {line for line in submitted.stderr.splitlines() if "waiting for" not in line}
    assert printed <= set(lines)
    assert digest_content(team.live.home) == digest_content(team.plain.home)
    assert not (team.live.home.root / "data" / "warehouse").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--source", "plums"], 2, "plums"),
        pytest.param(
            *(["--as-of", "2020-01-01"], 2, "expected a time after the published set's"),
            marks=pytest.mark.ci,
        ),
        (["--stage", "publish", "--force-refresh"], 2, "expected a run that contacts remotes"),
    ],
    ids=["unknown source", "time before the published one", "options that contradict"],
)
def test_what_a_worker_refuses_has_the_same_exit_code(
    team: Team, options: list[str], code: int, message: str
) -> None:
    refused = team.cluster.call("run", DOMAIN, *options)

    assert refused.returncode == code
    assert message in refused.stderr


@pytest.mark.ci
def test_ctrl_c_ends_the_run_on_the_worker(team: Team) -> None:
    team.grow()
    command = team.start_run()
    wait_until(lambda: STAGE_LINES["fetch"] in command.text())

    command.process.send_signal(signal.SIGINT)

    assert command.process.wait(60) == 130
    assert command.text().endswith("run the same command again to continue\n")
    statuses = team.cluster.query(
        "select distinct status from runs where status not in ('SUCCESS', 'FAILURE', 'CANCELED')"
    )
    assert statuses == []


@pytest.mark.fault("interrupted")
def test_a_run_that_is_interrupted_while_it_waits_for_a_worker_never_starts(team: Team) -> None:
    team.end_workers()
    team.grow()
    before = team.live.latest
    command = team.start_run()
    wait_until(lambda: "waiting for a worker" in command.text())

    command.process.send_signal(signal.SIGINT)

    assert command.process.wait(60) == 130
    [[run_id, status]] = newest_run(team)
    assert status == "CANCELED"
    team.start_workers()
    wait_until(
        lambda: any(f"did not start run {run_id}" in w.text() for w in team.workers.values())
    )
    assert newest_run(team) == [(run_id, "CANCELED")]
    assert team.live.latest == before
    assert team.cluster.call("run", DOMAIN).returncode == 0
    team.require_complete()


def newest_run(team: Team) -> list[tuple[object, ...]]:
    return team.cluster.query("select run_id, status from runs order by id desc limit 1")


@pytest.mark.ci
@pytest.mark.fault("worker-lost")
def test_another_worker_takes_up_the_run_of_one_that_is_killed(team: Team) -> None:
    require_takeover(team, "marts")


@pytest.mark.fault("worker-lost")
@pytest.mark.parametrize("stage", ["fetch", "tables", "publication"])
def test_a_run_is_taken_up_at_any_stage(team: Team, stage: str) -> None:
    require_takeover(team, stage)


def require_takeover(team: Team, stage: str) -> None:
    team.grow()
    command = team.start_run()
    wait_until(lambda: STAGE_LINES[stage] in command.text())
    lost = team.busy_worker()

    team.workers.pop(lost).kill()

    assert command.process.wait(TAKEOVER_SECONDS) == 0, command.text()
    assert "another one takes up the run" in command.text()
    team.require_complete()
    team.start_workers()


@pytest.mark.fault("worker-stopped")
@pytest.mark.parametrize("stage", ["marts", HELD])
def test_a_worker_that_was_stopped_for_a_minute_publishes_nothing(team: Team, stage: str) -> None:
    number = team.lock_number()

    assert wake_after_takeover(team, stage) == []

    assert team.lock_number() > number + 1
    [[head]] = team.cluster.query("select link->>'directory' from etl_head")
    assert head == team.live.latest.name
    team.require_complete()


def test_a_second_run_waits_for_one_that_is_about_to_publish(team: Team) -> None:
    assert launch_twice(team) == []
    team.require_complete()


def test_two_operators_at_once_run_one_after_the_other(team: Team) -> None:
    team.grow()

    commands = [team.start_run(), team.start_run()]

    assert [command.process.wait(TAKEOVER_SECONDS) for command in commands] == [0, 0]
    team.require_complete()


@pytest.mark.fault("broker-restarted")
def test_a_broker_that_restarts_in_mid_run_ends_no_run(team: Team) -> None:
    team.grow()
    command = team.start_run()
    wait_until(lambda: STAGE_LINES["fetch"] in command.text())

    team.cluster.redis.stop()
    team.cluster.redis.start()

    assert command.process.wait(TAKEOVER_SECONDS) == 0, command.text()
    team.grow()
    assert team.cluster.call("run", DOMAIN).returncode == 0
    team.require_complete()


@pytest.mark.fault("broker-stopped")
def test_a_broker_that_does_not_answer_is_named(team: Team) -> None:
    team.cluster.redis.stop()
    try:
        refused = team.cluster.call("run", DOMAIN)
    finally:
        team.cluster.redis.start()

    assert refused.returncode == 1
    assert "expected a message broker that answers" in refused.stderr


@pytest.mark.fault("database-restarted")
def test_a_database_that_restarts_in_mid_run_ends_no_run(team: Team) -> None:
    team.grow()
    command = team.start_run()
    wait_until(lambda: STAGE_LINES["fetch"] in command.text())

    team.cluster.postgres.restart()

    command.process.wait(TAKEOVER_SECONDS)
    assert list_faults(team.live.home) == []
    wait_until(lambda: team.cluster.call("run", DOMAIN).returncode == 0, seconds=TAKEOVER_SECONDS)
    team.require_complete()


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs libfaketime, found none")
@pytest.mark.fault("clock-of-worker")
@pytest.mark.parametrize(
    ("offset", "found"), [("+1d", "s ahead"), ("-1d", "s behind")], ids=["ahead", "behind"]
)
def test_a_worker_with_a_wrong_clock_publishes_nothing_and_nothing_is_lost(
    team: Team, offset: str, found: str
) -> None:
    clock = {"FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    team.end_workers()
    team.workers["plum"] = team.cluster.start_worker("plum", LD_PRELOAD=str(FAKETIME), **clock)
    team.grow()
    before = team.live.latest
    command = team.start_run()

    assert command.process.wait(TAKEOVER_SECONDS) == 1, command.text()

    assert "expected a clock within 300 s" in command.text()
    assert found in command.text()
    assert team.live.latest == before
    team.end_workers()
    team.start_workers()
    assert team.cluster.call("run", DOMAIN).returncode == 0
    new, old = (run_directory.read_manifest(each) for each in (team.live.latest, before))
    assert new.previous
    assert new.previous.directory == before.name
    assert new.sequence > old.sequence
    assert new.as_of > old.as_of
    team.require_complete()


@pytest.mark.fault("second-home")
def test_a_second_home_is_refused_before_a_worker_gets_its_run(team: Team, tmp_path: Path) -> None:
    second = Orchard(tmp_path / "second", project=team.live.project)
    environment = {**team.cluster.environment, "ETL_HOME": str(second.home.root)}
    command = team.cluster.start(
        "second", [*team.cluster.command, "run", DOMAIN], environment=environment
    )

    assert command.process.wait(60) == 1
    assert "expected the event log of the home" in command.text()
