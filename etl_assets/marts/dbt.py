"""dbt, in this process: parse a domain's project, build models, copy marts out as parquet.

The warehouse is dbt's own and is reached only here. Which models need building is not known here.

A build of some forty nodes takes 3 s in process and 10-20 s as a subprocess, nearly all of it
start-up.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from etl_assets.model.errors import BuildError
from etl_assets.model.home import Home
from etl_assets.storage.atomic_write import atomic_file, write_text
from etl_assets.tables.arrow_types import SOURCE_SHA256

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunResult
    from dbt.contracts.graph.manifest import Manifest

logger = logging.getLogger(__name__)

SHARED = "shared"  # the folder beside those of the domains, whose files all of them read
PARSED = "partial_parse.msgpack"  # as dbt names it
KEPT = "parsed.json"
READING_MEMORY = "500MB"  # a sort of more than that goes by way of the disk
OFFENDERS_TOLD = 20
SOURCE_SUFFIXES = frozenset({".sql", ".yml", ".yaml", ".csv"})


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What dbt says of one node of a build."""

    unique_id: str
    kind: str
    status: str
    seconds: float
    failures: int | None
    message: str
    offenders: tuple[str, ...] = ()
    """The first rows that a data test found, each as text."""

    @property
    def ok(self) -> bool:
        return self.status in {"success", "pass", "warn"}


