"""The sample from source to published set, against states that were worked out by hand."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from etl_assets.assets.launch import Launcher
from etl_assets.io import ledger, outputs, samples
from etl_assets.io.declarations import load
from etl_assets.model.home import Home
from etl_assets.model.ledger import Process
from etl_assets.model.options import Options
from etl_assets.model.records import RunStatus
from etl_assets.model.run import RunManifest
from etl_assets.settings import Settings

DOMAIN = "advisories"
EXPECTED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "expected_states.json").read_text(encoding="utf-8")
)
AS_OF = datetime.fromisoformat(EXPECTED["as_of"])
SEED_KEYS = [
    *("advisory_id", "cve_id", "package_name", "state", "state_type", "fixed_version"),
    *("confidence", "explanation", "reason_code", "contributing_sources", "dissenting_sources"),
]


class Ran:
    """A home in which the sample was run once."""

    def __init__(self, folder: Path) -> None:
        settings = Settings.load()
        self.home = Home(folder / "home")
        self.domain = load(settings.domains_dir)[DOMAIN]
        mirror = folder / "mirror"
        samples.pack(settings.samples_dir / DOMAIN, mirror, self.domain, at=AS_OF)
        self._settings = settings.model_copy(
            update={
                "home": self.home.root,
                "dagster_home": self.home.dagster,
                "mirror": str(mirror),
            }
        )
        self.first = self.run(Options(as_of=AS_OF))
        assert self.first.published, self.first.note
        self.published = self.home.outputs(DOMAIN) / self.home.latest(DOMAIN).readlink()

    def run(self, options: Options) -> RunManifest:
        with Launcher.open(self._settings, {DOMAIN: self.domain}, say=lambda _: None) as launcher:
            return launcher.run(DOMAIN, options)

    def rows(self, mart: str) -> list[dict[str, Any]]:
        table = pq.read_table(self.published / "marts" / f"{mart}.parquet")
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("sample"))


def test_the_sample_runs_to_a_full_success(ran: Ran) -> None:
    assert ran.first.status is RunStatus.SUCCESS, ran.first.note
    assert ran.first.published
    assert ran.first.outages == []


def test_every_state_is_as_worked_out_by_hand(ran: Ran) -> None:
    columns = ("state", "reason_code", "decision_rule", "fixed_version", "confidence")

    found = {
        row["advisory_id"]: {column: row[column] for column in columns}
        for row in ran.rows("mart_advisory_current")
    }

    assert found == EXPECTED["advisories"]


def test_only_final_claims_of_others_dissent(ran: Ran) -> None:
    found = {
        row["advisory_id"]: row["dissenting_sources"] for row in ran.rows("mart_advisory_current")
    }

    assert {key: found[key] for key in EXPECTED["dissenting_sources"]} == EXPECTED[
        "dissenting_sources"
    ]


def test_pairs_that_only_an_upstream_knows_are_listed_apart(ran: Ran) -> None:
    found = [f"{row['package_name']}:{row['cve_id']}" for row in ran.rows("mart_advisory_unlisted")]

    assert sorted(found) == EXPECTED["unlisted"]


def test_bad_rows_are_counted_and_nothing_else_is_lost(ran: Ran) -> None:
    found = dict.fromkeys(EXPECTED["rejected"], 0)
    for source in ran.first.sources:
        found[source.source.removeprefix(f"{DOMAIN}.")] += source.rejected or 0

    assert found == EXPECTED["rejected"]


def test_the_published_document_keeps_its_contract(ran: Ran) -> None:
    document = json.loads((ran.published / "advisory_current.json").read_text(encoding="utf-8"))

    assert document["generated_at"] == EXPECTED["as_of"]
    assert document["advisory_count"] == len(document["advisories"]) == len(EXPECTED["advisories"])
    assert all(set(SEED_KEYS) <= set(advisory) for advisory in document["advisories"])


def test_the_ledger_names_every_file_once_per_process(ran: Ran) -> None:
    files = {source.name: source.sha256 for source in ran.first.sources}

    ledgers = [ledger.load(ran.home, DOMAIN, process) for process in Process]

    for found in ledgers:
        assert found is not None
        assert {key: record.checksum for key, record in found.records.items()} == files


def test_the_report_tells_what_was_decided(ran: Ran) -> None:
    report = (ran.published / "run_report.md").read_text(encoding="utf-8")

    assert "| fixed | 16 |" in report
    assert "| `advisories.overrides` | `values` | 1 |" in report


def test_a_second_run_links_what_is_published_and_makes_nothing(ran: Ran) -> None:
    again = ran.run(Options())

    directory = ran.home.outputs(DOMAIN) / ran.home.latest(DOMAIN).readlink()
    assert again.status is RunStatus.SUCCESS
    assert [asset for asset in again.assets if asset.outcome == "made"] == []
    assert directory != ran.published
    for name in ("advisory_current.json", "marts/mart_advisory_current.parquet"):
        assert (directory / name).samefile(ran.published / name)


@pytest.mark.long
def test_another_home_gives_the_same_bytes(ran: Ran, tmp_path: Path) -> None:
    other = Ran(tmp_path)

    names = [n for n in outputs.files_of(ran.published) if n.startswith(("advisory", "marts/"))]
    different = [
        name
        for name in names
        if (other.published / name).read_bytes() != (ran.published / name).read_bytes()
    ]
    assert [name for name in different if "source_health" not in name] == []
