"""The SQL that dbt compiled of models and tests, kept for builds that run it without dbt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from etl_assets.marts.data_tests import DataTest
from etl_assets.storage.atomic_write import write_text


class CompiledSql(BaseModel, frozen=True):
    """What builds of the same code have compiled, by unique id."""

    made_from: str
    """The code, the vars and the version of dbt."""
    models: dict[str, str] = {}
    tests: dict[str, DataTest] = {}


def read_compiled(file: Path, made_from: str) -> CompiledSql:
    """What a file has; nothing if it is missing, damaged, or was made from something else."""
    try:
        compiled = CompiledSql.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return CompiledSql(made_from=made_from)  # a build by dbt writes it again
    return compiled if compiled.made_from == made_from else CompiledSql(made_from=made_from)


def keep_compiled(file: Path, made_from: str, nodes: Iterable[Any]) -> None:
    """Add the nodes of a build by dbt to the file; a test that only dbt can run is left out."""
    compiled = read_compiled(file, made_from)
    models, tests = {**compiled.models}, {**compiled.tests}
    for node in nodes:
        kind = str(node.resource_type)
        if kind == "model" and node.compiled_code:
            models[node.unique_id] = node.compiled_code
        if kind == "test" and (test := DataTest.from_node(node)):
            tests[node.unique_id] = test
    compiled = CompiledSql(made_from=made_from, models=models, tests=tests)
    write_text(file, compiled.model_dump_json())