@dataclass(frozen=True)
class DbtProject:
    """One domain's share of the dbt project: its warehouse, its target folder and constant vars.

    dbt parses anew whatever var changes, and hashes the place of the warehouse too. What follows
    from the files is the same in every home, so that this class decides when to parse, and hands
    dbt what was parsed.
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
        """Constant for one home and domain; the first two are for the profile alone."""
        return {
            "home": str(self.home.root),
            "warehouse": str(self.warehouse),
            **self._parsed_vars,
        }

    @property
    def _parsed_vars(self) -> dict[str, Any]:
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
        for path in self._files():
            digest.update(path.relative_to(self.directory).as_posix().encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.directory.rglob("*")):
            parts = path.relative_to(self.directory).parts
            of_all = len(parts) == 1 or parts[1] == SHARED
            if path.suffix in SOURCE_SUFFIXES and (of_all or parts[1] == self.domain):
                yield path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """dbt's manifest of the domain, read once.

        A copy of our own is read: dbt writes its file anew with every build, in place, and a build
        that is killed leaves the half of it.
        """
        self._parse_what_changed()
        manifest: dict[str, Any] = json.loads((self.target / KEPT).read_bytes())
        return manifest

    def _parse_what_changed(self) -> None:
        """Parse the project unless its files, its vars and dbt are those of the last time."""
        stamp = self.target / "parsed_from"
        told = json.dumps(self._parsed_vars, sort_keys=True)
        wanted = f"{version('dbt-core')} {self.code_version} {told}"
        if stamp.exists() and stamp.read_text("utf-8") == wanted:
            return
        stamp.unlink(missing_ok=True)
        self._invoke("parse", None)
        with atomic_file(self.target / KEPT) as temporary:
            shutil.copyfile(self.target / "manifest.json", temporary)
        write_text(stamp, wanted)

    def _parsed(self) -> Manifest:
        """What dbt made of the files; each invocation changes its own."""
        from dbt.contracts.graph.manifest import Manifest

        self._parse_what_changed()
        parsed = Manifest.from_msgpack((self.target / PARSED).read_bytes())
        parsed.build_flat_graph()  # type: ignore[no-untyped-call]  # it ships none
        return parsed

    def build(self, models: Sequence[str], *, tests: bool = True) -> list[NodeResult]:
        """Build the named models, with their data tests; BuildError where dbt itself fails."""
        if not models:
            return []
        self.warehouse.parent.mkdir(parents=True, exist_ok=True)
        left_out = ["unit_test"] if tests else ["unit_test", "test"]
        exclude = [word for kind in left_out for word in ("--exclude-resource-type", kind)]
        return self._invoke("build", self._parsed(), "--select", *models, *exclude)

    def test(self) -> list[NodeResult]:
        """Run the domain's data tests against the warehouse as it stands."""
        return self._invoke("test", self._parsed(), "--exclude-resource-type", "unit_test")

    def unit_test(self) -> list[NodeResult]:
        """Run the domain's unit tests, which need the relations but none of their rows."""
        return self._invoke("test", self._parsed(), "--resource-type", "unit_test")

    def reading(self) -> duckdb.DuckDBPyConnection:
        """The warehouse as it stands; its views name files by their place below the home."""
        config: dict[str, Any] = {
            "file_search_path": str(self.home.root),
            "memory_limit": READING_MEMORY,
        }
        return duckdb.connect(str(self.warehouse), read_only=True, config=config)

    def export(self, relations: Mapping[str, Sequence[str]], target: Path) -> dict[str, Path]:
        """Copy relations to `<target>/<relation>.parquet`, each ordered by its whole key.

        An ordered COPY writes the same bytes for the same rows whatever the number of threads.
        """
        files = {}
        with self.reading() as connection:
            for relation, key in relations.items():
                files[relation] = target / f"{relation}.parquet"
                with atomic_file(files[relation]) as temporary:
                    order = ", ".join(map(_quoted, key))
                    rows = f"select * from {_quoted(relation)} order by {order}"  # noqa: S608 - quoted
                    file = _literal(os.fspath(temporary))
                    connection.execute(
                        f"copy ({rows}) to {file} (format parquet, compression zstd)"
                    ).fetchall()
        return files

    def _invoke(self, verb: str, parsed: Manifest | None, *arguments: str) -> list[NodeResult]:
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        self.target.mkdir(parents=True, exist_ok=True)
        try:
            answer = dbtRunner(parsed).invoke([*self._flags(), verb, *self._options(), *arguments])
        finally:
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]  # it ships none
        if answer.exception is not None:
            raise BuildError(
                f"dbt {verb} of {self.domain} stopped: {answer.exception}"
            ) from answer.exception
        results = list(getattr(answer.result, "results", ()))
        offenders = self._offenders([result for result in results if result.failures])
        return [_node_result(result, offenders) for result in results]

    def _offenders(self, failed: Sequence[RunResult]) -> dict[str, tuple[str, ...]]:
        """What each failed test found: dbt only counts it."""
        if not failed:
            return {}
        with self.reading() as connection:
            return {r.node.unique_id: tuple(_found(connection, r.node)) for r in failed}

    def _flags(self) -> list[str]:
        return ["--log-level", "none", "--log-level-file", "none", "--no-use-colors"]

    def _options(self) -> list[str]:
        return [
            "--project-dir", str(self.directory),
            "--profiles-dir", str(self.directory),
            "--target-path", str(self.target),
            "--log-path", str(self.target / "logs"),
            "--vars", json.dumps(self.all_vars),
        ]  # fmt: skip


def _found(connection: duckdb.DuckDBPyConnection, node: Any) -> Iterator[str]:  # noqa: ANN401 - dbt's own
    """The rows of a test in an order of their own, each without what is null, and digests."""
    rows = connection.sql(node.compiled_code)
    order = ", ".join(f"{number} nulls last" for number in range(1, len(rows.columns) + 1))
    for row in rows.order(order).limit(OFFENDERS_TOLD).fetchall():
        told = zip(rows.columns, row, strict=True)
        yield ", ".join(
            str(value) for name, value in told if value is not None and name != SOURCE_SHA256
        )


def _node_result(result: RunResult, offenders: Mapping[str, tuple[str, ...]]) -> NodeResult:
    return NodeResult(
        unique_id=result.node.unique_id,
        kind=str(result.node.resource_type),
        status=str(result.status),
        seconds=result.execution_time,
        failures=result.failures,
        message=result.message or "",
        offenders=offenders.get(result.node.unique_id, ()),
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
