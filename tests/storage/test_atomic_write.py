"""A directory of files that appear together."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl_assets.storage.atomic_write import atomic_directory


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
