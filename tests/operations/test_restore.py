"""`etl restore`, `etl verify` and `etl run --new-history`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from support.command_homes import DOMAIN, SYSTEMS, Galaxy, call, point_environment_at
from support.damage import edit, overwrite
from support.kept_files import changed_galaxy, published_galaxy

from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE
from etl_assets.publish import chain, run_directory

__all__ = ["changed_galaxy", "published_galaxy"]

Capture = pytest.CaptureFixture[str]


STATIONS = "downloads.spansh.co.uk/galaxy_stations.json.gz"


@pytest.fixture
def home(changed_galaxy: Galaxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Galaxy:
    return point_environment_at(changed_galaxy.copy_to(tmp_path / "copy"), monkeypatch)


def names(galaxy: Galaxy) -> set[str]:
    return {row["name"] for row in galaxy.rows("mart_systems")}


def first_run(galaxy: Galaxy) -> Path:
    return min(galaxy.home.outputs(DOMAIN).glob("2*"))


def history_file(directory: Path) -> Path:
    return directory / "marts" / "mart_systems.parquet"


def lose_every_history(galaxy: Galaxy) -> None:
    """Remove the newest history from the set, from manifests/ and from the warehouse."""
    history_file(galaxy.latest).unlink()
    galaxy.home.history_copy(DOMAIN).unlink()
    galaxy.home.warehouse(DOMAIN).unlink()


def test_an_earlier_run_is_published_again_and_its_history_goes_on(
    home: Galaxy, capsys: Capture
) -> None:
    before = home.latest

    assert call("restore", DOMAIN, "--run", first_run(home).name) == 0

    assert f"{first_run(home).name} is published again" in capsys.readouterr().out
    assert home.latest not in {before, first_run(home)}
    assert "Quarry" in names(home)
    manifest = run_directory.read_manifest(home.latest)
    assert manifest.previous is not None
    assert manifest.previous.directory == before.name
    assert call("verify", str(home.latest)) == 0
    assert call("run", DOMAIN) == 0
    assert "Newfound" in names(home)
    assert next(run_directory.list_runs(home.home, DOMAIN)) == home.latest


def test_without_a_run_a_complete_set_stays_as_it_is(home: Galaxy, capsys: Capture) -> None:
    before = home.latest

    assert call("restore", DOMAIN) == 0

    text = f"nothing to restore, {before.name} is published and all of its files are intact"
    assert text in capsys.readouterr().out
    assert home.latest == before


def test_a_run_without_its_option_is_refused_with_the_option(home: Galaxy, capsys: Capture) -> None:
    before = home.latest

    assert call("restore", DOMAIN, first_run(home).name) == 2

    hint = f"`etl restore {DOMAIN} --run {first_run(home).name}`"
    assert hint in capsys.readouterr().err
    assert home.latest == before


@pytest.mark.long
@pytest.mark.ci
def test_damage_of_a_linked_file_does_not_come_back(home: Galaxy) -> None:
    earlier = home.latest
    home.change_feed('"name":"Newfound"', '"name":"Hearth"')
    assert call("run", DOMAIN) == 0
    shared = next(
        name
        for name in run_directory.list_files(earlier)
        if (home.latest / name).exists() and (home.latest / name).samefile(earlier / name)
    )
    good = (home.latest / shared).read_bytes()
    overwrite(home.latest / shared)
    assert call("run", DOMAIN) == 0
    assert (home.latest / shared).read_bytes() == good

    assert call("restore", DOMAIN, "--run", earlier.name) == 0

    assert (home.latest / shared).read_bytes() == good
    assert "Newfound" in names(home)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        pytest.param("20200101_000000", "no published run '20200101_000000'", id="unknown"),
        pytest.param("latest", "no published run 'latest'", id="not a directory"),
    ],
)
def test_an_unknown_run_is_named(home: Galaxy, capsys: Capture, run: str, message: str) -> None:
    assert call("restore", DOMAIN, "--run", run) == 1

    assert message in capsys.readouterr().err


def test_a_lost_history_is_refused_with_the_commands_that_go_on(
    home: Galaxy, capsys: Capture
) -> None:
    lose_every_history(home)

    assert call("run", DOMAIN) == 1

    error = capsys.readouterr().err
    assert "expected the published history with SHA-256" in error
    assert f"`etl restore {DOMAIN}`" in error
    assert f"`etl run {DOMAIN} --new-history --why TEXT`" in error


@pytest.mark.long
@pytest.mark.ci
def test_a_lost_history_is_restored_from_the_newest_complete_set(home: Galaxy) -> None:
    lose_every_history(home)

    assert call("restore", DOMAIN) == 0
    assert "Quarry" in names(home)

    assert call("run", DOMAIN) == 0
    assert "Newfound" in names(home)


@pytest.mark.long
@pytest.mark.ci
def test_a_new_history_begins_with_a_reason(home: Galaxy) -> None:
    lose_every_history(home)

    assert call("run", DOMAIN, "--new-history", "--why", "the disk was lost") == 0

    manifest = run_directory.read_manifest(home.latest)
    assert manifest.new_history is not None
    assert manifest.new_history.why == "the disk was lost"
    assert all(row["change"] is None for row in home.rows("mart_systems"))
    assert chain.read_head(home.home, DOMAIN).new_history is None
    assert call("run", DOMAIN) == 0


@pytest.mark.parametrize(
    "options",
    [("--new-history",), ("--why", "a reason"), ("--new-history", "--why", " ")],
    ids=["no reason", "a reason alone", "a blank reason"],
)
def test_a_new_history_needs_its_reason(
    home: Galaxy, capsys: Capture, options: tuple[str, ...]
) -> None:
    assert call("run", DOMAIN, *options) == 2

    assert "expected it together with --why TEXT" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.ci
def test_a_clock_that_was_set_back_harms_no_order(home: Galaxy) -> None:
    newest = home.latest
    ahead = newest.with_name("20991231_235959")
    newest.rename(ahead)
    manifest = run_directory.read_manifest(ahead)
    home.home.latest(DOMAIN).unlink()
    home.home.latest(DOMAIN).symlink_to(ahead.name)
    head = chain.read_head(home.home, DOMAIN)
    assert head.link is not None
    link = head.link.model_copy(update={"directory": ahead.name})
    chain.write_head(home.home, DOMAIN, chain.PublishedHead(link=link))
    home.change_feed('"name":"Newfound"', '"name":"Hearth"')

    assert call("run", DOMAIN) == 0

    runs = list(run_directory.list_runs(home.home, DOMAIN))
    assert runs[0] == home.latest
    assert runs[1] == ahead
    assert run_directory.read_manifest(home.latest).sequence > manifest.sequence


@pytest.mark.parametrize(
    ("file", "found"),
    [
        pytest.param("system_changes.json", "system_changes.json: expected SHA-256", id="document"),
        pytest.param("marts/mart_systems.parquet", "marts/mart_systems.parquet", id="mart"),
        pytest.param("index.jsonl", "index.jsonl", id="index"),
        pytest.param("run_report.md", "run_report.md", id="report"),
    ],
)
def test_a_set_is_verified_from_outside(
    home: Galaxy, tmp_path: Path, capsys: Capture, file: str, found: str
) -> None:
    received = tmp_path / "received"
    shutil.copytree(home.latest, received)
    assert call("verify", str(received)) == 0
    assert "all as published" in capsys.readouterr().out
    overwrite(received / file)

    assert call("verify", str(received)) == 1

    assert found in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(lambda d: (d / "system_changes.json").unlink(), "is missing", id="missing"),
        pytest.param(lambda d: (d / "more.txt").touch(), "is not in SHA256SUMS", id="one more"),
        pytest.param(lambda d: (d / "SHA256SUMS").unlink(), "the sums of a run", id="no sums"),
        pytest.param(
            lambda d: (d / MANIFEST_FILE).unlink(), "the manifest of a run", id="no manifest"
        ),
    ],
)
def test_a_set_that_lacks_a_file_is_refused(
    home: Galaxy, tmp_path: Path, capsys: Capture, change: Any, found: str
) -> None:
    received = tmp_path / "received"
    shutil.copytree(home.latest, received)
    change(received)

    assert call("verify", str(received)) == 1

    output = capsys.readouterr()
    assert found in output.out + output.err


def test_another_manifest_of_the_set_before_breaks_the_chain(home: Galaxy, capsys: Capture) -> None:
    path = first_run(home) / MANIFEST_FILE
    path.chmod(0o644)
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")

    assert call("verify", str(home.latest)) == 1

    assert "expected the manifest of the set before it" in capsys.readouterr().out


def edit_warehouse(galaxy: Galaxy) -> None:
    """Change a row in the database, as an older copy of it would have another one."""
    with duckdb.connect(str(galaxy.home.warehouse(DOMAIN))) as connection:
        connection.execute("update mart_systems set name = 'Elsewhere'")


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_rows_of_an_edited_warehouse_are_not_published(home: Galaxy) -> None:
    edit_warehouse(home)

    assert call("run", DOMAIN) == 0

    assert "Elsewhere" not in names(home)
    home.change_feed('"name":"Newfound"', '"name":"Hearth"')
    assert call("run", DOMAIN) == 0
    assert "Hearth" in names(home)
    assert "Elsewhere" not in names(home)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_models_are_not_built_from_an_edited_table(home: Galaxy, capsys: Capture) -> None:
    edit(home.home.table_file(DOMAIN, "systems", None))
    home.home.warehouse(DOMAIN).unlink()

    assert call("run", DOMAIN, "--from", "marts") == 1

    assert f"`etl run {DOMAIN} --stage table` makes them again" in capsys.readouterr().out
    assert call("run", DOMAIN) == 0
    assert "Newfound" in names(home)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_a_refusal_outlasts_the_set_that_it_was_compared_with(
    home: Galaxy, capsys: Capture
) -> None:
    shrink_stations(home)
    assert call("run", DOMAIN) == 1
    assert "the gate refused" in capsys.readouterr().out
    shutil.rmtree(home.home.outputs(DOMAIN))

    assert call("run", DOMAIN) == 1

    assert "run again with --accept-changes" in capsys.readouterr().out
    assert call("run", DOMAIN, "--accept-changes") == 0


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("altered-output")
def test_an_older_backup_over_the_home_does_not_hide_the_newest_set(home: Galaxy) -> None:
    newest, first = home.latest, first_run(home)
    manifest = run_directory.read_manifest(newest)
    assert manifest.previous is not None
    chain.write_head(home.home, DOMAIN, chain.PublishedHead(link=manifest.previous))
    shutil.copyfile(history_file(first), home.home.history_copy(DOMAIN))
    shutil.rmtree(home.home.dagster)
    home.home.latest(DOMAIN).unlink()
    home.home.latest(DOMAIN).symlink_to(first.name)
    before = pq.read_table(history_file(newest)).to_pylist()

    assert call("run", DOMAIN) == 0

    assert home.rows("mart_systems") == before


def shrink_systems(galaxy: Galaxy) -> None:
    feed = galaxy.folder / "samples" / SYSTEMS / "systems_1day.json"
    systems = json.loads(feed.read_text(encoding="utf-8"))
    feed.write_text(json.dumps(systems[:15]), encoding="utf-8")
    galaxy.change_feed("", "")


def shrink_stations(galaxy: Galaxy) -> None:
    feed = galaxy.folder / "samples" / STATIONS / "galaxy_stations.json"
    stations = json.loads(feed.read_text(encoding="utf-8"))
    feed.write_text(json.dumps(stations[:1]), encoding="utf-8")
    galaxy.change_feed("", "")


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("event-log-lost")
@pytest.mark.parametrize(
    ("shrink", "is_older"),
    [
        pytest.param(shrink_systems, True, id="a table, older"),
        pytest.param(shrink_systems, False, marks=pytest.mark.long, id="a table, deleted"),
        pytest.param(shrink_stations, True, marks=pytest.mark.long, id="a candidate, older"),
    ],
)
def test_another_event_log_does_not_forget_what_was_accepted(
    home: Galaxy, shrink: Callable[[Galaxy], None], is_older: bool
) -> None:
    shrink(home)
    call("run", DOMAIN)
    old = home.folder / "old"
    shutil.copytree(home.home.dagster, old)
    assert call("run", DOMAIN, "--accept-changes") == 0
    accepted = home.rows("mart_systems")
    shutil.rmtree(home.home.dagster)
    if is_older:
        shutil.copytree(old, home.home.dagster)

    assert call("run", DOMAIN) == 0

    newest = next(run_directory.list_runs(home.home, DOMAIN))
    assert run_directory.read_manifest(newest).status is RunStatus.SUCCESS
    assert {row["name"] for row in accepted} == names(home)


def roll_back_and_lose_all_records(galaxy: Galaxy) -> None:
    assert call("rollback", f"{DOMAIN}.systems", "--why", "a trial") == 0
    assert call("run", DOMAIN) == 0
    shutil.rmtree(galaxy.home.dagster)
    shutil.rmtree(galaxy.home.manifests)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("event-log-lost")
def test_a_pin_is_restored_from_the_last_run_if_all_records_are_lost(
    home: Galaxy, capsys: Capture
) -> None:
    roll_back_and_lose_all_records(home)
    call("health", DOMAIN)
    assert "decisions of the operator are lost" in capsys.readouterr().out

    assert call("run", DOMAIN) == 0

    assert "as in the last run" in capsys.readouterr().err
    assert run_directory.read_manifest(home.latest).status is RunStatus.PARTIAL_SUCCESS
    assert "Quarry" in names(home)
    assert call("unpin", f"{DOMAIN}.systems", "--why", "enough") == 0
    assert "is current again" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.fault("event-log-lost")
def test_a_pin_whose_file_is_lost_too_is_named(home: Galaxy, capsys: Capture) -> None:
    roll_back_and_lose_all_records(home)
    [used] = [
        each for each in run_directory.read_manifest(home.latest).sources if each.pin is not None
    ]
    home.home.raw_file(str(used.sha256)).unlink()

    assert call("run", DOMAIN) == 0

    assert "its pin is lost, as its file is not stored" in capsys.readouterr().err
    assert "Newfound" in names(home)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("event-log-lost")
@pytest.mark.parametrize("lost", ["newest set", pytest.param("outputs", marks=pytest.mark.long)])
def test_the_history_of_a_lost_set_is_continued_from_its_copy(
    home: Galaxy, capsys: Capture, lost: str
) -> None:
    before = home.rows("mart_systems")
    shutil.rmtree(home.latest if lost == "newest set" else home.home.outputs(DOMAIN))
    home.home.published_head(DOMAIN).unlink()
    shutil.rmtree(home.home.dagster)

    call("health", DOMAIN)
    assert "found a newer one, whose set is lost" in capsys.readouterr().out
    assert call("run", DOMAIN) == 0

    assert home.rows("mart_systems") == before
    assert call("verify", str(home.latest)) == 0
    assert call("run", DOMAIN) == 0
    assert home.rows("mart_systems") == before


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("event-log-lost")
def test_an_older_ledger_brings_no_removed_pin_back(home: Galaxy) -> None:
    assert call("rollback", f"{DOMAIN}.systems", "--why", "a trial") == 0
    old = home.folder / "old"
    shutil.copytree(home.home.manifests, old)
    assert call("unpin", f"{DOMAIN}.systems", "--why", "enough") == 0
    assert call("run", DOMAIN) == 0
    shutil.copytree(old, home.home.manifests, dirs_exist_ok=True)

    assert call("run", DOMAIN) == 0

    assert run_directory.read_manifest(home.latest).status is RunStatus.SUCCESS
    assert "Newfound" in names(home)


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.fault("event-log-lost")
def test_an_older_event_log_does_not_forget_a_pin(home: Galaxy) -> None:
    old = home.folder / "old"
    shutil.copytree(home.home.dagster, old)
    assert call("rollback", f"{DOMAIN}.systems", "--why", "a trial") == 0
    shutil.rmtree(home.home.dagster)
    shutil.copytree(old, home.home.dagster)

    assert call("run", DOMAIN) == 0

    assert run_directory.read_manifest(home.latest).status is RunStatus.PARTIAL_SUCCESS
    assert "Quarry" in names(home)
