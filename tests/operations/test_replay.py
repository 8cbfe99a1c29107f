"""A run is replayed from its raw files and its history, after everything has changed since."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from support.sample_home import AS_OF, DOMAIN, SampleHome, fingerprint

from etl_assets.declarations.domain import Domain
from etl_assets.defs.context import ProjectContext
from etl_assets.model.errors import BuildError, HomeError, NotFoundError, UsageError
from etl_assets.operations.replay import replay
from etl_assets.publish import run_directory, set_index

RULINGS = "analyst/advisory-not-applicable.csv"
FEED = "advisory.echohq.com/data.json"
RULING = "CVE-2026-900043,pebble,not_applicable,,code_not_in_use\n"


def project(sample: SampleHome, domain: Domain | None = None) -> ProjectContext:
    return ProjectContext(sample.settings, {DOMAIN: domain or sample.domain})


@pytest.fixture(scope="module")
def four_runs(first_run: SampleHome, tmp_path_factory: pytest.TempPathFactory) -> SampleHome:
    """A home with four runs: the first, new scores, no change, a new ruling and feed."""
    sample = first_run.copy_to(tmp_path_factory.mktemp("four_runs"))
    scores = next(sample.mirror.glob("epss*/*"))
    scores.write_bytes(change_scores(scores.read_bytes()))
    assert sample.run().published
    assert sample.run().note == "nothing moved"
    sample.change(RULINGS, lambda text: text + RULING)
    sample.change(FEED, lambda text: text.replace('"2.4.1-2"', '"2.4.1-4"'))
    assert sample.run().published
    return sample


def change_scores(packed: bytes) -> bytes:
    return gzip.compress(gzip.decompress(packed).replace(b"0.4", b"0.3"))


def list_runs(sample: SampleHome) -> list[Path]:
    """Return the directories of the runs, the oldest first."""
    return sorted(run_directory.list_runs(sample.home, DOMAIN), key=lambda path: path.name)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(0, id="the first", marks=pytest.mark.long),
        pytest.param(1, id="in which only some documents changed", marks=pytest.mark.long),
        pytest.param(2, id="without a change", marks=pytest.mark.long),
        pytest.param(3, id="the last", marks=pytest.mark.long),
    ],
)
def test_a_run_is_replayed_byte_for_byte(four_runs: SampleHome, number: int) -> None:
    run = list_runs(four_runs)[number]
    before = fingerprint(four_runs.home.root / "data"), four_runs.latest

    replayed = replay(project(four_runs), run.name)

    directory = Path(replayed.directory)
    files = set_index.read_index(run, run_directory.read_manifest(run))
    documents = {file.file for file in files if file.document}
    assert replayed.different == []
    assert documents <= set(replayed.equal)
    assert "marts/mart_advisory_current.parquet" in replayed.equal
    assert all((directory / name).read_bytes() == (run / name).read_bytes() for name in documents)
    assert (fingerprint(four_runs.home.root / "data"), four_runs.latest) == before


@pytest.mark.long
def test_the_runs_differ_in_some_documents_only(four_runs: SampleHome) -> None:
    times = [
        {content.document: content.as_of for content in run_directory.read_manifest(run).contents}
        for run in list_runs(four_runs)
    ]

    assert set(times[0].values()) == {AS_OF}
    assert times[1]["advisory_current.json"] > AS_OF
    assert times[1]["osv/all.zip"] == AS_OF
    assert times[2] == {}, "an unchanged run names the set that it leaves in place"
    assert times[3]["osv/all.zip"] > times[1]["advisory_current.json"]


@pytest.mark.long
def test_a_replay_is_written_to_the_given_directory_and_lists_what_differs(
    four_runs: SampleHome, tmp_path: Path
) -> None:
    run = list_runs(four_runs)[-1]
    sums = (run / "SHA256SUMS").read_text(encoding="utf-8")
    (run / "SHA256SUMS").write_text(
        "".join(
            f"{'0' * 64}  data.json\n" if line.endswith("  data.json\n") else line
            for line in sums.splitlines(keepends=True)
        ),
        encoding="utf-8",
    )

    replayed = replay(project(four_runs), f"{DOMAIN}/latest", into=tmp_path / "again")

    (run / "SHA256SUMS").write_text(sums, encoding="utf-8")
    assert replayed.different == ["data.json"]
    assert "differs: data.json" in "\n".join(replayed.lines())
    assert (tmp_path / "again" / "data.json").exists()


@pytest.mark.long
@pytest.mark.ci
def test_the_only_run_is_replayed_byte_for_byte(sample: SampleHome) -> None:
    replayed = replay(project(sample), "latest")

    assert replayed.is_equal
    assert Path(replayed.directory).parent == sample.home.outputs(DOMAIN) / "replays"
    assert not any(sample.home.scratch.iterdir())


def test_other_code_is_refused(first_run: SampleHome) -> None:
    other = first_run.domain.model_copy(update={"title": "Another"})

    with pytest.raises(BuildError, match="was made by code version"):
        replay(project(first_run, other), "latest")


def test_a_missing_raw_file_is_reported(sample: SampleHome) -> None:
    sources = run_directory.read_manifest(sample.latest).sources
    used = next(source for source in sources if source.source.name == "kev")
    sample.home.raw_file(used.sha256 or "").unlink()

    with pytest.raises(HomeError, match=r"advisories.kev: data/raw/.* is missing"):
        replay(project(sample), "latest")


@pytest.mark.long
def test_a_missing_history_is_reported(four_runs: SampleHome, tmp_path: Path) -> None:
    copy = four_runs.copy_to(tmp_path)
    for run in list_runs(copy)[:-1]:
        (run / "marts" / "mart_advisory_state_history.parquet").unlink(missing_ok=True)

    with pytest.raises(HomeError, match="found it in no kept run"):
        replay(project(copy), "latest")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        pytest.param("20200101_000000", NotFoundError, "the newest kept: advisories/", id="no run"),
        pytest.param("nowhere/latest", NotFoundError, "no run 'nowhere/latest'", id="no domain"),
    ],
)
def test_an_unknown_run_is_reported_with_the_kept_runs(
    first_run: SampleHome, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replay(project(first_run), name)


def test_a_directory_that_is_not_empty_is_refused(first_run: SampleHome, tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()

    with pytest.raises(UsageError, match="expected an empty directory"):
        replay(project(first_run), "latest", into=tmp_path)
