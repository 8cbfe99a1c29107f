"""TCP connections that go only where they may, and that count what arrives.

The address policy on DNS answers belongs here, since only the address that is connected to counts.
Requests and answers are `etl_assets.fetch.http`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpcore

from etl_assets.fetch.url_policy import is_public
from etl_assets.model.errors import Refused

READ_BYTES = 1 << 20  # httpcore asks for 64 KiB; larger reads cost less for each byte
HEADER_END = b"\r\n\r\n"
HEADER_LIMIT = 1 << 18


@dataclass(frozen=True, slots=True)
class Network:
    """Name lookup and connecting; a test gives its own."""

    backend: httpcore.NetworkBackend = field(default_factory=httpcore.SyncBackend)

    def addresses(self, host: str, port: int) -> list[str]:
        """IP addresses of a host, best first."""
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class Guarded(httpcore.NetworkBackend):
    """A network backend that looks a name up once, judges all answers, and connects to one."""

    def __init__(self, network: Network, *, private: bool) -> None:
        self._network = network
        self._private = private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in self._allowed(host, port):
            try:
                return Counted(
                    self._network.backend.connect_tcp(
                        address, port, timeout, local_address, socket_options
                    )
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def _allowed(self, host: str, port: int) -> list[str]:
        try:
            found = self._network.addresses(host, port)
        except (OSError, UnicodeError) as error:  # an over-long label is no OSError
            raise httpcore.ConnectError(f"{host}: {error}") from error
        if not self._private and (offenders := [a for a in found if not is_public(a)]):
            raise Refused(
                f"{host}: expected a public address, found {', '.join(offenders)}; "
                "if the host is yours, declare `private: true` for its location"
            )
        return found


class Counted(httpcore.NetworkStream):
    """A stream that knows how many bytes came after the header of the answer under way."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._head = b""
        self._body_bytes = 0
        self._in_body = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max(max_bytes, READ_BYTES), timeout)
        self._count(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._head, self._body_bytes, self._in_body = b"", 0, False
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return Counted(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore declares it
        return self._stream.get_extra_info(info)

    @property
    def body_bytes(self) -> int | None:
        """Bytes after the header so far; None where the header's end was not recognised."""
        return self._body_bytes if self._in_body else None

    def _count(self, data: bytes) -> None:
        if self._in_body:
            self._body_bytes += len(data)
            return
        self._head += data
        head, end, rest = self._head.partition(HEADER_END)
        while end and head.startswith(b"HTTP/1.1 1"):
            self._head = rest
            head, end, rest = rest.partition(HEADER_END)
        if end or len(self._head) > HEADER_LIMIT:
            self._in_body, self._body_bytes, self._head = bool(end), len(rest), b""
