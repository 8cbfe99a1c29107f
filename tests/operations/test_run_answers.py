"""Runs of a source that requests an answer for each row: from a server, to the published set."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import misbehaving_server as faults
from support.misbehaving_server import Fault, MisbehavingServer, run_misbehaving_server
from support.orchard import DOMAIN, FIRST, HOST, Files, Orchard, create_project

from etl_assets.declarations import codegen
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions

ETL = Path(sys.executable).parent / "etl"
TREES = 6
TASTES = f"/{HOST}/taste"
TASTINGS = """
title: Tastings
description: What the fruit of a tree tastes of.
producer: Nobody
licence:
  name: none stated
  attribution: Nobody
location:
  url: https://orchard.example/taste?tree={tree_id}
for_each:
  table: trees
  columns: [tree_id]
  keep_days: 30
  mirror_name:
    column: tree_id
  shape:
    required: ['results[]']
  pages:
    by: PAGES
    items: results[]
    max_pages: 3
required: false
expect:
  min_rows: 0
limits:
  read_timeout_seconds: 2
  attempts: 2
  backoff_seconds: 0
  requests_per_second: 1000
  max_bytes: 100_000
freshness:
  warn_after_hours: 48
  fail_after_hours: 96
format:
  name: json
  rows: answers[].answer.results[]
contract:
  columns:
    - name: tree_id
      type: string
      description: the tree
      from: answers[].key.tree_id
      required: true
    - name: taste
      type: string
      description: what it tastes of
      required: true
  key: [tree_id, taste]
"""
MART = """
{{ config(materialized='table', meta={'key': ['tree_id']}) }}
select tree_id, string_agg(taste, ' ' order by taste) as tastes
from {{ source('orchard', 'tastings') }}
group by tree_id
"""
KINDS = {
    "link": ("link\n    next: next", lambda page: {"next": f"taste?page={page + 1}"}),
    "cursor": ("cursor\n    parameter: c\n    next: next", lambda page: {"next": f"c{page}"}),
    "number": ("number\n    parameter: p\n    total_pages: of", lambda _: {"of": 2}),
    "offset": ("offset\n    parameter: o\n    total_items: of", lambda _: {"of": 2}),
}


def answer(*tastes: str, **members: object) -> bytes:
    return json.dumps({"results": [{"taste": taste} for taste in tastes], **members}).encode()


def serves(body: object, **headers: str) -> Fault:
    """A fault that answers 200 with this body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler, _: handler.answer(200, data, **headers)


def create_tasting_project(folder: Path, pages: str = "link") -> Path:
    """Write the project of the orchard with one more source, which requests answers."""
    project = create_project(folder)
    declaration = TASTINGS.replace("PAGES", KINDS[pages][0])
    (project / "domains" / DOMAIN / "tastings.yaml").write_text(declaration, encoding="utf-8")
    models = project / "dbt_project" / "models" / DOMAIN
    (models / "marts" / "mart_tastings.sql").write_text(MART, encoding="utf-8")
    codegen.write_dbt_properties(project / "domains", project / "dbt_project")
    return project


def publish(server: MisbehavingServer, files: Files) -> None:
    for name, content in files.render().items():
        server.publish(f"/{HOST}/{name}", content)
    for tree in files.trees:
        server.publish(f"{TASTES}/{tree}.json", answer("sweet"))


@dataclass(frozen=True)
class Tasting:
    """An orchard behind a server that answers for each tree."""

    orchard: Orchard
    server: MisbehavingServer

    def tastes(self) -> dict[str, str]:
        """Returns the published tastes by tree."""
        return {row["tree_id"]: row["tastes"] for row in self.orchard.rows("mart_tastings")}

    def requested(self) -> list[str]:
        return [r.path for r in self.server.requests if r.path.startswith(TASTES)]

    def run(self, *, accept: bool = False) -> RunManifest:
        self.server.requests.clear()
        return self.orchard.run(RunOptions(accept_changes=accept))


@pytest.fixture(scope="module")
def tasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tasting]:
    folder = tmp_path_factory.mktemp("tasting")
    with run_misbehaving_server() as server:
        publish(server, Files.create(TREES))
        project = create_tasting_project(folder / "project")
        orchard = Orchard(folder / "live", project=project, mirror_url=server.url)
        server.always = {f"{TASTES}/T-3.json": serves({"error": "not yet"})}
        assert orchard.run(RunOptions(as_of=FIRST)).status is RunStatus.PARTIAL_SUCCESS
        yield Tasting(orchard, server)


