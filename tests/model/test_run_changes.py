"""How a run differs from the set that was published before it."""

from __future__ import annotations

import pytest
from support.report_runs import a_manifest

from etl_assets.model.records import FetchStatus
from etl_assets.model.run_changes import compare_manifests
from etl_assets.model.run_manifest import (
    RunCheck,
    RunDocument,
    RunManifest,
    RunMart,
    RunSource,
)


def a_source(sha256: str, rows: int, partition: str | None = None) -> RunSource:
    return RunSource(
        source="plants.trees",
        partition=partition,
        status=FetchStatus.FETCHED,
        sha256=sha256 * 64,
        rows=rows,
    )


def a_mart(sha256: str, rows: int) -> RunMart:
    return RunMart(model="mart_trees", sha256=sha256 * 64, rows=rows, as_of=a_manifest().as_of)


def a_document(sha256: str) -> RunDocument:
    return RunDocument(
        document="trees.json",
        files=1,
        first_file="trees.json",
        sha256=sha256 * 64,
        size_bytes=9,
        rows=3,
    )


def a_check(degree: str) -> RunCheck:
    severity = "warn" if degree == "warn" else "error"
    return RunCheck(asset="trees", name="tall", passed=degree == "passed", severity=severity)


def changes(before: RunManifest, after: RunManifest) -> list[str]:
    return compare_manifests(before, after, "20260228_120000").lines()


def test_equal_runs_have_no_changes() -> None:
    manifest = a_manifest(
        sources=[a_source("a", 3)], marts=[a_mart("b", 3)], documents=[a_document("c")]
    )

    assert changes(manifest, manifest) == []


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ([], [a_source("a", 3)], "1 source: plants.trees (new, 3 rows)"),
        ([a_source("a", 3)], [a_source("b", 5)], "1 source: plants.trees (3 -> 5 rows)"),
        ([a_source("a", 3)], [a_source("b", 3)], "1 source: plants.trees (3 rows)"),
        (
            [a_source("a", 3, "2024")],
            [a_source("a", 3, "2024"), a_source("b", 2, "2025")],
            "1 source: plants.trees (3 -> 5 rows)",
        ),
    ],
    ids=["new", "other rows", "same count", "a new partition"],
)
def test_a_source_with_other_files_is_named_with_its_rows(
    before: list[RunSource], after: list[RunSource], line: str
) -> None:
    assert changes(a_manifest(sources=before), a_manifest(sources=after)) == [line]


def test_marts_and_documents_of_other_content_are_named() -> None:
    before = a_manifest(marts=[a_mart("a", 3)], documents=[a_document("a")])
    after = a_manifest(marts=[a_mart("b", 4)], documents=[a_document("b")])

    assert changes(before, after) == ["1 mart: mart_trees (3 -> 4 rows)", "1 document: trees.json"]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("passed", "warn", "1 newly failed check: trees: tall"),
        ("warn", "error", "1 newly failed check: trees: tall"),
        ("error", "passed", "1 newly passed check: trees: tall"),
        ("error", "error", ""),
        ("error", "warn", ""),
    ],
)
def test_a_check_that_became_worse_or_passes_is_named(before: str, after: str, line: str) -> None:
    lines = changes(a_manifest(checks=[a_check(before)]), a_manifest(checks=[a_check(after)]))

    assert "".join(lines) == line


@pytest.mark.parametrize(
    ("passed", "line"),
    [
        pytest.param(False, "", id="it fails as before"),
        pytest.param(True, "1 newly passed check: trees: are_tall", id="it passes now"),
    ],
)
def test_a_check_under_its_former_name_is_the_same_check(passed: bool, line: str) -> None:
    manifest = a_manifest()
    former = a_check("warn").model_copy(update={"name": f"gate_{manifest.domain}__are_tall"})
    now = a_check("warn").model_copy(update={"name": "are_tall", "passed": passed})

    lines = changes(a_manifest(checks=[former]), a_manifest(checks=[now]))

    assert "".join(lines) == line


@pytest.mark.parametrize(
    ("asset", "name", "asset_now", "name_now"),
    [
        ("plants/mart_trees", "gate_plants__are_tall", "plants/mart_trees", "are_tall"),
        (
            "plants/stg_plants__trees", "not_null_stg_plants__trees_id",
            "plants/stg_trees", "not_null_id",
        ),
        (
            "plants/stg_trees", "not_null_stg_plants__trees_id",
            "plants/stg_trees", "not_null_id",
        ),
        ("plants/int_plants__trees_cut", "are_tall", "plants/int_trees_cut", "are_tall"),
        (
            "plants/kinds", "accepted_values_kinds_kind__pear",
            "plants/kinds", "accepted_values_kind",
        ),
        ("plants/stg_plants__trees", "plants__are_tall", "plants/stg_trees", "plants__are_tall"),
        ("plants/trees_raw", "fresh", "plants/trees_raw", "fresh"),
    ],
    ids=["check", "both", "check, of a short key", "asset", "seed", "unshortened", "source"],
)  # fmt: skip
@pytest.mark.parametrize("passed", [False, True])
def test_a_renamed_check_is_compared_with_itself(
    asset: str, name: str, asset_now: str, name_now: str, passed: bool
) -> None:
    former = a_check("error").model_copy(update={"asset": asset, "name": name})
    now = a_check("error").model_copy(
        update={"asset": asset_now, "name": name_now, "passed": passed}
    )

    lines = changes(a_manifest(checks=[former]), a_manifest(checks=[now]))

    assert "".join(lines) == (f"1 newly passed check: {asset_now}: {name_now}" if passed else "")


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        ("plants/stg_shrubs", "not_null_id"),
        ("plants/stg_trees", "unique_id"),
        ("ferns/stg_trees", "not_null_id"),
    ],
    ids=["another model", "another test", "another domain"],
)
def test_another_check_is_newly_failed(asset: str, name: str) -> None:
    former = a_check("error").model_copy(
        update={"asset": "plants/stg_plants__trees", "name": "not_null_stg_plants__trees_id"}
    )
    now = a_check("error").model_copy(update={"asset": asset, "name": name})

    lines = changes(a_manifest(checks=[former]), a_manifest(checks=[now]))

    assert lines == [f"1 newly failed check: {asset}: {name}"]
