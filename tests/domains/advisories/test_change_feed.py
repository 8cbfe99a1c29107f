"""The feed of changes over several publications, read as a consumer reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.command_homes import call
from support.sample_home import AS_OF, SampleHome
from support.second_runs import RULINGS

from etl_assets.demo import samples
from etl_assets.model.errors import UsageError
from etl_assets.model.run_options import RunOptions
from etl_assets.operations.changes import Changes, find_changes
from etl_assets.operations.replay import replay
from etl_assets.operations.restore import restore_set
from etl_assets.publish.run_directory import read_manifest

pytestmark = pytest.mark.long

FEED = "advisory.echohq.com/data.json"
COLUMNS = ("state", "fixed_version", "confidence", "reason_code")
PAGES = 2  # so that a few publications are folded

Key = tuple[str, str]


def rows_of(sample: SampleHome) -> dict[Key, list[Any]]:
    """The columns of the feed in the published set."""
    return {
        (row["package_name"].lower(), row["cve_id"]): [row[name] for name in COLUMNS]
        for row in sample.rows("mart_advisory_current")
    }


def apply(rows: dict[Key, list[Any]], found: Changes) -> dict[Key, list[Any]]:
    """The rows of a consumer after what it read."""
    result = {} if found.is_complete else dict(rows)
    for change in found.changes:
        key = change["package_name"], change["cve_id"]
        if change["is_removed"]:
            del result[key]
        else:
            result[key] = [change[name] for name in COLUMNS]
    return result


def since(sample: SampleHome, number: str) -> Changes:
    return find_changes(sample.home, {sample.name: sample.domain}, None, number)


def rule(text: str) -> Callable[[SampleHome], None]:
    return lambda sample: sample.change(RULINGS, lambda rulings: f"{rulings}{text}\n")


def edit_feed(edit: Callable[[Any], object]) -> Callable[[SampleHome], None]:
    def rewrite(text: str) -> str:
        feed = json.loads(text)
        edit(feed)
        return json.dumps(feed)

    return lambda sample: sample.change(FEED, rewrite)


def restore(run: int) -> Callable[[SampleHome], None]:
    def publish_again(sample: SampleHome) -> None:
        runs = sorted(path.name for path in sample.home.outputs(sample.name).glob("2*"))
        with sample.session() as session:
            restore_set(session, runs[run])

    return publish_again


STEPS: list[tuple[str, Callable[[SampleHome], None]]] = [
    ("fixed", edit_feed(lambda f: f["cobalt"]["CVE-2024-900035"].update(fixed_version="9.9-1"))),
    ("gone", edit_feed(lambda f: f["pebble"].pop("CVE-2026-900043"))),
    ("ruled", rule("CVE-2024-900035,cobalt,wont_fix,,minor")),
    ("respelled", edit_feed(lambda f: f.update(Cobalt=f.pop("cobalt")))),
    ("returned", edit_feed(lambda f: f["pebble"].update({"CVE-2026-900043": {}}))),
    ("restored", restore(1)),
    ("ruled again", rule("CVE-2026-900043,pebble,not_applicable,,code_not_in_use")),
    ("restored the one before", restore(-2)),
    ("ruled last", rule("CVE-2023-900053,cobalt,wont_fix,,minor")),
    ("gone again", edit_feed(lambda f: f["pebble"].pop("CVE-2026-900043"))),
    ("ruled after", rule("CVE-2023-900053,cobalt,not_applicable,,minor")),
]


@pytest.fixture(scope="module")
def followed(
    first_run: SampleHome, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SampleHome, list[str]]:
    """A sample after all steps; after each, consumers of all earlier sets are compared."""
    sample = first_run.copy_to(tmp_path_factory.mktemp("followed") / "copy")
    sample.domain = sample.domain.model_copy(
        update={"vars": sample.domain.vars | {"change_feed_pages": PAGES}}
    )
    consumers = [("first", "0", dict[Key, list[Any]]())]
    faults = []
    for number, (name, step) in enumerate([("first run", lambda _: None), *STEPS]):
        step(sample)
        if "restored" not in name:
            sample.run(RunOptions(as_of=AS_OF + timedelta(days=number + 1), accept_changes=True))
        current = rows_of(sample)
        faults += [
            f"{since_name} -> {name}"
            for since_name, newest, rows in consumers
            if apply(rows, since(sample, newest)) != current
        ]
        consumers.append((name, since(sample, "0").newest, current))
    return sample, faults


def test_a_consumer_of_any_set_rebuilds_the_current_one(
    followed: tuple[SampleHome, list[str]],
) -> None:
    _, faults = followed

    assert faults == []


def test_old_publications_are_folded_into_the_snapshot(
    followed: tuple[SampleHome, list[str]],
) -> None:
    sample, _ = followed

    pages = json.loads((sample.latest / "changes/index.json").read_bytes())["pages"]

    assert [page["file"] == "feed-0.ndjson" for page in pages] == [True, False, False]
    assert pages[0]["changes"] > pages[1]["changes"]


def test_a_replay_makes_the_same_feed(followed: tuple[SampleHome, list[str]]) -> None:
    sample, _ = followed

    with sample.session() as session:
        result = replay(session.project, "latest")

    assert {f"changes/{name}" for name in ("index.json", "changes.atom", "feed-0.ndjson")} <= {
        *result.equal
    }
    assert not [file for file in result.different if "change" in file]


def test_a_time_of_a_set_that_was_replaced_is_not_used_again(
    followed: tuple[SampleHome, list[str]], tmp_path: Path
) -> None:
    sample = followed[0].copy_to(tmp_path / "copy")
    newest = max(read_manifest(run).as_of for run in sample.home.outputs(sample.name).glob("2*"))
    for run in (1, 2):
        restore(run)(sample)

    rule("CVE-2023-900053,cobalt,not_applicable,,minor")(sample)
    with pytest.raises(UsageError, match="expected a time after the published set's"):
        sample.run(RunOptions(as_of=newest))


def test_a_run_after_a_restored_set_is_later_than_all_sets_even_before_their_time(
    tmp_path: Path,
) -> None:
    sample, now = SampleHome(tmp_path), datetime.now(UTC)
    samples.pack(sample.sample_dir, sample.mirror, sample.domain, at=now)
    ahead = now + timedelta(hours=20)
    sample.run(RunOptions(as_of=ahead))
    rule("CVE-2026-900043,pebble,not_applicable,,code_not_in_use")(sample)
    replaced = sample.run(RunOptions(accept_changes=True))
    consumer, number = rows_of(sample), since(sample, "0").newest
    restore(0)(sample)
    rule("CVE-2023-900053,cobalt,wont_fix,,minor")(sample)

    newest = sample.run(RunOptions(accept_changes=True))

    assert newest.as_of > replaced.as_of > ahead
    assert apply(consumer, since(sample, number)) == rows_of(sample)


@pytest.mark.parametrize("number", ["x", "1-", "1-2-3", "", "-1"])
def test_a_malformed_number_is_refused(first_run: SampleHome, number: str) -> None:
    with pytest.raises(UsageError, match="--since: expected the sequence number"):
        since(first_run, number)


def test_the_command_lists_what_follows_a_number(
    followed: tuple[SampleHome, list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample, _ = followed
    monkeypatch.setenv("ETL_HOME", str(sample.home.root))
    pages = json.loads((sample.latest / "changes/index.json").read_bytes())["pages"]

    assert call("changes", "--since", pages[1]["last"], "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert call("changes", "--since", "7") == 0
    text = capsys.readouterr().out

    assert found["newest"] == pages[2]["last"]
    assert not found["is_complete"]
    assert [each["state"] for each in found["changes"]] == ["not_applicable"]
    total = sum(page["changes"] for page in pages)
    assert text.startswith(f"advisories: all {total} rows and changes up to {pages[2]['last']}\n")
    assert call("changes", "galaxy") == 2
    assert "a domain with a feed of changes (advisories), found galaxy" in capsys.readouterr().err
