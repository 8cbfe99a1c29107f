"""The changes to the published set that a diff reports, without changing the home."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.large_sample import FEED, remove_fixes
from support.sample_home import DOMAIN, SampleHome, fingerprint

from etl_assets.cli.main import main
from etl_assets.model.errors import ContentError, NotFoundError, UsageError
from etl_assets.operations.diff import Change, Difference, diff

RULINGS = "analyst/advisory-not-applicable.csv"
RULING = "CVE-2026-900043,pebble,not_applicable,,code_not_in_use\n"


def run_diff(sample: SampleHome, **replace: Path) -> Difference:
    with sample.session() as session:
        return diff(session, replace)


def add_ruling(sample: SampleHome, folder: Path) -> Path:
    """Write the rulings with one more."""
    file = folder / "rulings.csv"
    file.write_text((sample.mirror / RULINGS).read_text(encoding="utf-8") + RULING)
    return file


def raise_confidence(sample: SampleHome, folder: Path) -> Path:
    """Write the rules so that a score alone gives high confidence."""
    [seed] = sample.settings.dbt_dir.glob("seeds/*/decision_rules.csv")
    rows = list(csv.DictReader(io.StringIO(seed.read_text(encoding="utf-8"))))
    file = folder / "rules.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, fieldnames=list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(row | ({"confidence": "high"} if row["claim"] == "nvd_scored" else {}))
    return file


@pytest.mark.long
@pytest.mark.ci
def test_a_replaced_file_reports_its_changes_and_leaves_the_home_unchanged(
    sample: SampleHome, tmp_path: Path
) -> None:
    before = fingerprint(sample.home.root)

    difference = run_diff(sample, overrides=add_ruling(sample, tmp_path))

    [change] = difference.changes
    assert change.key == {"package_name": "pebble", "cve_id": "CVE-2026-900043"}
    assert change.before
    assert change.before["state"] == "under_investigation"
    assert change.after
    assert change.after["state"] == "not_applicable"
    assert change.why
    assert "our analysts have ruled so" in change.why
    assert change.details["decision_rule"] == "R0"
    assert fingerprint(sample.home.root) == before


@pytest.mark.long
def test_a_seed_is_replaced_in_a_copy_of_the_project(sample: SampleHome, tmp_path: Path) -> None:
    seeds = fingerprint(sample.settings.dbt_dir / "seeds")

    difference = run_diff(sample, decision_rules=raise_confidence(sample, tmp_path))

    assert difference.changes
    assert {change.after["confidence"] for change in difference.changes if change.after} == {"high"}
    assert {change.details["decision_rule"] for change in difference.changes} == {"R6"}
    assert fingerprint(sample.settings.dbt_dir / "seeds") == seeds


@pytest.mark.long
@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        (",high,", ",hgh,", "accepted_values_decision_rules_confidence"),
        (",final,", ",finl,", "accepted_values_decision_rules_state_type"),
    ],
)
def test_a_seed_that_a_run_would_refuse_is_named(
    sample: SampleHome, tmp_path: Path, old: str, new: str, check: str
) -> None:
    [seed] = sample.settings.dbt_dir.glob("seeds/*/decision_rules.csv")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(seed.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    difference = run_diff(sample, decision_rules=wrong)

    assert any(line.startswith(check) for line in difference.failed_checks)
    assert "these checks would fail, and a run would publish nothing:" in difference.lines()


def test_a_terminal_shows_some_changes_of_each_kind() -> None:
    changes = [
        Change(key={"id": f"T-{n}"}, before={"state": "open"}, after={"state": "fixed"})
        for n in range(7)
    ]
    other = {"state": "open", "confidence": "low"}, {"state": "open", "confidence": "high"}
    changes.append(Change(key={"id": "T-9"}, before=other[0], after=other[1]))
    difference = Difference(domain="orchard", run="r", given={}, rows=9, changes=changes)

    lines = difference.lines(5)

    assert lines[:3] == [
        "orchard: 8 changes to the 9 rows of r",
        "  7 open -> fixed",
        "  1 open, another confidence",
    ]
    assert lines[3:8] == [f"T-{n}: open -> fixed" for n in range(5)]
    assert lines[8:] == [
        "and 2 more open -> fixed, with -v",
        "T-9: confidence low -> high",
    ]
    assert len(difference.lines()) == 11


@pytest.mark.long
def test_without_a_file_it_reports_what_a_run_would_change(sample: SampleHome) -> None:
    sample.change(FEED, lambda text: text.replace('"2.4.1-2"', '"2.4.1-4"'))
    before = fingerprint(sample.home.root)

    difference = run_diff(sample)

    assert fingerprint(sample.home.root) == before
    sample.run()
    changed = {r["advisory_id"] for r in sample.rows("mart_advisory_transitions")}
    assert {":".join(change.key.values()) for change in difference.changes} == changed
    assert changed == {"garnet:CVE-2024-900046"}


@pytest.mark.long
def test_a_feed_that_a_run_would_not_use_is_reported(sample: SampleHome) -> None:
    sample.change(FEED, lambda _: "<!doctype html><title>Sign in</title>")

    difference = run_diff(sample)

    assert difference.changes == []
    assert "advisories.echo" in difference.faults[0]
    assert "the last file would be used" in "\n".join(difference.lines())


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        pytest.param("ecco", "{}", UsageError, "perhaps 'echo', found 'ecco'", id="no such source"),
        pytest.param("nvd", "{}", UsageError, r"expected nvd\[PARTITION\]", id="no partition"),
        pytest.param("echo", None, UsageError, "expected a file, found none at", id="no file"),
        pytest.param("echo", "<html>", ContentError, "found an HTML page", id="a page"),
    ],
)
def test_an_invalid_replacement_is_refused(
    first_run: SampleHome,
    tmp_path: Path,
    name: str,
    content: str | None,
    error: type[Exception],
    message: str,
) -> None:
    file = tmp_path / "replacement"
    if content is not None:
        file.write_text(content, encoding="utf-8")

    with pytest.raises(error, match=message):
        run_diff(first_run, **{name: file})


@pytest.mark.long
def test_a_refused_candidate_is_not_compared(large_sample: SampleHome, tmp_path: Path) -> None:
    large_sample.change(FEED, remove_fixes(120))
    assert not large_sample.run().published
    same = tmp_path / "same.csv"
    same.write_bytes((large_sample.mirror / RULINGS).read_bytes())

    by_file, by_run = run_diff(large_sample, overrides=same), run_diff(large_sample)

    assert by_file.changes == []
    assert len(by_run.changes) == 120
    assert "mart_advisory_current_flipped" in by_run.refused_by[0]
    assert "the gate would refuse this:" in by_run.lines()


def test_without_a_published_set_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing is published yet"):
        run_diff(SampleHome.create(tmp_path))


def test_the_json_keeps_the_published_names_of_the_fields() -> None:
    difference = Difference(
        domain="plants", run="20260301_120000", replaced={"trees": "a.csv"}, rows=1, changes=[]
    )

    assert difference.model_dump(mode="json")["given"] == {"trees": "a.csv"}


@pytest.fixture
def command(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setenv("ETL_HOME", str(sample.home.root))
    monkeypatch.setenv("ETL_MIRROR", str(sample.mirror))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(sample.folder)

    def call(*arguments: str) -> int:
        with pytest.raises(SystemExit) as exit_info:
            main(arguments)
        return int(exit_info.value.code or 0)

    return call


@pytest.mark.long
def test_the_command_prints_each_change_with_its_reason(
    sample: SampleHome,
    command: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = add_ruling(sample, tmp_path)

    assert command("diff", "--replace", f"overrides={file}") == 0
    output = capsys.readouterr().out
    assert command("diff", DOMAIN, "--replace", f"overrides={file}", "--json") == 0
    [change] = json.loads(capsys.readouterr().out)["changes"]

    assert "1 under_investigation -> not_applicable" in output
    assert "pebble CVE-2026-900043: under_investigation -> not_applicable" in output
    assert change["after"]["state"] == "not_applicable"


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        pytest.param(
            [],
            ["DOMAIN: expected one of ", ", found none; ", " declares no explain in its _domain"],
            id="no domain",
        ),
        pytest.param(
            ["--replace", "overides=x", "--replace", "foo=x"],
            [
                "--replace: expected a source or seed, found 'overides'; did you mean overrides",
                "--replace: expected a source or seed, found 'foo'; `etl sources list`",
            ],
            id="unknown names",
        ),
        pytest.param(
            ["--replace", "overrides=x", "--replace", "station_exits=x"],
            ["expected sources and seeds of one domain, found overrides (advisories), station_"],
            id="two domains",
        ),
    ],
)
def test_the_command_says_why_it_finds_no_domain(
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    messages: list[str],
) -> None:
    assert command("diff", *arguments) == 2

    errors = capsys.readouterr().err
    assert all(message in errors for message in messages), errors


def test_a_replacement_with_rejected_rows_is_named_with_the_next_step(
    first_run: SampleHome, tmp_path: Path
) -> None:
    text = (first_run.mirror / RULINGS).read_text(encoding="utf-8")
    file = tmp_path / "rulings.csv"
    file.write_text(f"{text.splitlines()[0]}\nCVE,pebble,nonsense,,why\n", encoding="utf-8")

    with pytest.raises(ContentError) as raised:
        run_diff(first_run, overrides=file)

    message = str(raised.value)
    assert message.startswith(f"--replace {DOMAIN}.overrides: {file}: expected at most ")
    assert message.endswith("; correct the file and run the command again")


def test_the_command_refuses_half_a_replacement(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("diff", "--replace", "overrides") == 2

    assert "expected SOURCE_OR_SEED=FILE, found 'overrides'" in capsys.readouterr().err
