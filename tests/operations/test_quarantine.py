"""A quarantined file that the operator releases or purges."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.sample_home import DOMAIN, SampleHome

from etl_assets.declarations.domain import Domain
from etl_assets.declarations.source import Expectation
from etl_assets.model.errors import HomeError, Problem, UsageError
from etl_assets.model.records import FetchResult, Part, QuarantinedFile, RunStatus
from etl_assets.model.run_options import RunOptions
from etl_assets.operations import quarantine, rollback
from etl_assets.operations.run import run_domain
from etl_assets.validate import quarantine as quarantine_files

RULINGS = "analyst/advisory-not-applicable.csv"
SOURCE = "overrides"
LAST_LINE = "CVE-2024-900051,graphitemagick,wont_fix,,minor\n"


def decision(why: str = "it is short, and right") -> dict[str, object]:
    return {"by": "robin", "why": why, "at": datetime.now(UTC)}


def with_minimum_size(sample: SampleHome) -> Domain:
    """Return the domain with the present size of the rulings as their minimum size."""
    size = (sample.mirror / RULINGS).stat().st_size
    source = sample.domain.sources[SOURCE]
    source = source.model_copy(update={"expect": Expectation(min_bytes=size, min_rows=0)})
    return sample.domain.model_copy(update={"sources": sample.domain.sources | {SOURCE: source}})


def release(sample: SampleHome, domain: Domain, why: str = "it is short, and right") -> FetchResult:
    source = domain.sources[SOURCE]
    with sample.session(domain) as session:
        quarantined = quarantine.find_quarantined(session.project, source, None)
        return quarantine.release(session, source, quarantined, **decision(why))


@pytest.fixture
def domain(sample: SampleHome) -> Domain:
    return with_minimum_size(sample)


@pytest.fixture
def refused(sample: SampleHome, domain: Domain) -> QuarantinedFile:
    """Return a file that was too short and that a run quarantined."""
    sample.change(RULINGS, lambda text: text.replace(LAST_LINE, ""))
    with sample.session(domain) as session:
        run_domain(session, RunOptions(sources=(SOURCE,)))
    [record] = quarantine_files.list_quarantined(sample.home, domain.sources[SOURCE])
    return record


def last_fetch(sample: SampleHome) -> FetchResult:
    with sample.session() as session:
        return session.read_sources()[SOURCE].fetches[None]


@pytest.mark.long
def test_a_released_file_is_used_and_accepted_again_in_later_runs(
    sample: SampleHome, domain: Domain, refused: QuarantinedFile
) -> None:
    release(sample, domain)

    first, second = sample.run(domain=domain), sample.run(domain=domain)

    assert (first.status, second.status) == (RunStatus.SUCCESS, RunStatus.SUCCESS)
    assert next(s for s in second.sources if s.source.name == SOURCE).sha256 == refused.sha256
    assert quarantine_files.list_quarantined(sample.home, domain.sources[SOURCE]) == []


@pytest.mark.long
def test_a_release_records_the_operator_and_keeps_the_finding_of_the_rules(
    sample: SampleHome, domain: Domain, refused: QuarantinedFile
) -> None:
    release(sample, domain)

    file = last_fetch(sample).file
    assert file
    assert file.sha256 == refused.sha256
    assert file.verdict
    assert file.verdict.accepted
    assert (file.verdict.ok, file.verdict.accepted.by) == (True, "robin")
    assert "bytes" in file.verdict.actual
    assert sample.home.raw_file(refused.sha256).exists()


def quarantine_content(sample: SampleHome, content: bytes) -> QuarantinedFile:
    """Quarantine a file with this content."""
    path = sample.folder / "refused"
    path.write_bytes(content)
    return quarantine_files.quarantine_file(
        sample.home,
        sample.domain.sources[SOURCE],
        Part(source=f"{DOMAIN}.{SOURCE}"),
        path,
        Problem("", "rulings", "something else"),
        url="analyst/x.csv",
        at=datetime.now(UTC),
    )


def test_a_released_file_is_moved_from_quarantine_to_the_raw_store(sample: SampleHome) -> None:
    record = quarantine_content(sample, b"cve_id,package\n")

    fetch = release(sample, sample.domain)

    assert fetch == last_fetch(sample)
    assert sample.home.raw_file(record.sha256).read_bytes() == b"cve_id,package\n"
    assert list(sample.home.quarantine(DOMAIN, SOURCE).iterdir()) == []


def test_an_empty_file_is_not_released(sample: SampleHome) -> None:
    quarantine_content(sample, b"")

    with pytest.raises(UsageError, match="an empty file cannot become a table"):
        release(sample, sample.domain)


def test_a_file_that_was_changed_in_quarantine_is_not_released(sample: SampleHome) -> None:
    record = quarantine_content(sample, b"cve_id,package\n")
    (sample.home.root / record.path).write_bytes(b"something else")

    with pytest.raises(HomeError, match="found another content"):
        release(sample, sample.domain)


def test_a_file_of_a_pinned_source_is_not_released(second_sample: SampleHome) -> None:
    source, part = second_sample.domain.sources[SOURCE], Part(source=f"{DOMAIN}.{SOURCE}")
    quarantine_content(second_sample, b"cve_id,package\n")
    with second_sample.session() as session:
        rollback.rollback(session, source, part, to=None, **decision())

    with pytest.raises(UsageError, match="unpin it first"):
        release(second_sample, second_sample.domain)


def test_a_release_needs_a_reason(sample: SampleHome) -> None:
    quarantine_content(sample, b"cve_id,package\n")

    with pytest.raises(UsageError, match="expected a reason"):
        release(sample, sample.domain, why="")


def test_a_file_is_found_by_the_start_of_its_digest(sample: SampleHome) -> None:
    one, other = quarantine_content(sample, b"one"), quarantine_content(sample, b"other")
    source = sample.domain.sources[SOURCE]

    with sample.session() as session:
        assert quarantine.find_quarantined(session.project, source, one.sha256[:9]) == one
        with pytest.raises(UsageError, match=f"expected one .*(?s:.*){other.sha256}"):
            quarantine.find_quarantined(session.project, source, None)


@pytest.mark.parametrize("sha256", ["", "latest", "f" * 65])
def test_a_purge_of_what_is_no_digest_deletes_nothing(sample: SampleHome, sha256: str) -> None:
    quarantine_content(sample, b"one")

    with (
        sample.session() as session,
        pytest.raises(UsageError, match="expected 1 to 64 hexadecimal digits"),
    ):
        quarantine.purge(session.project, SOURCE, sha256, everything=False)

    assert len(quarantine_files.list_quarantined(sample.home, sample.domain.sources[SOURCE])) == 1


@pytest.mark.parametrize(
    ("name", "sha256", "everything", "remaining"),
    [(SOURCE, "7692c3", False, 1), (SOURCE, None, False, 0), (None, None, True, 0)],
    ids=["one", "a source's", "all"],
)
def test_a_purge_deletes_the_named_files(
    sample: SampleHome, name: str | None, sha256: str | None, everything: bool, remaining: int
) -> None:
    quarantine_content(sample, b"one")
    quarantine_content(sample, b"other")

    with sample.session() as session:
        freed = quarantine.purge(session.project, name, sha256, everything=everything)

    assert (
        len(quarantine_files.list_quarantined(sample.home, sample.domain.sources[SOURCE]))
        == remaining
    )
    assert sum(freed) == (3 if remaining else 8)


def test_a_purge_of_everything_needs_an_option(sample: SampleHome) -> None:
    with sample.session() as session, pytest.raises(UsageError, match="--all"):
        quarantine.purge(session.project, None, None, everything=False)
