"""Real clients, each in its own environment, read the documents as they are meant."""

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
    """The script in the folder of the validator's packages, where node looks for them."""
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
    report = json.loads(answer.stdout)
    assert report["tests"] > 30
    refused: dict[str, Any] = report["refused"]
    return refused


def test_the_csaf_validator_accepts_every_document_of_the_sample(
    published: PublishedSet, validate_csaf: Path
) -> None:
    assert refused_by(validate_csaf, published.csaf_files()) == {}


def test_the_csaf_validator_refuses_a_missing_reason(
    published: PublishedSet, validate_csaf: Path, tmp_path: Path
) -> None:
    document = json.loads((published.directory / "csaf/2026/echo-vex-garnet.json").read_bytes())
    for vulnerability in document["vulnerabilities"]:
        vulnerability.pop("threats", None)
        vulnerability.pop("flags", None)
    invalid = tmp_path / "garnet.json"
    invalid.write_text(json.dumps(document))

    [(_, faults)] = refused_by(validate_csaf, [invalid]).items()

    assert [name for name, _ in faults] == ["mandatoryTest_6_1_27_9"]


def test_vunnel_reads_every_advisory_with_its_fixed_version(
    published: PublishedSet, vunnel: Environment, tmp_path: Path
) -> None:
    with serving(published.directory) as server:
        fixes = vunnel.run_script(
            HERE / "vunnel_echo.py", f"{server.url}/data.json", tmp_path / "workspace"
        )

    read = {(package.lower(), cve): version for cve, package, version in fixes}
    expected = {
        pair: {"not_applicable": "0"}.get(row["state"], row["fixed_version"] or "")
        for pair, row in published.envelope().items()
        if not pair[1].startswith("TEMP-")
    }
    assert {pair: read.get(pair) for pair in expected} == expected


def test_the_strict_validator_of_cyclonedx_accepts_the_sample(
    published: PublishedSet, tmp_path: Path
) -> None:
    library = Environment.create(tmp_path, CYCLONEDX)

    fault = library.run_script(
        HERE / "cyclonedx_strictly.py", published.directory / "cyclonedx.vex.json"
    )

    assert fault is None
