"""Builds for the keys that changed leave the rows of a build of everything, whatever changes.

Each case plays random changes of a made feed. After each of them the models are built for the
changed keys in one warehouse, and whole in a copy of it; all tables of both are compared.
"""

from __future__ import annotations

import copy
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from etl_assets.declarations.domain import BuildKey
from etl_assets.marts import build, keyed_build
from etl_assets.marts.dbt import DbtProject
from etl_assets.marts.graph import Graph, Model
from etl_assets.model.errors import BuildError
from etl_assets.storage.hashing import hash_file

if TYPE_CHECKING:
    from conftest import Row, Warehouse

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEPS = 3
FAST_SEEDS = range(1)
LONG_SEEDS = range(1, 201)
PACKAGES = ("alpha", "Alpha", "beta", "gamma", "delta", "STRAẞE", "straße")
IDS = tuple(f"CVE-2026-{number}" for number in range(1001, 1009)) + ("TEMP-0000001-ABCDEF",)
VERSIONS = ("1.0-1", "1.0-1+e2", "1.1-1", "2.0-1", "2.0-1+deb13u1", "0", "1", None)
STATUSES = ("fixed", "not_applicable", "wont_fix")
RELEASES = ("sid", "forky", "trixie", "bookworm", "buster")


class Feed:
    """Rows of every source, in the order of their files, and random changes of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.rows: dict[str, list[dict[str, Any]]] = {
            "echo": [self._listed() for _ in range(14)],
            "overrides": [self._ruled() for _ in range(4)],
            "debian": [self._tracked() for _ in range(12)],
            "osv": [self._recorded() for _ in range(8)],
            "nvd": [self._scored(vulnerability) for vulnerability in IDS[:6]],
            "nvd_modified": [self._scored(vulnerability) for vulnerability in IDS[2:4]],
            "kev": [{"cve_id": IDS[0], "date_added": START.date()}],
            "epss": [{"cve_id": each, "epss": 0.5, "percentile": 0.5} for each in IDS],
            "packages": [self._built() for _ in range(10)],
        }
        self._drop_repeated_keys()

    def all_rows(self) -> list[Row]:
        return [(source, row) for source, rows in self.rows.items() for row in rows]

    def change(self) -> str:
        """Change something, and return what."""
        source = self._random.choice([*self.rows])
        rows = self.rows[source]
        kind = self._random.choice(("add", "remove", "replace", "move", "respell"))
        place = self._random.randrange(len(rows) + 1)
        if kind == "add" or not rows:
            rows.insert(place, self._new_row(source))
        elif kind == "remove":
            del rows[place - 1]
        elif kind == "replace":
            rows[place - 1] = self._new_row(source)
        elif kind == "move":
            rows.insert(place, rows.pop(self._random.randrange(len(rows))))
        elif "package_name" in rows[place - 1]:
            name = rows[place - 1]["package_name"] or "alpha"
            rows[place - 1] = {**rows[place - 1], "package_name": name.swapcase()}
        self._drop_repeated_keys()
        return f"{kind} in {source}"

    def _new_row(self, source: str) -> dict[str, Any]:
        vulnerability = self._random.choice(IDS)
        if source in ("nvd", "nvd_modified"):
            return self._scored(vulnerability)
        if source == "kev":
            return {"cve_id": vulnerability, "date_added": START.date()}
        if source == "epss":
            return {"cve_id": vulnerability, "epss": self._random.random(), "percentile": 0.5}
        makers = {
            "echo": self._listed,
            "overrides": self._ruled,
            "debian": self._tracked,
            "osv": self._recorded,
            "packages": self._built,
        }
        return makers[source]()

    def _pair(self) -> dict[str, Any]:
        return {
            "package_name": self._random.choice(PACKAGES),
            "cve_id": self._random.choice(IDS),
        }

    def _listed(self) -> dict[str, Any]:
        return {**self._pair(), "fixed_version": self._random.choice(VERSIONS)}

    def _ruled(self) -> dict[str, Any]:
        status = self._random.choice(STATUSES)
        version = self._random.choice(VERSIONS[:4]) if status == "fixed" else None
        ruling = {**self._pair(), "status": status, "fixed_version": version}
        return ruling | ({"package_name": None} if self._random.random() < 0.3 else {})

    def _tracked(self) -> dict[str, Any]:
        status = self._random.choice(("open", "resolved", "undetermined"))
        return {
            **self._pair(),
            "release": self._random.choice(RELEASES),
            "status": status,
            "fixed_version": self._random.choice(VERSIONS[:6]) if status == "resolved" else None,
            "nodsa_reason": self._random.choice((None, "ignored")),
        }

    def _recorded(self) -> dict[str, Any]:
        return {
            "osv_id": f"DSA-{self._random.randrange(6)}",
            "upstream": [self._random.choice(IDS)],
            "modified_at": START,
            "withdrawn_at": self._random.choice(
                (None, None, START - timedelta(days=1), START + timedelta(hours=30))
            ),
            "ecosystem": self._random.choice(("Debian", "Debian:13", "Debian:12")),
            "package_name": self._random.choice(PACKAGES),
            "affected_number": 1,
            "range_number": 1,
            "range_type": self._random.choice(("ECOSYSTEM", "ECOSYSTEM", "GIT")),
            "introduced": "0",
            "fixed": self._random.choice(VERSIONS[:6]),
        }

    def _built(self) -> dict[str, Any]:
        source, version = self._random.choice(PACKAGES), self._random.choice(VERSIONS[:5])
        names = (source.lower(), f"lib{source.lower()}", "libshared", "alpha")
        return {
            "package_name": self._random.choice(names),
            "version": f"{version}{self._random.choice(('', '+b1'))}",
            "architecture": self._random.choice(("amd64", "all")),
            "source_name": source,
            "source_version": version,
        }

    def _scored(self, vulnerability: str) -> dict[str, Any]:
        is_rejected = self._random.random() < 0.2
        return {
            "cve_id": vulnerability,
            "vuln_status": "Rejected" if is_rejected else "Analyzed",
            "description": "a record",
            "last_modified_at": START + timedelta(minutes=self._random.randrange(9)),
            "cvss_version": "3.1",
            "cvss_score": None if is_rejected else self._random.choice((5.5, 9.8)),
            "cvss_severity": "HIGH",
        }

    def _drop_repeated_keys(self) -> None:
        """Keep one row of each key, as the tables do."""
        keys = {
            "echo": ("package_name", "cve_id"),
            "debian": ("package_name", "cve_id", "release"),
            "nvd": ("cve_id",),
            "nvd_modified": ("cve_id",),
            "kev": ("cve_id",),
            "epss": ("cve_id",),
            "packages": ("package_name", "version", "architecture"),
        }
        for source, columns in keys.items():
            by_key = {tuple(row[name] for name in columns): row for row in self.rows[source]}
            self.rows[source] = [*by_key.values()]


class TwoWarehouses:
    """The warehouse of the keyed builds, and a copy in which everything is built."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.project, self._warehouse = warehouse.project, warehouse
        self.graph = Graph.from_manifest(self.project.manifest)
        self.spec = warehouse.domain.build or BuildKey(key="none")
        self._whole = self.project.warehouse.with_name("whole") / self.project.warehouse.name

    def step(self, feed: Feed, at: datetime) -> keyed_build.KeyedResult | None:
        """Build the present rows in both; None if a build for changed keys is not possible."""
        history = self._publish()
        self._warehouse.write_tables(feed.all_rows())
        self._write_inputs(at, history)
        shutil.copyfile(self.project.warehouse, self._whole)
        self._build_whole(self._whole)
        inputs, stale = self.inputs(at), [*self._tables_and_views()]
        if keyed_build.find_obstacle(self.project, self.graph, stale, inputs):
            self._build_whole(self.project.warehouse)
            keyed_build.keep_state(self.project, self.graph, inputs, at)
            return None
        return keyed_build.KeyedBuild(self.project, self.graph, self.spec).run(stale, inputs)

    def differences(self) -> list[str]:
        """The tables of which the two warehouses have other rows."""
        with self.project.connect() as connection:
            connection.execute(f"attach '{self._whole}' as whole (read_only)").fetchall()
            return [
                f"{model.name}: {rows[:2]}"
                for model in self._tables_and_views()
                if (rows := _find_differences(connection, model))
            ]

    def prepare(self, feed: Feed) -> None:
        self._whole.parent.mkdir(exist_ok=True)
        results = self._warehouse.build(feed.all_rows(), at=START, publish=False)
        broken = [f"{name}: {result.message}" for name, result in results.items() if not result.is_ok]
        assert broken == []
        keyed_build.keep_state(self.project, self.graph, self.inputs(START), START)

    def inputs(self, at: datetime) -> keyed_build.BuildInputs:
        home = self._warehouse.home
        tables = {
            name: hash_file(home.table_file("advisories", name, None))
            for name in self._warehouse.domain.sources
        }
        has_passed = at >= START + timedelta(hours=30)
        return keyed_build.BuildInputs(tables, {"last moment": str(has_passed)})

    def _publish(self) -> Path:
        history = self.graph.find(self._warehouse.domain.history or "")
        assert history is not None
        return self.project.export({history.name: history.key}, self._warehouse.marts)[history.name]

    def _write_inputs(self, at: datetime, history: Path) -> None:
        model = self.graph.find(history.stem)
        assert model is not None
        build.write_build_inputs(
            self._warehouse.home.build_inputs("advisories"),
            as_of=at,
            health=[],
            history=history,
            history_types=model.column_types,
        )

    def _tables_and_views(self) -> list[Model]:
        return [model for model in self.graph.models.values() if model.materialized != "seed"]

    def _build_whole(self, file: Path) -> None:
        """Compute every table from the compiled SQL, as dbt does."""
        config = {"file_search_path": str(self._warehouse.home.root)}
        compiled = self.project.compiled.models
        with duckdb.connect(str(file), config=config) as connection:
            connection.execute("set timezone = 'UTC'").fetchall()
            for model in self._tables_and_views():
                if model.materialized == "table":
                    connection.execute(f"delete from {model.relation}").fetchall()
                    query = compiled[model.unique_id]
                    connection.execute(f"insert into {model.relation} by name {query}").fetchall()


