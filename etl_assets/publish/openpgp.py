"""Detached OpenPGP signatures of a published set.

Each contains its time, so that no comparison of bytes covers them: neither the index of a set nor a
replay has them. What is signed beside `SHA256SUMS` is decided by the writer of each document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from etl_assets.model.errors import HomeError, SettingsError
from etl_assets.model.run_manifest import PUBLIC_KEY_FILE
from etl_assets.publish import run_directory
from etl_assets.publish.run_directory import SIGNATURE_SUFFIX, SUMS_FILE, SUMS_SIGNATURE
from etl_assets.storage.atomic_write import flush_to_disk, write_text
from etl_assets.storage.hashing import has_sha256

if TYPE_CHECKING:
    from pysequoia import Cert, PySigner, Tsk
    from pysequoia.packet import Packet

KEY_SETTING, PASSPHRASE_SETTING = "ETL_SIGNING_KEY", "ETL_SIGNING_PASSPHRASE"
EXPECTED_KEY = f"{KEY_SETTING}: expected the file of an OpenPGP secret key that can sign"


@dataclass(frozen=True)
class SigningKey:
    """A secret key that is ready to sign, with its public part."""

    fingerprint: str
    """Of the primary key, in capitals."""
    public_key: str = field(repr=False)
    """In ASCII armor."""
    expires_at: datetime | None
    """Of the primary key, or of the part that signs if that ends earlier."""
    _signer: PySigner = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """A detached signature in ASCII armor."""
        from pysequoia import SignatureMode, sign

        return bytes(sign(self._signer, data, mode=SignatureMode.DETACHED))


def load_signing_key(path: Path, passphrase: SecretStr | None) -> SigningKey:
    """The key in a file; raises SettingsError if it cannot sign, with the reason."""
    # Only where a key is declared or a signature is checked: the library takes time to load.
    from pysequoia import Tsk
    from pysequoia.packet import PacketPile, Tag

    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{EXPECTED_KEY}, found {path}: {error.strerror}") from error
    try:
        secret = Tsk.from_bytes(data)
        packets = list(PacketPile.from_bytes(data))
        tags = [packet.tag for packet in packets]
        certificate = secret.extract_certificate()
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"{EXPECTED_KEY}, found {path}: {_first_line(error)}") from None
    fingerprint = certificate.fingerprint.upper()
    if Tag.SecretKey not in tags and Tag.SecretSubkey not in tags:
        raise SettingsError(f"{EXPECTED_KEY}, found {path}: the public key {fingerprint} alone")
    if certificate.is_revoked:
        raise SettingsError(f"{EXPECTED_KEY}, found {path}: the key {fingerprint} is revoked")
    expires_at = certificate.expiration
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise SettingsError(
            f"{EXPECTED_KEY}, found {path}: the key {fingerprint} expired at"
            f" {expires_at.isoformat()}; extend it, or sign with another one"
        )
    ends = [end for end in (expires_at, _signing_part_expires_at(packets)) if end is not None]
    return SigningKey(
        fingerprint,
        str(certificate),
        min(ends, default=None),
        _unlock(secret, path, fingerprint, passphrase),
    )


def _signing_part_expires_at(packets: Iterable[Packet]) -> datetime | None:
    """When the last subkey for signatures ends; None if one never does, or there is none.

    The newest binding of a subkey counts (RFC 9580, section 5.2.3.10). The library tells the end
    of the primary key alone.
    """
    from pysequoia.packet import SignatureType, Tag

    bindings: dict[str, tuple[datetime, Packet]] = {}
    fingerprint, created = "", datetime.now(UTC)
    for packet in packets:
        if packet.tag in (Tag.SecretSubkey, Tag.PublicSubkey):
            fingerprint, created = packet.fingerprint or "", packet.key_created or created
        elif packet.tag == Tag.Signature and packet.signature_type == SignatureType.SubkeyBinding:
            known = bindings.get(fingerprint)
            if known is None or _signed_at(packet) >= _signed_at(known[1]):
                bindings[fingerprint] = created, packet
    ends = [
        created + packet.key_validity_period if packet.key_validity_period else None
        for created, packet in bindings.values()
        if packet.key_flags and packet.key_flags.signing
    ]
    limited = [end for end in ends if end is not None]
    return max(limited) if limited and len(limited) == len(ends) else None


def _signed_at(packet: Packet) -> datetime:
    return packet.signature_created or datetime.min.replace(tzinfo=UTC)


def _unlock(secret: Tsk, path: Path, fingerprint: str, passphrase: SecretStr | None) -> PySigner:
    try:
        return secret.signer()
    except RuntimeError as error:
        if "encrypted" not in _first_line(error):
            raise SettingsError(
                f"{EXPECTED_KEY}, found {path}: {fingerprint} has no valid part for signatures"
            ) from None
    if passphrase is None:
        raise SettingsError(
            f"{PASSPHRASE_SETTING}: expected the passphrase of {path}, found no such variable"
        )
    try:
        return secret.signer(passphrase.get_secret_value())
    except RuntimeError:
        # Without the error of the library, which may contain the passphrase one day.
        raise SettingsError(
            f"{PASSPHRASE_SETTING}: expected the passphrase of {path}, found another text"
        ) from None


def sign_files(
    directory: Path,
    names: Iterable[str],
    digests: Mapping[str, str],
    key: SigningKey,
    previous: Path | None,
) -> dict[str, str]:
    """Write the signature of each file beside it, and the public key; returns their digests.

    A file that `previous`, the published set, has with the same bytes keeps its signature if the
    key is the same. Raises HomeError if a file is not what was written.
    """
    signed = _trusted_sums(previous, key) if previous else {}
    written: dict[str, str] = {}
    folders = set()
    for name in names:
        signature = name + SIGNATURE_SUFFIX
        if previous and signed.get(name) == digests[name] and signature in signed:
            source = previous / signature
            if has_sha256(source, signed[signature]):
                run_directory.link_file(source, directory / signature)
                written[signature] = signed[signature]
                continue
        data = (directory / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise HomeError(
                f"{directory / name}: expected the file that was written, found other bytes, which"
                " are not signed; run again"
            )
        text = key.sign(data)
        target = directory / signature
        target.write_bytes(text)
        flush_to_disk(target)
        folders.add(target.parent)
        written[signature] = hashlib.sha256(text).hexdigest()
    for folder in folders:
        flush_to_disk(folder)
    write_text(directory / PUBLIC_KEY_FILE, key.public_key)
    written[PUBLIC_KEY_FILE] = hashlib.sha256(key.public_key.encode()).hexdigest()
    return written


def sign_sums(directory: Path, key: SigningKey) -> None:
    """Sign `SHA256SUMS`, and with it every other file of a set."""
    text = key.sign((directory / SUMS_FILE).read_bytes())
    write_text(directory / SUMS_SIGNATURE, text.decode())


def has_signed_sums(directory: Path, key: SigningKey) -> bool:
    """True if the sums of a set have a valid signature of this key."""
    return bool(_trusted_sums(directory, key))


def _trusted_sums(directory: Path, key: SigningKey) -> Mapping[str, str]:
    """The sums of a set that this key has signed; none if it has not, or they were altered."""
    try:
        SetSignatures(directory, read_public_key(key.public_key.encode())).check(SUMS_FILE)
        return run_directory.read_sums(directory)
    except HomeError:
        return {}


@dataclass(frozen=True)
class SetSignatures:
    """The signatures in the directory of a set, and the public key that they are checked with."""

    directory: Path
    certificate: Cert

    @property
    def key_name(self) -> str:
        """The fingerprint and the first user id of the key."""
        users = [str(user) for user in self.certificate.user_ids]
        fingerprint = self.certificate.fingerprint.upper()
        return f"{fingerprint} ({users[0]})" if users else fingerprint

    def check(self, name: str) -> None:
        """Raise HomeError unless a file has a valid signature."""
        from pysequoia import Sig, verify

        path = self.directory / name
        try:
            signature = Sig.from_bytes(path.with_name(path.name + SIGNATURE_SUFFIX).read_bytes())
            data = path.read_bytes()
        except OSError as error:
            raise HomeError(f"{error.filename}: {error.strerror}") from error
        except (RuntimeError, ValueError) as error:
            raise HomeError(
                f"{name}{SIGNATURE_SUFFIX}: is no signature: {_first_line(error)}"
            ) from None
        try:
            verify(bytes=data, store=lambda _: [self.certificate], signature=signature)
        except RuntimeError as error:
            raise HomeError(
                f"{name}{SIGNATURE_SUFFIX}: is no valid signature of {self.key_name}:"
                f" {_first_line(error)}"
            ) from None

    def faults(self, sums: Mapping[str, str]) -> Iterator[str]:
        """What is wrong with the signature of the sums, and with each one that they list."""
        for signed in (SUMS_FILE, *sorted(signed_names(sums))):
            try:
                self.check(signed)
            except HomeError as error:
                yield str(error)


def signed_names(sums: Mapping[str, str]) -> list[str]:
    """The files of a set that have a signature beside them."""
    return [
        name.removesuffix(SIGNATURE_SUFFIX)
        for name in sums
        if name.endswith(SIGNATURE_SUFFIX) and name != PUBLIC_KEY_FILE
    ]


def read_public_key(data: bytes) -> Cert:
    """A public key in ASCII armor or binary; raises HomeError if it is none."""
    from pysequoia import Cert

    try:
        return Cert.from_bytes(data)
    except (RuntimeError, ValueError) as error:
        raise HomeError(f"expected an OpenPGP public key, found: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """The message of the library without its stack."""
    return str(error).partition("\n")[0]
