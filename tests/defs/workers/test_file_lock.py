"""A test of the tests of workers: with the file lock in place of the database's, they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import support
from support.cluster import RedisServer, has_name_spaces, redis_server
from support.orchard import DOMAIN
from support.postgres import PostgresServer, postgres_server
from support.team import HELD, launch_twice, open_team, wake_after_takeover

__all__ = ["postgres_server", "redis_server"]

COMMAND = (sys.executable, "-m", "support.file_lock", DOMAIN)

pytestmark = pytest.mark.long


@pytest.mark.skipif(
    not has_name_spaces(), reason="needs name spaces: the workers share a lock file"
)
def test_hosts_with_file_locks_end_and_overtake_each_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(support.__path__[0]).parent))

    with open_team(tmp_path, postgres_server, redis_server, COMMAND) as team:
        launched = launch_twice(team)
        woken = wake_after_takeover(team, HELD)

    assert "a live run was ended" in launched
    assert "a worker that was overtaken has published" in woken
