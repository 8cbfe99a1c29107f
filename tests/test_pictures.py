"""The pictures of the docs: each is made by `make pictures`, and shown on a page."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from support.browser import needs_browser
from support.pictures import take_pictures

LEAST_BYTES = 25_000  # an empty page, or one that is still loading, has fewer
IMAGE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")


def size_of(file: Path) -> tuple[int, int]:
    """Return the width and the height of a PNG, from its first chunk."""
    width, height = struct.unpack(">II", file.read_bytes()[16:24])
    return width, height


def shown_images(root: Path) -> set[Path]:
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return {
        (page.parent / target).resolve()
        for page in pages
        for target in IMAGE.findall(page.read_text(encoding="utf-8"))
    }


def test_every_picture_is_shown_on_a_page(repo_root: Path) -> None:
    assert shown_images(repo_root) == set((repo_root / "docs" / "images").iterdir())


@needs_browser
@pytest.mark.long
def test_the_script_makes_every_picture(repo_root: Path, tmp_path: Path) -> None:
    pictures = take_pictures(tmp_path)

    files = {path.name: path for path in tmp_path.iterdir()}
    assert set(files) == {path.name for path in (repo_root / "docs" / "images").glob("*.png")}
    assert {p.name: size_of(files[f"{p.name}.png"]) for p in pictures} == {
        p.name: (p.width, p.height) for p in pictures
    }
    assert [name for name, file in files.items() if file.stat().st_size < LEAST_BYTES] == []
