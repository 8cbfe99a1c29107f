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
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urljoin, urlsplit, urlunsplit

import httpcore

from etl_assets.fetch.request_timer import active_timer, call_interruptibly
from etl_assets.model.errors import TransferRefusedError

SCHEMES = frozenset({"http", "https"})
# All global unicast addresses that are assigned so far. Outside of it are NAT64 (64:ff9b::/96 and
# 64:ff9b:1::/48, RFC 6052 and 8215), IPv4-compatible and IPv4-translated addresses (::/96,
# ::ffff:0:0:0/96), which lead to an IPv4 address, and site-local ones (fec0::/10).
# https://www.iana.org/assignments/ipv6-address-space
GLOBAL_UNICAST = IPv6Network("2000::/3")
# Addresses that `ipaddress` counts as global: 6to4 relays (RFC 7526), documentation (RFC 9637), and
# the metadata service of Azure. Those of the other clouds are link-local or private.
NOT_PUBLIC = (
    IPv4Network("192.88.99.0/24"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("168.63.129.16/32"),
    IPv6Network("3fff::/20"),
)
# Names that are never public: RFC 6761, 6762 and 8375, and ICANN's resolution of 2024 on .internal,
# below which clouds keep their metadata.
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")

MASK = "***"
MIRROR_SUFFIX = ".json"  # of the file of a mirror for a URL with a query
# Words of a name, and parts of a name without its separators: `apiKey`, `x-api-key` and `APIKEY`.
SECRET_WORDS = frozenset(
    {"key", "auth", "pass", "pwd", "sig", "sid", "jwt", "cookie", "bearer", "session"}
)
SECRET_PARTS = (
    "apikey", "accesskey", "privatekey", "subscriptionkey", "secret", "token", "password",
    "passwd", "passphrase", "signature", "credential", "authorization", "sessionid", "accessid",
    "cookie",
)  # fmt: skip
CASE_CHANGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# `name=value`, `name: value` and `"name": "value"` in a header, a body or a message; the quotes of
# JSON in a text of JSON are escaped.
NAMED_VALUE = re.compile(
    r"""(?P<name>[A-Za-z%][\w.%-]*)(?P<between>\\?["']?\s*[=:]\s*)"""
    r"""(?P<value>"(?:[^"\\]|\\.)*"|\\"[^"\\]*\\"|'[^']*'"""
    r"""|(?:Bearer|Basic|Digest|Token)\s+\S+|[^\s&;,"'}]+)""",
    re.IGNORECASE,
)
SCHEME_AND_SECRET = re.compile(r"(?i)\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}")
USER_AND_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")
# Words that also stand before a colon in messages of this project.
PLAIN_WORDS = frozenset({"key", "pass", "session", "auth"})

SMALL_WRITE_BYTES = 1 << 13
READ_BYTES = 1 << 20  # httpcore reads 64 KiB at a time; larger reads cost less per byte
HEADER_END = b"\r\n\r\n"
HEADER_LIMIT = 1 << 18  # a longer header is not kept in memory, and its body not counted


def resolve_redirect(url: str, location: str, *, private: bool, kind: str = "redirect") -> str:
    """Returns the absolute address of a redirect, or of another `kind` of link, from `url`.

    Raises TransferRefusedError for an address that is not http or https, for a step from https to
    http, and, unless `private`, for an address that is private by its name.
    """
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        host, _ = new.hostname, new.port  # `port` raises ValueError for a number out of range
    except ValueError as error:
        reason = f"{redact_text(location)!r} ({error})"
        raise _redirect_refused(url, kind, "a valid address", reason) from error
    if new.scheme not in SCHEMES or not host:
        raise _redirect_refused(url, kind, "an http or https address", redact_text(target))
    if old.scheme == "https" and new.scheme == "http":
        raise _redirect_refused(url, kind, "https to stay https", redact_url(target))
    if not private and is_private_host(host):
        raise _redirect_refused(url, kind, "a public address", redact_url(target))
    return target


def _redirect_refused(url: str, kind: str, expected: str, actual: str) -> TransferRefusedError:
    return TransferRefusedError(f"{redact_url(url)}: {kind}: expected {expected}, found {actual}")


def is_private_host(host: str) -> bool:
    """True if a host is private by its text alone; a name is not looked up."""
    try:
        return not is_public_address(host)
    except ValueError:  # a name
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(PRIVATE_SUFFIXES)


def is_public_address(text: str) -> bool:
    """True if an IP address is globally reachable; raises ValueError for other text.

    A mapped or 6to4 address is judged by the IPv4 address that it contains: a mapped 127.0.0.1
    reaches this machine. Behind NAT64 a public host has to be declared `private: true`, as the
    translator may also lead to private addresses.
    """
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is None and address not in GLOBAL_UNICAST:
            return False
        address = embedded or address
    is_excluded = any(address in network for network in NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not is_excluded


def redact_url(url: str) -> str:
    """Returns the URL without user, password, fragment and values of parameters with secret names.

    Raises ValueError for text that is not a URL.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, redact_path(parts.path), _redact_query(parts.query), ""))


def redact_path(path: str) -> str:
    """Returns a path, of a URL or a file, without values of parameters with secret names.

    Some servers take parameters of a segment, as `;jsessionid=`; the file of a mirror for a URL
    with a query is named after the query.
    """
    path = re.sub(r"(?<=;)[^;/]+", _redact_parameter, path)
    return re.sub(r"(?i)[^/]*%3D[^/]*", _redact_encoded_query, path)


def _redact_encoded_query(match: re.Match[str]) -> str:
    name = match[0].removesuffix(MIRROR_SUFFIX)
    query = unquote(name)
    redacted = _redact_query(query)
    # Also a name that is not as `quote` writes it stays as it is if nothing in it is secret.
    return match[0] if redacted == query else quote(redacted, safe="*") + match[0][len(name) :]


def _redact_query(query: str) -> str:
    # Some servers take `;` for `&`.
    return re.sub(r"[^&;]+", _redact_parameter, query)


def _redact_parameter(match: re.Match[str]) -> str:
    name, equals, _ = match[0].partition("=")
    return f"{name}={MASK}" if equals and is_secret_name(name) else match[0]


def is_secret_name(name: str) -> bool:
    """True if a parameter, header or member of this name usually has a secret as its value."""
    spelled = CASE_CHANGE.sub("-", unquote_plus(name))
    words = re.findall(r"[a-z0-9]+", spelled.lower())
    joined = "".join(words)
    return not SECRET_WORDS.isdisjoint(words) or any(part in joined for part in SECRET_PARTS)


def redact_message(text: str) -> str:
    """Returns text without the values that it names as secrets, and without users in addresses."""
    text = USER_AND_PASSWORD.sub("", text)
    pieces, position = [], 0
    while match := NAMED_VALUE.search(text, position):
        pieces.append(text[position : match.start("value")])
        position = match.start("value")
        if _names_a_secret(match):
            pieces.append(MASK)
            position = match.end()
        # Else a value is searched too: `"message": "denied for key=..."`, `url: https://a?key=...`.
    pieces.append(text[position:])
    return SCHEME_AND_SECRET.sub(rf"\1 {MASK}", "".join(pieces))


def _names_a_secret(match: re.Match[str]) -> bool:
    name, between = match["name"], match["between"]
    is_prose = between.strip() == ":" and name.lower().rpartition(".")[2] in PLAIN_WORDS
    return not is_prose and is_secret_name(name)


def redact_value(name: str, value: object) -> object:
    """Returns a value of YAML without its secrets; `name` is that of the value, or a path to it."""
    if isinstance(value, dict):
        return {key: redact_value(str(key), below) for key, below in value.items()}
    if isinstance(value, list):
        return [redact_value(name, below) for below in value]
    if not isinstance(value, str):
        return value
    return MASK if is_secret_name(name.rpartition(".")[2]) else redact_message(value)


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
        def connect() -> httpcore.NetworkStream:
            return self._connect(host, port, timeout, local_address, socket_options)

        return CountingStream(call_interruptibly(connect, discard=_close))

    def _connect(
        self,
        host: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in self._allowed_addresses(host, port):
            try:
                return self._network.backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def _allowed_addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = self._network.addresses(host, port)
        except (OSError, ValueError, OverflowError) as error:
            # UnicodeError, a ValueError, is for a label of over 63 characters.
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

    httpx stops reading at Content-Length; this count shows that a server has sent more. Reading,
    writing and the TLS handshake end at the deadlines of the active request timer.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._head = b""
        self._body_bytes = 0
        self._in_body = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        timer = active_timer()
        while True:
            seconds = timer.next_wait(timeout) if timer else timeout
            try:
                data = self._stream.read(max(max_bytes, READ_BYTES), seconds)
                break
            except httpcore.ReadTimeout:
                if timer is None or seconds is None or timeout == seconds:
                    raise
                timeout = None if timeout is None else timeout - seconds
        self._count(data)
        if timer:
            timer.check_rate()
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._head, self._body_bytes, self._in_body = b"", 0, False
        if len(buffer) <= SMALL_WRITE_BYTES:  # fits the socket's buffer, so that it does not block
            self._stream.write(buffer, timeout)
            return
        call_interruptibly(lambda: self._stream.write(buffer, timeout), discard=_ignore)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        def start() -> httpcore.NetworkStream:
            return self._stream.start_tls(ssl_context, server_hostname, timeout)

        return CountingStream(call_interruptibly(start, discard=_close))

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


def _close(stream: httpcore.NetworkStream) -> None:
    stream.close()


def _ignore(_: None) -> None:
    """Discard the end of a late write; its stream is closed by httpcore."""
