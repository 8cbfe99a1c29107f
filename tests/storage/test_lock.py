"""One writer: who waits, who is refused, and what a crash leaves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etl_assets.model.errors import HomeError
from etl_assets.storage.lock import lock

HOLD = """\
import sys
from pathlib import Path
from etl_assets.storage.lock import lock
with lock(Path(sys.argv[1]), on_wait=print):
    print("held", flush=True)
    sys.stdin.read()
"""


def silent(_: str) -> None:
    pass


def refusal(path: Path) -> str:
    """What a writer is told that does not get the lock and does not wait."""
    with pytest.raises(HomeError) as raised, lock(path, on_wait=silent, wait=False):
        pass
    return str(raised.value)


@contextmanager
def holder(path: Path, root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "plants.lock"


@pytest.mark.fault("two-runs")
def test_a_second_writer_that_does_not_wait_is_told_who_holds_the_lock(
    path: Path, repo_root: Path
) -> None:
    with holder(path, repo_root) as other:
        told = refusal(path)

    assert f"plants.lock is held by process {other.pid} on " in told


@pytest.mark.fault("two-runs")
def test_a_second_writer_waits_and_says_for_whom(path: Path, repo_root: Path) -> None:
    with holder(path, repo_root) as other:
        told: list[str] = []

        def say(text: str) -> None:
            told.append(text)
            assert other.stdin
            other.stdin.close()  # lets the holder end

        with lock(path, on_wait=say):
            pass

    assert told[0].startswith(f"plants.lock is held by process {other.pid}")
    assert told[0].endswith("waiting for it to end")


@pytest.mark.fault("killed")
def test_a_killed_holder_leaves_the_lock_free(path: Path, repo_root: Path) -> None:
    with holder(path, repo_root) as other:
        other.kill()
        other.wait()

        with lock(path, on_wait=silent, wait=False):
            assert path.exists()


def test_one_process_does_not_write_twice_at_once(path: Path) -> None:
    with lock(path, on_wait=silent):
        assert "is held by process" in refusal(path)


def test_a_lock_without_a_legible_name_is_held_by_another_process(path: Path) -> None:
    with lock(path, on_wait=silent):
        path.write_text("{", encoding="utf-8")

        assert "is held by another process" in refusal(path)


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way", encoding="utf-8")

    assert "expected a file that can be written" in refusal(tmp_path / "data" / "plants.lock")
