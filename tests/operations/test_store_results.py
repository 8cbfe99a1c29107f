"""How the answers of the store verbs read."""

from __future__ import annotations

from etl_assets.operations.store_results import Fault, Removed, Restored, StoreFault, Verification


def test_a_whole_store_is_one_line() -> None:
    assert Verification(files=3, size_bytes=12345, faults=[]).lines() == [
        "3 raw files, 12,345 bytes: all as recorded"
    ]


def test_each_fault_names_the_first_of_its_manifests() -> None:
    fault = StoreFault(path="data/raw/ab/abc", fault=Fault.MISSING, named_by=["a", "b", "c", "d"])

    assert Verification(files=1, size_bytes=0, faults=[fault]).lines() == [
        "1 raw files, 0 bytes: 1 fault",
        "missing  data/raw/ab/abc, named by a, b, c and 1 more",
        "the next run fetches again what it needs of these, where a remote still has it",
    ]


def test_a_restoration_tells_what_it_could_not_do() -> None:
    restored = Restored(
        domain="plants", files=["plants.trees"], tables=[], made=["plants.trees"], unheard=["x"]
    )

    assert restored.lines() == [
        "plants: 1 raw files and 0 tables known again, 1 tables made again",
        "  x",
    ]


def test_what_goes_says_why_and_how_much() -> None:
    removed = Removed(path="outputs/plants/20260301_120000", why="an old run", size_bytes=1234)

    assert str(removed) == "outputs/plants/20260301_120000: an old run, 1,234 bytes"
