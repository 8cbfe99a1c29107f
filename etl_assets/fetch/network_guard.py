"""Which addresses may be requested, connections that keep to them, and URLs without their secrets.

Requests and responses are `etl_assets.fetch.http`; the address of a declared file is
`etl_assets.fetch.locations`.
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

SCHEMES = frozenset({"http", "https"})
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
IPV4_BITS = 0xFFFF_FFFF

MASK = "***"
SECRET_NAME = re.compile(
    r"(?i)(^|[-_.])(api[-_]?key|key|token|secret|sig|signature|password|passwd|pwd|auth|credential)($|[-_.])"
)

READ_BYTES = 1 << 20  # httpcore reads 64 KiB at a time; larger reads cost less per byte
HEADER_END = b"\r\n\r\n"
HEADER_LIMIT = 1 << 18  # a longer header is not kept in memory, and its body not counted


def resolve_redirect(url: str, location: str, *, private: bool) -> str:
    """Returns the absolute address of a redirect from `url`.

    Raises TransferRefusedError for an address that is not http or https, for a step from https to
    http, and, unless `private`, for an address that is private by its name.
    """
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        host, _ = new.hostname, new.port  # `port` raises ValueError for a number out of range
    except ValueError as error:
        reason = f"{redact_text(location)!r} ({error})"
        raise _redirect_refused(url, "a valid address", reason) from error
    if new.scheme not in SCHEMES or not host:
        raise _redirect_refused(url, "an http or https address", redact_text(target))
    if old.scheme == "https" and new.scheme == "http":
        raise _redirect_refused(url, "https to stay https", redact_url(target))
    if not private and is_private_host(host):
        raise _redirect_refused(url, "a public address", redact_url(target))
    return target


def _redirect_refused(url: str, expected: str, actual: str) -> TransferRefusedError:
    return TransferRefusedError(f"{redact_url(url)}: redirect: expected {expected}, found {actual}")


def is_private_host(host: str) -> bool:
    """True if a host is private by its text alone; a name is not looked up."""
    try:
        return not is_public_address(host)
    except ValueError:  # a name
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(".localhost")


def is_public_address(text: str) -> bool:
    """True if an IP address is globally reachable; raises ValueError for other text.

    An IPv6 address that contains an IPv4 address is judged by the latter: a mapped or translated
    127.0.0.1 reaches this machine.
    """
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address in NAT64:
            address = IPv4Address(int(address) & IPV4_BITS)
        else:
            address = address.ipv4_mapped or address.sixtofour or address
    return address.is_global and not address.is_multicast


def redact_url(url: str) -> str:
    """Returns the URL without user, password, fragment and values of parameters with secret names.

    Raises ValueError for text that is not a URL.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    parameters = []
    for parameter in parts.query.split("&"):
        name, equals, _ = parameter.partition("=")
        is_secret = bool(equals and SECRET_NAME.search(name))
        parameters.append(f"{name}={MASK}" if is_secret else parameter)
    return urlunsplit((parts.scheme, host, parts.path, "&".join(parameters), ""))


def redact_text(text: str) -> str:
    """Returns at most 200 characters of text, redacted if it is a URL and masked if it is not."""
    try:
        return redact_url(text)[:200]
    except ValueError:
        return MASK


@dataclass(frozen=True, slots=True)
class Network:
    """Name lookup and the backend that connects; tests pass their own."""

    backend: httpcore.NetworkBackend = field(default_factory=httpcore.SyncBackend)

    def addresses(self, host: str, port: int) -> list[str]:
        """Returns the IP addresses of a host in the system's order of preference."""
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class GuardedBackend(httpcore.NetworkBackend):
    """A network backend that checks the addresses of a name before it connects to one of them.

    The name is looked up once, here: a check before a second lookup would let a name change its
    address in between (DNS rebinding).
    """

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
        for address in self._allowed_addresses(host, port):
            try:
                stream = self._network.backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return CountingStream(stream)
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def _allowed_addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = self._network.addresses(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label of over 63 characters
            raise httpcore.ConnectError(f"{host}: {error}") from error
        offenders = [address for address in addresses if not is_public_address(address)]
        if offenders and not self._private:
            # One private answer among public ones refuses all: which is used is left to chance.
            raise TransferRefusedError(
                f"{host}: expected a public address, found {', '.join(offenders)}; "
                "if the host is yours, declare `private: true` for its location"
            )
        return addresses


class CountingStream(httpcore.NetworkStream):
    """A stream that counts the bytes after the header of the current response.

    httpx stops reading at Content-Length; this count shows that a server has sent more.
    """

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
        """Bytes after the header so far; None if the end of the header was not recognized."""
        return self._body_bytes if self._in_body else None

    def _count(self, data: bytes) -> None:
        if self._in_body:
            self._body_bytes += len(data)
            return
        self._head += data
        head, end, rest = self._head.partition(HEADER_END)
        while end and head.startswith(b"HTTP/1.1 1"):  # an interim response comes before the final
            self._head = rest
            head, end, rest = rest.partition(HEADER_END)
        if end or len(self._head) > HEADER_LIMIT:
            self._in_body, self._body_bytes, self._head = bool(end), len(rest), b""
