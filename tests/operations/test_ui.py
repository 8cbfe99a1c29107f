"""`etl ui` with the real webserver and daemon: what they load, whom they answer, and their end."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.orchard import DOMAIN, Files, Orchard, add_domain, create_project
from support.pages import Pages, serve_pages, start_pages, wait_until_loaded

pytestmark = pytest.mark.long

HOME = """a [b] it's "q" x"""
QUERY = """{
  instance { poolConfig { defaultPoolLimit } }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    schedules { name scheduleState { status } }
    sensors { name sensorState { status } }
  } } }
}"""
WIPE = "mutation { wipeAssets(assetPartitionRanges: []) { __typename } }"
# Dagster itself answers some of these on read-only pages.
MUTATIONS = {
    "wipe": WIPE,
    "nux": "mutation { setNuxSeen }",
    "telemetry": """mutation { logTelemetry(action: "a", clientTime: "1", clientId: "b",
        metadata: "{}") { __typename } }""",
    "reload": "mutation { reloadWorkspace { __typename } }",
    "sensor": """mutation { sensorDryRun(selectorData: {repositoryName: "a",
        repositoryLocationName: "b", sensorName: "c"}, cursor: "") { __typename } }""",
    "alias": "mutation A { x: setNuxSeen }",
    "second": "query Q { version } mutation M { setNuxSeen }",
    "fragment": "mutation { ...F } fragment F on Mutation { setNuxSeen }",
}
JSON = "application/json"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}
RELOAD = json.dumps({"query": "mutation { reloadWorkspace { __typename } }", "variables": {}})


@dataclass(frozen=True)
class Answer:
    """The status of a response, and all of it."""

    status: int
    text: str


def request(
    pages: Pages, method: str, path: str, headers: Mapping[str, str], body: str = ""
) -> Answer:
    """Send exactly these headers, as no HTTP library does, and return the answer."""
    length = {"Content-Length": str(len(body))} if body else {}
    lines = [f"{name}: {value}" for name, value in {**headers, **length}.items()]
    text = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "Connection: close", "", body])
    if "Upgrade" in headers:
        text = text.replace("Connection: close\r\n", "")
    with socket.create_connection(("127.0.0.1", pages.port), timeout=20) as connection:
        connection.sendall(text.encode())
        received = b""
        while block := connection.recv(65_536):
            received += block
            if "Upgrade" in headers and b"\r\n\r\n" in received:
                break
    answer = received.decode("utf-8", "replace")
    return Answer(int(answer.split()[1]), answer)


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


