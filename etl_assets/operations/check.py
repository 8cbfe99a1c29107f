"""Evaluate the asset checks of a domain again, for `etl check`.

Stored files are hashed and dbt tests are run. The checks of a fetch or a contract are taken from
the event log, because they apply to the file of that day.
"""

from __future__ import annotations

from collections.abc import Iterator

from etl_assets.defs import asset_keys
from etl_assets.defs.candidate import measure_coverages
from etl_assets.defs.context import DomainSession
from etl_assets.defs.models.assets import model_checks
from etl_assets.defs.models.checks import describe_result
from etl_assets.defs.publish import finding_check, recorded_checks
from etl_assets.fetch import raw_store
from etl_assets.marts.data_tests import MAX_FAILING_ROWS
from etl_assets.model.errors import UsageError
from etl_assets.model.records import StoredState
from etl_assets.model.run_manifest import MARTS, RunCheck
from etl_assets.publish import run_directory
from etl_assets.storage.duckdb_connection import connect

MAX_LISTED_ROWS = 1000  # failing rows of a test in a whole list; the others are counted


def check_domain(session: DomainSession, *, is_whole: bool = False) -> list[RunCheck]:
    """Return every check of the domain, by asset and name; those of models as a run names them.

    With `is_whole`, a failed test has up to `MAX_LISTED_ROWS` of its rows instead of the first few.
    Raises UsageError if nothing was ever built.
    """
    name = session.domain.name
    if not session.home.warehouse(name).exists():
        raise UsageError(f"{name}: nothing was built yet; run `etl run {name}` first")
    checks = [
        *recorded_checks(session),
        *_check_raw_files(session),
        *_check_coverages(session),
        *_run_tests(session, MAX_LISTED_ROWS if is_whole else MAX_FAILING_ROWS),
    ]
    return sorted(checks, key=lambda check: (check.asset, check.name))


def _check_coverages(session: DomainSession) -> list[RunCheck]:
    """Return the declared coverages of the published set.

    A coverage below its floor is a warning: the gate, or the operator, has let the set pass.
    """
    published = session.published_directory()
    if published is None:
        return []
    sources = run_directory.read_manifest(published).sources
    with connect() as connection:
        findings = measure_coverages(connection, session.domain, published / MARTS, sources)
    return [finding_check(session.domain, each, accepted=[each.check]) for each in findings]


def _check_raw_files(session: DomainSession) -> Iterator[RunCheck]:
    """Check that each current raw file has the SHA-256 of its record."""
    states = session.read_sources()
    for source in session.domain.sources.values():
        faults = []
        for fetch in states[source.name].fetches.values():
            if fetch.file:
                state = raw_store.verify(session.home, fetch.file.sha256)
                if state is not StoredState.PRESENT:
                    fault = f"{fetch.file.path} is {state}; the next run fetches it again"
                    faults.append(f"{fetch.part}: {fault}")
        yield RunCheck(
            asset=asset_keys.name_of(asset_keys.raw_key(source)),
            name="stored",
            passed=not faults,
            severity="error",
            description="\n".join(faults),
        )


def _run_tests(session: DomainSession, most_rows: int) -> Iterator[RunCheck]:
    nodes = session.dbt.manifest["nodes"]
    specs = model_checks(session.domain, session.project)
    for result in session.dbt.test(most_rows=most_rows):
        if result.kind == "test":
            description = nodes[result.unique_id].get("description")
            spec = specs.get(result.unique_id)  # None if the test is on no model, or on several
            asset = asset_keys.name_of(spec.asset_key) if spec else session.domain.name
            test = result.unique_id.split(".")[2]  # test.<project>.<name>[.<hash>]
            yield RunCheck(
                asset=asset,
                name=spec.name if spec else test,
                passed=result.status == "pass",
                severity="warn" if result.status == "warn" else "error",
                description=describe_result(result, description) or "",
                rows=result.failing_rows,
                failures=result.failures,
            )
