"""docs/domains/advisories-rules.md says what the seeds decide."""

from __future__ import annotations

from pathlib import Path

from support.rules_page import read_seed, render_page


def test_the_page_is_up_to_date(repo_root: Path) -> None:
    page = repo_root / "docs" / "domains" / "advisories-rules.md"

    assert page.read_text(encoding="utf-8") == render_page(), "run `make schemas`"


def test_the_page_has_every_claim_and_state_once() -> None:
    lines = render_page().splitlines()

    for claim in read_seed("decision_rules"):
        assert len([line for line in lines if f"| `{claim['claim']}` |" in line]) == 1
    for state in read_seed("advisory_states"):
        assert len([line for line in lines if line.startswith(f"| `{state['state']}` |")]) == 1