@pytest.mark.long
@pytest.mark.fault("answer-error")
@pytest.mark.parametrize(
    ("fault", "words", "requests"),
    [
        pytest.param(serves({"error": "no such tree"}), "no such tree", 1, id="text"),
        pytest.param(serves({"error": {"code": 429, "message": "slow"}}), "slow", 2, id="429"),
        pytest.param(serves({"errors": [{"title": "expired"}]}), "expired", 1, id="list"),
        pytest.param(serves({"status": "OVER_QUERY_LIMIT"}), "OVER_QUERY_LIMIT", 2, id="a status"),
        pytest.param(faults.asks_for_login, "an HTML page titled 'Sign in'", 1, id="a page"),
        pytest.param(faults.sends_nothing, "an empty body", 1, id="nothing"),
        pytest.param(faults.cuts_off, "expected JSON", 1, id="cut off"),
    ],
)
def test_an_error_in_place_of_an_answer_is_an_outage_and_is_requested_again(
    tasting: Tasting, fault: Fault, words: str, requests: int
) -> None:
    path = f"{TASTES}/T-3.json"
    tasting.server.always = {path: fault}

    manifest = tasting.run()

    [outage] = manifest.outages
    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    assert (outage.source.name, outage.status) == ("tastings", FetchStatus.OUTAGE)
    assert "T-3" in manifest.note
    assert words in manifest.note
    assert tasting.requested() == [path] * requests
    assert sorted(tasting.tastes()) == [f"T-{n}" for n in (1, 2, 4, 5, 6)]
    assert words not in "".join(
        file.read_text()
        for file in tasting.orchard.home.answers(DOMAIN, "tastings").rglob("*.json")
    )


@pytest.mark.long
@pytest.mark.fault("answer-pages")
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_follows_the_pages_of_an_answer(tmp_path: Path, kind: str) -> None:
    members = KINDS[kind][1]
    with run_misbehaving_server() as server:
        publish(server, Files.create(2))
        server.publish(f"{TASTES}/T-1.json", answer("sweet", **members(1)))
        last = members(2) if kind in {"number", "offset"} else {}
        server.publish(f"{TASTES}/T-1.2.json", answer("sour", **last))
        project = create_tasting_project(tmp_path / "project", kind)
        orchard = Orchard(tmp_path / "live", project=project, mirror_url=server.url)
        tasting = Tasting(orchard, server)

        manifest = tasting.run()
        first = tasting.tastes()
        second = tasting.run()

    assert (manifest.status, second.status) == (RunStatus.SUCCESS, RunStatus.SUCCESS)
    assert first == {"T-1": "sour sweet", "T-2": "sweet"}
    assert tasting.requested() == []


@pytest.mark.long
@pytest.mark.fault("answer-pages")
def test_a_limit_of_pages_warns_in_each_run(tmp_path: Path) -> None:
    with run_misbehaving_server() as server:
        publish(server, Files.create(3))
        for page in range(1, 6):
            name = f"{TASTES}/T-1.{page}.json".replace(".1.json", ".json")
            server.publish(name, answer(f"taste {page}", next=f"taste?page={page + 1}"))
        project = create_tasting_project(tmp_path / "project")
        tasting = Tasting(
            Orchard(tmp_path / "live", project=project, mirror_url=server.url), server
        )

        manifests = [tasting.run(), tasting.run()]

    for manifest in manifests:
        warnings = [c.description for c in manifest.failed_checks if c.severity == "warn"]
        assert any("T-1: 3 pages read, there are more" in text for text in warnings)
        assert manifest.status is RunStatus.SUCCESS


def create_dated_tastings(folder: Path, server: MisbehavingServer) -> Orchard:
    """Create an orchard whose requests name the tree and the timestamp of its planting."""
    project = create_tasting_project(folder / "project")
    declarations = project / "domains" / DOMAIN
    for name, old, new in (
        ("trees", "type: date\n", "type: timestamp\n      unit: UTC\n"),
        ("tastings", "tree={tree_id}", "tree={tree_id}&since={planted_on}"),
        ("tastings", "  mirror_name:\n    column: tree_id\n", ""),
    ):
        file = declarations / f"{name}.yaml"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
    orchard = Orchard(folder / "live", project=project, mirror_url=server.url)
    orchard.write_env_file()
    return orchard


@pytest.mark.long
def test_a_request_with_a_timestamp_is_the_same_in_every_time_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: dict[str, list[str]] = {}
    for zone, locale in (
        ("UTC", "C.UTF-8"),
        ("Pacific/Auckland", "de_DE.UTF-8"),
        ("America/New_York", "tr_TR.UTF-8"),
    ):
        with run_misbehaving_server() as server:
            publish(server, Files.create(3))
            orchard = create_dated_tastings(tmp_path / zone, server)
            monkeypatch.setenv("ETL_HOME", str(orchard.home.root))
            monkeypatch.setenv("TZ", zone)
            monkeypatch.setenv("LC_ALL", locale)
            subprocess.run([ETL, "run", DOMAIN], check=False, capture_output=True, timeout=300)
            requests[zone] = [r.path for r in server.requests if r.path.startswith(TASTES)]

    assert len(requests["UTC"]) == 3
    assert "since%3D1999-04-01%252000%253A00%253A00%252B00" in requests["UTC"][0]
    assert requests["Pacific/Auckland"] == requests["UTC"]
    assert requests["America/New_York"] == requests["UTC"]
