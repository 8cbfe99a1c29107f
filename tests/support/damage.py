"""What a disk, an editor or a mistake does to a stored file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def flip(path: Path) -> None:
    """Change one byte in place; size, time and inode stay, as when a disk fails."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def edit(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:20] + b"#" + content[20:])


def overwrite(path: Path) -> None:
    """Change the first byte in place, also of every hard link."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"~")


def truncate(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"")


def delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)
