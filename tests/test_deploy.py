"""The files of deploy/: what they start exists, and what a cluster would read is valid."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job
from dagster_k8s.launcher import K8sRunLauncher
from kubernetes.client import ApiClient

from etl_assets.defs.instance import dagster_yaml
from etl_assets.settings import Settings

VERSIONS = ("1.30", "1.34")  # of Kubernetes: the oldest and the newest that are maintained


@pytest.fixture
def deploy(repo_root: Path) -> Path:
    return repo_root / "deploy"


def objects_of(deploy: Path) -> list[dict[str, Any]]:
    text = (deploy / "kubernetes" / "etl.yaml").read_text(encoding="utf-8")
    return [each for each in yaml.safe_load_all(text) if each]


def find(deploy: Path, kind: str, name: str) -> dict[str, Any]:
    [found] = [
        each
        for each in objects_of(deploy)
        if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


def dagster_settings(deploy: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(
        find(deploy, "ConfigMap", "etl-dagster")["data"]["dagster.yaml"]
    )
    return settings


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_every_object(deploy: Path, version: str) -> None:
    objects = objects_of(deploy)

    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    assert len(objects) > 9


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_the_job_of_a_run(deploy: Path, version: str) -> None:
    declared = dagster_settings(deploy)["run_launcher"]["config"]
    result = process_config(K8sRunLauncher.config_type(), declared)
    assert result.success, result.errors
    config = {**declared, "postgres_password_secret": None}
    names = ("job_namespace", "run_k8s_config")
    job_config = DagsterK8sJobConfig(**{k: v for k, v in config.items() if k not in names})

    job = construct_dagster_k8s_job(
        job_config, ["dagster", "api", "execute_run", "{}"], "run-1", component="run_worker"
    )

    body = ApiClient().sanitize_for_serialization(job)
    kubernetes_validate.validate(body, version, strict=True)
    [container] = body["spec"]["template"]["spec"]["containers"]
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    assert {"/data", "/scratch", "/srv/dagster/dagster.yaml"} <= mounted


def test_the_project_leaves_the_file_of_the_config_map_as_it_is(
    deploy: Path, tmp_path: Path
) -> None:
    text = find(deploy, "ConfigMap", "etl-dagster")["data"]["dagster.yaml"]
    variables = find(deploy, "ConfigMap", "etl-settings")["data"]
    file = tmp_path / "dagster.yaml"
    file.write_text(text, encoding="utf-8")
    settings = Settings.load(
        home=tmp_path,
        dagster_home=tmp_path,
        event_log=variables["ETL_EVENT_LOG"],
        event_log_password_env=variables["ETL_EVENT_LOG_PASSWORD_ENV"],
        launcher=variables["ETL_LAUNCHER"],
    )

    dagster_yaml.write_dagster_yaml(settings)

    assert file.read_text(encoding="utf-8") == text


def test_every_setting_is_one_of_the_project(deploy: Path) -> None:
    known = {f"ETL_{name.upper()}" for name in Settings.model_fields} | {"DAGSTER_HOME"}
    compose = yaml.safe_load((deploy / "compose.yaml").read_text(encoding="utf-8"))
    used = set(find(deploy, "ConfigMap", "etl-settings")["data"])
    used |= {name for name in compose["x-etl"]["environment"] if name.startswith("ETL_")}
    for unit in (deploy / "systemd").iterdir():
        used |= set(re.findall(r"\bETL_\w+(?==)", unit.read_text(encoding="utf-8")))

    assert used - known == set()


def commands(deploy: Path) -> Iterator[list[str]]:
    """Yield what the services, the pods and the units start."""
    compose = yaml.safe_load((deploy / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        if name not in {"postgres", "redis"}:
            yield service["command"]
    for each in objects_of(deploy):
        if each["kind"] == "Deployment":
            [container] = each["spec"]["template"]["spec"]["containers"]
            yield container["args"]
    for unit in (deploy / "systemd").glob("*.service"):
        yield re.findall(r"^ExecStart=(.+)$", unit.read_text("utf-8"), re.MULTILINE)[0].split()


def test_every_program_that_is_started_is_installed(deploy: Path, repo_root: Path) -> None:
    started = list(commands(deploy))

    scripts = {script.name for script in entry_points(group="console_scripts")}
    assert {Path(command[0]).name for command in started} - scripts == set()
    files = {word for command in started for word in command if word.startswith("deploy/")}
    assert [name for name in files if not (repo_root / name).is_file()] == []


def test_the_workspace_is_one_that_dagster_reads(deploy: Path) -> None:
    [origin] = location_origins_from_yaml_paths([str(deploy / "workspace.yaml")])

    assert origin.location_name == "etl_assets"


def test_the_image_copies_what_there_is(deploy: Path, repo_root: Path) -> None:
    text = (deploy / "Containerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (\S+) ", text, re.MULTILINE)

    assert [name for name in copied if not (repo_root / name).exists()] == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_the_units(deploy: Path) -> None:
    units = sorted(map(str, (deploy / "systemd").glob("*.service")))

    result = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )

    own = [line for line in result.stderr.splitlines() if "etl-" in line]
    assert [
        line for line in own if "not executable" not in line and "No such file" not in line
    ] == []


def test_monitoring_of_runs_is_that_of_a_home(deploy: Path) -> None:
    own = yaml.safe_load(dagster_yaml.MONITORING)

    assert dagster_settings(deploy)["run_monitoring"] == own["run_monitoring"]
