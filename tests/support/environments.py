"""Other people's programs for tests, each in an environment of its own; a test skips without it.

Nothing of them is in the project's own environment, which stays what its users have.
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
    """A Python of its own, with the packages that were asked for."""

    python: Path

    @classmethod
    def of(cls, folder: Path, *packages: str) -> Environment:
        python = folder / "venv" / "bin" / "python"
        if shutil.which("uv"):
            into = ["--quiet", "--python", str(python)]
            install(["uv", "venv", "--quiet", "--python", sys.executable, "venv"], into=folder)
            install(["uv", "pip", "install", *into, *packages], into=folder)
        else:
            install([sys.executable, "-m", "venv", "venv"], into=folder)
            install([str(python), "-m", "pip", "install", "--quiet", *packages], into=folder)
        return cls(python)

    def told(self, script: Path, *arguments: object) -> Any:
        """What the script prints as JSON."""
        command = [str(self.python), str(script), *map(str, arguments)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(answer.stdout)


def install(command: list[str], *, into: Path) -> None:
    """Run an installer; skip, with its last words, where it cannot do its work here."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is needed to install {command[-1]}, and is not here")
    try:
        subprocess.run(
            command, cwd=into, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[-1]} cannot be installed here: {error.stderr.strip()[-300:]}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[-1]} could not be installed in {INSTALL_SECONDS} s")
