"""`etl health` on real homes: every check passes on a good home, and fails on its own fault."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.command_homes import block_with_file, call, damage_databases
from support.sample_home import DOMAIN, SampleHome

from etl_assets.defs.event_log import COMMAND_TAG
from etl_assets.model.run_manifest import RunManifest
from etl_assets.publish import chain, run_directory
from etl_assets.storage.hashing import hash_file
from etl_assets.storage.lock import lock

Capture = pytest.CaptureFixture[str]
Damage = Callable[[SampleHome, pytest.MonkeyPatch], object]


def declare_freshness(sample: SampleHome, warn_after_hours: int, fail_after_hours: int) -> None:
    """Override the limits of each source in a settings file, as an operator can."""
    lines = ["overrides:"]
    for name in sample.domain.sources:
        place = f"  {DOMAIN}.{name}.freshness"
        lines += [
            f"{place}.warn_after_hours: {warn_after_hours}",
            f"{place}.fail_after_hours: {fail_after_hours}",
        ]
    (sample.folder / "settings.yaml").write_text("\n".join([*lines, ""]), encoding="utf-8")


@pytest.fixture(autouse=True)
def undated_samples(sample_env: SampleHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the content of the samples, which are of a past day, be fresh for long."""
    declare_freshness(sample_env, *[24 * 365 * 100] * 2)
    monkeypatch.setenv("ETL_CONFIG", str(sample_env.folder / "settings.yaml"))


def change_last_run(sample: SampleHome, status: str, note: str) -> None:
    """Change the outcome in the manifest of the last run."""
    change_manifest(sample, {"status": status, "note": note, "answers": []})


def change_manifest(sample: SampleHome, fields: dict[str, Any]) -> None:
    """Change the published manifest, as if the run had written it so."""
    manifest = run_directory.read_manifest(sample.latest).model_dump(mode="json") | fields
    path = run_directory.write_manifest(sample.latest, RunManifest.model_validate(manifest))
    head = chain.read_head(sample.home, DOMAIN)
    assert head.link is not None
    link = head.link.model_copy(update={"manifest_sha256": hash_file(path)})
    chain.write_head(sample.home, DOMAIN, chain.PublishedHead(link=link))


def damage_history(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"no parquet" * 100)


def backdate_hashes(sample: SampleHome) -> None:
    file = sample.home.signatures(DOMAIN)
    entries = json.loads(file.read_bytes())
    month_ns = 30 * 86_400 * 1_000_000_000
    old = {key: [*entry[:3], entry[3] - month_ns, *entry[4:]] for key, entry in entries.items()}
    file.write_text(json.dumps(old), encoding="utf-8")


def create_sparse_file(path: Path) -> None:
    """Create a sparse file that is longer than any disk."""
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 42)


def add_interrupted_run(sample: SampleHome) -> None:
    (sample.home.outputs(DOMAIN) / "29991231_235959").mkdir()


def add_dead_run(sample: SampleHome) -> None:
    with sample.instance() as instance:
        instance.add_run(
            dg.DagsterRun(
                job_name="lost",
                run_id="lost-run",
                status=dg.DagsterRunStatus.STARTED,
                tags={COMMAND_TAG: DOMAIN},
            )
        )


def quarantine_file(sample: SampleHome) -> None:
    reason = {
        "part": {"source": f"{DOMAIN}.kev"},
        "sha256": "a" * 64,
        "size_bytes": 1,
        "path": f"data/quarantine/{DOMAIN}/kev/{'a' * 64}",
        "url": "https://a.example",
        "expected": "JSON",
        "found": "a login page",
        "quarantined_at": "2026-03-01T12:00:00Z",
    }
    folder = sample.home.quarantine(DOMAIN, "kev")
    folder.mkdir(parents=True)
    (folder / f"{'a' * 64}.json").write_text(json.dumps(reason), encoding="utf-8")


def first_raw_file(sample: SampleHome) -> Path:
    return next(path for path in sorted(sample.home.raw.rglob("*")) if path.is_file())


