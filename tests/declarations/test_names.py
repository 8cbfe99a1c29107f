"""Looking up sources by name, and the order of their dependencies."""

from __future__ import annotations

import pytest
from support.table_declarations import contract, source

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.names import fetch_order, find_part, find_source
from etl_assets.declarations.source import Source
from etl_assets.model.errors import DeclarationError, UsageError


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
    declared = source(contract("name"), {"name": "csv"}, partitions={"by": "year", "start": 2020})
    return declared.model_copy(update={"name": "years"})


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
    _, found_part = find_part(DOMAINS, name)

    assert str(found_part) == part


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fruits", "expected one source, found orchard.fruits and garden.fruits"),
        ("nuts", "no source 'nuts'; .*declared are: garden.fruits, orchard.fruits"),
        ("years", r"expected years\[PARTITION\], found years"),
        ("orchard.fruits[2024]", r"expected fruits, found orchard.fruits\[2024\]"),
        ("years[]", r"no source 'years\[\]'"),
    ],
    ids=["two", "none", "no partition", "needless partition", "empty partition"],
)
def test_a_name_that_means_no_single_part_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_part(DOMAINS, name)


def test_a_source_is_found_without_its_partition() -> None:
    assert str(find_source(DOMAINS, "years").full_name) == "orchard.years"


def dependent(name: str, table: str, column: str = "name") -> Source:
    """A source with one request per row of another source's table."""
    fields = {"location": {"url": f"https://a.example/{{{column}}}"}}
    asks = {"table": table, "columns": ["name"]}
    declared = source(contract("name"), {"name": "csv"}, for_each=asks, **fields)
    return declared.model_copy(update={"domain": "orchard", "name": name})


def names(batches: list[list[Source]]) -> list[list[str]]:
    return [[each.name for each in batch] for batch in batches]


def test_sources_are_fetched_after_the_tables_they_read() -> None:
    declared = domain(
        "orchard", dependent("prices", "shops"), dependent("shops", "fruits"), fruits()
    )

    assert names(fetch_order(declared.sources)) == [["fruits"], ["shops"], ["prices"]]


def test_independent_sources_are_one_batch_in_their_declared_order() -> None:
    declared = domain("orchard", yearly(), fruits())

    assert names(fetch_order(declared.sources)) == [["years", "fruits"]]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            [dependent("a", "b"), dependent("b", "a"), fruits()],
            "orchard/a.yaml: for_each: expected no cycle, found a -> b -> a",
        ),
        (
            [dependent("a", "fruit"), fruits()],
            "a source of the domain, perhaps 'fruits', found 'fruit'",
        ),
        ([dependent("a", "years"), yearly()], "without partitions, found 'years' with partitions"),
        ([dependent("a", "fruits", "nam"), fruits()], "perhaps 'name', found {nam}"),
    ],
    ids=["cycle", "unknown table", "partitioned table", "unknown column"],
)
def test_a_dependency_that_cannot_be_met_is_refused(sources: list[Source], message: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        fetch_order(domain("orchard", *sources).sources)

    assert message in str(raised.value)
