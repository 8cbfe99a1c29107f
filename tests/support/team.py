"""The team of the tests of workers: a cluster, its workers, and a home on one host to compare.

`hold` stops the next run between its gate and its publication, by a command of the domain that
looks at candidates.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.cluster import Cluster, Process, RedisServer, open_cluster, wait_until
from support.orchard import DOMAIN, Files, Orchard, create_project, digest_content, list_faults
from support.postgres import PostgresServer

from etl_assets.operations.recovery import KILLED

TAKEOVER_SECONDS = 240  # 60 s until the lock is free, then the daemon, then a new process
WORKERS = ("pear", "quince")
# What the command prints when a stage begins, or in the middle of it.
STAGE_LINES = {
    "fetch": "orchard: raw starts",
    "tables": "orchard: table starts",
    "marts": "orchard: building",
    "publication": "orchard: publish starts",
}
PRODUCT = (sys.executable, "-m", "etl_assets.cli.main", "run", DOMAIN, "-v")
# The first process that takes the token waits until it is removed.
HELD = "held before its publication"  # as a stage, beside those above
HOLD = "if mv {0}/hold {0}/held 2>&-; then while [ -e {0}/held ]; do sleep 0.1; done; fi"


class Team:
    """A cluster with its workers by name, and a home on one host with the same files."""

    def __init__(
        self, cluster: Cluster, live: Orchard, plain: Orchard, command: Sequence[str]
    ) -> None:
        self.cluster, self.live, self.plain = cluster, live, plain
        self.workers: dict[str, Process] = {}
        self.trees = 30
        self._command = command
        self._commands = 0

    def start_workers(self) -> None:
        for name in WORKERS:
            if name not in self.workers:
                self.workers[name] = self.cluster.start_worker(name)

    def end_workers(self) -> None:
        while self.workers:
            self.workers.popitem()[1].kill()

    def grow(self) -> None:
        """Let the remotes serve one tree more, to both homes."""
        self.trees += 1
        for each in (self.live, self.plain):
            each.serve(Files.create(self.trees))

    def start_run(self, *options: str) -> Process:
        self._commands += 1
        return self.cluster.start(f"command-{self._commands}", [*self._command, *options])

    @property
    def is_held(self) -> bool:
        return (self.cluster.folder / "held").exists()

    def hold(self) -> None:
        """Let the next run wait before its publication, until `release`."""
        (self.cluster.folder / "hold").touch()

    def release(self) -> None:
        (self.cluster.folder / "held").unlink()

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

    def count_ended_runs(self) -> int:
        """Return how many runs another process has ended, as it took them for dead."""
        [[count]] = self.cluster.query(
            f"select count(distinct run_id) from event_logs where event like '%{KILLED}%'"
        )
        return int(str(count))

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


@contextmanager
def open_team(
    folder: Path,
    postgres: PostgresServer,
    redis: RedisServer,
    command: Sequence[str] = PRODUCT,
) -> Iterator[Team]:
    """Start the daemon and the workers of a new home, which `command` submits runs to."""
    project = create_project(folder / "project")
    with (project / "domains" / DOMAIN / "_domain.yaml").open("a", encoding="utf-8") as file:
        script = HOLD.format(shlex.quote(str(folder)))
        file.write(f'verify:\n  - command: [sh, -c, "{script}"]\n    timeout_seconds: 600\n')
    live, plain = (Orchard(folder / name, project=project) for name in ("live", "plain"))
    live.serve(Files.create())
    with open_cluster(folder, live, postgres, redis) as cluster:
        team = Team(cluster, live, plain, command)
        team.grow()
        assert cluster.call("status").returncode in {0, 1}  # writes dagster.yaml for the daemon
        cluster.start_daemon()
        team.start_workers()
        yield team


def launch_twice(team: Team) -> list[str]:
    """Let two hosts run the domain, the second one while the first is about to publish.

    Returns what is wrong afterwards.
    """
    team.grow()
    ended = team.count_ended_runs()
    team.hold()
    first = team.start_run()
    wait_until(lambda: team.is_held)
    second = team.start_run()
    wait_until(lambda: "is held by process" in second.text() or second.process.poll() is not None)
    team.release()
    codes = [command.process.wait(TAKEOVER_SECONDS) for command in (first, second)]
    faults = [f"a command ended with {code}" for code in codes if code]
    if team.count_ended_runs() > ended:
        faults.append("a live run was ended")
    return faults


def wake_after_takeover(team: Team, stage: str) -> list[str]:
    """Stop a worker in a stage, or while its run is held, until another one has published.

    Returns what is wrong after it went on.
    """
    team.grow()
    if stage == HELD:
        team.hold()
    command = team.start_run()
    wait_until(lambda: team.is_held or STAGE_LINES.get(stage, HELD) in command.text())
    stopped = team.workers[team.busy_worker()]
    tasks = stopped.text().count("Task execute_job")
    stopped.signal(signal.SIGSTOP)
    try:
        assert command.process.wait(TAKEOVER_SECONDS) == 0, command.text()
        published = team.live.latest
        if stage == HELD:
            team.release()
    finally:
        stopped.signal(signal.SIGCONT)
    wait_until(lambda: stopped.text().count("Task execute_job") > tasks, seconds=60)
    faults = list_faults(team.live.home)
    if team.live.latest != published:
        faults.append("a worker that was overtaken has published")
    return faults
