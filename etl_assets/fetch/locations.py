"""Where a declared file is to be had: at its URL, in the mirror, or in a local place.

Names are worked out here and nothing is asked or opened. What a mirror is, says ETL_MIRROR.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

import msgspec
from pydantic import SecretStr

from etl_assets.declarations.source import Location
from etl_assets.fetch.network_guard import SCHEMES, is_private_host, redact_url
from etl_assets.model.errors import SettingsError, UnreachableError, UsageError

SecretReader = Callable[[str], SecretStr]
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """One file's address: what is asked, either a URL or a path, and what is shown of it."""

    label: str
    """As declared, without secrets: what records and messages name."""
    host: str
    """The declared host, for which limits are kept, also where a mirror stands in."""
    url: str | None = None
    path: Path | None = None
    is_private: bool = False
    """Whether private addresses may be asked: the declaration or the mirror is one."""
    credentials: tuple[tuple[str, SecretStr], ...] = ()
    """Headers that are sent to the declared origin and nowhere else."""
    address_lookup: AddressLookup | None = None
    """What is to be asked first, where the address of each moment is told by another answer."""

    def credentials_at(self, url: str) -> dict[str, str]:
        """The secret headers of a request to `url`, which a redirect may have named."""
        if not self.credentials or _origin(url) != _origin(self.url or ""):
            return {}
        return {name: value.get_secret_value() for name, value in self.credentials}

    def __str__(self) -> str:
        asked = redact_url(self.url) if self.url else str(self.path)
        return self.label if asked == self.label else f"{self.label} (at {asked})"


@dataclass(frozen=True, slots=True)
class AddressLookup:
    """Whom to ask for a file's address, and which member of the answer in JSON tells it."""

    target: Target
    member: str


@dataclass(frozen=True, slots=True)
class ResolvedLocation:
    """A declared file and, where one is published, the file that states its digest."""

    file: Target
    digest: Target | None = None


@dataclass(frozen=True, slots=True)
class LocationResolver:
    """Where declared locations lead on this machine, and what opens them there."""

    home: Path
    mirror: str | None = None
    secret: SecretReader | None = None

    def resolve(self, location: Location, partition: str | None) -> ResolvedLocation:
        """Raises SettingsError where a secret that the location names is not there."""
        file = self.resolve_target(
            location.url or location.path or "", partition, private=location.private
        )
        teller = self._teller(location, partition)
        file = replace(file, credentials=self.credentials(location), address_lookup=teller)
        if location.digest is None:
            return ResolvedLocation(file)
        digest = self.resolve_target(location.digest.url, partition, private=location.private)
        is_beside = _origin(digest.url or "") == _origin(file.url or "")
        return ResolvedLocation(
            file, replace(digest, credentials=file.credentials if is_beside else ())
        )

    def _teller(self, location: Location, partition: str | None) -> AddressLookup | None:
        """A mirror has the file itself under its name: nobody need tell where it is."""
        if location.address_from is None or self.mirror is not None:
            return None
        target = self.resolve_target(location.address_from.url, partition, private=location.private)
        secret = replace(target, credentials=self.credentials(location))
        return AddressLookup(secret, location.address_from.member)

    def credentials(self, location: Location) -> tuple[tuple[str, SecretStr], ...]:
        """Only for the declared host: a mirror that stands in has no claim to them."""
        if self.mirror is not None:
            return ()
        return tuple(
            (name, SecretStr(each.prefix + self._secret(each.env)))
            for name, each in location.credentials.items()
        )

    def _secret(self, name: str) -> str:
        if self.secret is None:
            raise SettingsError(f"{name}: expected a secret, found no settings to read it from")
        return self.secret(name).get_secret_value()

    def resolve_target(
        self,
        text: str,
        partition: str | None,
        *,
        private: bool = False,
        mirror_name: str | None = None,
    ) -> Target:
        """The target of a declared URL or path; `mirror_name` is the mirror's file for a query.

        Raises UsageError for an address that cannot be used or that leads out of the mirror.
        """
        if "://" not in text:
            return self._local(text.replace("{partition}", partition or ""))
        url = text.replace("{partition}", quote(partition or "", safe=""))
        parts = _split(url)
        if self.mirror is not None:
            return self._mirrored(url, parts, self.mirror, mirror_name)
        return Target(
            label=redact_url(url),
            host=_host(parts),
            url=url,
            is_private=private or is_private_host(parts.hostname or ""),
        )

    def _local(self, path: str) -> Target:
        if Path(path).is_absolute():
            return Target(label=path, host="", path=Path(path))
        if self.mirror is None:
            return Target(label=path, host="", path=_inside(self.home, path))
        if _is_url(self.mirror):
            url = _below(self.mirror, path, quote(path))
            return Target(label=path, host=_host(_split(url)), url=url, is_private=True)
        return Target(label=path, host="", path=_inside(Path(self.mirror), path))

    def _mirrored(self, url: str, parts: SplitResult, mirror: str, name: str | None) -> Target:
        path = _host(parts) + parts.path
        if parts.query or (name and not _is_url(mirror)):
            path = f"{path.rstrip('/')}/{quote(name or parts.query, safe='')}.json"
        if _is_url(mirror):
            asked = _below(mirror, path, path)
            return Target(label=redact_url(url), host=_host(parts), url=asked, is_private=True)
        return Target(label=redact_url(url), host="", path=_inside(Path(mirror), path))


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"location: expected an http or https URL with a host, found {url!r}")
    return parts


def _host(parts: SplitResult) -> str:
    if parts.port in {None, DEFAULT_PORTS[parts.scheme]}:
        return parts.hostname or ""
    return f"{parts.hostname}:{parts.port}"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def _below(mirror: str, path: str, quoted: str) -> str:
    _inside(Path("/mirror"), path)
    return f"{mirror.rstrip('/')}/{quoted}"


def _inside(root: Path, path: str) -> Path:
    """`path` below `root`; the text decides, so that links which the owner laid keep working."""
    found = Path(os.path.normpath(root / path))
    if "\0" in path or not found.is_relative_to(os.path.normpath(root)):
        raise UsageError(f"location: expected a path that stays inside {root}, found {path!r}")
    return found


TOLD_BYTES = 1 << 16


def address_in(data: bytes, member: str, where: str) -> str:
    """The text of a member such as `data.url`.

    Raises UnreachableError if there is none: a service may add the address once the file exists.
    The answer is not repeated, as an address in it may be a secret.
    """
    expected = f"{where}: expected an address in {member}"
    if len(data) > TOLD_BYTES:
        raise UnreachableError(f"{expected}, found more than {TOLD_BYTES:,} bytes")
    try:
        found = _member(msgspec.json.decode(data), member)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnreachableError(f"{expected}, found no JSON") from error
    if not isinstance(found, str) or not found:
        raise UnreachableError(f"{expected}, found none")
    return found


def _member(document: object, path: str) -> object:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document
