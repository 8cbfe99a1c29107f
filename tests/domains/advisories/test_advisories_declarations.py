from __future__ import annotations

from pathlib import Path

from etl_assets.declarations.load import load


def test_the_yearly_and_the_modified_feed_have_one_contract(repo_root: Path) -> None:
    sources = load(repo_root / "etl_assets" / "domains")["advisories"].sources

    yearly, modified = sources["nvd"], sources["nvd_modified"]

    assert yearly.contract == modified.contract
    assert yearly.format == modified.format
