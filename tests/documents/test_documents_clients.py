"""Real clients, each in an environment of its own, take what we publish for what we mean."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.environments import Environment, install
from support.published_set import PublishedSet

from etl_assets.demo.server import serving

HERE = Path(__file__).parent
VUNNEL = "vunnel==0.44.0"  # the last for Python 3.11
CYCLONEDX = "cyclonedx-python-lib[json-validation]==11.12.0"
CSAF_VALIDATOR = "@secvisogram/csaf-validator-lib@2.0.10"

pytestmark = pytest.mark.long


@pytest.fixture(scope="session")
def validate_csaf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside the validator's own packages, where node looks for them."""
    folder = tmp_path_factory.mktemp("csaf")
    (folder / "package.json").write_text("{}")
    quiet = ["--silent", "--no-audit", "--no-fund"]
    install(["npm", "install", *quiet, CSAF_VALIDATOR], into=folder)
    return Path(shutil.copy(HERE / "csaf_validate.mjs", folder))


@pytest.fixture(scope="session")
def vunnel(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment.create(tmp_path_factory.mktemp("vunnel"), VUNNEL)


def refused_by(script: Path, files: list[Path]) -> dict[str, Any]:
    answer = subprocess.run(
        ["node", str(script), *map(str, files)], check=True, capture_output=True, text=True
    )
    found = json.loads(answer.stdout)
    assert found["tests"] > 30
    refused: dict[str, Any] = found["refused"]
    return refused


def test_the_csaf_validator_passes_every_document_of_the_sample(
    published: PublishedSet, validate_csaf: Path
) -> None:
    assert refused_by(validate_csaf, published.csaf_files()) == {}


def test_the_csaf_validator_would_have_noticed(
    published: PublishedSet, validate_csaf: Path, tmp_path: Path
) -> None:
    document = json.loads((published.directory / "csaf/garnet.json").read_bytes())
    for found in document["vulnerabilities"]:
        found.pop("threats", None)
        found.pop("flags", None)
    spoiled = tmp_path / "garnet.json"
    spoiled.write_text(json.dumps(document))

    [(_, faults)] = refused_by(validate_csaf, [spoiled]).items()

    assert [name for name, _ in faults] == ["mandatoryTest_6_1_27_9"]


def test_vunnel_reads_every_advisory_with_its_fixed_version(
    published: PublishedSet, vunnel: Environment, tmp_path: Path
) -> None:
    with serving(published.directory) as server:
        told = vunnel.run_script(
            HERE / "vunnel_echo.py", f"{server.url}/data.json", tmp_path / "workspace"
        )

    read = {(package.lower(), cve): version for cve, package, version in told}
    expected = {
        pair: {"not_applicable": "0"}.get(row["state"], row["fixed_version"] or "")
        for pair, row in published.envelope().items()
        if not pair[1].startswith("TEMP-")
    }
    assert {pair: read.get(pair) for pair in expected} == expected


def test_the_strict_validator_of_cyclonedx_s_own_library_passes_the_sample(
    published: PublishedSet, tmp_path: Path
) -> None:
    library = Environment.create(tmp_path, CYCLONEDX)

    found = library.run_script(
        HERE / "cyclonedx_strictly.py", published.directory / "cyclonedx.vex.json"
    )

    assert found is None
