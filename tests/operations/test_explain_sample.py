"""Explanations of sample rows: the change that would flip a state does flip it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from support.sample_home import AS_OF, DOMAIN, SampleHome

from etl_assets.cli.main import main
from etl_assets.operations.explain import Explanation, explain

FEED = "advisory.echohq.com/data.json"
RULINGS = "analyst/advisory-not-applicable.csv"
TRACKER = "security-tracker.debian.org/tracker/data/json"

NOT_APPLICABLE = ("garnet", "CVE-2024-900003")  # by a ruling of the analysts
FIXED = ("garnet", "CVE-2024-900046")  # by the vendor
NEW = ("pebble", "CVE-2026-900043")  # listed by the vendor, without a fixed version
OPEN = ("cobalt", "CVE-2024-900037")  # open in Debian


def explained(sample: SampleHome, key: tuple[str, str]) -> Explanation:
    return explain(sample.home, sample.domain, key)


def drop_rulings(text: str, key: tuple[str, str]) -> str:
    """Return the rulings without those on a pair of package and identifier."""
    package, identifier = key
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(f"{identifier},{package},"))


def set_fixed_version(text: str, key: tuple[str, str], version: str | None) -> str:
    """Return the feed with another fixed version for a pair, or with none."""
    feed = json.loads(text)
    feed[key[0]][key[1]] = {"fixed_version": version} if version else {}
    return json.dumps(feed)


def fix_in_sid(text: str, key: tuple[str, str], version: str) -> str:
    tracker = json.loads(text)
    fix = {"status": "resolved", "fixed_version": version, "urgency": "low"}
    tracker[key[0]][key[1]]["releases"]["sid"] = fix
    return json.dumps(tracker)


@pytest.mark.long
def test_the_described_change_flips_each_state(sample: SampleHome) -> None:
    flips = {key: explained(sample, key).flip or "" for key in (NOT_APPLICABLE, FIXED, NEW, OPEN)}
    ruling_flip, fix_flip = (
        re.search(r"Becomes ([a-z ]+?) (?:in version|once)", flips[NOT_APPLICABLE]),
        re.search(r"Becomes ([a-z ]+?) (?:in version|once)", flips[FIXED]),
    )
    assert ruling_flip
    assert fix_flip
    assert "the analysts' ruling" in flips[NOT_APPLICABLE]
    assert "the vendor's feed" in flips[FIXED]
    assert "Becomes fixed when the vendor's feed names a fixed version" in flips[NEW]
    assert "when Debian publishes a fix above 1.2-1 in Debian unstable (sid)" in flips[OPEN]

    sample.change(RULINGS, lambda text: drop_rulings(text, NOT_APPLICABLE))
    sample.change(
        FEED, lambda text: set_fixed_version(set_fixed_version(text, FIXED, None), NEW, "2.0-1")
    )
    sample.change(TRACKER, lambda text: fix_in_sid(text, OPEN, "1.3-1"))
    manifest = sample.run()

    states = {key: explained(sample, key).answer for key in flips}
    assert manifest.published, manifest.note
    assert states[NOT_APPLICABLE]["state"] == ruling_flip[1].replace(" ", "_")
    assert states[FIXED]["state"] == fix_flip[1].replace(" ", "_")
    assert (states[NEW]["state"], states[NEW]["fixed_version"]) == ("fixed", "2.0-1")
    assert (states[OPEN]["state"], states[OPEN]["fixed_version"]) == ("fixed", "1.3-1")
    before_fix = explain(sample.home, sample.domain, NEW, at=AS_OF + timedelta(days=1))
    assert before_fix.answer["state"] == "under_investigation"
    assert [period["state"] for period in explained(sample, NEW).history] == [
        "under_investigation",
        "fixed",
    ]


@pytest.mark.long
@pytest.mark.ci
def test_every_row_of_the_sample_can_be_explained(first_run: SampleHome) -> None:
    keys = [(r["package_name"], r["cve_id"]) for r in first_run.rows("mart_advisory_current")]

    explanations = [explained(first_run, key) for key in keys]

    assert all(e.sentence and e.flip and e.claims and e.history for e in explanations)
    assert all(file.is_stored and file.fetched_at for e in explanations for file in e.files)
    assert all(e.claims[0]["verdict"] == "won" for e in explanations)


@pytest.fixture
def command(first_run: SampleHome, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs the command in the home of the first run, read-only."""
    monkeypatch.setenv("ETL_HOME", str(first_run.home.root))
    monkeypatch.chdir(first_run.folder)

    def call(*arguments: str) -> int:
        with pytest.raises(SystemExit) as exit_info:
            main(arguments)
        return int(exit_info.value.code or 0)

    return call


def test_the_command_explains_with_and_without_the_domain(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("explain", *NEW) == 0
    short = capsys.readouterr().out
    assert command("explain", DOMAIN, *NEW) == 0

    assert capsys.readouterr().out == short
    assert "Becomes fixed when the vendor's feed names a fixed version" in short


@pytest.mark.parametrize("name", ["pebble:CVE-2026-900043", "CVE-2026-900043", "cve-2026-900043"])
def test_the_command_explains_by_the_id_that_is_published_everywhere(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert command("explain", name) == 0

    assert capsys.readouterr().out.startswith("pebble CVE-2026-900043 (")


def test_the_command_lists_the_rows_of_a_package_and_how_to_explain_one(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("explain", "cobalt") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("cobalt: 10 rows (")
    assert lines[-3] == "  and 5 more, with -v"
    assert lines[-1] == f"`etl explain {' '.join(lines[3].split()[:2])}` explains one of them"


def test_the_rows_of_a_package_begin_with_the_affected_ones_and_are_all_shown_if_asked(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], first_run: SampleHome
) -> None:
    assert command("explain", "cobalt", "-v") == 0

    lines = capsys.readouterr().out.splitlines()
    [gate, *_] = first_run.domain.gate
    assert gate.states
    order = [*gate.states.affected, "fixed or not applicable"]
    states = [line.split()[2] for line in lines[3:-2]]
    ranks = [order.index(state) if state in order else len(order) - 1 for state in states]
    assert len(states) == 10
    assert ranks == sorted(ranks)
    assert len(set(ranks)) > 1
    assert command("explain", "cobalt", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["state"] for row in rows] == states


def test_the_command_explains_in_json_as_of_a_day(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("explain", *NEW, "--as-of", "2026-03-01", "--json") == 0

    explanation = json.loads(capsys.readouterr().out)
    assert explanation["answer"]["state"] == "under_investigation"
    assert explanation["history"][0]["effective_to"] is None
    assert explanation["at"] == "2026-03-01T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["peble", "CVE-2026-900043"], 1, "nearest: pebble", id="package"),
        pytest.param(["pebble", "CVE-2026-900044"], 1, "CVE-2026-900043", id="identifier"),
        pytest.param([*NEW, "--as-of", "2026-02-28"], 1, "was not yet published", id="too early"),
        pytest.param([*NEW, "--as-of", "lately"], 2, "an ISO time, found 'lately'", id="no time"),
        pytest.param([DOMAIN, "peble"], 1, "nearest: pebble", id="half a key"),
        pytest.param(["peble"], 1, "nearest: pebble", id="no domain"),
    ],
)
def test_the_command_reports_a_row_that_it_cannot_explain(
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    assert command("explain", *arguments) == code

    assert message in capsys.readouterr().err
