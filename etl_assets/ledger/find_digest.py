"""What a digest is of: a raw file, a published file or a quarantined one, in this home.

Everything is read from the ledger, from run directories and from quarantine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import AwareDatetime, Field

from etl_assets.ledger.manifest import load_manifests
from etl_assets.model.display_text import format_count, list_some
from etl_assets.model.errors import NotFoundError
from etl_assets.model.home import Home
from etl_assets.model.records import Record, Sha256, parse_digits
from etl_assets.publish import run_directory
from etl_assets.validate import quarantine

MIN_DIGITS = 6  # fewer digits match by chance


class FoundFile(Record):
    """A file with the digest; `runs` are the run directories that used or published it."""

    kind: Literal["raw", "published", "quarantined"]
    sha256: Sha256
    name: str = Field(description="the source with its partition, or the file of the set")
    domain: str
    path: str = Field(description="relative to ETL_HOME")
    is_stored: bool
    url: str | None = None
    etag: str | None = None
    fetched_at: AwareDatetime | None = None
    reason: str | None = Field(default=None, description="why it is in quarantine")
    runs: list[str] = []

    def lines(self) -> Iterator[str]:
        """Yield the text for a terminal."""
        yield self.sha256
        yield f"  {self.kind} file: {self.name}" + (
            f" of {self.domain}" if self.kind == "published" else ""
        )
        if self.url:
            at = f", fetched {self.fetched_at:%Y-%m-%d %H:%M} UTC" if self.fetched_at else ""
            yield f"  from {self.url}{at}" + (f", ETag {self.etag}" if self.etag else "")
        if self.reason:
            yield f"  {self.reason}"
        yield f"  {self.path}" + ("" if self.is_stored else ", which is no longer stored")
        if self.runs:
            yield f"  in {format_count(len(self.runs), 'run')}: {list_some(self.runs)}"


def find_digest(home: Home, digits: str) -> list[FoundFile]:
    """Return the files whose SHA-256 begins with the digits, each name once, with all its runs.

    Raises UsageError if these are no digits, too few or too many, NotFoundError if there is no such
    file.
    """
    digits = parse_digits(digits, least=MIN_DIGITS)
    found: dict[tuple[str, str, str, str], FoundFile] = {}
    for file in (*_in_runs(home, digits), *_in_ledger(home, digits), *_quarantined(home, digits)):
        key = (file.kind, file.domain, file.name, file.sha256)
        runs = list(dict.fromkeys([*(found[key].runs if key in found else []), *file.runs]))
        found[key] = found.get(key, file).model_copy(update={"runs": runs})
    if not found:
        raise NotFoundError(
            f"no file with SHA-256 {digits} is in the ledger, in a kept run or in quarantine of "
            f"{home.root}"
        )
    return list(found.values())


def _in_runs(home: Home, digits: str) -> Iterator[FoundFile]:
    for domain in run_directory.list_domains(home):
        for directory in run_directory.list_runs(home, domain):
            for source in run_directory.read_manifest(directory).sources:
                if source.sha256 and source.sha256.startswith(digits):
                    path = home.raw_file(source.sha256)
                    yield FoundFile(
                        kind="raw",
                        sha256=source.sha256,
                        name=source.name,
                        domain=domain,
                        path=home.relative(path),
                        is_stored=path.is_file(),
                        url=source.url,
                        etag=source.etag,
                        fetched_at=source.fetched_at,
                        runs=[directory.name],
                    )
            for name, sha256 in run_directory.read_sums(directory).items():
                if sha256.startswith(digits):
                    yield FoundFile(
                        kind="published",
                        sha256=sha256,
                        name=name,
                        domain=domain,
                        path=home.relative(directory / name),
                        is_stored=(directory / name).is_file(),
                        runs=[directory.name],
                    )


def _in_ledger(home: Home, digits: str) -> Iterator[FoundFile]:
    for domain, _, manifest in load_manifests(home):
        for record in manifest.records.values():
            for sha256 in record.raw_digests:
                if sha256.startswith(digits):
                    path = home.raw_file(sha256)
                    yield FoundFile(
                        kind="raw",
                        sha256=sha256,
                        name=str(record.part),
                        domain=domain,
                        path=home.relative(path),
                        is_stored=path.is_file(),
                    )


def _quarantined(home: Home, digits: str) -> Iterator[FoundFile]:
    for record in quarantine.list_all_quarantined(home):
        if record.sha256.startswith(digits):
            yield FoundFile(
                kind="quarantined",
                sha256=record.sha256,
                name=str(record.part),
                domain=record.part.source.domain,
                path=record.path,
                is_stored=(home.root / record.path).is_file(),
                url=record.url,
                reason=f"expected {record.expected}, found {record.actual}",
            )
