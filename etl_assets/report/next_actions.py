"""What a person may do about a run: what to look at, and which command answers.

Only cases that wait for a person are named; an outage ends by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etl_assets.model.records import FetchStatus, QuarantinedFile
from etl_assets.model.run_manifest import RunManifest, RunSource

ACCEPT = "--accept-changes"
SHOWN_DIGITS = 12


def next_actions(
    manifest: RunManifest, quarantined: Sequence[QuarantinedFile], *, gate: str, directory: str
) -> list[str]:
    """One line for each case; `quarantined` are the files that this run has set aside."""
    found = list(_of_gate(manifest, gate, directory))
    for source in manifest.outages:
        aside = [record for record in quarantined if str(record.part) == source.name]
        found += _of_source(manifest.domain, source, aside)
    return found


def _of_gate(manifest: RunManifest, gate: str, directory: str) -> Iterator[str]:
    if any((check.asset, check.name) == (gate, "gate") for check in manifest.failed_checks):
        yield (
            f"look at {directory}/run_report.html: the gate refused this candidate; where only"
            f" limits speak against it and it is right: `etl run {manifest.domain} {ACCEPT}`"
        )


def _of_source(domain: str, source: RunSource, aside: Sequence[QuarantinedFile]) -> Iterator[str]:
    if source.status is FetchStatus.PINNED:
        yield (
            f"end the pin of {source.name} when it has served:"
            f" `etl unpin {_quoted(source)} --why TEXT`"
        )
    elif source.fault and ACCEPT in source.fault:
        yield (
            f"look at the newest file of {source.name}: it was refused as a table; if it is right:"
            f" `etl run {domain} {ACCEPT}`"
        )
    elif source.refused_sha256:
        yield (
            f"look at the newest file of {source.name}, {source.refused_sha256[:SHOWN_DIGITS]}:"
            f" no table could be made of it; {_until_mended(source)}"
        )
    for record in aside:
        file = f"{source.source} {record.sha256[:SHOWN_DIGITS]}"
        yield (
            f"look at `etl quarantine show {file}`: what {source.name} served was refused;"
            f" if it is right: `etl quarantine release {file} --why TEXT`"
        )


def _until_mended(source: RunSource) -> str:
    """An earlier file may serve, where there is one."""
    if source.sha256 is None:
        return "correct it where it comes from; until then nothing of it is published"
    return (
        "until its producer or its declaration is mended:"
        f" `etl rollback {_quoted(source)} --why TEXT`"
    )


def _quoted(source: RunSource) -> str:
    return f"'{source.name}'" if source.partition else source.name
