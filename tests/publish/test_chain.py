"""The chain of published sets: what is known is compared with the files, and repaired."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.model.home import Home
from etl_assets.model.records import HistoryDecision, PublishedLink, RunStatus
from etl_assets.model.run_manifest import MANIFEST_FILE, MARTS, RunManifest, RunMart
from etl_assets.publish import chain, documents, run_directory
from etl_assets.publish.writers.output import describe_file
from etl_assets.storage.hashing import hash_file
from etl_assets.storage.signatures import Signatures

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOMAIN, HISTORY = "plants", "mart_plant_history"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def publish(home: Home, number: int, *, writes_head: bool = True) -> Path:
    """Publish a set whose history has the run's number as its only row."""
    head = chain.read_head(home, DOMAIN)
    directory = run_directory.create(home, DOMAIN, NOON + timedelta(days=number))
    history = directory / MARTS / f"{HISTORY}.parquet"
    history.parent.mkdir()
    pq.write_table(pa.table({"number": [number]}), history)
    manifest = RunManifest(
        run_id=directory.name, domain=DOMAIN, status=RunStatus.SUCCESS, published=True,
        as_of=NOON + timedelta(days=number), started_at=NOON, finished_at=NOON, code_version="1",
        sequence=chain.next_sequence(home, DOMAIN), previous=head.link,
        marts=[RunMart(model=HISTORY, sha256=hash_file(history), rows=1, as_of=NOON)],
    )  # fmt: skip
    mart = describe_file(history, "", f"{MARTS}/{HISTORY}.parquet", 1)
    manifest = documents.publish_candidate(home, directory, manifest, [mart])
    if writes_head:
        link = chain.link_of(directory, manifest, HISTORY)
        chain.write_head(home, DOMAIN, chain.PublishedHead(link=link), history)
    return directory


def repair(home: Home, recorded: PublishedLink | None = None) -> list[str]:
    return chain.repair(home, DOMAIN, HISTORY, recorded, Signatures())


def link_of_head(home: Home) -> PublishedLink:
    link = chain.read_head(home, DOMAIN).link
    assert link is not None
    return link


def copied_number(home: Home) -> int:
    return int(pq.read_table(home.history_copy(DOMAIN))["number"][0].as_py())


def published(home: Home) -> Path | None:
    return run_directory.published_directory(home, DOMAIN)


def test_a_complete_home_needs_no_repair(home: Home) -> None:
    publish(home, 1)
    second = publish(home, 2)

    assert repair(home) == []
    assert published(home) == second


def test_a_run_that_was_killed_before_it_wrote_the_head_is_the_newest(home: Home) -> None:
    publish(home, 1)
    second = publish(home, 2, writes_head=False)

    assert repair(home)

    assert link_of_head(home).directory == second.name
    assert copied_number(home) == 2
    assert repair(home) == []


@pytest.mark.parametrize("target", ["first", None], ids=["to an older set", "gone"])
def test_latest_is_linked_again(home: Home, target: str | None) -> None:
    first, second = publish(home, 1), publish(home, 2)
    home.latest(DOMAIN).unlink()
    if target:
        home.latest(DOMAIN).symlink_to(first.name)

    [problem] = repair(home)

    assert f"expected a link to {second.name}" in problem
    assert published(home) == second


def test_a_link_that_an_interrupted_repair_left_withdraws_no_set(home: Home) -> None:
    first = publish(home, 1)
    home.latest(DOMAIN).unlink()
    (home.outputs(DOMAIN) / run_directory.LINK_AGAIN).symlink_to(first.name)
    run_directory.clean_up_interrupted(home, DOMAIN)

    assert repair(home)

    assert published(home) == first
    assert run_directory.read_manifest(first).published


def test_an_altered_manifest_is_set_aside_and_an_older_set_is_linked(home: Home) -> None:
    first, second = publish(home, 1), publish(home, 2)
    manifest = second / MANIFEST_FILE
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text("utf-8").replace("success", "failed"), "utf-8")

    assert repair(home)

    assert published(home) == first
    assert not manifest.exists()
    assert link_of_head(home).directory == second.name
    assert list(run_directory.list_runs(home, DOMAIN)) == [first]


def test_the_newer_of_head_and_event_log_counts(home: Home) -> None:
    publish(home, 1)
    old_head = home.published_head(DOMAIN).read_bytes()
    second = publish(home, 2)
    recorded = link_of_head(home)
    home.published_head(DOMAIN).write_bytes(old_head)
    second.rename(second.with_name("20990101_000000"))  # not found by following the chain

    repair(home, recorded)

    assert link_of_head(home).sequence == recorded.sequence


