"""A domain with faults stops its own verbs, and every other verb works and names it."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from support.command_homes import call
from support.orchard import DOMAIN, FIRST, Files, Orchard, add_domain, create_project

from etl_assets.definitions import defs
from etl_assets.defs.launch import open_instance
from etl_assets.model.run_options import RunOptions

BROKEN = "weeds"
ADVICE = f"{BROKEN}: correct its declarations and run the command again"

Capture = pytest.CaptureFixture[str]
Break = Callable[[Path], object]


def change(file: str, old: str, new: str) -> Break:
    def apply(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return apply


def replace_notes(create: Callable[[Path], object]) -> Break:
    def apply(folder: Path) -> None:
        (folder / "notes.yaml").unlink()
        create(folder / "notes.yaml")

    return apply


def replace_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.parent / "gone")


def ask_for_rows_of(table: str) -> Break:
    requests = f"for_each: {{table: {table}, columns: [tree_id]}}\nrequired: false"
    return change("notes.yaml", "required: false", requests)


# What is done to the declarations of the domain, and the place and the reason in the errors.
BREAKS: dict[str, tuple[Break, str]] = {
    "syntax": (
        change("notes.yaml", "title: Notes", "title: [Notes"),
        "notes.yaml:3: document: expected well-formed YAML",
    ),
    "unknown key": (
        change("notes.yaml", "required:", "colour: red\nrequired:"),
        "notes.yaml:10: colour: expected one of title",
    ),
    "unknown key of the domain": (
        change("_domain.yaml", "history:", "colour: red\nhistory:"),
        "_domain.yaml:8: colour: expected one of title",
    ),
    "rule between fields": (
        change("notes.yaml", "key: [tree_id]", "key: [tree]"),
        "notes.yaml:37: contract.key[0]: expected a column of the contract",
    ),
    "duplicate key": (
        change("trees.yaml", "required: true", "required: true\nproducer: Somebody"),
        "trees.yaml:4: producer: expected each key once",
    ),
    "schedule": (
        change("_domain.yaml", "0 5 * * *", "0 25 * * *"),
        "_domain.yaml:7: schedule: expected a hour as cron writes it, from 0 to 23, found '25'",
    ),
    "port": (
        change("notes.yaml", "example/", "example:99999/"),
        "notes.yaml:9: location.url: expected a URL",
    ),
    "no such table": (
        ask_for_rows_of("tree"),
        "notes.yaml:10: for_each.table: expected a source of the domain, perhaps 'trees'",
    ),
    "cycle": (
        ask_for_rows_of("notes"),
        "notes.yaml:10: for_each.table: expected no cycle, found notes -> notes",
    ),
    "encoding": (
        replace_notes(lambda file: file.write_bytes(b"title: B\xe4ume\n")),
        "notes.yaml:1: document: expected UTF-8 text",
    ),
    "folder": (
        replace_notes(lambda file: file.mkdir()),
        "notes.yaml:1: document: expected a file, found a folder or a device",
    ),
    "pipe": (
        replace_notes(os.mkfifo),
        "notes.yaml:1: document: expected a file, found a folder or a device",
    ),
    "dangling link": (
        replace_notes(lambda file: file.symlink_to("gone.yaml")),
        "notes.yaml:1: document: expected a readable file, found No such file",
    ),
    "endless file": (
        replace_notes(lambda file: file.symlink_to("/dev/zero")),
        "notes.yaml:1: document: expected a file, found a folder or a device",
    ),
    "no permission": (
        lambda folder: (folder / "notes.yaml").chmod(0),
        "notes.yaml:1: document: expected a readable file, found Permission denied",
    ),
    "no domain file": (
        lambda folder: (folder / "_domain.yaml").unlink(),
        "_domain.yaml:1: document: expected a file that describes the domain, found none",
    ),
    "dangling link to the folder": (
        replace_folder,
        f"{BROKEN}:1: document: expected a readable folder, found No such file",
    ),
}


@pytest.fixture(scope="module")
def two_orchards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a project of two domains, and an empty home with an event log."""
    folder = tmp_path_factory.mktemp("orchards")
    add_domain(create_project(folder / "project"), BROKEN)
    orchard = Orchard(folder / "live", project=folder / "project")
    orchard.serve(Files.create())
    with open_instance(orchard.settings):
        pass
    return folder


