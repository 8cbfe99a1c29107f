"""The raw store: storing, verifying and deleting files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.damage import delete, edit, flip
from support.transfers import NOW

from etl_assets.fetch import raw_store
from etl_assets.model.errors import HomeError
from etl_assets.model.home import Home
from etl_assets.model.records import Part, RawFile, StoredState
from etl_assets.storage.signatures import Signatures

PART = Part(source="advisories.feed", partition="2026")
CONTENT = b"content"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def stored_file(home: Home) -> Path:
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


def test_a_stored_file_is_named_by_its_hash_and_present(home: Home, stored_file: Path) -> None:
    assert stored_file == home.root / "data" / "raw" / SHA[:2] / SHA
    assert raw_store.stored_state(home, record(home), Signatures()) is StoredState.PRESENT
    assert raw_store.verify(home, SHA) is StoredState.PRESENT


def test_equal_bytes_keep_the_existing_file(home: Home, stored_file: Path) -> None:
    before = stored_file.stat()

    with raw_store.partial_file(home, PART) as (path, file):
        file.write(CONTENT)
        raw_store.store_file(home, path, SHA)

    assert (stored_file.stat().st_ino, stored_file.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


def test_a_missing_file_is_detected(home: Home, stored_file: Path) -> None:
    stored_file.unlink()

    assert raw_store.stored_state(home, record(home), Signatures()) is StoredState.MISSING
    assert raw_store.verify(home, SHA) is StoredState.MISSING


def test_a_file_of_another_size_is_damaged(home: Home, stored_file: Path) -> None:
    damage(stored_file, b"other size")

    assert raw_store.stored_state(home, record(home), Signatures()) is StoredState.DAMAGED


def test_an_edited_file_of_equal_size_is_detected_by_its_hash(
    home: Home, stored_file: Path
) -> None:
    damage(stored_file, b"CONTENT")

    assert raw_store.stored_state(home, record(home), Signatures()) is StoredState.DAMAGED
    assert raw_store.verify(home, SHA) is StoredState.DAMAGED


def test_a_partial_file_is_removed_after_its_block(home: Home) -> None:
    with raw_store.partial_file(home, PART) as (path, file):
        file.write(b"half")

    assert not path.exists()


def test_a_partition_of_any_name_gets_a_partial_file(home: Home) -> None:
    part = Part(source="advisories.feed", partition="../a/*?")

    with raw_store.partial_file(home, part) as (path, _):
        assert path.parent == home.partial


@pytest.mark.parametrize(
    ("damage", "found"), [(delete, "none"), (edit, "another content"), (flip, "another content")]
)
def test_a_lost_stored_file_is_an_error_that_says_what_to_do(
    home: Home, stored_file: Path, damage: Callable[[Path], object], found: str
) -> None:
    assert raw_store.stored_path(home, record(home), Signatures()) == stored_file
    damage(stored_file)

    with pytest.raises(HomeError, match=rf"stored file of .*found {found},.*`etl rollback "):
        raw_store.stored_path(home, record(home), Signatures())


def test_a_copy_is_stored_under_its_hash_and_the_original_stays(home: Home, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(CONTENT)

    copies = [raw_store.store_copy(home, original) for _ in range(2)]

    assert set(copies) == {home.raw_file(SHA)}
    assert original.read_bytes() == copies[0].read_bytes() == CONTENT
    assert raw_store.verify(home, SHA) is StoredState.PRESENT


def test_a_copy_replaces_a_damaged_file(home: Home, stored_file: Path, tmp_path: Path) -> None:
    damage(stored_file, b"damaged")
    original = tmp_path / "original"
    original.write_bytes(CONTENT)

    raw_store.store_copy(home, original)

    assert raw_store.verify(home, SHA) is StoredState.PRESENT


def test_a_deleted_file_takes_its_empty_folder_along(home: Home, stored_file: Path) -> None:
    assert list(raw_store.stored_files(home)) == [stored_file]

    raw_store.delete_file(home, stored_file)

    assert list(home.raw.iterdir()) == []
