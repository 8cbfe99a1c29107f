"""Who is told in tests: a webhook and a mail server on this machine, each keeping what it hears.

Fixtures are taken into a room's tests by its conftest.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer, StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

TOKEN = "tok3n-in-the-path"


class WebhookServer(ThreadingHTTPServer):
    """A webhook: every message that came, and the status that it answers with."""

    daemon_threads = True

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def target(self) -> str:
        return f"json://user:passw0rd@127.0.0.1:{self.server_address[1]}/{TOKEN}"

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.messages]


class _Handler(BaseHTTPRequestHandler):
    server: WebhookServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.messages.append(json.loads(body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is said of each request."""


class MailServer(ThreadingTCPServer):
    """A mail server that takes every letter."""

    daemon_threads = True

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Postman)

    @property
    def target(self) -> str:
        here = f"127.0.0.1:{self.server_address[1]}"
        return f"mailto://{here}/?from=etl@example.org&to=owner@example.org&mode=insecure"


class _Postman(StreamRequestHandler):
    """SMTP as far as one letter needs it (RFC 5321)."""

    server: MailServer

    def handle(self) -> None:
        self._say(220)
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self._say(354)
                self._keep(b"".join(iter(self.rfile.readline, b".\r\n")))
            self._say(221 if verb == b"QUIT" else 250)

    def _say(self, code: int) -> None:
        self.wfile.write(b"%d as you wish\r\n" % code)

    def _keep(self, content: bytes) -> None:
        letter = message_from_bytes(content, policy=default)
        body = letter.get_body(("plain", "html"))
        text = body.get_content() if body else ""
        self.server.messages.append(
            {"to": str(letter["To"]), "subject": str(letter["Subject"]), "text": text}
        )


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    with WebhookServer() as server, _serving(server):
        yield server


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server, _serving(server):
        yield server


@contextmanager
def _serving(server: BaseServer) -> Iterator[None]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
