"""What a person may say to `etl run`: each option in the real command, on homes of a sample."""

from __future__ import annotations

import shutil

import pytest
from support.command_homes import (
    DOMAIN,
    SYSTEMS,
    Galaxy,
    MirrorRequests,
    call,
    empty_galaxy,
    galaxy,
    mirror_requests,
    packed_galaxy,
    published_galaxy,
    run_and_read_manifest,
)
from support.sample_home import fingerprint

from etl_assets.publish.run_directory import SUMS_FILE, read_sums
from etl_assets.storage.hashing import hash_file

__all__ = ["empty_galaxy", "galaxy", "mirror_requests", "packed_galaxy", "published_galaxy"]


def test_what_is_held_is_not_asked_for(
    galaxy: Galaxy, mirror_requests: MirrorRequests, capsys: pytest.CaptureFixture[str]
) -> None:
    (galaxy.mirror / SYSTEMS).write_bytes(b"something new")

    assert call("run", DOMAIN, "--skip-existing", "--dry-run") == 0

    assert f"{DOMAIN}.systems: keep, held, not asked for" in capsys.readouterr().out
    assert mirror_requests.paths == []


def test_a_held_file_that_is_lost_is_asked_for_all_the_same(
    galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(galaxy.home.raw)

    assert call("run", DOMAIN, "--skip-existing", "--dry-run") == 0

    assert f"{DOMAIN}.systems: fetch, stored file missing" in capsys.readouterr().out


def test_the_copy_is_whole_and_shares_nothing_with_the_home(
    galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = galaxy.folder / "given" / "copy"

    manifest = run_and_read_manifest(capsys, "--output-dir", str(copy))

    sums = read_sums(copy)
    assert manifest.note == "nothing moved"
    assert set(fingerprint(copy)) == set(fingerprint(galaxy.latest)) == {*sums, SUMS_FILE}
    assert all(hash_file(copy / name) == digest for name, digest in sums.items())
    assert all(path.stat().st_nlink == 1 for path in copy.rglob("*") if path.is_file())


def test_an_empty_directory_takes_the_copy(galaxy: Galaxy) -> None:
    (galaxy.folder / "given").mkdir()

    assert call("run", DOMAIN, "--output-dir", "given") == 0

    assert fingerprint(galaxy.folder / "given") == fingerprint(galaxy.latest)


@pytest.mark.long
def test_a_run_that_publishes_nothing_leaves_no_copy_and_says_so(
    empty_galaxy: Galaxy, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_galaxy.mirror / SYSTEMS).unlink()

    assert call("run", DOMAIN, "--output-dir", "given") == 1

    assert "given: not written, as this run of galaxy published nothing" in capsys.readouterr().err
    assert not list(empty_galaxy.folder.glob("*given*"))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--output-dir", "mirror"], "mirror, which is not empty"),
        (["--output-dir", "file"], "file, a file"),
        (["--output-dir", "file/given"], "which cannot be created in"),
        (["--output-dir", "home/outputs/galaxy/mine"], "among the run directories of galaxy"),
        (["--output-dir", "given", "--dry-run"], "expected a run that publishes"),
        (["--output-dir", "given", "advisories"], "expected one domain, found 2"),
        (["--skip-existing", "--force-refresh"], "--skip-existing, found both"),
        (["--stage", "raw", "--from", "table"], "expected it or --from, found raw and table"),
        (["--stage", "raw", "--output-dir", "given"], "expected a run that publishes"),
        (["--from", "marts", "--source", "systems"], "raw, validated, table, found stages marts"),
        (["--from", "table", "--force-refresh"], "a run that contacts remotes, found stages table"),
        (["--stage", "table", "--skip-existing"], "contacts remotes, found stage table"),
        (["--stage", "table", "--max-retries", "1"], "contacts remotes, found stage table"),
        (["--stage", "marts", "--accept-changes"], "expected table, publish, found stage marts"),
        (["--stage", "four"], "'four' is not one of 'raw', 'validated', 'table', 'marts'"),
    ],
    ids=[
        *("full", "a file", "nowhere", "among runs", "dry run", "two domains", "force and skip"),
        *("two stages", "no set", "no source", "no remote", "no remote to spare", "no attempt"),
        *("nothing to accept", "no such stage"),
    ],
)
def test_words_that_do_not_go_together_end_the_command_before_anything_is_fetched(
    empty_galaxy: Galaxy, capsys: pytest.CaptureFixture[str], arguments: list[str], wanted: str
) -> None:
    (empty_galaxy.folder / "file").touch()

    assert call("run", DOMAIN, *arguments) == 2

    assert wanted in capsys.readouterr().err
    assert not empty_galaxy.home.raw.exists()
    assert not empty_galaxy.home.outputs(DOMAIN).exists()
