"""The order of `deb_key` is dpkg's: recorded answers everywhere, random ones beside dpkg."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader

# Ascending; each line is one version in several spellings. dpkg 1.21 gave the order; the spellings
# that end in a hyphen it refuses, and apt reads them as without it.
ASCENDING = [
    ["0~~", "0~~-0"],
    ["0~~a"],
    ["0~"],
    ["0", "0-0", "00", "0:0", ""],
    ["0a"],
    ["0+"],
    ["0.1"],
    ["1.0~rc1-1"],
    ["1.0-0~bpo1"],
    ["1.0", "1.0-0", "1.0-", "0:1.0", "1.00", "01.0"],
    ["1.0-1~deb12u1"],
    ["1.0-1"],
    ["1.0-1+deb12u1"],
    ["1.0-1+deb12u2"],
    ["1.0-1+deb12u10"],
    ["1.0-1+e1"],
    ["1.0-1.1"],
    ["1.0-2"],
    ["1.0-10"],
    ["1.0a-1"],
    ["1.0a1-1"],
    ["1.0+dfsg-1"],
    ["1.0-1-e1"],
    ["1.0.1-1"],
    ["1.9-1"],
    ["1.10-1"],
    ["3.8.20-4."],
    ["20240101-1"],
    ["123456789012345678901234567890-1"],
    ["1:0.1-1", "1:0.1-01", "01:0.1-1"],
    ["1:0.23.0+dfsg-"],
    ["2:0-1"],
    ["10:0-1"],
]
PARTS = st.text(alphabet="0019aAzZ.+~-", max_size=8)
VERSIONS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "0:", "1:", "12:"]),
    st.sampled_from("019"),
    PARTS,
).filter(lambda version: not version.endswith("-"))


class Keys:
    """The macro, rendered as dbt renders it, in a database of its own."""

    def __init__(self, macros: Path) -> None:
        environment = Environment(loader=FileSystemLoader(macros), autoescape=False)
        self.sql = environment.get_template("deb.sql").module.deb_key("version")  # type: ignore[attr-defined]
        self.connection = duckdb.connect()

    def sorted_by_key(self, versions: list[str]) -> list[tuple[str, int]]:
        """The versions in order, each with its place; equal ones share a place."""
        place = f"dense_rank() over (order by {self.sql})"
        return self.connection.execute(
            f"select version, {place} from unnest(?) as v (version)", [versions]
        ).fetchall()

    def compare(self, left: str, right: str) -> int:
        ranks = dict(self.sorted_by_key([left, right]))
        return ranks[left] - ranks[right]


@pytest.fixture(scope="module")
def keys(repo_root: Path) -> Iterator[Keys]:
    found = Keys(repo_root / "dbt_project" / "macros" / "shared")
    yield found
    found.connection.close()


def dpkg_says(left: str, right: str) -> int:
    for relation, answer in (("lt", -1), ("eq", 0)):
        command = ["dpkg", "--compare-versions", left, relation, right]
        code = subprocess.run(command, check=False, capture_output=True).returncode
        assert code in {0, 1}, command
        if code == 0:
            return answer
    return 1


def test_recorded_versions_sort_as_dpkg_sorted_them(keys: Keys) -> None:
    recorded = {v: place for place, alike in enumerate(ASCENDING, start=1) for v in alike}

    assert dict(keys.sorted_by_key(list(recorded))) == recorded


def test_a_missing_version_has_no_key(keys: Keys) -> None:
    found = keys.connection.execute(f"select {keys.sql} from (select null as version)").fetchall()

    assert found == [(None,)]


needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is the reference")


@needs_dpkg
def test_dpkg_still_answers_as_recorded() -> None:
    lines = [[v for v in alike if v and not v.endswith("-")] for alike in ASCENDING]
    steps = [(one[0], other[0]) for one, other in itertools.pairwise(filter(None, lines))]
    alike = [(line[0], other) for line in lines for other in line[1:]]

    assert {pair: dpkg_says(*pair) for pair in steps} == dict.fromkeys(steps, -1)
    assert {pair: dpkg_says(*pair) for pair in alike} == dict.fromkeys(alike, 0)


@needs_dpkg
@given(left=VERSIONS, right=VERSIONS)
def test_any_two_versions_compare_as_dpkg_compares_them(keys: Keys, left: str, right: str) -> None:
    assert keys.compare(left, right) == dpkg_says(left, right)
