"""Local files that change while they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.transfers import NOW

from etl_assets.declarations.source import Limits
from etl_assets.fetch.local import receive_local
from etl_assets.fetch.locations import Target
from etl_assets.fetch.transfer import HashingWriter
from etl_assets.model.errors import UnreachableError


class Busy(HashingWriter):
    """A writer whose source file grows with each write."""

    path: Path

    def write(self, data: bytes) -> None:
        super().write(data)
        with self.path.open("ab") as file:
            file.write(b"more")


@pytest.mark.fault("wrong-length")
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trees.csv"
    path.write_bytes(b"tree_id\n")
    target = Target(label="trees.csv", host="", path=path)

    with (tmp_path / "copy").open("w+b") as copy:
        writer = Busy(copy)
        writer.path = path
        with pytest.raises(
            UnreachableError, match="it was written to while it was read; run again"
        ):
            receive_local(target, path, Limits(max_bytes=5_000), writer, NOW)
