"""A web server that serves files correctly, or with a fault; each fault is a function here.

In a test: `server.publish("/a.json", b"...")`, then `server.misbehave("/a.json", resets_midway)`:
each request gets the next fault, and after the last one the file is served correctly. To run it:
`PYTHONPATH=tests python -m support.misbehaving_server DIRECTORY`, where the path
`/resets_midway/a.json` selects a fault.
"""

from __future__ import annotations

import gzip
import hashlib
import socket
import ssl
import struct
import sys
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LOGIN_PAGE = (
    b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Password?</body></html>"
)
EXTRA = b"and more than was promised"
TLS_RECORD = b"\x16\x03\x03\x40\x00"  # the head of a record of a handshake, with 16 KiB to come


@dataclass(frozen=True)
class File:
    """The file published at a path."""

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
    """A request that the server received."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)


class MisbehavingServer(ThreadingHTTPServer):
    """A server with its files, the next faults of each path, and the requests so far."""

    daemon_threads = True

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, File] = {}
        self.requests: list[ReceivedRequest] = []
        self.drips_handshake = False
        self.dripped_handshakes = 0
        self._tls = tls
        self.closing = Event()
        self.always: dict[str, Fault] = {}
        self._next_faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._lock = Lock()
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self._tls:
            # The handshake is left to the thread of the connection.
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def publish(
        self,
        path: str,
        content: bytes,
        *,
        etag: str | None = "",
        changed: datetime | None = LONG_AGO,
    ) -> None:
        """Publish a file; its ETag is a hash of the content unless another or None is given."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"' if etag == "" else etag
        self.files[path] = File(content, tag, changed)

    def misbehave(self, path: str, *faults: Fault) -> None:
        self._next_faults[path].extend(faults)

    def requests_for(self, path: str, method: str = "GET") -> list[ReceivedRequest]:
        return [r for r in self.requests if (r.method, r.path) == (method, path)]

    def next_fault(self, request: ReceivedRequest) -> Fault:
        with self._lock:
            self.requests.append(request)
            faults = self._next_faults[request.path]
            return faults.popleft() if faults else self.always.get(request.path, serves_well)

    def handle_error(self, *_: object) -> None:
        """Ignore clients that disconnect: tests expect it."""


class Handler(BaseHTTPRequestHandler):
    """The handler of one connection."""

    protocol_version = "HTTP/1.1"
    server: MisbehavingServer

    def do_GET(self) -> None:
        fault = self.server.next_fault(ReceivedRequest(self.command, self.path, dict(self.headers)))
        fault(self, self.server.files.get(self.path))

    do_HEAD = do_CONNECT = do_GET  # noqa: N815 - name of the base class

    def handle(self) -> None:
        if not self.server.drips_handshake:
            super().handle()
            return
        self.server.dripped_handshakes += 1
        self.wfile.write(TLS_RECORD)
        _drip(self, b"\0")

    def log_message(self, *_: object) -> None:
        """Log nothing."""

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
    """No fault: ETag, Last-Modified, conditional requests, Range with If-Range."""
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
    """Half of the body, then a connection reset."""
    _half(handler, file)
    handler.reset()


def closes_early(handler: Handler, file: File) -> None:
    """Half of the body, then an orderly close before Content-Length is reached."""
    _half(handler, file)
    handler.close_connection = True


def sends_more(handler: Handler, file: File) -> None:
    """A body longer than its Content-Length."""
    handler.head(200, Content_Length=str(len(file.content)), **file.headers())
    handler.body(file.content + EXTRA)


