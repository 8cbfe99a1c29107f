"""A small HTTP server for a mirror directory, for the demo and the tests.

It behaves like a good upstream: ETags, conditional and range requests, and archives without content
encoding. It listens on the loopback address only and is not meant for any other use.
"""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import unquote, urlsplit

from etl_assets.fetch.http import http_date
from etl_assets.storage.hashing import hash_file

LOOPBACK = "127.0.0.1"
ARCHIVE_TYPES = {".gz": "application/gzip", ".zip": "application/zip"}
log = logging.getLogger(__name__)


class MirrorServer(ThreadingHTTPServer):
    """Serves the files below one directory, one thread for each connection."""

    daemon_threads = True

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        self.directory = directory.resolve()
        self._etags: dict[tuple[Path, int, int], str] = {}
        self._lock = Lock()
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    def etag(self, path: Path) -> str:
        """Returns the hash of the content, computed once for each state of the file."""
        status = path.stat()
        key = (path, status.st_mtime_ns, status.st_size)
        with self._lock:
            if key not in self._etags:
                self._etags[key] = f'"{hash_file(path)[:32]}"'
            return self._etags[key]


@contextmanager
def serving(directory: Path, *, port: int = 0) -> Iterator[MirrorServer]:
    """Serves the directory for the duration of the block; port 0 selects a free port."""
    with MirrorServer(directory, port=port) as server:
        # shutdown() waits for one poll: half a second by default, which many tests would add up.
        thread = Thread(target=partial(server.serve_forever, poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MirrorServer

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        log.debug(format, *args)

    def _serve(self, *, with_body: bool) -> None:
        path = self._requested_file()
        if path is None:
            self._send_headers(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        size, etag = path.stat().st_size, self.server.etag(path)
        # Last-Modified has whole seconds; with fractions, If-Modified-Since would never match.
        changed = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        headers = {
            "ETag": etag,
            "Last-Modified": format_datetime(changed, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if self._is_unchanged(etag, changed):
            self._send_headers(HTTPStatus.NOT_MODIFIED, headers)
            return
        byte_range = self._requested_range(size, etag, changed)
        if byte_range is not None and byte_range.start >= size:
            headers |= {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            self._send_headers(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
            return
        headers |= {"Content-Type": _content_type(path), "Content-Length": str(size)}
        if byte_range is not None:
            headers["Content-Range"] = f"bytes {byte_range.start}-{byte_range.stop - 1}/{size}"
            headers["Content-Length"] = str(len(byte_range))
        self._send_headers(
            HTTPStatus.OK if byte_range is None else HTTPStatus.PARTIAL_CONTENT, headers
        )
        if with_body:
            self._send_body(path, byte_range or range(size))

    def _requested_file(self) -> Path | None:
        """Returns the requested file; None for a query or a path outside the directory."""
        parts = urlsplit(self.path)
        path = (self.server.directory / unquote(parts.path).lstrip("/")).resolve()
        is_inside = path.is_relative_to(self.server.directory)
        return path if is_inside and path.is_file() and not parts.query else None

    def _is_unchanged(self, etag: str, changed: datetime) -> bool:
        tags = self.headers.get("If-None-Match")
        if tags is not None:
            etags = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
            return "*" in etags or etag in etags
        since = http_date(self.headers.get("If-Modified-Since"))
        return since is not None and changed <= since

    def _requested_range(self, size: int, etag: str, changed: datetime) -> range | None:
        """Returns the requested bytes, or None for the whole file.

        Several ranges, other units and malformed ranges are ignored (RFC 9110, section 14.2).
        """
        unit, _, ranges = self.headers.get("Range", "").partition("=")
        first, dash, last = ranges.partition("-")
        condition = self.headers.get("If-Range")  # the range is valid only for this version
        if unit != "bytes" or not dash or "," in ranges:
            return None
        if condition is not None and condition != etag and http_date(condition) != changed:
            return None
        if first.isdigit() and (last.isdigit() or not last):
            return range(int(first), min(size, int(last) + 1) if last else size)
        if not first and last.isdigit():
            return range(max(0, size - int(last)), size)
        return None

    def _send_headers(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_body(self, path: Path, byte_range: range) -> None:
        self.wfile.flush()
        with path.open("rb") as file:
            try:
                self.connection.sendfile(file, byte_range.start, len(byte_range))
            except (BrokenPipeError, ConnectionResetError):  # the client stopped reading
                self.close_connection = True


def _content_type(path: Path) -> str:
    """Returns the media type of the file as it is."""
    # `mimetypes` guesses the type of the content of an archive, and a client may then unpack it.
    if path.suffix in ARCHIVE_TYPES:
        return ARCHIVE_TYPES[path.suffix]
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"
