"""Which source or part of it a name means."""

from __future__ import annotations

import pytest
from support.table_declarations import contract, source

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import part_named, source_named
from etl_assets.declarations.source import Source
from etl_assets.model.errors import UsageError


def domain(name: str, *sources: Source) -> Domain:
    return Domain(
        name=name,
        title="t",
        description="d",
        owner="team:garden",
        schedule="0 5 * * *",
        sources={each.name: each for each in sources},
    )


def fruits(name: str = "orchard") -> Source:
    return source(contract("name"), {"name": "csv"}).model_copy(update={"domain": name})


def yearly() -> Source:
    held = source(contract("name"), {"name": "csv"}, partitions={"by": "year", "start": 2020})
    return held.model_copy(update={"name": "years"})


DOMAINS = {
    "orchard": domain("orchard", fruits(), yearly()),
    "garden": domain("garden", fruits("garden")),
}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("orchard.fruits", "orchard.fruits"),
        ("years[2024]", "orchard.years[2024]"),
        ("orchard.years[2024]", "orchard.years[2024]"),
    ],
)
def test_a_part_is_found_by_its_full_name_and_by_a_name_that_is_unique(
    name: str, part: str
) -> None:
    _, found = part_named(DOMAINS, name)

    assert str(found) == part


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fruits", "expected one source, found orchard.fruits and garden.fruits"),
        ("nuts", "no source 'nuts'; declared are: garden.fruits, orchard.fruits"),
        ("years", r"expected years\[PARTITION\], found years"),
        ("orchard.fruits[2024]", r"expected fruits, found orchard.fruits\[2024\]"),
        ("years[]", r"no source 'years\[\]'"),
    ],
    ids=["two", "none", "no partition", "needless partition", "empty partition"],
)
def test_a_name_that_means_no_single_part_is_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        part_named(DOMAINS, name)


def test_a_source_is_found_without_its_partition() -> None:
    assert str(source_named(DOMAINS, "years").full_name) == "orchard.years"