def sends_less_unframed(handler: Handler, file: File) -> None:
    """Half of the body without a Content-Length: only the content shows that it is incomplete."""
    handler.head(200, Connection="close", **file.headers())
    handler.body(file.content[: len(file.content) // 2])
    handler.close_connection = True


def never_answers(handler: Handler, _file: File | None) -> None:
    """No response to the request."""
    handler.server.closing.wait()
    handler.close_connection = True


def stalls_midway(handler: Handler, file: File) -> None:
    """Half of the body, then silence."""
    _half(handler, file)
    handler.server.closing.wait()
    handler.close_connection = True


def drips(handler: Handler, file: File) -> None:
    """The body in packets of one byte."""
    handler.head(200, Content_Length=str(len(file.content)), **file.headers())
    for position in range(len(file.content)):
        handler.body(file.content[position : position + 1])
        handler.server.closing.wait(0.001)


def asks_for_login(handler: Handler, _file: File | None) -> None:
    """200 with a login page."""
    handler.answer(200, LOGIN_PAGE, Content_Type="text/html")


def sends_nothing(handler: Handler, _file: File | None) -> None:
    """200 with an empty body."""
    handler.answer(200)


def cuts_off(handler: Handler, file: File) -> None:
    """Half of the file with a matching Content-Length: only the content shows it."""
    handler.answer(200, file.content[: len(file.content) // 2], **file.headers())


def refuses_head(handler: Handler, file: File | None) -> None:
    """405 to HEAD, a correct response to GET."""
    if handler.command == "HEAD":
        handler.answer(405)
    else:
        serves_well(handler, file)


def ignores_range(handler: Handler, file: File) -> None:
    """The complete file with 200, for every Range."""
    handler.answer(200, file.content, **file.headers())


def ignores_if_range(handler: Handler, file: File) -> None:
    """The requested range without an ETag, although the file has changed since."""
    start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
    size = len(file.content)
    part = f"bytes {start}-{size - 1}/{size}"
    handler.answer(206, file.content[start:], Content_Range=part)


def sends_another_range(handler: Handler, file: File) -> None:
    """206 with another range than the requested one."""
    size = len(file.content)
    part = f"bytes 1-{size - 1}/{size}"
    handler.answer(206, file.content[1:], Content_Range=part, **file.headers())


def refuses_ranges(handler: Handler, file: File) -> None:
    """416 to every request that has a Range."""
    if "Range" in handler.headers:
        handler.answer(416)
    else:
        serves_well(handler, file)


def packs_unasked(handler: Handler, file: File) -> None:
    """Content-Encoding gzip although the request accepts only identity."""
    encodes("gzip")(handler, file)


def packs_silently(handler: Handler, file: File) -> None:
    """The file compressed with gzip, without a Content-Encoding."""
    handler.answer(200, gzip.compress(file.content), **file.headers())


def encodes(header: str) -> Fault:
    """Return a fault that encodes the body and states these codings, known or not."""
    steps: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "x-gzip": gzip.compress,
        "deflate": zlib.compress,
        "raw": _deflate_raw,
    }

    def fault(handler: Handler, file: File) -> None:
        body = file.content
        for coding in header.lower().split(","):
            body = steps.get(coding.strip(), bytes)(body)
        stated = header.replace("raw", "deflate")
        handler.answer(200, body, Content_Encoding=stated, **file.headers())

    return fault


def _deflate_raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def states_encoding(body: bytes, header: str = "gzip") -> Fault:
    """Return a fault that serves these bytes with a Content-Encoding, true or not."""
    return lambda handler, file: handler.answer(
        200, body, Content_Encoding=header, **(file.headers() if file else {})
    )


def refuses_head_with(status: int) -> Fault:
    """Return a fault that answers HEAD with a status, and GET correctly."""

    def fault(handler: Handler, file: File | None) -> None:
        if handler.command == "HEAD":
            handler.answer(status)
        else:
            serves_well(handler, file)

    return fault


def serves_with(status: int = 200, **headers: str) -> Fault:
    """Return a fault that serves the file with other or additional headers."""

    def fault(handler: Handler, file: File) -> None:
        other = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.answer(status, file.content, **{**file.headers(), **other})

    return fault


def drips_header(handler: Handler, _file: File | None) -> None:
    """A header that arrives a byte at a time and does not end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Filler: ")
    _drip(handler, b"x")


def drips_tunnel(handler: Handler, _file: File | None) -> None:
    """A proxy's tunnel in which the TLS handshake arrives a byte at a time."""
    handler.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    handler.server.closing.wait(0.3)  # in a packet of its own, so that TLS reads what follows
    handler.wfile.write(TLS_RECORD)
    _drip(handler, b"\0")


def drips_interim(handler: Handler, _file: File | None) -> None:
    """Interim responses (102) without a final one."""
    _drip(handler, b"HTTP/1.1 102 Processing\r\n\r\n")


def drips_redirects(handler: Handler, _file: File | None) -> None:
    """A redirect to itself with another query each time, after a pause."""
    handler.server.closing.wait(0.5)
    path, _, number = handler.path.partition("?")
    handler.server.always[f"{path}?{number}1"] = drips_redirects
    handler.answer(302, Location=f"{path}?{number}1")


def drips_body(handler: Handler, file: File) -> None:
    """A body that arrives a byte at a time and takes minutes."""
    handler.head(200, Content_Length="10000", **file.headers())
    if handler.command != "HEAD":
        _drip(handler, b" ")


def drips_chunk_extension(handler: Handler, file: File) -> None:
    """A chunk whose extension does not end."""
    handler.head(200, Transfer_Encoding="chunked", **file.headers())
    if handler.command != "HEAD":
        handler.wfile.write(b"5;filler=")
        _drip(handler, b"x")


def drips_trailer(handler: Handler, file: File) -> None:
    """The whole body, and a trailer section that does not end."""
    handler.head(200, Transfer_Encoding="chunked", **file.headers())
    if handler.command != "HEAD":
        handler.wfile.write(b"%x\r\n%s\r\n0\r\nX-Filler: " % (len(file.content), file.content))
        _drip(handler, b"x")


def answers_raw(response: bytes) -> Fault:
    """Return a fault that sends these bytes and closes the connection."""

    def fault(handler: Handler, _file: File | None) -> None:
        handler.wfile.write(response)
        handler.close_connection = True

    return fault


def _drip(handler: Handler, piece: bytes) -> None:
    handler.close_connection = True
    while not handler.server.closing.wait(0.05):
        handler.wfile.write(piece)
        handler.wfile.flush()


def repeats_the_secret(handler: Handler, _file: File | None) -> None:
    """401 that repeats the sent credential in its reason phrase and body."""
    secret = handler.headers.get("Authorization", "")
    handler.send_response(401, f"not {secret}")
    handler.send_header("Content-Length", str(len(secret)))
    handler.end_headers()
    handler.body(secret.encode())


def answers(status: int, **headers: str) -> Fault:
    """Return a fault that responds with a status and no body."""

    def fault(handler: Handler, _file: File | None) -> None:
        handler.answer(status, **headers)

    return fault


def redirects(location: str, status: int = 302) -> Fault:
    """Return a fault that redirects to a location."""
    return answers(status, Location=location)


def then_publishes(fault: Fault, path: str, content: bytes) -> Fault:
    """Return a fault after which the file has another content."""

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
        packs_silently, drips_header, drips_interim, drips_body, drips_chunk_extension,
        drips_trailer,
        repeats_the_secret,
    )
}  # fmt: skip


@contextmanager
def run_misbehaving_server(
    port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[MisbehavingServer]:
    """Run a server for the block."""
    with MisbehavingServer(port, tls) as server:
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
    requested = handler.headers.get("Range", "")
    condition = handler.headers.get("If-Range")
    if not requested.startswith("bytes=") or condition not in {None, *file.headers().values()}:
        return None
    return int(requested.removeprefix("bytes=").partition("-")[0])


def main(directory: str) -> None:
    """Serve the files of a directory below the name of each fault until interrupted."""
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
