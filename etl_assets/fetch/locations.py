"""The address of a declared file: its URL, its copy in the mirror (ETL_MIRROR), or a local path.

Addresses are only computed here; opening them is `etl_assets.fetch.http` and
`etl_assets.fetch.local`.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import SecretStr

from etl_assets.declarations.source import Location
from etl_assets.fetch.network_guard import (
    MIRROR_SUFFIX,
    SCHEMES,
    is_private_host,
    redact_message,
    redact_path,
    redact_url,
)
from etl_assets.model.errors import SecretError, SettingsError, UnreachableError, UsageError

SecretReader = Callable[[str], SecretStr]
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_LOOKUP_BYTES = 1 << 16
SAMPLES_FILE = "SAMPLES.txt"  # in a mirror that was packed from samples


def is_sample_mirror(mirror: str | None) -> bool:
    """True if the mirror is a folder of samples, which are no real feeds."""
    return mirror is not None and "://" not in mirror and (Path(mirror) / SAMPLES_FILE).is_file()


def kind_of_mirror(mirror: str | None) -> Literal["mirror", "samples"] | None:
    """Returns what a run reads in place of the remotes, or None if it reads these."""
    if mirror is None:
        return None
    return "samples" if is_sample_mirror(mirror) else "mirror"


@dataclass(frozen=True, slots=True)
class Target:
    """The address of one file, a URL or a path, and what is needed to open it."""

    label: str
    """The declared address without secrets, for records and messages."""
    host: str
    """The declared host, whose limits apply also when a mirror is requested instead."""
    url: str | None = None
    path: Path | None = None
    is_private: bool = False
    """True if private addresses may be requested: the declared host or the mirror is private."""
    credentials: tuple[tuple[str, SecretStr], ...] = ()
    """Secret headers, sent only to the declared origin."""
    address_lookup: AddressLookup | None = None
    """The endpoint that returns the current address; `url` is then a name only."""

    def credentials_for(self, url: str) -> dict[str, str]:
        """Returns the secret headers for a request to `url`; none if it is of another origin."""
        if not self.credentials or not is_same_origin(url, self.url or ""):
            return {}
        return {name: value.get_secret_value() for name, value in self.credentials}

    def __str__(self) -> str:
        address = redact_url(self.url) if self.url else redact_path(str(self.path))
        return self.label if address == self.label else f"{self.label} (at {address})"


@dataclass(frozen=True, slots=True)
class AddressLookup:
    """An endpoint that returns the current address of a file in a member of its JSON."""

    target: Target
    member: str


@dataclass(frozen=True, slots=True)
class ResolvedLocation:
    """The address of a declared file and, if a digest is published, of the file that states it."""

    file: Target
    digest: Target | None = None


@dataclass(frozen=True, slots=True)
class LocationResolver:
    """Turns declared locations into addresses, given the home, the mirror and the secrets."""

    home: Path
    mirror: str | None = None
    secret: SecretReader | None = None

    def resolve(self, location: Location, partition: str | None) -> ResolvedLocation:
        """Returns the addresses of one file of a source.

        Raises SecretError if a secret of the location is missing or empty.
        """
        file = self.resolve_target(
            location.url or location.path or "", partition, private=location.private
        )
        credentials = self.credentials(location)
        lookup = None
        # A mirror has the file itself, under the declared name.
        if location.address_from is not None and self.mirror is None:
            endpoint = self.resolve_target(
                location.address_from.url, partition, private=location.private
            )
            endpoint = replace(endpoint, credentials=credentials)
            lookup = AddressLookup(endpoint, location.address_from.member)
        file = replace(file, credentials=credentials, address_lookup=lookup)
        if location.digest is None:
            return ResolvedLocation(file)
        digest = self.resolve_target(location.digest.url, partition, private=location.private)
        if is_same_origin(digest.url or "", file.url or ""):
            digest = replace(digest, credentials=credentials)
        return ResolvedLocation(file, digest)

    def credentials(self, location: Location) -> tuple[tuple[str, SecretStr], ...]:
        """Returns the secret headers of a location; none with a mirror, which must not get them.

        Raises SecretError if a secret is missing or empty.
        """
        if self.mirror is not None:
            return ()
        headers = []
        for name, credential in location.credentials.items():
            if self.secret is None:
                raise SecretError(
                    f"{credential.env}: expected a secret, found no settings to read it from"
                )
            try:
                value = self.secret(credential.env).get_secret_value()
            except SettingsError as error:
                raise SecretError(str(error)) from error
            headers.append((name, SecretStr(credential.prefix + value)))
        return tuple(headers)

    def resolve_target(
        self,
        text: str,
        partition: str | None,
        *,
        private: bool = False,
        mirror_name: str | None = None,
    ) -> Target:
        """Returns the target of a declared URL or path.

        `mirror_name` is the name of the mirror's file for a URL with a query. Raises UsageError for
        an invalid address, and for one that leads out of the mirror or the home.
        """
        if "://" not in text:
            return self._resolve_path(text.replace("{partition}", partition or ""))
        url = text.replace("{partition}", quote(partition or "", safe=""))
        parts = _split_url(url)
        if self.mirror is not None:
            return self._resolve_in_mirror(url, parts, self.mirror, mirror_name)
        return Target(
            label=redact_url(url),
            host=_host_and_port(parts),
            url=url,
            is_private=private or is_private_host(parts.hostname or ""),
        )

    def _resolve_path(self, path: str) -> Target:
        if Path(path).is_absolute():
            return Target(label=path, host="", path=Path(path))
        if self.mirror is None:
            return Target(label=path, host="", path=_path_below(self.home, path))
        if _is_url(self.mirror):
            url = _url_below(self.mirror, path, quote(path))
            return Target(
                label=path, host=_host_and_port(_split_url(url)), url=url, is_private=True
            )
        return Target(label=path, host="", path=_path_below(Path(self.mirror), path))

    def _resolve_in_mirror(
        self, url: str, parts: SplitResult, mirror: str, name: str | None
    ) -> Target:
        host = _host_and_port(parts)
        path = host + parts.path
        if parts.query or (name and not _is_url(mirror)):
            path = f"{path.rstrip('/')}/{quote(name or parts.query, safe='')}{MIRROR_SUFFIX}"
        if _is_url(mirror):
            mirrored = _url_below(mirror, path, path)
            return Target(label=redact_url(url), host=host, url=mirrored, is_private=True)
        return Target(label=redact_url(url), host="", path=_path_below(Path(mirror), path))


def parse_lookup(data: bytes, member: str, where: str) -> str:
    """Returns the address in a member such as `data.url` of a lookup's JSON.

    Raises UnreachableError if there is none, which is worth another attempt: some endpoints prepare
    the file first. No message repeats the answer, as its address may contain a secret.
    """
    # Few locations are looked up, and pyarrow takes longer to import than a probe.
    from etl_assets.tables.readers import json_keys
    from etl_assets.tables.readers.batch import DECODE_ERRORS

    expected = f"{where}: expected an address in {member}"
    if len(data) > MAX_LOOKUP_BYTES:
        raise UnreachableError(f"{expected}, found more than {MAX_LOOKUP_BYTES:,} bytes")
    try:
        value = json_keys.decode(data)
    except DECODE_ERRORS as error:
        raise UnreachableError(f"{expected}, found no JSON") from error
    for name in member.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value:
        raise UnreachableError(f"{expected}, found none")
    return value


def is_same_origin(url: str, other: str) -> bool:
    """True if two addresses have the same scheme, host and port."""
    return _origin(url) == _origin(other)


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _split_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise UsageError(
            f"location: expected an http or https URL with a host, found {redact_message(url)!r}"
        )
    return parts


def _host_and_port(parts: SplitResult) -> str:
    if parts.port in {None, DEFAULT_PORTS[parts.scheme]}:
        return parts.hostname or ""
    return f"{parts.hostname}:{parts.port}"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def _url_below(mirror: str, path: str, quoted: str) -> str:
    _path_below(Path("/mirror"), path)  # only to refuse a path that leads out
    return f"{mirror.rstrip('/')}/{quoted}"


def _path_below(root: Path, path: str) -> Path:
    # Normalized as text and not resolved: a symbolic link of the owner may lead out of the root.
    normalized = Path(os.path.normpath(root / path))
    if "\0" in path or not normalized.is_relative_to(os.path.normpath(root)):
        raise UsageError(
            f"location: expected a path that stays inside {root}, found {redact_path(path)!r}"
        )
    return normalized
