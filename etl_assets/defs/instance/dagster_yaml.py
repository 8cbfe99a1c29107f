"""`dagster.yaml` of a home: its text, and the storage that it names.

Programs of Dagster read the file without the rest of this project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from etl_assets.model.errors import HomeError, SettingsError
from etl_assets.settings import Settings
from etl_assets.storage.atomic_write import atomic_file

STORAGE_KEYS = ("storage", "run_storage", "event_log_storage", "schedule_storage")
# The class keeps its connections open; see `etl_assets.defs.instance.sqlite_storage`.
# Each domain has a pool of one slot for its warehouse: DuckDB refuses a second writer.
# By default Dagster keeps every tick forever, except those of sensors that requested nothing.
SQLITE_STORAGE = """\
storage:
  custom:
    module: etl_assets.defs.instance.sqlite_storage
    class: SqliteStorage
    config:
      base_dir:
        env: DAGSTER_HOME
"""
POSTGRES_STORAGE = """\
storage:
  custom:
    module: etl_assets.defs.instance.postgres_storage
    class: PostgresStorage
    config:
      url: {url}
      password_env: {password_env}
"""
DAGSTER_YAML = f"""\
{SQLITE_STORAGE}telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    default_limit: 1
    granularity: op
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 7
      started: 90
      success: 90
      failure: 90
"""
LAUNCHER_KEY, MONITORING_KEY = "run_launcher", "run_monitoring"
CELERY_LAUNCHER = """\
run_launcher:
  module: etl_assets.defs.instance.celery_launcher
  class: CeleryLauncher
"""
KUBERNETES_CLASS = ("etl_assets.defs.instance.kubernetes_launcher", "KubernetesLauncher")
# A run waits in the queue for as long as others run; Dagster ends one that has not begun by then.
MONITORING = """\
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
  start_timeout_seconds: 86400
  cancel_timeout_seconds: 300
  max_resume_run_attempts: 3
"""
SQLITE_CLASS = ("etl_assets.defs.instance.sqlite_storage", "SqliteStorage")
POSTGRES_CLASS = ("etl_assets.defs.instance.postgres_storage", "PostgresStorage")
OWN = {SQLITE_CLASS, POSTGRES_CLASS}


def write_dagster_yaml(settings: Settings) -> None:
    """Write the file if there is none, and let it name the event log of the settings.

    Raises HomeError for other YAML than settings. Raises SettingsError if it names a database and
    the settings name none, as another event log would begin; or if the settings name one, and it
    has a storage that is not of this project.
    """
    path = settings.dagster_home / "dagster.yaml"
    before = path.read_text(encoding="utf-8") if path.exists() else None
    text = DAGSTER_YAML if before is None else before
    declared = yaml.safe_load(text) or {}
    if not isinstance(declared, dict) or not isinstance(declared.get("storage", {}), dict):
        raise HomeError(
            f"{path}: expected settings of Dagster, found: {text[:80]!r}; correct it, or move it"
            " away to get a new one"
        )
    if settings.event_log:
        if any(key in declared for key in STORAGE_KEYS[1:]) or _class_of(declared) not in OWN:
            raise SettingsError(
                f"{path}: expected no storage of its own, as ETL_EVENT_LOG is set, found another "
                "one; remove it there, or unset ETL_EVENT_LOG"
            )
        if declared.get("storage") != _own_storage(settings):
            text = _replace_storage(text, settings)
    elif _class_of(declared) == POSTGRES_CLASS:
        url = declared["storage"]["custom"]["config"]["url"]
        raise SettingsError(
            f"ETL_EVENT_LOG: expected {url}, which {path} names, found no such variable; set it, "
            "or move that file away to begin another event log"
        )
    text += _launcher_text(path, yaml.safe_load(text) or {}, settings)
    if text != before:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def instance_settings(declared: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return what the settings say of the storage and the launcher that `dagster.yaml` declares.

    The home is in no file, as hosts may mount it elsewhere; its `.env` may have secrets.
    """
    launcher = declared.get(LAUNCHER_KEY, {})
    own = yaml.safe_load(CELERY_LAUNCHER)[LAUNCHER_KEY]
    of_launcher = {}
    if launcher == own:
        of_launcher = {LAUNCHER_KEY: {**own, "config": {"home": str(settings.home)}}}
    return _storage_settings(declared, settings) | of_launcher


def _storage_settings(declared: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the storage of the settings, unless `dagster.yaml` declares another one.

    The variable that DAGSTER_YAML names need not be set here, and an older home has no `storage`.
    """
    if settings.event_log:
        storage = _own_storage(settings)
        storage["custom"]["config"]["home"] = str(settings.home)
        return {"storage": storage}
    own = yaml.safe_load(SQLITE_STORAGE)["storage"]
    if any(declared.get(key, own) != own for key in STORAGE_KEYS):
        return {}
    base_dir = {"base_dir": str(settings.dagster_home)}
    return {"storage": {"custom": {**own["custom"], "config": base_dir}}}


def _launcher_text(path: Path, declared: Mapping[str, Any], settings: Settings) -> str:
    """Return what the file lacks for the launcher of the settings.

    Raises SettingsError if it declares another one. With `local` it may have one for the pages.
    """
    if settings.launcher == "local":
        return ""
    found = declared.get(LAUNCHER_KEY)
    own = yaml.safe_load(CELERY_LAUNCHER)[LAUNCHER_KEY]
    expected = (own["module"], own["class"]) if settings.launcher == "celery" else KUBERNETES_CLASS
    if found is not None and (found.get("module"), found.get("class")) != expected:
        raise SettingsError(
            f"{path}: expected {'.'.join(expected)} in `run_launcher`, as ETL_LAUNCHER is "
            f"{settings.launcher}, found {found.get('module')}.{found.get('class')}; correct one "
            "of them"
        )
    if found is None and settings.launcher == "k8s":
        raise SettingsError(
            f"{path}: expected `run_launcher` with the image and the volumes of jobs, as "
            "ETL_LAUNCHER is k8s, found none; docs/deploy.md has an example"
        )
    monitoring = "" if MONITORING_KEY in declared else MONITORING
    return ("" if found else CELERY_LAUNCHER) + monitoring


def _class_of(declared: Mapping[str, Any]) -> tuple[str, str]:
    """Return module and class of the storage; an older home has none, and uses SQLite."""
    if "storage" not in declared:
        return SQLITE_CLASS
    custom = declared["storage"].get("custom")
    if not isinstance(custom, dict):
        return "", ""  # Dagster says what is wrong
    return custom.get("module", ""), custom.get("class", "")


def _own_storage(settings: Settings) -> dict[str, Any]:
    storage: dict[str, Any] = yaml.safe_load(_postgres_text(settings))["storage"]
    return storage


def _postgres_text(settings: Settings) -> str:
    return POSTGRES_STORAGE.format(
        url=json.dumps(settings.event_log),  # YAML reads quoted texts of JSON
        password_env=json.dumps(settings.event_log_password_env),
    )


def _replace_storage(text: str, settings: Settings) -> str:
    """Return the text with the storage of the settings, and all else as it is."""
    others = re.sub(r"^storage:\n(?:[ #].*\n|\n)*", "", text, flags=re.MULTILINE)
    return _postgres_text(settings) + others
