"""Short ways to write declarations in tests of tables."""

from __future__ import annotations

from typing import Any

from etl_assets.declarations.contract import NUMERIC, Contract
from etl_assets.declarations.source import Source


def column(name: str, kind: str = "string", **rules: Any) -> dict[str, Any]:
    unit = {"unit": "1"} if kind in NUMERIC else {}
    return {"name": name, "type": kind, "description": f"the {name}"} | unit | rules


def contract(*columns: str | dict[str, Any], **rules: Any) -> Contract:
    """Return a contract whose key is its first column; a plain name is a string column."""
    declared = [column(c) if isinstance(c, str) else c for c in columns]
    return Contract.model_validate({"columns": declared, "key": [declared[0]["name"]]} | rules)


def source(table_contract: Contract, file_format: dict[str, Any], **fields: Any) -> Source:
    """Return a source `orchard.fruits` with this contract and format."""
    source = Source.model_validate(
        {
            "title": "Fruits",
            "description": "Every fruit of the orchard.",
            "producer": "The orchard",
            "licence": {"name": "none", "attribution": "The orchard"},
            "location": {"path": "fruits"},
            "required": False,
            "freshness": {"warn_after_hours": 1, "fail_after_hours": 2},
            "format": file_format,
            "contract": table_contract,
        }
        | fields
    )
    return source.model_copy(update={"domain": "orchard", "name": "fruits"})