def declare_invalid_domain(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sample.folder / "domains" / DOMAIN
    folder.mkdir(parents=True)
    (folder / "_domain.yaml").write_text("titel: Weather\n", encoding="utf-8")
    monkeypatch.setenv("ETL_DOMAINS_DIR", str(folder.parent))


def remove_all_domains(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_DOMAINS_DIR", str(sample.folder / "nowhere"))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "settings": (
        lambda _, env: env.setenv("ETL_LOG_LEVEL", "loud"),
        "ERROR settings: ETL_LOG_LEVEL: expected 'DEBUG'",
    ),
    "declarations": (declare_invalid_domain, f"ERROR {DOMAIN}: declarations: "),
    "no declarations": (remove_all_domains, "ERROR declarations: "),
    "home": (
        lambda s, env: block_with_file(s.home.root),
        "ERROR home: ",
    ),
    "data": (lambda s, _: block_with_file(s.home.root / "data" / "rejects"), "ERROR data: "),
    "data at need": (
        lambda s, _: block_with_file(s.home.root / "data" / "quarantine"),
        "WARN  data at need: ",
    ),
    "outputs": (lambda s, _: block_with_file(s.home.outputs(DOMAIN)), "ERROR outputs: "),
    "manifests": (lambda s, _: block_with_file(s.home.manifests), "ERROR manifests: "),
    "storage": (
        lambda s, _: block_with_file(s.home.dagster / "history"),
        "ERROR Dagster's storage: ",
    ),
    "disk": (
        lambda s, _: create_sparse_file(s.home.tables(DOMAIN) / "sparse.parquet"),
        "WARN  disk: ",
    ),
    "dbt project": (
        lambda s, env: env.setenv("ETL_DBT_DIR", str(s.folder)),
        "ERROR dbt project: no ",
    ),
    "mirror": (
        lambda s, _: (shutil.rmtree(s.mirror), s.mirror.mkdir()),
        "WARN  mirror: ",
    ),
    "event log": (lambda s, _: damage_databases(s.home.dagster), "ERROR event log: "),
    "event log lost": (
        lambda s, _: shutil.rmtree(s.home.dagster),
        "WARN  event log: none, though there are manifests; expected the event log; `etl run` ",
    ),
    "dagster.yaml": (
        lambda s, _: (s.home.dagster / "dagster.yaml").write_text("a: ["),
        "ERROR event log: ",
    ),
    "warehouse": (
        lambda s, _: s.home.warehouse(DOMAIN).write_bytes(b"no database" * 100),
        f"WARN  {DOMAIN}: warehouse: data/warehouse/{DOMAIN}.duckdb is damaged, or",
    ),
    "history": (
        lambda s, _: damage_history(s.latest / "marts" / f"{s.domain.history}.parquet"),
        f"WARN  {DOMAIN}: published: ",
    ),
    "history lost": (
        lambda s, _: (
            damage_history(s.latest / "marts" / f"{s.domain.history}.parquet"),
            s.home.history_copy(DOMAIN).unlink(),
            s.home.warehouse(DOMAIN).unlink(),
        ),
        f"ERROR {DOMAIN}: published: ",
    ),
    "clock": (
        lambda s, _: change_manifest(s, {"as_of": "2999-01-01T00:00:00Z"}),
        f"WARN  {DOMAIN}: clock: ",
    ),
    "hashes": (
        lambda s, _: backdate_hashes(s),
        f"WARN  {DOMAIN}: hashes: ",
    ),
    "locations": (
        lambda s, _: (s.mirror / "advisory.echohq.com" / "data.json").unlink(),
        f"WARN  {DOMAIN}: locations: {DOMAIN}.echo: no ",
    ),
    "lock": (
        lambda s, _: (s.home.lock(DOMAIN).unlink(), s.home.lock(DOMAIN).mkdir()),
        f"ERROR {DOMAIN}: lock: ",
    ),
    "raw files": (
        lambda s, _: first_raw_file(s).unlink(),
        f"WARN  {DOMAIN}: raw files: {DOMAIN}.",
    ),
    "remains": (
        lambda s, _: (
            s.home.partial.mkdir(exist_ok=True),
            (s.home.partial / f"{DOMAIN}.kev.0a1b2c3d.part").touch(),
        ),
        f"WARN  {DOMAIN}: remains: data/partial/{DOMAIN}.kev.0a1b2c3d.part; expected",
    ),
    "remains of outputs": (
        lambda s, _: add_interrupted_run(s),
        f"WARN  {DOMAIN}: remains: outputs/{DOMAIN}/29991231_235959; expected",
    ),
    "remains of the log": (
        lambda s, _: add_dead_run(s),
        f"WARN  {DOMAIN}: remains: run lost-run in the event log; expected",
    ),
    "last run": (
        lambda s, _: change_last_run(s, "failed", "the gate refused"),
        f"WARN  {DOMAIN}: last run: ",
    ),
    "published": (
        lambda s, _: shutil.rmtree(s.latest),
        f"WARN  {DOMAIN}: published: ",
    ),
    "nothing published": (
        lambda s, _: s.home.latest(DOMAIN).unlink(),
        f"WARN  {DOMAIN}: published: ",
    ),
    "quarantine": (
        lambda s, _: quarantine_file(s),
        f"WARN  {DOMAIN}: quarantine: {DOMAIN}.kev aaaaaaaaaaaa; expected",
    ),
    "ledger": (
        lambda s, _: next(s.home.manifests.glob(f"{DOMAIN}_*.manifest.json")).write_text("{"),
        f"WARN  {DOMAIN}: ledger: ",
    ),
}


def test_a_home_after_a_run_is_healthy(sample_env: SampleHome, capsys: Capture) -> None:
    assert call("health", DOMAIN) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "healthy"
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}


