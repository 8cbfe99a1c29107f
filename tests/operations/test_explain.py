"""Explanations of published rows: evidence, files, claims, periods; errors for unknown rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.declarations.domain import BrokenDomain, Domain
from etl_assets.model.errors import DeclarationError, NotFoundError, Problem, UsageError
from etl_assets.model.home import Home
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunManifest, RunSource
from etl_assets.operations.explain import explain, resolve_domain
from etl_assets.publish import run_directory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DIARY, NOTE, OLD = "a" * 64, "b" * 64, "c" * 64
GARDEN = Domain.model_validate(
    {
        "title": "Garden",
        "description": "What grows.",
        "owner": "team:garden",
        "schedule": "0 5 * * *",
        "explain": {
            "from": "mart_plant",
            "key": ["bed", "plant"],
            "answer": ["state"],
            "columns": ["since_date"],
            "sentence": "sentence",
            "flip": "flip",
            "evidence": "evidence",
            "claims": {"from": "mart_claim", "order_by": ["rank"], "columns": ["verdict", "says"]},
            "history": {
                "from": "mart_period", "since": "begun", "until": "ended", "columns": ["state"],
            },
        },
    }
).model_copy(update={"name": "garden"})  # fmt: skip
OAK = {"bed": "North", "plant": "oak"}
EVIDENCE = {"record_id": "page 3", "source_sha256": DIARY}
PLANTS = [
    OAK | {"state": "well", "since_date": "2026-03-01", "sentence": "Oak is well.",
           "flip": "Ill once the diary says so.", "evidence": EVIDENCE},
    {"bed": "South", "plant": "ash", "state": "well", "since_date": None, "sentence": "Well.",
     "flip": None, "evidence": None},
]  # fmt: skip
CLAIMS = [
    OAK | {"rank": 2, "verdict": "lost", "says": "ill", "source_sha256": NOTE},
    OAK | {"rank": 1, "verdict": "won", "says": "well", "source_sha256": DIARY},
]
PERIODS = [
    OAK | {"state": "ill", "begun": NOON - 9 * DAY, "ended": NOON},
    OAK | {"state": "well", "begun": NOON, "ended": None},
    {"bed": "South", "plant": "ash", "state": "well", "begun": NOON, "ended": None},
    {"bed": "South", "plant": "yew", "state": "well", "begun": NOON - 9 * DAY, "ended": NOON},
]


def source(name: str, sha256: str) -> RunSource:
    return RunSource(
        source=f"garden.{name}", status=FetchStatus.FETCHED, sha256=sha256, etag='"1"',
        url=f"https://garden.example/{name}", fetched_at=NOON, rows=1,
    )  # fmt: skip


def publish(
    home: Home,
    at: datetime,
    plants: list[dict[str, Any]],
    sources: list[RunSource],
    mirror: Literal["mirror", "samples"] | None = None,
) -> Path:
    directory = run_directory.create(home, "garden", at)
    marts = directory / "marts"
    marts.mkdir()
    for name, rows in (("plant", plants), ("claim", CLAIMS), ("period", PERIODS)):
        pq.write_table(pa.Table.from_pylist(rows), marts / f"mart_{name}.parquet")
    manifest = RunManifest(
        run_id=directory.name, domain="garden", status=RunStatus.SUCCESS, published=True,
        as_of=at, started_at=at, finished_at=at, code_version="1", sources=sources,
        mirror=mirror,
    )  # fmt: skip
    run_directory.write_manifest(directory, manifest)
    run_directory.publish(home, "garden", directory)
    return directory


@pytest.fixture
def garden(home: Home) -> Home:
    """A published set of today, and one of nine days ago with another state."""
    ill = [PLANTS[0] | {"state": "ill", "sentence": "Oak is ill."}]
    publish(home, NOON - 9 * DAY, ill, [source("diary", OLD), source("note", NOTE)])
    publish(home, NOON, PLANTS, [source("diary", DIARY)])
    return home


def test_a_row_is_explained_down_to_the_origin_of_its_files(garden: Home) -> None:
    explanation = explain(garden, GARDEN, ["north", "OAK"])

    origins = {
        file.sha256: (str(file.source), file.etag, file.fetched_at) for file in explanation.files
    }
    assert (explanation.key, explanation.answer, explanation.run) == (
        OAK,
        {"state": "well"},
        "20260301_120000",
    )
    assert (explanation.sentence, explanation.flip) == (
        "Oak is well.",
        "Ill once the diary says so.",
    )
    assert explanation.evidence == EVIDENCE
    assert [claim["verdict"] for claim in explanation.claims] == ["won", "lost"]
    assert [period["state"] for period in explanation.history] == ["ill", "well"]
    assert list(origins) == [DIARY, NOTE]
    assert origins[NOTE] == ("garden.note", '"1"', NOON)


@pytest.mark.parametrize(
    ("mirror", "line"),
    [
        (None, None),
        ("mirror", "  read from a mirror, not from the remotes"),
        ("samples", "  made from samples, not from real feeds"),
    ],
)
def test_the_evidence_names_a_mirror(
    home: Home, mirror: Literal["mirror", "samples"] | None, line: str | None
) -> None:
    publish(home, NOON, PLANTS, [source("diary", DIARY)], mirror)

    lines = explain(home, GARDEN, ["north", "OAK"]).lines()

    assert [each for each in lines if "read from" in each or "samples" in each] == (
        [line] if line else []
    )


GARDEN_WITH_NAMES = GARDEN.model_copy(
    update={
        "explain": GARDEN.explain.model_copy(update={"named_by": ["label", "tags"]})
        if GARDEN.explain
        else None
    }
)


@pytest.fixture
def labelled(home: Home) -> Home:
    oak, ash = PLANTS
    rows = [oak | {"label": "the old one", "tags": ["tall", "7"]}, ash | {"tags": ["tall", "8"]}]
    publish(home, NOON, rows, [source("diary", DIARY)])
    return home


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        pytest.param(["North", "oak"], OAK, id="key"),
        pytest.param(["The", "old", "ONE"], OAK, id="text"),
        pytest.param(["7"], OAK, id="one of a list"),
        pytest.param(["8"], {"bed": "South", "plant": "ash"}, id="another row's"),
    ],
)
def test_a_row_is_found_by_its_key_or_by_a_name(
    labelled: Home, arguments: list[str], key: dict[str, str]
) -> None:
    assert explain(labelled, GARDEN_WITH_NAMES, arguments).key == key


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        pytest.param(["oak", "north"], OAK, id="published"),
        pytest.param(["yew", "South"], {"bed": "South", "plant": "yew"}, id="in the history"),
    ],
)
def test_the_values_of_a_key_may_have_another_order(
    garden: Home, arguments: list[str], key: dict[str, str]
) -> None:
    assert explain(garden, GARDEN, arguments).key == key


def test_values_of_two_rows_keep_their_order(home: Home) -> None:
    rows = [PLANTS[0] | {"bed": bed, "plant": plant} for bed, plant in (("a", "b"), ("b", "a"))]
    publish(home, NOON, rows, [source("diary", DIARY)])

    assert explain(home, GARDEN, ["b", "a"]).key == {"bed": "b", "plant": "a"}


def test_a_name_of_several_rows_lists_them_with_their_answers(labelled: Home) -> None:
    found = explain(labelled, GARDEN_WITH_NAMES, ["tall"])

    assert found.lines() == [
        "tall: 2 rows (garden, as of 2026-03-01 12:00:00 UTC)",
        "",
        "  bed    plant  state",
        "  North  oak    well",
        "  South  ash    well",
        "",
        "`etl explain North oak` explains one of them",
    ]


@pytest.mark.parametrize(
    ("count", "more"), [(5, ""), (6, "and 1 more"), (69, "and 64 more")], ids=str
)
def test_a_list_of_rows_is_cut_after_five(home: Home, count: int, more: str) -> None:
    rows = [PLANTS[0] | {"plant": f"oak {n:02}", "label": "x", "tags": []} for n in range(count)]
    publish(home, NOON, rows, [source("diary", DIARY)])

    lines = explain(home, GARDEN_WITH_NAMES, ["x"]).lines()

    assert sum("oak" in line for line in lines) == 5 + 1  # and the example
    assert more in "\n".join(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["the old won"], "'the old won' is not published; nearest: the old one"),
        pytest.param(["The old", "0ne"], "bed 'The old' is not published; nearest: the old one"),
    ],
    ids=["a name", "as long as a key"],
)
def test_an_unknown_name_is_reported_with_similar_names(
    labelled: Home, arguments: list[str], message: str
) -> None:
    with pytest.raises(NotFoundError) as raised:
        explain(labelled, GARDEN_WITH_NAMES, arguments)

    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["the old"], "'the old' is not published; nearest: the old one", id="a part"),
        pytest.param(
            ["the wild rose"],
            "'the wild rose' is not published; expected bed and plant, such as North oak, or its "
            "label or tags",
            id="another",
        ),
    ],
)
def test_a_name_with_no_near_one_is_reported_with_an_example(
    labelled: Home, arguments: list[str], message: str
) -> None:
    with pytest.raises(NotFoundError) as raised:
        explain(labelled, GARDEN_WITH_NAMES, arguments)

    assert str(raised.value) == message


def test_names_of_one_scheme_are_near_only_with_about_the_same_length(home: Home) -> None:
    rows = [PLANTS[0] | {"label": f"EL-2020-80{n}0", "tags": []} for n in range(3)]
    publish(home, NOON, rows, [source("diary", DIARY)])

    with pytest.raises(NotFoundError) as far:
        explain(home, GARDEN_WITH_NAMES, ["EL-0000"])
    with pytest.raises(NotFoundError) as near:
        explain(home, GARDEN_WITH_NAMES, ["EL-2020-800"])

    assert "nearest" not in str(far.value)
    assert "nearest: EL-2020-80" in str(near.value)


def test_a_published_domain_with_faults_is_reported_with_them(labelled: Home) -> None:
    fault = Problem("notes.yaml:3: title", "a text", "7")
    broken = {"garden": BrokenDomain("garden", frozenset(), [fault])}
    park = GARDEN_WITH_NAMES.model_copy(update={"name": "park"})

    with pytest.raises(DeclarationError) as raised:
        resolve_domain(labelled, {"park": park}, ["North", "oak"], broken)

    assert "notes.yaml:3: title: expected a text, found 7" in str(raised.value)
    assert "garden: the set is published, but" in str(raised.value)


def test_an_unpublished_domain_with_faults_changes_nothing(labelled: Home) -> None:
    broken = {"park": BrokenDomain("park", frozenset(), [Problem("a.yaml:3", "a text", "7")])}

    domain, _ = resolve_domain(labelled, {"garden": GARDEN_WITH_NAMES}, ["elm"], broken)

    assert domain.name == "garden"


def test_a_file_has_whether_it_is_still_stored(garden: Home) -> None:
    file = garden.raw_file(DIARY)
    file.parent.mkdir(parents=True)
    file.touch()

    explanation = explain(garden, GARDEN, ["North", "oak"])

    assert [origin.is_stored for origin in explanation.files] == [True, False]


def test_a_file_that_no_kept_run_lists_has_no_origin(home: Home) -> None:
    publish(home, NOON, PLANTS, [])

    explanation = explain(home, GARDEN, ["North", "oak"])

    assert explanation.files[0].source is None
    assert "no kept run lists its origin" in "\n".join(explanation.lines())


def test_an_earlier_moment_is_answered_from_the_set_published_then(garden: Home) -> None:
    explanation = explain(garden, GARDEN, ["North", "oak"], at=NOON - DAY)

    assert (explanation.answer, explanation.sentence) == ({"state": "ill"}, "Oak is ill.")
    assert explanation.run == "20260220_120000"
    assert len(explanation.history) == 1


def test_without_the_run_of_that_time_the_history_answers(home: Home) -> None:
    publish(home, NOON, PLANTS, [])

    explanation = explain(home, GARDEN, ["North", "oak"], at=NOON - DAY)

    assert (explanation.answer, explanation.run) == ({"state": "ill"}, None)
    assert "was removed" in explanation.note


def test_a_row_that_is_no_longer_published_has_the_date(garden: Home) -> None:
    explanation = explain(garden, GARDEN, ["South", "yew"])

    assert explanation.note == "no longer published since 2026-03-01 12:00:00+00:00"
    assert explanation.answer == {}


@pytest.mark.parametrize(
    ("key", "at", "message"),
    [
        pytest.param(
            ["Nort", "oak"], None, "bed 'Nort' is not published; nearest: North", id="bed"
        ),
        pytest.param(
            ["North", "oka"], None, "North plant 'oka' is not published; nearest: oak", id="plant"
        ),
        pytest.param(
            ["North", "ash"],
            None,
            "North plant 'ash' is not published; it is published for South",
            id="plant of another bed",
        ),
        pytest.param(
            ["North", "oak"],
            NOON - 30 * DAY,
            "North oak was not yet published at 2026-01-30T12:00:00+00:00",
            id="too early",
        ),
    ],
)
def test_an_unpublished_row_is_reported_with_similar_values(
    garden: Home, key: list[str], at: datetime | None, message: str
) -> None:
    with pytest.raises(NotFoundError) as raised:
        explain(garden, GARDEN, key, at=at)

    assert str(raised.value) == message


def test_nothing_published_explains_nothing(home: Home) -> None:
    with pytest.raises(NotFoundError, match="nothing is published yet"):
        explain(home, GARDEN, ["North", "oak"])


@pytest.mark.parametrize(
    ("domain", "key", "message"),
    [
        pytest.param(GARDEN, ["oak"], "expected bed and plant, found: oak", id="half a key"),
        pytest.param(
            GARDEN.model_copy(update={"explain": None}),
            ["oak"],
            "declares no explain",
            id="without explain",
        ),
    ],
)
def test_a_key_that_does_not_fit_the_declaration_is_refused(
    garden: Home, domain: Domain, key: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        explain(garden, domain, key)


def test_the_domain_may_be_left_out_if_only_one_declares_explain(home: Home) -> None:
    no_explain = GARDEN.model_copy(update={"name": "attic", "explain": None})
    domains = {"garden": GARDEN, "attic": no_explain}

    assert resolve_domain(home, domains, ["North", "oak"], {}) == (GARDEN, ["North", "oak"])
    assert resolve_domain(home, domains, ["garden", "North", "oak"], {}) == (
        GARDEN,
        ["North", "oak"],
    )


@pytest.mark.parametrize(
    "arguments",
    [["North", "oak"], ["oak", "North"], ["North", "elm"], ["the old one"], ["nothing"]],
    ids=["key", "reversed key", "half a key", "name", "wrong name"],
)
def test_the_domain_may_be_left_out_if_only_one_is_published(
    labelled: Home, arguments: list[str]
) -> None:
    park = GARDEN_WITH_NAMES.model_copy(update={"name": "park"})
    domains = {"garden": GARDEN_WITH_NAMES, "park": park}

    assert resolve_domain(labelled, domains, arguments, {})[0].name == "garden"


def test_the_domain_is_required_if_none_of_several_is_published(home: Home) -> None:
    other = GARDEN.model_copy(update={"name": "park"})

    with pytest.raises(UsageError, match="garden bed plant, or park bed plant"):
        resolve_domain(home, {"garden": GARDEN, "park": other}, ["North", "oak"], {})


def test_the_text_shows_each_part_under_its_title(garden: Home) -> None:
    text = "\n".join(explain(garden, GARDEN, ["North", "oak"]).lines())

    assert text.startswith("North oak (garden, as of 2026-03-01 12:00:00 UTC, run 20260301_120000)")
    assert "\nstate       well\n" in text
    assert "\n  verdict  says  file\n  won      well  aaaaaaaaaaaa\n" in text
    assert "of garden.diary, fetched 2026-03-01 12:00:00 UTC from https://garden.example" in text
