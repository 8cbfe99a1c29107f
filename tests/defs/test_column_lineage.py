"""The lineage of columns that materializations record, from a mart to the raw files."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
from support.orchard import DOMAIN, Files, Orchard, create_project
from support.raw_fields import LINEAGE, raw_fields
from support.sample_home import SampleHome

from etl_assets.defs import asset_keys
from etl_assets.marts import lineage_cache

MODEL = "mart_trees"


@pytest.fixture
def orchard(tmp_path: Path) -> Orchard:
    orchard = Orchard(tmp_path, project=create_project(tmp_path / "project"))
    orchard.serve(Files.create())
    return orchard


def metadata_of(orchard: Orchard, asset: str) -> dict[str, dg.MetadataValue]:
    with orchard.session() as session:
        event = session.event_log.instance.get_latest_materialization_event(
            dg.AssetKey([DOMAIN, asset])
        )
        assert event is not None
        assert event.asset_materialization is not None
        return dict(event.asset_materialization.metadata)


def lineage_of(orchard: Orchard, asset: str) -> dict[str, list[str]]:
    value = metadata_of(orchard, asset)[LINEAGE]
    assert isinstance(value, dg.TableColumnLineageMetadataValue)
    return {
        column: [f"{asset_keys.name_of(dep.asset_key)}.{dep.column_name}" for dep in deps]
        for column, deps in value.lineage.deps_by_column.items()
    }


def rewrite(orchard: Orchard, name: str, old: str, new: str) -> None:
    [file] = (orchard.project / "dbt_project" / "models").rglob(name)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def cache_file(orchard: Orchard) -> Path:
    return orchard.home.dbt_target(DOMAIN) / lineage_cache.FILE_NAME


ADVISORY_COLUMNS = {
    "epss": {"epss_raw: epss"},
    "is_known_exploited": {"kev_raw: cveID"},
    "cvss_score": {"nvd_raw: cvss_score", "nvd_modified_raw: cvss_score"},
}


@pytest.mark.parametrize("column", ADVISORY_COLUMNS)
def test_a_column_of_a_mart_is_followed_to_the_raw_files(
    first_run: SampleHome, column: str
) -> None:
    assert raw_fields(first_run, "mart_advisory_current", column) == ADVISORY_COLUMNS[column]


@pytest.mark.long
@pytest.mark.ci
def test_a_table_names_the_field_of_each_column(orchard: Orchard) -> None:
    orchard.run()

    assert lineage_of(orchard, "trees")["tree_id"] == [f"{DOMAIN}/trees_raw.tree_id"]


@pytest.mark.long
@pytest.mark.ci
def test_a_model_shows_its_columns_with_their_raw_fields(orchard: Orchard) -> None:
    orchard.run()

    shown = str(metadata_of(orchard, MODEL)["columns"].value)
    assert "| note | stg_notes.note | notes: note |" in shown
    assert "| kilograms | stg_harvests.kilograms | harvests: kilograms |" in shown


def test_a_model_whose_sql_cannot_be_followed_has_no_lineage_and_says_so(orchard: Orchard) -> None:
    rewrite(orchard, f"{MODEL}.sql", "with harvested", "with recursive harvested")

    manifest = orchard.run()

    assert manifest.published, manifest.note
    metadata = metadata_of(orchard, MODEL)
    assert LINEAGE not in metadata
    assert "recursive" in str(metadata["columns"].value)


@pytest.mark.long
@pytest.mark.ci
def test_other_sql_has_another_lineage(orchard: Orchard) -> None:
    orchard.run()
    before = lineage_of(orchard, "stg_trees")
    rewrite(orchard, "stg_orchard__trees.sql", "kind,", "upper(kind || tree_id) as kind,")

    orchard.run()

    assert before["kind"] == [f"{DOMAIN}/trees.kind"]
    assert lineage_of(orchard, "stg_trees")["kind"] == [
        f"{DOMAIN}/trees.kind",
        f"{DOMAIN}/trees.tree_id",
    ]


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.unlink(), id="lost"),
        pytest.param(lambda file: file.write_bytes(b"{"), id="half written"),
        pytest.param(lambda file: os.truncate(file, 0), id="empty"),
    ],
)
def test_a_lost_cache_is_made_again(orchard: Orchard, damage) -> None:
    orchard.run()
    kept, before = cache_file(orchard).read_bytes(), lineage_of(orchard, MODEL)
    damage(cache_file(orchard))
    files = Files.create()
    files.trees["T-1"] = "medlar"
    orchard.serve(files)

    manifest = orchard.run()

    assert manifest.published, manifest.note
    assert cache_file(orchard).read_bytes() == kept
    assert lineage_of(orchard, MODEL) == before
