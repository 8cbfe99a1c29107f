"""Twenty runs with random faults; `make soak` makes two hundred."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.soak import soak


@pytest.mark.long
def test_the_published_set_always_follows_from_the_last_good_files(
    tmp_path: Path,
) -> None:
    statuses = [status for _, status in soak(tmp_path, runs=20, seed=3)]

    assert {"success", "partial_success"} <= set(statuses)
