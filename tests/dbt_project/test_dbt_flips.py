"""Doing what an explanation says would flip a state does flip it, for every case of every rule.

What is done follows from the sentence alone. All cases are flipped at once, as one feed.
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

SILENCE = re.compile(r"Becomes (\w+)(?: in version (\S+))? once these say so no longer: (.+)\.")
VENDOR = "Becomes fixed when the vendor's feed names a fixed version"
DISTRO = re.compile(r"when Debian publishes a fix(?: above \S+)? in .*\((\w+)\)\.$")
SOURCES = {
    "the analysts' ruling": {"overrides"},
    "the vendor's feed": {"echo"},
    "NVD": {"nvd", "nvd_modified"},
    "Debian's security tracker": {"debian"},
    "OSV": {"osv"},
}
LATER = "9:9.9-1"
Promise = tuple[str, str | None]
"""State and version; the state `unlisted` is that of no advisory."""


def rows_of(title: str) -> list[Row]:
    return [statement(NAMES[title], cve_of(title)) for statement in CASES[title].statements]


def once_silent(title: str, sources: set[str]) -> Iterator[Row]:
    """The rows without what these sources say of the pair; the vendor lists it as before."""
    for table, row in rows_of(title):
        if table not in sources or row.get("cve_id", cve_of(title)) != cve_of(title):
            yield table, row
        elif table == "echo":
            yield feed()(NAMES[title], cve_of(title))


def when_the_vendor_fixes(title: str) -> Iterator[Row]:
    pair = {"package_name": NAMES[title], "cve_id": cve_of(title)}.items()
    for table, row in rows_of(title):
        is_listed = table == "echo" and pair <= row.items()
        yield table, row | ({"fixed_version": LATER} if is_listed else {})


def when_debian_fixes(title: str, release: str) -> Iterator[Row]:
    for table, row in rows_of(title):
        if table != "debian" or row["release"] != release:
            yield table, row
    yield fixed_in(release, LATER)(NAMES[title], cve_of(title))


def doings(title: str, sentence: str) -> Iterator[tuple[Promise, list[Row]]]:
    """Each thing that the sentence says would flip the state, done, and what it promises."""
    if told := SILENCE.fullmatch(sentence):
        sources = set().union(*(SOURCES[label] for label in told[3].split(", ")))
        yield (told[1], told[2]), list(once_silent(title, sources))
    if sentence.startswith(VENDOR):
        yield ("fixed", LATER), list(when_the_vendor_fixes(title))
    if told := DISTRO.search(sentence):
        yield ("fixed", LATER), list(when_debian_fixes(title, told[1]))


def built(warehouse: Warehouse, rows: list[Row], column: str) -> dict[str, tuple[str, str, str]]:
    """State and `column` of each case, by its title."""
    warehouse.build(rows, publish=False)
    found = warehouse.query(
        f"select package_name, cve_id, state, {column}, decision_rule from mart_advisory_current"
    )
    cells = {(package, cve): tuple(rest) for package, cve, *rest in found}
    return {title: cells.get((NAMES[title], cve_of(title)), ()) for title in CASES}


def test_every_promise_is_kept(shared_warehouse: Warehouse) -> None:
    told = built(shared_warehouse, [row for title in CASES for row in rows_of(title)], "would_flip")
    done = {title: list(doings(title, told[title][1])) for title in CASES}

    broken = []
    for turn in (0, 1):
        turned = {title: ways[turn] for title, ways in done.items() if len(ways) > turn}
        rows = [row for _, rows in turned.values() for row in rows]
        found = built(shared_warehouse, rows, "fixed_version")
        broken += [
            (title, told[title][1], found[title])
            for title, (promise, _) in turned.items()
            if (found[title][:2] or ("unlisted", None)) != promise
        ]

    assert all(done.values())
    assert broken == []
    assert {rule for _, _, rule in told.values()} == {"R0", "R1", "R2", "R3", "R4", "R5", "R6"}
