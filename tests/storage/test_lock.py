"""The lock of a domain: waiting, refusing, and the state after a crash."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etl_assets.model.errors import HomeError
from etl_assets.storage.lock import find_lock_holder, lock

HOLDER = """\
import sys
from pathlib import Path
from etl_assets.storage.lock import lock
with lock(Path(sys.argv[1]), on_wait=print):
    print("held", flush=True)
    sys.stdin.read()
"""


def ignore(_: str) -> None:
    pass


def refusal(path: Path) -> str:
    """The message for a writer that does not get the lock and does not wait."""
    with pytest.raises(HomeError) as raised, lock(path, on_wait=ignore, wait=False):
        pass
    return str(raised.value)


def find_refusal(path: Path) -> str:
    """The message for a reader that looks who has the lock."""
    with pytest.raises(HomeError) as raised:
        find_lock_holder(path)
    return str(raised.value)


@contextmanager
def holder(path: Path, root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
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
def test_a_second_writer_that_does_not_wait_gets_the_holder_in_its_error(
    path: Path, repo_root: Path
) -> None:
    with holder(path, repo_root) as other:
        message = refusal(path)

    assert f"plants.lock is held by process {other.pid} on " in message


@pytest.mark.fault("two-runs")
def test_a_second_writer_waits_and_reports_the_holder(path: Path, repo_root: Path) -> None:
    with holder(path, repo_root) as other:
        messages: list[str] = []

        def report(text: str) -> None:
            messages.append(text)
            assert other.stdin
            other.stdin.close()  # lets the holder end

        with lock(path, on_wait=report):
            pass

    assert messages[0].startswith(f"plants.lock is held by process {other.pid}")
    assert messages[0].endswith("waiting for it to end")


@pytest.mark.fault("killed")
def test_a_killed_holder_leaves_the_lock_free(path: Path, repo_root: Path) -> None:
    with holder(path, repo_root) as other:
        other.kill()
        other.wait()

        with lock(path, on_wait=ignore, wait=False):
            assert path.exists()


def test_one_process_does_not_write_twice_at_once(path: Path) -> None:
    with lock(path, on_wait=ignore):
        assert "is held by process" in refusal(path)


def test_a_lock_file_that_cannot_be_read_names_another_process(path: Path) -> None:
    with lock(path, on_wait=ignore):
        path.write_text("{", encoding="utf-8")

        assert "is held by another process" in refusal(path)


@pytest.mark.parametrize("attempt", [refusal, find_refusal])
def test_a_folder_in_the_place_of_a_lock_file_is_moved_away_by_the_command_of_its_message(
    path: Path, attempt: Callable[[Path], str]
) -> None:
    path.mkdir(parents=True)
    (path / "notes.txt").touch()

    message = attempt(path)

    assert message.startswith(f"{path}: expected the file of a lock, found a folder; ")
    subprocess.run(shlex.split(message.split("`")[1]), check=True)
    with lock(path, on_wait=ignore, wait=False):
        assert list(path.parent.glob("*/notes.txt"))


def test_a_lock_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way", encoding="utf-8")

    assert "expected a file that can be written" in refusal(tmp_path / "data" / "plants.lock")
