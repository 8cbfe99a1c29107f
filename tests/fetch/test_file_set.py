"""Sets of files in real folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.table_declarations import contract, source

from etl_assets.declarations.source import Files, Source
from etl_assets.fetch.file_set import NO_FILE, FileSet, list_files, sort_partitions
from etl_assets.fetch.locations import LocationResolver
from etl_assets.model.errors import UsageError


@pytest.fixture
def orders() -> Source:
    return source(
        contract("name"),
        {"name": "csv"},
        location={"path": "fruits/in/order_{partition}.csv"},
        partitions={"by": "file", "names": "[0-9]{6}"},
    )


def list_set(orders: Source, folder: Path) -> FileSet:
    assert isinstance(orders.partitions, Files)
    return list_files(orders, orders.partitions, LocationResolver(folder))


def test_every_file_of_the_declared_form_is_a_partition(orders: Source, tmp_path: Path) -> None:
    (tmp_path / "fruits/in").mkdir(parents=True)
    for name in ("order_250102.csv", "order_241220.csv", "~$order_250102.csv", "notes.txt"):
        (tmp_path / "fruits/in" / name).touch()

    assert list_set(orders, tmp_path) == FileSet(["241220", "250102"], [])


def test_a_file_of_almost_the_declared_form_is_reported(orders: Source, tmp_path: Path) -> None:
    (tmp_path / "fruits/in").mkdir(parents=True)
    (tmp_path / "fruits/in/order_2501 (copy).csv").touch()

    assert list_set(orders, tmp_path).misnamed_files == [
        (
            "orchard.fruits: 'order_2501 (copy).csv' is ignored: "
            "expected order_{partition}.csv with [0-9]{6}"
        )
    ]


def test_a_missing_folder_has_no_files(orders: Source, tmp_path: Path) -> None:
    assert list_set(orders, tmp_path) == FileSet([], [])


def test_a_mirror_behind_a_url_is_refused(orders: Source, tmp_path: Path) -> None:
    assert isinstance(orders.partitions, Files)

    with pytest.raises(UsageError, match="expected ETL_MIRROR to be a directory"):
        list_files(orders, orders.partitions, LocationResolver(tmp_path, "http://127.0.0.1:9"))


def test_no_file_is_a_partition_only_if_there_is_no_other() -> None:
    assert sort_partitions([]) == [NO_FILE]
    assert sort_partitions(["b", NO_FILE, "a", "b"]) == ["a", "b"]
