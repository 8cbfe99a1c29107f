"""A web server that serves files well, or badly on command; each fault is a function below.

In a test: `server.publish("/a.json", b"...")`, then `server.misbehave("/a.json", resets_midway)`:
each request takes the next fault, and after the last one the file is served well. By hand:
`PYTHONPATH=tests python -m support.misbehaving_server DIRECTORY`, where `/resets_midway/a.json`
asks for a fault.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LOGIN_PAGE = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Password?</body></html>"
)
EXTRA = b"and more than was promised"


@dataclass(frozen=True)
class File:
    """What is published at a path."""

    content: bytes
    etag: str | None = None
    changed: datetime | None = LONG_AGO

    def headers(self) -> dict[str, str]:
        headers = {"Accept-Ranges": "bytes"}
        if self.etag is not None:
            headers["ETag"] = self.etag
        if self.changed is not None:
            headers["Last-Modified"] = format_datetime(self.changed, usegmt=True)
        return headers


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)


class MisbehavingServer(ThreadingHTTPServer):
    """The files, the faults that wait for each path, and the requests so far."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.files: dict[str, File] = {}
        self.requests: list[ReceivedRequest] = []
        self.closing = Event()
        self.always: dict[str, Fault] = {}
        self._waiting: dict[str, deque[Fault]] = defaultdict(deque)
        self._lock = Lock()
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(
        self,
        path: str,
        content: bytes,
        *,
        etag: str | None = "",
        changed: datetime | None = LONG_AGO,
    ) -> None:
        """Put a file at a path; its ETag is the content's hash unless another or None is given."""
        own = f'"{hashlib.sha256(content).hexdigest()[:16]}"' if etag == "" else etag
        self.files[path] = File(content, own, changed)

    def misbehave(self, path: str, *faults: Fault) -> None:
        self._waiting[path].extend(faults)

    def requests_for(self, path: str, method: str = "GET") -> list[ReceivedRequest]:
        return [seen for seen in self.requests if (seen.method, seen.path) == (method, path)]

    def next_fault(self, seen: ReceivedRequest) -> Fault:
        with self._lock:
            self.requests.append(seen)
            waiting = self._waiting[seen.path]
            return waiting.popleft() if waiting else self.always.get(seen.path, serves_well)

    def handle_error(self, *_: object) -> None:
        """A client that goes away is part of the game."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: MisbehavingServer

    def do_GET(self) -> None:
        fault = self.server.next_fault(ReceivedRequest(self.command, self.path, dict(self.headers)))
        fault(self, self.server.files.get(self.path))

    do_HEAD = do_GET  # noqa: N815 - the base's name

    def log_message(self, *_: object) -> None:
        """Nothing is said of each request."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.head(status, **{"Content_Length": str(len(body)), **headers})
        self.body(body)

    def head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def body(self, data: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(data)
            self.wfile.flush()

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        self.rfile.close()


Fault = Callable[[Handler, File | None], None]


def serves_well(handler: Handler, file: File | None) -> None:
    """No fault: ETag, Last-Modified, conditions, Range with If-Range."""
    if file is None:
        handler.answer(404)
        return
    if file.etag is not None and handler.headers.get("If-None-Match") == file.etag:
        handler.head(304, **file.headers())
        return
    start = _range_start(handler, file)
    headers = file.headers()
    if start is None:
        handler.answer(200, file.content, **headers)
    elif start >= len(file.content):
        handler.answer(416, Content_Range=f"bytes */{len(file.content)}", **headers)
    else:
        size = len(file.content)
        part = f"bytes {start}-{size - 1}/{size}"
        handler.answer(206, file.content[start:], Content_Range=part, **headers)


def resets_midway(handler: Handler, file: File) -> None:
    """Half of the body, then a reset of the connection."""
    _half(handler, file)
    handler.reset()


def closes_early(handler: Handler, file: File) -> None:
    """A body that is shorter than its Content-Length: half of it, then an orderly end."""
    _half(handler, file)
    handler.close_connection = True


def sends_more(handler: Handler, file: File) -> None:
    """A body that is longer than its Content-Length."""
    handler.head(200, Content_Length=str(len(file.content)), **file.headers())
    handler.body(file.content + EXTRA)


def sends_less_unframed(handler: Handler, file: File) -> None:
    """Half of the body without any Content-Length: only the content can tell."""
    handler.head(200, Connection="close", **file.headers())
    handler.body(file.content[: len(file.content) // 2])
    handler.close_connection = True


def never_answers(handler: Handler, _file: File | None) -> None:
    """The request is read and nothing comes back."""
    handler.server.closing.wait()
    handler.close_connection = True


def stalls_midway(handler: Handler, file: File) -> None:
    """Half of the body, then silence."""
    _half(handler, file)
    handler.server.closing.wait()
    handler.close_connection = True


def drips(handler: Handler, file: File) -> None:
    """The body in single bytes, each in a packet of its own."""
    handler.head(200, Content_Length=str(len(file.content)), **file.headers())
    for position in range(len(file.content)):
        handler.body(file.content[position : position + 1])
        handler.server.closing.wait(0.001)


def asks_for_login(handler: Handler, _file: File | None) -> None:
    """200 with the page of a login form."""
    handler.answer(200, LOGIN_PAGE, Content_Type="text/html")


def sends_nothing(handler: Handler, _file: File | None) -> None:
    """200 with an empty body."""
    handler.answer(200)


def cuts_off(handler: Handler, file: File) -> None:
    """Half of the file as if it were whole: Content-Length agrees, only the content tells."""
    handler.answer(200, file.content[: len(file.content) // 2], **file.headers())


def refuses_head(handler: Handler, file: File | None) -> None:
    """405 to HEAD, and GET served well."""
    if handler.command == "HEAD":
        handler.answer(405)
    else:
        serves_well(handler, file)


def ignores_range(handler: Handler, file: File) -> None:
    """The whole file with 200, whatever part was asked for."""
    handler.answer(200, file.content, **file.headers())


def ignores_if_range(handler: Handler, file: File) -> None:
    """The part that was asked for, without ETag and although the file has changed since."""
    start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
    size = len(file.content)
    part = f"bytes {start}-{size - 1}/{size}"
    handler.answer(206, file.content[start:], Content_Range=part)


def sends_another_range(handler: Handler, file: File) -> None:
    """206 with other bytes than were asked for."""
    size = len(file.content)
    part = f"bytes 1-{size - 1}/{size}"
    handler.answer(206, file.content[1:], Content_Range=part, **file.headers())


def refuses_ranges(handler: Handler, file: File) -> None:
    """416 to every request with a Range."""
    if "Range" in handler.headers:
        handler.answer(416)
    else:
        serves_well(handler, file)


def packs_unasked(handler: Handler, file: File) -> None:
    """Content-Encoding although the request asks for identity."""
    import gzip

    handler.answer(200, gzip.compress(file.content), Content_Encoding="gzip", **file.headers())


def repeats_the_secret(handler: Handler, _file: File | None) -> None:
    """401 that repeats, in its reason and in its body, the credential that was sent."""
    secret = handler.headers.get("Authorization", "")
    handler.send_response(401, f"not {secret}")
    handler.send_header("Content-Length", str(len(secret)))
    handler.end_headers()
    handler.body(secret.encode())


def answers(status: int, **headers: str) -> Fault:
    """A fault that answers with a status and no body: 403, 404, 410, 500, 503 ..."""

    def fault(handler: Handler, _file: File | None) -> None:
        handler.answer(status, **headers)

    return fault


def redirects(location: str, status: int = 302) -> Fault:
    """A fault that redirects: in a loop, to file:, to a private address, from https to http ..."""
    return answers(status, Location=location)


def then_publishes(fault: Fault, path: str, content: bytes) -> Fault:
    """A fault after which the file is another one."""

    def both(handler: Handler, file: File | None) -> None:
        handler.server.publish(path, content)
        fault(handler, file)

    return both


FAULTS_BY_NAME: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        serves_well, resets_midway, closes_early, sends_more, sends_less_unframed, never_answers,
        stalls_midway, drips, asks_for_login, sends_nothing, cuts_off, refuses_head, ignores_range,
        ignores_if_range, sends_another_range, refuses_ranges, packs_unasked,
        repeats_the_secret,
    )
}  # fmt: skip


@contextmanager
def run_misbehaving_server(port: int = 0) -> Iterator[MisbehavingServer]:
    """A server while the block runs."""
    with MisbehavingServer(port) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def _half(handler: Handler, file: File) -> None:
    start = _range_start(handler, file) or 0
    rest = file.content[start:]
    size = len(file.content)
    headers = {**file.headers(), "Content_Length": str(len(rest))}
    if start:
        headers["Content_Range"] = f"bytes {start}-{size - 1}/{size}"
    handler.head(206 if start else 200, **headers)
    handler.body(rest[: len(rest) // 2])


def _range_start(handler: Handler, file: File) -> int | None:
    asked = handler.headers.get("Range", "")
    condition = handler.headers.get("If-Range")
    if not asked.startswith("bytes=") or condition not in {None, *file.headers().values()}:
        return None
    return int(asked.removeprefix("bytes=").partition("-")[0])


def main(directory: str) -> None:
    """Serve a directory's files under the name of each fault until interrupted."""
    with MisbehavingServer(8700) as server:
        for file in (path for path in Path(directory).rglob("*") if path.is_file()):
            for name, fault in FAULTS_BY_NAME.items():
                path = f"/{name}/{file.relative_to(directory).as_posix()}"
                server.publish(path, file.read_bytes())
                server.always[path] = fault
        lines = [
            f"{server.url}/{name}/...  {fault.__doc__}" for name, fault in FAULTS_BY_NAME.items()
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
