"""`etl ui` of a home as a process of its own, and what its pages are asked by GraphQL."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from etl_assets.settings import Settings

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
STARTUP_SECONDS = 120
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "etl_assets"}
LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
RUNS = """{ runsOrError { ... on Runs { results {
  runId pipelineName status tags { key value } assetSelection { path }
} } } }"""
RUNS_OF_JOB = """query($job: PipelineSelector!) { pipelineOrError(params: $job) {
  ... on Pipeline { runs { runId } }
} }"""
LAUNCH_RUN = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message }
} }"""
LAUNCH_BACKFILL = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status }
} }"""
ASSETS = "{ assetNodes { assetKey { path } } }"


@dataclass(frozen=True)
class Pages:
    """The pages that a process serves."""

    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data that answers a query, as the pages send it."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json", "Origin": self.url}
        request = urllib.request.Request(f"{self.url}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert not answer.get("errors"), answer
        data: dict[str, Any] = answer["data"]
        return data

    def runs(self) -> list[dict[str, Any]]:
        """Return every run with its tags as a mapping, the newest first."""
        runs: list[dict[str, Any]] = self.ask(RUNS)["runsOrError"]["results"]
        for run in runs:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        return runs

    def runs_of_job(self, job: str) -> list[str]:
        """Return the ids of the runs that the page of a job lists."""
        answer = self.ask(RUNS_OF_JOB, job={**REPOSITORY, "pipelineName": job})
        return [run["runId"] for run in answer["pipelineOrError"]["runs"]]

    def launch_job(self, job: str) -> str:
        """Launch a job as its launchpad does, without partitions, and return the id of the run."""
        selector = {**REPOSITORY, "pipelineName": job}
        params = {"selector": selector, "runConfigData": "{}", "mode": "default"}
        answer = self.ask(LAUNCH_RUN, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id: str = answer["run"]["runId"]
        return run_id

    def launch_backfill(self, **params: Any) -> str:
        answer = self.ask(LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        backfill_id: str = answer["backfillId"]
        return backfill_id

    def materialize_all(self) -> str:
        """Launch what the button "Materialize all" launches for all partitions of all assets."""
        keys = [node["assetKey"] for node in self.ask(ASSETS)["assetNodes"]]
        return self.launch_backfill(assetSelection=keys, allPartitions=True)

    def wait_for_run(self, run_id: str) -> dict[str, Any]:
        """Return a run once it has ended."""

        def ended() -> dict[str, Any] | None:
            run = next(run for run in self.runs() if run["runId"] == run_id)
            return run if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"} else None

        return self.wait(ended)

    def wait_for_backfill(self, backfill_id: str) -> str:
        """Return the status of a backfill once it has ended."""

        def ended() -> str | None:
            backfill = self.ask(BACKFILL, id=backfill_id)["partitionBackfillOrError"]
            status: str = backfill["status"]
            return None if status in {"REQUESTED", "CANCELING", "FAILING"} else status

        return self.wait(ended, seconds=300)

    def wait(self, find: Callable[[], T | None], *, seconds: float = 120) -> T:
        """Return what `find` returns once it is not None."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            found = find()
            if found is not None:
                return found
            time.sleep(0.5)
        raise AssertionError(f"not found within {seconds} s; the process: {self.process.poll()}")


@contextmanager
def serve_pages(
    settings: Settings,
    *options: str,
    environment: Mapping[str, str] | None = None,
    number: signal.Signals = signal.SIGTERM,
) -> Iterator[Pages]:
    """Start `etl ui` on a free port, and end it with a signal."""
    with start_pages(settings, *options, environment=environment) as pages:
        try:
            wait_until_loaded(pages)
            yield pages
        finally:
            pages.process.send_signal(number)
            pages.process.wait(60)


@contextmanager
def start_pages(
    settings: Settings, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Pages]:
    port = free_port()
    # Not the test's own environment: a `.env` of the home has the settings of the sample.
    variables = {**settings.child_environment(), "PYTHONPATH": str(ROOT), **(environment or {})}
    command = [sys.executable, "-m", "etl_assets.cli.main", "ui", "--port", str(port), *options]
    with subprocess.Popen(
        command,
        cwd=settings.home.parent,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield Pages(port, process)


def wait_until_loaded(pages: Pages) -> None:
    """Return once the pages have loaded the definitions."""

    def loaded() -> Sequence[Any] | None:
        try:
            return pages.ask(LOADED)["repositoriesOrError"].get("nodes") or None
        except OSError:
            return None

    pages.wait(loaded, seconds=STARTUP_SECONDS)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
