"""A webhook and a mail server on the loopback address that keep the messages they receive."""

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
    """A webhook with the messages that it received and the status that it answers with."""

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
        """Log nothing."""


class MailServer(ThreadingTCPServer):
    """A mail server that accepts every message."""

    daemon_threads = True

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _SmtpHandler)

    @property
    def target(self) -> str:
        here = f"127.0.0.1:{self.server_address[1]}"
        return f"mailto://{here}/?from=etl@example.org&to=owner@example.org&mode=insecure"


class _SmtpHandler(StreamRequestHandler):
    """The part of SMTP that one message needs (RFC 5321)."""

    server: MailServer

    def handle(self) -> None:
        self._reply(220)
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self._reply(354)
                self._store(b"".join(iter(self.rfile.readline, b".\r\n")))
            self._reply(221 if verb == b"QUIT" else 250)

    def _reply(self, code: int) -> None:
        self.wfile.write(b"%d ok\r\n" % code)

    def _store(self, content: bytes) -> None:
        message = message_from_bytes(content, policy=default)
        body = message.get_body(("plain", "html"))
        text = body.get_content() if body else ""
        self.server.messages.append(
            {"to": str(message["To"]), "subject": str(message["Subject"]), "text": text}
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
