"""What the file system offers below a folder: permission to write, free space, sizes.

Everything is measured and nothing is changed; writing is `etl_assets.storage.atomic_write`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

BLOCK = bytes(4096)


def reason_not_writable(folder: Path) -> str | None:
    """Returns why no file can be written in a folder, which may not exist yet; None if one can.

    The test file is removed before it gets a name.
    """
    existing = nearest_existing_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(BLOCK)  # an empty file can be created on a full disk
    except OSError as error:
        return f"{existing}: {error.strerror}"
    return None


def can_create_folder(parent: Path) -> bool:
    """True if a folder can be created in `parent`. Tries it: mode bits do not cover every mount."""
    try:
        Path(tempfile.mkdtemp(suffix=".tmp", dir=parent)).rmdir()
    except OSError:
        return False
    return True


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(nearest_existing_folder(folder)).free


def find_devices(folders: Iterable[Path]) -> dict[Path, int]:
    """Returns the number of the file system of each folder, which may not exist yet."""
    return {folder: nearest_existing_folder(folder).stat().st_dev for folder in folders}


def folder_size_bytes(folder: Path) -> int:
    """Returns the sum of the lengths of all files below a folder."""
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(directory, name).lstat().st_size
            except FileNotFoundError:  # a run may remove files meanwhile
                continue
    return total


def nearest_existing_folder(path: Path) -> Path:
    """Returns the path, or the nearest of its parents that exists."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))
