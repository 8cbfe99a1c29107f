"""Run dbt's data tests on one connection, with the queries that dbt compiled in an earlier build.

dbt takes some 40 ms for each test besides its query. Statuses, failures and messages are as dbt's
own, and so is what a failed test stops. Which tests there are is read in `marts.dbt`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from etl_assets.marts.node_result import SKIPPED, NodeResult
from etl_assets.model.display_text import to_one_line
from etl_assets.model.records import SOURCE_SHA256
from etl_assets.model.run_manifest import FailingRows

if TYPE_CHECKING:
    import duckdb


FAILED = frozenset({"fail", "error"})
MAX_FAILING_ROWS = 5  # of a check; the others are counted
MAX_COLUMNS = 6  # more do not fit beside each other; a model has its key first
MAX_TEXT_CHARS = 120
NESTED_TYPES = frozenset({"struct", "map", "union"})
# Of a record's place in its source, which says nothing to a reader.
PLACE_COLUMNS = frozenset({SOURCE_SHA256, "source_record"})
UNSUPPORTED_SETTINGS = ("store_failures", "store_failures_as", "sql_header")


class DataTest(BaseModel, frozen=True):
    """A data test with its compiled query, which returns the rows that fail."""

    unique_id: str
    name: str
    path: str
    parents: frozenset[str]
    sql: str
    severity: str
    fail_calc: str
    warn_if: str
    error_if: str
    limit: int | None

    @classmethod
    def from_node(cls, node: Any) -> DataTest | None:  # noqa: ANN401 - dbt's own
        """Return the test of a node that dbt ran; None if it has settings that only dbt applies."""
        if not node.compiled_code or any(node.config.get(key) for key in UNSUPPORTED_SETTINGS):
            return None
        return cls(
            unique_id=node.unique_id,
            name=node.name,
            path=node.original_file_path,
            parents=frozenset(node.depends_on_nodes),
            sql=node.compiled_code,
            severity=node.config.severity.upper(),
            fail_calc=node.config.fail_calc,
            warn_if=node.config.warn_if,
            error_if=node.config.error_if,
            limit=node.config.limit,
        )

    @property
    def query(self) -> str:
        """The query of dbt's macro `get_test_sql`: a row of failures, should_warn, should_error."""
        limit = f"limit {self.limit}" if self.limit is not None else ""
        count = self.fail_calc
        return (
            f"select {count}, {count} {self.warn_if}, {count} {self.error_if} from (\n"  # noqa: S608 - of dbt
            f"select * from (\n{self.sql}\n) {limit}\n) as dbt_internal_test"
        )


@dataclass(frozen=True, slots=True)
class TestResult:
    """The result of a data test, in dbt's words."""

    __test__ = False  # it is no test of pytest

    status: str
    seconds: float = 0.0
    failures: int | None = None
    message: str = ""


def run_test(connection: duckdb.DuckDBPyConnection, test: DataTest) -> TestResult:
    import duckdb

    start = time.perf_counter()
    try:
        (row,) = connection.execute(test.query).fetchall()
    except duckdb.Error as error:
        message = f"Runtime Error in test {test.name} ({test.path})\n  {error}"
        return TestResult("error", time.perf_counter() - start, message=message)
    seconds = time.perf_counter() - start
    failures, should_warn, should_error = row
    found = f"Got {failures} result{'' if failures == 1 else 's'}, configured to"
    if test.severity == "ERROR" and should_error:
        return TestResult("fail", seconds, failures, f"{found} fail if {test.error_if}")
    if should_warn:
        return TestResult("warn", seconds, failures, f"{found} warn if {test.warn_if}")
    return TestResult("pass", seconds, 0)


def run_tests(
    connection: duckdb.DuckDBPyConnection,
    tests: Iterable[DataTest],
    results: Sequence[NodeResult],
    ancestors: Mapping[str, frozenset[str]],
) -> list[NodeResult]:
    """Return the results of models with those of the tests that read one of them.

    `ancestors` has all that each of the models reads. What dbt would skip because a test failed is
    skipped.
    """
    built = {result.unique_id: result.is_ok for result in results}
    tests = [test for test in tests if test.parents & built.keys()]
    runnable = [test for test in tests if all(built.get(key, True) for key in test.parents)]
    outcomes = {test.unique_id: run_test(connection, test) for test in runnable}
    skipped = find_skipped(runnable, outcomes, ancestors)
    all_results = [
        replace(result, status=SKIPPED, message="") if result.unique_id in skipped else result
        for result in results
    ]
    for test in tests:
        outcome = outcomes.get(test.unique_id)
        if outcome is None or test.parents & skipped:
            all_results.append(NodeResult(test.unique_id, "test", SKIPPED, 0.0, None, ""))
            continue
        rows = query_failing_rows(connection, test.sql) if outcome.failures else None
        all_results.append(
            NodeResult(
                test.unique_id,
                "test",
                outcome.status,
                outcome.seconds,
                outcome.failures,
                outcome.message,
                rows,
            )
        )
    return all_results


def query_failing_rows(
    connection: duckdb.DuckDBPyConnection, query: str, most_rows: int = MAX_FAILING_ROWS
) -> FailingRows | None:
    """The first rows of a query as text, or None if it has no rows.

    Columns without a value in them, nested ones and places are left out.
    """
    rows = connection.sql(query)
    # A test's query has no order of its own, and a check's text must not differ between runs.
    order = ", ".join(f"{number} nulls last" for number in range(1, len(rows.columns) + 1))
    first_rows = rows.order(order).limit(most_rows).fetchall()
    if not first_rows:
        return None
    shown = [
        index
        for index, (name, kind) in enumerate(zip(rows.columns, rows.types, strict=True))
        if name not in PLACE_COLUMNS
        and kind.id not in NESTED_TYPES
        and not (kind.id == "list" and kind.child.id in NESTED_TYPES)
        and any(row[index] is not None for row in first_rows)
    ][:MAX_COLUMNS]
    return FailingRows(
        columns=[rows.columns[index] for index in shown],
        rows=[[_to_text(row[index]) for index in shown] for row in first_rows],
    )


def _to_text(value: object) -> str:
    """A value as a reader expects it, without the notation of Python."""
    if isinstance(value, list):
        text = ", ".join(map(_to_text, value))
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, datetime):
        text = value.strftime("%Y-%m-%d %H:%M:%S")
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = "" if value is None else to_one_line(value)
    return (text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}...") or "-"


def find_skipped(
    tests: Iterable[DataTest],
    results: Mapping[str, TestResult],
    ancestors: Mapping[str, frozenset[str]],
) -> set[str]:
    """Return the models that dbt does not build after these results.

    dbt skips a model if it is below everything that a failed test reads.
    """
    failed = [test for test in tests if results[test.unique_id].status in FAILED]
    return {
        unique_id
        for unique_id, above in ancestors.items()
        if any(test.parents <= above for test in failed)
    }
