"""What the operator can do about a run: what to look at, and which command to run.

Only cases that need a decision are listed; an outage ends by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from etl_assets.model.records import FetchStatus, QuarantinedFile
from etl_assets.model.run_manifest import RunManifest, RunSource

ACCEPT_OPTION = "--accept-changes"
SHOWN_DIGITS = 12


def list_next_actions(
    manifest: RunManifest, quarantined: Sequence[QuarantinedFile], *, gate: str, directory: str
) -> list[str]:
    """One line for each case.

    `quarantined` are the files that this run put into quarantine, `gate` is the asset that has the
    check of the gate, `directory` is the run directory as the operator sees it.
    """
    lines = []
    if any((check.asset, check.name) == (gate, "gate") for check in manifest.failed_checks):
        lines.append(
            f"look at {directory}/run_report.html: the gate refused this candidate; if only limits"
            f" were exceeded and it is right: `etl run {manifest.domain} {ACCEPT_OPTION}`"
        )
    for source in manifest.outages:
        if action := _describe_action(manifest.domain, source):
            lines.append(action)
        for record in quarantined:
            if str(record.part) == source.name:
                file = f"{source.source} {record.sha256[:SHOWN_DIGITS]}"
                lines.append(
                    f"look at `etl quarantine show {file}`: the file of {source.name} was refused;"
                    f" if it is right: `etl quarantine release {file} --why TEXT`"
                )
    return lines


def _describe_action(domain: str, source: RunSource) -> str | None:
    # Quoted where it has brackets, which a shell would expand.
    quoted_name = f"'{source.name}'" if source.partition else source.name
    if source.status is FetchStatus.PINNED:
        return (
            f"remove the pin of {source.name} when it is no longer needed:"
            f" `etl unpin {quoted_name} --why TEXT`"
        )
    if source.fault and ACCEPT_OPTION in source.fault:
        return (
            f"look at the newest file of {source.name}: its table was refused; if it is right:"
            f" `etl run {domain} {ACCEPT_OPTION}`"
        )
    if source.refused_sha256 is None:
        return None
    if source.sha256:
        remedy = (
            "until the producer or the declaration is corrected, use an earlier file:"
            f" `etl rollback {quoted_name} --why TEXT`"
        )
    else:
        remedy = "correct it at its producer; until then none of it is published"
    return (
        f"look at the newest file of {source.name}, {source.refused_sha256[:SHOWN_DIGITS]}:"
        f" no table could be made of it; {remedy}"
    )
