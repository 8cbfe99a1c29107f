"""TCP connections that go only where they may, and that count what arrives.

The address policy on DNS answers belongs here, since only the address that is connected to counts.
Requests and answers are `etl_assets.fetch.http`.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpcore

from etl_assets.model.errors import TransferRefusedError

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


class GuardedBackend(httpcore.NetworkBackend):
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
                return CountingStream(
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
        if not self._private and (offenders := [a for a in found if not is_public_address(a)]):
            raise TransferRefusedError(
                f"{host}: expected a public address, found {', '.join(offenders)}; "
                "if the host is yours, declare `private: true` for its location"
            )
        return found


class CountingStream(httpcore.NetworkStream):
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
        return CountingStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

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


SCHEMES = frozenset({"http", "https"})
MASK = "***"
SECRET_NAME = re.compile(
    r"(?i)(^|[-_.])(api[-_]?key|key|token|secret|sig|signature|password|passwd|pwd|auth|credential)($|[-_.])"
)
NAT64 = IPv6Network("64:ff9b::/96")
IPV4_BITS = 0xFFFF_FFFF


def redact_url(url: str) -> str:
    """The URL without user, password, fragment, and values of parameters named like secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(_redact_parameter(parameter) for parameter in parts.query.split("&"))
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def resolve_redirect(origin: str, location: str, *, private: bool) -> str:
    """The address of a redirect; raises TransferRefusedError if it may not be followed."""
    try:
        target = urljoin(origin, location)
        old, new = urlsplit(origin), urlsplit(target)
        host, _ = new.hostname, new.port
    except ValueError as error:
        raise _refused(origin, "a valid address", f"{redact_text(location)!r} ({error})") from error
    if new.scheme not in SCHEMES or not host:
        raise _refused(origin, "an http or https address", redact_text(target))
    if old.scheme == "https" and new.scheme == "http":
        raise _refused(origin, "https to stay https", redact_url(target))
    if not private and is_private_host(host):
        raise _refused(origin, "a public address", redact_url(target))
    return target


def redact_text(text: str) -> str:
    """`redact_url` for what may be no URL at all; at most 200 characters."""
    try:
        return redact_url(text)[:200]
    except ValueError:
        return MASK


def is_private_host(host: str) -> bool:
    """Whether a host's name alone says that it is not a public one: no lookup is made."""
    try:
        return not is_public_address(host)
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(".localhost")


def is_public_address(address: str) -> bool:
    """Whether an IP address is reachable from everywhere; raises ValueError for what is no address.

    An IPv6 address that carries an IPv4 address is judged by that one.
    """
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = _carried(found) or found
    return found.is_global and not found.is_multicast


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in NAT64:
        return IPv4Address(int(address) & IPV4_BITS)
    return address.ipv4_mapped or address.sixtofour


def _redact_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}={MASK}" if equals and SECRET_NAME.search(name) else parameter


def _refused(origin: str, expected: str, found: str) -> TransferRefusedError:
    return TransferRefusedError(
        f"{redact_url(origin)}: redirect: expected {expected}, found {found}"
    )
