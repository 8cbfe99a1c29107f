"""Files and directories that appear complete or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from etl_assets.model.errors import HomeError
from etl_assets.storage.atomic_write import atomic_directory, atomic_file, write_text


def test_a_directory_appears_with_all_its_files(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "beds"

    with atomic_directory(target) as temporary:
        (temporary / "north.txt").write_text("fern")
        assert not target.exists()

    assert (target / "north.txt").read_text() == "fern"
    assert [path.name for path in target.parent.iterdir()] == ["beds"]


def test_after_an_error_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "beds") as temporary:
        (temporary / "north.txt").write_text(str(1 / 0))

    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_only_when_its_block_succeeds(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"

    with atomic_file(target) as temporary:
        temporary.write_text("whole", encoding="utf-8")
        assert not target.exists()

    assert target.read_text(encoding="utf-8") == "whole"
    assert list(target.parent.iterdir()) == [target]


def stop_halfway(target: Path) -> None:
    with atomic_file(target) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise ValueError("stop")


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")

    with pytest.raises(ValueError, match="stop"):
        stop_halfway(target)

    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.fault("read-only", "disk-full")
@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "No space left on device; free some space"), (errno.EROFS, "make it writable")],
    ids=["full", "read-only"],
)
def test_an_error_of_the_machine_says_what_to_do(tmp_path: Path, number: int, message: str) -> None:
    target = tmp_path / "file.txt"

    with pytest.raises(HomeError, match=message), atomic_file(target):
        raise OSError(number, "No space left on device")

    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_is_not_translated(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "file.txt"):
        (tmp_path / "absent").read_bytes()


def test_a_file_in_the_way_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")

    with pytest.raises(HomeError, match="Not a directory; move the file that is in the way"):
        write_text(tmp_path / "data" / "deep" / "file.txt", "")
