"""The decisions on the invented records of decision_cases.py.

One build decides all cases at once, each for a package of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.decision_cases import CASES, NAMES, cve_of

if TYPE_CHECKING:
    from conftest import Warehouse


@pytest.fixture(scope="module")
def decisions(shared_warehouse: Warehouse) -> Warehouse:
    rows = []
    for title, case in CASES.items():
        rows += [statement(NAMES[title], cve_of(title)) for statement in case.statements]
    results = shared_warehouse.build(rows)
    assert not [result for result in results.values() if not result.is_ok]
    return shared_warehouse


@pytest.mark.fault("half-evaluated")
@pytest.mark.parametrize("title", CASES)
def test_a_case_is_decided_by_its_rule(decisions: Warehouse, title: str) -> None:
    rows = decisions.query(
        "select state, reason_code, coalesce(fixed_version, '-'), confidence"
        " from mart_advisory_current where advisory_id = ?",
        f"{NAMES[title]}:{cve_of(title)}",
    )

    assert [" ".join(row) for row in rows] == [CASES[title].expected]


@pytest.mark.parametrize(
    ("title", "contributing", "dissenting"),
    [
        ("a ruling beats every feed", ["nvd", "overrides"], ["debian", "echo"]),
        ("a ruling may name a fix", ["echo", "overrides"], []),
        ("a ruling and the feed that was built from it are one witness", ["overrides"], []),
        ("a ruling and the sentinel that was built from it are one witness", ["overrides"], []),
        ("a rejection beats the vendor's version with less confidence", ["nvd"], ["echo"]),
        ("a known exploited id is assessed", ["kev"], []),
        ("zero is a sentinel too, and beats a distribution's fix", ["echo"], ["debian"]),
    ],
)
def test_sources_contribute_or_dissent(
    decisions: Warehouse, title: str, contributing: list[str], dissenting: list[str]
) -> None:
    rows = decisions.query(
        "select contributing_sources, dissenting_sources"
        " from mart_advisory_current where package_name = ? and cve_id = ?",
        NAMES[title],
        cve_of(title),
    )

    assert rows == [(contributing, dissenting)]


@pytest.mark.parametrize(
    ("title", "sentence"),
    [
        ("a ruling and the feed that was built from it are one witness",
         ("{package} is not affected by {cve}: our analysts have ruled so (code not in use)."
         " The vendor's feed names version 1.0-1, which the ruling sets aside.")),
        ("words with braces are text",
         ("{package} is not affected by {cve}: our analysts have ruled so"
          " (uses {{placeholder}} and {{cve id).")),
        ("a distribution's fix counts where the vendor names none",
         ("Fixed in version 2.0-1, published in Debian 13 (trixie), as Debian's security tracker"
         " states (https://security-tracker.debian.org/tracker/{cve}).")),
        ("a fix in an old release alone is awaited",
         ("We know of no fix for this release: Debian's security tracker names one in"
         " Debian 11 (bullseye) only (https://security-tracker.debian.org/tracker/{cve}).")),
        ("a fix proves nothing where the vendor ships a rebuild",
         ("No fix is proven yet: Debian's security tracker names version 3.0-1 in"
         " Debian 13 (trixie) (https://security-tracker.debian.org/tracker/{cve}), but the vendor"
         " already ships 2.0-1+e1, a rebuild of its own, and still lists it.")),
        ("ignored in every target release will not be fixed",
         ("{cve} will not be fixed in {package}: Debian's security tracker says"
         " Debian 13 (trixie) (ignored), Debian 12 (bookworm) (end of life)"
         " (https://security-tracker.debian.org/tracker/{cve}).")),
    ],
)  # fmt: skip
def test_a_decision_is_explained(decisions: Warehouse, title: str, sentence: str) -> None:
    package, cve = NAMES[title], cve_of(title)

    rows = decisions.query(
        "select explanation from mart_advisory_current where package_name = ? and cve_id = ?",
        package,
        cve,
    )

    assert rows == [(sentence.format(package=package, cve=cve),)]


@pytest.mark.parametrize(
    ("title", "sentence"),
    [
        ("a rejection beats the vendor's version with less confidence",
         "Becomes fixed in version 1.0-1 once these no longer say so: NVD."),
        ("a listed id that nobody assessed is new",
         ("Becomes fixed when the vendor's feed names a fixed version, or when Debian publishes"
         " a fix in Debian unstable (sid).")),
        ("a fix at or below what the vendor ships proves nothing",
         ("Becomes fixed when the vendor's feed names a fixed version, or when Debian publishes"
         " a fix above 2.0-1 in Debian unstable (sid).")),
        ("a fix under a newer open release is open",
         ("Becomes fixed when the vendor's feed names a fixed version, or when Debian publishes"
         " a fix in Debian 14 (forky).")),
        ("a fix proves nothing where the vendor ships a rebuild",
         "Becomes fixed when the vendor's feed names a fixed version."),
        ("a ruling on what no feed lists is kept",
         "Becomes unlisted once these no longer say so: the analysts' ruling."),
    ],
)  # fmt: skip
def test_the_evidence_that_would_change_a_state_is_named(
    decisions: Warehouse, title: str, sentence: str
) -> None:
    rows = decisions.query(
        "select would_flip from mart_advisory_current where package_name = ? and cve_id = ?",
        NAMES[title],
        cve_of(title),
    )

    assert rows == [(sentence,)]


def test_every_advisory_has_one_winning_claim(decisions: Warehouse) -> None:
    rows = decisions.query(
        "select advisory_id from mart_advisory_claims"
        " group by advisory_id having count(*) filter (where verdict = 'won') != 1"
    )

    assert rows == []


def test_the_best_ranked_claim_is_the_decision(decisions: Warehouse) -> None:
    rows = decisions.query(
        "select m.advisory_id from mart_advisory_current as m"
        " inner join mart_advisory_claims as c using (advisory_id)"
        " where c.rank = 1 and (c.state, c.rule_id, c.record_id)"
        " != (m.state, m.decision_rule, m.evidence.record_id)"
    )

    assert rows == []


def test_an_upstream_pair_of_another_package_is_not_unlisted(decisions: Warehouse) -> None:
    title = "another package's fix is none"
    pairs = decisions.query("select package_name, cve_id from mart_advisory_unlisted")

    assert (f"{NAMES[title]}-other", cve_of(title)) not in pairs
    assert pairs == []