def wait_for_end(pids: list[int]) -> list[int]:
    """Return the processes that run after the seconds that a killed parent leaves them."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(map(is_running, pids)):
        time.sleep(0.2)
    return [pid for pid in pids if is_running(pid)]


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Orchard:
    folder = tmp_path_factory.mktemp("pages")
    orchard = Orchard(folder, project=create_project(folder / "project"))
    orchard.serve(Files.create())
    orchard.run()
    return orchard


@pytest.fixture(scope="module")
def pages(orchard: Orchard) -> Iterator[Pages]:
    hosts = {"ETL_UI_HOSTS": "localhost 127.0.0.1 [::1] etl.example"}
    with serve_pages(orchard.settings, environment=hosts) as served:
        yield served


@pytest.mark.skipif(not Path("/proc").exists(), reason="lists processes below /proc")
@pytest.mark.fault("broken-declaration", "home-path", "interrupted")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="SIGTERM", marks=pytest.mark.ci),
        pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
        pytest.param(signal.SIGHUP, 143, id="closed terminal"),
        pytest.param(signal.SIGKILL, -9, id="SIGKILL"),
    ],
)
def test_the_pages_use_the_settings_of_their_home_and_end_with_all_processes(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    project = create_project(tmp_path / "project")
    orchard = Orchard(tmp_path / HOME, project=project)
    orchard.serve(Files.create())
    orchard.home.root.mkdir()
    (add_domain(project, "weeds") / "notes.yaml").write_text("title: [", encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    environment = {"TMPDIR": str(tmp_path / "tmp")}

    with start_pages(orchard.settings, environment=environment) as pages:
        try:
            wait_until_loaded(pages)
            answer = pages.ask(QUERY)
            started = list(descendants(pages.process.pid))
        finally:
            pages.process.send_signal(number)
        output, errors = pages.process.communicate(timeout=90)

    assert answer["instance"]["poolConfig"]["defaultPoolLimit"] == 1
    [repository] = answer["repositoriesOrError"]["nodes"]
    names = [f"{DOMAIN}_daily", f"{DOMAIN}_verify"]
    assert [each["name"] for each in repository["schedules"]] == names
    assert [each["name"] for each in repository["sensors"]] == [f"{DOMAIN}_probe"]
    assert repository["sensors"][0]["sensorState"]["status"] == "STOPPED"
    assert pages.process.returncode == code, errors
    assert errors.startswith("etl: weeds is left out: ")
    if number != signal.SIGKILL:
        [*_, last] = errors.splitlines()
        assert last.startswith("etl: the pages have ended, and with them the runs")
    assert output == f"{pages.url}: end with Ctrl-C\n"
    assert len(started) >= 3  # the daemon, the code server and its child
    assert wait_for_end(started) == []
    if number != signal.SIGKILL:
        assert list((tmp_path / "tmp").glob("etl-ui-*")) == []


@pytest.mark.fault("interrupted")
def test_the_pages_start_again_on_the_same_port_and_refuse_one_that_is_in_use(
    orchard: Orchard,
) -> None:
    with start_pages(orchard.settings) as first:
        wait_until_loaded(first)
        with start_pages(orchard.settings, "--port", str(first.port)) as second:
            _, errors = second.process.communicate(timeout=60)
        first.process.terminate()
        first.process.wait(60)
    with start_pages(orchard.settings, "--port", str(first.port)) as third:
        again = Pages(first.port, third.process)
        wait_until_loaded(again)
        third.process.terminate()
        third.process.wait(60)

    assert second.process.returncode == 2
    assert f"--port: expected a free port on 127.0.0.1, found {first.port} in use" in errors
    assert (first.process.returncode, third.process.returncode) == (143, 143)


@pytest.mark.fault("foreign-page")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Host": "evil.example"}, 403, id="foreign host"),
        pytest.param({"Host": "127.0.0.1.evil.example"}, 403, id="host with a known beginning"),
        pytest.param({"Host": "localhost@evil.example"}, 403, id="host with a user"),
        pytest.param({}, 403, id="no host"),
        pytest.param({"Host": "localhost"}, 200, id="loopback"),
        pytest.param({"Host": "127.0.0.1:9"}, 200, id="loopback with another port"),
        pytest.param({"Host": "[::1]:3000"}, 200, id="loopback of IPv6"),
        pytest.param({"Host": "ETL.example"}, 200, id="declared host"),
        pytest.param({"Host": "localhost", "Origin": "http://localhost"}, 200, id="own origin"),
        pytest.param({"Host": "localhost", "Origin": "https://evil.example"}, 403, id="foreign"),
        pytest.param({"Host": "localhost", "Origin": "http://localhost:80"}, 403, id="other port"),
        pytest.param({"Host": "localhost", "Origin": "null"}, 403, id="no origin of its own"),
        pytest.param({"Host": "localhost", "Origin": "http://["}, 403, id="no URL"),
    ],
)
def test_only_the_pages_themselves_are_answered(
    pages: Pages, headers: dict[str, str], status: int
) -> None:
    page = request(pages, "GET", "/server_info", headers)
    query = request(pages, "POST", "/graphql", {**headers, "Content-Type": JSON}, RELOAD)
    web_socket = request(pages, "GET", "/graphql", {**headers, **UPGRADE})

    # A request without a Host is no HTTP/1.1, which uvicorn may refuse first.
    expected = {403, 400} if "Host" not in headers else {status}
    assert page.status in expected, page.text
    assert query.status in expected, query.text
    assert web_socket.status in ({101} if status == 200 else expected), web_socket.text


@pytest.mark.fault("foreign-page")
@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        pytest.param("GET", f"/graphql?query={WIPE.replace(' ', '%20')}", "", 405, id="GET"),
        pytest.param("GET", "/graphql/?query=%7Bversion%7D", "", 405, id="GET with a slash"),
        pytest.param("GET", "/%67raphql?query=%7Bversion%7D", "", 405, id="GET, encoded"),
        pytest.param("POST", "/graphql?query=%7Bversion%7D", "text/plain", 415, id="form"),
        pytest.param(
            "POST", "/graphql", "application/x-www-form-urlencoded", 415, id="encoded form"
        ),
        pytest.param("POST", "/graphql?query=%7Bversion%7D", "", 415, id="POST without a type"),
        pytest.param("PUT", "/graphql", JSON, 405, id="PUT"),
        pytest.param("DELETE", "/", "", 405, id="DELETE"),
    ],
)
def test_graphql_is_answered_by_post_with_json_alone(
    pages: Pages, method: str, path: str, content_type: str, status: int
) -> None:
    headers = {"Host": "localhost"}
    if content_type:
        headers["Content-Type"] = content_type

    answer = request(pages, method, path, headers, "" if method == "GET" else "{}")

    assert answer.status == status, answer.text


@pytest.mark.fault("foreign-page")
def test_read_only_pages_change_nothing(orchard: Orchard) -> None:
    post = {"Host": "localhost", "Content-Type": JSON}

    with serve_pages(orchard.settings, "--read-only") as pages:
        commands = [
            Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
            for pid in descendants(pages.process.pid)
        ]
        shown = request(pages, "POST", "/graphql", post, '{"query": "{ version }"}')
        changes = {
            name: request(pages, "POST", "/graphql", post, json.dumps({"query": query}))
            for name, query in MUTATIONS.items()
        }
        reported = request(
            pages, "POST", f"/report_asset_materialization/{DOMAIN}/trees", post, "{}"
        )

    assert shown.status == 200
    assert any("code-server" in command for command in commands)
    assert not any("dagster._daemon" in command for command in commands)
    assert {name for name, answer in changes.items() if answer.status != 400} == set()
    assert all("the pages are read-only" in answer.text for answer in changes.values())
    assert not (orchard.home.dagster / ".nux" / "nux.yaml").exists()
    assert reported.status == 403
    assert "read-only" in reported.text


def test_the_report_and_the_documents_can_be_opened(pages: Pages, orchard: Orchard) -> None:
    headers = {"Host": "localhost"}

    report = request(pages, "GET", f"/outputs/{DOMAIN}/latest/run_report.html", headers)
    document = request(pages, "GET", f"/outputs/{DOMAIN}/latest/trees.json", headers)
    outside = request(pages, "GET", "/outputs/../.dagster/dagster.yaml", headers)
    encoded = request(pages, "GET", "/outputs/%2e%2e/.dagster/dagster.yaml", headers)

    assert (report.status, document.status) == (200, 200)
    assert "content-security-policy: sandbox" in report.text.lower()
    assert '"T-1"' in document.text
    assert (outside.status, encoded.status) == (404, 404)


@pytest.mark.fault("home-path")
def test_a_directory_of_temporary_files_may_be_a_pattern_but_not_long(tmp_path: Path) -> None:
    orchard = Orchard(tmp_path / HOME, project=create_project(tmp_path / "project"))
    orchard.serve(Files.create())
    orchard.home.root.mkdir()
    pattern, long = tmp_path / "t[m]p", tmp_path / ("x" * 100)
    pattern.mkdir()
    long.mkdir()

    with start_pages(orchard.settings, environment={"TMPDIR": str(long)}) as pages:
        _, errors = pages.process.communicate(timeout=60)
    with serve_pages(orchard.settings, environment={"TMPDIR": str(pattern)}) as served:
        assert served.ask("{ version }")["version"]

    assert pages.process.returncode == 2
    assert "TMPDIR: expected a path of at most 80 bytes" in errors
