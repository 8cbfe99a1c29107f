"""Hash published files and tables again, and compare them with what was recorded.

`verify_set`, for `etl verify`, needs nothing but the directory of a set, so that a recipient of a
copy can check it. The raw store is verified by `etl_assets.operations.manifest`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from etl_assets.defs.context import DomainSession
from etl_assets.model.display_text import format_count, list_some
from etl_assets.model.errors import HomeError
from etl_assets.model.records import PublishedLink, Record
from etl_assets.model.run_manifest import MANIFEST_FILE, PUBLIC_KEY_FILE, RunManifest
from etl_assets.publish import chain, openpgp, run_directory, set_index
from etl_assets.publish.openpgp import SetSignatures
from etl_assets.publish.run_directory import NOT_SUMMED, SUMS_FILE, SUMS_SIGNATURE
from etl_assets.storage.hashing import has_sha256, hash_file
from etl_assets.storage.signatures import open_signatures

if TYPE_CHECKING:
    from pysequoia import Cert

MAX_FAULTS = 5  # that are printed; the rest are counted
MAX_NAMES = 3  # manifests that a fault names; the rest are counted


class Fault(StrEnum):
    """What may be wrong with a stored raw file."""

    MISSING = "missing"
    ALTERED = "altered"
    ORPHANED = "orphaned"


class StoreFault(Record):
    """A raw file that differs from its record, or that no record lists."""

    path: str = Field(description="relative to ETL_HOME")
    fault: Fault
    named_by: list[str] = Field(default=[], description="manifests that list it")

    def __str__(self) -> str:
        text = f"{self.fault:8} {self.path}"
        if self.named_by:
            text += f", listed in {list_some(self.named_by, most=MAX_NAMES)}"
        return text


class SetVerification(Record):
    """The result of checking one directory."""

    directory: str
    files: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    faults: list[str]
    notes: list[str] = Field(description="who signed, and what could not be checked, and why")
    signed_by: str | None = Field(
        default=None, description="fingerprint of the key of all signatures, if they are valid"
    )

    def lines(self) -> list[str]:
        count = len(self.faults)
        result = format_count(count, "fault") if count else "all as published"
        lines = [f"{self.directory}: {self.files} files, {self.size_bytes:,} bytes: {result}"]
        lines += [f"  {fault}" for fault in self.faults[:MAX_FAULTS]]
        if count > MAX_FAULTS:
            lines.append(f"  and {count - MAX_FAULTS} more")
        return [*lines, *(f"  {note}" for note in self.notes)]


def verify_set(directory: Path, public_key: Cert | None = None) -> SetVerification:
    """Hash all files of a published set, and compare them with its sums, index and manifest.

    Its signatures are checked with `public_key`, or with the key in the set. Raises HomeError if
    the directory has no sums, or no manifest that can be read.
    """
    sums = run_directory.read_sums(directory)
    digest = cache(hash_file)  # the sums and the index list the same files
    digests: dict[str, str] = {}
    size_bytes = 0
    for name in run_directory.list_files(directory):
        path = directory / name
        if name not in NOT_SUMMED and not path.is_symlink():
            digests[name] = digest(path)
            size_bytes += path.stat().st_size
    faults = [*_find_links(directory), *_compare_sums(sums, digests)]
    notes: list[str] = []
    manifest = run_directory.read_manifest(directory)
    if manifest.published_set:
        notes.append(f"the run had nothing to do; the published set is {manifest.published_set}")
    elif manifest.index_sha256 is None:
        notes.append("the set has no index, as an older version published it")
    else:
        faults += set_index.compare_with_index(directory, manifest, digest)
    if manifest.previous:
        faults += _compare_previous(directory, manifest, notes)
    signature_faults, signed_by = _check_signatures(directory, manifest, sums, public_key, notes)
    faults += signature_faults
    return SetVerification(
        directory=str(directory),
        files=len(digests),
        size_bytes=size_bytes,
        faults=faults,
        notes=notes,
        signed_by=signed_by,
    )


def _check_signatures(
    directory: Path,
    manifest: RunManifest,
    sums: Mapping[str, str],
    public_key: Cert | None,
    notes: list[str],
) -> tuple[list[str], str | None]:
    """Return what is wrong with the signatures, and the fingerprint of their key if nothing is.

    A set is signed if its manifest or a signature of its sums says so: one of them may be removed.
    """
    is_signed = manifest.signing is not None or (directory / SUMS_SIGNATURE).exists()
    if not is_signed:
        if public_key is None or manifest.published_set:
            return [], None
        return [f"{SUMS_SIGNATURE}: expected a signature of the given key, found none"], None
    try:
        certificate = public_key or openpgp.read_public_key(
            (directory / PUBLIC_KEY_FILE).read_bytes()
        )
    except OSError as error:
        return [f"{PUBLIC_KEY_FILE}: {error.strerror}"], None
    except HomeError as error:
        return [f"{PUBLIC_KEY_FILE}: {error}"], None
    signatures = SetSignatures(directory, certificate)
    faults = list(signatures.faults(sums))
    fingerprint = certificate.fingerprint.upper()
    signing, count = manifest.signing, len(openpgp.signed_names(sums))
    if signing and (signing.key, signing.files) != (fingerprint, count):
        faults.append(
            f"{MANIFEST_FILE}: expected {signing.files} files signed with {signing.key}, found"
            f" {count} and the key {fingerprint}"
        )
    if faults:
        return faults, None
    which = "the given key" if public_key else f"the key in {PUBLIC_KEY_FILE}"
    notes.append(f"signed by {signatures.key_name}, {which}: {count + 1:,} signatures are valid")
    if public_key is None:
        notes.append("compare the fingerprint with the publisher's, or give the key with --key")
    return [], fingerprint


def _find_links(directory: Path) -> Iterator[str]:
    """Yield the symbolic links below a set: what is behind them may change, and a set has none."""
    for folder, folders, files in os.walk(directory):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            if path.is_symlink():
                yield f"{path.relative_to(directory)}: is a symbolic link, to {path.readlink()}"


def _compare_sums(sums: Mapping[str, str], digests: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(sums.keys() | digests.keys()):
        if name not in digests:
            yield f"{name}: is missing"
        elif name not in sums:
            yield f"{name}: is not in {SUMS_FILE}"
        elif digests[name] != sums[name]:
            yield f"{name}: expected SHA-256 {sums[name]}, found {digests[name]}"


def _compare_previous(directory: Path, manifest: RunManifest, notes: list[str]) -> Iterator[str]:
    """Yield a fault if the set before this one is there, and is not the one that was replaced."""
    previous = manifest.previous
    if previous is None:
        return
    path = directory.resolve().parent / previous.directory / MANIFEST_FILE
    if not path.exists():
        notes.append(f"the set before it, {previous.directory}, is not here")
    elif not has_sha256(path, previous.manifest_sha256):
        yield f"{path}: expected the manifest of the set before it, found another one"


def find_altered_files(session: DomainSession) -> tuple[int, list[StoreFault]]:
    """Hash the tables, their rejects, the run directories and the history copy of a domain.

    Returns the number of files, and those that are missing or altered.
    """
    home, name = session.home, session.domain.name
    expected = dict(_recorded_digests(session))
    faults = []
    with open_signatures(home.signatures(name)) as signatures:
        signatures.clear()
        for path, sha256 in sorted(expected.items()):
            if not signatures.has_digest(path, sha256):
                fault = Fault.ALTERED if path.exists() else Fault.MISSING
                faults.append(StoreFault(path=home.relative(path), fault=fault))
    return len(expected), faults


def find_damaged_runs(session: DomainSession) -> list[Path]:
    """Return the run directories with a missing or altered file, except the published set."""
    home, name = session.home, session.domain.name
    _, faults = find_altered_files(session)
    published = run_directory.published_directory(home, name)
    return [
        directory
        for directory in run_directory.list_directories(home, name)
        if directory != published
        and any((home.root / fault.path).is_relative_to(directory) for fault in faults)
    ]


def _recorded_digests(session: DomainSession) -> Iterator[tuple[Path, str]]:
    """Yield each file with the SHA-256 that it was written with."""
    home, name = session.home, session.domain.name
    for state in session.read_sources().values():
        for result in state.tables.values():
            for name_in_home, digest in result.table.files.items():
                yield home.root / name_in_home, digest
    for directory in reversed(list(run_directory.list_runs(home, name))):
        for file, sha256 in _recorded_digests_of_run(directory).items():
            yield directory / file, sha256
        previous = _read_previous(directory)
        if previous and (path := home.outputs(name) / previous.directory / MANIFEST_FILE).exists():
            yield path, previous.manifest_sha256
    if history_sha256 := chain.read_head(home, name).history_sha256:
        yield home.history_copy(name), history_sha256


def _recorded_digests_of_run(directory: Path) -> dict[str, str]:
    """Return the sums of a run; if they cannot be read, they are a file with no digest."""
    try:
        return run_directory.read_sums(directory)
    except HomeError:
        # A run of an older version that published nothing has none.
        is_old = run_directory.read_sequence(directory) == 0
        return {} if is_old else {SUMS_FILE: ""}


def _read_previous(directory: Path) -> PublishedLink | None:
    try:
        return run_directory.read_manifest(directory).previous
    except HomeError:
        return None  # its sum differs too
