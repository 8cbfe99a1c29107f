"""Third-party programs for tests, each in its own virtual environment.

The environment of the project does not have them, so that tests run with what users install. A
test is skipped if its program cannot be installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

INSTALL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with the requested packages."""

    python: Path

    @classmethod
    def create(cls, folder: Path, *packages: str) -> Environment:
        python = folder / "venv" / "bin" / "python"
        if shutil.which("uv"):
            into = ["--quiet", "--python", str(python)]
            install(["uv", "venv", "--quiet", "--python", sys.executable, "venv"], into=folder)
            install(["uv", "pip", "install", *into, *packages], into=folder)
        else:
            install([sys.executable, "-m", "venv", "venv"], into=folder)
            install([str(python), "-m", "pip", "install", "--quiet", *packages], into=folder)
        return cls(python)

    def run_script(self, script: Path, *arguments: object) -> Any:
        """Run the script and return the JSON that it prints."""
        command = [str(self.python), str(script), *map(str, arguments)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(answer.stdout)


def install(command: list[str], *, into: Path) -> None:
    """Run an installer; skip the test, with the end of its output, if it fails."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]} to install {command[-1]}")
    try:
        subprocess.run(
            command, cwd=into, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[-1]} cannot be installed: {error.stderr.strip()[-300:]}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[-1]} could not be installed in {INSTALL_SECONDS} s")
