"""Random sets of claims, decided by the project's SQL with all claims and without each of them.

The claims replace the rows of int_advisories__claims; test_dbt_decisions.py covers the models that
make claims from the rows of a source. One build decides all sets at once, to keep the test fast.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cmp_to_key
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from domains.advisories.debian_versions import compare, without_rebuild
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from conftest import Warehouse

pytestmark = pytest.mark.long

MODELS = ("int_advisories__ranked", "int_advisories__judged", "int_advisories__decided")
VERSIONS = [None, "1.0-1", "1.0-2", "1.9-1", "1.10-1", "1:0.5-1", "2.0-1~deb12u1", "2.0-1+e1"]
RECORDS = ["a", "b", "c"]
SOURCES = {"override": "overrides", "nvd": "nvd", "vendor": "echo", "distro": "debian",
            "osv": "osv", "known": "kev"}  # fmt: skip
descending = cmp_to_key(lambda left, right: compare(right, left))
SEED = Path(__file__).parents[2] / "dbt_project/seeds/advisories/decision_rules.csv"
RULES = {row["claim"]: row for row in csv.DictReader(SEED.read_text(encoding="utf-8").splitlines())}


@dataclass(frozen=True)
class Claim:
    """A claim of one record of a source. No set has the same claim twice."""

    claim: str
    version: str | None
    record_id: str

    @property
    def source(self) -> str:
        return SOURCES[self.claim.partition("_")[0]]

    @property
    def order(self) -> tuple[Any, ...]:
        """The sort key: priority, source, version descending with none last, record, claim."""
        version = (1, 0) if self.version is None else (0, descending(without_rebuild(self.version)))
        priority = int(RULES[self.claim]["priority"])
        return priority, self.source, version, self.record_id, self.claim

    @property
    def decision(self) -> tuple[Any, ...]:
        """The decision if this claim wins."""
        rule = RULES[self.claim]
        version = self.version if rule["state"] == "fixed" else None
        return (
            *(rule["state"], version, rule["confidence"], rule["reason_code"], rule["rule_id"]),
            *(self.source, self.claim, self.record_id),
        )


UPDATE_VERSION_KEYS = (
    "update int_advisories__claims as c set version_key = v.version_key"
    " from int_advisories__versions as v where c.version = v.version"
)
CLAIMS = st.builds(
    Claim, st.sampled_from(sorted(RULES)), st.sampled_from(VERSIONS), st.sampled_from(RECORDS)
)
SETS = st.lists(st.lists(CLAIMS, min_size=2, max_size=8, unique=True), min_size=150, max_size=200)


@pytest.fixture(scope="module")
def warehouse_of_claims(shared_warehouse: Warehouse) -> Warehouse:
    """A warehouse with keys of all versions, and an empty table in place of the view of claims."""
    pairs = [
        {"package_name": "alpha", "cve_id": f"CVE-2026-{1000 + number}", "fixed_version": version}
        for number, version in enumerate(VERSIONS)
    ]
    shared_warehouse.build([("echo", pair) for pair in pairs], publish=False)
    with connect(shared_warehouse) as connection:
        connection.execute("create table random_claims as from int_advisories__claims limit 0")
        connection.execute("drop view int_advisories__claims")
        connection.execute("alter table random_claims rename to int_advisories__claims")
    return shared_warehouse


def connect(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    file = str(warehouse.home.warehouse("advisories"))
    return duckdb.connect(file, config={"file_search_path": str(warehouse.home.root)})


def decide(warehouse: Warehouse, sets: dict[str, Sequence[Claim]]) -> dict[str, tuple[Any, ...]]:
    """Returns the decision of the project's SQL on each set of claims, by the name of the set."""
    rows = []
    for name, claims in sets.items():
        rows += [(name, *astuple(claim), claim.source) for claim in claims]
    with connect(warehouse) as connection:
        connection.execute("delete from int_advisories__claims")
        connection.executemany(
            "insert into int_advisories__claims by name select $1 as advisory_id, $2 as claim,"
            " $3 as version, $4 as record_id, $5 as source, $5 as source_label",
            rows,
        )
        connection.execute(UPDATE_VERSION_KEYS)
    assert all(result.is_ok for result in warehouse.project.build(list(MODELS)))
    decisions = warehouse.query(
        "select advisory_id, d.state, d.fixed_version, d.confidence, d.reason_code, d.decision_rule,"
        " winner.source, winner.claim, winner.record_id from int_advisories__decided as d"
        " inner join int_advisories__judged as winner using (advisory_id) where winner.rank = 1"
    )
    return {name: tuple(decision) for name, *decision in decisions}


@settings(
    max_examples=3,
    phases=[Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
@given(sets=SETS)
def test_only_the_loss_of_the_winner_changes_the_decision_to_the_next_best_claim(
    warehouse_of_claims: Warehouse, sets: list[list[Claim]]
) -> None:
    variants = dict(_variants(sets))

    decisions = decide(
        warehouse_of_claims, {name: claims for name, (claims, _) in variants.items()}
    )

    expected = {name: winner.decision for name, (_, winner) in variants.items()}
    assert decisions == expected


def _variants(sets: list[list[Claim]]) -> Iterator[tuple[str, tuple[list[Claim], Claim]]]:
    """Yields each set, and each set without one of its claims, with the claim that must win."""
    for number, claims in enumerate(sets):
        best, second = sorted(claims, key=lambda claim: claim.order)[:2]
        yield f"{number}", (claims, best)
        for removed_claim in claims:
            other_claims = [claim for claim in claims if claim != removed_claim]
            winner = second if removed_claim == best else best
            yield f"{number} without {removed_claim}", (other_claims, winner)
