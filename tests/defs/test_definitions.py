"""The code location as Dagster loads it, and its UI in a real browser."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.browser import needs_browser, render_page
from support.sample_home import DOMAIN, SampleHome

WINDOW = "--window-size=1700,1000"


def test_every_asset_has_a_group_an_owner_a_description_and_kinds(first_run: SampleHome) -> None:
    graph = first_run.defs().resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.materializable_asset_keys]

    bare = [
        node.key.to_user_string()
        for node in nodes
        if not (node.description and node.owners and node.kinds)
        or node.group_name != node.key.path[0]
    ]

    assert bare == []


def test_the_asset_keys_do_not_change(first_run: SampleHome, repo_root: Path) -> None:
    graph = first_run.defs().resolve_asset_graph()
    agreed = (repo_root / "tests" / "defs" / "asset_keys.txt").read_text(encoding="utf-8")

    keys = sorted(key.to_user_string() for key in graph.get_all_asset_keys())

    assert [key for key in keys if key.startswith(f"{DOMAIN}/")] == agreed.split()


def test_every_data_test_of_dbt_is_an_asset_check(first_run: SampleHome) -> None:
    target = first_run.home.dbt_target(DOMAIN)
    manifest = json.loads((target / "manifest.json").read_bytes())
    tests = {node["name"] for node in manifest["nodes"].values() if node["resource_type"] == "test"}
    checks = {key.name for key in first_run.defs().resolve_asset_graph().asset_check_keys}

    assert tests <= checks


@pytest.mark.long
def test_dagster_finds_the_definitions_from_the_repository_root(
    sample: SampleHome, repo_root: Path
) -> None:
    dg = str(Path(sys.executable).parent / "dg")

    checked = subprocess.run(
        [dg, "check", "defs"],
        cwd=repo_root,
        env=_environment(sample, repo_root),
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr


@pytest.mark.long
@needs_browser
def test_the_lineage_page_shows_the_domains_assets(
    sample: SampleHome, repo_root: Path, tmp_path: Path
) -> None:
    with _webserver(sample, repo_root) as url:
        group = f"{url}/locations/etl_assets/asset-groups/{DOMAIN}"
        lineage = render_page(f"{group}/lineage", tmp_path, WINDOW, seconds=120)
        listed = render_page(f"{group}/list", tmp_path, WINDOW)

    # The graph draws what is in view and shortens long names; the list begins with the first.
    assert "kev_raw" in lineage
    assert "kev_validated" in lineage
    assert "advisory_current_json" in listed
    assert "what readers see, moved by one rename" in listed


@contextmanager
def _webserver(sample: SampleHome, repo_root: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(Path(sys.executable).parent / "dagster-webserver")
    process = subprocess.Popen(
        [program, "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
        cwd=repo_root,
        env=_environment(sample, repo_root),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _once_it_answers(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _once_it_answers(url: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/server_info", timeout=5)
        except OSError:
            time.sleep(0.2)  # the server tells nobody that it is up
        else:
            return url
    raise AssertionError(f"the webserver ended or did not answer: {process.poll()}")


def _environment(sample: SampleHome, repo_root: Path) -> dict[str, str]:
    return {**sample.settings.child_environment(), "PYTHONPATH": str(repo_root)}
