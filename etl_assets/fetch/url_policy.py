"""Which addresses may be asked, and how an address is written down without its secrets.

Rules over texts and IP addresses belong here. Opening a connection is
`etl_assets.fetch.network_guard`; finding the address of a declared file is
`etl_assets.fetch.locations`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urljoin, urlsplit, urlunsplit

from etl_assets.model.errors import Refused

SCHEMES = frozenset({"http", "https"})
MASK = "***"
SECRET_NAME = re.compile(
    r"(?i)(^|[-_.])(api[-_]?key|key|token|secret|sig|signature|password|passwd|pwd|auth|credential)($|[-_.])"
)
NAT64 = IPv6Network("64:ff9b::/96")
IPV4_BITS = 0xFFFF_FFFF


def redact(url: str) -> str:
    """The URL without user, password, fragment, and values of parameters named like secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(_redact_parameter(parameter) for parameter in parts.query.split("&"))
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def check_redirect(origin: str, location: str, *, private: bool) -> str:
    """The address that a redirect leads to; raises Refused where it may not be followed."""
    try:
        target = urljoin(origin, location)
        old, new = urlsplit(origin), urlsplit(target)
        host, _ = new.hostname, new.port
    except ValueError as error:
        raise _refused(origin, "a valid address", f"{redact_text(location)!r} ({error})") from error
    if new.scheme not in SCHEMES or not host:
        raise _refused(origin, "an http or https address", redact_text(target))
    if old.scheme == "https" and new.scheme == "http":
        raise _refused(origin, "https to stay https", redact(target))
    if not private and is_private_name(host):
        raise _refused(origin, "a public address", redact(target))
    return target


def redact_text(text: str) -> str:
    """`redact` for what may be no URL at all; at most 200 characters."""
    try:
        return redact(text)[:200]
    except ValueError:
        return MASK


def is_private_name(host: str) -> bool:
    """Whether a host's name alone says that it is not a public one: no lookup is made."""
    try:
        return not is_public(host)
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(".localhost")


def is_public(address: str) -> bool:
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


def _refused(origin: str, expected: str, found: str) -> Refused:
    return Refused(f"{redact(origin)}: redirect: expected {expected}, found {found}")
