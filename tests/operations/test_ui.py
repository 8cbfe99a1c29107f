"""`etl ui` with the real webserver and daemon: their settings, what they load, and their end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.orchard import DOMAIN, Files, Orchard, add_domain, create_project

pytestmark = pytest.mark.long

HOME = """a [b] it's "q" x"""
STARTUP_SECONDS = 120
QUERY = """{
  instance { poolConfig { defaultPoolLimit } }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    schedules { name }
    sensors { name }
  } } }
}"""


def start(orchard: Orchard, port: int, tmpdir: Path) -> subprocess.Popen[str]:
    tmpdir.mkdir()
    environment = {
        **orchard.settings.child_environment(),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TMPDIR": str(tmpdir),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "etl_assets.cli.main", "ui", "--port", str(port)],
        cwd=orchard.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def ask(url: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the answer to the query once the webserver has loaded the definitions."""
    body = json.dumps({"query": QUERY}).encode()
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        request = urllib.request.Request(
            f"{url}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer: dict[str, Any] = json.load(response)["data"]
        except OSError:
            time.sleep(0.3)
            continue
        if answer["repositoriesOrError"].get("nodes"):
            return answer
        time.sleep(0.3)
    raise AssertionError(f"the webserver ended or did not answer: {process.poll()}")


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="utf-8").split():
            yield int(child)
            yield from descendants(int(child))


def is_running(pid: int) -> bool:
    """True unless the process has ended, or waits for its parent to notice it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc").exists(), reason="lists processes below /proc")
@pytest.mark.fault("broken-declaration", "home-path", "interrupted")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="SIGTERM", marks=pytest.mark.ci),
        pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
    ],
)
def test_the_pages_use_the_settings_of_their_home_and_end_with_all_processes(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    project = create_project(tmp_path / "project")
    orchard = Orchard(tmp_path / HOME, project=project)
    orchard.serve(Files.create())
    (add_domain(project, "weeds") / "notes.yaml").write_text("title: [", encoding="utf-8")
    port = free_port()

    with start(orchard, port, tmp_path / "tmp") as process:
        try:
            answer = ask(f"http://127.0.0.1:{port}", process)
            started = list(descendants(process.pid))
        finally:
            process.send_signal(number)
        _, errors = process.communicate(timeout=90)

    assert answer["instance"]["poolConfig"]["defaultPoolLimit"] == 1
    [repository] = answer["repositoriesOrError"]["nodes"]
    assert [each["name"] for each in repository["schedules"]] == [f"{DOMAIN}_daily"]
    assert [each["name"] for each in repository["sensors"]] == [f"{DOMAIN}_probe"]
    assert process.returncode == code, errors
    assert errors.startswith("etl: weeds is left out: ")
    assert len(started) >= 4  # dg, the webserver, the daemon and the code server
    assert [pid for pid in started if is_running(pid)] == []
    assert list((tmp_path / "tmp").glob("etl-ui-*")) == []


@pytest.mark.fault("home-path")
def test_a_directory_of_temporary_files_that_is_a_pattern_is_refused(tmp_path: Path) -> None:
    orchard = Orchard(tmp_path / HOME, project=create_project(tmp_path / "project"))
    orchard.serve(Files.create())

    with start(orchard, free_port(), tmp_path / "t[m]p") as process:
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "TMPDIR: expected a path without [, * and ?" in errors
