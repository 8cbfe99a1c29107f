"""A web server on loopback for transfers of any size, as fast as possible or spread over a time.

`/bytes/<megabytes>` is sent as fast as it is read, `/slow/<megabytes>/<seconds>` evenly over that
time. As a program it prints its port and serves until it is terminated.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MEGABYTE = hashlib.shake_256(b"bench").digest(1_000_000)


class Handler(BaseHTTPRequestHandler):
    """One connection; the path says how much and how fast."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        kind, megabytes, *seconds = self.path.strip("/").split("/")
        self.send_response(200)
        self.send_header("Content-Length", str(int(megabytes) * len(MEGABYTE)))
        self.send_header("ETag", f'"{kind}-{megabytes}"')
        self.end_headers()
        if self.command == "HEAD":
            return
        began = time.monotonic()
        for number in range(1, int(megabytes) + 1):
            self.wfile.write(MEGABYTE)
            if seconds:
                due = began + float(seconds[0]) * number / int(megabytes)
                time.sleep(max(0.0, due - time.monotonic()))

    do_HEAD = do_GET  # noqa: N815 - the base's name

    def log_message(self, *_: object) -> None:
        """Requests are not logged."""


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server in a process of its own, which ends with the block."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
