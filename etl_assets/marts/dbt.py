"""Run dbt in this process: parse a domain's project, build and test models, export marts.

The warehouse is opened only here. Which models need building is decided in `marts.build`.

A build of some forty nodes takes 3 s in process and 10-20 s as a subprocess, nearly all of it
start-up.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl_assets.marts import lineage_cache
from etl_assets.marts.compiled_sql import CompiledSql, keep_compiled, read_compiled
from etl_assets.marts.data_tests import MAX_FAILING_ROWS, DataTest, query_failing_rows, run_tests
from etl_assets.marts.lineage_cache import ModelLineage
from etl_assets.marts.node_result import NodeResult
from etl_assets.marts.profile import DbtProfile
from etl_assets.model.errors import BuildError, HomeError
from etl_assets.model.home import Home
from etl_assets.model.run_log import StepProgress, no_step_progress
from etl_assets.model.run_manifest import FailingRows
from etl_assets.storage.atomic_write import advice_on, atomic_file, set_aside, write_text
from etl_assets.storage.duckdb_connection import use_utc
from etl_assets.storage.sql_quoting import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb
    from dbt.artifacts.schemas.run import RunResult
    from dbt.contracts.graph.manifest import Manifest
    from dbt_common.events.base_types import EventMsg

SHARED_FOLDER = "shared"  # files for all domains, next to the folders of single domains
SOURCE_SUFFIXES = frozenset({".sql", ".yml", ".yaml", ".csv"})
PARTIAL_PARSE_FILE = "partial_parse.msgpack"  # dbt's own name
MANIFEST_COPY = "parsed.json"
READ_MEMORY_LIMIT = "500MB"  # a larger sort spills to disk
# A group of rows is kept in memory until it is written: at DuckDB's 122,880 wide rows take 200 MB.
ROWS_PER_GROUP = 20_480
COMPILED_FILE = "compiled.json"
NODE_FINISHED = "NodeFinished"  # dbt's event
LOGGER = "file_log"  # of dbt's log file
DUCKDB_MAGIC_BYTES = slice(8, 12)


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
    own_profile: DbtProfile | None = None
    """In place of the profile in `directory`."""

    @property
    def profile(self) -> DbtProfile:
        return self.own_profile or DbtProfile(self.directory)

    @property
    def warehouse(self) -> Path:
        return self.home.warehouse(self.domain)

    @property
    def target(self) -> Path:
        return self.home.dbt_target(self.domain)

    @property
    def log(self) -> Path:
        """What dbt wrote the last time that it ran."""
        return self.target / "logs" / "dbt.log"

    @property
    def all_vars(self) -> dict[str, Any]:
        """The vars of an invocation; the first two are read by `profiles.yml` only."""
        return {
            "home": self._search_path,
            "warehouse": str(self.warehouse),
            **self._parse_vars,
        }

    @property
    def _search_path(self) -> str:
        """The folder that paths in models start at; one on another disk links the tables."""
        if self.home.local != self.home.root:
            link, target = self.home.local / "data" / "tables", self.home.root / "data" / "tables"
            link.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # of another process
                link.symlink_to(target, target_is_directory=True)
            if link.readlink() != target:
                raise HomeError(
                    f"{link}: expected a link to {target}, found one to {link.readlink()}; let "
                    "ETL_SCRATCH name a folder that no other home uses"
                )
        return str(self.home.local)

    @property
    def _parse_vars(self) -> dict[str, Any]:
        """The vars that models may read; equal in every home."""
        return {
            "domain": self.domain,
            "tables": self.home.relative(self.home.tables(self.domain)),
            "inputs": self.home.build_inputs(self.domain).relative_to(self.home.local).as_posix(),
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
        stamp, inputs = self.target / "parsed_from", self._parsed_from
        if stamp.exists() and stamp.read_text("utf-8") == inputs:
            return
        stamp.unlink(missing_ok=True)
        self._invoke("parse", None)
        with atomic_file(self.target / MANIFEST_COPY) as temporary:
            shutil.copyfile(self.target / "manifest.json", temporary)
        write_text(stamp, inputs)

    @property
    def _parsed_from(self) -> str:
        """All on which the parsed project and the compiled SQL depend."""
        parse_vars = json.dumps(self._parse_vars, sort_keys=True)
        return f"{version('dbt-core')} {self.code_version} {parse_vars}"

    @property
    def compiled(self) -> CompiledSql:
        """The SQL of models and tests that builds of this code have compiled."""
        return read_compiled(self.target / COMPILED_FILE, self._parsed_from)

    def trace_columns(self) -> Mapping[str, ModelLineage]:
        """The column lineage of every compiled model by unique id; made once for each code."""
        file = self.target / lineage_cache.FILE_NAME
        lineage = lineage_cache.read_lineage(file, lineage_cache.lineage_version(self._parsed_from))
        nodes = self.manifest["nodes"].items()
        models = {key for key, node in nodes if node["resource_type"] == "model"}
        if models <= lineage.models.keys():
            return lineage.models
        compiled = self.compiled.models
        new = {key: compiled[key] for key in compiled.keys() & models - lineage.models.keys()}
        if not new or not self.warehouse.exists():
            return lineage.models
        with self.connect() as connection:
            traced = lineage_cache.trace_models(connection, self.manifest, new)
        all_models = dict(sorted({**lineage.models, **traced}.items()))
        lineage_cache.keep_lineage(file, lineage.model_copy(update={"models": all_models}))
        return all_models

    def _load_parsed(self) -> Manifest:
        """dbt's own object of the parsed project; loaded for each invocation, which changes it."""
        from dbt.contracts.graph.manifest import Manifest

        self._parse_if_changed()
        parsed = Manifest.from_msgpack((self.target / PARTIAL_PARSE_FILE).read_bytes())
        parsed.build_flat_graph()  # type: ignore[no-untyped-call]  # it ships none
        return parsed

    def build(
        self,
        models: Sequence[str],
        *,
        tests: bool = True,
        advance: StepProgress = no_step_progress,
    ) -> list[NodeResult]:
        """Build models by name, with their data tests; raises BuildError if dbt itself fails."""
        if not models:
            return []
        self.warehouse.parent.mkdir(parents=True, exist_ok=True)
        # An exposure runs nothing, yet a build reports a result for it.
        excluded = ["unit_test", "exposure"]
        data_tests = self.compiled_tests() if tests else []
        if data_tests is not None:
            excluded.append("test")
        count = itertools.count(1)
        advance("models", 0, len(models))

        def on_event(event: EventMsg) -> None:
            if event.info.name == NODE_FINISHED:
                advance("models", min(next(count), len(models)), len(models))

        selection = ["--select", *models, "--exclude-resource-type", *excluded]
        results = self._invoke("build", self._load_parsed(), *selection, on_event=on_event)
        if not data_tests:
            return results
        with self.writing() as connection:
            return run_tests(connection, data_tests, results, self.ancestors(results))

    def compiled_tests(self) -> list[DataTest] | None:
        """The data tests of the domain, or None if one of them is not compiled: dbt runs all."""
        compiled = self.compiled.tests
        nodes = self.manifest["nodes"].items()
        expected = [key for key, node in nodes if node["resource_type"] == "test"]
        if not compiled.keys() >= set(expected):
            return None
        return [compiled[unique_id] for unique_id in sorted(expected)]

    def ancestors(self, results: Iterable[NodeResult]) -> dict[str, frozenset[str]]:
        """All that each of the nodes reads, directly or through others, by unique id."""
        nodes = self.manifest["nodes"]
        ancestors = {}
        for result in results:
            above: set[str] = set()
            pending = [result.unique_id]
            while pending:
                parents = nodes.get(pending.pop(), {}).get("depends_on", {}).get("nodes", [])
                pending += [parent for parent in parents if parent not in above]
                above.update(parents)
            ancestors[result.unique_id] = frozenset(above)
        return ancestors

    @property
    def write_settings(self) -> dict[str, Any]:
        """What the profile sets for the connection of dbt."""
        return self.profile.read_settings(self.all_vars, self.warehouse)

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write to the warehouse; its errors are raised as BuildError.

        Without a commit nothing of a transaction is kept.
        """
        import duckdb

        try:
            with duckdb.connect(str(self.warehouse), config=self.write_settings) as connection:
                use_utc(connection)
                yield connection
        except duckdb.Error as error:
            message = f"{self.domain}: expected to build in {self.warehouse}, found: {error}"
            raise BuildError(add_advice(message, self.domain)) from error

    def test(self, *, most_rows: int = MAX_FAILING_ROWS) -> list[NodeResult]:
        """Run the domain's data tests against the current warehouse.

        A failed test has the first `most_rows` of its rows.
        """
        arguments = ("--exclude-resource-type", "unit_test")
        return self._invoke("test", self._load_parsed(), *arguments, most_rows=most_rows)

    def unit_test(self) -> list[NodeResult]:
        """Run the domain's unit tests, which need the relations but none of their rows."""
        return self._invoke("test", self._load_parsed(), "--resource-type", "unit_test")

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A read-only connection to the warehouse; paths in its views are relative to the home."""
        # Imported here, as a check of the marker needs no DuckDB.
        import duckdb

        config: dict[str, Any] = {
            "file_search_path": self._search_path,
            "memory_limit": READ_MEMORY_LIMIT,
        }
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
                    options = f"format parquet, compression zstd, row_group_size {ROWS_PER_GROUP}"
                    self._execute(connection, f"copy ({rows}) to {file} ({options})")
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

    def _invoke(
        self,
        verb: str,
        parsed: Manifest | None,
        *arguments: str,
        on_event: Callable[[EventMsg], None] = lambda _: None,
        most_rows: int = MAX_FAILING_ROWS,
    ) -> list[NodeResult]:
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        command = [
            "--log-level", "none", "--log-level-file", "info", "--no-use-colors",
            verb,
            "--project-dir", str(self.directory),
            *self.profile.arguments,
            "--target-path", str(self.target),
            "--log-path", str(self.log.parent),
            "--vars", json.dumps(self.all_vars),
            *arguments,
        ]  # fmt: skip
        self.target.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)  # dbt appends to it
        try:
            outcome = dbtRunner(parsed, [on_event]).invoke(command)
        finally:
            # Otherwise the warehouse stays locked as long as this process lives.
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]  # it ships none
            _close_log()
        if outcome.exception is not None:
            message = f"dbt {verb} of {self.domain} stopped: {outcome.exception}"
            raise BuildError(add_advice(message, self.domain)) from outcome.exception
        results: list[RunResult] = list(getattr(outcome.result, "results", ()))
        if verb == "build":
            nodes = [result.node for result in results]
            keep_compiled(self.target / COMPILED_FILE, self._parsed_from, nodes)
        failed = [result for result in results if result.failures]
        rows = self._read_failing_rows(failed, most_rows)
        return [
            NodeResult(
                unique_id=result.node.unique_id,
                kind=str(result.node.resource_type),
                status=str(result.status),
                seconds=result.execution_time,
                failures=result.failures,
                message=result.message or "",
                failing_rows=rows.get(result.node.unique_id),
            )
            for result in results
        ]

    def _read_failing_rows(
        self, failed: Sequence[RunResult], most_rows: int
    ) -> dict[str, FailingRows | None]:
        """The rows that each failed test returns, by the test's unique id: dbt only counts them."""
        if not failed:
            return {}
        with self.connect() as connection:
            return {
                result.node.unique_id: query_failing_rows(
                    connection, _test_query(result), most_rows
                )
                for result in failed
            }


def _test_query(result: RunResult) -> str:
    query: str = getattr(result.node, "compiled_code", None) or ""
    return query


def add_advice(message: str, domain: str) -> str:
    """An error of dbt or DuckDB, with what to do if the disk or another part of the machine is it.

    Both report such errors as text alone.
    """
    advice = advice_on(message)
    return f"{message}\n{advice}, then `etl run {domain}` again" if advice else message


# The marker file says that a domain's warehouse matches the event log. It is removed before a build
# and written after the build's events are stored, so an interrupted build leaves none.


def mark_warehouse_complete(home: Home, domain: str) -> None:
    write_text(home.complete_marker(domain), "")


def unmark_warehouse(home: Home, domain: str) -> None:
    marker = home.complete_marker(domain)
    if marker.is_dir() and not marker.is_symlink():
        set_aside(marker)
    else:
        marker.unlink(missing_ok=True)


def is_warehouse_complete(home: Home, domain: str) -> bool:
    """True if the warehouse is marked, and a DuckDB database by its magic bytes.

    Another file at its path is replaced by the next build.
    """
    if not home.complete_marker(domain).is_file():
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


def _close_log() -> None:
    """Close the log file, which dbt leaves open."""
    logger = logging.getLogger(LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
