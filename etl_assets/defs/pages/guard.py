"""Which requests reach the pages: an ASGI layer in front of Dagster's web server.

The pages have no password, and can launch runs and delete events. A browser on this machine can be
made to send requests by any web page, directly or through a host name that resolves to 127.0.0.1.
Who may open the pages is decided by a proxy in front of them, if there is one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

GRAPHQL = "/graphql"
METHODS = ("GET", "HEAD", "POST")
# A form of another page can be sent with any other content type without asking first.
GRAPHQL_TYPES = ("application/json", "application/graphql")
POLICY_VIOLATION = 1008  # https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status and the text of a request that is not answered."""

    status: int
    text: str


class RequestGuard:
    """Passes on the requests and web sockets that come from the pages themselves."""

    def __init__(self, app: App, hosts: Collection[str], *, read_only: bool = False) -> None:
        self._app = app
        self._hosts = frozenset(host.casefold() for host in hosts)
        self._read_only = read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._find_refusal(scope) if scope["type"] != "lifespan" else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await _answer(refusal, send)

    def _find_refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope["headers"])
        refusal = self._judge_sender(headers)
        if refusal is None and scope["type"] == "http":
            refusal = self._judge_request(scope, headers)
        return refusal

    def _judge_sender(self, headers: Headers) -> Refusal | None:
        host, origin = headers.single("host"), headers.single("origin")
        if host is None or _host_name(host) not in self._hosts:
            expected = ", ".join(sorted(self._hosts))
            return Refusal(
                403,
                f"Host: expected one of {expected}, found {host!r}; ETL_UI_HOSTS names the hosts"
                " by which the pages may be reached",
            )
        # An origin is a scheme, a host and a port: http://localhost:8000 is another page.
        if origin != "" and _authority(origin) != host.casefold():
            return Refusal(403, f"Origin: expected the pages themselves, {host}, found {origin!r}")
        return None

    def _judge_request(self, scope: Scope, headers: Headers) -> Refusal | None:
        method, path = scope["method"], scope["path"].rstrip("/")
        if method not in METHODS:
            return Refusal(405, f"expected {', '.join(METHODS)}, found {method}")
        if path == GRAPHQL and method == "POST":
            content_type = (headers.single("content-type") or "").partition(";")[0].strip()
            if content_type.casefold() not in GRAPHQL_TYPES:
                expected = " or ".join(GRAPHQL_TYPES)
                return Refusal(415, f"Content-Type: expected {expected}, found {content_type!r}")
        elif path == GRAPHQL and "query" in parse_qs(scope["query_string"].decode("latin-1")):
            return Refusal(405, "expected GraphQL by POST, found a query in the address")
        elif method == "POST" and self._read_only:
            return Refusal(403, "the pages are read-only")
        return None


class Headers:
    """The headers of a request by their names in lower case."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(
                value.decode("latin-1")
            )

    def single(self, name: str) -> str | None:
        """Return the value of a header; empty if it is missing, None if it occurs twice."""
        values = self._values.get(name, [""])
        return values[0] if len(values) == 1 else None


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port; an IPv6 address keeps its brackets."""
    name, _, port = host.casefold().rpartition(":")
    return name if name and port.isdecimal() else host.casefold()


def _authority(origin: str | None) -> str | None:
    """Return the host and port of an Origin; None if it has none, as in `null`."""
    if origin is None:
        return None
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.casefold() or None


async def _answer(refusal: Refusal, send: Send) -> None:
    body = f"{refusal.text}\n".encode("ascii", "backslashreplace")
    headers = [(b"content-type", b"text/plain"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
