"""Dagster's web server in this process, with a code server and the daemon as children.

Which requests are answered is `etl_assets.defs.pages.guard`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import dagster as dg
import uvicorn
import yaml

# `dagster dev` and `dagster-webserver` are made of these; neither lets a layer in front of the
# pages, and `dagster dev` leaves its children running when it gets SIGTERM or SIGHUP.
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._serdes import serialize_value
from dagster_webserver.webserver import DagsterWebserver
from graphql import ASTValidationRule, GraphQLError, OperationDefinitionNode, OperationType
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from etl_assets.defs.launch import PACKAGE, open_instance
from etl_assets.defs.pages.guard import App, RequestGuard
from etl_assets.model.errors import HomeError, SettingsError
from etl_assets.settings import Settings

ADDRESS = "127.0.0.1"
OUTPUTS = "/outputs"
SHUTDOWN_SECONDS = 30  # for children; a run that is interrupted writes its manifest
CONNECTION_SECONDS = 3  # for open connections: the pages keep web sockets open
POLL_MILLISECONDS = 2000
WATCH_SECONDS = 0.5
MAX_TMPDIR_BYTES = 80  # the address of a Unix socket has at most 107
PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent ends
# What is published has data of others in it. As a sandbox, its origin is not that of the pages.
DOCUMENT_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups allow-downloads",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Children:
    """The processes beside the web server, each in a session of its own."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, arguments: list[str]) -> None:
        self.processes[name] = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", *arguments],
            cwd=PACKAGE.parent,
            # In a session of its own, so that Ctrl-C in a terminal reaches it only from here.
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread is running yet
        )

    def find_ended(self) -> str | None:
        """Return the name of a process that has ended by itself, or None."""
        ended = (name for name, process in self.processes.items() if process.poll() is not None)
        return next(ended, None)

    def end(self) -> None:
        """End all processes and their children: in order, or else by force."""
        # The daemon first: it would start what the code server is ending.
        for process in reversed(self.processes.values()):
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()


def serve(settings: Settings, port: int, *, read_only: bool, say: Callable[[str], None]) -> None:
    """Serve the pages until a signal ends them.

    Read-only pages have no daemon, so that nothing runs by itself either. Raises SettingsError if
    the port is in use, HomeError if a process beside the web server ends.
    """
    _require_free_port(port)
    logging.getLogger("dagster").setLevel(logging.WARNING)
    with open_instance(settings) as instance, ExitStack() as stack:
        stack.enter_context(_hangup_ends())
        folder = stack.enter_context(_socket_folder())
        children = Children()
        stack.callback(children.end)
        code_socket = folder / "code.sock"
        reference = serialize_value(instance.get_ref())
        _start_code_server(children, code_socket, reference)
        if not read_only:
            _start_daemon(children, code_socket, reference)
        target = GrpcServerTarget(
            host="localhost", port=None, socket=str(code_socket), location_name=PACKAGE.name
        )
        pages = stack.enter_context(
            WorkspaceProcessContext(instance, target, version=dg.__version__, read_only=read_only)
        )
        webserver = ReadOnlyWebserver if read_only else DagsterWebserver
        app = webserver(pages, live_data_poll_rate=POLL_MILLISECONDS).create_asgi_app()
        server = uvicorn.Server(
            uvicorn.Config(
                RequestGuard(
                    _with_outputs(app, settings), settings.ui_hosts.split(), read_only=read_only
                ),
                host=ADDRESS,
                port=port,
                loop="asyncio",  # uvloop keeps the command from knowing which signal it got
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=CONNECTION_SECONDS,
            )
        )
        ended = stack.enter_context(_watched(children, server))
        say(f"http://{ADDRESS}:{port}{' (read-only)' if read_only else ''}: end with Ctrl-C")
        server.run()
        if ended:
            raise HomeError(
                f"etl ui: expected the {ended[0]} to run, found that it ended; its message is above"
            )


def _start_code_server(children: Children, code_socket: Path, reference: str) -> None:
    module = f"{PACKAGE.name}.definitions"
    children.start(
        "code server",
        [
            *("dagster", "code-server", "start", "--socket", str(code_socket)),
            *("--module-name", module, "--location-name", PACKAGE.name),
            *("--working-directory", str(PACKAGE.parent), "--log-level", "warning"),
            *("--instance-ref", reference, "--inject-env-vars-from-instance"),
        ],
    )
    process = children.processes["code server"]
    while process.poll() is None and not _accepts(code_socket):
        time.sleep(WATCH_SECONDS)


def _start_daemon(children: Children, code_socket: Path, reference: str) -> None:
    # The options of the command have no name for the code location.
    workspace = code_socket.with_name("workspace.yaml")
    server = {"host": "localhost", "socket": str(code_socket), "location_name": PACKAGE.name}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}), "utf-8")
    children.start(
        "daemon",
        [
            *("dagster._daemon", "run", "--log-level", "warning"),
            *("--code-server-log-level", "warning", "--instance-ref", reference),
            *("--workspace", str(workspace)),
        ],
    )


def _accepts(code_socket: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(code_socket))
        except OSError:
            return False
    return True


class RefuseMutations(ASTValidationRule):
    """Refuses a request with a mutation as a whole, before any part of it is executed."""

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        if node.operation is OperationType.MUTATION:
            self.report_error(GraphQLError("the pages are read-only", node))


class ReadOnlyWebserver(DagsterWebserver[WorkspaceProcessContext, BaseWorkspaceRequestContext]):
    """Pages without mutations: Dagster refuses those alone that a permission covers."""

    def build_graphql_validation_rules(self) -> Collection[type[ASTValidationRule]]:
        return [RefuseMutations, *super().build_graphql_validation_rules()]


class Outputs(StaticFiles):
    """The published sets, for links from the pages to reports and documents."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(DOCUMENT_HEADERS)
        return response


def _with_outputs(app: App, settings: Settings) -> App:
    """Return the pages, and the files below `outputs/` of the home at the same address."""
    files = Outputs(directory=settings.home / OUTPUTS.strip("/"), html=True, check_dir=False)
    outputs = Starlette(routes=[Mount(OUTPUTS, files)])

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        is_output = scope["type"] == "http" and scope["path"].startswith(f"{OUTPUTS}/")
        await (outputs if is_output else app)(scope, receive, send)

    return answer


@contextmanager
def _socket_folder() -> Iterator[Path]:
    """Yield a new folder for the code server's socket; raises SettingsError if TMPDIR is long."""
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) > MAX_TMPDIR_BYTES:
        raise SettingsError(
            f"TMPDIR: expected a path of at most {MAX_TMPDIR_BYTES} bytes, as the address of a"
            f" socket is short, found {folder}"
        )
    with tempfile.TemporaryDirectory(prefix="etl-ui-") as temporary:
        yield Path(temporary)


@contextmanager
def _hangup_ends() -> Iterator[None]:
    """Let SIGHUP, as when a terminal is closed, do what SIGTERM does."""
    previous = signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)


@contextmanager
def _watched(children: Children, server: uvicorn.Server) -> Iterator[list[str]]:
    """End the server if a child ends; yields a list that then has its name."""
    names: list[str] = []
    done = Event()

    def watch() -> None:
        while not done.wait(WATCH_SECONDS):
            if name := children.find_ended():
                names.append(name)
                server.should_exit = True
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield names
    finally:
        done.set()
        thread.join()


def _require_free_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise SettingsError(
                f"--port: expected a free port on {ADDRESS}, found {port} in use"
                f" ({error.strerror}); name another one"
            ) from error


def _end_with_parent() -> None:
    """Ask the kernel to end this process when its parent is killed; runs in the child."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