def test_a_damaged_head_is_written_again(home: Home) -> None:
    second = publish(home, 1)
    home.published_head(DOMAIN).write_text("{", encoding="utf-8")

    assert repair(home)

    assert link_of_head(home).directory == second.name


def test_a_lost_set_leaves_its_history_in_the_copy(home: Home) -> None:
    directory = publish(home, 1)
    sha256 = link_of_head(home).history_sha256
    assert sha256 is not None
    for path in sorted(directory.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    directory.rmdir()

    repair(home)

    assert published(home) is None
    assert chain.find_mart(home, DOMAIN, HISTORY, sha256) == home.history_copy(DOMAIN)


@pytest.mark.parametrize("kept", [2, 1, 0], ids=["two sets", "one set", "no set"])
def test_a_copy_of_a_newer_history_is_continued_if_nothing_else_is_known(
    home: Home, kept: int
) -> None:
    sets = [publish(home, number) for number in (1, 2, 3)]
    for directory in sets[kept:]:
        directory.rename(home.root / directory.name)
    home.published_head(DOMAIN).unlink()

    [problem, *_] = repair(home)

    assert "found a newer one, whose set is lost; the next set continues it" in problem
    assert copied_number(home) == 3
    head = chain.read_head(home, DOMAIN)
    assert head.history_sha256 == hash_file(home.history_copy(DOMAIN))
    assert (head.link.directory if head.link else None) == (sets[kept - 1].name if kept else None)
    assert chain.examine(home, DOMAIN, HISTORY, None).history_sha256 == head.history_sha256
    publish(home, 4)
    assert repair(home) == []
    assert chain.read_head(home, DOMAIN).newer_history_sha256 is None


@pytest.mark.parametrize(
    "put_in_place",
    [
        pytest.param(lambda copy, _: copy.write_bytes(b"no parquet"), id="damaged"),
        pytest.param(lambda copy, first: shutil.copyfile(first, copy), id="older"),
        pytest.param(lambda copy, _: copy.unlink(), id="gone"),
    ],
)
def test_a_copy_of_no_newer_history_is_replaced_by_that_of_the_newest_set(
    home: Home, put_in_place: Callable[[Path, Path], object]
) -> None:
    first, _ = publish(home, 1), publish(home, 2)
    put_in_place(home.history_copy(DOMAIN), first / MARTS / f"{HISTORY}.parquet")
    home.published_head(DOMAIN).unlink()

    repair(home)

    assert copied_number(home) == 2
    assert chain.read_head(home, DOMAIN).newer_history_sha256 is None


def test_a_damaged_head_loses_no_decision_to_begin_a_new_history(home: Home) -> None:
    publish(home, 1)
    decision = HistoryDecision(by="robin", why="a trial", at=NOON)
    chain.write_head(home, DOMAIN, chain.PublishedHead(new_history=decision))

    repair(home)

    assert chain.read_head(home, DOMAIN).new_history == decision


def swap(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


@pytest.mark.parametrize(
    "rename",
    [
        pytest.param(lambda sets: swap(sets[2], sets[1]), id="the newest two swapped"),
        pytest.param(lambda sets: swap(sets[2], sets[0]), id="newest and oldest swapped"),
        pytest.param(
            lambda sets: sets[2].rename(sets[2].with_name("20990101_000000")), id="renamed"
        ),
    ],
)
def test_renamed_sets_get_their_names_back(
    home: Home, rename: Callable[[list[Path]], object]
) -> None:
    sets = [publish(home, number) for number in (1, 2, 3)]
    before = [hash_file(directory / MANIFEST_FILE) for directory in sets]
    rename(sets)
    problems = chain.examine(home, DOMAIN, HISTORY, None).problems

    repaired = repair(home)

    assert f"expected the name {sets[2].name}" in " ".join(problems)
    assert f"expected the name {sets[2].name}" in " ".join(repaired)
    assert [hash_file(directory / MANIFEST_FILE) for directory in sets] == before
    assert published(home) == sets[2]
    assert repair(home) == []
    assert len(run_directory.list_directories(home, DOMAIN)) == len(sets)


def test_a_copy_of_the_newest_set_under_another_name_is_left_alone(home: Home) -> None:
    newest = publish(home, 1)
    shutil.copytree(newest, newest.with_name("20990101_000000"))

    assert repair(home) == []
    assert published(home) == newest


def test_runs_are_ordered_by_sequence_and_not_by_the_clock(home: Home) -> None:
    later_by_clock, later_by_sequence = publish(home, 9), publish(home, 2)

    assert list(run_directory.list_runs(home, DOMAIN)) == [later_by_sequence, later_by_clock]
