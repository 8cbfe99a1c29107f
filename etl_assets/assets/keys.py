"""The names of assets: every key of the project is made here.

The graph draws only a key's last part, so each last part tells what it is.
"""

from __future__ import annotations

import re

from dagster import AssetKey

from etl_assets.model.declaration import Source
from etl_assets.model.domain import Document, Domain


def step_name(domain: Domain, stage: str, wave: int) -> str:
    """The step of a stage; sources that ask from other sources' tables have steps of their own."""
    return f"{domain.name}_{stage}" + (f"_{wave + 1}" if wave else "")


def raw_key(source: Source) -> AssetKey:
    return AssetKey([source.domain, f"{source.name}_raw"])


def validated_key(source: Source) -> AssetKey:
    return AssetKey([source.domain, f"{source.name}_validated"])


def table_key(source: Source) -> AssetKey:
    """Equals dbt's own key of the source, so that lineage joins by itself."""
    return AssetKey([source.domain, source.name])


def sibling_key(source: Source, table: str) -> AssetKey:
    """The table of another source of the same domain."""
    return AssetKey([source.domain, table])


def model_key(domain: str, model: str) -> AssetKey:
    return AssetKey([domain, model])


def document_key(domain: Domain, document: Document) -> AssetKey:
    return AssetKey([domain.name, re.sub(r"[^A-Za-z0-9_]", "_", document.file)])


def report_key(domain: Domain) -> AssetKey:
    return AssetKey([domain.name, "run_report"])


def name_of(key: AssetKey) -> str:
    """The key as records and messages write it."""
    return "/".join(key.path)


def published_key(domain: Domain) -> AssetKey:
    return AssetKey([domain.name, f"{domain.name}_published"])
