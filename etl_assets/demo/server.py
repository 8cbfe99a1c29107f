"""A small web server for a directory that is laid out as a mirror; for the demo and the tests.

It serves files as a good upstream does: content-hash ETags, conditions, single ranges, and packed
files as they lie. It listens on the loopback address only and is no server for the world.
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
PACKED = {".gz": "application/gzip", ".zip": "application/zip"}
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
        """The content's hash, computed once for each state of the file."""
        found = path.stat()
        key = (path, found.st_mtime_ns, found.st_size)
        with self._lock:
            if key not in self._etags:
                self._etags[key] = f'"{hash_file(path)[:32]}"'
            return self._etags[key]


@contextmanager
def serving(directory: Path, *, port: int = 0) -> Iterator[MirrorServer]:
    """A server for the directory while the block runs; port 0 takes a free one."""
    with MirrorServer(directory, port=port) as server:
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
        path = self._path()
        if path is None:
            self._answer(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        size, etag = path.stat().st_size, self.server.etag(path)
        changed = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        headers = {
            "ETag": etag,
            "Last-Modified": format_datetime(changed, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        if self._is_unchanged(etag, changed):
            self._answer(HTTPStatus.NOT_MODIFIED, headers)
            return
        span = self._span(size, etag, changed)
        if span is not None and span.start >= size:
            headers |= {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
            return
        headers |= {"Content-Type": _content_type(path), "Content-Length": str(size)}
        if span is not None:
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
            headers["Content-Length"] = str(len(span))
        self._answer(HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT, headers)
        if with_body:
            self._send(path, span or range(size))

    def _path(self) -> Path | None:
        """The file that is asked for; a query and what leads out of the directory find nothing."""
        parts = urlsplit(self.path)
        path = (self.server.directory / unquote(parts.path).lstrip("/")).resolve()
        is_inside = path.is_relative_to(self.server.directory)
        return path if is_inside and path.is_file() and not parts.query else None

    def _is_unchanged(self, etag: str, changed: datetime) -> bool:
        tags = self.headers.get("If-None-Match")
        if tags is not None:
            known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
            return "*" in known or etag in known
        since = http_date(self.headers.get("If-Modified-Since"))
        return since is not None and changed <= since

    def _span(self, size: int, etag: str, changed: datetime) -> range | None:
        """The bytes asked for; None stands for all: no range, several, or If-Range fails."""
        unit, _, spans = self.headers.get("Range", "").partition("=")
        first, dash, last = spans.partition("-")
        condition = self.headers.get("If-Range")
        if unit != "bytes" or not dash or "," in spans:
            return None
        if condition is not None and condition != etag and http_date(condition) != changed:
            return None
        if first.isdigit() and (last.isdigit() or not last):
            return range(int(first), min(size, int(last) + 1) if last else size)
        if not first and last.isdigit():
            return range(max(0, size - int(last)), size)
        return None

    def _answer(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, path: Path, span: range) -> None:
        self.wfile.flush()
        with path.open("rb") as file:
            try:
                self.connection.sendfile(file, span.start, len(span))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True


def _content_type(path: Path) -> str:
    """Packed files are served as what they are, so that no client unpacks them on the way."""
    if path.suffix in PACKED:
        return PACKED[path.suffix]
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"
