"""The decision rules once more, in plain Python over the raw feeds, as a reference for tests.

It shares no code and no SQL with the project, so that an error in either of the two is found. It
has no sentences, scores or history.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from domains.advisories.debian_versions import is_above, is_rebuild, lineage, rank
from domains.advisories.raw_feeds import Feeds, Pair, Statement, read_feeds

TARGETS = ("sid", "forky", "trixie", "bookworm")
FINAL = frozenset({"fixed", "not_applicable", "wont_fix"})
UPSTREAM_RULES = {
    "fixed": ("fixed", "UPSTREAM_FIX", "medium"),
    "fixed_unproven": ("pending_upstream", "LINEAGE_UNPROVEN", "medium"),
    "not_affected": ("not_applicable", "DISTRO_NOT_AFFECTED", "high"),
    "not_affected_unsure": ("not_applicable", "DISTRO_NOT_AFFECTED", "medium"),
    "wont_fix": ("wont_fix", "DISTRO_WONT_FIX", "high"),
    "fixed_elsewhere": ("pending_upstream", "AWAITING_FIX", "medium"),
    "open": ("pending_upstream", "AWAITING_FIX", "medium"),
}
UPSTREAM_PRIORITIES = {
    "fixed": {"debian": 33, "osv": 34},
    "not_affected": {"debian": 40, "osv": 40},
    "not_affected_unsure": {"debian": 40, "osv": 40},
    "wont_fix": {"debian": 50},
    "fixed_unproven": {"debian": 59, "osv": 59},
    "fixed_elsewhere": {"debian": 60, "osv": 60},
    "open": {"debian": 61, "osv": 61},
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What one source states about a pair, and the decision if this claim wins."""

    priority: int
    source: str
    kind: str
    state: str
    reason: str
    confidence: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The expected decision on a pair."""

    state: str
    version: str | None
    reason: str
    confidence: str
    source: str
    """The source of the winning claim."""
    contributing: list[str]
    dissenting: list[str]

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


def decisions(
    mirror: Path, *, as_of: datetime, targets: Sequence[str] = TARGETS
) -> dict[Pair, Decision]:
    """Returns the decision on each pair, as if it was first published at `as_of`."""
    feeds = read_feeds(mirror)
    return {pair: decide(feeds, pair, as_of=as_of, targets=targets) for pair in feeds.pairs}


def decide(feeds: Feeds, pair: Pair, *, as_of: datetime, targets: Sequence[str]) -> Decision:
    claims = sorted(_claims(feeds, pair, as_of, targets), key=lambda c: (c.priority, c.source))
    winner = claims[0]
    independent_claims = [winner]
    independent_claims += [c for c in claims[1:] if not _repeats_ruling(feeds, pair, c)]
    contributing = {c.source for c in independent_claims if c.state == winner.state}
    others = {c.source for c in independent_claims if c.state != winner.state and c.state in FINAL}
    return Decision(
        state=winner.state,
        version=winner.version if winner.state == "fixed" else None,
        reason=winner.reason,
        confidence=winner.confidence,
        source=winner.source,
        contributing=sorted(contributing),
        dissenting=sorted(others - contributing),
    )


def _repeats_ruling(feeds: Feeds, pair: Pair, claim: Claim) -> bool:
    """True if the claim of the vendor repeats a ruling: its feed is built from the rulings."""
    ruling = feeds.ruling(pair)
    if ruling is None or claim.source != "echo":
        return False
    is_same_version = claim.version is not None and claim.version == ruling["fixed_version"]
    return claim.kind == "sentinel" or is_same_version


def _claims(feeds: Feeds, pair: Pair, as_of: datetime, targets: Sequence[str]) -> Iterator[Claim]:
    yield from _ruling_claims(feeds, pair)
    yield from _nvd_claims(feeds, pair)
    yield from _vendor_claims(feeds, pair, targets)
    for source in feeds.upstreams:
        yield from _upstream_claims(feeds, source, pair, targets)
    if pair[1] in feeds.exploited:
        yield Claim(65, "kev", "exploited", "pending_upstream", "AWAITING_FIX", "medium")
    if pair in feeds.vendor:
        reason = "NO_ASSESSMENT" if _is_old(pair[1], as_of) else "NEW_CVE"
        yield Claim(70, "echo", "listed", "under_investigation", reason, "low")


def _ruling_claims(feeds: Feeds, pair: Pair) -> Iterator[Claim]:
    if ruling := feeds.ruling(pair):
        status = ruling["status"]
        version = ruling["fixed_version"] if status == "fixed" else None
        yield Claim(10, "overrides", "ruling", status, "CSV_OVERRIDE", "high", version)


def _nvd_claims(feeds: Feeds, pair: Pair) -> Iterator[Claim]:
    record = feeds.nvd.get(pair[1])
    if record and record.is_rejected:
        confidence = "medium" if feeds.vendor_version(pair) else "high"
        yield Claim(20, "nvd", "rejected", "not_applicable", "NVD_REJECTED", confidence)
    elif record and record.is_scored:
        yield Claim(64, "nvd", "scored", "pending_upstream", "AWAITING_FIX", "medium")


def _vendor_claims(feeds: Feeds, pair: Pair, targets: Sequence[str]) -> Iterator[Claim]:
    if version := feeds.vendor_version(pair):
        confidence = "medium" if _is_below_own_fix(feeds, pair, version, targets) else "high"
        yield Claim(30, "echo", "fixed", "fixed", "UPSTREAM_FIX", confidence, version)
    elif feeds.is_sentinel(pair):
        yield Claim(32, "echo", "sentinel", "not_applicable", "VENDOR_NOT_AFFECTED", "medium")


def _is_below_own_fix(feeds: Feeds, pair: Pair, version: str, targets: Sequence[str]) -> bool:
    """True if a target release has a later fix of the same lineage as the version."""
    for release, (_, statement) in _joined(feeds, pair).items():
        if release not in targets or statement.kind != "fixed":
            continue
        is_same_lineage = lineage(statement.version) == lineage(version)
        if is_same_lineage and is_above(statement.version, version):
            return True
    return False


def _upstream_claims(
    feeds: Feeds, source: str, pair: Pair, targets: Sequence[str]
) -> Iterator[Claim]:
    joined = _joined(feeds, pair)
    by_release = _by_release(feeds.upstreams[source].get(pair, {}))
    own = {
        release: one
        for release, one in by_release.items()
        if release in joined and (joined[release][0] == source or _agree(one, joined[release][1]))
    }
    if own:
        all_releases = {release: one for release, (_, one) in joined.items()}
        verdict, version = _verdict(feeds, pair, own, all_releases, targets)
        priority = UPSTREAM_PRIORITIES[verdict][source]
        yield Claim(priority, source, verdict, *UPSTREAM_RULES[verdict], version)


def _agree(one: Statement, tracked: Statement) -> bool:
    """True if a statement of OSV says what the tracker says on the release."""
    if tracked.is_wont_fix or one.kind != tracked.kind:
        return False
    return one.kind != "fixed" or rank(one.version) == rank(tracked.version)


def _joined(feeds: Feeds, pair: Pair) -> dict[str, tuple[str, Statement]]:
    """Returns one statement per release, with its source: the tracker's before that of OSV."""
    joined = {}
    for source in ("osv", "debian"):
        for release, statement in _by_release(feeds.upstreams[source].get(pair, {})).items():
            if statement.kind != "undetermined":
                joined[release] = (source, statement)
    return joined


