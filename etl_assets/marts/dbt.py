"""Run dbt in this process: parse a domain's project, build and test models, export marts.

The warehouse is opened only here. Which models need building is decided in `marts.build`.

A build of some forty nodes takes 3 s in process and 10-20 s as a subprocess, nearly all of it
start-up.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from etl_assets.marts.data_tests import SKIPPED, DataTest, find_skipped, run_test
from etl_assets.model.errors import BuildError
from etl_assets.model.home import Home
from etl_assets.storage.atomic_write import advice_on, atomic_file, set_aside, write_text
from etl_assets.storage.duckdb_connection import use_utc
from etl_assets.storage.sql_quoting import quote_name, quote_text
from etl_assets.tables.arrow_types import SOURCE_SHA256

if TYPE_CHECKING:
    import duckdb
    from dbt.artifacts.schemas.run import RunResult
    from dbt.contracts.graph.manifest import Manifest

SHARED_FOLDER = "shared"  # files for all domains, next to the folders of single domains
SOURCE_SUFFIXES = frozenset({".sql", ".yml", ".yaml", ".csv"})
PARTIAL_PARSE_FILE = "partial_parse.msgpack"  # dbt's own name
MANIFEST_COPY = "parsed.json"
PARSE_STAMP = "parsed_from"
DATA_TESTS = TypeAdapter(tuple[str, list[DataTest]])
READ_MEMORY_LIMIT = "500MB"  # a larger sort spills to disk
MAX_OFFENDERS = 20
DUCKDB_MAGIC_BYTES = slice(8, 12)


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The result of one node of a dbt build: a model, a seed or a test."""

    unique_id: str
    kind: str
    status: str
    seconds: float
    failures: int | None
    message: str
    offenders: tuple[str, ...] = ()
    """The first rows that a data test returned, each as text."""

    @property
    def is_ok(self) -> bool:
        return self.status in {"success", "pass", "warn"}


