"""A smaller file that is refused and then accepted: the operator's decision is for that file."""

from __future__ import annotations

import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.declarations.domain import Domain
from etl_assets.model.records import RunStatus, TableResult
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions

RULINGS = "analyst/advisory-not-applicable.csv"
SOURCE = "overrides"
NAME = f"{DOMAIN}.{SOURCE}"
FIRST = "CVE-2024-900051,graphitemagick,wont_fix,,minor\n"
SECOND = "CVE-2024-900011,quill-ssl,not_applicable,,disputed\n"


def read_table(sample: SampleHome) -> TableResult:
    with sample.session() as session:
        return session.read_sources()[SOURCE].tables[None]


@pytest.fixture
def strict(sample: SampleHome) -> Domain:
    """The domain whose rulings may not become fewer."""
    source = sample.domain.sources[SOURCE]
    limits = source.limits.model_copy(update={"max_shrink_pct": 0.0, "max_shrink_rows": 0})
    sources = sample.domain.sources | {SOURCE: source.model_copy(update={"limits": limits})}
    return sample.domain.model_copy(update={"sources": sources})


def run(sample: SampleHome, domain: Domain, *, accept: bool = False) -> RunManifest:
    return sample.run(RunOptions(accept_changes=accept), domain=domain)


@pytest.mark.fault("shrinking")
@pytest.mark.long
def test_a_refused_file_that_is_accepted_is_recorded_with_its_digest(
    sample: SampleHome, strict: Domain
) -> None:
    rows = read_table(sample).table.rows
    sample.change(RULINGS, lambda text: text.replace(FIRST, ""))
    refused = run(sample, strict)

    accepted = run(sample, strict, accept=True)

    result = read_table(sample)
    [decision] = result.accepted
    assert refused.status is RunStatus.PARTIAL_SUCCESS
    assert result.table.rows == rows - 1
    assert [(a.what, a.sha256) for a in accepted.accepted_changes] == [(NAME, decision.sha256)]
    assert decision.sha256 == result.table.source_sha256


@pytest.mark.long
def test_a_decision_on_one_file_does_not_accept_the_next(
    sample: SampleHome, strict: Domain
) -> None:
    rows = read_table(sample).table.rows
    sample.change(RULINGS, lambda text: text.replace(FIRST, ""))
    run(sample, strict)
    sample.change(RULINGS, lambda text: text.replace(SECOND, ""))

    manifest = run(sample, strict, accept=True)

    result = read_table(sample)
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert (result.accepted, result.table.rows) == ([], rows)
    assert "look at this one" in manifest.note


@pytest.mark.long
def test_a_refusal_ends_when_the_file_of_the_table_is_back(
    sample: SampleHome, strict: Domain
) -> None:
    good = (sample.mirror / RULINGS).read_text(encoding="utf-8")
    sample.change(RULINGS, lambda text: text.replace(FIRST, ""))
    run(sample, strict)
    sample.change(RULINGS, lambda _: good)

    manifest = run(sample, strict)

    assert manifest.status is RunStatus.SUCCESS
    assert read_table(sample).fault is None
