"""Decide whether a file is fetched, and say why.

Only comparing what is known belongs here: nothing is asked, read or written.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from etl_assets.declarations.source import Source
from etl_assets.model.records import (
    Decision,
    FetchResult,
    FetchStatus,
    Part,
    Probe,
    RawFile,
    Reason,
    StoredState,
    Validators,
)

Cause = tuple[Reason, str]
NOT_STORED = {StoredState.MISSING: Reason.FILE_MISSING, StoredState.DAMAGED: Reason.FILE_DAMAGED}
OUT = frozenset({FetchStatus.OUTAGE, FetchStatus.MISSING})


def decide(
    source: Source,
    part: Part,
    probe: Probe,
    last: FetchResult | None,
    *,
    stored: StoredState,
    force: bool,
    code_version: str,
    now: datetime,
    is_newest: bool,
) -> Decision:
    """Whether the part is fetched; the first cause found is the reason, and a pin goes before all.

    `stored` is the state of the last file in the raw store. A missing remote file of the newest
    period (`is_newest`) is no outage.
    """
    file = last.file if last else None
    if last and last.pin:
        return Decision(part=part, fetch=False, reason=Reason.PINNED, detail=str(last.pin))
    if not probe.published and is_newest and file is None:
        return Decision(part=part, fetch=False, reason=Reason.NOT_YET_PUBLISHED)
    if force:
        return Decision(part=part, fetch=True, reason=Reason.FORCED)
    if last is None or file is None:
        return Decision(part=part, fetch=True, reason=Reason.NO_RECORD)
    causes = [
        *_own_causes(last, file, stored, code_version),
        *_remote_causes(source, probe, file, now),
    ]
    if causes:
        reason, detail = causes[0]
        return Decision(part=part, fetch=True, reason=reason, detail=detail)
    return Decision(
        part=part, fetch=False, reason=Reason.UP_TO_DATE, detail=_evidence(source, probe, file)
    )


def decide_without_probe(
    part: Part, last: FetchResult | None, *, stored: StoredState
) -> Decision | None:
    """The decision that spares a part whose file is held the question; None where none is held."""
    if last is None or last.file is None or stored in NOT_STORED:
        return None
    if last.pin:
        return Decision(part=part, fetch=False, reason=Reason.PINNED, detail=str(last.pin))
    fetched = f"fetched {last.file.fetched_at.isoformat()}"
    return Decision(part=part, fetch=False, reason=Reason.HELD, detail=fetched)


def _own_causes(
    last: FetchResult, file: RawFile, stored: StoredState, code_version: str
) -> Iterator[Cause]:
    """What speaks for a fetch whatever the remote says."""
    if stored in NOT_STORED:
        yield NOT_STORED[stored], file.path
    if last.status in OUT:
        yield Reason.LAST_WAS_OUTAGE, last.fault or ""
    if file.code_version != code_version:
        yield Reason.CODE_CHANGED, _change(file.code_version, code_version)


def _remote_causes(source: Source, probe: Probe, file: RawFile, now: datetime) -> Iterator[Cause]:
    found = probe.validators
    if found is None:
        yield Reason.PROBE_FAILED, probe.fault or "the remote was not reached"
    elif found.published_sha256 is not None:
        yield from _digest_cause(source, found.published_sha256, file)
    else:
        yield from _validator_causes(found, file)
        yield from _interval_cause(source, found, file, now)


def _digest_cause(source: Source, published: str, file: RawFile) -> Iterator[Cause]:
    """An unchanged digest settles it: a server that moves its ETag without cause costs nothing."""
    known = _known_digest(source, file)
    if known != published:
        yield Reason.DIGEST_CHANGED, _change(known, published)


def _known_digest(source: Source, file: RawFile) -> str | None:
    digest = source.location.digest
    if digest is not None and digest.of == "file":
        return file.sha256
    return file.published_sha256


def _validator_causes(found: Validators, file: RawFile) -> Iterator[Cause]:
    """Any validator that both sides know and that moved; the content's hash has the last word."""
    if found.etag and file.etag and _opaque(found.etag) != _opaque(file.etag):
        yield Reason.ETAG_CHANGED, _change(file.etag, found.etag)
    if found.last_modified and file.last_modified and found.last_modified != file.last_modified:
        yield Reason.LAST_MODIFIED_CHANGED, _change(file.last_modified, found.last_modified)
    if found.size_bytes is not None and found.size_bytes != file.size_bytes:
        yield Reason.LENGTH_CHANGED, _change(f"{file.size_bytes:,}", f"{found.size_bytes:,}")


def _interval_cause(
    source: Source, found: Validators, file: RawFile, now: datetime
) -> Iterator[Cause]:
    """Without a validator that proves equality, only a download can tell: from time to time.

    The interval is for remotes that never state any; one that has stopped may be serving an error.
    """
    if _proofs(found, file):
        return
    if file.etag and not found.etag:
        yield Reason.ETAG_GONE, f"was {file.etag}"
    waited = now - file.fetched_at
    interval = timedelta(minutes=source.limits.min_interval_minutes)
    if waited >= interval or waited < timedelta(0):  # the clock was set back
        yield Reason.NO_VALIDATOR, f"last fetched {file.fetched_at.isoformat()}"


def _proofs(found: Validators, file: RawFile) -> list[str]:
    """Validators that are equal on both sides; a weak ETag or a length alone proves nothing."""
    proofs = []
    if found.etag and file.etag and not found.etag.startswith("W/"):
        proofs.append("ETag")
    if found.last_modified and file.last_modified:
        proofs.append("Last-Modified")
    return proofs


def _evidence(source: Source, probe: Probe, file: RawFile) -> str:
    found = probe.validators or Validators()
    if found.published_sha256:
        return "published digest unchanged"
    if proofs := _proofs(found, file):
        return f"{' and '.join(proofs)} unchanged"
    minutes = source.limits.min_interval_minutes
    return f"no validator; fetched less than {minutes:g} minutes ago"


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/")


def _change(old: object, new: object) -> str:
    shown = [
        value.isoformat() if isinstance(value, datetime) else str(value) for value in (old, new)
    ]
    return " -> ".join(shown)
