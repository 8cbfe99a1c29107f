"""A declared command looks at a candidate, and leaves no process behind."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from etl_assets.declarations.domain import VerifyCommand
from etl_assets.publish.verify_command import CommandResult, run_command

ENVIRONMENT = {"PATH": os.environ["PATH"]}  # noqa: TID251 - what a program is found by


def run(folder: Path, *command: str, seconds: float = 20) -> CommandResult:
    candidate = folder / "candidate"
    candidate.mkdir(exist_ok=True)
    (candidate / "trees.json").write_text("{}")
    declared = VerifyCommand(command=list(command), timeout_seconds=seconds)
    return run_command(declared, candidate, folder, ENVIRONMENT, folder)


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-I", "-c", code


def test_a_command_gets_the_candidate_and_no_secret(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv[1] == os.environ['ETL_CANDIDATE'], sorted(os.environ))"

    result = run(tmp_path, *python(code), seconds=20)

    assert result.passed
    [line] = result.output
    assert line.startswith("True")
    assert "ETL_SIGNING_PASSPHRASE" not in line
    assert (tmp_path / "candidate" / "trees.json").exists()


@pytest.mark.parametrize("exit_code", [1, 2, 255])
def test_another_exit_code_than_0_is_a_fault(tmp_path: Path, exit_code: int) -> None:
    result = run(tmp_path, *python(f"print('32 findings'); raise SystemExit({exit_code})"))

    assert not result.passed
    assert str(result) == f"expected exit code 0, found {exit_code}\n32 findings"


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (("no-such-scanner",), "expected a program that can be started, found: .*no-such-scanner"),
        (("./candidate",), "expected a program that can be started, found: .*Permission denied"),
        (python("import os; os.kill(os.getpid(), 9)"), "expected exit code 0, found -9"),
    ],
    ids=["no program", "a folder", "a signal"],
)
def test_a_command_that_does_not_end_by_itself_is_a_fault(
    tmp_path: Path, command: tuple[str, ...], fault: str
) -> None:
    result = run(tmp_path, *command)

    assert result.fault
    assert re.match(fault, result.fault)


SLEEPERS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
"""


def is_running(process: str) -> bool:
    """A killed child of another process is a zombie until init reaps it."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("then", ["time.sleep(600)", "pass", "raise SystemExit(1)"])
def test_no_process_of_a_command_is_left(tmp_path: Path, then: str) -> None:
    started = time.monotonic()

    result = run(tmp_path, *python(SLEEPERS + then), seconds=2)

    assert time.monotonic() - started < 15
    assert result.passed == (then == "pass")
    while is_running(result.output[0]):
        assert time.monotonic() - started < 15
        time.sleep(0.05)


def test_a_command_that_takes_too_long_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, *python("import time; time.sleep(60)"), seconds=0.5)

    assert result.fault == "expected an end within 0.5 s, killed it"


@pytest.mark.parametrize(
    "code",
    [
        "open(name, 'a').write('more')",
        "os.chmod(name, 0o644); open(name, 'r+').write('[]')",
        "os.unlink(name)",
        "os.rename(name, name + '.old')",
        "os.chmod(sys.argv[1], 0o500)",
    ],
)
def test_nothing_that_a_command_does_reaches_the_candidate_or_what_is_linked_to_it(
    tmp_path: Path, code: str
) -> None:
    published = tmp_path / "published.json"
    published.write_text("{}")
    (tmp_path / "candidate").mkdir()
    (tmp_path / "candidate" / "linked.json").hardlink_to(published)

    run(tmp_path, *python(f"import os, sys; name = sys.argv[1] + '/linked.json'; {code}"))

    assert published.read_text() == "{}"
    names = [path.name for path in (tmp_path / "candidate").iterdir()]
    assert sorted(names) == ["linked.json", "trees.json"]
    assert (tmp_path / "candidate" / "trees.json").read_text() == "{}"


def test_the_tail_of_a_long_output_is_kept_as_plain_text(tmp_path: Path) -> None:
    text = r"b'x' * 100_000_000 + b'\n' * 5 + b'\x1b[31mlast\xff'"
    code = f"import sys; sys.stdout.buffer.write({text})"

    result = run(tmp_path, *python(code))

    assert result.output[-1] == "[31mlast\ufffd"
    assert sum(map(len, result.output)) < 5_000
