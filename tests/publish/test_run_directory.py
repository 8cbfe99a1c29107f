"""Run directories, hard links and the link `latest`."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import RunStatus
from etl_assets.model.run_manifest import RunManifest
from etl_assets.publish import run_directory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def a_manifest(run_id: str) -> RunManifest:
    return RunManifest(
        run_id=run_id,
        domain="plants",
        status=RunStatus.SUCCESS,
        published=True,
        as_of=NOON,
        started_at=NOON,
        finished_at=NOON,
        code_version="1",
    )


@pytest.mark.fault("clock")
def test_two_runs_in_one_second_get_two_directories(home: Home) -> None:
    names = [run_directory.create(home, "plants", NOON).name for _ in range(3)]

    assert names == ["20260301_120000", "20260301_120000_2", "20260301_120000_3"]


def test_runs_are_listed_by_start_then_number_and_only_with_a_manifest(home: Home) -> None:
    directories = [run_directory.create(home, "plants", NOON) for _ in range(11)]
    for directory in directories[:10]:
        run_directory.write_manifest(directory, a_manifest(directory.name))
    run_directory.publish(home, "plants", directories[0])

    names = [path.name for path in run_directory.list_runs(home, "plants")]

    assert names == [f"20260301_120000_{n}" for n in range(10, 1, -1)] + ["20260301_120000"]


@pytest.mark.fault("read-only")
def test_a_path_that_cannot_be_written_is_reported(home: Home) -> None:
    home.outputs("plants").parent.mkdir()
    home.outputs("plants").write_text("in the way")

    with pytest.raises(HomeError, match="outputs/plants: expected a directory that can be written"):
        run_directory.create(home, "plants", NOON)


def test_a_linked_file_keeps_its_bytes_and_time(home: Home) -> None:
    first, second = (
        run_directory.create(home, "plants", NOON),
        run_directory.create(home, "plants", NOON),
    )
    (first / "marts").mkdir()
    (first / "marts" / "a.parquet").write_bytes(b"rows")

    run_directory.link_unchanged(first, second, ["marts/a.parquet"])

    assert (first / "marts" / "a.parquet").samefile(second / "marts" / "a.parquet")


def test_linking_a_missing_file_says_what_to_do(home: Home) -> None:
    first, second = (
        run_directory.create(home, "plants", NOON),
        run_directory.create(home, "plants", NOON),
    )

    with pytest.raises(
        HomeError, match=r"a\.json: expected the published file, found none; run again"
    ):
        run_directory.link_unchanged(first, second, ["a.json"])


def test_latest_moves_and_remains_a_relative_link(home: Home) -> None:
    first, second = (
        run_directory.create(home, "plants", NOON),
        run_directory.create(home, "plants", NOON),
    )
    run_directory.publish(home, "plants", first)

    run_directory.publish(home, "plants", second)

    assert home.latest("plants").readlink() == Path(second.name)
    assert sorted(p.name for p in home.outputs("plants").iterdir()) == [
        first.name,
        second.name,
        "latest",
    ]


def test_a_directory_outside_of_the_home_is_not_published(home: Home, tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="expected a run's directory below"):
        run_directory.publish(home, "plants", tmp_path)


def test_no_set_is_published_at_first(home: Home) -> None:
    assert run_directory.published_directory(home, "plants") is None


def test_a_link_to_nothing_is_reported(home: Home) -> None:
    run = run_directory.create(home, "plants", NOON)
    run_directory.publish(home, "plants", run)
    run.rmdir()

    with pytest.raises(
        HomeError, match=r"latest: expected the published directory .*20260301_120000"
    ):
        run_directory.published_directory(home, "plants")


def test_a_directory_instead_of_the_link_is_reported(home: Home) -> None:
    home.latest("plants").mkdir(parents=True)

    with pytest.raises(HomeError, match="expected a symbolic link, found a file or directory"):
        run_directory.published_directory(home, "plants")


def test_the_sums_match_every_file(home: Home) -> None:
    run = run_directory.create(home, "plants", NOON)
    (run / "marts").mkdir()
    (run / "marts" / "a.parquet").write_bytes(b"rows")
    (run / "b.json").write_text("{}")

    sums = run_directory.write_sums(run)

    checked = subprocess.run(
        ["sha256sum", "--check", sums.name], check=True, cwd=run, capture_output=True, text=True
    )
    assert checked.stdout == "b.json: OK\nmarts/a.parquet: OK\n"


def test_a_manifest_reads_back_as_it_was_written(home: Home) -> None:
    run = run_directory.create(home, "plants", NOON)
    run_directory.write_manifest(run, a_manifest("r1"))

    assert run_directory.read_manifest(run) == a_manifest("r1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "expected the manifest of a run, found: No such file", id="missing"),
        pytest.param(b"{", "Invalid JSON", id="cut off"),
        pytest.param(b'{"run_id": 1}', r"run_id: Input should be a valid string", id="wrong type"),
    ],
)
def test_an_invalid_manifest_is_reported(home: Home, content: bytes | None, message: str) -> None:
    run = run_directory.create(home, "plants", NOON)
    if content is not None:
        (run / "manifest.json").write_bytes(content)

    with pytest.raises(HomeError, match=message):
        run_directory.read_manifest(run)


@pytest.mark.fault("killed")
def test_a_killed_run_has_a_directory_but_is_not_listed(home: Home) -> None:
    ended, cut_off = (run_directory.create(home, "plants", NOON) for _ in range(2))
    run_directory.write_manifest(ended, a_manifest(ended.name))
    run_directory.publish(home, "plants", ended)

    assert list(run_directory.list_runs(home, "plants")) == [ended]
    assert run_directory.list_directories(home, "plants") == [cut_off, ended]
    assert run_directory.list_domains(home) == ["plants"]


@pytest.mark.fault("killed")
def test_a_run_that_was_killed_before_latest_moved_is_not_listed(home: Home) -> None:
    run = run_directory.create(home, "plants", NOON)
    run_directory.announce_publication(home, "plants", run)
    run_directory.write_manifest(run, a_manifest(run.name))

    assert list(run_directory.list_runs(home, "plants")) == []
    run_directory.clean_up_interrupted(home, "plants")

    assert run_directory.list_files(run) == []
    assert not run_directory.is_publication_pending(run)


def test_a_published_run_is_not_withdrawn(home: Home) -> None:
    run = run_directory.create(home, "plants", NOON)
    run_directory.write_manifest(run, a_manifest(run.name))
    run_directory.publish(home, "plants", run)

    run_directory.withdraw_publication(run)

    assert run_directory.read_manifest(run).published


def test_a_linked_file_is_freed_with_its_last_directory(home: Home) -> None:
    first, second, third = (run_directory.create(home, "plants", NOON) for _ in range(3))
    (first / "data.json").write_text("12345", encoding="utf-8")
    (first / "own.json").write_text("123", encoding="utf-8")
    run_directory.link_unchanged(first, second, ["data.json"])

    alone, both = (
        run_directory.measure_freed_bytes([first]),
        run_directory.measure_freed_bytes([first, second, third]),
    )

    assert alone == {first: 3}
    assert both == {first: 3, second: 5, third: 0}


def test_an_interrupted_removal_is_not_listed_and_is_finished_later(home: Home) -> None:
    directory = run_directory.create(home, "plants", NOON)
    run_directory.write_manifest(directory, a_manifest(directory.name))
    directory.rename(directory.with_name(f".gone-{directory.name}"))

    assert list(run_directory.list_runs(home, "plants")) == []
    run_directory.finish_removals(home, "plants")

    assert list(home.outputs("plants").iterdir()) == []


def test_a_directory_is_removed_with_its_files(home: Home) -> None:
    directory = run_directory.create(home, "plants", NOON)
    (directory / "marts").mkdir()
    (directory / "marts" / "a.parquet").touch()

    run_directory.remove(directory)

    assert list(home.outputs("plants").iterdir()) == []
