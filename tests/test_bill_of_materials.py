"""`make sbom` makes a valid bill of materials of what the lock installs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.ci]

PINNED = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
OPTIONS = ("--output-reproducible", "--validate", "--output-file")


@pytest.fixture(scope="module")
def bill(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The components of the bill by name, as `make sbom` makes it."""
    target = tmp_path_factory.mktemp("bill") / "sbom.cdx.json"
    makefile = (repo_root / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\nsbom:")[2].partition("\n\n")[0]
    assert all(option in recipe for option in OPTIONS)
    subprocess.run(["make", "sbom", f"SBOM={target}"], cwd=repo_root, check=True)
    return {each["name"]: each for each in json.loads(target.read_bytes())["components"]}


def test_the_bill_lists_every_pinned_package(
    bill: dict[str, dict[str, str]], repo_root: Path
) -> None:
    pinned = dict(PINNED.findall((repo_root / "requirements.lock").read_text(encoding="utf-8")))

    assert {name: each["version"] for name, each in bill.items()} == pinned


@pytest.mark.parametrize("package", ["cvss", "dagster", "duckdb"])
def test_a_component_has_its_url_and_the_digests_of_the_lock(
    bill: dict[str, dict[str, str]], repo_root: Path, package: str
) -> None:
    lock = (repo_root / "requirements.lock").read_text(encoding="utf-8")

    component = json.dumps(bill[package])

    assert f"pkg:pypi/{package}@{bill[package]['version']}" in component
    digests = set(re.findall(r'"content": "([0-9a-f]{64})"', component))
    assert digests
    assert all(f"sha256:{digest}" in lock for digest in digests)
