"""The decision whether a file is fetched, with its reason.

Only comparisons of records belong here; probing and fetching are modules of their own.
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
"""A reason to fetch, with the detail that the decision shows."""

NOT_STORED = {StoredState.MISSING: Reason.FILE_MISSING, StoredState.DAMAGED: Reason.FILE_DAMAGED}
OUTAGES = frozenset({FetchStatus.OUTAGE, FetchStatus.MISSING})


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
    """Returns whether the part is fetched, for the first cause that applies.

    A pin comes before everything, even `force`. `stored` is the state of the last file in the raw
    store. A missing remote file of the newest period (`is_newest`) is no outage.
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
    causes = _local_causes(last, file, stored, code_version)
    cause = next(causes, None) or next(_remote_causes(source, probe, file, now), None)
    if cause:
        reason, detail = cause
        return Decision(part=part, fetch=True, reason=reason, detail=detail)
    evidence = _evidence(source, probe, file)
    return Decision(part=part, fetch=False, reason=Reason.UP_TO_DATE, detail=evidence)


def decide_without_probe(
    part: Part, last: FetchResult | None, *, stored: StoredState
) -> Decision | None:
    """Returns the decision to keep the stored file without a probe; None if none is stored."""
    if last is None or last.file is None or stored in NOT_STORED:
        return None
    if last.pin:
        return Decision(part=part, fetch=False, reason=Reason.PINNED, detail=str(last.pin))
    fetched = f"fetched {last.file.fetched_at.isoformat()}"
    return Decision(part=part, fetch=False, reason=Reason.ALREADY_STORED, detail=fetched)


def _local_causes(
    last: FetchResult, file: RawFile, stored: StoredState, code_version: str
) -> Iterator[Cause]:
    """Yields the causes that do not depend on the remote."""
    if stored in NOT_STORED:
        yield NOT_STORED[stored], file.path
    if last.status in OUTAGES:
        yield Reason.LAST_WAS_OUTAGE, last.fault or ""
    if file.code_version != code_version:
        yield Reason.CODE_CHANGED, _format_change(file.code_version, code_version)


def _remote_causes(source: Source, probe: Probe, file: RawFile, now: datetime) -> Iterator[Cause]:
    remote = probe.validators
    if remote is None:
        yield Reason.PROBE_FAILED, probe.fault or "the remote was not reached"
    elif remote.published_sha256 is not None:
        # The digest alone decides: some servers change an ETag without changing the file.
        digest = source.location.digest
        is_of_file = digest is not None and digest.of == "file"
        last_sha256 = file.sha256 if is_of_file else file.published_sha256
        if last_sha256 != remote.published_sha256:
            yield Reason.DIGEST_CHANGED, _format_change(last_sha256, remote.published_sha256)
    else:
        yield from _changed_validators(remote, file)
        yield from _interval_causes(source, remote, file, now)


def _changed_validators(remote: Validators, file: RawFile) -> Iterator[Cause]:
    """Yields every validator that both sides have and that differs.

    The fetch then compares the content, so that a wrong cause costs only a download.
    """
    # A weak and a strong ETag of one value are equal here (RFC 9110, 8.8.3.2: weak comparison).
    if remote.etag and file.etag and remote.etag.removeprefix("W/") != file.etag.removeprefix("W/"):
        yield Reason.ETAG_CHANGED, _format_change(file.etag, remote.etag)
    if remote.last_modified and file.last_modified and remote.last_modified != file.last_modified:
        change = _format_change(file.last_modified, remote.last_modified)
        yield Reason.LAST_MODIFIED_CHANGED, change
    if remote.size_bytes is not None and remote.size_bytes != file.size_bytes:
        yield (
            Reason.LENGTH_CHANGED,
            _format_change(f"{file.size_bytes:,}", f"{remote.size_bytes:,}"),
        )


def _interval_causes(
    source: Source, remote: Validators, file: RawFile, now: datetime
) -> Iterator[Cause]:
    """Yields a cause if no validator proves equality and the minimum interval has passed.

    The interval is for remotes that never send one. A remote that no longer sends its ETag may be
    serving an error page, which only a download shows.
    """
    if _proofs_of_equality(remote, file):
        return
    if file.etag and not remote.etag:
        yield Reason.ETAG_GONE, f"was {file.etag}"
    elapsed = now - file.fetched_at
    interval = timedelta(minutes=source.limits.min_interval_minutes)
    if elapsed >= interval or elapsed < timedelta(0):  # negative: the clock was set back
        yield Reason.NO_VALIDATOR, f"last fetched {file.fetched_at.isoformat()}"


def _proofs_of_equality(remote: Validators, file: RawFile) -> list[str]:
    """Returns the validators that both sides have, which `_changed_validators` compares.

    A weak ETag or a length alone proves nothing: other bytes may have the same.
    """
    proofs = []
    if remote.etag and file.etag and not remote.etag.startswith("W/"):
        proofs.append("ETag")
    if remote.last_modified and file.last_modified:
        proofs.append("Last-Modified")
    return proofs


def _evidence(source: Source, probe: Probe, file: RawFile) -> str:
    """Returns why the stored file counts as up to date."""
    remote = probe.validators or Validators()
    if remote.published_sha256:
        return "published digest unchanged"
    if proofs := _proofs_of_equality(remote, file):
        return f"{' and '.join(proofs)} unchanged"
    minutes = source.limits.min_interval_minutes
    return f"no validator; fetched less than {minutes:g} minutes ago"


def _format_change(old: object, new: object) -> str:
    return f"{_format_value(old)} -> {_format_value(new)}"


def _format_value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
