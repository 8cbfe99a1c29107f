"""`etl ui`: Dagster's webserver and daemon on the loopback address."""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from etl_assets.defs.launch import open_instance
from etl_assets.model.errors import SettingsError
from etl_assets.settings import Settings

SHUTDOWN_SECONDS = 30


def serve_ui(settings: Settings, port: int) -> int:
    """Run Dagster's webserver and daemon until they end, and return their exit code.

    Raises SettingsError if DAGSTER_HOME cannot be passed to them.
    """
    with open_instance(settings):
        pass  # `dg dev` expects an instance that is there, and gets its dagster.yaml from here
    command = ["dg", "dev", "--host", "127.0.0.1", "--port", str(port)]
    program = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    root = Path(__file__).parents[2]
    with _plain_path(settings.dagster_home) as dagster_home:
        environment = {**settings.child_environment(), "DAGSTER_HOME": str(dagster_home)}
        # In a session of its own, so that Ctrl-C in a terminal reaches `dg` only from here.
        with subprocess.Popen(  # noqa: S603 - our own program
            program, cwd=root, env=environment, start_new_session=True
        ) as process:
            try:
                return process.wait()
            finally:
                _end(process)


@contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """Yield a path to the folder that is no pattern: itself, or a link to it.

    Dagster looks for `dagster.yaml` by a glob pattern made of DAGSTER_HOME, and misses it, with all
    settings in it, if the path has a `[`. Drop this once Dagster escapes the path.
    """
    if glob.escape(str(folder)) == str(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="etl-ui-") as temporary:
        link = Path(temporary) / "dagster"
        if glob.escape(str(link)) != str(link):
            raise SettingsError(
                f"TMPDIR: expected a path without [, * and ?, as DAGSTER_HOME has one of them and"
                f" Dagster reads it by a link in TMPDIR, found {tempfile.gettempdir()}"
            )
        link.symlink_to(folder)
        yield link


def _end(process: subprocess.Popen[bytes]) -> None:
    """End `dg`, which ends its services in order on SIGINT only, and whatever it leaves behind."""
    try:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SHUTDOWN_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
