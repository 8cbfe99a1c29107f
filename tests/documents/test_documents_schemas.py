"""Documents match the schemas that their standards publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cyclonedx.schema
import jsonschema_rs
import pytest
from support.published_set import PublishedSet

CYCLONEDX = Path(cyclonedx.schema.__path__[0]) / "_res"
SAMPLE_AND_REAL = ["published", pytest.param("real", marks=pytest.mark.long)]


@pytest.fixture(params=SAMPLE_AND_REAL)
def documents(request: pytest.FixtureRequest) -> PublishedSet:
    published_set: PublishedSet = request.getfixturevalue(request.param)
    return published_set


def faults(validator: Any, document: Any) -> list[str]:
    return [f"{list(e.instance_path)}: {e.message}" for e in validator.iter_errors(document)][:5]


def validator(path: Path) -> Any:
    return jsonschema_rs.validator_for(
        json.loads(path.read_bytes()), validate_formats=True, offline=True
    )


def test_every_osv_record_matches_its_schema(documents: PublishedSet, schemas: Path) -> None:
    check = validator(schemas / "osv-1.7.5.schema.json")

    refused = {r["id"]: faults(check, r) for r in documents.osv_records() if not check.is_valid(r)}

    assert refused == {}


def test_openvex_matches_its_schema(documents: PublishedSet, schemas: Path) -> None:
    check = validator(schemas / "openvex-0.2.0.schema.json")

    assert faults(check, documents.json("openvex.json")) == []


def test_cyclonedx_matches_its_schema(documents: PublishedSet) -> None:
    names = ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    resources = [
        (f"http://cyclonedx.org/schema/{name}", json.loads((CYCLONEDX / name).read_bytes()))
        for name in names
    ]
    schema = json.loads((CYCLONEDX / "bom-1.6.SNAPSHOT.schema.json").read_bytes())
    check = jsonschema_rs.Draft7Validator(schema, registry=jsonschema_rs.Registry(resources))

    assert faults(check, documents.json("cyclonedx.vex.json")) == []