def _find_differences(
    connection: duckdb.DuckDBPyConnection, model: Model
) -> list[tuple[object, ...]]:
    whole = f'whole.main."{model.name}"'
    if model.materialized == "view":
        return []
    return connection.execute(
        f"(from {model.relation} except all from {whole})"
        f" union all (from {whole} except all from {model.relation})"
    ).fetchall()


@pytest.fixture(scope="module")
def built_home(tmp_path_factory: pytest.TempPathFactory, shared_warehouse: Warehouse) -> Warehouse:
    """A home that dbt has built once, so that each case needs no dbt."""
    TwoWarehouses(shared_warehouse).prepare(Feed(0))
    return shared_warehouse


def play(warehouse: Warehouse, seed: int) -> None:
    """Play one sequence of changes, from the rows that the warehouse has now."""
    both, feed = TwoWarehouses(warehouse), Feed(seed)
    changes: list[str] = ["other rows"]
    last = _last_time(warehouse.project)
    keyed_builds = 0
    for number in range(1, STEPS + 1):
        at = last + timedelta(hours=number * 12)
        result = both.step(feed, at)
        keyed_builds += result is not None
        assert both.differences() == [], f"seed {seed}, step {number}: {changes}"
        changes = [feed.change() for _ in range(2)]
    assert keyed_builds


