"""Runs of a home whose workers share nothing but its files and the database, on loopback.

`make test-cluster` plays all of it; CI plays what is marked `ci`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cluster import Cluster, Process, RedisServer, open_cluster, redis_server, wait_until
from support.orchard import (
    DOMAIN,
    FIRST,
    Files,
    Orchard,
    create_project,
    digest_content,
    list_faults,
)
from support.postgres import PostgresServer, postgres_server

from etl_assets.model.run_options import RunOptions
from etl_assets.operations.run import run_domain

__all__ = ["postgres_server", "redis_server"]

TAKEOVER_SECONDS = 240  # 60 s until the lock is free, then the daemon, then a new process
WORKERS = ("pear", "quince")
# What the command prints when a stage begins, or in the middle of it.
STAGE_LINES = {
    "fetch": "orchard: raw starts",
    "tables": "orchard: table starts",
    "marts": "orchard: building",
    "publication": "orchard: publish starts",
}

pytestmark = pytest.mark.long


class Team:
    """A cluster with its workers by name, and a home on one host with the same files."""

    def __init__(self, cluster: Cluster, live: Orchard, plain: Orchard) -> None:
        self.cluster, self.live, self.plain = cluster, live, plain
        self.workers: dict[str, Process] = {}
        self.trees = 30
        self.commands = 0

    def start_workers(self) -> None:
        for name in WORKERS:
            if name not in self.workers:
                self.workers[name] = self.cluster.start_worker(name)

    def grow(self) -> None:
        """Let the remotes serve one tree more, to both homes."""
        self.trees += 1
        for each in (self.live, self.plain):
            each.serve(Files.create(self.trees))

    def start_run(self, *options: str) -> Process:
        self.commands += 1
        name = f"command-{self.commands}"
        return self.cluster.start_command("run", DOMAIN, "-v", *options, name=name)

    def busy_worker(self) -> str:
        """Return the name of the worker that executes a run; a worker's host has its name."""
        rows = self.cluster.query(
            "select host from etl_lock where domain like 'run/%' and host is not null"
        )
        [[host]] = rows
        return str(host)

    def lock_number(self) -> int:
        [[number]] = self.cluster.query(f"select number from etl_lock where domain = '{DOMAIN}'")
        return int(str(number))

    def require_complete(self) -> None:
        """Fail unless the published set is whole, and what one host makes of the same files."""
        assert list_faults(self.live.home) == []
        assert self.plain.run().status.value == "success"
        assert content_of(self.live) == content_of(self.plain)


def content_of(orchard: Orchard) -> dict[str, str]:
    """Return the digests of files, and the rows of the marts without the times of runs."""
    digests = digest_content(orchard.home)
    # The document and the history name the time of their run; there may be more raw versions.
    files = {name: digest for name, digest in digests.items() if name.startswith("data/tables/")}
    return files | {"rows": str(sorted(map(str, orchard.rows("mart_trees"))))}


@pytest.fixture(scope="module")
def team(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("cluster")
    project = create_project(folder / "project")
    live, plain = (Orchard(folder / name, project=project) for name in ("live", "plain"))
    live.serve(Files.create())
    with open_cluster(folder, live, postgres_server, redis_server) as cluster:
        team = Team(cluster, live, plain)
        team.grow()
        assert cluster.call("status").returncode in {0, 1}  # writes dagster.yaml for the daemon
        cluster.start_daemon()
        team.start_workers()
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
def test_a_worker_that_was_stopped_for_a_minute_publishes_nothing(team: Team) -> None:
    team.grow()
    command = team.start_run()
    wait_until(lambda: STAGE_LINES["marts"] in command.text())
    stopped = team.workers[team.busy_worker()]
    number = team.lock_number()
    stopped.signal(signal.SIGSTOP)
    try:
        assert command.process.wait(TAKEOVER_SECONDS) == 0, command.text()
        [[head]] = team.cluster.query("select link->>'directory' from etl_head")
    finally:
        stopped.signal(signal.SIGCONT)
    wait_until(lambda: stopped.text().count("Task execute_job") > 1, seconds=60)

    assert team.lock_number() > number
    assert team.cluster.query("select link->>'directory' from etl_head") == [(head,)]
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


@pytest.mark.fault("second-home")
def test_a_second_home_is_refused_before_a_worker_gets_its_run(team: Team, tmp_path: Path) -> None:
    second = Orchard(tmp_path / "second", project=team.live.project)
    environment = {**team.cluster.environment, "ETL_HOME": str(second.home.root)}
    command = team.cluster.start(
        "second", [*team.cluster.command, "run", DOMAIN], environment=environment
    )

    assert command.process.wait(60) == 1
    assert "expected the event log of the home" in command.text()
