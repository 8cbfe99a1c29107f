"""The macro deb_key orders recorded versions, and random ones if there is dpkg, as dpkg does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader

# In ascending order; each line is one version in several spellings. The order is that of dpkg 1.21.
# It refuses spellings that end in a hyphen, which apt reads as if there were no hyphen.
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
    """The rendered macro, in an in-memory database."""

    def __init__(self, macros: Path) -> None:
        environment = Environment(loader=FileSystemLoader(macros), autoescape=False)
        self.sql = environment.get_template("deb.sql").module.deb_key("version")  # type: ignore[attr-defined]
        self.connection = duckdb.connect()

    def sorted_by_key(self, versions: list[str]) -> list[tuple[str, int]]:
        """Returns the versions in order, each with its rank; equal versions have equal ranks."""
        rank = f"dense_rank() over (order by {self.sql})"
        return self.connection.execute(
            f"select version, {rank} from unnest(?) as v (version)", [versions]
        ).fetchall()

    def compare(self, left: str, right: str) -> int:
        ranks = dict(self.sorted_by_key([left, right]))
        return ranks[left] - ranks[right]


@pytest.fixture(scope="module")
def keys(repo_root: Path) -> Iterator[Keys]:
    keys = Keys(repo_root / "dbt_project" / "macros" / "shared")
    yield keys
    keys.connection.close()


def compare_by_dpkg(left: str, right: str) -> int:
    for relation, answer in (("lt", -1), ("eq", 0)):
        command = ["dpkg", "--compare-versions", left, relation, right]
        code = subprocess.run(command, check=False, capture_output=True).returncode
        assert code in {0, 1}, command
        if code == 0:
            return answer
    return 1


def test_recorded_versions_sort_like_dpkg(keys: Keys) -> None:
    ranks = {}
    for rank, spellings in enumerate(ASCENDING, start=1):
        ranks |= dict.fromkeys(spellings, rank)

    assert dict(keys.sorted_by_key(list(ranks))) == ranks


def test_a_missing_version_has_no_key(keys: Keys) -> None:
    rows = keys.connection.execute(f"select {keys.sql} from (select null as version)").fetchall()

    assert rows == [(None,)]


needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is the reference")


@needs_dpkg
def test_dpkg_agrees_with_the_recorded_order() -> None:
    steps, equal_pairs = [], []
    previous = None
    for spellings in ASCENDING:
        valid_spellings = [text for text in spellings if text and not text.endswith("-")]
        if not valid_spellings:
            continue
        first, *others = valid_spellings
        equal_pairs += [(first, other) for other in others]
        if previous is not None:
            steps.append((previous, first))
        previous = first

    assert {pair: compare_by_dpkg(*pair) for pair in steps} == dict.fromkeys(steps, -1)
    assert {pair: compare_by_dpkg(*pair) for pair in equal_pairs} == dict.fromkeys(equal_pairs, 0)


@needs_dpkg
@given(left=VERSIONS, right=VERSIONS)
def test_random_versions_compare_like_dpkg(keys: Keys, left: str, right: str) -> None:
    assert keys.compare(left, right) == compare_by_dpkg(left, right)
