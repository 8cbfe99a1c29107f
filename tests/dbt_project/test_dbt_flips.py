"""The evidence that `would_flip` names does change the state, for every case of every rule.

The new evidence is derived from the sentence alone. One build applies it to all cases at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from support.decision_cases import CASES, NAMES, cve_of, feed, fixed_in

if TYPE_CHECKING:
    from conftest import Row, Warehouse

pytestmark = pytest.mark.long

LOST_SUPPORT = re.compile(
    r"Becomes ([a-z ]+?)(?: in version (\S+))? once these no longer say so: (.+)\."
)
UNDECIDED = "Is decided again once these no longer say so: "
VENDOR_FIX = "Becomes fixed when the vendor's feed names a fixed version"
DISTRO_FIX = re.compile(r"when Debian publishes a fix(?: above \S+)? in .*\((\w+)\)\.$")
SOURCES = {
    "the analysts' ruling": {"overrides"},
    "the vendor's feed": {"echo"},
    "NVD": {"nvd", "nvd_modified"},
    "Debian's security tracker": {"debian"},
    "OSV": {"osv"},
}
LATER = "9:9.9-1"
Outcome = tuple[str, str | None]
"""State and fixed version; the state is `unlisted` if there is no advisory."""


def rows_of(title: str) -> list[Row]:
    return [statement(NAMES[title], cve_of(title)) for statement in CASES[title].statements]


def without_sources(title: str, sources: set[str]) -> Iterator[Row]:
    """Yields the rows without the statements of these sources; the vendor still lists the pair."""
    for table, row in rows_of(title):
        if table not in sources or row.get("cve_id", cve_of(title)) != cve_of(title):
            yield table, row
        elif table == "echo":
            yield feed()(NAMES[title], cve_of(title))


def with_vendor_fix(title: str) -> Iterator[Row]:
    pair = {"package_name": NAMES[title], "cve_id": cve_of(title)}.items()
    for table, row in rows_of(title):
        is_listed = table == "echo" and pair <= row.items()
        yield table, row | ({"fixed_version": LATER} if is_listed else {})


def with_debian_fix(title: str, release: str) -> Iterator[Row]:
    for table, row in rows_of(title):
        if table != "debian" or row["release"] != release:
            yield table, row
    yield fixed_in(release, LATER)(NAMES[title], cve_of(title))


def changes_in(title: str, sentence: str) -> Iterator[tuple[Outcome, list[Row]]]:
    """Yields each change that the sentence names: the expected outcome and the changed rows."""
    if match := LOST_SUPPORT.fullmatch(sentence):
        state, version, labels = match.groups()
        sources = set().union(*(SOURCES[label] for label in labels.split(", ")))
        yield (state.replace(" ", "_"), version), list(without_sources(title, sources))
    if sentence.startswith(VENDOR_FIX):
        yield ("fixed", LATER), list(with_vendor_fix(title))
    if match := DISTRO_FIX.search(sentence):
        yield ("fixed", LATER), list(with_debian_fix(title, match[1]))


def decide(warehouse: Warehouse, rows: list[Row], column: str) -> dict[str, tuple[str, str, str]]:
    """Returns state, `column` and rule of each case by its title; empty if it has no advisory."""
    warehouse.build(rows, publish=False)
    advisories = warehouse.query(
        f"select package_name, cve_id, state, {column}, decision_rule from mart_advisory_current"
    )
    cells = {(package, cve): tuple(values) for package, cve, *values in advisories}
    return {title: cells.get((NAMES[title], cve_of(title)), ()) for title in CASES}


def test_the_evidence_of_would_flip_changes_the_state(shared_warehouse: Warehouse) -> None:
    all_rows = [row for title in CASES for row in rows_of(title)]
    decisions = decide(shared_warehouse, all_rows, "would_flip")
    changes = {title: list(changes_in(title, decisions[title][1])) for title in CASES}

    wrong_outcomes = []
    # A sentence names one or two changes: a build each.
    for number in (0, 1):
        applied = {title: pair[number] for title, pair in changes.items() if len(pair) > number}
        rows = [row for _, changed_rows in applied.values() for row in changed_rows]
        outcomes = decide(shared_warehouse, rows, "fixed_version")
        wrong_outcomes += [
            (title, decisions[title][1], outcomes[title])
            for title, (expected, _) in applied.items()
            if (outcomes[title][:2] or ("unlisted", None)) != expected
        ]

    # Where both upstreams state something, what one of them states depends on the other.
    undecided = {t for t in CASES if decisions[t][1].startswith(UNDECIDED)}
    for title in undecided:
        assert {"debian", "osv"} <= {table for table, _ in rows_of(title)}
    assert all(changes[title] for title in CASES.keys() - undecided)
    assert wrong_outcomes == []
    assert {rule for _, _, rule in decisions.values()} == {"R0", "R1", "R2", "R3", "R4", "R5", "R6"}