@pytest.fixture
def orchard(two_orchards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orchard:
    """Return a copy of the home, to which the environment points."""
    shutil.copytree(two_orchards, tmp_path, dirs_exist_ok=True)
    orchard = Orchard(tmp_path / "live", project=tmp_path / "project")
    for variable in ("DAGSTER_HOME", "ETL_HOME", "ETL_MIRROR"):
        monkeypatch.delenv(variable, raising=False)
    orchard.write_env_file()
    monkeypatch.chdir(orchard.home.root)
    return orchard


@pytest.fixture
def published_orchard(orchard: Orchard) -> Orchard:
    """Return the same home after a run of its first domain."""
    assert orchard.run(RunOptions(as_of=FIRST)).published
    return orchard


def break_domain(orchard: Orchard, name: str) -> str:
    """Break the second domain in one way; return the place and the reason to expect."""
    break_it, message = BREAKS[name]
    if name == "no permission" and os.geteuid() == 0:
        pytest.skip("needs a user who may not read every file")
    break_it(orchard.project / "domains" / BROKEN)
    return message


def is_named_in_one_line(errors: str, message: str) -> bool:
    lines = [line for line in errors.splitlines() if line.startswith("etl: ") and BROKEN in line]
    start, end = f"etl: {BROKEN} is left out: ", "`etl sources check` lists all"
    return len(lines) == 1 and all(part in lines[0] for part in (start, message, end))


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("broken-declaration")
@pytest.mark.parametrize("name", BREAKS)
def test_a_fault_stops_its_own_domain_and_is_named_by_the_others(
    orchard: Orchard, capsys: Capture, name: str
) -> None:
    message = break_domain(orchard, name)

    assert call("status", DOMAIN) == 0
    other = capsys.readouterr()
    assert call("status", BROKEN) == 2
    own = capsys.readouterr()
    assert call("sources", "check") == 2
    check = capsys.readouterr()

    assert other.out.startswith(f"{DOMAIN}: nothing is published yet")
    assert is_named_in_one_line(other.err, message), other.err
    assert own.out == ""
    assert message in own.err
    assert ADVICE in own.err
    assert message in check.err


# The verbs of the domain without faults, and those over all domains, with their exit codes.
VERBS: dict[str, int] = {
    f"run {DOMAIN}": 0,
    f"run {DOMAIN} --dry-run": 0,
    f"probe {DOMAIN}": 0,
    f"status {DOMAIN}": 0,
    f"health {DOMAIN}": 0,
    f"stats {DOMAIN}": 0,
    f"check {DOMAIN}": 0,
    f"sample {DOMAIN}.notes": 0,
    f"replay {DOMAIN}/latest": 0,
    f"config get {DOMAIN}.notes.location.url": 0,
    f"prune {DOMAIN}": 0,
    f"manifest export {DOMAIN}": 0,
    f"manifest verify {DOMAIN}": 0,
    f"quarantine list {DOMAIN}.notes": 0,
    f"rollback {DOMAIN}.notes --why none": 2,  # there is no earlier version
    "config show": 0,
    "config get home": 0,
    "health": 1,
    "stats": 2,
    "check": 2,
    "prune": 2,
    "sources list": 2,
    "manifest export": 2,
    "manifest verify": 2,
    "quarantine list": 2,
    "quarantine purge --all": 2,
}
SILENT = {"config get home"}  # reads no declaration


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("broken-declaration")
def test_every_verb_works_without_the_domain_and_names_it(
    published_orchard: Orchard, capsys: Capture
) -> None:
    message = break_domain(published_orchard, "unknown key")
    raw_files = sorted(published_orchard.home.raw.rglob("*"))

    results = {}
    for verb in VERBS:
        code = call(*verb.split())
        errors = capsys.readouterr().err
        is_named = is_named_in_one_line(errors, message)
        results[verb] = (code, is_named or verb in SILENT)

    assert results == {verb: (code, True) for verb, code in VERBS.items()}
    assert sorted(published_orchard.home.raw.rglob("*")) == raw_files


OWN_VERBS = (
    f"run {BROKEN}", f"run {BROKEN} --dry-run", f"probe {BROKEN}", f"status {BROKEN}",
    f"check {BROKEN}", f"stats {BROKEN}", f"sample {BROKEN}.notes", f"explain {BROKEN} T-1",
    f"replay {BROKEN}/latest", f"config get {BROKEN}.notes", f"prune {BROKEN}",
    f"manifest export {BROKEN}", f"manifest verify {BROKEN}", f"manifest restore {BROKEN}",
    f"quarantine list {BROKEN}.notes", f"quarantine purge {BROKEN}.notes",
    f"quarantine show {BROKEN}.notes", f"quarantine release {BROKEN}.notes --why none",
    f"rollback {BROKEN}.notes --why none", f"unpin {BROKEN}.notes --why none",
    f"forget {BROKEN}.notes --why none", f"backfill {BROKEN}.notes --from 2020 --to 2021",
    f"demo {BROKEN}", f"diff {BROKEN}", f"diff --replace {BROKEN}.notes=x",
)  # fmt: skip


@pytest.mark.fault("broken-declaration")
def test_every_verb_on_the_domain_shows_the_fault_and_exits_with_2(
    orchard: Orchard, capsys: Capture
) -> None:
    message = break_domain(orchard, "rule between fields")

    results = {}
    for verb in OWN_VERBS:
        code = call(*verb.split())
        errors = capsys.readouterr().err
        is_shown = f"/{BROKEN}/{message}" in errors and f"\n{ADVICE}; other domains" in errors
        results[verb] = (code, is_shown)

    assert results == dict.fromkeys(OWN_VERBS, (2, True))


def test_a_source_that_two_domains_may_have_is_not_chosen_for_the_operator(
    orchard: Orchard, capsys: Capture
) -> None:
    break_domain(orchard, "syntax")

    assert call("rollback", "notes", "--why", "a wrong note") == 2

    expected = f"expected one source, found {DOMAIN}.notes and {BROKEN}.notes"
    assert expected in capsys.readouterr().err


def test_health_reports_the_fault_as_a_finding_of_its_domain(
    orchard: Orchard, capsys: Capture
) -> None:
    message = break_domain(orchard, "duplicate key")

    assert call("health", BROKEN, "--json") == 1

    report = json.loads(capsys.readouterr().out)
    [finding] = [each for each in report["findings"] if each["what"] == "declarations"]
    assert (finding["domain"], finding["level"]) == (BROKEN, "error")
    assert finding["found"].rpartition("/")[2].startswith(message.partition(": expected")[0])
    assert finding["advice"]


def test_all_faults_of_all_domains_are_listed(orchard: Orchard, capsys: Capture) -> None:
    message = break_domain(orchard, "syntax")
    expected = [message]
    for name in ("encoding", "no such table"):
        folder = add_domain(orchard.project, f"{BROKEN}_{len(expected)}")
        break_it, message = BREAKS[name]
        break_it(folder)
        expected.append(f"{folder.name}/{message}")

    assert call("sources", "check") == 2

    errors = capsys.readouterr().err
    assert all(each in errors for each in expected), errors


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("broken-declaration")
def test_a_run_of_several_domains_runs_those_without_faults(
    published_orchard: Orchard, capsys: Capture
) -> None:
    message = break_domain(published_orchard, "unknown key")

    assert call("run", BROKEN, DOMAIN, "--json") == 2

    shown = capsys.readouterr()
    [manifest] = json.loads(shown.out)
    assert (manifest["domain"], manifest["status"]) == (DOMAIN, "success")
    assert message in shown.err


def test_an_unknown_domain_among_several_is_refused_before_anything_runs(
    orchard: Orchard, capsys: Capture
) -> None:
    assert call("run", DOMAIN, "nowhere") == 2

    assert f"no domain 'nowhere'; declared are: {DOMAIN}, {BROKEN}" in capsys.readouterr().err
    assert not orchard.home.outputs(DOMAIN).exists()


def test_a_fault_that_depends_on_the_settings_stops_its_own_domain_only(
    orchard: Orchard, capsys: Capture
) -> None:
    notes = orchard.project / "domains" / BROKEN / "notes.yaml"
    text = notes.read_text(encoding="utf-8")
    text = text.replace("url: https://orchard.example/notes.json", "path: notes/{partition}.json")
    notes.write_text(f"{text}partitions: {{by: file}}\n", encoding="utf-8")
    orchard.write_env_file(ETL_MIRROR="http://127.0.0.1:9")  # a set has a folder to list

    check_code = call("sources", "check")
    codes = [call("run", *names, "--dry-run") for names in ([BROKEN, DOMAIN], [BROKEN], [DOMAIN])]

    assert (check_code, codes) == (0, [2, 2, 0])
    shown = capsys.readouterr()
    assert shown.out.count(f"{DOMAIN}.trees: fetch, no record") == 2
    assert shown.err.count(f"etl: {BROKEN}.notes: expected ETL_MIRROR to be a directory") == 2


def add_sql(orchard: Orchard, text: str) -> None:
    folder = orchard.project / "dbt_project" / "models" / BROKEN / "marts"
    (folder / "mart_more.sql").write_text(text, encoding="utf-8")


def declare_no_key(orchard: Orchard) -> None:
    marts = orchard.project / "dbt_project" / "models" / BROKEN / "marts" / "_marts.yml"
    marts.write_text(marts.read_text(encoding="utf-8").replace("[tree_id]", "7"), encoding="utf-8")


def name_no_domain(orchard: Orchard) -> None:
    break_domain(orchard, "unknown key")


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("broken-declaration", "broken-models")
@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(name_no_domain, id="declaration"),
        pytest.param(lambda o: add_sql(o, "select {{ ref('none') }}"), id="unknown model"),
        pytest.param(
            lambda o: add_sql(o, "select {% if %}"), id="no Jinja", marks=pytest.mark.long
        ),
        pytest.param(declare_no_key, id="key that is no list", marks=pytest.mark.long),
    ],
)
def test_dagster_loads_the_other_domains_with_schedule_and_sensor(
    orchard: Orchard, caplog: pytest.LogCaptureFixture, break_it: Callable[[Orchard], object]
) -> None:
    break_it(orchard)

    with caplog.at_level(logging.ERROR, logger="etl_assets"):
        repository = defs().get_repository_def()

    assert {key.path[0] for key in repository.asset_graph.get_all_asset_keys()} == {DOMAIN}
    names = {f"{DOMAIN}_daily", f"{DOMAIN}_verify"}
    assert {each.name for each in repository.schedule_defs} == names
    assert {each.name for each in repository.sensor_defs} == {f"{DOMAIN}_probe"}
    [record] = [each.getMessage() for each in caplog.records if BROKEN in each.getMessage()]
    assert record.startswith(f"{BROKEN} is left out: ")
    with (
        open_instance(orchard.settings) as instance,
        dg.build_sensor_context(instance=instance, repository_def=repository) as context,
    ):
        answer = repository.get_sensor_def(f"{DOMAIN}_probe")(context)
    assert isinstance(answer, dg.SkipReason | dg.SensorResult)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("broken-models")
def test_broken_models_fail_the_runs_of_their_own_domain_only(
    published_orchard: Orchard, capsys: Capture
) -> None:
    add_sql(published_orchard, "select {{ ref('none') }}")
    files = Files.create(35)
    published_orchard.serve(files)

    assert call("run", BROKEN, DOMAIN) == 1

    shown = capsys.readouterr()
    assert f"{DOMAIN}: success" in shown.out
    assert f"etl: dbt parse of {BROKEN} stopped: " in shown.err
    assert len(published_orchard.rows("mart_trees")) == 35
