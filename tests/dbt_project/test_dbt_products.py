"""What a statement names: the source package, its binary packages, and versions with a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Row, Warehouse

pytestmark = pytest.mark.long

CHECK = "advisories__statements_name_binary_packages"
Product = tuple[str, str | None, str | None]


def feed(package: str, number: int, fixed_version: str | None = None) -> Row:
    columns = {"package_name": package, "cve_id": f"CVE-2026-{number}"}
    return "echo", columns | ({"fixed_version": fixed_version} if fixed_version else {})


def built(
    name: str, version: str, source: str, source_version: str = "", arch: str = "amd64"
) -> Row:
    return "packages", {
        "package_name": name,
        "version": version,
        "architecture": arch,
        "source_name": source,
        "source_version": source_version or version,
    }


FEED: list[Row] = [
    feed("alpha", 1001, "1.0-2"),
    feed("Alpha", 1002),
    feed("beta", 1003, "1:2.0-1"),
    feed("gamma", 1004, "1"),
    feed("delta", 1005),
    feed("epsilon", 1006, "3.0-1"),
    feed("zeta", 1007),
]
INDEX: list[Row] = [
    # Three versions of two binary packages, of which one was built again.
    *(built("alpha", f"1.0-{n}", "alpha") for n in (1, 2, 10)),
    *(built("libalpha1", f"1.0-{n}+b1", "ALPHA", f"1.0-{n}") for n in (1, 2, 10)),
    built("libalpha1", "1.0-10+b1", "ALPHA", "1.0-10", arch="arm64"),
    # An epoch, a tilde, and a version without the epoch.
    built("beta-bin", "1:2.0-1~rc1", "beta"),
    built("beta-bin", "1:2.0-1", "beta"),
    built("beta-bin", "9.0-1", "beta"),
    built("beta-doc", "7", "beta", "1:2.0-1+e1"),
    # A binary package of two sources.
    built("libshared", "5", "gamma", "1.0-1"),
    built("libshared", "6", "delta", "1.0-1"),
    # One version of two sources: each statement on it would contradict the other one.
    built("libshared", "7", "gamma", "1.0-1"),
    built("libshared", "7", "delta", "1.0-1", arch="arm64"),
    built("gamma", "1.0-1", "gamma"),
    # A binary package with the name of another source.
    built("zeta", "1.0-1", "delta"),
]


@pytest.fixture(scope="module")
def results(shared_warehouse: Warehouse) -> Any:
    return shared_warehouse.build([*FEED, *INDEX])


@pytest.fixture(scope="module")
def products(shared_warehouse: Warehouse, results: Any) -> dict[str, list[Product]]:
    assert results
    return products_of(shared_warehouse)


def products_of(warehouse: Warehouse) -> dict[str, list[Product]]:
    rows = warehouse.query("select vulnerability_id, products from doc_advisories__openvex")
    return {
        identifier: [(p["name"], p["version"], p["arch"]) for p in named]
        for identifier, named in rows
    }


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param(
            1001,
            [
                *(("Alpha", version, None) for version in ("1.0-2", "1.0-10")),
                *(("libalpha1", f"{version}+b1", None) for version in ("1.0-2", "1.0-10")),
            ],
            id="each published version at or above the fix",
        ),
        pytest.param(
            1002, [("Alpha", None, None), ("libalpha1", None, None)], id="no fix: all versions"
        ),
        pytest.param(
            1003,
            [
                ("beta", "1:2.0-1", None),
                ("beta", "1:2.0-1+e1", None),
                ("beta-bin", "1:2.0-1", None),
                ("beta-doc", "7", None),
            ],
            id="in the order of Debian, by the version of the source",
        ),
        pytest.param(
            1004,
            [("gamma", None, None), ("libshared", "5", None)],
            id="of a package of two sources, the versions from this one",
        ),
        pytest.param(
            1005,
            [("delta", None, None), ("libshared", "6", None), ("zeta", "1.0-1", None)],
            id="a package with the name of another source",
        ),
        pytest.param(1006, [("epsilon", "3.0-1", None)], id="a source that is not in the index"),
        pytest.param(
            1007, [("zeta", None, "source")], id="a source with the name of another's package"
        ),
    ],
)
def test_a_statement_names_what_was_built_from_its_source(
    products: dict[str, list[Product]], number: int, expected: list[Product]
) -> None:
    assert products[f"CVE-2026-{number}"] == expected


def test_with_an_index_there_is_no_warning(results: Any) -> None:
    assert results[CHECK].status == "pass"


def test_without_an_index_a_statement_names_its_source_and_a_check_warns(
    warehouse: Warehouse,
) -> None:
    results = warehouse.build(FEED)

    assert products_of(warehouse) == {
        "CVE-2026-1001": [("Alpha", "1.0-2", None)],
        "CVE-2026-1002": [("Alpha", None, None)],
        "CVE-2026-1003": [("beta", "1:2.0-1", None)],
        "CVE-2026-1004": [("gamma", None, None)],
        "CVE-2026-1005": [("delta", None, None)],
        "CVE-2026-1006": [("epsilon", "3.0-1", None)],
        "CVE-2026-1007": [("zeta", None, None)],
    }
    assert (results[CHECK].status, results[CHECK].failures) == ("warn", 1)
