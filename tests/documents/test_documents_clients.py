"""Real clients, each in its own environment, read the documents as they are meant."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
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

# The optional tests that our documents fail, each with the reason.
UNMET_TESTS = {
    "optionalTest_6_2_3": "an affected product has no score if the NVD has none of its CVE, or one"
    " of CVSS 4.0 alone, which CSAF 2.0 has no place for",
    "optionalTest_6_2_16": "a range of versions has no package URL: one without a version would"
    " mean every version",
}

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


@dataclass(frozen=True)
class Judgement:
    """What the validator says of some documents."""

    tests: list[str]
    refused: dict[str, list[tuple[str, Any]]]
    """The mandatory tests, and the schema, that each file fails."""
    warnings: dict[str, list[tuple[str, str]]]
    """The file and the place of each warning, by optional test."""


def judge(script: Path, files: list[Path]) -> Judgement:
    names = script.with_name("files")  # too many for a command line
    names.write_text("\n".join(map(str, files)))
    answer = subprocess.run(
        ["node", str(script), str(names)], check=True, capture_output=True, text=True
    )
    return Judgement(**json.loads(answer.stdout))


@pytest.mark.ci
def test_the_validator_has_all_tests_of_the_standard(
    published: PublishedSet, validate_csaf: Path
) -> None:
    tests = judge(validate_csaf, published.csaf_files()[:1]).tests

    assert {f"mandatoryTest_6_1_{n}" for n in range(1, 34) if n != 27} <= set(tests)
    assert {f"mandatoryTest_6_1_27_{n}" for n in range(1, 12)} <= set(tests)
    assert {f"optionalTest_6_2_{n}" for n in range(1, 21)} <= set(tests)


@pytest.mark.ci
def test_every_csaf_document_of_the_sample_passes_all_tests_but_those_named(
    published: PublishedSet, validate_csaf: Path
) -> None:
    judgement = judge(validate_csaf, published.csaf_files())

    assert judgement.refused == {}
    assert set(judgement.warnings) == set(UNMET_TESTS)


@pytest.mark.ci
def test_a_score_is_missing_only_where_the_nvd_has_none_that_csaf_knows(
    published: PublishedSet, validate_csaf: Path
) -> None:
    warnings = judge(validate_csaf, published.csaf_files()).warnings["optionalTest_6_2_3"]
    scores = {pair: row["cvss_score"] for pair, row in published.envelope().items()}

    unscored = {_pair_at(Path(file), place) for file, place in warnings}

    assert {pair: scores[pair] for pair in unscored} == dict.fromkeys(unscored)


def _pair_at(file: Path, place: str) -> tuple[str, str]:
    document = json.loads(file.read_bytes())
    vulnerability = document["vulnerabilities"][int(place.split("/")[2])]
    name = vulnerability.get("cve") or vulnerability["ids"][0]["text"]
    return document["document"]["title"].rpartition(" ")[2].lower(), name


def _spoil(document: Any, fault: str) -> None:
    vulnerabilities = document["vulnerabilities"]
    if fault == "no reason":
        for vulnerability in vulnerabilities:
            vulnerability.pop("threats", None)
            vulnerability.pop("flags", None)
    elif fault == "a wrong score":
        scores = [score for v in vulnerabilities for score in v.get("scores", [])]
        next(score["cvss_v3"] for score in scores if "cvss_v3" in score)["baseScore"] = 0.1
    elif fault == "no revision":
        document["document"]["tracking"]["version"] = "7.0.0"
    else:
        document["document"]["references"] = []


@pytest.mark.ci
@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("no reason", "mandatoryTest_6_1_27_9"),
        ("a wrong score", "mandatoryTest_6_1_9"),
        ("no revision", "mandatoryTest_6_1_16"),
        ("no canonical URL", "optionalTest_6_2_11"),
    ],
)
def test_the_csaf_validator_finds_a_fault(
    published: PublishedSet, validate_csaf: Path, tmp_path: Path, fault: str, test: str
) -> None:
    needed = b'"cvss_v3"' if fault == "a wrong score" else b'"flags"'
    file = next(file for file in published.csaf_files() if needed in file.read_bytes())
    document = json.loads(file.read_bytes())
    _spoil(document, fault)
    invalid = tmp_path / file.name
    invalid.write_text(json.dumps(document))

    judgement = judge(validate_csaf, [invalid])

    found = {name for faults in judgement.refused.values() for name, _ in faults}
    assert test in found | set(judgement.warnings)


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
