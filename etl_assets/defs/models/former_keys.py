"""Models and checks that versions before short names recorded under other keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from etl_assets.defs import asset_keys
from etl_assets.defs.context import DomainSession
from etl_assets.defs.event_log import EventLog
from etl_assets.defs.materialize import PartOutcome
from etl_assets.marts.graph import Graph
from etl_assets.model.records import ModelBuild

DBT_TEST = "etl/dbt_test"  # the metadata entry of a check with the name of its test in dbt


def former_check_keys(
    specs: Iterable[dg.AssetCheckSpec],
) -> dict[dg.AssetCheckKey, dg.AssetCheckKey]:
    """Return the checks on models with the keys that versions before short names recorded."""
    return {
        spec.key: dg.AssetCheckKey(spec.asset_key, spec.metadata[DBT_TEST])
        for spec in specs
        if DBT_TEST in spec.metadata
    }


def take_over_renamed_checks(
    session: DomainSession, checks: Mapping[dg.AssetCheckKey, dg.AssetCheckKey]
) -> list[dg.AssetCheckKey]:
    """Record verdicts under their keys that were recorded under the former ones; returns these.

    `checks` has the former key of each. The newest verdict counts, under whichever key: the former
    version may have judged again since.
    """
    event_log = session.event_log
    renamed = {key: former for key, former in checks.items() if key != former}
    entries = event_log.latest_check_events([*renamed, *renamed.values()])
    times = {key: entry.timestamp for key, entry in entries.items()}
    newer = {
        former: key
        for key, former in renamed.items()
        if former in times and times[former] > times.get(key, 0)
    }
    _copy_verdicts(event_log, newer)
    return [*newer]


def _copy_verdicts(event_log: EventLog, keys: Mapping[dg.AssetCheckKey, dg.AssetCheckKey]) -> None:
    """Record the last verdict of each check under another key, which `keys` has."""
    for former, verdict in event_log.latest_checks(list(keys)).items():
        event_log.report(
            dg.AssetCheckEvaluation(
                keys[former].asset_key,
                keys[former].name,
                verdict.passed,
                verdict.metadata,
                severity=verdict.severity,
                description=verdict.description,
            )
        )


def take_over_renamed_models(
    session: DomainSession, checks: Mapping[dg.AssetCheckKey, dg.AssetCheckKey]
) -> list[str]:
    """Record models under their keys that were recorded under their names in dbt; returns these.

    Versions before short keys used the names. The verdicts of the models' checks come along: the
    gate needs them. `checks` has the former key of each.
    """
    event_log, domain = session.event_log, session.domain.name
    keys: dict[dg.AssetKey, dg.AssetKey] = {}
    for model in Graph.from_manifest(session.dbt.manifest).models.values():
        keys[asset_keys.model_key(domain, model.name)] = dg.AssetKey([domain, model.name])
    unknown = keys.keys() - event_log.latest_records(keys, ModelBuild).keys()
    former = event_log.latest_records([keys[key] for key in unknown], ModelBuild)
    renamed = {key: keys[key] for key in sorted(unknown) if keys[key] in former}
    # The verdicts first: a model with a record and without them would not be tested again.
    _copy_verdicts(
        event_log,
        {
            dg.AssetCheckKey(renamed[check.asset_key], former_check.name): check
            for check, former_check in checks.items()
            if check.asset_key in renamed
        },
    )
    for key, former_key in renamed.items():
        record = former[former_key]
        event_log.report_outcome(key, None, PartOutcome(record, record.version, reused=True))
    # Else the pages list assets that nothing makes any more.
    event_log.wipe_assets(list(renamed.values()))
    return [former[old].model for old in renamed.values()]
