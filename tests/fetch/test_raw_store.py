"""The raw store keeps files whole, and files appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest
from support.transfers import NOW

from etl_assets.fetch import raw_store
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import Part, RawFile, StoredState
from etl_assets.storage import atomic_write

PART = Part(source="advisories.feed", partition="2026")
CONTENT = b"content"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def kept(home: Home) -> Path:
    with raw_store.partial_file(home, PART) as (path, file):
        file.write(CONTENT)
        return raw_store.store_file(home, path, SHA)


def record(home: Home) -> RawFile:
    return RawFile(
        part=PART,
        sha256=SHA,
        size_bytes=len(CONTENT),
        path=home.relative(home.raw_file(SHA)),
        url="https://feeds.example/a",
        fetched_at=NOW,
        code_version="1",
    )


def damage(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_kept_file_lies_under_its_hash_and_is_present(home: Home, kept: Path) -> None:
    assert kept == home.root / "data" / "raw" / SHA[:2] / SHA
    assert raw_store.stored_state(home, record(home)) is StoredState.PRESENT
    assert raw_store.verify(home, SHA) is StoredState.PRESENT


def test_equal_bytes_keep_the_file_that_is_there(home: Home, kept: Path) -> None:
    before = kept.stat()

    with raw_store.partial_file(home, PART) as (path, file):
        file.write(CONTENT)
        raw_store.store_file(home, path, SHA)

    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_missing_file_is_seen(home: Home, kept: Path) -> None:
    kept.unlink()

    assert raw_store.stored_state(home, record(home)) is StoredState.MISSING
    assert raw_store.verify(home, SHA) is StoredState.MISSING


def test_a_file_of_another_size_is_seen_at_once(home: Home, kept: Path) -> None:
    damage(kept, b"other size")

    assert raw_store.stored_state(home, record(home)) is StoredState.DAMAGED


def test_an_edited_file_of_equal_size_is_found_by_its_hash(home: Home, kept: Path) -> None:
    damage(kept, b"CONTENT")

    assert raw_store.stored_state(home, record(home)) is StoredState.DAMAGED
    assert raw_store.verify(home, SHA) is StoredState.DAMAGED


def test_a_partial_file_goes_with_its_block(home: Home) -> None:
    with raw_store.partial_file(home, PART) as (path, file):
        file.write(b"half")

    assert not path.exists()


def test_a_partition_of_any_name_gets_a_partial_file(home: Home) -> None:
    part = Part(source="advisories.feed", partition="../a/*?")

    with raw_store.partial_file(home, part) as (path, _):
        assert path.parent == home.partial


def test_a_file_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"

    with atomic_write.atomic_file(target) as temporary:
        temporary.write_text("whole", encoding="utf-8")
        assert not target.exists()

    assert target.read_text(encoding="utf-8") == "whole"
    assert list(target.parent.iterdir()) == [target]


def stop_halfway(target: Path) -> None:
    with atomic_write.atomic_file(target) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise ValueError("stop")


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    atomic_write.write_text(target, "old")

    with pytest.raises(ValueError, match="stop"):
        stop_halfway(target)

    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.fault("read-only", "disk-full")
@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "No space left on device; free some space"), (errno.EROFS, "make it writable")],
    ids=["full", "read-only"],
)
def test_a_refusal_of_the_machine_says_what_to_do(tmp_path: Path, number: int, told: str) -> None:
    target = tmp_path / "file.txt"

    with pytest.raises(HomeError, match=told), atomic_write.atomic_file(target):
        raise OSError(number, "No space left on device")

    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write.atomic_file(tmp_path / "file.txt"):
        (tmp_path / "absent").read_bytes()


def test_a_file_in_the_way_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")

    with pytest.raises(HomeError, match="Not a directory; move the file that is in the way"):
        atomic_write.write_text(tmp_path / "data" / "deep" / "file.txt", "")


def test_a_file_that_is_gone_is_told_with_what_to_do(home: Home, kept: Path) -> None:
    assert raw_store.stored_path(home, record(home)) == kept
    kept.unlink()

    with pytest.raises(HomeError, match=r"expected the stored file of .*put it back"):
        raw_store.stored_path(home, record(home))


def test_a_copy_is_kept_under_its_hash_and_the_original_stays(home: Home, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(CONTENT)

    copies = [raw_store.store_copy(home, original) for _ in range(2)]

    assert set(copies) == {home.raw_file(SHA)}
    assert original.read_bytes() == copies[0].read_bytes() == CONTENT
    assert raw_store.verify(home, SHA) is StoredState.PRESENT


def test_a_copy_takes_the_place_of_a_damaged_file(home: Home, kept: Path, tmp_path: Path) -> None:
    damage(kept, b"damaged")
    original = tmp_path / "original"
    original.write_bytes(CONTENT)

    raw_store.store_copy(home, original)

    assert raw_store.verify(home, SHA) is StoredState.PRESENT


def test_a_discarded_file_goes_with_its_empty_folder(home: Home, kept: Path) -> None:
    assert list(raw_store.stored_files(home)) == [kept]

    raw_store.delete_file(home, kept)

    assert list(home.raw.iterdir()) == []
