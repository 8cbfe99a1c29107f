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

import dagster as dg
import pytest
from support.browser import needs_browser, render_page
from support.sample_home import DOMAIN, SampleHome

from etl_assets.defs.asset_keys import Layer
from etl_assets.defs.models.former_keys import DBT_TEST
from etl_assets.defs.specs import escape_tags

WINDOW = "--window-size=1700,1000"


def test_every_asset_has_a_layer_an_owner_a_description_and_kinds(first_run: SampleHome) -> None:
    graph = first_run.defs().resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]

    bare = [
        node.key.to_user_string()
        for node in nodes
        if not (node.description and node.owners and node.kinds)
        or node.group_name.rpartition("_")[0] != node.key.path[0]
        or node.tags["etl/layer"] not in set(Layer)
    ]

    assert bare == []


@pytest.mark.parametrize(
    ("name", "group", "layer"),
    [
        ("kev_raw", "sources", "raw"),
        ("kev_validated", "sources", "validated"),
        ("kev", "sources", "table"),
        ("stg_kev", "models", "staging"),
        ("int_claims", "models", "intermediate"),
        ("mart_advisory_current", "models", "mart"),
        ("mart_source_health", "status", "status"),
        ("run_report", "status", "status"),
        ("advisory_current_json", "published", "document"),
        ("advisories_published", "published", "published"),
        ("packages", "sources", "table"),  # switched off
    ],
)
def test_an_asset_is_in_the_group_of_its_layer(
    first_run: SampleHome, name: str, group: str, layer: str
) -> None:
    node = first_run.defs().resolve_asset_graph().get(dg.AssetKey([DOMAIN, name]))

    assert (node.group_name, node.tags["etl/layer"]) == (f"{DOMAIN}_{group}", layer)


def test_the_pages_open_the_files_that_an_asset_is_declared_in(first_run: SampleHome) -> None:
    graph = first_run.defs().resolve_asset_graph()
    files = {}
    for key in graph.materializable_asset_keys:
        references = graph.get(key).metadata["dagster/code_references"]
        [reference] = references.code_references
        files[key.path[-1]] = Path(reference.file_path)

    assert [name for name, file in files.items() if not file.is_file()] == []
    assert files["kev_raw"].name == "kev.yaml"
    assert files["stg_kev"].name == "stg_advisories__kev.sql"
    assert files["advisories_published"].name == "_domain.yaml"


@pytest.mark.long
@pytest.mark.ci
def test_what_is_published_has_a_freshness_policy(first_run: SampleHome) -> None:
    graph = first_run.defs().resolve_asset_graph()
    published = [
        node
        for node in map(graph.get, graph.materializable_asset_keys)
        if node.group_name.endswith("_published")
    ]

    assert len(published) > 4
    assert [node.key for node in published if node.freshness_policy is None] == []


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ("<package>:<cve>", r"\<package>:\<cve>"),
        ("a list, `<id>` each", "a list, `<id>` each"),
        ("`a` <b> `<c>`", r"`a` \<b> `<c>`"),
        ("no markup", "no markup"),
    ],
)
def test_a_declared_text_is_not_taken_for_markup(declared: str, shown: str) -> None:
    assert escape_tags(declared) == shown


def test_the_asset_keys_do_not_change(
    first_run: SampleHome, repo_root: Path, pytestconfig: pytest.Config
) -> None:
    graph = first_run.defs().resolve_asset_graph()
    file = repo_root / "tests" / "defs" / "asset_keys.txt"

    keys = sorted(key.to_user_string() for key in graph.get_all_asset_keys())
    own_keys = [key for key in keys if key.startswith(f"{DOMAIN}/")]

    if pytestconfig.getoption("update_snapshots"):
        file.write_text("\n".join([*own_keys, ""]), encoding="utf-8")
    agreed = file.read_text(encoding="utf-8").split()
    assert own_keys == agreed, 'right? then `make update-golden PYTEST="tests/defs -k asset_keys"`'


def test_every_data_test_of_dbt_is_an_asset_check(first_run: SampleHome) -> None:
    target = first_run.home.dbt_target(DOMAIN)
    manifest = json.loads((target / "manifest.json").read_bytes())
    tests = {node["name"] for node in manifest["nodes"].values() if node["resource_type"] == "test"}
    graph = first_run.defs().resolve_asset_graph()
    keys = [key for key in graph.asset_check_keys if key.asset_key.path[0] == DOMAIN]
    checks = [graph.get_check_spec(key) for key in keys]
    shown = [check.metadata[DBT_TEST] for check in checks if DBT_TEST in check.metadata]

    assert sorted(shown) == sorted(tests)


def test_the_description_of_a_data_test_says_when_it_fails(first_run: SampleHome) -> None:
    graph = first_run.defs().resolve_asset_graph()
    checks = [graph.get_check_spec(key) for key in graph.asset_check_keys]

    described = [c.description for c in checks if DBT_TEST in c.metadata and c.description]

    assert described
    assert [text for text in described if not text.startswith("Fails if: ")] == []


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
        group = f"{url}/locations/etl_assets/asset-groups/{DOMAIN}_sources"
        lineage = render_page(f"{group}/lineage", tmp_path, WINDOW, seconds=120)
        published = group.replace("_sources", "_published")
        listed = render_page(f"{published}/list", tmp_path, WINDOW)

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