@pytest.mark.parametrize(
    ("limits", "level"), [((1, 1), "stale"), ((1, 24 * 365 * 100), "ageing")], ids=str
)
def test_old_content_is_a_warning_that_names_five_sources_and_counts_the_others(
    sample_env: SampleHome, capsys: Capture, limits: tuple[int, int], level: str
) -> None:
    declare_freshness(sample_env, *limits)

    assert call("health", DOMAIN) == 0

    *lines, status = capsys.readouterr().out.splitlines()
    [line] = [line for line in lines if not line.startswith("ok")]
    assert status == "degraded"
    assert line.startswith(f"WARN  {DOMAIN}: content: ")
    more = len(sample_env.domain.sources) - 5
    assert line.count(f" is {level} at ") == 5
    assert f") and {more} more; expected content no older than the declared freshness; " in line


@pytest.mark.long
@pytest.mark.ci
@pytest.mark.parametrize("name", DAMAGES)
def test_every_check_can_fail(
    sample_env: SampleHome, capsys: Capture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    damage, message = DAMAGES[name]
    damage(sample_env, monkeypatch)

    code = call("health", DOMAIN)

    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith(message)], out
    assert code == (1 if "ERROR" in out else 0)
    assert out.splitlines()[-1] == ("unfit" if "ERROR" in out else "degraded")


def test_an_empty_home_is_checked_and_stays_empty(
    sample_env: SampleHome, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ETL_HOME", str(tmp_path / "new"))

    assert call("health", DOMAIN) == 0

    assert "ok    event log: none yet" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_a_file_that_the_first_run_needs_is_required(
    sample_env: SampleHome, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ETL_HOME", str(tmp_path / "new"))
    shutil.rmtree(sample_env.mirror / "analyst")
    (sample_env.mirror / "advisory.echohq.com" / "data.json").unlink()

    assert call("health", DOMAIN) == 1

    assert f"ERROR {DOMAIN}: locations: {DOMAIN}.echo: no " in capsys.readouterr().out


def test_a_run_in_progress_is_not_a_problem_and_its_process_is_named(
    sample_env: SampleHome, capsys: Capture
) -> None:
    add_interrupted_run(sample_env)

    with lock(sample_env.home.lock(DOMAIN), on_wait=lambda _: None):
        code = call("health", DOMAIN)

    out = capsys.readouterr().out
    assert f"ok    {DOMAIN}: lock: held by process {os.getpid()}" in out
    assert f"ok    {DOMAIN}: remains: a run is in progress" in out
    assert code == 0


@pytest.mark.fault("secrets")
def test_an_empty_secret_is_an_outage_and_a_missing_one_switches_its_source_off(
    sample_env: SampleHome, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    call("health", "transit")
    assert "ok    transit: secrets: OPENROUTER_API_KEY is not set, so" in capsys.readouterr().out

    monkeypatch.setenv("OPENROUTER_API_KEY", "")
    call("health", "transit")
    assert "WARN  transit: secrets: OPENROUTER_API_KEY is empty" in capsys.readouterr().out


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on another file system than the one of the tests."""
    device = tmp_path.stat().st_dev
    parents = [folder for folder in (Path("/dev/shm"), Path("/tmp")) if folder.is_dir()]
    others = [folder for folder in parents if folder.stat().st_dev != device]
    if not others:
        pytest.skip("a second file system is needed, and there is none")
    with tempfile.TemporaryDirectory(dir=others[0]) as folder:
        yield Path(folder)


def test_folders_on_two_file_systems_are_an_error(
    sample_env: SampleHome, capsys: Capture, other_file_system: Path
) -> None:
    (sample_env.home.partial).rmdir()
    sample_env.home.partial.symlink_to(other_file_system)

    assert call("health", DOMAIN) == 1

    message = "ERROR file system: data/partial on another file system than data/raw; expected one"
    assert message in capsys.readouterr().out


def test_the_json_has_what_a_monitor_needs(sample_env: SampleHome, capsys: Capture) -> None:
    change_last_run(sample_env, "partial_success", "one of two was late")

    assert call("health", DOMAIN, "--json") == 0

    report = json.loads(capsys.readouterr().out)
    assert report["status"] == "degraded"
    assert report["free_bytes"] > 0
    [dates] = report["domains"]
    assert dates["last_run_status"] == "partial_success"
    assert dates["last_published_at"] >= dates["last_run_at"]
    [warning] = [finding for finding in report["findings"] if finding["level"] == "warn"]
    assert (warning["domain"], warning["what"]) == (DOMAIN, "last run")


def test_an_unknown_domain_is_a_usage_error(sample_env: SampleHome, capsys: Capture) -> None:
    assert call("health", "nowhere") == 2

    assert "no domain 'nowhere'; declared are:" in capsys.readouterr().err
