"""The reference rules: they share no code with the project, and order versions as dpkg does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from domains.advisories.debian_versions import compare, is_newer, lineage, without_rebuild

HERE = Path(__file__).parent


@pytest.mark.parametrize("module", ["reference_rules", "raw_feeds", "debian_versions"])
def test_the_reference_rules_share_no_code_with_the_project(module: str) -> None:
    lines = (HERE / f"{module}.py").read_text(encoding="utf-8").splitlines()

    modules = [line.split()[1] for line in lines if line.startswith(("from ", "import "))]

    assert [name for name in modules if name.startswith(("etl_assets", "duckdb"))] == []


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        pytest.param("1.0~rc1-1", "1.0-1", id="a tilde goes before the end"),
        pytest.param("1.0-1", "1.0-1+deb13u1", id="the end goes before a suffix"),
        pytest.param("1.0-1+deb13u1", "1.0-1+e1", id="letters in their order"),
        pytest.param("9.9-9", "1:0.1-1", id="an epoch goes before all"),
        pytest.param("1.9-1", "1.10-1", id="digits are numbers"),
        pytest.param("1.0-1a", "1.0-1+", id="letters go before other characters"),
        pytest.param("3.0.15-9", "3.0.15-1~deb12u1-e1", id="the last hyphen starts the revision"),
        pytest.param("3.8.20-4", "3.8.20-4.", id="a dot at the end"),
    ],
)
def test_versions_are_ordered_like_dpkg(earlier: str, later: str) -> None:
    command = ["dpkg", "--compare-versions", earlier, "lt", later]

    assert compare(earlier, later) < 0 < compare(later, earlier)
    assert not shutil.which("dpkg") or subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("1.0-01", "1.0-1", id="leading zeros"),
        pytest.param("0:1.0-1", "1.0-1", id="no epoch is the epoch 0"),
        pytest.param("1.0", "1.0-0", id="no revision is the revision 0"),
    ],
)
def test_different_spellings_of_a_version_are_equal(one: str, other: str) -> None:
    assert compare(one, other) == 0


def test_a_rebuild_is_its_base_and_newer_than_it() -> None:
    assert without_rebuild("3.0.15-1~deb12u1-e1") == "3.0.15-1~deb12u1"
    assert is_newer("1.0-1+e1", "1.0-1")
    assert not is_newer("1.0-1+e1", "1.0-1+deb13u1")
    assert [lineage(v) for v in ("1.0-1+e1", "1.0-1+deb13u1", "1.0-1")] == [
        "vendor",
        "deb13",
        "plain",
    ]
