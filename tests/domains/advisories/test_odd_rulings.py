"""Rulings as they are typed by hand: an odd row is one rejected row, and never stops the others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.sample_home import AS_OF, SampleHome

from etl_assets.model.records import RunStatus
from etl_assets.model.run_options import RunOptions

RULINGS = "analyst/advisory-not-applicable.csv"
RULED = "lanternd:CVE-2023-900002"  # by the ruling `wont_fix` of the sample

pytestmark = pytest.mark.long


def run_with(sample: SampleHome, *lines: str) -> int:
    """Append lines to the rulings, run, and return how many more rows were rejected."""
    before = _count_rejected(sample)
    sample.change(RULINGS, lambda text: "\n".join([text.rstrip("\n"), *lines, ""]))
    manifest = sample.run(RunOptions(as_of=AS_OF + timedelta(days=1)))
    assert manifest.published, manifest.note
    assert manifest.status is RunStatus.SUCCESS, manifest.note
    return _count_rejected(sample) - before


def _count_rejected(sample: SampleHome) -> int:
    [rulings] = [r for r in sample.rows("mart_source_health") if r["source"] == "overrides"]
    count: int = rulings["rows_rejected"]
    return count


@pytest.mark.fault("odd-ruling")
@pytest.mark.parametrize(
    "version", ["", "0", "0:0", "0-0", "00", "1", " 0 ", "N/A", "1.2 or later"]
)
def test_a_ruling_fixed_without_a_usable_version_is_one_reject(
    sample: SampleHome, version: str
) -> None:
    before = sample.states()

    assert run_with(sample, f"CVE-2024-900030,tinfoil,fixed,{version},typed by hand") == 1
    assert sample.states() == before


@pytest.mark.fault("empty-row")
@pytest.mark.parametrize("row", [",,,,", '"","","","",""', " , ,\t, , ", ",,,,,,,"])
def test_a_row_of_delimiters_is_no_row(sample: SampleHome, row: str) -> None:
    before = sample.states()

    assert run_with(sample, row, row, "CVE-2024-900030,tinfoil,wont_fix,,minor") == 0
    assert sample.states() == before | {"tinfoil:CVE-2024-900030": "wont_fix"}


@pytest.mark.fault("empty-row")
def test_a_ruling_that_was_emptied_is_withdrawn(sample: SampleHome) -> None:
    assert sample.states()[RULED] == "wont_fix"
    [line] = [
        line
        for line in (sample.mirror / RULINGS).read_text("utf-8").splitlines()
        if line.startswith("CVE-2023-900002,")
    ]
    sample.change(RULINGS, lambda text: text.replace(line, ",,,,"))

    assert run_with(sample) == 0
    assert sample.states()[RULED] != "wont_fix"


@pytest.mark.fault("odd-ruling")
@pytest.mark.parametrize("reason", ["{", "see {name} and {}", "[{version}] was {reason}", "}{"])
def test_braces_in_a_reason_are_text(sample: SampleHome, reason: str) -> None:
    line = f'CVE-2024-900030,tinfoil,wont_fix,,"{reason}"'

    assert run_with(sample, line) == 0
    [row] = [r for r in sample.rows("mart_advisory_current") if r["cve_id"] == "CVE-2024-900030"]
    assert row["state"] == "wont_fix"
    assert reason in row["explanation"]


@pytest.mark.fault("odd-ruling")
@pytest.mark.parametrize("end", [" 2099-01-01", "2099-01-01\t ", " ", "\u00a0", '"\t"'])
def test_blanks_around_the_end_of_a_ruling_are_none(sample: SampleHome, end: str) -> None:
    before = sample.states()

    def edit(text: str) -> str:
        header, *lines = text.rstrip("\n").split("\n")
        ruling = f"CVE-2024-900030,tinfoil,wont_fix,,minor,{end}"
        return "\n".join([f"{header},expires_at", *(f"{line}," for line in lines), ruling, ""])

    sample.change(RULINGS, edit)
    assert run_with(sample) == 0
    assert sample.states() == before | {"tinfoil:CVE-2024-900030": "wont_fix"}
