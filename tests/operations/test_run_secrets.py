"""Runs without a secret: an outage of the source that needs it, and of no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_homes import call
from support.misbehaving_server import MisbehavingServer, run_misbehaving_server
from support.orchard import (
    DOMAIN,
    Files,
    Orchard,
    add_domain,
    create_project,
    declare_address,
)

from etl_assets.declarations.load import load
from etl_assets.model.records import FetchStatus, RunStatus

pytestmark = pytest.mark.long

KEY = "ORCHARD_KEY"
OTHER = "meadow"
EXPECTED = f"{KEY}: expected a secret in the environment or "


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    with run_misbehaving_server() as running:
        for name, content in Files.create(40).render().items():
            running.publish(f"/{name}", content)
        yield running


class Keyed(Orchard):
    """A home without a mirror, whose declarations have the address of the server."""

    def set_key(self, text: str | None) -> None:
        """Write the secret to the `.env` of the home; with None, remove it."""
        self.write_env_file(**{KEY: text})

    def need_key(self, source: str) -> None:
        """Declare that the source is fetched with the secret."""
        path = self.project / "domains" / DOMAIN / f"{source}.yaml"
        text = path.read_text(encoding="utf-8")
        credentials = f"  credentials:\n    X-Key: {{env: {KEY}}}\n"
        path.write_text(text.replace("required:", f"{credentials}required:", 1), encoding="utf-8")
        self.domain = load(self.settings.domains_dir)[DOMAIN]

    def ask_for_each_tree(self, source: str) -> None:
        """Declare that the source has an answer for each tree, in a file of its own."""
        path = self.project / "domains" / DOMAIN / f"{source}.yaml"
        text = path.read_text(encoding="utf-8")
        for old, new in {
            f"/{source}.json": "/note/{tree_id}.json",
            "required: false": "required: false\nfor_each: {table: trees, columns: [tree_id]}",
            "rows: '{tree_id}'": "rows: answers[]",
            "description: the tree's id": "description: the id\n      from: key.tree_id",
            "description: what is said": "from: answer.note\n      description: what is said",
        }.items():
            assert old in text
            text = text.replace(old, new, 1)
        path.write_text(text, encoding="utf-8")
        self.domain = load(self.settings.domains_dir)[DOMAIN]


@pytest.fixture
def orchard(server: MisbehavingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keyed:
    project = create_project(tmp_path / "project")
    declare_address(project, server.url, "trees", "harvests", "notes")
    orchard = Keyed(tmp_path / "live", project=project)
    orchard.settings = orchard.settings.model_copy(update={"mirror": None})
    orchard.set_key(None)
    for variable in (KEY, "DAGSTER_HOME", "ETL_HOME", "ETL_MIRROR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(orchard.home.root)
    server.requests.clear()
    return orchard


@pytest.mark.fault("missing-secret")
@pytest.mark.parametrize("text", [None, "", "  "], ids=["missing", "empty", "blank"])
def test_the_source_is_an_outage_and_the_others_are_published(
    server: MisbehavingServer, orchard: Keyed, text: str | None
) -> None:
    orchard.need_key("notes")
    orchard.set_key(text)

    manifest = orchard.run()

    assert (manifest.status, manifest.published) == (RunStatus.PARTIAL_SUCCESS, True)
    [outage] = manifest.outages
    assert str(outage.source) == f"{DOMAIN}.notes"
    assert EXPECTED in (outage.fault or "")
    assert EXPECTED in manifest.note
    assert not [request for request in server.requests if request.path == "/notes.json"]
    assert len(orchard.rows("mart_trees")) == 40


@pytest.mark.ci
@pytest.mark.fault("missing-secret")
def test_its_last_good_file_is_used_until_the_secret_is_set_again(
    server: MisbehavingServer, orchard: Keyed
) -> None:
    orchard.need_key("notes")
    orchard.set_key("a-long-secret")
    first, rows = orchard.run(), orchard.rows("mart_trees")

    orchard.set_key(None)
    second, same_rows = orchard.run(), orchard.rows("mart_trees")
    orchard.set_key("a-long-secret")
    third = orchard.run()

    statuses = [manifest.status for manifest in (first, second, third)]
    assert statuses == [RunStatus.SUCCESS, RunStatus.PARTIAL_SUCCESS, RunStatus.SUCCESS]
    assert [outage.status for outage in second.outages] == [FetchStatus.OUTAGE]
    assert same_rows == rows
    assert any(row["note"] for row in rows)
    keys = {request.headers.get("X-Key") for request in server.requests_for("/notes.json")}
    assert keys == {"a-long-secret"}


@pytest.mark.fault("missing-secret")
@pytest.mark.parametrize("source", ["harvests", "trees"])
def test_a_required_source_fails_its_own_domain_by_name(
    orchard: Keyed, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    add_domain(orchard.project, OTHER)
    orchard.need_key(source)

    health_code = call("health", DOMAIN)
    health = capsys.readouterr().out
    run_code = call("run", DOMAIN, OTHER)
    run = capsys.readouterr()

    assert (health_code, run_code) == (1, 1)
    assert f"ERROR {DOMAIN}: secrets: {KEY} is not set, for {DOMAIN}.{source}" in health
    assert f"{DOMAIN}: failed" in run.out
    assert f"{DOMAIN}.{source}" in run.out
    assert EXPECTED in run.out
    assert f"{OTHER}: success" in run.out


@pytest.mark.fault("missing-secret")
def test_requests_of_rows_are_off_without_a_secret_and_an_outage_with_an_empty_one(
    server: MisbehavingServer, orchard: Keyed, capsys: pytest.CaptureFixture[str]
) -> None:
    server.publish("/note/T-1.json", b'{"note": "by the gate"}')
    orchard.need_key("notes")
    orchard.ask_for_each_tree("notes")
    off, empty, answered = None, "", "a-long-secret"

    codes, lines = [], []
    for text in (off, off, empty, answered):
        orchard.set_key(text)
        codes.append(call("run", DOMAIN, "--strict"))
        shown = capsys.readouterr()
        lines.append([line for line in shown.err.splitlines() if f"{DOMAIN}.notes: " in line])
        paths = [request.path for request in server.requests]

    assert codes == [0, 0, 1, 0]
    unsent = "40 requests: 40 not sent"
    assert lines[1] == [
        f"{DOMAIN}.notes: keep, nothing more is asked ({unsent}; off, as {KEY} is not set)"
    ]
    assert f"40 of 40 requests failed, first: T-1: {EXPECTED}" in "".join(lines[2])
    assert paths.count("/note/T-1.json") == 1
    assert [row["note"] for row in orchard.rows("mart_trees") if row["note"]] == ["by the gate"]


@pytest.mark.fault("missing-secret")
def test_verbs_that_fetch_nothing_do_not_need_it(
    orchard: Keyed, capsys: pytest.CaptureFixture[str]
) -> None:
    orchard.need_key("notes")

    codes = [
        call(*verb.split())
        for verb in (
            f"probe {DOMAIN}",
            f"run {DOMAIN} --dry-run",
            f"status {DOMAIN}",
            "config show",
        )
    ]

    assert codes == [0, 0, 0, 0]
    assert f"{DOMAIN}.notes: fetch, no record" in capsys.readouterr().out


@pytest.mark.fault("missing-secret")
def test_a_sample_of_the_source_names_the_secret(
    orchard: Keyed, capsys: pytest.CaptureFixture[str]
) -> None:
    orchard.need_key("notes")

    assert call("sample", f"{DOMAIN}.notes") == 1

    assert EXPECTED in capsys.readouterr().err
