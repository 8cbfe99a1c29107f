"""The names of assets: every key of the project is made here.

The graph draws only a key's last part, so each last part tells what it is.
"""

from __future__ import annotations

import re

from dagster import AssetKey

from etl_assets.declarations.domain import Document, Domain
from etl_assets.declarations.names import fetch_order
from etl_assets.declarations.source import Source
from etl_assets.model.run_options import Stage


def step_name(domain: Domain, stage: str, wave: int) -> str:
    """The step of a stage; sources that ask from other sources' tables have steps of their own."""
    return f"{domain.name}_{stage}" + (f"_{wave + 1}" if wave else "")


def steps_of(domain: Domain) -> dict[str, Stage]:
    """Every step of a domain, with the stage that it is of."""
    of_sources = {"raw": Stage.RAW, "validated": Stage.VALIDATED, "tables": Stage.TABLE}
    steps = {
        step_name(domain, name, wave): stage
        for wave in range(len(fetch_order(domain.sources)))
        for name, stage in of_sources.items()
    }
    return steps | {
        f"{domain.name}_marts": Stage.MARTS,
        f"{domain.name}_publish": Stage.PUBLISH,
    }


def stage_of(domain: Domain, key: AssetKey) -> Stage:
    """The stage that makes an asset of the domain; what is of no source and no set is a model."""
    sources = domain.sources.values()
    made = {
        **{raw_key(source): Stage.RAW for source in sources},
        **{validated_key(source): Stage.VALIDATED for source in sources},
        **{table_key(source): Stage.TABLE for source in sources},
        **{document_key(domain, document): Stage.PUBLISH for document in domain.documents},
        report_key(domain): Stage.PUBLISH,
        published_key(domain): Stage.PUBLISH,
    }
    return made.get(key, Stage.MARTS)


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