@dataclass(frozen=True)
class DbtProject:
    """One domain's part of the dbt project, with its own warehouse and target folder.

    dbt parses the whole project again when any var changes, and it counts the path of the warehouse
    as one. Models depend only on the files and on the vars that are equal in every home, so this
    class decides when to parse and hands dbt the parsed manifest.
    """

    directory: Path
    domain: str
    home: Home
    vars: Mapping[str, Any] = field(default_factory=dict)

    @property
    def warehouse(self) -> Path:
        return self.home.warehouse(self.domain)

    @property
    def target(self) -> Path:
        return self.home.dbt_target(self.domain)

    @property
    def all_vars(self) -> dict[str, Any]:
        """The vars of an invocation; the first two are read by `profiles.yml` only."""
        return {
            "home": str(self.home.root),
            "warehouse": str(self.warehouse),
            **self._parse_vars,
        }

    @property
    def _parse_vars(self) -> dict[str, Any]:
        """The vars that models may read; equal in every home."""
        return {
            "domain": self.domain,
            "tables": self.home.relative(self.home.tables(self.domain)),
            "inputs": self.home.relative(self.home.build_inputs(self.domain)),
            **self.vars,
        }

    @cached_property
    def code_version(self) -> str:
        """A digest of every file that this domain's models may depend on, and of its vars."""
        digest = hashlib.sha256(json.dumps(dict(self.vars), sort_keys=True).encode())
        for path in self._source_files():
            digest.update(path.relative_to(self.directory).as_posix().encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def _source_files(self) -> Iterator[Path]:
        for path in sorted(self.directory.rglob("*")):
            parts = path.relative_to(self.directory).parts
            is_shared = len(parts) == 1 or parts[1] == SHARED_FOLDER
            if path.suffix in SOURCE_SUFFIXES and (is_shared or parts[1] == self.domain):
                yield path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """dbt's manifest of the domain, read once."""
        self._parse_if_changed()
        # Our own copy: dbt rewrites `manifest.json` in place with every build, and a killed build
        # leaves half of it.
        manifest: dict[str, Any] = json.loads((self.target / MANIFEST_COPY).read_bytes())
        return manifest

    def _parse_if_changed(self) -> None:
        """Parse the project unless its files, its vars and dbt's version are those of last time."""
        stamp, inputs = self.target / PARSE_STAMP, self._parse_inputs
        if stamp.exists() and stamp.read_text("utf-8") == inputs:
            return
        stamp.unlink(missing_ok=True)
        self._invoke("parse", None)
        with atomic_file(self.target / MANIFEST_COPY) as temporary:
            shutil.copyfile(self.target / "manifest.json", temporary)
        write_text(stamp, inputs)

    @property
    def _parse_inputs(self) -> str:
        parse_vars = json.dumps(self._parse_vars, sort_keys=True)
        return f"{version('dbt-core')} {self.code_version} {parse_vars}"

    def _load_parsed(self) -> Manifest:
        """dbt's own object of the parsed project; loaded for each invocation, which changes it."""
        from dbt.contracts.graph.manifest import Manifest

        self._parse_if_changed()
        parsed = Manifest.from_msgpack((self.target / PARTIAL_PARSE_FILE).read_bytes())
        parsed.build_flat_graph()  # type: ignore[no-untyped-call]  # it ships none
        return parsed

    def build(self, models: Sequence[str], *, tests: bool = True) -> list[NodeResult]:
        """Build models by name, with their data tests; raises BuildError if dbt itself fails."""
        if not models:
            return []
        self.warehouse.parent.mkdir(parents=True, exist_ok=True)
        # An exposure runs nothing, yet a build reports a result for it.
        excluded = ["unit_test", "exposure"]
        data_tests = self._known_tests() if tests else []
        if data_tests is not None:
            excluded.append("test")
        results = self._invoke(
            "build", self._load_parsed(), "--select", *models, "--exclude-resource-type", *excluded
        )
        return self._run_tests(data_tests, results) if data_tests else results

    def _known_tests(self) -> list[DataTest] | None:
        """The data tests of the domain, or None if a build by dbt has not compiled all of them."""
        try:
            inputs, tests = DATA_TESTS.validate_json(self._tests_file.read_bytes())
        except (OSError, ValidationError):
            return None
        return tests if inputs == self._parse_inputs else None

    @property
    def test_settings(self) -> dict[str, Any]:
        """What `profiles.yml` sets for the tests that dbt runs."""
        limit = self.vars.get("memory_limit", "1GB")
        return {"memory_limit": limit, "threads": 2, "preserve_insertion_order": False}

    @property
    def _tests_file(self) -> Path:
        return self.target / "data_tests.json"

    def _store_tests(self, results: Sequence[RunResult]) -> None:
        """Keep the compiled tests if dbt ran all of them and none needs what only dbt does."""
        nodes = {result.node.unique_id: result.node for result in results}
        expected = {
            unique_id
            for unique_id, node in self.manifest["nodes"].items()
            if node["resource_type"] == "test"
        }
        if not expected or not expected <= nodes.keys():
            return
        tests = [DataTest.from_node(nodes[unique_id]) for unique_id in sorted(expected)]
        if all(tests):
            with atomic_file(self._tests_file) as temporary:
                temporary.write_bytes(
                    DATA_TESTS.dump_json((self._parse_inputs, list(filter(None, tests))))
                )

    def _run_tests(self, tests: Sequence[DataTest], results: list[NodeResult]) -> list[NodeResult]:
        """Add the results of the tests that read a built model, and skip models as dbt does."""
        built = {result.unique_id: result.is_ok for result in results}
        tests = [test for test in tests if test.parents & built.keys()]
        runnable = [test for test in tests if all(built.get(key, True) for key in test.parents)]
        outcomes = {}
        if runnable:
            with self._connect(**self.test_settings) as connection:
                use_utc(connection)
                outcomes = {test.unique_id: run_test(connection, test) for test in runnable}
        skipped = find_skipped(runnable, outcomes, self._ancestors(built))
        offenders = self._read_offenders(
            {test.unique_id: test.sql for test in runnable if outcomes[test.unique_id].failures}
        )
        results = [
            replace(result, status=SKIPPED, message="") if result.unique_id in skipped else result
            for result in results
        ]
        for test in tests:
            outcome = outcomes.get(test.unique_id)
            if outcome is None or test.parents & skipped:
                results.append(NodeResult(test.unique_id, "test", SKIPPED, 0.0, None, ""))
                continue
            results.append(
                NodeResult(
                    test.unique_id,
                    "test",
                    outcome.status,
                    outcome.seconds,
                    outcome.failures,
                    outcome.message,
                    offenders.get(test.unique_id, ()),
                )
            )
        return results

    def _ancestors(self, unique_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        """All that each model reads, directly or through others."""
        nodes = self.manifest["nodes"]
        ancestors = {}
        for unique_id in unique_ids:
            above: set[str] = set()
            pending = [unique_id]
            while pending:
                parents = nodes.get(pending.pop(), {}).get("depends_on", {}).get("nodes", [])
                pending += [parent for parent in parents if parent not in above]
                above.update(parents)
            ancestors[unique_id] = frozenset(above)
        return ancestors

    def test(self) -> list[NodeResult]:
        """Run the domain's data tests against the current warehouse."""
        return self._invoke("test", self._load_parsed(), "--exclude-resource-type", "unit_test")

    def unit_test(self) -> list[NodeResult]:
        """Run the domain's unit tests, which need the relations but none of their rows."""
        return self._invoke("test", self._load_parsed(), "--resource-type", "unit_test")

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A read-only connection to the warehouse; paths in its views are relative to the home."""
        return self._connect(memory_limit=READ_MEMORY_LIMIT)

    def _connect(self, **settings: Any) -> duckdb.DuckDBPyConnection:
        # Imported here, as a check of the marker needs no DuckDB.
        import duckdb

        config: dict[str, Any] = {"file_search_path": str(self.home.root), **settings}
        return duckdb.connect(str(self.warehouse), read_only=True, config=config)

    def export(self, relations: Mapping[str, Sequence[str]], target: Path) -> dict[str, Path]:
        """Copy relations to `<target>/<relation>.parquet`, each ordered by its key columns.

        Returns the file of each relation.
        """
        files = {}
        with self.connect() as connection:
            for relation, key in relations.items():
                files[relation] = target / f"{relation}.parquet"
                with atomic_file(files[relation]) as temporary:
                    # An ordered COPY writes the same bytes for the same rows with any number of
                    # threads.
                    order = ", ".join(map(quote_name, key))
                    rows = f"select * from {quote_name(relation)} order by {order}"  # noqa: S608 - quoted
                    file = quote_text(os.fspath(temporary))
                    self._execute(
                        connection, f"copy ({rows}) to {file} (format parquet, compression zstd)"
                    )
        return files

    def _execute(self, connection: duckdb.DuckDBPyConnection, query: str) -> None:
        """Run a query that writes a file; raises BuildError if the machine refuses that."""
        import duckdb

        try:
            connection.execute(query).fetchall()
        except duckdb.IOException as error:
            raise BuildError(add_advice(str(error), self.domain)) from error

    def first_moment(self, model: str, *, after: datetime) -> datetime | None:
        """The earliest value of a model's column `moment` after a time, or None."""
        with self.connect() as connection:
            use_utc(connection)
            query = f"select min(moment) from {quote_name(model)} where moment > ?"  # noqa: S608 - quoted
            row = connection.execute(query, [after]).fetchone()
        return row[0] if row else None

    def _invoke(self, verb: str, parsed: Manifest | None, *arguments: str) -> list[NodeResult]:
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        command = [
            "--log-level", "none", "--log-level-file", "none", "--no-use-colors",
            verb,
            "--project-dir", str(self.directory),
            "--profiles-dir", str(self.directory),
            "--target-path", str(self.target),
            "--log-path", str(self.target / "logs"),
            "--vars", json.dumps(self.all_vars),
            *arguments,
        ]  # fmt: skip
        self.target.mkdir(parents=True, exist_ok=True)
        try:
            outcome = dbtRunner(parsed).invoke(command)
        finally:
            # Otherwise the warehouse stays locked as long as this process lives.
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]  # it ships none
        if outcome.exception is not None:
            message = f"dbt {verb} of {self.domain} stopped: {outcome.exception}"
            raise BuildError(add_advice(message, self.domain)) from outcome.exception
        results: list[RunResult] = list(getattr(outcome.result, "results", ()))
        if verb == "build":
            self._store_tests(results)
        offenders = self._read_offenders(
            {r.node.unique_id: getattr(r.node, "compiled_code", "") for r in results if r.failures}
        )
        return [
            NodeResult(
                unique_id=result.node.unique_id,
                kind=str(result.node.resource_type),
                status=str(result.status),
                seconds=result.execution_time,
                failures=result.failures,
                message=result.message or "",
                offenders=offenders.get(result.node.unique_id, ()),
            )
            for result in results
        ]

    def _read_offenders(self, queries: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """The rows of each failed test's query, by the test's unique id: dbt only counts them."""
        if not queries:
            return {}
        with self.connect() as connection:
            return {key: tuple(_query_rows(connection, sql)) for key, sql in queries.items()}


def add_advice(message: str, domain: str) -> str:
    """An error of dbt or DuckDB, with what to do if the disk or another part of the machine is it.

    Both report such errors as text alone.
    """
    advice = advice_on(message)
    return f"{message}\n{advice}, then `etl run {domain}` again" if advice else message


def _query_rows(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[str]:
    """The first rows of a test's query as text, without nulls and digests."""
    rows = connection.sql(sql)
    # A test's query has no order of its own, and a check's text must not differ between runs.
    order = ", ".join(f"{number} nulls last" for number in range(1, len(rows.columns) + 1))
    for row in rows.order(order).limit(MAX_OFFENDERS).fetchall():
        cells = zip(rows.columns, row, strict=True)
        yield ", ".join(
            str(value) for name, value in cells if value is not None and name != SOURCE_SHA256
        )


# The marker file says that a domain's warehouse matches the event log. It is removed before a build
# and written after the build's events are stored, so an interrupted build leaves none.


def mark_warehouse_complete(home: Home, domain: str) -> None:
    write_text(home.complete_marker(domain), "")


def unmark_warehouse(home: Home, domain: str) -> None:
    home.complete_marker(domain).unlink(missing_ok=True)


def is_warehouse_complete(home: Home, domain: str) -> bool:
    """True if the warehouse is marked, and a DuckDB database by its magic bytes.

    Another file at its path is replaced by the next build.
    """
    if not home.complete_marker(domain).exists():
        return False
    # https://duckdb.org/docs/stable/internals/storage
    try:
        with home.warehouse(domain).open("rb") as file:
            return file.read(DUCKDB_MAGIC_BYTES.stop)[DUCKDB_MAGIC_BYTES] == b"DUCK"
    except OSError:
        return False


def discard_warehouse(home: Home, domain: str) -> None:
    """Remove the warehouse; a build of all models creates it again."""
    file = home.warehouse(domain)
    for path in (file, file.with_name(f"{file.name}.wal")):
        if path.is_dir():
            set_aside(path)
        else:
            path.unlink(missing_ok=True)
