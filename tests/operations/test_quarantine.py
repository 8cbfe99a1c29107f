"""A refused file that a person lets pass."""

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
from etl_assets.validate import quarantine as kept_apart

RULINGS = "analyst/advisory-not-applicable.csv"
SOURCE = "overrides"
LAST_LINE = "CVE-2024-900051,graphitemagick,wont_fix,,minor\n"


def word(why: str = "it is short, and right") -> dict[str, object]:
    return {"by": "robin", "why": why, "at": datetime.now(UTC)}


def demanding(sample: SampleHome) -> Domain:
    """The domain whose rulings may not become shorter than they are."""
    size = (sample.mirror / RULINGS).stat().st_size
    source = sample.domain.sources[SOURCE]
    source = source.model_copy(update={"expect": Expectation(min_bytes=size, min_rows=0)})
    return sample.domain.model_copy(update={"sources": sample.domain.sources | {SOURCE: source}})


def release(sample: SampleHome, domain: Domain, why: str = "it is short, and right") -> FetchResult:
    source = domain.sources[SOURCE]
    with sample.session(domain) as session:
        found = quarantine.find_quarantined(session.project, source, None)
        return quarantine.release(session, source, found, **word(why))


@pytest.fixture
def domain(sample: SampleHome) -> Domain:
    return demanding(sample)


@pytest.fixture
def refused(sample: SampleHome, domain: Domain) -> QuarantinedFile:
    """A file that was too short, set aside as a run does it."""
    sample.change(RULINGS, lambda text: text.replace(LAST_LINE, ""))
    with sample.session(domain) as session:
        run_domain(session, RunOptions(sources=(SOURCE,)))
    [record] = kept_apart.list_quarantined(sample.home, domain.sources[SOURCE])
    return record


def current(sample: SampleHome) -> FetchResult:
    with sample.session() as session:
        return session.read_sources()[SOURCE].fetches[None]


@pytest.mark.long
def test_a_released_file_is_read_and_stays_accepted_when_it_is_served_again(
    sample: SampleHome, domain: Domain, refused: QuarantinedFile
) -> None:
    release(sample, domain)

    first, second = sample.run(domain=domain), sample.run(domain=domain)

    assert (first.status, second.status) == (RunStatus.SUCCESS, RunStatus.SUCCESS)
    assert next(s for s in second.sources if s.source.name == SOURCE).sha256 == refused.sha256
    assert kept_apart.list_quarantined(sample.home, domain.sources[SOURCE]) == []


@pytest.mark.long
def test_a_release_says_who_and_why_and_keeps_what_the_rules_found(
    sample: SampleHome, domain: Domain, refused: QuarantinedFile
) -> None:
    release(sample, domain)

    file = current(sample).file
    assert file
    assert file.sha256 == refused.sha256
    assert file.verdict
    assert file.verdict.accepted
    assert (file.verdict.ok, file.verdict.accepted.by) == (True, "robin")
    assert "bytes" in file.verdict.actual
    assert sample.home.raw_file(refused.sha256).exists()


def set_aside(sample: SampleHome, content: bytes) -> QuarantinedFile:
    """A file in quarantine, as a refusal leaves it."""
    path = sample.folder / "refused"
    path.write_bytes(content)
    return kept_apart.quarantine_file(
        sample.home,
        sample.domain.sources[SOURCE],
        Part(source=f"{DOMAIN}.{SOURCE}"),
        path,
        Problem("", "rulings", "something else"),
        url="analyst/x.csv",
        at=datetime.now(UTC),
    )


def test_a_released_file_leaves_the_quarantine_for_the_raw_store(sample: SampleHome) -> None:
    record = set_aside(sample, b"cve_id,package\n")

    fetch = release(sample, sample.domain)

    assert fetch == current(sample)
    assert sample.home.raw_file(record.sha256).read_bytes() == b"cve_id,package\n"
    assert list(sample.home.quarantine(DOMAIN, SOURCE).iterdir()) == []


def test_an_empty_file_is_not_released(sample: SampleHome) -> None:
    set_aside(sample, b"")

    with pytest.raises(UsageError, match="an empty file cannot become a table"):
        release(sample, sample.domain)


def test_a_file_that_was_changed_in_quarantine_is_not_released(sample: SampleHome) -> None:
    record = set_aside(sample, b"cve_id,package\n")
    (sample.home.root / record.path).write_bytes(b"something else")

    with pytest.raises(HomeError, match="found another content"):
        release(sample, sample.domain)


def test_a_pinned_source_is_not_released_over(second_sample: SampleHome) -> None:
    source, part = second_sample.domain.sources[SOURCE], Part(source=f"{DOMAIN}.{SOURCE}")
    set_aside(second_sample, b"cve_id,package\n")
    with second_sample.session() as session:
        rollback.rollback(session, source, part, to=None, **word())

    with pytest.raises(UsageError, match="unpin it first"):
        release(second_sample, second_sample.domain)


def test_a_release_needs_a_reason(sample: SampleHome) -> None:
    set_aside(sample, b"cve_id,package\n")

    with pytest.raises(UsageError, match="expected a reason"):
        release(sample, sample.domain, why="")


def test_a_file_is_found_by_the_beginning_of_its_digest(sample: SampleHome) -> None:
    one, other = set_aside(sample, b"one"), set_aside(sample, b"other")
    source = sample.domain.sources[SOURCE]

    with sample.session() as session:
        assert quarantine.find_quarantined(session.project, source, one.sha256[:9]) == one
        with pytest.raises(UsageError, match=f"expected one .*(?s:.*){other.sha256}"):
            quarantine.find_quarantined(session.project, source, None)


@pytest.mark.parametrize(
    ("name", "sha256", "everything", "left"),
    [(SOURCE, "7692c3", False, 1), (SOURCE, None, False, 0), (None, None, True, 0)],
    ids=["one", "a source's", "all"],
)
def test_a_purge_deletes_what_is_named(
    sample: SampleHome, name: str | None, sha256: str | None, everything: bool, left: int
) -> None:
    set_aside(sample, b"one")
    set_aside(sample, b"other")

    with sample.session() as session:
        freed = quarantine.purge(session.project, name, sha256, everything=everything)

    assert len(kept_apart.list_quarantined(sample.home, sample.domain.sources[SOURCE])) == left
    assert sum(freed) == (3 if left else 8)


def test_a_purge_of_everything_is_asked_for_in_words(sample: SampleHome) -> None:
    with sample.session() as session, pytest.raises(UsageError, match="--all"):
        quarantine.purge(session.project, None, None, everything=False)
