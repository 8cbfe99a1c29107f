"""A second reading of the decision rules, straight from the raw feeds, in plain Python.

Tests hold what is published against it. It shares no code and no SQL with the project, so that a
slip in one of the two shows; what is no decision (sentences, scores, history) is not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from domains.advisories.raw_feeds import Feeds, Pair, Says, read
from domains.advisories.versions import is_above, is_rebuild, lineage, rank

TARGETS = ("sid", "forky", "trixie", "bookworm")
FINAL = frozenset({"fixed", "not_applicable", "wont_fix"})
UPSTREAM_RULES = {
    "fixed": ("fixed", "UPSTREAM_FIX", "medium"),
    "fixed_unproven": ("pending_upstream", "LINEAGE_UNPROVEN", "medium"),
    "not_affected": ("not_applicable", "DISTRO_NOT_AFFECTED", "high"),
    "wont_fix": ("wont_fix", "DISTRO_WONT_FIX", "high"),
    "fixed_elsewhere": ("pending_upstream", "AWAITING_FIX", "medium"),
    "open": ("pending_upstream", "AWAITING_FIX", "medium"),
}
UPSTREAM_PRIORITIES = {
    "fixed": {"debian": 33, "osv": 34},
    "not_affected": {"debian": 40},
    "wont_fix": {"debian": 50},
    "fixed_unproven": {"debian": 59, "osv": 59},
    "fixed_elsewhere": {"debian": 60, "osv": 60},
    "open": {"debian": 61, "osv": 61},
}


@dataclass(frozen=True, slots=True)
class Claim:
    """One source's word on a pair, with what the rules make of it."""

    priority: int
    source: str
    what: str
    state: str
    reason: str
    confidence: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be published of a pair."""

    state: str
    version: str | None
    reason: str
    confidence: str
    source: str
    """the one that decided"""
    contributing: list[str]
    dissenting: list[str]

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


def decisions(
    mirror: Path, *, as_of: datetime, targets: Sequence[str] = TARGETS
) -> dict[Pair, Decision]:
    """What the rules say of every pair that was first seen in the year of `as_of`."""
    feeds = read(mirror)
    return {pair: decide(feeds, pair, as_of=as_of, targets=targets) for pair in feeds.pairs}


def decide(feeds: Feeds, pair: Pair, *, as_of: datetime, targets: Sequence[str]) -> Decision:
    claims = sorted(_claims(feeds, pair, as_of, targets), key=lambda c: (c.priority, c.source))
    winner = claims[0]
    witnesses = [winner, *(c for c in claims[1:] if not _repeats_the_ruling(feeds, pair, c))]
    contributing = {c.source for c in witnesses if c.state == winner.state}
    others = {c.source for c in witnesses if c.state != winner.state and c.state in FINAL}
    return Decision(
        state=winner.state,
        version=winner.version if winner.state == "fixed" else None,
        reason=winner.reason,
        confidence=winner.confidence,
        source=winner.source,
        contributing=sorted(contributing),
        dissenting=sorted(others - contributing),
    )


def _repeats_the_ruling(feeds: Feeds, pair: Pair, claim: Claim) -> bool:
    """The vendor's feed is built from the rulings: what it repeats of one is no second witness."""
    ruling = feeds.ruling(pair)
    if ruling is None or claim.source != "echo":
        return False
    is_same_version = claim.version is not None and claim.version == ruling["fixed_version"]
    return claim.what == "sentinel" or is_same_version


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
    """Whether a target release names a later fix within the version's own lineage."""
    return any(
        lineage(says.version) == lineage(version) and is_above(says.version, version)
        for statements in feeds.upstreams.values()
        for release, says in _by_release(statements.get(pair, {})).items()
        if release in targets and says.what == "fixed"
    )


def _upstream_claims(
    feeds: Feeds, source: str, pair: Pair, targets: Sequence[str]
) -> Iterator[Claim]:
    if releases := feeds.upstreams[source].get(pair):
        verdict, version = _verdict(feeds, pair, _by_release(releases), targets)
        priority = UPSTREAM_PRIORITIES[verdict][source]
        yield Claim(priority, source, verdict, *UPSTREAM_RULES[verdict], version)


def _by_release(releases: Mapping[str, list[Says]]) -> dict[str, Says]:
    """One word for each release: a fix closes it, with the highest of several."""
    return {release: _loudest(words) for release, words in releases.items()}


def _loudest(words: Sequence[Says]) -> Says:
    if fixes := [says for says in words if says.what == "fixed"]:
        return max(fixes, key=lambda says: rank(says.version))
    return next((says for says in words if says.what == "open"), words[0])


def _verdict(
    feeds: Feeds, pair: Pair, by_release: Mapping[str, Says], targets: Sequence[str]
) -> tuple[str, str | None]:
    """The first verdict that holds, with its version."""
    spoken = [release for release in targets if release in by_release]
    fixes = _fixes_above_any_open(by_release, spoken)
    if proven := [fix for fix in fixes if _is_proven(feeds, pair, fix)]:
        return "fixed", _best_fix(proven, feeds.newest.get(pair[0]))
    if fixes:
        return "fixed_unproven", fixes[0]
    return _verdict_without_fix(by_release, spoken), None


def _verdict_without_fix(by_release: Mapping[str, Says], spoken: Sequence[str]) -> str:
    is_open = any(by_release[release].what == "open" for release in spoken)
    if spoken and not is_open and by_release[spoken[0]].what == "not_affected":
        return "not_affected"
    counted = [release for release in spoken if release != "sid"] or spoken
    if counted and all(by_release[release].is_given_up for release in counted):
        return "wont_fix"
    fixed = {release for release, says in by_release.items() if says.what == "fixed"}
    return "fixed_elsewhere" if fixed and fixed.isdisjoint(spoken) else "open"


def _fixes_above_any_open(by_release: Mapping[str, Says], spoken: Iterable[str]) -> list[str]:
    """The fixes of target releases, newest first, down to the first release that is open."""
    fixes = []
    for release in spoken:
        if by_release[release].what == "open":
            break
        if by_release[release].what == "fixed":
            fixes.append(by_release[release].version)
    return fixes


def _is_proven(feeds: Feeds, pair: Pair, fix: str) -> bool:
    """Whether the fix is above what the vendor ships of the package and still lists the id for."""
    newest, listed = feeds.newest.get(pair[0]), feeds.vendor.get(pair)
    if newest is None or listed is None or listed.get("fixed_version"):
        return True
    return not is_rebuild(newest) and is_above(fix, newest)


def _best_fix(proven: Sequence[str], newest: str | None) -> str:
    """The smallest above the vendor's newest version; without one, the newest release's."""
    above = [fix for fix in proven if newest is not None and is_above(fix, newest)]
    return min(above, key=rank) if above else proven[0]


def _is_old(vulnerability_id: str, as_of: datetime) -> bool:
    match = re.match(r"CVE-(\d{4})-", vulnerability_id)
    return match is not None and int(match[1]) <= as_of.year - 2
