"""A smaller file that is refused, looked at and taken: what a person says holds for it alone."""

from __future__ import annotations

import pytest
from support.sample_home import DOMAIN, Sampled

from etl_assets.declarations.domain import Domain
from etl_assets.defs.event_log import read_sources
from etl_assets.model.records import RunStatus, TableResult
from etl_assets.model.run_manifest import RunManifest
from etl_assets.model.run_options import RunOptions

RULINGS = "analyst/advisory-not-applicable.csv"
SOURCE = "overrides"
NAME = f"{DOMAIN}.{SOURCE}"
FIRST = "CVE-2024-900051,graphitemagick,wont_fix,,minor\n"
SECOND = "CVE-2024-900011,quill-ssl,not_applicable,,disputed\n"


def table(sampled: Sampled) -> TableResult:
    with sampled.instance() as instance:
        return read_sources(instance, sampled.domain.sources.values())[SOURCE].tables[None]


@pytest.fixture
def strict(sampled: Sampled) -> Domain:
    """The domain whose rulings may not become fewer."""
    source = sampled.domain.sources[SOURCE]
    limits = source.limits.model_copy(update={"max_shrink_pct": 0.0, "max_shrink_rows": 0})
    sources = sampled.domain.sources | {SOURCE: source.model_copy(update={"limits": limits})}
    return sampled.domain.model_copy(update={"sources": sources})


def run(sampled: Sampled, domain: Domain, *, accept: bool = False) -> RunManifest:
    return sampled.run(RunOptions(accept_changes=accept), domain=domain)


@pytest.mark.fault("shrinking")
@pytest.mark.long
def test_a_refused_file_that_is_accepted_is_recorded_with_its_digest(
    sampled: Sampled, strict: Domain
) -> None:
    rows = table(sampled).table.rows
    sampled.change(RULINGS, lambda text: text.replace(FIRST, ""))
    refused = run(sampled, strict)

    accepted = run(sampled, strict, accept=True)

    made = table(sampled)
    [ruling] = made.accepted
    assert refused.status is RunStatus.PARTIAL_SUCCESS
    assert made.table.rows == rows - 1
    assert [(a.what, a.sha256) for a in accepted.accepted_changes] == [(NAME, ruling.sha256)]
    assert ruling.sha256 == made.table.source_sha256


@pytest.mark.long
def test_the_word_on_one_file_does_not_take_the_next(sampled: Sampled, strict: Domain) -> None:
    rows = table(sampled).table.rows
    sampled.change(RULINGS, lambda text: text.replace(FIRST, ""))
    run(sampled, strict)
    sampled.change(RULINGS, lambda text: text.replace(SECOND, ""))

    manifest = run(sampled, strict, accept=True)

    made = table(sampled)
    assert manifest.status is RunStatus.PARTIAL_SUCCESS
    assert (made.accepted, made.table.rows) == ([], rows)
    assert "look at this one" in manifest.note


@pytest.mark.long
def test_a_refusal_is_over_when_the_tables_own_file_is_back(
    sampled: Sampled, strict: Domain
) -> None:
    good = (sampled.mirror / RULINGS).read_text(encoding="utf-8")
    sampled.change(RULINGS, lambda text: text.replace(FIRST, ""))
    run(sampled, strict)
    sampled.change(RULINGS, lambda _: good)

    manifest = run(sampled, strict)

    assert manifest.status is RunStatus.SUCCESS
    assert table(sampled).fault is None