def _last_time(project: DbtProject) -> datetime:
    with project.connect() as connection:
        query = "select max(greatest(effective_from, effective_to)) from mart_advisory_state_history"
        ((time,),) = connection.execute(query).fetchall()
    return max(START, time.astimezone(UTC))


@pytest.mark.parametrize("seed", FAST_SEEDS)
def test_keyed_builds_leave_the_rows_of_whole_builds(built_home: Warehouse, seed: int) -> None:
    play(built_home, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_keyed_builds_leave_the_rows_of_whole_builds_in_every_sequence(
    built_home: Warehouse, seed: int
) -> None:
    play(built_home, seed)


def test_rows_that_a_full_build_does_not_make_are_named(built_home: Warehouse) -> None:
    both = TwoWarehouses(built_home)
    with (
        pytest.raises(BuildError, match=r"int_advisories__spellings: unexpected before:\n.*\n  alpha "),
        keyed_build.compared_with_full_build(both.project, both.graph),
        both.project.writing() as connection,
    ):
        connection.execute(
            "delete from int_advisories__spellings where package_key = 'alpha'"
        ).fetchall()


def test_a_map_model_below_a_model_of_all_keys_is_refused(built_home: Warehouse) -> None:
    manifest = copy.deepcopy(built_home.project.manifest)
    reduced = manifest["nodes"]["model.etl.int_advisories__universe"]
    reduced["config"]["tags"] = ["reduce"]

    with pytest.raises(BuildError, match="int_advisories__judged reads|reads int_advisories__universe"):
        Graph.from_manifest(manifest)
