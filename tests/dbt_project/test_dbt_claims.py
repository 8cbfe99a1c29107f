"""Random sets of claims, decided by the project's own SQL: what becomes of each where one is gone.

The claims are put in the place of the model that gathers them; which claims a source's rows make is
test_dbt_decisions.py. One build decides all sets at once, with each of their claims removed in turn.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from domains.advisories.versions import rank
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from conftest import Warehouse

pytestmark = pytest.mark.long

MODELS = ("int_advisories__ranked", "int_advisories__judged", "int_advisories__decided")
VERSIONS = [None, "1.0-1", "1.0-2", "1.9-1", "1.10-1", "1:0.5-1", "2.0-1~deb12u1", "2.0-1+e1"]
RECORDS = ["a", "b", "c"]
SPEAKERS = {"override": "overrides", "nvd": "nvd", "vendor": "echo", "distro": "debian",
            "osv": "osv", "known": "kev"}  # fmt: skip
SEED = Path(__file__).parents[2] / "dbt_project/seeds/advisories/decision_rules.csv"
RULES = {row["claim"]: row for row in csv.DictReader(SEED.read_text(encoding="utf-8").splitlines())}


@dataclass(frozen=True)
class Claim:
    """What a source says, and in which record; a set holds none twice."""

    claim: str
    version: str | None
    record_id: str

    @property
    def source(self) -> str:
        return SPEAKERS[self.claim.partition("_")[0]]

    @property
    def order(self) -> tuple[Any, ...]:
        """Priority, source, the later version first and none last, record, claim."""
        version = (1, 0) if self.version is None else (0, _Descending(self.version))
        priority = int(RULES[self.claim]["priority"])
        return priority, self.source, version, self.record_id, self.claim

    @property
    def decision(self) -> tuple[Any, ...]:
        """What it decides where it wins."""
        rule = RULES[self.claim]
        version = self.version if rule["state"] == "fixed" else None
        told = (rule["state"], version, rule["confidence"], rule["reason_code"], rule["rule_id"])
        return *told, self.source, self.claim, self.record_id


class _Descending:
    """A version that sorts before the earlier ones."""

    def __init__(self, version: str) -> None:
        self._rank = rank(version)

    def __lt__(self, other: _Descending) -> bool:
        return bool(other._rank < self._rank)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self._rank == other._rank)


KEYED = (
    "update int_advisories__claims as c set version_key = v.version_key"
    " from int_advisories__versions as v where c.version = v.version"
)
CLAIMS = st.builds(
    Claim, st.sampled_from(sorted(RULES)), st.sampled_from(VERSIONS), st.sampled_from(RECORDS)
)
SETS = st.lists(st.lists(CLAIMS, min_size=2, max_size=8, unique=True), min_size=150, max_size=200)


@pytest.fixture(scope="module")
def warehouse_of_claims(shared_warehouse: Warehouse) -> Warehouse:
    """A warehouse that knows the versions, and whose claims are a table that tests fill."""
    pairs = [
        {"package_name": "alpha", "cve_id": f"CVE-2026-{1000 + number}", "fixed_version": version}
        for number, version in enumerate(VERSIONS)
    ]
    shared_warehouse.build([("echo", pair) for pair in pairs], publish=False)
    with connected(shared_warehouse) as connection:
        connection.execute("create table made_up as from int_advisories__claims limit 0")
        connection.execute("drop view int_advisories__claims")
        connection.execute("alter table made_up rename to int_advisories__claims")
    return shared_warehouse


def connected(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    file = str(warehouse.home.warehouse("advisories"))
    return duckdb.connect(file, config={"file_search_path": str(warehouse.home.root)})


def decide(warehouse: Warehouse, sets: dict[str, Sequence[Claim]]) -> dict[str, tuple[Any, ...]]:
    """The decision on each named set of claims, by the project's SQL."""
    rows = [(name, *astuple(c), c.source) for name, claims in sets.items() for c in claims]
    with connected(warehouse) as connection:
        connection.execute("delete from int_advisories__claims")
        connection.executemany(
            "insert into int_advisories__claims by name select $1 as advisory_id, $2 as claim,"
            " $3 as version, $4 as record_id, $5 as source, $5 as source_label",
            rows,
        )
        connection.execute(KEYED)
    assert all(result.is_ok for result in warehouse.project.build(list(MODELS)))
    found = warehouse.query(
        "select advisory_id, state, fixed_version, confidence, reason_code, decision_rule,"
        " evidence.source, evidence.claim, evidence.record_id from int_advisories__decided"
    )
    return {name: tuple(rest) for name, *rest in found}


@settings(
    max_examples=3,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(sets=SETS)
def test_only_the_winner_is_missed_and_the_best_of_the_others_follows_it(
    warehouse_of_claims: Warehouse, sets: list[list[Claim]]
) -> None:
    variants = dict(_variants(sets))

    found = decide(warehouse_of_claims, {name: claims for name, (claims, _) in variants.items()})

    expected = {name: winner.decision for name, (_, winner) in variants.items()}
    assert found == expected


def _variants(sets: list[list[Claim]]) -> Iterator[tuple[str, tuple[list[Claim], Claim]]]:
    """Each set, and each set without one of its claims, with the claim that has to win."""
    for number, claims in enumerate(sets):
        best, second = sorted(claims, key=lambda claim: claim.order)[:2]
        yield f"{number}", (claims, best)
        for gone in claims:
            rest = [claim for claim in claims if claim != gone]
            yield f"{number} without {gone}", (rest, second if gone == best else best)
