"""`etl ui`: Dagster's webserver and daemon on the loopback address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from etl_assets.defs.launch import open_instance
from etl_assets.settings import Settings


def serve_ui(settings: Settings, port: int) -> int:
    """Run Dagster's webserver and daemon until they end, and return their exit code."""
    with open_instance(settings):
        pass  # `dg dev` expects an instance that is there, and gets its dagster.yaml from here
    command = ["dg", "dev", "--host", "127.0.0.1", "--port", str(port)]
    program = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    root = Path(__file__).parents[2]
    environment = settings.child_environment()
    return subprocess.call(program, cwd=root, env=environment)  # noqa: S603 - our own program
