"""What the gate measures, what it refuses, and what the operator may accept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl_assets.declarations.domain import Coverage, GateCheck
from etl_assets.model.errors import Problem
from etl_assets.model.records import FetchStatus, RunStatus
from etl_assets.model.run_manifest import RunCheck, RunManifest, RunSource
from etl_assets.publish import gate
from etl_assets.publish.gate import GateFinding
from etl_assets.storage.duckdb_connection import connect

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHECK = GateCheck.model_validate(
    {
        "from": "mart_plant",
        "key": ["id"],
        "floor": 5,
        "max_vanished_pct": 10,
        "group": "bed",
        "whole_group_min": 10,
        "states": {
            "column": "state",
            "decided_by": "by",
            "affected": ["wilting", "ill"],
            "silent": ["well"],
            "max_silenced_pct": 1,
            "max_flipped_pct": 5,
        },
    }
)
Rows = dict[str, dict[str, Any]]


def garden(size: int = 200) -> Rows:
    """Plants in beds of twenty; the odd ones are well, the even ones ill."""
    return {
        f"p{n:03}": {"bed": f"bed{n // 20}", "state": "well" if n % 2 else "ill", "by": "diary"}
        for n in range(size)
    }


def laid(path: Path, rows: Rows) -> Path:
    pq.write_table(pa.Table.from_pylist([{"id": name, **row} for name, row in rows.items()]), path)
    return path


def measure(
    folder: Path, after: Rows, *, appeared: frozenset[str] = frozenset()
) -> dict[str, GateFinding]:
    before = laid(folder / "before.parquet", garden())
    after_file = laid(folder / "after.parquet", after)
    with connect() as connection:
        findings = gate.compare_model(connection, CHECK, before, after_file, appeared=appeared)
    return {finding.check.removeprefix("mart_plant_"): finding for finding in findings}


def changed(count: int, of: str, to: str, *, by: str = "diary") -> Rows:
    """The garden, with the first `count` plants of one state in another."""
    rows = garden()
    for name in [name for name, row in rows.items() if row["state"] == of][:count]:
        rows[name] |= {"state": to, "by": by}
    return rows


def refusals(findings: dict[str, GateFinding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.refused}


def test_equal_rows_pass_every_measure(tmp_path: Path) -> None:
    findings = measure(tmp_path, garden())

    assert list(findings) == ["vanished", "silenced", "flipped", "groups_vanished"]
    assert not refusals(findings)


@pytest.mark.parametrize(
    ("after", "refused"),
    [
        pytest.param(changed(2, "ill", "well"), set(), id="1 % silenced"),
        pytest.param(changed(5, "ill", "well"), set(), id="no more than the floor"),
        pytest.param(changed(6, "ill", "well"), {"silenced"}, id="3 % silenced"),
        pytest.param(changed(10, "well", "ill"), set(), id="5 % flipped"),
        pytest.param(changed(11, "well", "ill"), {"flipped"}, id="more flipped"),
        pytest.param(changed(11, "ill", "wilting"), {"flipped"}, id="affected otherwise"),
        pytest.param(changed(11, "well", "odd"), {"flipped"}, id="a state nobody knows"),
        pytest.param(dict(list(garden().items())[10:]), set(), id="5 % vanished"),
        pytest.param(dict(list(garden().items())[20:]), {"groups_vanished"}, id="a bed vanished"),
        pytest.param(
            {n: r for n, r in garden().items() if int(n[1:]) % 8}, {"vanished"}, id="13 % vanished"
        ),
        pytest.param(garden(2000), set(), id="many more rows"),
    ],
)
def test_an_exceeded_limit_refuses(after: Rows, refused: set[str], tmp_path: Path) -> None:
    assert refusals(measure(tmp_path, after)) == refused


@pytest.mark.parametrize(
    ("kept", "refused"),
    [
        pytest.param(range(10), False, id="all"),
        pytest.param(range(1, 10), False, id="10 % of keys, with most rows"),
        pytest.param(range(8), True, id="20 % of keys"),
    ],
)
def test_rows_of_one_key_count_as_one_and_only_the_declared_ones_count(
    tmp_path: Path, kept: range, refused: bool
) -> None:
    check = GateCheck.model_validate(
        {"from": "mart_plant", "key": ["bed"], "only_with": "is_wet", "max_vanished_pct": 10}
    )
    wet = [f"bed{n}" for n in range(10) for _ in range(50 if n == 0 else 2)]
    rows = [{"bed": bed, "is_wet": True} for bed in wet]
    dry = [{"bed": f"dry{n}", "is_wet": False} for n in range(10)]
    after = [row for row in rows if row["bed"] in {f"bed{n}" for n in kept}]
    for name, content in {"before": rows + dry, "after": after}.items():
        pq.write_table(pa.Table.from_pylist(content), tmp_path / f"{name}.parquet")

    with connect() as connection:
        [finding] = gate.compare_model(
            connection,
            check,
            tmp_path / "before.parquet",
            tmp_path / "after.parquet",
            appeared=frozenset(),
        )

    assert (finding.of, finding.refused) == (10, refused)


def test_changes_by_a_source_with_its_first_rows_are_not_counted(tmp_path: Path) -> None:
    after = changed(50, "ill", "well", by="radio")

    assert refusals(measure(tmp_path, after)) == {"silenced"}
    assert refusals(measure(tmp_path, after, appeared=frozenset({"radio"}))) == set()


def test_a_finding_has_the_number_of_offenders_and_names_the_first(tmp_path: Path) -> None:
    finding = measure(tmp_path, changed(30, "ill", "well"))["silenced"]

    assert (finding.count, finding.of, len(finding.offenders)) == (30, 200, 20)
    assert str(finding).startswith(
        "mart_plant_silenced: expected at most 1 % of rows to go from affected to silent, "
        "or 5 rows, found 30 of 200 (15.00 %): p000 (ill -> well), p002 (ill -> well)"
    )
    assert str(finding).endswith("and 10 more")


def test_a_first_candidate_is_not_compared(tmp_path: Path) -> None:
    after = laid(tmp_path / "after.parquet", garden())

    with connect() as connection:
        findings = gate.compare_model(connection, CHECK, None, after, appeared=frozenset())

    assert [finding.check for finding in findings] == list(gate.describe_limits(CHECK))
    assert not any(finding.refused for finding in findings)


def test_a_model_that_lost_a_column_is_refused(tmp_path: Path) -> None:
    before = laid(tmp_path / "before.parquet", garden())
    pq.write_table(pa.table({"id": ["p000"]}), after := tmp_path / "after.parquet")

    with connect() as connection:
        findings = gate.compare_model(connection, CHECK, before, after, appeared=frozenset())

    assert all(finding.refused for finding in findings)
    assert "columns" in str(findings[0])


EXCEEDED = GateFinding(check="vanished", limit="none", found="all", refused=True)
WITHIN_LIMIT = GateFinding(check="flipped", limit="none", found="none", refused=False)
BAD_MODEL = RunCheck(asset="garden/plants", name="known", passed=False, severity="error")
DOUBTFUL = RunCheck(asset="garden/plants", name="stale", passed=False, severity="warn")
LOST = Problem("plants.json", "3 rows", "2")


def test_warnings_and_findings_within_limits_pass() -> None:
    verdict = gate.judge_candidate([DOUBTFUL], [], [WITHIN_LIMIT])

    assert str(verdict) == "passed, 1 warnings"


def test_the_operator_may_accept_an_exceeded_limit() -> None:
    assert not gate.judge_candidate([], [], [EXCEEDED]).passed
    assert "--accept-changes" in str(gate.judge_candidate([], [], [EXCEEDED]))

    verdict = gate.judge_candidate([], [], [EXCEEDED, WITHIN_LIMIT], accept=True)

    assert verdict.passed
    assert verdict.accepted == ["vanished"]


@pytest.mark.parametrize(
    ("checks", "incomplete"),
    [
        pytest.param([BAD_MODEL], [], id="a blocking check"),
        pytest.param([], [LOST], id="a document that lost a row"),
    ],
)
def test_a_failed_check_or_lost_row_cannot_be_accepted(
    checks: list[RunCheck], incomplete: list[Problem]
) -> None:
    verdict = gate.judge_candidate(checks, incomplete, [EXCEEDED], accept=True)

    assert not verdict.passed
    assert not verdict.accepted
    assert len(verdict.refused_by) == 2
    assert "--accept-changes" not in str(verdict)


def test_accepting_a_candidate_within_limits_does_nothing() -> None:
    assert gate.judge_candidate([], [], [WITHIN_LIMIT], accept=True).accepted == []


SOURCES = [
    RunSource(source="garden.diary", status=FetchStatus.FETCHED, sha256="a" * 64, rows=3),
    RunSource(source="garden.radio", status=FetchStatus.MISSING),
]
REFUSED = RunManifest(
    run_id="1", domain="garden", status=RunStatus.FAILED, published=False, as_of=NOON,
    started_at=NOON, finished_at=NOON, code_version="1", history_sha256="b" * 64, sources=SOURCES,
)  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "same"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"code_version": "2"}, False, id="code"),
        pytest.param({"history_sha256": None}, False, id="history"),
        pytest.param({"sources": SOURCES[:1]}, False, id="a source more"),
        pytest.param(
            {"sources": [SOURCES[0].model_copy(update={"sha256": "c" * 64}), SOURCES[1]]},
            False,
            id="another file",
        ),
    ],
)
def test_a_candidate_is_identified_by_its_inputs(difference: dict[str, Any], same: bool) -> None:
    made_from = {"code_version": "1", "history_sha256": "b" * 64, "sources": SOURCES} | difference

    assert gate.is_same_candidate(REFUSED, **made_from) is same


def test_only_sources_with_rows_are_named() -> None:
    assert gate.names_with_rows(SOURCES) == {"diary"}


COVERAGE = Coverage.model_validate(
    {
        "from": "mart_plant",
        "key": "id",
        "column": "seen_at",
        "source": "diary",
        "warn": 0.7,
        "floor": 0.1,
    }
)


def measure_coverage(folder: Path, rows: Rows, *, is_on: bool = True) -> GateFinding:
    file = laid(folder / "mart_plant.parquet", rows)
    with connect() as connection:
        return gate.measure_coverage(connection, COVERAGE, file, is_on=is_on)


def plants_seen(count: int, of: int) -> Rows:
    return {f"p{n}": {"seen_at": "today" if n < count else None} for n in range(of)}


@pytest.mark.parametrize(
    ("count", "of", "refused", "warned"),
    [
        pytest.param(10, 10, False, False, id="all"),
        pytest.param(7, 10, False, False, id="at the warning"),
        pytest.param(699, 1000, False, True, id="below the warning"),
        pytest.param(1, 10, False, True, id="at the floor"),
        pytest.param(99, 1000, True, True, id="below the floor"),
        pytest.param(0, 3, True, True, id="none"),
    ],
)
def test_a_coverage_is_refused_below_its_floor_and_warned_about_below_its_warning(
    tmp_path: Path, count: int, of: int, refused: bool, warned: bool
) -> None:
    finding = measure_coverage(tmp_path, plants_seen(count, of))
    verdict = gate.judge_candidate([], [], [finding])

    assert (finding.refused, finding.warned) == (refused, warned)
    assert verdict.passed is not refused
    assert bool(verdict.warned_by) is (warned and not refused)


def test_rows_without_a_value_are_named(tmp_path: Path) -> None:
    finding = measure_coverage(tmp_path, plants_seen(2, 9))

    assert str(finding) == (
        "mart_plant_seen_at_coverage: expected at least 70% of rows with a value of diary,"
        " refused below 10%, found 2 of 9 (22.2%), without: p2, p3, p4, p5, p6 and 2 more"
    )


def test_a_source_that_is_off_covers_nothing_and_is_not_measured(tmp_path: Path) -> None:
    finding = measure_coverage(tmp_path, plants_seen(0, 9), is_on=False)

    assert (finding.refused, finding.warned) == (False, False)
    assert finding.note == "not applicable, diary is off"


def test_a_model_without_the_column_is_refused(tmp_path: Path) -> None:
    finding = measure_coverage(tmp_path, garden())

    assert "found no seen_at in mart_plant" in str(finding)
    assert finding.refused


def test_a_coverage_that_is_accepted_passes(tmp_path: Path) -> None:
    finding = measure_coverage(tmp_path, plants_seen(0, 9))

    assert gate.judge_candidate([], [], [finding], accept=True).accepted == [
        "mart_plant_seen_at_coverage"
    ]
