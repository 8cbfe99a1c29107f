"""Every asset key and the name of every step and job of the project is made here.

The asset graph draws only the last part of a key, so the last part says what the asset is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from dagster import AssetCheckKey, AssetKey

from etl_assets.declarations.domain import Document, Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.declarations.source import Source
from etl_assets.model.check_names import short_model_name
from etl_assets.model.run_options import Stage

JOB_PREFIX, VERIFY_PREFIX = "refresh_", "verify_"


class Layer(StrEnum):
    """What kind of asset one is, in the order of the data."""

    RAW = "raw"
    VALIDATED = "validated"
    TABLE = "table"
    SEED = "seed"
    STAGING = "staging"
    INTERMEDIATE = "intermediate"
    MART = "mart"
    DOCUMENT = "document"
    PUBLISHED = "published"
    STATUS = "status"


GROUPS = {
    Layer.RAW: "sources",
    Layer.VALIDATED: "sources",
    Layer.TABLE: "sources",
    Layer.SEED: "models",
    Layer.STAGING: "models",
    Layer.INTERMEDIATE: "models",
    Layer.MART: "models",
    Layer.DOCUMENT: "published",
    Layer.PUBLISHED: "published",
    Layer.STATUS: "status",
}


def job_name(domain: Domain) -> str:
    return f"{JOB_PREFIX}{domain.name}"


def submitted_job_name(domain: Domain) -> str:
    """Of the job that executes what a command submits."""
    return f"run_{domain.name}"


def verify_job_name(domain: Domain) -> str:
    return f"{VERIFY_PREFIX}{domain.name}"


def sensor_name(domain: Domain) -> str:
    return f"{domain.name}_probe"


def schedule_names(domain: Domain) -> tuple[str, str]:
    """Return the names of the daily run's schedule and of the weekly verification's."""
    return f"{domain.name}_daily", f"{domain.name}_verify"


def domain_of_job(name: str) -> str | None:
    """Return the name of the domain that a job refreshes or verifies; None for any other job."""
    for prefix in (JOB_PREFIX, VERIFY_PREFIX):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return None


def pool_name(domain: Domain) -> str:
    """Return the pool of the steps that write the domain's warehouse."""
    return f"{domain.name}_duckdb"


def step_name(domain: Domain, stage: str, wave: int) -> str:
    """Return the name of a step; sources that need other sources' tables are in a later wave."""
    return f"{domain.name}_{stage}" + (f"_{wave + 1}" if wave else "")


def steps_of(domain: Domain) -> dict[str, Stage]:
    """Return the stage of every step of a domain."""
    return {step: stage for step, stage, _ in _source_steps(domain)} | {
        f"{domain.name}_marts": Stage.MARTS,
        f"{domain.name}_publish": Stage.PUBLISH,
    }


def step_of(domain: Domain, key: AssetKey) -> str:
    """Return the step that materializes an asset of the domain."""
    for step, _, keys in _source_steps(domain):
        if key in keys:
            return step
    return f"{domain.name}_{stage_of(domain, key)}"


def stage_of(domain: Domain, key: AssetKey) -> Stage:
    """Return the stage of an asset; what is neither a source's nor published is a model."""
    for _, stage, keys in _source_steps(domain):
        if key in keys:
            return stage
    published = [document_key(domain, document) for document in domain.documents]
    published += [report_key(domain), published_key(domain)]
    return Stage.PUBLISH if key in published else Stage.MARTS


def _source_steps(domain: Domain) -> Iterator[tuple[str, Stage, list[AssetKey]]]:
    """Yield each step over sources with its stage and assets."""
    for wave, sources in enumerate(fetch_order(domain.sources)):
        yield step_name(domain, "raw", wave), Stage.RAW, [*map(raw_key, sources)]
        yield step_name(domain, "validated", wave), Stage.VALIDATED, [*map(validated_key, sources)]
        yield step_name(domain, "tables", wave), Stage.TABLE, [*map(table_key, sources)]


def raw_key(source: Source) -> AssetKey:
    return AssetKey([source.domain, f"{source.name}_raw"])


def validated_key(source: Source) -> AssetKey:
    return AssetKey([source.domain, f"{source.name}_validated"])


def table_key(source: Source) -> AssetKey:
    """Return the key of the table, which is also dagster-dbt's key of the dbt source."""
    return AssetKey([source.domain, source.name])


def partitioned_keys(domain: Domain) -> set[AssetKey]:
    """Return the keys of the assets with partitions."""
    keys: set[AssetKey] = set()
    for source in domain.sources.values():
        if source.partitions is not None:
            keys |= {raw_key(source), validated_key(source), table_key(source)}
    return keys


def group_name(domain: Domain, layer: Layer) -> str:
    """Return the group of a layer; the pages draw one group from left to right.

    What reads every table, and the report, would be lines across it: they have a group of their
    own.
    """
    return f"{domain.name}_{GROUPS[layer]}"


def layer_tag(layer: Layer) -> dict[str, str]:
    return {"etl/layer": layer.value}


def sibling_key(source: Source, table: str) -> AssetKey:
    """Return the key of another source's table in the same domain."""
    return AssetKey([source.domain, table])


def model_key(domain: str, model: str) -> AssetKey:
    """Return the key of a model: its name without the domain's, which the key begins with.

    `stg_orchard__trees` of the domain `orchard` is `orchard/stg_trees`.
    """
    return AssetKey([domain, short_model_name(model, domain)])


def document_key(domain: Domain, document: Document) -> AssetKey:
    # Dagster refuses dots and slashes in the parts of a key.
    return AssetKey([domain.name, re.sub(r"[^A-Za-z0-9_]", "_", document.file)])


def report_key(domain: Domain) -> AssetKey:
    return AssetKey([domain.name, "run_report"])


def name_of(key: AssetKey) -> str:
    """Return the key as records and messages write it."""
    return "/".join(key.path)


def published_key(domain: Domain) -> AssetKey:
    return AssetKey([domain.name, f"{domain.name}_published"])


def gate_key(domain: Domain) -> AssetCheckKey:
    """Return the key of the check that says whether the last candidate may be published."""
    return AssetCheckKey(published_key(domain), "gate")


def verify_check(number: int) -> str:
    """Return the name of the check that a declared command yields, counted from 1."""
    return f"verify_{number}"


def served_key(domain: Domain) -> AssetCheckKey:
    """Return the key of the check that says whether what is published is a partial success."""
    return AssetCheckKey(published_key(domain), "served")


def file_partitions_name(domain: str) -> str:
    """Return the name of the dynamic partitions that all file sets of a domain share."""
    return f"{domain}_files"
