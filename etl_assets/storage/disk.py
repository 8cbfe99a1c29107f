"""What the machine allows below a folder: writing, how much more, and on which file system.

Nothing that is looked at changes. What follows from the answers is the caller's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

BLOCK = bytes(4096)  # an empty file may still be made on a full disk


def reason_not_writable(folder: Path) -> str | None:
    """Why no file can be written there, or where the folder would be made; None where it can.

    The file that is tried has no name, and is gone before anybody could see it.
    """
    ground = nearest_existing_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=ground) as file:
            file.write(BLOCK)
    except OSError as error:
        return f"{ground}: {error.strerror}"
    return None


def free_bytes(folder: Path) -> int:
    """What may still be written there."""
    return shutil.disk_usage(nearest_existing_folder(folder)).free


def find_devices(folders: Iterable[Path]) -> dict[Path, int]:
    """The file system of each folder, or of the place where it would be made."""
    return {folder: nearest_existing_folder(folder).stat().st_dev for folder in folders}


def folder_size_bytes(folder: Path) -> int:
    """The bytes of all files below a folder, counted by their length."""
    total = 0
    for directory, _, names in os.walk(folder):
        total += sum(_length(Path(directory, name)) for name in names)
    return total


def nearest_existing_folder(path: Path) -> Path:
    """The path itself, or the nearest one above it that is there."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))


def _length(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # a run may go on meanwhile
        return 0
