"""`etl health` on real homes: every line holds on a good one and fails where its matter does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.command_homes import call, garbled, in_the_way
from support.sample_home import DOMAIN, Sampled

from etl_assets.operations.recovery import COMMAND_TAG
from etl_assets.storage.lock import lock

Shown = pytest.CaptureFixture[str]
Harm = Callable[[Sampled, pytest.MonkeyPatch], object]


def ended(sampled: Sampled, status: str, note: str) -> None:
    """Let the manifest of the last run say another end."""
    path = sampled.latest / "manifest.json"
    told = json.loads(path.read_bytes()) | {"status": status, "note": note, "answers": []}
    path.write_text(json.dumps(told), encoding="utf-8")


def grown(path: Path) -> None:
    """A file whose length no disk has; it takes no room."""
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 42)


def half_run(sampled: Sampled) -> None:
    (sampled.home.outputs(DOMAIN) / "29991231_235959").mkdir()


def lost_run(sampled: Sampled) -> None:
    with sampled.instance() as instance:
        instance.add_run(
            dg.DagsterRun(
                job_name="lost",
                run_id="lost-run",
                status=dg.DagsterRunStatus.STARTED,
                tags={COMMAND_TAG: DOMAIN},
            )
        )


def set_aside(sampled: Sampled) -> None:
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
    folder = sampled.home.quarantine(DOMAIN, "kev")
    folder.mkdir(parents=True)
    (folder / f"{'a' * 64}.json").write_text(json.dumps(reason), encoding="utf-8")


def stored_file(sampled: Sampled) -> Path:
    return next(path for path in sorted(sampled.home.raw.rglob("*")) if path.is_file())


def declared_badly(sampled: Sampled, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sampled.folder / "domains" / "weather"
    folder.mkdir(parents=True)
    (folder / "_domain.yaml").write_text("titel: Weather\n", encoding="utf-8")
    monkeypatch.setenv("ETL_DOMAINS_DIR", str(folder.parent))


HARMS: dict[str, tuple[Harm, str]] = {
    "settings": (
        lambda _, env: env.setenv("ETL_LOG_LEVEL", "loud"),
        "ERROR settings: ETL_LOG_LEVEL: expected 'DEBUG'",
    ),
    "declarations": (declared_badly, "ERROR declarations: "),
    "home": (
        lambda s, env: in_the_way(s.home.root),
        "ERROR home: ",
    ),
    "data": (lambda s, _: in_the_way(s.home.root / "data" / "rejects"), "ERROR data: "),
    "data at need": (
        lambda s, _: in_the_way(s.home.root / "data" / "quarantine"),
        "WARN  data at need: ",
    ),
    "outputs": (lambda s, _: in_the_way(s.home.outputs(DOMAIN)), "ERROR outputs: "),
    "manifests": (lambda s, _: in_the_way(s.home.manifests), "ERROR manifests: "),
    "storage": (
        lambda s, _: in_the_way(s.home.dagster / "history"),
        "ERROR Dagster's storage: ",
    ),
    "disk": (
        lambda s, _: grown(s.home.tables(DOMAIN) / "grown.parquet"),
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
    "event log": (lambda s, _: garbled(s.home.dagster), "ERROR event log: "),
    "event log lost": (
        lambda s, _: shutil.rmtree(s.home.dagster),
        "WARN  event log: none, though there are manifests; expected the event log; `etl manifest",
    ),
    "dagster.yaml": (
        lambda s, _: (s.home.dagster / "dagster.yaml").write_text("a: ["),
        "ERROR event log: ",
    ),
    "warehouse": (
        lambda s, _: s.home.warehouse(DOMAIN).write_bytes(b"no database" * 100),
        f"WARN  {DOMAIN}: warehouse: data/warehouse/{DOMAIN}.duckdb was cut off in a build, or",
    ),
    "history": (
        lambda s, _: (s.latest / "marts" / f"{s.domain.history}.parquet").write_bytes(
            b"no parquet" * 100
        ),
        f"ERROR {DOMAIN}: published: ",
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
        lambda s, _: stored_file(s).unlink(),
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
        lambda s, _: half_run(s),
        f"WARN  {DOMAIN}: remains: outputs/{DOMAIN}/29991231_235959; expected",
    ),
    "remains of the log": (
        lambda s, _: lost_run(s),
        f"WARN  {DOMAIN}: remains: run lost-run in the event log; expected",
    ),
    "last run": (
        lambda s, _: ended(s, "failed", "the gate refused"),
        f"WARN  {DOMAIN}: last run: ",
    ),
    "published": (
        lambda s, _: shutil.rmtree(s.latest),
        f"ERROR {DOMAIN}: published: ",
    ),
    "nothing published": (
        lambda s, _: s.home.latest(DOMAIN).unlink(),
        f"WARN  {DOMAIN}: published: nothing, though it ran; expected",
    ),
    "quarantine": (
        lambda s, _: set_aside(s),
        f"WARN  {DOMAIN}: quarantine: {DOMAIN}.kev aaaaaaaaaaaa; expected",
    ),
    "ledger": (
        lambda s, _: next(s.home.manifests.glob(f"{DOMAIN}_*")).write_text("{"),
        f"ERROR {DOMAIN}: ledger: ",
    ),
}


def test_a_home_that_has_run_is_healthy(ran: Sampled, capsys: Shown) -> None:
    assert call("health", DOMAIN) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "healthy"
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}


@pytest.mark.parametrize("matter", HARMS)
def test_every_line_can_fail(
    ran: Sampled, capsys: Shown, monkeypatch: pytest.MonkeyPatch, matter: str
) -> None:
    harm, told = HARMS[matter]
    harm(ran, monkeypatch)

    code = call("health", DOMAIN)

    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith(told)], out
    assert code == (1 if "ERROR" in out else 0)
    assert out.splitlines()[-1] == ("unfit" if "ERROR" in out else "degraded")


def test_an_empty_home_is_looked_at_and_stays_empty(
    ran: Sampled, capsys: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ETL_HOME", str(tmp_path / "new"))

    assert call("health", DOMAIN) == 0

    assert "ok    event log: none yet" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_what_a_first_run_lacks_is_an_error(
    ran: Sampled, capsys: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ETL_HOME", str(tmp_path / "new"))
    shutil.rmtree(ran.mirror / "analyst")
    (ran.mirror / "advisory.echohq.com" / "data.json").unlink()

    assert call("health", DOMAIN) == 1

    assert f"ERROR {DOMAIN}: locations: {DOMAIN}.echo: no " in capsys.readouterr().out


def test_a_run_under_way_is_no_fault_and_its_holder_is_named(ran: Sampled, capsys: Shown) -> None:
    half_run(ran)

    with lock(ran.home.lock(DOMAIN), on_wait=lambda _: None):
        code = call("health", DOMAIN)

    out = capsys.readouterr().out
    assert f"ok    {DOMAIN}: lock: held by process {os.getpid()}" in out
    assert f"ok    {DOMAIN}: remains: a run is under way" in out
    assert code == 0


@pytest.mark.fault("secrets")
def test_an_empty_secret_is_an_error_and_a_missing_one_switches_its_source_off(
    ran: Sampled, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    call("health", "transit")
    assert "ok    transit: secrets: OPENROUTER_API_KEY is not set, so" in capsys.readouterr().out

    monkeypatch.setenv("OPENROUTER_API_KEY", "")
    assert call("health", "transit") == 1
    assert "ERROR transit: secrets: OPENROUTER_API_KEY is empty" in capsys.readouterr().out


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system than the tests'."""
    folder = Path("/dev/shm") / f"etl-{os.getpid()}"
    if not folder.parent.is_dir():
        pytest.skip("a second file system is needed, and there is no /dev/shm")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_a_rename_across_file_systems_is_foreseen(
    ran: Sampled, capsys: Shown, elsewhere: Path
) -> None:
    if elsewhere.stat().st_dev == ran.folder.stat().st_dev:
        pytest.skip("a second file system is needed, and the tests run in /dev/shm")
    (ran.home.partial).rmdir()
    ran.home.partial.symlink_to(elsewhere)

    assert call("health", DOMAIN) == 1

    told = "ERROR file system: data/partial on another one than data/raw; expected one"
    assert told in capsys.readouterr().out


def test_health_in_json_holds_what_a_monitor_asks(ran: Sampled, capsys: Shown) -> None:
    ended(ran, "partial_success", "one of two was late")

    assert call("health", DOMAIN, "--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "degraded"
    assert told["free_bytes"] > 0
    [dates] = told["domains"]
    assert dates["last_run_status"] == "partial_success"
    assert dates["last_published_at"] >= dates["last_run_at"]
    [warned] = [each for each in told["findings"] if each["level"] == "warn"]
    assert (warned["domain"], warned["what"]) == (DOMAIN, "last run")


def test_an_unknown_domain_is_a_wrong_command(ran: Sampled, capsys: Shown) -> None:
    assert call("health", "nowhere") == 2

    assert "no domain 'nowhere'; declared are:" in capsys.readouterr().err
