"""Real clients, each in an environment of its own, take what we publish for what we mean."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from published import PublishedSet

from etl_assets.io.server import serving

HERE = Path(__file__).parent
VUNNEL = "vunnel==0.44.0"  # the last for Python 3.11
CSAF_VALIDATOR = "@secvisogram/csaf-validator-lib@2.0.10"
INSTALL_SECONDS = 300

pytestmark = pytest.mark.long


def install(command: list[str], *, into: Path) -> None:
    """Run an installer; skip, with its last words, where it cannot do its work here."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is needed to install {command[-1]}, and is not here")
    try:
        subprocess.run(
            command, cwd=into, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[-1]} cannot be installed here: {error.stderr.strip()[-300:]}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[-1]} could not be installed in {INSTALL_SECONDS} s")


@pytest.fixture(scope="session")
def validate_csaf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside the validator's own packages, where node looks for them."""
    folder = tmp_path_factory.mktemp("csaf")
    (folder / "package.json").write_text("{}")
    quiet = ["--silent", "--no-audit", "--no-fund"]
    install(["npm", "install", *quiet, CSAF_VALIDATOR], into=folder)
    return Path(shutil.copy(HERE / "csaf_validate.mjs", folder))


@pytest.fixture(scope="session")
def vunnel_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vunnel")
    python = folder / "venv" / "bin" / "python"
    if shutil.which("uv"):
        install(["uv", "venv", "--quiet", "--python", sys.executable, "venv"], into=folder)
        install(["uv", "pip", "install", "--quiet", "--python", str(python), VUNNEL], into=folder)
    else:
        install([sys.executable, "-m", "venv", "venv"], into=folder)
        install([str(python), "-m", "pip", "install", "--quiet", VUNNEL], into=folder)
    return python


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
    published: PublishedSet, vunnel_python: Path, tmp_path: Path
) -> None:
    with serving(published.directory) as server:
        answer = subprocess.run(
            [
                str(vunnel_python),
                str(HERE / "vunnel_echo.py"),
                f"{server.url}/data.json",
                str(tmp_path / "workspace"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )

    read = {(package.lower(), cve): version for cve, package, version in json.loads(answer.stdout)}
    expected = {
        pair: {"not_applicable": "0"}.get(row["state"], row["fixed_version"] or "")
        for pair, row in published.envelope().items()
        if not pair[1].startswith("TEMP-")
    }
    assert {pair: read.get(pair) for pair in expected} == expected