def _by_release(releases: Mapping[str, list[Statement]]) -> dict[str, Statement]:
    """Returns one statement per release: the highest fix, else an open one, else the first."""
    return {release: _select(statements) for release, statements in releases.items()}


def _select(statements: Sequence[Statement]) -> Statement:
    if fixes := [statement for statement in statements if statement.kind == "fixed"]:
        return max(fixes, key=lambda statement: rank(statement.version))
    return next((one for one in statements if one.kind == "open"), statements[0])


def _verdict(
    feeds: Feeds,
    pair: Pair,
    own: Mapping[str, Statement],
    joined: Mapping[str, Statement],
    targets: Sequence[str],
) -> tuple[str, str | None]:
    """Returns the first verdict that applies to a source's own statements, and its version."""
    listed = [release for release in targets if release in joined]
    fixes = []
    for release in listed:
        if joined[release].kind == "open":
            break
        if release in own and own[release].kind == "fixed":
            fixes.append(own[release].version)
    if proven := [fix for fix in fixes if _is_proven(feeds, pair, fix)]:
        return "fixed", _best_fix(proven, feeds.newest.get(pair[0]))
    if fixes:
        return "fixed_unproven", fixes[0]
    if _is_never_affected(own, joined, listed):
        tracker = _by_release(feeds.upstreams["debian"].get(pair, {}))
        newer = targets[: targets.index(listed[0])]
        is_unsure = any(
            release in tracker and tracker[release].kind == "undetermined" for release in newer
        )
        return ("not_affected_unsure" if is_unsure else "not_affected"), None
    return _verdict_without_fix(own, joined, listed), None


def _is_never_affected(
    own: Mapping[str, Statement], joined: Mapping[str, Statement], listed: Sequence[str]
) -> bool:
    if not listed or any(joined[release].kind == "open" for release in listed):
        return False
    return listed[0] in own and own[listed[0]].kind == "not_affected"


def _verdict_without_fix(
    own: Mapping[str, Statement], joined: Mapping[str, Statement], listed: Sequence[str]
) -> str:
    # sid gets no security advisories, so it counts only if it is the only target release.
    voting = [release for release in listed if release != "sid"] or listed
    is_given_up = bool(voting) and all(joined[release].is_wont_fix for release in voting)
    if is_given_up and not own.keys().isdisjoint(voting):
        return "wont_fix"
    fixed_releases = {name for name, one in own.items() if one.kind == "fixed"}
    if fixed_releases and fixed_releases.isdisjoint(listed):
        return "fixed_elsewhere"
    return "open"


def _is_proven(feeds: Feeds, pair: Pair, fix: str) -> bool:
    """False if the vendor lists the id without a fix, but ships the fix or a rebuild."""
    newest, entry = feeds.newest.get(pair[0]), feeds.vendor.get(pair)
    if newest is None or entry is None or entry.get("fixed_version"):
        return True
    return not is_rebuild(newest) and is_above(fix, newest)


def _best_fix(proven: Sequence[str], newest: str | None) -> str:
    """Returns the lowest fix above the vendor's version, else that of the newest release."""
    above = [fix for fix in proven if newest is not None and is_above(fix, newest)]
    return min(above, key=rank) if above else proven[0]


def _is_old(vulnerability_id: str, as_of: datetime) -> bool:
    match = re.match(r"CVE-(\d{4})-", vulnerability_id)
    return match is not None and int(match[1]) <= as_of.year - 2
