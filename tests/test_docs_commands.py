"""The commands of README and docs, run as they are written: in an empty folder, on the samples.

A command that is new in the docs is run too. One that cannot be is in NOT_RUN, with its reason, and
what only exists outside of the samples is replaced by what they have.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.postgres import PASSWORD, database, postgres_server

from etl_assets.storage.postgres import Database

__all__ = ["database", "postgres_server"]

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name != "posix", reason="needs bash")]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("etl", "export", "gpg", "gpgv", "sha256sum")
STEP_OF_WORKFLOW = "      - run: "
NOT_RUN = {
    "etl ui": "a server; tests/operations/test_ui.py starts it",
    "gpg": "asks for a passphrase; tests/operations/test_signed_sets.py signs",
    "export ETL_SIGNING_KEY": "has a placeholder",
    "make setup": "installs from the package index, as the environment of the tests was",
}
REPLACED = {
    "<the address of this repository>": "$REPOSITORY",
    # The environment is installed already; make is to take it as it is.
    "make demo": 'ln -s "$ENVIRONMENT" .venv && make -o .venv/.run-stamp demo',
    "curl:CVE-2025-14017": "pebble:CVE-2026-900043",
    "postgresql://etl@db.example:5432/etl": '"$DATABASE"',
    "ETL_DB_PASSWORD=...": 'ETL_DB_PASSWORD="$DATABASE_PASSWORD"',
    "DIR --key publisher.asc": '"$ETL_HOME/outputs/advisories/latest"',
}
README, HOSTS = "README.md", "docs/hosts.md"
# They need keys, servers or several hosts, which tests of their own have.
PAGES_NOT_RUN = {"docs/security.md", "docs/deploy.md"}
RULING = "CVE-2026-900043,pebble,wont_fix,,minor"
# What a page takes for granted.
PREPARATION = {
    README: "",
    "docs/ci.md": 'ln -s "$ENVIRONMENT" .venv',
    "docs/command.md": "",
    "docs/documents.md": "etl run advisories",
    HOSTS: "etl run advisories",
    "docs/operations.md": "etl run advisories",
    "docs/python.md": "etl demo galaxy --mirror feeds",
    "docs/store.md": (f'etl run advisories\necho {RULING} >> "$RULINGS"\netl run advisories'),
}


def blocks_of(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each block of code."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield match[1], match[2]


def commands_of(page: Path) -> list[str]:
    """Return the shell commands of a page as they are to be run."""
    commands: list[str] = []
    for language, text in blocks_of(page):
        lines = text.splitlines()
        if language == "yaml":
            commands += [
                line.removeprefix(STEP_OF_WORKFLOW)
                for line in lines
                if line.startswith(STEP_OF_WORKFLOW)
            ]
        elif not language and any(line.startswith("$ ") for line in lines):
            commands += [line[2:] for line in lines if line.startswith("$ ")]
        elif not language:
            commands += [line for line in lines if line.split(" ")[0] in PROGRAMS]
    return [replace_names(each) for each in commands if not each.startswith(tuple(NOT_RUN))]


def replace_names(command: str) -> str:
    for old, new in REPLACED.items():
        command = command.replace(old, new)
    return command


def python_of(page: Path) -> str:
    return "\n".join(text for language, text in blocks_of(page) if language == "python")


@pytest.fixture
def environment(repo_root: Path, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a new user, whose home reads a mirror of the samples."""
    if shutil.which("git") is None or not (repo_root / ".git").exists():
        pytest.skip("needs git and a checkout")
    user, programs = tmp_path / "user", Path(sys.executable).parent
    home = user / "etl-home"
    rulings = tmp_path / "mirror" / "analyst" / "advisory-not-applicable.csv"
    home.mkdir(parents=True)
    environment = {
        "HOME": str(user),
        "PATH": f"{programs}:{os.defpath}",
        "PYTHONPATH": str(repo_root),
        "LANG": "C.UTF-8",
        "SHELL": "/bin/bash",
        "ETL_HOME": str(home),
        "RULINGS": str(rulings),
        "REPOSITORY": str(repo_root),
        "ENVIRONMENT": str(programs.parent),
    }
    mirror = run_script(f"etl demo advisories --mirror {tmp_path / 'mirror'}", user, environment)
    (home / ".env").write_text(mirror.replace("export ", ""), encoding="utf-8")
    return environment


def run_script(script: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a script that ends at its first fault, and return its output."""
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_every_page_with_commands_is_run(repo_root: Path) -> None:
    pages = [repo_root / "README.md", *(repo_root / "docs").glob("*.md")]
    with_commands = {
        page.relative_to(repo_root).as_posix()
        for page in pages
        if commands_of(page) or python_of(page)
    }

    assert with_commands - PAGES_NOT_RUN == set(PREPARATION)


@pytest.mark.parametrize(
    "page",
    [*PREPARATION],
)
def test_the_commands_of_a_page_work_in_an_empty_folder(
    page: str,
    repo_root: Path,
    tmp_path: Path,
    environment: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    if page == README:
        del environment["ETL_HOME"]  # the page sets it
    if page == HOSTS:
        server: Database = request.getfixturevalue("database")  # skips if there is none
        environment |= {"DATABASE": server.url, "DATABASE_PASSWORD": PASSWORD}
    commands = [PREPARATION[page], *commands_of(repo_root / page)]
    program = python_of(repo_root / page)
    if program:
        (folder / "program.py").write_text(program, encoding="utf-8")
        commands.append("python program.py")

    run_script("\n".join(commands), folder, environment)
